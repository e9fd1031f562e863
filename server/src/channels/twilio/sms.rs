//! Short messages over Twilio. A sender that starts with `MG` is a messaging service, any other is a number or a name.
//!
//! After an unknown outcome Twilio is asked: [`ask`](Connector::ask) looks for the same words to the same number in the
//! account's list. The status callback carries our ids too, so a status may settle it first.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    channel::{AddressKind, ChannelType},
    delivery::{AfterUnknown, Evidence, FailureClass},
};
use serde::Deserialize;

use super::{
    RETRY_CALLBACKS,
    account::{ACCOUNT_SID, AUTH_TOKEN, Account, BASE_URL, TIMEOUT, WEBHOOK_KEY},
    errors, signature, webhook,
};
use crate::channels::{
    Answer, Connector, FetchError, Fetched, Outbound, Question, Refusal, Sent, Traits, WebhookError, WebhookFacts,
    WebhookRequest, echo,
    registry::ConnectorKind,
    settings::{ProviderSettings, SettingProblem, SettingSpec},
};

const SETTINGS: &[SettingSpec] = &[ACCOUNT_SID, AUTH_TOKEN, WEBHOOK_KEY, BASE_URL, TIMEOUT];

/// This connector in the registry.
pub const KIND: ConnectorKind = ConnectorKind {
    name: "twilio-sms",
    description: "Short messages through Twilio.",
    channel_types: &[ChannelType::Sms],
    after_unknown: AfterUnknown::Ask,
    inbound: true,
    entered_webhook: Some("/inbound"),
    settings: SETTINGS,
    build,
};

/// How many of a number's latest messages are looked through.
const PAGE_SIZE: &str = "100";
/// How far the two clocks may differ, and Twilio's are cut to whole seconds.
const CLOCK_SKEW: TimeDelta = TimeDelta::seconds(5);
/// How long after our call Twilio may have made the message.
const CREATED_WITHIN: TimeDelta = TimeDelta::minutes(5);

/// What India's registry asks for, by the contract's names and Twilio's (errors 21900 and 21901 name them).
const DLT: &[(&str, &str)] = &[("dlt_entity_id", "DltPEId"), ("dlt_template_id", "DltTemplateId")];

#[derive(Debug)]
struct TwilioSms {
    account: Account,
}

fn build(settings: &ProviderSettings) -> Result<Arc<dyn Connector>, Vec<SettingProblem>> {
    let mut reader = settings.read(SETTINGS);
    let account = Account::read(&mut reader);
    let account = reader.finish_with(account)?;
    Ok(Arc::new(TwilioSms { account }))
}

#[async_trait]
impl Connector for TwilioSms {
    fn traits(&self) -> Traits {
        Traits {
            channel_type: ChannelType::Sms,
            after_unknown: AfterUnknown::Ask,
            timeout: self.account.timeout,
            in_flight: 50,
            proves: Evidence::Delivered,
        }
    }

    async fn send(&self, outbound: &Outbound) -> Sent {
        if outbound.to.kind != AddressKind::Phone {
            let words = "only a phone number can be reached";
            return Sent::Refused(Refusal::own(FailureClass::FallOver, "address_kind", words));
        }
        let sender = if outbound.from.starts_with("MG") { "MessagingServiceSid" } else { "From" };
        let callback = format!(
            "{}/status?{}{RETRY_CALLBACKS}",
            echo::webhooks(outbound),
            echo::query(outbound.delivery_id, outbound.attempt)
        );
        let body = outbound.content.plain_text();
        let mut form = vec![
            ("To", outbound.to.value.as_str()),
            (sender, &outbound.from),
            ("Body", &body),
            ("StatusCallback", &callback),
        ];
        let told = |(name, field): &(&str, &'static str)| Some((*field, outbound.parameters.get(*name)?.as_str()));
        form.extend(DLT.iter().filter_map(told));
        self.account.create("Messages.json", &form).await
    }

    async fn ask(&self, question: &Question) -> Answer {
        // By recipient alone: Twilio's filter by day looks at the time of sending, which a queued message has not.
        let query = [("To", question.to.value.as_str()), ("PageSize", PAGE_SIZE)];
        match self.account.list::<Page>("Messages.json", &query).await {
            Some(page) => page.answer(question),
            None => Answer::CannotSay,
        }
    }

    fn read_webhook(&self, request: &WebhookRequest) -> Result<WebhookFacts, WebhookError> {
        let form = signature::check(self.account.keys(), request)?;
        match request.path.as_str() {
            "/status" => webhook::message_status(request, &form),
            "/inbound" | "" => webhook::inbound_message(&form),
            _ => Err(WebhookError::NotFound),
        }
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
    messages: Vec<Listed>,
    #[serde(default)]
    next_page_uri: Option<String>,
}

#[derive(Deserialize)]
struct Listed {
    sid: String,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    from: Option<String>,
    #[serde(default)]
    messaging_service_sid: Option<String>,
    #[serde(default)]
    direction: String,
    date_created: String,
}

impl Listed {
    fn created_at(&self) -> Option<DateTime<Utc>> {
        DateTime::parse_from_rfc2822(&self.date_created).ok().map(|time| time.with_timezone(&Utc))
    }

    fn is_the_one(&self, question: &Question) -> bool {
        let sender = if question.from.starts_with("MG") { &self.messaging_service_sid } else { &self.from };
        let in_time = self.created_at().is_some_and(|created| {
            created >= question.started_at - CLOCK_SKEW && created <= question.started_at + CREATED_WITHIN
        });
        let ours = question.content.plain_text();
        let same_words = self.body.as_deref().is_some_and(|body| says_the_same(body, &ours));
        in_time && same_words && sender.as_deref() == Some(&question.from) && self.direction.starts_with("outbound")
    }
}

/// Whether a body in Twilio's list can be our words. A trial account puts a sentence before them, and smart encoding
/// replaces quotes and dashes: so letters and digits are compared, from the end. To miss our own message here would send
/// it twice.
fn says_the_same(listed: &str, ours: &str) -> bool {
    let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
    match letters(ours) {
        none if none.is_empty() => listed.trim().ends_with(ours.trim()),
        ours => letters(listed).ends_with(&ours),
    }
}

impl Page {
    fn answer(&self, question: &Question) -> Answer {
        let mut found = self.messages.iter().filter(|message| message.is_the_one(question));
        match (found.next(), found.next()) {
            (Some(message), None) => Answer::Has { provider_message_id: message.sid.clone() },
            // The same words twice: one of them may be another delivery's.
            (Some(_), Some(_)) => Answer::CannotSay,
            (None, _) if self.reaches_back_to(question.started_at - CLOCK_SKEW) => Answer::HasNot,
            (None, _) => Answer::CannotSay,
        }
    }

    /// Whether everything since that time is on this page, so that absence means something.
    fn reaches_back_to(&self, time: DateTime<Utc>) -> bool {
        self.next_page_uri.is_none()
            || self.messages.iter().filter_map(Listed::created_at).any(|created| created < time)
    }
}

#[cfg(test)]
#[path = "sms_tests.rs"]
mod tests;
