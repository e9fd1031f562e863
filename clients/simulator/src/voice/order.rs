//! What a caller asked for when placing a call, and the parameters that every webhook of the call carries.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::core::Core;
use crate::ledger::{Provider, WebhookKind};
use crate::twilio::{API_VERSION, Form, form_webhook, rfc2822};
use crate::webhook::Webhook;

/// Which events of a call are reported.
pub(crate) const EVENTS: &[&str] = &["initiated", "ringing", "answered", "completed"];

/// A call that was accepted.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub sid: String,
    pub to: String,
    pub from: String,
    /// The document itself, or where it is fetched.
    pub document: Document,
    pub fallback: Option<String>,
    pub status_callback: Option<String>,
    pub events: Vec<String>,
    pub detection: Detection,
    /// Where the result of an asynchronous detection is posted.
    pub amd_callback: Option<String>,
    /// How long it may ring.
    pub timeout: Duration,
}

/// Where a call's TwiML comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Document {
    /// Given with the call.
    Inline(String),
    /// Fetched when the call is answered.
    At { url: String, get: bool },
}

/// Whether and how it is found out who answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detection {
    /// Not at all.
    Off,
    /// Before the TwiML is fetched; `end` waits for the end of a machine's greeting.
    First { end: bool },
    /// While the call goes on; the result comes by its own callback.
    Meanwhile { end: bool },
}

impl Order {
    /// Reads the parameters of a call that passed the checks.
    pub fn read(form: &Form, sid: &str) -> Self {
        let text = |name: &str| form.get(name).map(str::to_owned);
        let is_get = |name: &str| form.get(name).is_some_and(|method| method.eq_ignore_ascii_case("GET"));
        let end = form.get("MachineDetection") == Some("DetectMessageEnd");
        let detection = match (form.get("MachineDetection"), form.get("AsyncAmd")) {
            (None, _) => Detection::Off,
            (Some(_), Some("true")) => Detection::Meanwhile { end },
            (Some(_), _) => Detection::First { end },
        };
        let mut events: Vec<String> = form.words("StatusCallbackEvent").into_iter().map(str::to_owned).collect();
        if events.is_empty() {
            events.push("completed".into());
        }
        Self {
            sid: sid.to_owned(),
            to: text("To").unwrap_or_default(),
            from: text("From").unwrap_or_default(),
            document: match text("Url") {
                Some(url) => Document::At { url, get: is_get("Method") },
                None => Document::Inline(text("Twiml").unwrap_or_default()),
            },
            fallback: text("FallbackUrl"),
            status_callback: text("StatusCallback"),
            events,
            detection,
            amd_callback: text("AsyncAmdStatusCallback"),
            timeout: Duration::from_secs(form.get("Timeout").and_then(|t| t.parse().ok()).unwrap_or(60).clamp(5, 600)),
        }
    }

    /// What every webhook of this call carries.
    pub fn params(&self, core: &Core, status: &str) -> Vec<(&'static str, String)> {
        vec![
            ("CallSid", self.sid.clone()),
            ("AccountSid", core.config.twilio.account_sid.clone()),
            ("From", self.from.clone()),
            ("To", self.to.clone()),
            ("Caller", self.from.clone()),
            ("Called", self.to.clone()),
            ("CallStatus", status.to_owned()),
            ("Direction", "outbound-api".to_owned()),
            ("ApiVersion", API_VERSION.to_owned()),
        ]
    }

    /// The callback of one event, when it was asked for.
    pub fn callback(
        &self,
        core: &Core,
        event: &str,
        status: &str,
        sequence: usize,
        at: DateTime<Utc>,
        more: Vec<(&'static str, String)>,
    ) -> Option<Webhook> {
        if !self.events.iter().any(|wanted| wanted == event) {
            return None;
        }
        let mut params = self.params(core, status);
        params.push(("CallbackSource", "call-progress-events".to_owned()));
        params.push(("SequenceNumber", sequence.to_string()));
        params.push(("Timestamp", rfc2822(at)));
        params.extend(more);
        let url = self.status_callback.as_deref()?;
        Some(form_webhook(Provider::Voice, WebhookKind::Status, status, &self.sid, url, params))
    }
}
