//! Calls over Twilio: the call is placed with the address of its script, which Twilio fetches when somebody answers.
//!
//! With machine detection (the default) Twilio listens first and says in the fetch who answered. Our ids travel in every
//! address that we give, so each callback carries an echo. After an unknown outcome the account's list of calls is asked.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    channel::{AddressKind, ChannelType},
    delivery::{AfterUnknown, Evidence, FailureClass},
    message::Content,
};
use serde::Deserialize;

use super::{
    RETRY_CALLBACKS,
    account::{ACCOUNT_SID, AUTH_TOKEN, Account, BASE_URL, TIMEOUT, WEBHOOK_KEY},
    errors, signature,
    twiml::{self, Manner},
    webhook,
};
use crate::channels::{
    Answer, CallStep, Connector, FetchError, Fetched, Outbound, Question, Refusal, Sent, Traits, WebhookAnswer,
    WebhookError, WebhookFacts, WebhookRequest, echo,
    registry::ConnectorKind,
    settings::{ProviderSettings, SettingProblem, SettingSpec},
};

const MACHINE_DETECTION: &str = "machine_detection";
const RING: &str = "ring_seconds";
const GATHER: &str = "gather_seconds";
const VOICE: &str = "voice";
const GOODBYE: &str = "goodbye";

const SETTINGS: &[SettingSpec] = &[
    ACCOUNT_SID,
    AUTH_TOKEN,
    WEBHOOK_KEY,
    BASE_URL,
    TIMEOUT,
    SettingSpec::optional(
        MACHINE_DETECTION,
        "Whether Twilio listens who answers: enable (default), detect_message_end, or off; machines are hung up on.",
    ),
    SettingSpec::optional(RING, "How long it rings before nobody answered, 5 to 600 s; by default 30."),
    SettingSpec::optional(GATHER, "How long silence lasts before the words are repeated, 1 to 60 s; by default 5."),
    SettingSpec::optional(VOICE, "The voice, in Twilio's words, such as Polly.Aditi; by default Twilio chooses."),
    SettingSpec::optional(GOODBYE, "What is said after the last round without a key; by default a word of farewell."),
];

/// This connector in the registry.
pub const KIND: ConnectorKind = ConnectorKind {
    name: "twilio-voice",
    description: "Calls through Twilio: words are spoken and keys are understood.",
    channel_types: &[ChannelType::Voice],
    after_unknown: AfterUnknown::Ask,
    inbound: true,
    entered_webhook: None,
    settings: SETTINGS,
    build,
};

const PAGE_SIZE: &str = "100";
const CLOCK_SKEW: TimeDelta = TimeDelta::seconds(5);
const CREATED_WITHIN: TimeDelta = TimeDelta::minutes(2);

#[derive(Debug)]
struct TwilioVoice {
    account: Account,
    machine_detection: Option<&'static str>,
    ring_seconds: String,
    manner: Manner,
}

fn build(settings: &ProviderSettings) -> Result<Arc<dyn Connector>, Vec<SettingProblem>> {
    let mut reader = settings.read(SETTINGS);
    let machine_detection = match reader.one_of(MACHINE_DETECTION, &["enable", "detect_message_end", "off"]) {
        "off" => None,
        "detect_message_end" => Some("DetectMessageEnd"),
        _ => Some("Enable"),
    };
    let ring_seconds = reader.number(RING, 5..=600, 30).to_string();
    let manner = Manner {
        voice: reader.text(VOICE),
        gather_seconds: reader.number(GATHER, 1..=60, 5),
        goodbye: reader.text(GOODBYE),
    };
    let account = Account::read(&mut reader);
    let account = reader.finish_with(account)?;
    Ok(Arc::new(TwilioVoice { account, machine_detection, ring_seconds, manner }))
}

#[async_trait]
impl Connector for TwilioVoice {
    fn traits(&self) -> Traits {
        Traits {
            channel_type: ChannelType::Voice,
            after_unknown: AfterUnknown::Ask,
            timeout: self.account.timeout,
            // Twilio places one call a second for a new account; the rest would wait in its queue, out of our reach.
            in_flight: 10,
            proves: Evidence::Read,
        }
    }

    async fn send(&self, outbound: &Outbound) -> Sent {
        if outbound.to.kind != AddressKind::Phone {
            let words = "only a phone number can be reached";
            return Sent::Refused(Refusal::own(FailureClass::FallOver, "address_kind", words));
        }
        if !matches!(outbound.content, Content::Voice { .. }) {
            let words = "only voice content can be called out";
            return Sent::Refused(Refusal::own(FailureClass::Permanent, "no_script", words));
        }
        let webhooks = echo::webhooks(outbound);
        let ids = echo::query(outbound.delivery_id, outbound.attempt);
        let script = format!("{webhooks}/voice?{ids}{RETRY_CALLBACKS}");
        let status = format!("{webhooks}/status?{ids}{RETRY_CALLBACKS}");
        let mut form = vec![
            ("To", outbound.to.value.as_str()),
            ("From", &outbound.from),
            ("Url", &script),
            ("Method", "POST"),
            ("StatusCallback", &status),
            ("StatusCallbackMethod", "POST"),
        ];
        form.extend(["initiated", "ringing", "answered", "completed"].map(|event| ("StatusCallbackEvent", event)));
        form.push(("Timeout", &self.ring_seconds));
        form.extend(self.machine_detection.map(|mode| ("MachineDetection", mode)));
        self.account.create("Calls.json", &form).await
    }

    async fn ask(&self, question: &Question) -> Answer {
        let query = [("To", question.to.value.as_str()), ("From", &question.from), ("PageSize", PAGE_SIZE)];
        match self.account.list::<Page>("Calls.json", &query).await {
            Some(page) => page.answer(question),
            None => Answer::CannotSay,
        }
    }

    fn read_webhook(&self, request: &WebhookRequest) -> Result<WebhookFacts, WebhookError> {
        let form = signature::check(self.account.keys(), request)?;
        let detects = self.machine_detection.is_some();
        match request.path.as_str() {
            "/status" => webhook::call_status(request, &form, detects),
            "/voice" => webhook::call_step(request, &form, detects),
            _ => Err(WebhookError::NotFound),
        }
    }

    fn script(&self, content: &Content, step: &CallStep, webhooks: &str) -> Result<WebhookAnswer, WebhookError> {
        twiml::render(&self.manner, content, step, webhooks)
    }

    fn address_is_gone(&self, code: &str) -> bool {
        errors::is_no_number(code)
    }

    async fn fetch_media(&self, reference: &str, max_bytes: usize) -> Result<Fetched, FetchError> {
        self.account.fetch(reference, max_bytes).await
    }

    async fn check(&self) -> Result<(), String> {
        self.account.check().await
    }
}

#[derive(Deserialize)]
struct Page {
    calls: Vec<Listed>,
    #[serde(default)]
    next_page_uri: Option<String>,
}

#[derive(Deserialize)]
struct Listed {
    sid: String,
    date_created: String,
    #[serde(default)]
    direction: String,
}

impl Listed {
    fn created_at(&self) -> Option<DateTime<Utc>> {
        DateTime::parse_from_rfc2822(&self.date_created).ok().map(|time| time.with_timezone(&Utc))
    }
}

impl Page {
    /// A call carries no words in the list, so the numbers and the time must do; two calls in that time settle nothing.
    fn answer(&self, question: &Question) -> Answer {
        let earliest = question.started_at - CLOCK_SKEW;
        let latest = question.started_at + CREATED_WITHIN;
        let mut found = self.calls.iter().filter(|call| {
            call.direction.starts_with("outbound")
                && call.created_at().is_some_and(|created| created >= earliest && created <= latest)
        });
        let complete = self.next_page_uri.is_none()
            || self.calls.iter().filter_map(Listed::created_at).any(|created| created < earliest);
        match (found.next(), found.next()) {
            (Some(call), None) => Answer::Has { provider_message_id: call.sid.clone() },
            (None, _) if complete => Answer::HasNot,
            _ => Answer::CannotSay,
        }
    }
}

#[cfg(test)]
#[path = "voice_tests.rs"]
mod tests;
