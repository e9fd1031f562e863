//! A receiver of webhooks on a port of its own: it takes, refuses, hangs or sends away, as it is told, and remembers everything.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

/// What the receiver does with a POST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mood {
    /// Takes it.
    Take,
    /// Answers with this status.
    Answer(u16),
    /// Never answers.
    Hang,
    /// Sends away to this address.
    Redirect(String),
}

/// One POST that came.
#[derive(Debug, Clone)]
pub struct Posted {
    pub id: String,
    pub events: Vec<Value>,
    pub taken: bool,
}

/// See the module.
pub struct Receiver {
    pub url: String,
    shared: Arc<Shared>,
}

struct Shared {
    mood: Mutex<Mood>,
    posted: Mutex<Vec<Posted>>,
}

impl Receiver {
    pub async fn start(mood: Mood) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared { mood: Mutex::new(mood), posted: Mutex::default() });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/events", listener.local_addr()?);
        let router = Router::new().route("/events", post(receive)).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { url, shared })
    }

    pub fn is_now(&self, mood: Mood) {
        *self.shared.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
    }

    /// Every POST that came, in order.
    pub fn posted(&self) -> Vec<Posted> {
        self.shared.posted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The numbers of the events that were taken, in order.
    pub fn numbers(&self) -> Vec<i64> {
        let taken = self.posted().into_iter().filter(|posted| posted.taken).flat_map(|posted| posted.events);
        taken.map(|event| event["sequence"].as_str().and_then(|n| n.parse().ok()).expect("a number")).collect()
    }
}

/// Whether a POST is signed as Standard Webhooks say, with the secret of the tests.
fn is_signed(headers: &HeaderMap, body: &[u8]) -> bool {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let mut mac = Hmac::<Sha256>::new_from_slice(b"secret").expect("a key");
    mac.update(format!("{}.{}.", text("webhook-id"), text("webhook-timestamp")).as_bytes());
    mac.update(body);
    let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    let age = chrono::Utc::now().timestamp() - text("webhook-timestamp").parse::<i64>().unwrap_or_default();
    text("webhook-signature") == expected && age.abs() < 300
}

async fn receive(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    if !is_signed(&headers, &body) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let mood = shared.mood.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let events = serde_json::from_slice(&body).unwrap_or_default();
    let id = headers.get("webhook-id").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let posted = Posted { id, events, taken: mood == Mood::Take };
    shared.posted.lock().unwrap_or_else(PoisonError::into_inner).push(posted);
    match mood {
        Mood::Take => StatusCode::NO_CONTENT.into_response(),
        Mood::Answer(code) => StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_GATEWAY).into_response(),
        Mood::Hang => std::future::pending().await,
        Mood::Redirect(to) => (StatusCode::TEMPORARY_REDIRECT, [("location", to)]).into_response(),
    }
}
