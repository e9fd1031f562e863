//! What a handset does with a WhatsApp message or an SMS, and how the provider behaves towards the program that sends it.

use serde::{Deserialize, Serialize};

use super::span::{Span, When};

/// The script of one person's WhatsApp or SMS. Every field has a default: an empty script is a phone that gets the message after one
/// second and stays silent. All times count from the moment the provider accepted the message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MessageScript {
    /// When the `sent` status is posted. Default 0.
    pub sent_after: When,
    /// When the `delivered` status is posted. Default one second; `never` is a phone that is off.
    pub deliver_after: When,
    /// When the `read` status is posted (WhatsApp only). Default never. Earlier than `deliver_after` gives receipts out of order.
    pub read_after: When,
    /// What the person answers. Default nothing.
    pub replies: Vec<Reply>,
    /// A failure instead of delivery.
    pub fail: Option<Failure>,
    /// The number has no WhatsApp: the message is accepted and then fails with 131026 (WhatsApp only).
    pub not_on_whatsapp: bool,
    /// How many requests to this number are refused as too many (130429, 20429) before one is accepted.
    pub throttle: u32,
    /// How the provider's own HTTP answer goes wrong.
    pub misbehave: Option<Misbehaviour>,
    /// How many further copies of every receipt and answer are posted. Default 0.
    pub duplicates: u32,
    /// Whether Meta's 24-hour rule is applied (WhatsApp only). Default `enforced`.
    pub service_window: ServiceWindow,
}

/// One answer of a person to a message.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reply {
    /// When the answer is sent, counted from the acceptance of the message that is answered.
    pub after: Span,
    /// The text of the answer. Exactly one of `text` and `choose` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The button or list row that is touched: its place counted from 1, or its id or title. WhatsApp only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choose: Option<Choice>,
    /// Answers only the so-manieth message that this handset gets on this channel, counted from 1. Without it: every message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<u32>,
    /// Answers only messages whose text contains this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_contains: Option<String>,
}

/// Which button or list row is touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Choice {
    /// The place among the message's buttons or rows, counted from 1.
    Place(usize),
    /// The id, payload or title of the button or row.
    Named(String),
}

/// A failure of a message or call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// The provider's error code, such as 131049 or 30003.
    pub code: u32,
    /// Refuse the request itself (`true`), or accept it and report the failure later (`false`, the default).
    #[serde(default)]
    pub sync: bool,
    /// When a failure that is reported later comes, counted from acceptance. Default one second.
    #[serde(default = "one_second")]
    pub after: Span,
    /// How many times it happens to this number before things go well. Without it: always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
}

/// A provider whose HTTP answer goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Misbehaviour {
    /// What goes wrong.
    pub how: Fault,
    /// How many requests to this number it happens to. Without it: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
}

/// What can go wrong with a provider's HTTP answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The message is accepted and sent, but the HTTP call is never answered.
    Timeout,
    /// The message is accepted and sent, but the answer is status 500.
    ServerError,
    /// The message is accepted and sent, but the answer is not what the protocol promises.
    Garbage,
    /// The connection is closed without an answer and nothing was accepted.
    Drop,
}

/// Whether Meta's 24-hour customer service window is applied to a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceWindow {
    /// Free-form messages more than 24 hours after the person's last message fail with 131047, as in reality.
    #[default]
    Enforced,
    /// Free-form messages always pass.
    Open,
}

fn one_second() -> Span {
    Span::seconds(1)
}

impl Default for MessageScript {
    fn default() -> Self {
        Self {
            sent_after: When::seconds(0),
            deliver_after: When::seconds(1),
            read_after: When::Never,
            replies: Vec::new(),
            fail: None,
            not_on_whatsapp: false,
            throttle: 0,
            misbehave: None,
            duplicates: 0,
            service_window: ServiceWindow::default(),
        }
    }
}

impl MessageScript {
    /// A phone that gets the message after one second and whose owner stays silent.
    pub fn silent() -> Self {
        Self::default()
    }

    /// Reads the message after so long.
    pub fn read_after(mut self, span: Span) -> Self {
        self.read_after = When::After(span);
        self
    }

    /// Answers every message with this text.
    pub fn reply(mut self, after: Span, text: &str) -> Self {
        self.replies.push(Reply { after, text: Some(text.to_owned()), ..Reply::default() });
        self
    }

    /// Touches this button or list row of every message that has it.
    pub fn choose(mut self, after: Span, choice: Choice) -> Self {
        self.replies.push(Reply { after, choose: Some(choice), ..Reply::default() });
        self
    }

    /// Fails with this code after the provider accepted the message.
    pub fn fail(mut self, code: u32) -> Self {
        self.fail = Some(Failure { code, sync: false, after: one_second(), times: None });
        self
    }

    /// Is refused with this code at once.
    pub fn refuse(mut self, code: u32) -> Self {
        self.fail = Some(Failure { code, sync: true, after: one_second(), times: None });
        self
    }

    /// Makes the provider's answer go wrong, so many times or always.
    pub fn misbehave(mut self, how: Fault, times: Option<u32>) -> Self {
        self.misbehave = Some(Misbehaviour { how, times });
        self
    }

    /// Says everything that is contradictory in this script, each with the place that it concerns.
    pub(super) fn problems(&self, whatsapp: bool, place: &str, found: &mut Vec<String>) {
        for (at, reply) in self.replies.iter().enumerate() {
            if reply.text.is_some() == reply.choose.is_some() {
                found.push(format!("{place}.replies[{at}]: give exactly one of `text` and `choose`"));
            }
            if reply.choose == Some(Choice::Place(0)) || reply.message == Some(0) {
                found.push(format!("{place}.replies[{at}]: `choose` and `message` count from 1"));
            }
            if !whatsapp && reply.choose.is_some() {
                found.push(format!("{place}.replies[{at}].choose: an SMS has no buttons; use `text`"));
            }
        }
        if !whatsapp && self.read_after != When::Never {
            found.push(format!("{place}.read_after: nobody is told when an SMS is read"));
        }
        if !whatsapp && self.not_on_whatsapp {
            found.push(format!("{place}.not_on_whatsapp: has a meaning only for whatsapp"));
        }
    }
}
