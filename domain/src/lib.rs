//! The rulebook: every decision of Switchboard, as pure functions over plain values.
//!
//! Nothing here waits, reads a clock, draws a random number or knows a database. The time, the ids and the jitter are
//! arguments, so each rule can be read, tabulated and tested on its own. Callers load facts, ask, and store the answer.
//!
//! Where to look: [`fallback`] (when a notification moves to its next step), [`delivery`] (what is known of one send),
//! [`consent`] (who may be written to, and the words that change it), [`schedule`] (when a cron expression is due),
//! [`template`] (content with variables), [`message`] (what is said), [`mapping`] (a row becomes a notification),
//! [`conversation`] (who is present, and when it ends), [`archive`] (what is kept of it), [`controller`] (what a conversation does by itself).

#[macro_use]
mod codes;

pub use codes::UnknownCode;

pub mod address;
pub mod archive;
pub mod backoff;
pub mod campaign;
pub mod caps;
pub mod channel;
pub mod circuit;
pub mod consent;
pub mod controller;
pub mod conversation;
pub mod delivery;
pub mod fallback;
pub mod filter;
pub mod locale;
pub mod mapping;
pub mod message;
pub mod notification;
pub mod pacing;
pub mod phone;
pub mod price;
pub mod quiet_hours;
pub mod schedule;
pub mod slug;
pub mod sms;
pub mod template;
pub mod violation;
