//! What Meta posts, read as facts: statuses and messages, many in one request, in no order, each at least once.
//!
//! The caller has checked the signature. An entry that cannot be read is left out and the rest goes on, because Meta
//! would repeat the whole request for a week otherwise. A person may have a phone number, a user id, or both.
//! Shapes: <https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks/components>.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::{
    channel::{Address, AddressKind},
    delivery::{Evidence, FailureClass},
    message::Content,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{echo_of, errors};
use crate::channels::{InboundFact, ReceiptFact, WebhookError, WebhookFacts};

#[derive(Deserialize)]
struct Notice {
    entry: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    changes: Vec<Change>,
}

#[derive(Deserialize)]
struct Change {
    #[serde(default)]
    field: String,
    #[serde(default)]
    value: Value,
}

#[derive(Deserialize, Default)]
struct Messages {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    contacts: Vec<Value>,
    #[serde(default)]
    messages: Vec<Value>,
    #[serde(default)]
    statuses: Vec<Value>,
}

#[derive(Deserialize, Default)]
struct Metadata {
    #[serde(default)]
    phone_number_id: String,
}

#[derive(Deserialize)]
struct Person {
    wa_id: Option<String>,
    user_id: Option<String>,
    profile: Option<Profile>,
}

#[derive(Deserialize)]
struct Profile {
    name: Option<String>,
}

#[derive(Deserialize)]
struct Status {
    id: String,
    status: String,
    timestamp: Option<String>,
    biz_opaque_callback_data: Option<String>,
    #[serde(default)]
    errors: Vec<StatusError>,
}

#[derive(Deserialize)]
struct StatusError {
    code: u32,
}

#[derive(Deserialize)]
struct Message {
    id: String,
    from: Option<String>,
    from_user_id: Option<String>,
    timestamp: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    context: Option<Context>,
    text: Option<Text>,
    button: Option<Button>,
    interactive: Option<Interactive>,
    location: Option<Location>,
    reaction: Option<Reaction>,
    #[serde(alias = "audio", alias = "video", alias = "document", alias = "sticker")]
    image: Option<Media>,
}

#[derive(Deserialize)]
struct Context {
    id: Option<String>,
}

#[derive(Deserialize)]
struct Text {
    body: String,
}

#[derive(Deserialize)]
struct Button {
    payload: Option<String>,
    text: String,
}

#[derive(Deserialize)]
struct Interactive {
    #[serde(alias = "list_reply")]
    button_reply: Option<Reply>,
}

#[derive(Deserialize)]
struct Reply {
    id: String,
    title: String,
}

#[derive(Deserialize)]
struct Location {
    latitude: f64,
    longitude: f64,
    name: Option<String>,
    address: Option<String>,
}

#[derive(Deserialize)]
struct Reaction {
    message_id: String,
    emoji: Option<String>,
}

#[derive(Deserialize)]
struct Media {
    id: String,
    #[serde(default)]
    mime_type: String,
    caption: Option<String>,
    filename: Option<String>,
}

/// Every fact in a body.
pub(super) fn read(body: &[u8]) -> Result<WebhookFacts, WebhookError> {
    let notice: Notice = serde_json::from_slice(body).map_err(|error| {
        // Where, not what: serde's own words may quote the body.
        WebhookError::Malformed(format!(
            "not a notice of the Cloud API (line {}, column {})",
            error.line(),
            error.column()
        ))
    })?;
    let mut facts = WebhookFacts::default();
    let changes = notice.entry.into_iter().flat_map(|entry| entry.changes);
    for change in changes.filter(|change| change.field == "messages") {
        let Some(value) = readable::<Messages>("change", change.value) else { continue };
        let people: Vec<Person> = value.contacts.into_iter().filter_map(|one| readable("contact", one)).collect();
        let statuses = value.statuses.into_iter().filter_map(|one| readable("status", one));
        facts.receipts.extend(statuses.filter_map(receipt));
        let messages = value.messages.into_iter().filter_map(|one| readable("message", one));
        facts.inbound.extend(messages.filter_map(|one| inbound(one, &people, &value.metadata.phone_number_id)));
    }
    Ok(facts)
}

fn readable<T: DeserializeOwned>(what: &'static str, value: Value) -> Option<T> {
    let read = serde_json::from_value(value).ok();
    if read.is_none() {
        tracing::warn!(part = what, "left out a part of a WhatsApp webhook that does not have its documented shape");
    }
    read
}

fn receipt(status: Status) -> Option<ReceiptFact> {
    let evidence = match status.status.as_str() {
        "sent" => Evidence::Sent,
        "delivered" => Evidence::Delivered,
        "read" | "played" => Evidence::Read,
        "failed" => Evidence::Failed,
        // A status of the future says nothing to this version.
        _ => return None,
    };
    let echo = echo_of(status.biz_opaque_callback_data.as_deref());
    let failure = (evidence == Evidence::Failed).then(|| {
        let code = status.errors.first().map_or(131_000, |error| error.code);
        errors::refusal(code, echo.map_or(1, |(_, attempt)| attempt), FailureClass::FallOver)
    });
    let provider_time = time(status.timestamp.as_deref());
    Some(ReceiptFact { provider_message_id: status.id, echo, evidence, failure, provider_time })
}

fn inbound(message: Message, people: &[Person], our_number: &str) -> Option<InboundFact> {
    // Notices about the conversation, such as a changed number: nobody said anything.
    if matches!(message.kind.as_str(), "system" | "request_welcome") {
        return None;
    }
    let person = people.iter().find(|person| is_sender(person, &message));
    let phone = message.from.clone().or_else(|| person.and_then(|person| person.wa_id.clone()));
    let user = message.from_user_id.clone().or_else(|| person.and_then(|person| person.user_id.clone()));
    let mut from: Vec<_> = [phone, user].into_iter().flatten().map(address).collect();
    from.dedup();
    if from.is_empty() {
        // Without its id: a message id of WhatsApp holds the phone number.
        tracing::warn!("left out a WhatsApp message without a sender");
        return None;
    }
    let reacted_to = message.reaction.as_ref().map(|reaction| reaction.message_id.clone());
    Some(InboundFact {
        provider_message_id: message.id.clone(),
        from,
        to: our_number.to_owned(),
        display_name: person.and_then(|person| person.profile.as_ref()?.name.clone()),
        in_reply_to: message.context.as_ref().and_then(|context| context.id.clone()).or(reacted_to),
        delivery_id: None,
        provider_opt: None,
        provider_time: time(message.timestamp.as_deref()),
        channel_data: BTreeMap::new(),
        content: content(message),
    })
}

/// The sender among the contacts of the change: by number or by user id, since either may be missing.
fn is_sender(person: &Person, message: &Message) -> bool {
    let same = |ours: &Option<String>, theirs: &Option<String>| ours.is_some() && ours == theirs;
    same(&person.wa_id, &message.from) || same(&person.user_id, &message.from_user_id)
}

/// A number when it is digits, else a user id such as `IN.1349`.
fn address(value: String) -> Address {
    let digits = value.strip_prefix('+').unwrap_or(&value);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        Address { kind: AddressKind::Phone, value: format!("+{digits}") }
    } else {
        Address { kind: AddressKind::WhatsappUser, value }
    }
}

fn content(message: Message) -> Content {
    let kind = message.kind;
    if let Some(text) = message.text {
        Content::Text { text: text.body }
    } else if let Some(button) = message.button {
        Content::Chosen { id: button.payload.unwrap_or_else(|| button.text.clone()), title: button.text }
    } else if let Some(reply) = message.interactive.and_then(|interactive| interactive.button_reply) {
        Content::Chosen { id: reply.id, title: reply.title }
    } else if let Some(media) = message.image {
        Content::Media {
            mime_type: media.mime_type,
            reference: media.id,
            caption: media.caption,
            file_name: media.filename,
        }
    } else if let Some(place) = message.location {
        Content::Location {
            latitude_micro: micro(place.latitude),
            longitude_micro: micro(place.longitude),
            name: place.name.or(place.address),
        }
    } else if let Some(emoji) = message.reaction.and_then(|reaction| reaction.emoji) {
        Content::Unsupported { text: emoji }
    } else {
        Content::Unsupported { text: format!("[{kind}]") }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "clamped to the range of degrees first; NaN becomes 0")]
fn micro(degrees: f64) -> i32 {
    (degrees.clamp(-180.0, 180.0) * 1e6).round() as i32
}

fn time(seconds: Option<&str>) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(seconds?.parse().ok()?, 0)
}
