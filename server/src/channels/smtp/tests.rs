//! The mail connector in conversation with a real socket that plays a relay.

use std::sync::Mutex;

use domain::{
    channel::{Address, AddressKind},
    delivery::FailureClass,
    message::{Attachment, Content},
};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

use super::*;
use crate::channels::testing::{DELIVERY, Peer, outbound, settings, text};

/// What the relay says at each point; `None` ends the connection there.
#[derive(Clone, Copy)]
struct Relay {
    greeting: Option<&'static str>,
    auth: &'static str,
    rcpt: &'static str,
    data_end: Option<&'static str>,
}

const KIND_RELAY: Relay = Relay {
    greeting: Some("220 relay ESMTP"),
    auth: "235 2.7.0 fine",
    rcpt: "250 2.1.5 fine",
    data_end: Some("250 2.0.0 queued as 1"),
};

struct Playing {
    port: u16,
    lines: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for Playing {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Playing {
    async fn start(relay: Relay) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let log = lines.clone();
        let task = tokio::spawn(async move {
            // A pool may open a second connection before it gave back the first, so they are served side by side.
            let mut conversations = JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let log = log.clone();
                conversations.spawn(async move { converse(socket, relay, &log).await });
            }
        });
        Self { port, lines, task }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// The mail as it came, its headers unfolded.
    fn mail(&self) -> String {
        let lines = self.lines();
        let start = lines.iter().position(|line| line == "DATA").unwrap() + 1;
        let end = lines.iter().rposition(|line| line == ".").unwrap();
        lines[start..end].join("\n").replace("\n ", " ")
    }
}

async fn converse(socket: TcpStream, relay: Relay, log: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut socket = BufReader::new(socket);
    let Some(greeting) = relay.greeting else { return Ok(()) };
    socket.write_all(format!("{greeting}\r\n").as_bytes()).await?;
    let mut in_data = false;
    loop {
        let mut line = String::new();
        if socket.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let line = line.trim_end_matches("\r\n").to_owned();
        log.lock().unwrap().push(line.clone());
        let reply = match line.split(' ').next().unwrap_or_default() {
            "." if in_data => {
                in_data = false;
                match relay.data_end {
                    Some(reply) => reply,
                    None => return Ok(()),
                }
            }
            _ if in_data => continue,
            "EHLO" => "250-relay\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 AUTH PLAIN",
            "AUTH" => relay.auth,
            "RCPT" => relay.rcpt,
            "DATA" => {
                in_data = true;
                "354 go on"
            }
            "QUIT" => return socket.write_all(b"221 bye\r\n").await,
            _ => "250 2.0.0 fine",
        };
        socket.write_all(format!("{reply}\r\n").as_bytes()).await?;
    }
}

fn connector(port: u16) -> Arc<dyn Connector> {
    let values = json!({"host": "127.0.0.1", "port": port, "tls": "none", "username": "us", "password_env": "TOKEN",
        "hello_name": "switchboard.test", "timeout_seconds": 5});
    build(&settings(values)).unwrap()
}

fn mail_to(value: &str, content: Content) -> Outbound {
    let mut mail = outbound("Alerts <alerts@example.org>", content);
    mail.to = Address { kind: AddressKind::Email, value: value.to_owned() };
    mail
}

fn email(html: Option<&str>, attachments: Vec<Attachment>) -> Content {
    Content::Email {
        subject: "Water\r\nBcc: everyone@example.org".to_owned(),
        text: "Plain words".to_owned(),
        html: html.map(str::to_owned),
        attachments,
    }
}

async fn sent_by(relay: Relay) -> (Sent, Playing) {
    let playing = Playing::start(relay).await;
    let sent = connector(playing.port).send(&mail_to("asha@example.org", email(None, vec![]))).await;
    (sent, playing)
}

fn class(sent: &Sent) -> Option<FailureClass> {
    match sent {
        Sent::Refused(refusal) => Some(refusal.class),
        _ => None,
    }
}

#[tokio::test]
async fn submits_a_mail_with_its_headers() {
    let playing = Playing::start(KIND_RELAY).await;
    let mut mail = mail_to("asha@example.org", email(Some("<p>Rich words</p>"), vec![]));
    mail.in_reply_to = Some("<earlier@example.org>".to_owned());
    let link = format!("https://alerts.example.org/unsubscribe/{}", "x".repeat(90));
    mail.unsubscribe_url = Some(link.clone());
    let message_id = format!("<{DELIVERY}@example.org>");
    let sent = connector(playing.port).send(&mail).await;
    assert_eq!(sent, Sent::Accepted { provider_message_id: message_id.clone() });
    let lines = playing.lines();
    assert!(lines.contains(&"EHLO switchboard.test".to_owned()));
    assert!(lines.contains(&"AUTH PLAIN AHVzADEyMzQ1".to_owned()));
    assert!(lines.contains(&"MAIL FROM:<alerts@example.org>".to_owned()), "{lines:?}");
    assert!(lines.contains(&"RCPT TO:<asha@example.org>".to_owned()));
    let mail = playing.mail();
    for header in [
        format!("Message-ID: {message_id}"),
        "From: Alerts <alerts@example.org>".to_owned(),
        "To: asha@example.org".to_owned(),
        "Auto-Submitted: auto-generated".to_owned(),
        "In-Reply-To: <earlier@example.org>".to_owned(),
        "References: <earlier@example.org>".to_owned(),
        format!("List-Unsubscribe: <{link}>"),
        "List-Unsubscribe-Post: List-Unsubscribe=One-Click".to_owned(),
    ] {
        assert!(mail.lines().any(|line| line == header), "{header}\n{mail}");
    }
    assert!(mail.lines().any(|line| line.starts_with("Date: ")));
    assert!(mail.lines().all(|line| !line.starts_with("Bcc:")), "the subject must not become headers");
    assert!(mail.contains("multipart/alternative") && mail.contains("Plain words") && mail.contains("Rich words"));
}

#[tokio::test]
async fn the_message_id_is_the_same_in_every_attempt() {
    let playing = Playing::start(KIND_RELAY).await;
    let connector = connector(playing.port);
    let mut mail = mail_to("asha@example.org", text("Hello"));
    let first = connector.send(&mail).await;
    mail.attempt += 1;
    assert_eq!(connector.send(&mail).await, first);
    assert!(playing.mail().contains("Subject: Hello"));
}

#[tokio::test]
async fn attachments_travel_as_files() {
    let playing = Playing::start(KIND_RELAY).await;
    let file = |data: &str| Attachment {
        file_name: "list.csv".to_owned(),
        mime_type: "text/csv".to_owned(),
        data_base64: data.to_owned(),
    };
    let connector = connector(playing.port);
    connector.send(&mail_to("asha@example.org", email(None, vec![file("YSxiCg==")]))).await;
    let mail = playing.mail();
    assert!(mail.contains("multipart/mixed") && mail.contains("filename=\"list.csv\"") && mail.contains("text/csv"));
    let broken = connector.send(&mail_to("asha@example.org", email(None, vec![file("no base64!")]))).await;
    assert_eq!(class(&broken), Some(FailureClass::Permanent));
}

#[tokio::test]
async fn refusals_have_the_class_of_their_code_and_no_address() {
    for (relay, expected) in [
        (Relay { rcpt: "550 5.1.1 <asha@example.org> unknown", ..KIND_RELAY }, FailureClass::FallOver),
        (Relay { rcpt: "451 4.7.1 greylisted", ..KIND_RELAY }, FailureClass::Temporary),
        (Relay { rcpt: "554 5.7.1 relay denied", ..KIND_RELAY }, FailureClass::ParkChannel),
        (Relay { auth: "535 5.7.8 bad credentials", ..KIND_RELAY }, FailureClass::ParkChannel),
        (Relay { data_end: Some("552 5.3.4 too big"), ..KIND_RELAY }, FailureClass::Permanent),
        (Relay { data_end: Some("554 no"), ..KIND_RELAY }, FailureClass::Permanent),
        (Relay { greeting: Some("421 4.3.2 too busy"), ..KIND_RELAY }, FailureClass::Temporary),
    ] {
        let (sent, _playing) = sent_by(relay).await;
        assert_eq!(class(&sent), Some(expected), "{sent:?}");
        assert!(!format!("{sent:?}").contains("asha@"));
    }
}

#[tokio::test]
async fn a_relay_that_is_not_there_was_not_sent_to_and_one_that_goes_silent_is_not_known() {
    let nobody = Peer::address_that_refuses().await;
    let port = nobody.rsplit(':').next().unwrap().parse().unwrap();
    let sent = connector(port).send(&mail_to("asha@example.org", text("Hello"))).await;
    assert!(matches!(sent, Sent::NotSent { .. }), "{sent:?}");
    let (sent, _playing) = sent_by(Relay { data_end: None, ..KIND_RELAY }).await;
    assert!(matches!(sent, Sent::Unknown { .. }), "{sent:?}");
    let (sent, _playing) = sent_by(Relay { data_end: Some("garbage"), ..KIND_RELAY }).await;
    assert!(matches!(sent, Sent::Unknown { .. }), "{sent:?}");
}

#[tokio::test]
async fn without_starttls_nothing_is_sent_in_clear_text() {
    let playing = Playing::start(KIND_RELAY).await;
    let values = json!({"host": "localhost", "port": playing.port, "tls": "starttls", "timeout_seconds": 5});
    let sent = build(&settings(values)).unwrap().send(&mail_to("asha@example.org", text("Hello"))).await;
    assert_eq!(class(&sent), Some(FailureClass::ParkChannel), "{sent:?}");
    assert!(playing.lines().iter().all(|line| !line.starts_with("MAIL")));
}

#[tokio::test]
async fn an_address_beyond_ascii_falls_over_and_does_not_park_the_channel() {
    let playing = Playing::start(KIND_RELAY).await;
    let sent = connector(playing.port).send(&mail_to("आशा@example.org", text("Hello"))).await;
    assert_eq!(class(&sent), Some(FailureClass::FallOver), "{sent:?}");
}

#[tokio::test]
async fn what_cannot_be_mailed_is_refused_without_a_connection() {
    let connector = connector(9);
    let phone = connector.send(&outbound("alerts@example.org", text("Hello"))).await;
    assert_eq!(class(&phone), Some(FailureClass::FallOver));
    let broken = connector.send(&mail_to("asha at example", text("Hello"))).await;
    assert_eq!(class(&broken), Some(FailureClass::FallOver));
    let mut nobody = mail_to("asha@example.org", text("Hello"));
    nobody.from = "alerts".to_owned();
    assert_eq!(class(&connector.send(&nobody).await), Some(FailureClass::ParkChannel));
    let mut link = mail_to("asha@example.org", text("Hello"));
    link.unsubscribe_url = Some("javascript:alert(1)".to_owned());
    assert_eq!(class(&connector.send(&link).await), Some(FailureClass::Permanent));
}

#[tokio::test]
async fn the_check_proves_host_and_credentials() {
    let playing = Playing::start(KIND_RELAY).await;
    assert_eq!(connector(playing.port).check().await, Ok(()));
    let refusing = Playing::start(Relay { auth: "535 5.7.8 no", ..KIND_RELAY }).await;
    assert!(connector(refusing.port).check().await.unwrap_err().contains("credentials"));
}

#[test]
fn a_password_in_clear_text_over_the_network_is_refused() {
    let fields = |values| -> Vec<String> {
        build(&settings(values)).expect_err("a problem").into_iter().map(|problem| problem.field).collect()
    };
    let open = json!({"host": "mail.example.org", "tls": "none", "username": "us", "password_env": "TOKEN"});
    assert_eq!(fields(open), ["tls"]);
    assert_eq!(fields(json!({"host": "mail.example.org", "username": "us"})), ["username"]);
    assert_eq!(fields(json!({"host": "mail.example.org", "port": 0, "tls": "ssl"})), ["tls", "port"]);
}

#[test]
fn there_are_no_webhooks() {
    let request = crate::channels::testing::webhook(http::Method::POST, "", "", "");
    assert_eq!(connector(9).read_webhook(&request).unwrap_err(), WebhookError::NotFound);
}

#[test]
fn a_connector_that_outlives_its_runtime_is_dropped_in_peace() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let connector = connector(9);
    assert!(runtime.block_on(connector.check()).is_err());
    drop(runtime);
    drop(connector);
}
