//! What a simulator is started with: credentials it expects, where webhooks go, how time runs and how much is remembered.
//!
//! Only data: nothing is read from files or the environment here (the binary does that in `main.rs`).

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::ClockMode;
use crate::script::Roster;

/// Everything that a [`Simulator`](crate::Simulator) is started with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address to listen on; it must be a loopback address. Port 0 takes a free port.
    pub listen: SocketAddr,
    /// The Meta business account that is simulated.
    pub meta: MetaAccount,
    /// The Twilio account that is simulated.
    pub twilio: TwilioAccount,
    /// The handsets and their defaults at the start; both can be changed later.
    pub roster: Roster,
    /// Whether time passes by itself or is moved by hand.
    pub clock: ClockMode,
    /// How many accepted requests and posted webhooks are kept for questions.
    pub records: KeepRecords,
    /// How many webhooks may wait for their answers at the same time, 1 or more.
    pub webhook_concurrency: usize,
    /// How many handset actions and webhook retries may wait; beyond it the providers answer as when they are overloaded (130429, 20429).
    pub max_pending: usize,
}

/// The Meta business account that the simulator plays.
#[derive(Debug, Clone)]
pub struct MetaAccount {
    /// The access token that callers must send as `Authorization: Bearer`.
    pub token: String,
    /// The app secret that signs the webhooks.
    pub app_secret: String,
    /// The id of the business phone number, part of the path of every call.
    pub phone_number_id: String,
    /// The business phone number as digits, shown in webhooks as `display_phone_number`.
    pub display_number: String,
    /// The id of the WhatsApp business account, `entry[].id` of every webhook.
    pub business_account_id: String,
    /// Where webhooks are posted. Without it handsets still act, but nobody is told.
    pub webhook: Option<String>,
    /// How long an unanswered webhook is repeated, counted from its first try (Meta: up to seven days).
    pub retry_for: Duration,
    /// The approved templates. When empty, every template name is taken as approved.
    pub templates: Vec<MetaTemplate>,
}

/// One approved template of the Meta account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetaTemplate {
    /// The name that requests use.
    pub name: String,
    /// The language code, such as `en` or `hi`.
    pub language: String,
    /// How many parameters the body has.
    #[serde(default)]
    pub parameters: usize,
    /// The texts of the quick reply buttons, in order.
    #[serde(default)]
    pub buttons: Vec<String>,
}

/// The Twilio account that the simulator plays.
#[derive(Debug, Clone)]
pub struct TwilioAccount {
    /// The account SID, `AC` and 32 hexadecimal digits: part of every path and the user name of Basic authentication.
    pub account_sid: String,
    /// The auth token: the password of Basic authentication and the key of webhook signatures.
    pub auth_token: String,
    /// Numbers and sender ids that the account owns. When empty, every well-formed sender is taken as owned.
    pub numbers: Vec<String>,
    /// Where inbound SMS are posted (the `SmsUrl` of the account's numbers). Without it inbound SMS reach nobody.
    pub sms_webhook: Option<String>,
    /// Whether Twilio's own opt-out words are in force: after STOP, sends to that person are refused with 21610 until START.
    pub stop_words: bool,
}

/// How many accepted requests and posted webhooks are remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepRecords {
    /// Keep everything: for tests and demonstrations.
    All,
    /// Keep the newest so many of each: for load runs, where memory must stay bounded.
    Last(usize),
}

impl KeepRecords {
    /// The greatest number of records that may be kept.
    pub(crate) fn limit(self) -> usize {
        match self {
            Self::All => usize::MAX,
            Self::Last(n) => n,
        }
    }
}

impl std::str::FromStr for KeepRecords {
    type Err = String;

    /// Reads `all` or `last(n)`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "all" {
            return Ok(Self::All);
        }
        text.strip_prefix("last(")
            .and_then(|rest| rest.strip_suffix(')'))
            .and_then(|n| n.parse().ok())
            .map(Self::Last)
            .ok_or_else(|| format!("`{text}` is not a record limit: write `all` or `last(10000)`"))
    }
}

impl Default for MetaAccount {
    fn default() -> Self {
        Self {
            token: "simulated-meta-token".into(),
            app_secret: "simulated-app-secret".into(),
            phone_number_id: "106540352242922".into(),
            display_number: "15550783881".into(),
            business_account_id: "102290129340398".into(),
            webhook: None,
            retry_for: Duration::from_secs(7 * 24 * 3600),
            templates: Vec::new(),
        }
    }
}

impl Default for TwilioAccount {
    fn default() -> Self {
        Self {
            account_sid: "AC00000000000000000000000000000001".into(),
            auth_token: "simulated-auth-token".into(),
            numbers: Vec::new(),
            sms_webhook: None,
            stop_words: true,
        }
    }
}

impl Default for Config {
    /// A simulator for tests: a free loopback port, a clock that is moved by hand, and everything remembered.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            meta: MetaAccount::default(),
            twilio: TwilioAccount::default(),
            roster: Roster::default(),
            clock: ClockMode::ByHand,
            records: KeepRecords::All,
            webhook_concurrency: 256,
            max_pending: 1_000_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_limits_are_read_and_nonsense_is_named() {
        assert_eq!("all".parse(), Ok(KeepRecords::All));
        assert_eq!("last(500)".parse(), Ok(KeepRecords::Last(500)));
        let error = "last 500".parse::<KeepRecords>().unwrap_err();
        assert!(error.contains("last(10000)"), "{error}");
    }
}
