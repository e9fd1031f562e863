//! The versions of the document's form, and when there is a new one.
//!
//! | version | what it brought |
//! |---|---|
//! | 1.0 | names as plain text, the channel only by its key, ten kinds of content |
//! | 2.0 | parties with their kind, the channel as it was, language, template with its parameters, campaign and flow, marks of redaction; contact cards, call events, answers of forms, notes, notices |
//!
//! **To change the form.** A kind of content or an optional field that is added is the next minor version: raise the number
//! here, add the version to the list in `tests.rs`, and put what the failing test prints into a new file of
//! `docs/schemas/message/`. Anything else is the next major version: freeze today's types beside `v1` as well, and write the
//! function that lifts them. A published schema never changes; a test compares it with what the types say.

use serde::{Deserialize, Serialize};

/// What a document calls its form.
pub const NAME: &str = "switchboard.message";

/// The form that is written today.
pub const CURRENT: Schema = Schema { name: Name::Message, major: 2, minor: 0 };

/// The name and version of a document's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Schema {
    /// Always `switchboard.message`.
    pub name: Name,
    /// Changed when readers of an older one would misread it.
    pub major: u16,
    /// Changed when something was added that readers may leave out.
    pub minor: u16,
}

/// The one name that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Name {
    /// A message of Switchboard.
    #[serde(rename = "switchboard.message")]
    Message,
}

impl Schema {
    /// Reads a version such as `1.0`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Self { name: Name::Message, major: major.parse().ok()?, minor: minor.parse().ok()? })
    }

    /// The version as it is stored, such as `2.0`.
    #[must_use]
    pub fn version(self) -> String {
        format!("{}.{}", self.major, self.minor)
    }
}
