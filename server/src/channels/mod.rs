//! Connectors: the code that speaks the providers' protocols. One file or folder each, uniform inside, and one registry.
//!
//! **To add a provider**: write `channels/<name>.rs` with a type that implements [`Connector`] and a constant
//! [`registry::ConnectorKind`] that names its settings and builds it; add one line to [`registry::KINDS`], and test it
//! against a real socket with `testing::Peer`. Nothing else knows it. Shared tools: [`settings`] reads what the
//! operator wrote and reports every problem at once, [`wire`] makes the HTTP call and says honestly how it ended,
//! [`meaning`] holds error tables as data, [`echo`] puts our own ids into what providers give back, [`forms`] reads
//! query strings.
//!
//! This room never sees storage, the bus or the contract: it is given plain values and gives plain values back. It
//! never logs a body, an address or a token, and no [`Refusal::detail`] holds any.

pub mod echo;
pub mod external;
pub mod forms;
pub mod kannel;
pub mod meaning;
pub mod meta;
pub mod registry;
pub mod settings;
pub mod smtp;
#[cfg(test)]
pub(crate) mod testing;
pub mod twilio;
pub mod web_chat;
pub mod webhook;
pub mod wire;

use std::{collections::BTreeMap, fmt, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{
    channel::{Address, ChannelType},
    delivery::{AfterUnknown, Evidence, FailureClass},
    message::Content,
};
use uuid::Uuid;

/// One provider behind a channel, ready to be called. Built once from its settings, shared by all calls.
#[async_trait]
pub trait Connector: Send + Sync + fmt::Debug {
    /// What the provider can do and how it wants to be treated.
    fn traits(&self) -> Traits;

    /// Puts one message on the wire, once. Must return within [`Traits::timeout`]; the caller enforces it and treats a
    /// longer call as [`Sent::Unknown`]. Never retries inside.
    async fn send(&self, outbound: &Outbound) -> Sent;

    /// Asks the provider whether it has the message of an attempt whose outcome is not known. Only called when
    /// [`Traits::after_unknown`] is `Ask`, after the timeout and a settling time.
    async fn ask(&self, question: &Question) -> Answer {
        let _ = question;
        Answer::CannotSay
    }

    /// Checks the signature of a webhook over its raw bytes and reads the facts in it.
    fn read_webhook(&self, request: &WebhookRequest) -> Result<WebhookFacts, WebhookError>;

    /// Renders what a call says next, for providers that fetch a script while the call runs. `webhooks` is the public
    /// base of this provider's webhooks, `{public_url}/webhooks/{provider_id}`; the connector knows the paths beneath.
    ///
    /// # Errors
    /// [`WebhookError::NotFound`] from a connector that makes no calls, or for content that cannot be spoken.
    fn script(&self, content: &Content, step: &CallStep, webhooks: &str) -> Result<WebhookAnswer, WebhookError> {
        let _ = (content, step, webhooks);
        Err(WebhookError::NotFound)
    }

    /// Whether a throttling answer with this code is about one recipient, and says nothing of our speed.
    fn throttles_one_recipient(&self, code: &str) -> bool {
        let _ = code;
        false
    }

    /// Whether a refusal with this code says that the address does not exist, on any channel: nothing more is sent to it.
    fn address_is_gone(&self, code: &str) -> bool {
        let _ = code;
        false
    }

    /// Fetches a file that a person sent, by the reference in its [`Content::Media`]. Links of providers are short-lived, so
    /// this is called soon after the message is stored, and again after failures.
    ///
    /// # Errors
    /// [`FetchError`] says whether trying again can help.
    async fn fetch_media(&self, reference: &str, max_bytes: usize) -> Result<Fetched, FetchError> {
        let _ = (reference, max_bytes);
        Err(FetchError::Never("this provider hands out no files".to_owned()))
    }

    /// Whether the provider takes a [`Courtesy`].
    fn takes_courtesies(&self) -> bool {
        false
    }

    /// Gives a courtesy, once. Only called when [`Connector::takes_courtesies`] says so.
    async fn give_courtesy(&self, courtesy: &Courtesy) -> Sent {
        let _ = courtesy;
        Sent::NotSent { detail: "this provider takes no such sign".to_owned() }
    }

    /// Where its deliveries go. Only those of [`Outlet::Wire`] are given to [`Connector::send`].
    fn outlet(&self) -> Outlet {
        Outlet::Wire
    }

    /// A cheap call that proves address and credentials. An error says what is wrong and what to do.
    async fn check(&self) -> Result<(), String>;
}

/// Where the deliveries of a provider go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlet {
    /// Over the network, by a call of the connector.
    Wire,
    /// Nowhere: they are stored, and the visitor's stream shows them.
    WebChat,
    /// To processes outside that fetch them.
    Outside {
        /// How long a delivery is theirs, counted anew as long as they are there.
        lease: Duration,
        /// How long after the last one was seen the provider still counts as there.
        grace: Duration,
    },
}

/// What a provider can do and how it wants to be treated.
#[derive(Debug, Clone)]
pub struct Traits {
    /// The medium.
    pub channel_type: ChannelType,
    /// What can be done after an outcome that is not known.
    pub after_unknown: AfterUnknown,
    /// How long one call may take, at most.
    pub timeout: Duration,
    /// Open calls at once, by default.
    pub in_flight: u32,
    /// The highest evidence that this provider can ever prove.
    pub proves: Evidence,
}

/// A file that was fetched.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The MIME type, as the provider says it now; empty when it does not.
    pub mime_type: String,
    /// The whole file.
    pub bytes: bytes::Bytes,
}

/// Why a file was not fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// Trying again may help: the provider is away, throttles, or refuses the credentials that an operator may mend.
    #[error("{0}")]
    Later(String),
    /// It will never be had: the provider no longer has it.
    #[error("{0}")]
    Lost(String),
    /// It is not to be had: too big, or not a reference of this provider.
    #[error("{0}")]
    Never(String),
}

/// A sign that changes nothing of ours: the contact sees that a message was read, or that somebody types.
#[derive(Debug, Clone)]
pub struct Courtesy {
    /// Our own address on the channel.
    pub from: String,
    /// The provider's id of the contact's message.
    pub provider_message_id: String,
    /// Whether somebody types now; the message counts as read in either case.
    pub typing: bool,
}

/// One message on its way out.
#[derive(Debug, Clone)]
pub struct Outbound {
    /// The delivery; echoed by providers that can, and the base of message ids.
    pub delivery_id: Uuid,
    /// The number of the attempt, from 1.
    pub attempt: i16,
    /// Where to.
    pub to: Address,
    /// The channel's own address (its service identifier): a phone number, a sender name, a mailbox.
    pub from: String,
    /// What to say.
    pub content: Content,
    /// Whether the recipient wrote to us within the provider's service window, so that free text is allowed.
    pub window_open: bool,
    /// The base of our public web address, such as `https://alerts.example.org`, without a slash at the end; receipts
    /// and call scripts are asked for beneath `{base}/webhooks/{provider_id}`.
    pub public_url: String,
    /// The provider's number in our tables, for those addresses.
    pub provider_id: i32,
    /// The message that this one answers, by its provider id, where there is one (mail threads).
    pub in_reply_to: Option<String>,
    /// A link by which the person can unsubscribe with one click, for mail.
    pub unsubscribe_url: Option<String>,
    /// What the provider must be told besides, by the names of the contract, such as `dlt_template_id`: the channel's
    /// parameters with those of the content. A connector takes those that its provider knows.
    pub parameters: BTreeMap<String, String>,
}

/// How a call ended, as far as the connector can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// The provider took it, under this id.
    Accepted {
        /// The provider's id for the message or call.
        provider_message_id: String,
    },
    /// The provider said no.
    Refused(Refusal),
    /// The request certainly never reached the provider (connection refused, TLS failed, name not found).
    NotSent {
        /// Why.
        detail: String,
    },
    /// The request may have reached the provider, and no answer that settles it came back.
    Unknown {
        /// What was seen.
        detail: String,
    },
}

/// A provider's refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What it means.
    pub class: FailureClass,
    /// The provider's own code, as text; one of ours begins with `local.` ([`Refusal::own`]).
    pub code: String,
    /// The provider's words, without personal data.
    pub detail: String,
    /// How long the provider asks us to wait.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// What the code of every refusal of our own begins with: nothing was asked of the provider.
    pub const OWN: &str = "local.";

    /// A refusal of our own, before any call: the message cannot be sent as it is. Its code becomes `local.{code}`.
    #[must_use]
    pub fn own(class: FailureClass, code: &str, detail: &str) -> Self {
        Self { class, code: format!("{}{code}", Self::OWN), detail: detail.to_owned(), retry_after: None }
    }

    /// Whether it is our own, so that it says nothing of the provider.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.code.starts_with(Self::OWN)
    }
}

/// A question about an attempt whose outcome is not known.
#[derive(Debug, Clone)]
pub struct Question {
    /// The delivery.
    pub delivery_id: Uuid,
    /// The attempt.
    pub attempt: i16,
    /// Where it went.
    pub to: Address,
    /// From which of our addresses.
    pub from: String,
    /// What it said, to be recognised among others to the same address.
    pub content: Content,
    /// When the call began.
    pub started_at: DateTime<Utc>,
}

/// The answer to a [`Question`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The provider has it, under this id.
    Has {
        /// The provider's id for the message.
        provider_message_id: String,
    },
    /// The provider does not have it: it may be sent again.
    HasNot,
    /// No answer: ask again later, or give up.
    CannotSay,
}

/// A webhook as it came.
#[derive(Debug, Clone)]
pub struct WebhookRequest {
    /// `GET` or `POST`.
    pub method: http::Method,
    /// The public address that the provider called: configured base, path and query, never rebuilt from `Host`.
    pub url: String,
    /// The path behind `/webhooks/{provider_id}`, such as `/status`; empty at the root.
    pub path: String,
    /// The raw query string.
    pub query: String,
    /// The headers.
    pub headers: http::HeaderMap,
    /// The raw body.
    pub body: bytes::Bytes,
    /// Machine time of arrival, for replay windows.
    pub received_at: DateTime<Utc>,
}

/// What a webhook said, and what to answer once its facts are stored.
#[derive(Debug, Clone, Default)]
pub struct WebhookFacts {
    /// Statuses of messages that we sent.
    pub receipts: Vec<ReceiptFact>,
    /// Messages that people sent us.
    pub inbound: Vec<InboundFact>,
    /// The call script that is asked for, if the provider fetches one: rendered by [`Connector::script`], and then the
    /// answer in place of [`WebhookFacts::answer`].
    pub call: Option<CallStep>,
    /// What to answer.
    pub answer: WebhookAnswer,
}

/// The answer to a webhook.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum WebhookAnswer {
    /// `200` with an empty body.
    #[default]
    Ok,
    /// `200` with this body and content type (handshakes, empty TwiML).
    Body {
        /// The content type.
        content_type: &'static str,
        /// The body.
        body: String,
    },
}

/// A status that a provider reports of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptFact {
    /// The provider's id of the message.
    pub provider_message_id: String,
    /// Our own delivery and attempt, where the provider echoes them.
    pub echo: Option<(Uuid, i16)>,
    /// What it proves. A status such as queued or ringing proves [`Evidence::Sent`]: the provider has it.
    pub evidence: Evidence,
    /// Why it failed, for [`Evidence::Failed`].
    pub failure: Option<Refusal>,
    /// When, by the provider's clock.
    pub provider_time: Option<DateTime<Utc>>,
}

/// A message from a person.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct InboundFact {
    /// The provider's id of the message: unique on its channel.
    pub provider_message_id: String,
    /// Every address by which the sender is known, at least one.
    pub from: Vec<Address>,
    /// Our address that was written to: finds the channel where a provider serves several.
    pub to: String,
    /// The sender's name, as the provider shows it.
    pub display_name: Option<String>,
    /// What was said.
    pub content: Content,
    /// The provider's id of our message that this one answers.
    pub in_reply_to: Option<String>,
    /// Our own delivery, where the reply carries it (a call's key press, a plus address).
    pub delivery_id: Option<Uuid>,
    /// Whether the provider itself took this as an opt-out or opt-in (Twilio's `OptOutType`).
    pub provider_opt: Option<ProviderOpt>,
    /// When, by the provider's clock.
    pub provider_time: Option<DateTime<Utc>>,
    /// What else the connector knows of the sender's presence: locale, browser, a form. [`InboundFact::EXTERNAL_ID`] and
    /// [`InboundFact::TOKEN`] say who the sender is; only a connector that has checked it may set the former.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub channel_data: std::collections::BTreeMap<String, String>,
}

impl InboundFact {
    /// The caller's own key of the contact, in `channel_data`.
    pub const EXTERNAL_ID: &str = "external_id";
    /// The token of a deep link, in `channel_data`.
    pub const TOKEN: &str = "token";
}

/// What a provider did on its own with an opt-out word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum ProviderOpt {
    /// It now refuses to send to this person.
    Out,
    /// It sends again.
    In,
    /// It answered a request for help.
    Help,
}

/// A call that asks what to say next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallStep {
    /// The delivery whose script is wanted.
    pub delivery_id: Uuid,
    /// The attempt.
    pub attempt: i16,
    /// How often the words were said before this step: 0 when the call is answered. With digits, the round in which
    /// they were pressed.
    pub round: u8,
    /// What was pressed, if anything.
    pub digits: Option<String>,
    /// Whether a machine answered.
    pub machine: bool,
}

/// Why a webhook was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// The signature is missing or wrong, or the request is a replay: `403`.
    #[error("the signature does not fit: {0}")]
    Forbidden(String),
    /// The body is not what the provider documents: `400`.
    #[error("the body cannot be read: {0}")]
    Malformed(String),
    /// This provider sends nothing to this path: `404`.
    #[error("nothing is expected here")]
    NotFound,
}
