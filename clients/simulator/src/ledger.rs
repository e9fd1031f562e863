//! What happened: every request that a provider accepted, every webhook that was posted, and the counts of both.
//!
//! Only remembers; when the limit is reached the oldest record goes. Counts never shrink, except by a reset.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Which simulated interface accepted a request or posted a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// Meta's Cloud API: WhatsApp messages.
    Whatsapp,
    /// Twilio's Messages: SMS.
    Sms,
    /// Twilio's Calls: voice.
    Voice,
}

/// A request that a provider accepted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AcceptedCall {
    /// Its place in the order of acceptance since the start or the last reset, from 0.
    pub number: u64,
    /// The interface, which is also the channel.
    pub channel: Provider,
    /// The provider's id: `wamid...`, `SM...` or `CA...`.
    pub id: String,
    /// The recipient in E.164 (or a WhatsApp user id, when it was sent to one that no handset has).
    pub to: String,
    /// The sender: a telephone number, sender id or Meta phone number id.
    pub from: String,
    /// The text as the person sees it. For a template its name and parameters; for a call the URL of its TwiML.
    pub body: String,
    /// What the caller gave to be echoed: Meta's `biz_opaque_callback_data`, or the query of Twilio's `StatusCallback`.
    pub reference: Option<String>,
    /// When it was accepted, in simulated time.
    pub at: DateTime<Utc>,
    /// The newest status in the provider's own word.
    pub status: String,
    /// The provider's error code, when it failed.
    pub error_code: Option<u32>,
    /// How the HTTP request ended when not well: `timeout`, `server_error`, `garbage`.
    pub answer_fault: Option<String>,
    /// The request as it came: the JSON body, or the form as an object whose values are lists of strings.
    pub request: serde_json::Value,
}

/// What a webhook is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookKind {
    /// A receipt of a message or the progress of a call.
    Status,
    /// A message from a person.
    Inbound,
    /// A request for TwiML, or keys that were pressed.
    Twiml,
    /// The handshake by which Meta checks a webhook's address.
    Handshake,
}

/// One webhook request as it was posted, with what came back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WebhookRecord {
    /// When it was posted, in simulated time.
    pub at: DateTime<Utc>,
    /// The interface on whose behalf.
    pub channel: Provider,
    /// What it is about.
    pub kind: WebhookKind,
    /// The status or event in the provider's word, such as `delivered`, `ringing`, `text`.
    pub event: String,
    /// The provider's id of the message or call.
    pub about: String,
    /// Where it was posted.
    pub url: String,
    /// Which try this was, from 1.
    pub attempt: u32,
    /// The HTTP status of the answer, when there was one.
    pub status: Option<u16>,
    /// Why there was no answer, when there was none.
    pub error: Option<String>,
    /// The JSON or form that was posted, as text.
    pub body: String,
}

/// Counts since the start or the last reset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Accepted requests by channel.
    pub accepted: BTreeMap<Provider, u64>,
    /// Refused requests by the provider's error code.
    pub refused: BTreeMap<u32, u64>,
    /// Connections closed without an answer.
    pub dropped: u64,
    /// Webhook requests, tries included.
    pub webhooks_posted: u64,
    /// Webhook requests that were answered well.
    pub webhooks_answered: u64,
    /// Webhooks that were given up after their last try.
    pub webhooks_given_up: u64,
    /// Messages in from persons.
    pub inbound: u64,
    /// Script entries that could not be played, such as a choice in a message without buttons.
    pub unplayable: u64,
    /// Handset actions and webhook retries that wait for their time (at the moment of asking).
    pub pending: u64,
    /// Handset actions that are being played (at the moment of asking).
    pub in_flight: u64,
}

/// The memory of one simulator.
#[derive(Debug)]
pub(crate) struct Ledger {
    limit: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    calls: VecDeque<AcceptedCall>,
    by_id: HashMap<String, u64>,
    next: u64,
    webhooks: VecDeque<WebhookRecord>,
    stats: Stats,
}

impl Ledger {
    /// An empty memory that keeps at most `limit` records of each kind.
    pub fn new(limit: usize) -> Self {
        Self { limit, inner: Mutex::default() }
    }

    /// Remembers an accepted request and returns its place in the order of acceptance.
    pub fn accept(&self, mut call: AcceptedCall) -> u64 {
        let mut inner = self.lock();
        let number = inner.next;
        call.number = number;
        inner.next += 1;
        *inner.stats.accepted.entry(call.channel).or_default() += 1;
        inner.by_id.insert(call.id.clone(), number);
        inner.calls.push_back(call);
        while inner.calls.len() > self.limit {
            if let Some(old) = inner.calls.pop_front() {
                inner.by_id.remove(&old.id);
            }
        }
        number
    }

    /// Changes a record that is still remembered.
    pub fn update(&self, id: &str, change: impl FnOnce(&mut AcceptedCall)) {
        let mut inner = self.lock();
        if let Some(call) = inner.place(id).and_then(|place| inner.calls.get_mut(place)) {
            change(call);
        }
    }

    /// The record with this provider id, when it is still remembered.
    pub fn find(&self, id: &str) -> Option<AcceptedCall> {
        let inner = self.lock();
        inner.place(id).and_then(|place| inner.calls.get(place)).cloned()
    }

    /// Remembered records that the filter takes, oldest first.
    pub fn calls(&self, wanted: impl Fn(&AcceptedCall) -> bool) -> Vec<AcceptedCall> {
        self.lock().calls.iter().filter(|call| wanted(call)).cloned().collect()
    }

    /// Remembers a posted webhook.
    pub fn webhook(&self, record: WebhookRecord) {
        let mut inner = self.lock();
        inner.stats.webhooks_posted += 1;
        inner.stats.webhooks_answered += u64::from(record.status.is_some_and(|s| (200..300).contains(&s)));
        inner.webhooks.push_back(record);
        while inner.webhooks.len() > self.limit {
            inner.webhooks.pop_front();
        }
    }

    /// Remembered webhooks that the filter takes, oldest first.
    pub fn webhooks(&self, wanted: impl Fn(&WebhookRecord) -> bool) -> Vec<WebhookRecord> {
        self.lock().webhooks.iter().filter(|record| wanted(record)).cloned().collect()
    }

    /// Changes the counts.
    pub fn count(&self, change: impl FnOnce(&mut Stats)) {
        change(&mut self.lock().stats);
    }

    /// Counts a refusal with this code.
    pub fn refused(&self, code: u32) {
        self.count(|stats| *stats.refused.entry(code).or_default() += 1);
    }

    /// The counts now.
    pub fn stats(&self) -> Stats {
        self.lock().stats.clone()
    }

    /// Forgets everything.
    pub fn clear(&self) {
        *self.lock() = Inner::default();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn place(&self, id: &str) -> Option<usize> {
        let number = *self.by_id.get(id)?;
        let first = self.calls.front()?.number;
        usize::try_from(number.checked_sub(first)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(id: &str) -> AcceptedCall {
        AcceptedCall {
            number: 0,
            channel: Provider::Sms,
            id: id.into(),
            to: "+919800000001".into(),
            from: "+15550001111".into(),
            body: "hello".into(),
            reference: None,
            at: Utc::now(),
            status: "queued".into(),
            error_code: None,
            answer_fault: None,
            request: serde_json::Value::Null,
        }
    }

    #[test]
    fn the_oldest_record_goes_and_the_count_stays() {
        let ledger = Ledger::new(2);
        for id in ["a", "b", "c"] {
            ledger.accept(call(id));
        }
        ledger.update("a", |c| c.status = "sent".into());
        ledger.update("c", |c| c.status = "delivered".into());
        assert!(ledger.find("a").is_none());
        assert_eq!(ledger.find("b").unwrap().status, "queued");
        assert_eq!(ledger.find("c").unwrap().status, "delivered");
        assert_eq!(ledger.stats().accepted[&Provider::Sms], 3);
    }
}
