//! What Twilio posts, read as facts: statuses of messages, messages from people, statuses of calls, steps of a call.
//!
//! The caller has checked the signature. A status that this version does not know is acknowledged and says nothing, so
//! that a new word of Twilio's does not make it repeat the callback for ever.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::{
    channel::{Address, AddressKind},
    delivery::{Evidence, FailureClass},
    message::Content,
};

use super::errors;
use crate::channels::{
    CallStep, InboundFact, ProviderOpt, ReceiptFact, Refusal, WebhookAnswer, WebhookError, WebhookFacts,
    WebhookRequest, echo,
    forms::Form,
    meaning::{Meaning, find},
};

/// An empty script: no reply of Twilio's own.
const EMPTY_TWIML: &str = r#"<?xml version="1.0" encoding="UTF-8"?><Response/>"#;

/// The type of every script.
pub(super) const XML: &str = "text/xml; charset=utf-8";

/// A status callback of a message
/// (<https://www.twilio.com/docs/messaging/guides/outbound-message-status-in-status-callbacks>).
pub(super) fn message_status(request: &WebhookRequest, form: &Form) -> Result<WebhookFacts, WebhookError> {
    let provider_message_id = required(form, "MessageSid")?;
    let status = required(form, "MessageStatus")?;
    let (evidence, failure) = match status.as_str() {
        "accepted" | "scheduled" | "queued" | "sending" | "sent" | "partially_delivered" => (Evidence::Sent, None),
        "delivered" => (Evidence::Delivered, None),
        "read" => (Evidence::Read, None),
        "failed" | "undelivered" => (Evidence::Failed, Some(failure(form, &status))),
        "canceled" => {
            (Evidence::Failed, Some(plain(FailureClass::Permanent, "canceled", "taken back at the provider")))
        }
        _ => return Ok(WebhookFacts::default()),
    };
    let receipt = ReceiptFact { provider_message_id, echo: echo_of(request), evidence, failure, provider_time: None };
    Ok(WebhookFacts { receipts: vec![receipt], ..WebhookFacts::default() })
}

/// A message from a person (<https://www.twilio.com/docs/messaging/guides/webhook-request>). Pictures beyond the first
/// become messages of their own, under ids made from the first.
pub(super) fn inbound_message(form: &Form) -> Result<WebhookFacts, WebhookError> {
    let sid = required(form, "MessageSid")?;
    let from = required(form, "From")?;
    let to = required(form, "To")?;
    let answer = WebhookAnswer::Body { content_type: XML, body: EMPTY_TWIML.to_owned() };
    if !is_e164(&from) {
        // Short codes and names belong to machines; nobody can be answered there.
        tracing::info!(message.sid = sid, "left out a message whose sender is not a phone number");
        return Ok(WebhookFacts { answer, ..WebhookFacts::default() });
    }
    let media: usize = form.text("NumMedia").and_then(|n| n.parse().ok()).unwrap_or(0);
    let text = form.text("Body").unwrap_or_default();
    let mut contents: Vec<_> = (0..media.min(10)).filter_map(|index| picture(form, index)).collect();
    match contents.first_mut() {
        Some(Content::Media { caption, .. }) => *caption = Some(text).filter(|text| !text.is_empty()),
        _ => contents.push(Content::Text { text }),
    }
    let inbound = contents.into_iter().enumerate().map(|(index, content)| InboundFact {
        provider_message_id: if index == 0 { sid.clone() } else { format!("{sid}:{index}") },
        from: vec![Address { kind: AddressKind::Phone, value: from.clone() }],
        to: to.clone(),
        display_name: None,
        content,
        in_reply_to: None,
        delivery_id: None,
        provider_opt: opt(form).filter(|_| index == 0),
        provider_time: None,
        channel_data: BTreeMap::new(),
    });
    Ok(WebhookFacts { inbound: inbound.collect(), answer, ..WebhookFacts::default() })
}

/// A status callback of a call (<https://www.twilio.com/docs/voice/api/call-resource#statuscallback>). With machine
/// detection only a human who was heard proves that the words were; without it an answered call proves no reader.
pub(super) fn call_status(request: &WebhookRequest, form: &Form, detects: bool) -> Result<WebhookFacts, WebhookError> {
    let provider_message_id = required(form, "CallSid")?;
    let status = required(form, "CallStatus")?;
    let (evidence, failure) = match status.as_str() {
        "queued" | "initiated" | "ringing" | "in-progress" => (Evidence::Sent, None),
        "completed" => match answered_by(form) {
            Some(Answerer::Human) => (Evidence::Read, None),
            Some(Answerer::Machine) => (Evidence::Failed, Some(machine())),
            Some(Answerer::Unsure) => (Evidence::Delivered, None),
            // Detection was asked for and came to no end: the person hung up before the words.
            None if detects => (Evidence::Sent, None),
            None => (Evidence::Delivered, None),
        },
        "busy" => (Evidence::Failed, Some(plain(FailureClass::Temporary, "busy", "the line was busy"))),
        "no-answer" => (Evidence::Failed, Some(plain(FailureClass::Temporary, "no-answer", "nobody answered"))),
        "canceled" => (Evidence::Failed, Some(plain(FailureClass::FallOver, "canceled", "taken back at the provider"))),
        "failed" => (Evidence::Failed, Some(failure(form, "failed"))),
        _ => return Ok(WebhookFacts::default()),
    };
    let provider_time = form.text("Timestamp").and_then(|text| DateTime::parse_from_rfc2822(&text).ok());
    let provider_time = provider_time.map(|time| time.with_timezone(&Utc));
    let receipt = ReceiptFact { provider_message_id, echo: echo_of(request), evidence, failure, provider_time };
    Ok(WebhookFacts { receipts: vec![receipt], ..WebhookFacts::default() })
}

/// A call that asks what to say: at its start, after silence, or with the digits that were pressed.
pub(super) fn call_step(request: &WebhookRequest, form: &Form, detects: bool) -> Result<WebhookFacts, WebhookError> {
    let query = Form::parse(request.query.as_bytes());
    // Without our ids it is somebody who calls our number: no script waits for them.
    let (delivery_id, attempt) = echo::from_query(&query).ok_or(WebhookError::NotFound)?;
    let round = match query.text("r") {
        Some(round) => round.parse().map_err(|_| WebhookError::Malformed("r is not a round".to_owned()))?,
        None => 0,
    };
    let sid = required(form, "CallSid")?;
    let digits = form.text("Digits");
    let answerer = answered_by(form);
    let is_machine = answerer == Some(Answerer::Machine);
    let (evidence, failure) = match answerer {
        _ if digits.is_some() => (Evidence::Read, None),
        Some(Answerer::Machine) => (Evidence::Failed, Some(machine())),
        Some(Answerer::Human) => (Evidence::Read, None),
        Some(Answerer::Unsure) => (Evidence::Delivered, None),
        None if detects => (Evidence::Sent, None),
        None => (Evidence::Delivered, None),
    };
    let receipt = ReceiptFact {
        provider_message_id: sid.clone(),
        echo: Some((delivery_id, attempt)),
        evidence,
        failure,
        provider_time: None,
    };
    let inbound = match &digits {
        Some(digits) => vec![key_press(form, &sid, round, delivery_id, digits)?],
        None => Vec::new(),
    };
    let call = Some(CallStep { delivery_id, attempt, round, digits, machine: is_machine });
    Ok(WebhookFacts { receipts: vec![receipt], inbound, call, answer: WebhookAnswer::Ok })
}

fn key_press(
    form: &Form,
    sid: &str,
    round: u8,
    delivery_id: uuid::Uuid,
    digits: &str,
) -> Result<InboundFact, WebhookError> {
    // In a call that we made, `To` is the person.
    let ours_first = form.text("Direction").is_none_or(|direction| direction.starts_with("outbound"));
    let (person, our) = if ours_first { ("To", "From") } else { ("From", "To") };
    Ok(InboundFact {
        provider_message_id: format!("{sid}:{round}"),
        from: vec![Address { kind: AddressKind::Phone, value: required(form, person)? }],
        to: required(form, our)?,
        display_name: None,
        content: Content::Key { digits: digits.to_owned() },
        in_reply_to: Some(sid.to_owned()),
        delivery_id: Some(delivery_id),
        provider_opt: None,
        provider_time: None,
        channel_data: BTreeMap::new(),
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answerer {
    Human,
    Machine,
    Unsure,
}

fn answered_by(form: &Form) -> Option<Answerer> {
    let text = form.text("AnsweredBy")?;
    Some(match text.as_str() {
        "human" => Answerer::Human,
        "fax" => Answerer::Machine,
        machine if machine.starts_with("machine") => Answerer::Machine,
        _ => Answerer::Unsure,
    })
}

fn machine() -> Refusal {
    plain(FailureClass::FallOver, "machine", "a machine answered; nothing was said")
}

fn failure(form: &Form, status: &str) -> Refusal {
    let number = |key| form.text(key).and_then(|code| code.parse::<u32>().ok()).filter(|code| *code > 0);
    if let Some(code) = number("ErrorCode") {
        return errors::refusal(code, FailureClass::FallOver);
    }
    let by_sip = number("SipResponseCode").and_then(|code| find(errors::SIP_MEANINGS, code));
    by_sip.map_or_else(
        || plain(FailureClass::FallOver, status, "the provider gave no reason"),
        |meaning| Refusal { code: format!("sip-{}", meaning.code), ..Meaning::refusal(meaning) },
    )
}

fn plain(class: FailureClass, code: &str, words: &str) -> Refusal {
    Refusal { class, code: code.to_owned(), detail: words.to_owned(), retry_after: None }
}

fn picture(form: &Form, index: usize) -> Option<Content> {
    Some(Content::Media {
        mime_type: form.text(&format!("MediaContentType{index}"))?,
        reference: form.text(&format!("MediaUrl{index}"))?,
        caption: None,
        file_name: None,
    })
}

fn opt(form: &Form) -> Option<ProviderOpt> {
    match form.text("OptOutType")?.as_str() {
        "STOP" => Some(ProviderOpt::Out),
        "START" => Some(ProviderOpt::In),
        "HELP" => Some(ProviderOpt::Help),
        _ => None,
    }
}

fn echo_of(request: &WebhookRequest) -> Option<(uuid::Uuid, i16)> {
    echo::from_query(&Form::parse(request.query.as_bytes()))
}

fn required(form: &Form, key: &str) -> Result<String, WebhookError> {
    form.text(key).ok_or_else(|| WebhookError::Malformed(format!("{key} is missing")))
}

fn is_e164(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or_default();
    (7..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
}
