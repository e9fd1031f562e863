//! The files that people send: put on a shelf by a test or the control API, and handed out as each provider does. Meta gives a link
//! for an id, which lives five minutes of simulated time and wants the token; Twilio sends its caller from the API on to a link
//! that wants no credentials. Here too are the signs that a business gives: a message was read, somebody types.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use http::{StatusCode, header};
use serde_json::{Value, json};
use uuid::Uuid;

/// How long a link of Meta's lives.
const LINK_LIFE: TimeDelta = TimeDelta::minutes(5);

/// One file.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// Its MIME type.
    pub mime_type: String,
    /// Its bytes.
    pub bytes: Bytes,
}

/// The shelf, and the signs that were given.
#[derive(Debug, Default)]
pub(crate) struct Files {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    files: HashMap<String, File>,
    /// The file of a link, and until when it is good.
    links: HashMap<String, (String, DateTime<Utc>)>,
    signs: Vec<Value>,
    /// How many of the next requests for a file fail.
    failing: u32,
}

impl Files {
    /// Puts a file on the shelf; the id is digits, as Meta's are.
    pub fn put(&self, mime_type: &str, bytes: Bytes) -> String {
        let id = format!("{}", Uuid::new_v4().as_u128() % 10_000_000_000_000_000);
        let file = File { mime_type: mime_type.to_owned(), bytes };
        self.inner().files.insert(id.clone(), file);
        id
    }

    /// Makes the next requests for files fail.
    pub fn fail_next(&self, times: u32) {
        self.inner().failing = times;
    }

    /// Whether this request is one of those that fail.
    pub fn fails(&self) -> bool {
        let mut inner = self.inner();
        let fails = inner.failing > 0;
        inner.failing = inner.failing.saturating_sub(1);
        fails
    }

    /// The file of an id.
    pub fn get(&self, id: &str) -> Option<File> {
        self.inner().files.get(id).cloned()
    }

    /// A fresh link to a file.
    pub fn link(&self, id: &str, now: DateTime<Utc>) -> String {
        let link = Uuid::new_v4().simple().to_string();
        self.inner().links.insert(link.clone(), (id.to_owned(), now + LINK_LIFE));
        link
    }

    /// The file of a link that is still good.
    pub fn linked(&self, link: &str, now: DateTime<Utc>) -> Option<File> {
        let inner = self.inner();
        let (id, until) = inner.links.get(link)?;
        (now < *until).then(|| inner.files.get(id).cloned()).flatten()
    }

    /// Notes a sign of the business.
    pub fn sign(&self, sign: Value) {
        self.inner().signs.push(sign);
    }

    /// Every sign, oldest first.
    pub fn signs(&self) -> Vec<Value> {
        self.inner().signs.clone()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What Meta says of a file.
pub(crate) fn described(id: &str, file: &File, url: &str) -> Value {
    use sha2::{Digest, Sha256};
    json!({
        "messaging_product": "whatsapp", "id": id, "url": url, "mime_type": file.mime_type,
        "sha256": hex::encode(Sha256::digest(&file.bytes)), "file_size": file.bytes.len(),
    })
}

/// The bytes of a file, or that there is none.
pub(crate) fn handed(file: Option<File>) -> Response {
    match file {
        Some(file) => ([(header::CONTENT_TYPE, file.mime_type)], file.bytes).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
