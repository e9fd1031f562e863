//! Twilio: short messages and calls over one account. `sms` and `voice` are the connectors; `account` makes the calls,
//! `signature` checks webhooks, `errors` says what codes mean, `webhook` reads what Twilio posts, `twiml` writes scripts.
//!
//! Twilio's pages: <https://www.twilio.com/docs/messaging/api/message-resource>,
//! <https://www.twilio.com/docs/voice/api/call-resource>, <https://www.twilio.com/docs/usage/webhooks/webhooks-security>.

mod account;
pub mod errors;
pub mod signature;
pub mod sms;
mod twiml;
pub mod voice;
mod webhook;

/// Asks Twilio to try a callback five times on every kind of failure; its default is once, on failed connections only.
/// Twilio keeps the fragment to itself: it is neither sent nor signed
/// (<https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides>).
const RETRY_CALLBACKS: &str = "#rc=5&rp=all";
