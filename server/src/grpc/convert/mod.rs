//! Between the contract and the rest: reading finds every violation of a request at once and hands on values that cannot be
//! wrong; writing turns what use cases say into messages. One file a noun; what several need is in `faults` and [`common`].

pub mod audience;
pub mod call_list;
pub mod campaign;
pub mod channel;
pub mod common;
pub mod compliance;
pub mod connector;
pub mod contact;
pub mod content;
pub mod controller;
pub mod conversation;
pub mod event;
mod faults;
pub mod firing;
pub mod mapping;
pub mod message;
pub mod notification;
pub mod past;
pub mod plan;
pub mod policy;
pub mod progress;
pub mod said;
pub mod schedule;
pub mod sending;
pub mod source;
pub mod template;
pub mod trigger;
pub mod web_chat;
pub mod webhook;

pub use faults::Faults;

use crate::services::{self, Context};

/// Reads a request that is no write.
///
/// # Errors
/// Every violation that `read` noted.
pub fn read<R, T>(context: &Context, request: R, read: impl FnOnce(R, &mut Faults) -> T) -> services::Result<T> {
    let mut faults = Faults::in_country(context.settings.default_country.clone());
    let asked = read(request, &mut faults);
    faults.finish()?;
    Ok(asked)
}
