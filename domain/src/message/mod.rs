//! One message, as it is stored and shown: self-contained, versioned, immutable but for redaction.
//!
//! A stored message is a [`Document`]: who said what to whom, on which channel, when, and what it refers to. It can be shown
//! with nothing else at hand, however the channel, the template or the contact has changed since. Its form has a version;
//! [`read`] takes every version that was ever stored and lifts it to the one of today, and shows what a later version wrote by
//! its plain text. [`schema`] says how a version comes to be, `docs/MESSAGES.md` how others read one.
//!
//! Nothing here stores or sends: `server/src/storage/messages` keeps the parts of a document in their columns.

mod content;
mod document;
pub mod media;
mod reading;
pub mod schema;
mod v1;

pub use content::{Attachment, CallEventKind, Choice, Content, FormField, REDACTED};
pub use document::{
    ChannelSnapshot, Direction, Document, Envelope, FlowRef, Party, PartyKind, Redaction, References, TemplateRef,
    Times,
};
pub use reading::{Stored, Unreadable, read, restore};
pub use schema::{CURRENT, Schema};

#[cfg(test)]
mod tests;
