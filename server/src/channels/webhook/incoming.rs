//! What the far end posts, read as facts: messages of people, and what became of ours. A request is taken as a whole or not at
//! all, and every fault in it is named, because whoever wrote the far end is there to mend it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::{
    channel::{Address, AddressKind},
    delivery::{Evidence, FailureClass},
    message::Content,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use uuid::Uuid;

use super::super::{InboundFact, ReceiptFact, Refusal, WebhookError, WebhookFacts};

/// Entries in one request.
const MAX_ENTRIES: usize = 1_000;
/// Characters of an id.
const MAX_ID: usize = 200;
/// Entries of the data of a channel.
const MAX_DATA: usize = 100;
/// Faults that are named at most.
const MAX_FAULTS: usize = 50;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Posted {
    #[serde(default)]
    messages: Vec<Value>,
    #[serde(default)]
    receipts: Vec<Value>,
}

#[derive(Deserialize)]
struct Message {
    id: String,
    from: Sender,
    #[serde(default)]
    to: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    content: Option<Content>,
    #[serde(default)]
    in_reply_to: Option<String>,
    #[serde(default)]
    delivery_id: Option<Uuid>,
    #[serde(default)]
    time: Option<DateTime<Utc>>,
    #[serde(default)]
    channel_data: BTreeMap<String, String>,
}

/// One address in short, or all by which the person is known, the one to answer to first.
#[derive(Deserialize)]
#[serde(untagged)]
enum Sender {
    Short(String),
    Known(Vec<Address>),
}

#[derive(Deserialize)]
struct Receipt {
    #[serde(default)]
    message_id: Option<String>,
    #[serde(default)]
    delivery_id: Option<Uuid>,
    #[serde(default)]
    attempt: Option<i16>,
    status: String,
    #[serde(default)]
    class: Option<FailureClass>,
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    detail: Option<String>,
    #[serde(default)]
    time: Option<DateTime<Utc>>,
}

/// Reads the body of a request whose signature fits.
pub(super) fn read(body: &[u8]) -> Result<WebhookFacts, WebhookError> {
    let posted: Posted = serde_json::from_slice(body)
        .map_err(|error| WebhookError::Malformed(format!("not the documented JSON: {error}")))?;
    let (mut faults, mut facts) = (Vec::new(), WebhookFacts::default());
    for (name, entries) in [("messages", &posted.messages), ("receipts", &posted.receipts)] {
        if entries.len() > MAX_ENTRIES {
            faults.push(format!("{name} has {} entries, at most {MAX_ENTRIES} are taken at once", entries.len()));
        }
    }
    for (index, entry) in posted.messages.into_iter().enumerate() {
        facts.inbound.extend(one(&format!("messages[{index}]"), entry, message, &mut faults));
    }
    for (index, entry) in posted.receipts.into_iter().enumerate() {
        facts.receipts.extend(one(&format!("receipts[{index}]"), entry, receipt, &mut faults));
    }
    if faults.is_empty() {
        return Ok(facts);
    }
    faults.truncate(MAX_FAULTS);
    Err(WebhookError::Malformed(faults.join("; ")))
}

fn one<T: DeserializeOwned, F>(
    path: &str,
    entry: Value,
    read: impl FnOnce(T, &mut Vec<String>) -> Option<F>,
    faults: &mut Vec<String>,
) -> Option<F> {
    let mut own = Vec::new();
    let fact = match serde_json::from_value(entry) {
        Ok(entry) => read(entry, &mut own),
        Err(error) => {
            own.push(format!(": {error}"));
            None
        }
    };
    faults.extend(own.into_iter().map(|fault| format!("{path}{fault}")));
    fact
}

fn message(given: Message, faults: &mut Vec<String>) -> Option<InboundFact> {
    if !(1..=MAX_ID).contains(&given.id.chars().count()) {
        faults.push(format!(".id must have 1 to {MAX_ID} characters"));
    }
    let from = sender(given.from, faults);
    let content = match (given.content, given.text) {
        (Some(content), None) => Some(content),
        (None, Some(text)) if !text.is_empty() => Some(Content::Text { text }),
        _ => {
            faults.push(": exactly one of text (not empty) and content must be there".to_owned());
            None
        }
    };
    if given.channel_data.len() > MAX_DATA {
        faults.push(format!(".channel_data has more than {MAX_DATA} entries"));
    }
    Some(InboundFact {
        provider_message_id: given.id,
        from,
        to: given.to,
        display_name: given.name.filter(|name| !name.is_empty()),
        content: content?,
        in_reply_to: given.in_reply_to,
        delivery_id: given.delivery_id,
        provider_opt: None,
        provider_time: given.time,
        channel_data: given.channel_data,
    })
}

fn sender(given: Sender, faults: &mut Vec<String>) -> Vec<Address> {
    let given = match given {
        Sender::Short(text) => vec![Address { kind: kind_of(&text), value: text }],
        Sender::Known(all) => all,
    };
    if given.is_empty() {
        faults.push(".from is empty".to_owned());
    }
    let mut read = Vec::with_capacity(given.len());
    for address in given {
        match Address::parse(address.kind, &address.value, None) {
            Ok(address) => read.push(address),
            Err(error) => faults.push(format!(".from {error}")),
        }
    }
    read
}

/// The kind of an address in short: `+9198...`, `someone@example.org`, `telegram:1093`.
fn kind_of(text: &str) -> AddressKind {
    match text {
        text if text.starts_with('+') => AddressKind::Phone,
        text if text.contains('@') && !text.contains(':') => AddressKind::Email,
        _ => AddressKind::External,
    }
}

fn receipt(given: Receipt, faults: &mut Vec<String>) -> Option<ReceiptFact> {
    let evidence = match given.status.as_str() {
        "sent" => Some(Evidence::Sent),
        "delivered" => Some(Evidence::Delivered),
        "read" => Some(Evidence::Read),
        "failed" => Some(Evidence::Failed),
        _ => {
            faults.push(".status must be sent, delivered, read or failed".to_owned());
            None
        }
    };
    let echo = match (given.delivery_id, given.attempt) {
        (Some(delivery), Some(attempt)) if attempt >= 1 => Some((delivery, attempt)),
        (None, None) => None,
        _ => {
            faults.push(": delivery_id and attempt (from 1) belong together".to_owned());
            None
        }
    };
    let message_id = given.message_id.filter(|id| !id.is_empty());
    if message_id.is_none() && echo.is_none() {
        faults.push(": message_id, or delivery_id and attempt, must say which message it is".to_owned());
    }
    let evidence = evidence?;
    let failure = (evidence == Evidence::Failed).then(|| Refusal {
        class: given.class.unwrap_or(FailureClass::FallOver),
        code: given.code.unwrap_or_else(|| "failed".to_owned()),
        detail: given.detail.unwrap_or_default(),
        retry_after: None,
    });
    let token = |(delivery, attempt)| super::super::echo::token(delivery, attempt);
    Some(ReceiptFact {
        provider_message_id: message_id.or_else(|| echo.map(token)).unwrap_or_default(),
        echo,
        evidence,
        failure,
        provider_time: given.time,
    })
}
