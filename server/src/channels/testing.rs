//! A provider made of a real socket, for the tests of this room: it keeps what was asked and answers as it is told.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
};

use domain::{
    channel::{Address, AddressKind},
    message::Content,
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use uuid::Uuid;

use super::{
    Outbound, WebhookRequest,
    forms::Form,
    settings::{ProviderSettings, SecretSource},
};

/// What the peer does with one request.
pub(crate) enum Play {
    /// Answers with a status, a content type and a body.
    Answer(u16, &'static str, String),
    /// Answers with these bytes, whatever they are, and closes.
    Raw(Vec<u8>),
    /// Reads the request and never answers.
    Silence,
    /// Reads the request and closes.
    Close,
}

impl Play {
    /// A JSON answer.
    pub(crate) fn json(status: u16, body: Value) -> Self {
        Self::Answer(status, "application/json", body.to_string())
    }
}

/// A request as it came over the socket.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    pub(crate) fn form(&self) -> Vec<(String, String)> {
        Form::parse(&self.body).pairs().map(|(key, value)| (key.to_owned(), value.into_owned())).collect()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// The peer: plays its answers in turn, one a connection, and goes away when dropped.
pub(crate) struct Peer {
    pub(crate) base_url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<()>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Peer {
    pub(crate) async fn playing(plays: impl IntoIterator<Item = Play>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let mut plays: VecDeque<_> = plays.into_iter().collect();
        let log = asked.clone();
        let task = tokio::spawn(async move {
            let mut silent = Vec::new();
            while let Some(play) = plays.pop_front() {
                let (mut socket, _) = listener.accept().await.unwrap();
                if let Play::Raw(bytes) = &play
                    && !bytes.starts_with(b"HTTP/")
                {
                    let _ = socket.write_all(bytes).await;
                    continue;
                }
                let request = read_request(&mut socket).await;
                log.lock().unwrap().push(request);
                match play {
                    Play::Answer(status, kind, body) => {
                        let head = format!(
                            "HTTP/1.1 {status} Played\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                            body.len()
                        );
                        // The caller may hang up early on purpose (an answer that is too long).
                        let _ = socket.write_all(head.as_bytes()).await;
                        let _ = socket.write_all(body.as_bytes()).await;
                    }
                    Play::Raw(bytes) => socket.write_all(&bytes).await.unwrap(),
                    Play::Silence => silent.push(socket),
                    Play::Close => {}
                }
            }
            std::future::pending::<()>().await;
        });
        Self { base_url, asked, task }
    }

    /// A local address on which nothing listens.
    pub(crate) async fn address_that_refuses() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    }

    pub(crate) fn requests(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The only request that came.
    pub(crate) fn request(&self) -> Asked {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests[0].clone()
    }
}

async fn read_request(socket: &mut TcpStream) -> Asked {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        assert_ne!(socket.read_buf(&mut bytes).await.unwrap(), 0, "the caller hung up in the head");
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap().split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let headers: HashMap<_, _> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    while bytes.len() < head_end + 4 + length {
        assert_ne!(socket.read_buf(&mut bytes).await.unwrap(), 0, "the caller hung up in the body");
    }
    Asked {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers,
        body: bytes[head_end + 4..].to_vec(),
    }
}

struct TableOfSecrets;

impl SecretSource for TableOfSecrets {
    fn variable(&self, name: &str) -> Option<String> {
        (name == "TOKEN").then(|| "12345".to_owned())
    }

    fn file(&self, _: &str) -> std::io::Result<String> {
        Err(std::io::ErrorKind::NotFound.into())
    }
}

/// Settings whose secrets come from a table: the variable `TOKEN` is `12345`, and nothing else is there.
pub(crate) fn settings(values: Value) -> ProviderSettings {
    ProviderSettings::new(values.as_object().unwrap().clone(), Arc::new(TableOfSecrets))
}

/// The delivery of every test.
pub(crate) const DELIVERY: Uuid = Uuid::from_u128(0x0193_0000_0000_7000_8000_0000_0000_0001);

/// A phone number.
pub(crate) fn phone(value: &str) -> Address {
    Address { kind: AddressKind::Phone, value: value.to_owned() }
}

/// A message to a phone, attempt 2.
pub(crate) fn outbound(from: &str, content: Content) -> Outbound {
    Outbound {
        delivery_id: DELIVERY,
        attempt: 2,
        to: phone("+919812345678"),
        from: from.to_owned(),
        content,
        window_open: true,
        public_url: "https://alerts.example.org".to_owned(),
        provider_id: 7,
        in_reply_to: None,
        unsubscribe_url: None,
        parameters: std::collections::BTreeMap::new(),
    }
}

/// Plain words.
pub(crate) fn text(text: &str) -> Content {
    Content::Text { text: text.to_owned() }
}

/// A webhook at `path?query` of provider 7.
pub(crate) fn webhook(method: http::Method, path: &str, query: &str, body: impl Into<bytes::Bytes>) -> WebhookRequest {
    let question = if query.is_empty() { "" } else { "?" };
    WebhookRequest {
        method,
        url: format!("https://alerts.example.org/webhooks/7{path}{question}{query}"),
        path: path.to_owned(),
        query: query.to_owned(),
        headers: http::HeaderMap::new(),
        body: body.into(),
        received_at: "2026-11-20T10:00:00Z".parse().unwrap(),
    }
}
