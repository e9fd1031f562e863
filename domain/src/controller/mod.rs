//! Controllers: what a conversation does by itself, held as data.
//!
//! A controller is a list of rules. A rule waits for intents (a session started, a message came in, the last agent left), may ask
//! for a condition, and answers with actions. [`ControllerVersion::validate`] finds everything that is wrong with one before it is
//! stored; a stored version never changes. [`Compiled::react`] says what is to be done about one intent. It does nothing itself: the
//! caller carries the actions out, in order, and a failure of one never stands in the way of closing the conversation.
//!
//! Conditions and texts are written in the language of templates ([`crate::template`]), with the same limits on steps and bytes.
//! What they see is described at [`Scene`]. `examples.rs` holds controllers that are ready to use.

mod action;
mod check;
pub mod examples;
mod hours;
mod react;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::conversation::Intent;
pub use action::{Action, MAX_TEXT};
pub use hours::Hours;
pub use react::{Compiled, Fault, Reaction, Scene};

/// The most rules of one controller.
pub const MAX_RULES: usize = 100;
/// The most actions of one rule.
pub const MAX_ACTIONS: usize = 20;
/// The most actions that one intent may lead to; what is beyond is left out, and said.
pub const MAX_REACTION: usize = 50;
/// How many actions a conversation may see from its controller within ten minutes: beyond it the controller is silent there until
/// the ten minutes are over. Rules that answer each other's effects would otherwise never end.
pub const BUDGET: u32 = 100;

/// One version of a controller.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ControllerVersion {
    /// Opening hours that conditions may ask for by name, as `hours.office`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hours: Vec<Hours>,
    /// What to do, in order: every rule that fits adds its actions, until one says that it is the last.
    pub rules: Vec<Rule>,
}

/// What to do at some occasions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// The name, unique in its controller: shown wherever the rule acted.
    pub name: String,
    /// The intents that it waits for, at least one.
    pub on: Vec<Intent>,
    /// The condition, such as `not hours.office and channel.type == "WHATSAPP"`; none: always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// What to do, in order; at least one.
    pub actions: Vec<Action>,
    /// Whether no rule behind it is looked at when it fits.
    #[serde(default)]
    pub last: bool,
}
