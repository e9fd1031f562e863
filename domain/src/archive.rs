//! The record of a conversation in the archive: all that was known of it when it was put away, in one value that reads alone.
//!
//! A record is one line of JSON. It has a version; [`Record::read`] takes every version that was ever written, and of a later
//! one whatever it knows. What a message says is a [`Document`], so that its own versions hold here too. `docs/ARCHIVE.md` is for
//! those who read the files without Switchboard. Nothing here packs, stores or finds a record.
//!
//! | version | what it brought |
//! |---|---|
//! | 1.0 | the first |
//!
//! **To change the form.** A field that readers may leave out, with a default, is the next minor version. Anything else is the next
//! major version, with a function that lifts the older ones.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    conversation::{Kind, Role, session},
    delivery::Evidence,
    message::{self, Document, Redaction},
};

/// What a record calls its form.
pub const NAME: &str = "switchboard.archive";
/// The form that is written today.
pub const CURRENT: Schema = Schema { name: Name::Archive, major: 1, minor: 0 };

/// The name and version of a record's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// Always `switchboard.archive`.
    pub name: Name,
    /// Changed when readers of an older one would misread it.
    pub major: u16,
    /// Changed when something was added that readers may leave out.
    pub minor: u16,
}

/// The one name that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Name {
    /// A conversation in the archive.
    #[serde(rename = "switchboard.archive")]
    Archive,
}

/// Why a line is no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It is none, or breaks the form that it says it has.
    #[error("not a record of the archive: {0}")]
    Broken(String),
    /// A later program wrote it.
    #[error("a record of version {0}, which this program does not know: install the newer one")]
    Later(u16),
}

/// One conversation, complete.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The form that this record has.
    pub schema: Schema,
    /// When it was put away, in business time.
    pub archived_at: DateTime<Utc>,
    /// The conversation itself.
    pub conversation: Conversation,
    /// Its messages, in order.
    pub messages: Vec<Kept>,
    /// The contact's presence on channels, by id.
    pub channel_sessions: Vec<Session>,
    /// Who took part besides, by id.
    pub participants: Vec<Participant>,
    /// What happened in it, in order: the timeline.
    pub activities: Vec<Activity>,
    /// How far the business had read.
    pub read_marks: Vec<ReadMark>,
}

/// The conversation itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conversation {
    /// Its id (a UUID of version 7).
    pub id: Uuid,
    /// The contact, by its key.
    pub contact: i64,
    /// What the contact was called.
    pub contact_name: String,
    /// The channel that was in use, by name.
    pub active_channel: String,
    /// The one with the same contact before it.
    pub previous_conversation: Option<Uuid>,
    /// The one into which it was merged.
    pub merged_into: Option<Uuid>,
    /// How urgent it was, 0 to 9.
    pub priority: i16,
    /// Its labels.
    pub labels: Vec<String>,
    /// Its attributes: name to text.
    pub attributes: Value,
    /// When it began.
    pub created_at: DateTime<Utc>,
    /// When it was closed.
    pub closed_at: Option<DateTime<Utc>>,
    /// Why.
    pub close_reason: Option<String>,
}

/// One message, with what is known of it besides what it says itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// What it says.
    #[serde(deserialize_with = "document")]
    pub document: Document,
    /// What became of it on its way; none for what came in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    /// The template that it was rendered from, as name and version, where the document does not say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<(String, i32)>,
    /// What its provider said, in the order of arrival.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub receipts: Vec<Receipt>,
}

/// What a provider said of a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// The attempt that it speaks of, from 1.
    pub attempt: i16,
    /// What it is evidence of.
    pub evidence: Evidence,
    /// The provider's code.
    pub failure_code: Option<String>,
    /// When it happened, by the provider's clock.
    pub provider_time: Option<DateTime<Utc>>,
    /// When it came in.
    pub received_at: DateTime<Utc>,
    /// Whether its step had been left.
    pub late: bool,
}

/// The contact's presence on one channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// Its id.
    pub id: Uuid,
    /// The channel, by its key: ours alone.
    pub channel_id: i32,
    /// The contact's address, by its key: ours alone.
    pub address_id: i64,
    /// `inbound` or `outbound`: who began it.
    pub direction: String,
    /// Where it stood.
    pub state: session::State,
    /// What the connector said.
    pub data: Value,
    /// Whether the contact wrote in it.
    pub wrote: bool,
    /// When something was last said in it.
    pub last_at: DateTime<Utc>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// Why.
    pub end_reason: Option<String>,
}

/// Who took part besides the contact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Participant {
    /// Its id.
    pub id: Uuid,
    /// What it was.
    pub kind: Kind,
    /// Its name in the API.
    pub subject: String,
    /// What people called it.
    pub display_name: String,
    /// In which role it took part.
    pub role: Role,
    /// When it joined.
    pub joined_at: DateTime<Utc>,
    /// When it left.
    pub left_at: Option<DateTime<Utc>>,
    /// Why.
    pub left_reason: Option<String>,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Activity {
    /// Its number, from 1.
    pub number: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// What kind of thing, such as `message` or `state_changed`.
    pub kind: String,
    /// What it is about, as a name of the API.
    pub subject: String,
    /// What was reached: a state, an evidence, a consent.
    pub word: String,
    /// The message, where it is one.
    pub message: Option<Uuid>,
    /// The channel, by name.
    pub channel: Option<String>,
    /// Why.
    pub cause: String,
    /// Who did it.
    pub actor: String,
}

/// How far a reader of the business had read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReadMark {
    /// Who; empty: the business as a whole.
    pub reader: String,
    /// The last message that was read.
    pub message: Uuid,
    /// Its place.
    pub seq: i64,
    /// When.
    pub read_at: DateTime<Utc>,
    /// Messages of the contact behind it.
    pub unread: i64,
}

/// A document of any version.
fn document<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Document, D::Error> {
    message::read(Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

/// What every version of the form has.
#[derive(Deserialize)]
struct Lasting {
    schema: Schema,
}

impl Record {
    /// Reads a record of any version.
    ///
    /// # Errors
    /// See [`Unreadable`].
    pub fn read(line: &[u8]) -> Result<Self, Unreadable> {
        let broken = |error: serde_json::Error| Unreadable::Broken(error.to_string());
        let lasting: Lasting = serde_json::from_slice(line).map_err(broken)?;
        match lasting.schema.major {
            0 => Err(Unreadable::Broken("there is no version 0".to_owned())),
            major if major == CURRENT.major => serde_json::from_slice(line).map_err(broken),
            later => Err(Unreadable::Later(later)),
        }
    }

    /// The line that is written: JSON with a line feed at its end, and none inside.
    ///
    /// # Errors
    /// When a value cannot be written as JSON: a defect.
    pub fn line(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        Ok(line)
    }

    /// The same record without the words of one message; one that is redacted already, or is not in it, changes nothing.
    pub fn redact(&mut self, message: Uuid, mark: &Redaction) {
        for kept in self.messages.iter_mut().filter(|kept| kept.document.id == message) {
            kept.document = kept.document.clone().redacted(mark.clone());
        }
    }

    /// What finds it besides its messages: its sessions and participants.
    #[must_use]
    pub fn parts(&self) -> Vec<Uuid> {
        let sessions = self.channel_sessions.iter().map(|session| session.id);
        sessions.chain(self.participants.iter().map(|participant| participant.id)).collect()
    }
}

#[cfg(test)]
mod tests;
