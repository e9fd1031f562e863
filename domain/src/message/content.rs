//! What is said: the content of one message, in or out, the same type for every channel. Who said it to whom, where and when
//! stands around it in the [`Document`](super::Document).
//!
//! A template renders to a [`Content`]; a connector turns a [`Content`] into its provider's request, and a provider's
//! webhook into one. A connector that cannot say something says the plain text instead ([`Content::plain_text`]).
//! A kind or a field that is added here is a new minor version of the document: see [`super::schema`].

use serde::{Deserialize, Serialize};

/// The body of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Content {
    /// Words.
    Text {
        /// The words; for WhatsApp 1 to 4096 characters.
        text: String,
    },
    /// A mail.
    Email {
        /// The subject line.
        subject: String,
        /// The plain-text part.
        text: String,
        /// The HTML part, where there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        html: Option<String>,
        /// Files to attach.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        attachments: Vec<Attachment>,
    },
    /// Words with choices: buttons (up to three) or a list (up to ten).
    Choices {
        /// The question.
        text: String,
        /// A line above, where the channel has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        header: Option<String>,
        /// A line below, where the channel has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        footer: Option<String>,
        /// The label that opens a list; its presence, or more than three choices, asks for a list.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        list_button: Option<String>,
        /// What can be chosen.
        choices: Vec<Choice>,
    },
    /// A template that the provider holds and approved (WhatsApp).
    ProviderTemplate {
        /// Its name at the provider.
        name: String,
        /// Its language at the provider, such as `en_US`.
        language: String,
        /// The parameters of its body, in order.
        #[serde(default)]
        parameters: Vec<String>,
        /// The payloads of its quick-reply buttons, in order.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        button_payloads: Vec<String>,
        /// What it says, as the person will read it: shown in timelines and used as the fallback.
        text: String,
    },
    /// A script to be spoken in a call.
    Voice {
        /// What is said.
        say: String,
        /// The language of the speech (BCP 47), such as `hi-IN`.
        language: String,
        /// What may be pressed; without any the call ends after the words.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        keys: Vec<Choice>,
        /// How often the words are said when nothing is pressed, 1 to 5.
        repeat: u8,
        /// What is said after a key, where there is something to say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        thanks: Option<String>,
    },
    /// A choice that was made: a button, a row of a list.
    Chosen {
        /// The id of the choice.
        id: String,
        /// Its title, as the person saw it.
        title: String,
    },
    /// A key that was pressed in a call.
    Key {
        /// The digits.
        digits: String,
    },
    /// A file, a picture, a sound: kept at the provider until it is fetched.
    Media {
        /// The MIME type.
        mime_type: String,
        /// The provider's id or link.
        reference: String,
        /// The words beneath, where there are any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        caption: Option<String>,
        /// The file name, where there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file_name: Option<String>,
    },
    /// A place.
    Location {
        /// Degrees north, in millionths.
        latitude_micro: i32,
        /// Degrees east, in millionths.
        longitude_micro: i32,
        /// The name of the place, where there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    /// A person's card, as an address book holds it.
    ContactCard {
        /// The name, as it is shown.
        name: String,
        /// Phone numbers, as they were written.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        phones: Vec<String>,
        /// Mail addresses.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        emails: Vec<String>,
        /// The organisation, where there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        organisation: Option<String>,
    },
    /// Something that happened in a call, in place of words.
    CallEvent {
        /// What happened.
        event: CallEventKind,
        /// How long the call had lasted, in seconds, where that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seconds: Option<u32>,
        /// Where the recording lies at the provider, for [`CallEventKind::Recorded`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        recording: Option<String>,
    },
    /// The answers of a form that a person filled in.
    FormAnswer {
        /// The form, as the provider or the flow names it.
        form: String,
        /// What was asked and answered, in order.
        fields: Vec<FormField>,
    },
    /// An internal note: seen by the business, never sent to the contact.
    Note {
        /// The words.
        text: String,
    },
    /// What the system itself tells in a timeline, such as a change of channel. Never sent.
    System {
        /// The words.
        text: String,
    },
    /// What stood here was taken away; the document says by whom, when and why.
    Redacted {},
    /// Something that this version cannot represent; the words say what it was.
    Unsupported {
        /// What it was, in the provider's words.
        text: String,
    },
}

/// What happened in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum CallEventKind {
    /// It rang and was taken.
    Answered,
    /// Nobody took it.
    Missed,
    /// It was busy or turned away.
    Refused,
    /// It is over.
    Ended,
    /// A recording of it exists.
    Recorded,
}

/// One question of a form with its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FormField {
    /// The name of the field in the form.
    pub name: String,
    /// The question, as the person saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The answer, as text.
    pub value: String,
}

/// One thing that can be chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Choice {
    /// What comes back: a payload of at most 200 characters, or the key to press.
    pub id: String,
    /// What the person sees or hears, at most 20 characters on a button, 24 in a list.
    pub title: String,
    /// A line beneath, in a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A file that travels with a mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Attachment {
    /// The file name.
    pub file_name: String,
    /// The MIME type.
    pub mime_type: String,
    /// The bytes, in base64.
    pub data_base64: String,
}

/// What is read in place of words that were taken away.
pub const REDACTED: &str = "[redacted]";

impl Content {
    /// Whether only the business sees it: no connector may send it.
    #[must_use]
    pub const fn is_internal(&self) -> bool {
        matches!(self, Self::Note { .. } | Self::System { .. })
    }

    /// The words of the message, for channels and readers that know nothing better.
    #[must_use]
    pub fn plain_text(&self) -> String {
        match self {
            Self::Text { text }
            | Self::ProviderTemplate { text, .. }
            | Self::Email { text, .. }
            | Self::Note { text }
            | Self::System { text }
            | Self::Unsupported { text } => text.clone(),
            Self::Choices { text, choices, .. } => {
                let lines = choices.iter().enumerate().map(|(i, c)| format!("\n{}. {}", i + 1, c.title));
                std::iter::once(text.clone()).chain(lines).collect()
            }
            Self::ContactCard { name, phones, emails, .. } => {
                let rest = phones.iter().chain(emails).map(|line| format!("\n{line}"));
                std::iter::once(name.clone()).chain(rest).collect()
            }
            Self::CallEvent { event, seconds, .. } => call_words(*event, *seconds),
            Self::FormAnswer { fields, .. } => {
                let line =
                    |field: &FormField| format!("{}: {}", field.label.as_ref().unwrap_or(&field.name), field.value);
                fields.iter().map(line).collect::<Vec<_>>().join("\n")
            }
            Self::Redacted {} => REDACTED.to_owned(),
            Self::Voice { say, .. } => say.clone(),
            Self::Chosen { title, .. } => title.clone(),
            Self::Key { digits } => digits.clone(),
            Self::Media { caption, file_name, mime_type, .. } => {
                caption.clone().or_else(|| file_name.clone()).unwrap_or_else(|| format!("[{mime_type}]"))
            }
            Self::Location { latitude_micro, longitude_micro, name } => name.clone().unwrap_or_else(|| {
                format!("{:.5}, {:.5}", f64::from(*latitude_micro) / 1e6, f64::from(*longitude_micro) / 1e6)
            }),
        }
    }
}

fn call_words(event: CallEventKind, seconds: Option<u32>) -> String {
    let what = match event {
        CallEventKind::Answered => "call answered",
        CallEventKind::Missed => "call missed",
        CallEventKind::Refused => "call refused",
        CallEventKind::Ended => "call ended",
        CallEventKind::Recorded => "call recorded",
    };
    seconds.map_or_else(|| format!("[{what}]"), |seconds| format!("[{what}, {seconds} s]"))
}
