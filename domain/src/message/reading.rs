//! Reading documents of every version: older ones are lifted, later ones are shown by what they say in plain words.
//!
//! The rule of a later *major* version: only its id, its place and its plain text are trusted. Of a later *minor* version
//! everything is, but for a kind of content that is not known here, which becomes its plain text.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::{
    ChannelSnapshot, Content, Direction, Document, Envelope, Party, PartyKind, Redaction, References, Times,
    schema::{CURRENT, Schema},
    v1::{Content1, Document1},
};

/// A value that is no document of a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a message of this system: {0}")]
pub struct Unreadable(String);

/// What every version of the form has, so that a reader of today can show a document of tomorrow.
#[derive(Deserialize)]
struct Lasting {
    schema: Schema,
    id: Uuid,
    conversation: Uuid,
    seq: i64,
    plain_text: String,
}

/// Reads a document of any version.
///
/// # Errors
/// [`Unreadable`] when the value is no document, or breaks the form that it says it has.
pub fn read(value: Value) -> Result<Document, Unreadable> {
    let error = |e: serde_json::Error| Unreadable(e.to_string());
    let lasting = Lasting::deserialize(&value).map_err(error)?;
    match lasting.schema.major {
        0 => Err(Unreadable("there is no version 0".to_owned())),
        1 => serde_json::from_value::<Document1>(value).map(Document::from).map_err(error),
        major if major == CURRENT.major => current(value, lasting.schema, &lasting.plain_text).map_err(error),
        _ => Ok(by_its_words(&lasting, &value)),
    }
}

/// A kind of content that a later minor version added is shown by its words.
fn current(mut value: Value, schema: Schema, words: &str) -> Result<Document, serde_json::Error> {
    let unknown =
        schema.minor > CURRENT.minor && value.get("content").is_some_and(|c| Content::deserialize(c).is_err());
    if unknown && let Some(content) = value.get_mut("content") {
        *content = serde_json::to_value(Content::Unsupported { text: words.to_owned() })?;
    }
    serde_json::from_value(value)
}

fn by_its_words(lasting: &Lasting, value: &Value) -> Document {
    let nobody = || Party { kind: PartyKind::System, display: String::new() };
    let part = |name: &str| value.get(name).cloned().unwrap_or_default();
    Document {
        schema: lasting.schema,
        id: lasting.id,
        conversation: lasting.conversation,
        seq: lasting.seq,
        direction: serde_json::from_value(part("direction")).unwrap_or(Direction::Internal),
        sender: serde_json::from_value(part("sender")).unwrap_or_else(|_| nobody()),
        receiver: serde_json::from_value(part("receiver")).unwrap_or_default(),
        channel: serde_json::from_value(part("channel")).unwrap_or_default(),
        times: serde_json::from_value(part("times")).unwrap_or(Times {
            provider: None,
            received: DateTime::UNIX_EPOCH,
            stored: DateTime::UNIX_EPOCH,
        }),
        language: None,
        content: Content::Unsupported { text: lasting.plain_text.clone() },
        plain_text: lasting.plain_text.clone(),
        references: References::default(),
        redaction: serde_json::from_value(part("redaction")).unwrap_or_default(),
    }
}

/// A message as its columns hold it, in whatever version it was written.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The version of its form, such as `1.0`.
    pub version: String,
    /// The message.
    pub id: Uuid,
    /// Its conversation.
    pub conversation: Uuid,
    /// Its place in the conversation.
    pub seq: i64,
    /// Which way it went.
    pub direction: Direction,
    /// The sender, as displayed.
    pub sender: String,
    /// The receiver, as displayed.
    pub receiver: String,
    /// The channel as it is now, for messages of before 2.0, which did not keep it.
    pub channel: Option<ChannelSnapshot>,
    /// What was said.
    pub content: Value,
    /// The words alone.
    pub plain_text: String,
    /// The rest of it, from 2.0 on.
    pub envelope: Option<Value>,
    /// The mark of a redaction.
    pub redaction: Option<Redaction>,
    /// When.
    pub times: (Option<DateTime<Utc>>, DateTime<Utc>, DateTime<Utc>),
    /// The provider's id.
    pub provider_message: Option<String>,
    /// The message that it answers.
    pub in_reply_to: Option<Uuid>,
    /// The notification that it serves or answers.
    pub notification: Option<Uuid>,
    /// The delivery that carried it.
    pub delivery: Option<Uuid>,
}

/// Puts the document together from its columns; never fails, so that no row can hide a page. A part that cannot be read is
/// left out, and content that cannot be read is shown by its words.
#[must_use]
pub fn restore(stored: Stored) -> Document {
    let schema = Schema::parse(&stored.version).unwrap_or(CURRENT);
    let envelope = stored.envelope.and_then(|envelope| serde_json::from_value::<Envelope>(envelope).ok());
    let content = match &stored.redaction {
        Some(_) => Content::Redacted {},
        None => said(schema, stored.content, &stored.plain_text),
    };
    let envelope = envelope.unwrap_or_else(|| lifted(stored.direction, stored.sender, stored.receiver, stored.channel));
    let (provider, received, stored_at) = stored.times;
    Document {
        // What is older than today's form has been lifted to it.
        schema: if schema.major <= CURRENT.major { CURRENT } else { schema },
        id: stored.id,
        conversation: stored.conversation,
        seq: stored.seq,
        direction: stored.direction,
        sender: envelope.sender,
        receiver: envelope.receiver,
        channel: envelope.channel,
        times: Times { provider, received, stored: stored_at },
        language: envelope.language,
        plain_text: if stored.redaction.is_some() { content.plain_text() } else { stored.plain_text },
        content,
        references: References {
            provider_message: stored.provider_message,
            in_reply_to: stored.in_reply_to,
            notification: stored.notification,
            delivery: stored.delivery,
            campaign: envelope.campaign,
            template: envelope.template,
            flow: envelope.flow,
        },
        redaction: stored.redaction,
    }
}

fn said(schema: Schema, content: Value, words: &str) -> Content {
    let read = match schema.major {
        1 => serde_json::from_value::<Content1>(content).map(Content::from).ok(),
        major if major == CURRENT.major => serde_json::from_value(content).ok(),
        _ => None,
    };
    read.unwrap_or_else(|| Content::Unsupported { text: words.to_owned() })
}

/// The envelope of a message that was stored without one, from what is known of it now.
fn lifted(direction: Direction, sender: String, receiver: String, channel: Option<ChannelSnapshot>) -> Envelope {
    let (from, to) = match direction {
        Direction::Inbound => (PartyKind::Contact, PartyKind::Business),
        Direction::Outbound => (PartyKind::Business, PartyKind::Contact),
        Direction::Internal => (PartyKind::Operator, PartyKind::Business),
    };
    Envelope {
        sender: Party { kind: from, display: sender },
        receiver: (direction != Direction::Internal).then_some(Party { kind: to, display: receiver }),
        channel,
        language: None,
        campaign: None,
        template: None,
        flow: None,
    }
}
