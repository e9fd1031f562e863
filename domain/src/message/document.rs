//! The document of a message: everything that is needed to show it, in one value.
//!
//! Names and addresses are what they were when the message was stored; ids are references and may lead nowhere later. Times
//! are UTC. What may change after storing (what is known of the delivery, receipts, read marks, where a file was copied to)
//! is not part of it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Content, Schema};
use crate::channel::{Address, ChannelType};

/// One message, in or out, or a note about a conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Document {
    /// The form that this document has.
    pub schema: Schema,
    /// The message (a UUID of version 7).
    pub id: Uuid,
    /// Its conversation.
    pub conversation: Uuid,
    /// Its place in the conversation, from 1, without gaps.
    pub seq: i64,
    /// Which way it went.
    pub direction: Direction,
    /// Who said it.
    pub sender: Party,
    /// To whom; none for a note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiver: Option<Party>,
    /// The channel as it was; none for a note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<ChannelSnapshot>,
    /// When.
    pub times: Times,
    /// The language of the words (BCP 47), as far as it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// What was said.
    pub content: Content,
    /// The words alone, for readers that do not know the kind of content.
    pub plain_text: String,
    /// What it refers to.
    #[serde(default, skip_serializing_if = "References::is_empty")]
    pub references: References,
    /// The mark of a redaction: what was said is gone, and the content is `redacted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redaction: Option<Redaction>,
}

/// Which way a message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From the contact.
    Inbound,
    /// To the contact.
    Outbound,
    /// To nobody: a note or a notice within the conversation.
    Internal,
}

/// Who spoke or was spoken to, as displayed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Party {
    /// What they are.
    pub kind: PartyKind,
    /// The name or the address under which they were shown.
    pub display: String,
}

/// What a party is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PartyKind {
    /// The person that the conversation is held with.
    Contact,
    /// The business as such: its line.
    Business,
    /// A person who works for the business.
    Operator,
    /// A bot that works for the business.
    Bot,
    /// An application that calls the API.
    Application,
    /// Switchboard itself.
    System,
}

/// A channel as it was when a message was stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ChannelSnapshot {
    /// The medium, such as `WHATSAPP`.
    #[serde(rename = "type")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub channel_type: ChannelType,
    /// The channel's name in the API, such as `wa-main`.
    pub name: String,
    /// The provider, where it was known: an outbound message is stored before one is chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Our own address on the channel.
    pub service_identifier: String,
    /// The contact's address.
    #[cfg_attr(test, schemars(with = "AddressShape"))]
    pub address: Address,
}

/// The form of an address, for the schema.
#[cfg(test)]
#[derive(schemars::JsonSchema)]
#[expect(dead_code, reason = "only its schema is wanted")]
struct AddressShape {
    /// `phone`, `email` or `whatsapp_user`.
    kind: String,
    /// The address itself.
    value: String,
}

/// When a message was said, came and was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Times {
    /// By the provider's clock, where it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<DateTime<Utc>>,
    /// When it arrived or was made, in business time.
    pub received: DateTime<Utc>,
    /// When the database took it, in machine time.
    pub stored: DateTime<Utc>,
}

/// What a message refers to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct References {
    /// The provider's id of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_message: Option<String>,
    /// The message that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_reply_to: Option<Uuid>,
    /// The notification that it serves or answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notification: Option<Uuid>,
    /// The delivery that carried it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Uuid>,
    /// The campaign that it belongs to, by its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campaign: Option<i64>,
    /// The template that it was rendered from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<TemplateRef>,
    /// The flow that said it, or that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow: Option<FlowRef>,
}

/// The version of a template that a message was rendered from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TemplateRef {
    /// Its name in the API.
    pub name: String,
    /// The number of the version.
    pub version: i32,
    /// The language that was taken.
    pub language: String,
    /// What its variables held; taken away by a redaction.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub parameters: serde_json::Map<String, serde_json::Value>,
}

/// A place in a flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FlowRef {
    /// Its name in the API.
    pub name: String,
    /// The number of the version.
    pub version: i32,
    /// The step, where one is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
}

/// Who took the words of a message away, when and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Redaction {
    /// Who asked for it, as displayed.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When, in business time.
    pub at: DateTime<Utc>,
}

/// The part of a document that is stored as one value beside the columns that queries ask for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// Who said it.
    pub sender: Party,
    /// To whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiver: Option<Party>,
    /// The channel as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<ChannelSnapshot>,
    /// The language of the words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// The campaign that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campaign: Option<i64>,
    /// The template that it was rendered from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<TemplateRef>,
    /// The flow that said it, or that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow: Option<FlowRef>,
}

impl Document {
    /// The same document without what was said: the mark stands in its place, and what the template was filled with goes too.
    /// A second redaction changes nothing: the first mark stays.
    #[must_use]
    pub fn redacted(mut self, mark: Redaction) -> Self {
        if self.redaction.is_some() {
            return self;
        }
        self.content = Content::Redacted {};
        self.plain_text = self.content.plain_text();
        if let Some(template) = &mut self.references.template {
            template.parameters.clear();
        }
        self.redaction = Some(mark);
        self
    }
}

impl Envelope {
    /// What of it stays when the words are taken away.
    #[must_use]
    pub fn redacted(mut self) -> Self {
        if let Some(template) = &mut self.template {
            template.parameters.clear();
        }
        self
    }
}

impl References {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
