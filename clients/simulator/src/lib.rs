//! The provider simulator: the server side of Meta's Cloud API and of Twilio's Messages and Calls APIs, and the phones behind them.
//!
//! A program that sends WhatsApp messages, SMS and calls can be pointed at this process instead of the real providers. Requests are
//! checked and answered as the providers do; then scripted handsets act: receipts, answers, pressed keys, failures, posted back as
//! signed webhooks. Nothing here knows who the caller is: the crate stands on the providers' published protocols alone.
//!
//! Start reading at [`Simulator`] (what a test holds in its hand), then [`script`] (what a handset does), `stage` (when it does it),
//! `meta` and `twilio` (the two protocols), `voice` (calls), `control` (the same powers over HTTP).

mod answer;
mod clock;
mod config;
mod control;
mod core;
mod files;
mod inbound;
mod ledger;
mod line;
mod meta;
mod phones;
pub mod script;
pub mod signature;
mod simulator;
mod stage;
mod twilio;
mod voice;
mod webhook;

pub use clock::{ClockMode, SimClock};
pub use config::{Config, KeepRecords, MetaAccount, MetaTemplate, TwilioAccount};
pub use inbound::{Inbound, InboundError};
pub use ledger::{AcceptedCall, Provider, Stats, WebhookKind, WebhookRecord};
pub use script::{CallScript, Defaults, Handset, MessageScript, Roster, Span, When};
pub use simulator::{Simulator, StartError};
