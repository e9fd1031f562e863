//! Version 1.0 of the document, frozen: what was stored before 2.0. Nothing here changes any more.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Attachment, Choice, Content, Direction, Document, Party, PartyKind, References, Times,
    schema::{CURRENT, Schema},
};

/// A message of version 1.0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Document1 {
    /// The form that this document has.
    pub schema: Schema,
    /// The message (a UUID of version 7).
    pub id: Uuid,
    /// Its conversation.
    pub conversation: Uuid,
    /// Its place in the conversation, from 1.
    pub seq: i64,
    /// Whether it went to the contact.
    pub outbound: bool,
    /// The sender, as displayed.
    pub sender: String,
    /// The receiver, as displayed.
    pub receiver: String,
    /// What was said.
    pub content: Content1,
    /// The words alone.
    pub plain_text: String,
    /// The provider's id of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_message_id: Option<String>,
    /// The message that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_reply_to: Option<Uuid>,
    /// The notification that it serves or answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notification_id: Option<Uuid>,
    /// The delivery that carried it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery_id: Option<Uuid>,
    /// When, by the provider's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_time: Option<DateTime<Utc>>,
    /// When it arrived or was made.
    pub received_at: DateTime<Utc>,
    /// When the database took it.
    pub stored_at: DateTime<Utc>,
}

/// What was said, in the kinds of version 1.0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Content1 {
    /// Words.
    Text {
        /// The words.
        text: String,
    },
    /// A mail.
    Email {
        /// The subject line.
        subject: String,
        /// The plain-text part.
        text: String,
        /// The HTML part.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        html: Option<String>,
        /// Files.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        attachments: Vec<Attachment>,
    },
    /// Words with choices.
    Choices {
        /// The question.
        text: String,
        /// A line above.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        header: Option<String>,
        /// A line below.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        footer: Option<String>,
        /// The label that opens a list.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        list_button: Option<String>,
        /// What can be chosen.
        choices: Vec<Choice>,
    },
    /// A template that the provider holds.
    ProviderTemplate {
        /// Its name at the provider.
        name: String,
        /// Its language at the provider.
        language: String,
        /// The parameters of its body.
        #[serde(default)]
        parameters: Vec<String>,
        /// The payloads of its buttons.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        button_payloads: Vec<String>,
        /// What it says.
        text: String,
    },
    /// A script to be spoken.
    Voice {
        /// What is said.
        say: String,
        /// The language of the speech.
        language: String,
        /// What may be pressed.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        keys: Vec<Choice>,
        /// How often the words are said.
        repeat: u8,
        /// What is said after a key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        thanks: Option<String>,
    },
    /// A choice that was made.
    Chosen {
        /// The id of the choice.
        id: String,
        /// Its title.
        title: String,
    },
    /// A key that was pressed.
    Key {
        /// The digits.
        digits: String,
    },
    /// A file.
    Media {
        /// The MIME type.
        mime_type: String,
        /// The provider's id or link.
        reference: String,
        /// The words beneath.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        caption: Option<String>,
        /// The file name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file_name: Option<String>,
    },
    /// A place.
    Location {
        /// Degrees north, in millionths.
        latitude_micro: i32,
        /// Degrees east, in millionths.
        longitude_micro: i32,
        /// The name of the place.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    /// Something that could not be represented.
    Unsupported {
        /// What it was.
        text: String,
    },
}

impl From<Document1> for Document {
    /// Lifts. What 1.0 did not say (the channel, the language) stays unsaid: whoever knows it fills it in.
    fn from(old: Document1) -> Self {
        let contact = |display| Party { kind: PartyKind::Contact, display };
        let business = |display| Party { kind: PartyKind::Business, display };
        let (sender, receiver, direction) = if old.outbound {
            (business(old.sender), contact(old.receiver), Direction::Outbound)
        } else {
            (contact(old.sender), business(old.receiver), Direction::Inbound)
        };
        Self {
            schema: CURRENT,
            id: old.id,
            conversation: old.conversation,
            seq: old.seq,
            direction,
            sender,
            receiver: Some(receiver),
            channel: None,
            times: Times { provider: old.provider_time, received: old.received_at, stored: old.stored_at },
            language: None,
            content: old.content.into(),
            plain_text: old.plain_text,
            references: References {
                provider_message: old.provider_message_id,
                in_reply_to: old.in_reply_to,
                notification: old.notification_id,
                delivery: old.delivery_id,
                ..References::default()
            },
            redaction: None,
        }
    }
}

impl From<Content1> for Content {
    fn from(old: Content1) -> Self {
        match old {
            Content1::Text { text } => Self::Text { text },
            Content1::Email { subject, text, html, attachments } => Self::Email { subject, text, html, attachments },
            Content1::Choices { text, header, footer, list_button, choices } => {
                Self::Choices { text, header, footer, list_button, choices }
            }
            Content1::ProviderTemplate { name, language, parameters, button_payloads, text } => {
                Self::ProviderTemplate { name, language, parameters, button_payloads, text }
            }
            Content1::Voice { say, language, keys, repeat, thanks } => {
                Self::Voice { say, language, keys, repeat, thanks }
            }
            Content1::Chosen { id, title } => Self::Chosen { id, title },
            Content1::Key { digits } => Self::Key { digits },
            Content1::Media { mime_type, reference, caption, file_name } => {
                Self::Media { mime_type, reference, caption, file_name }
            }
            Content1::Location { latitude_micro, longitude_micro, name } => {
                Self::Location { latitude_micro, longitude_micro, name }
            }
            Content1::Unsupported { text } => Self::Unsupported { text },
        }
    }
}
