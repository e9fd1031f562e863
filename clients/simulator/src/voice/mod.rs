//! Telephone calls: what the line does after Twilio accepted a call.
//!
//! `order` is what was asked for, `twiml` reads documents, `walk` plays the call. The HTTP side is in `crate::twilio::calls`.

mod gather;
mod order;
mod twiml;
mod walk;

pub(crate) use order::{EVENTS, Order};
pub(crate) use twiml::parse;
pub(crate) use walk::Walk;
