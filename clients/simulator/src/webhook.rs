//! Posting webhooks: signed as the provider signs, recorded with their answers, repeated as the provider repeats.
//!
//! What a webhook says is decided in `meta`, `twilio` and `voice`; here it only travels.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use crate::clock::later;
use crate::core::Core;
use crate::ledger::{Provider, WebhookKind, WebhookRecord};
use crate::signature;
use crate::stage::Play;

/// The most that is read of an answer, in bytes: TwiML documents are at most 64 kB.
const LONGEST_ANSWER: usize = 256 * 1024;
/// The longest pause between two tries of a Meta webhook.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// A request to the program under test.
pub(crate) struct Webhook {
    pub channel: Provider,
    pub kind: WebhookKind,
    /// The status or event, for the record.
    pub event: String,
    /// The provider's id of what it is about.
    pub about: String,
    pub method: Method,
    /// Without the fragment.
    pub url: String,
    pub body: Body,
    pub policy: Policy,
    /// How many tries have been made.
    pub tries: u32,
    /// When the first try was made, and in which age of the stage.
    pub begun: Option<(DateTime<Utc>, u64)>,
}

/// What a webhook carries.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    /// JSON, signed by Meta's app secret.
    Json(String),
    /// A form (or, for GET, a query), signed by Twilio's auth token.
    Form(Vec<(String, String)>),
}

/// When a webhook is repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Policy {
    /// Never.
    Once,
    /// On everything but success, with growing pauses, until this long after the first try.
    Meta { retry_for: Duration },
    /// As the fragment of the URL asks.
    Twilio(Overrides),
}

/// Twilio's connection overrides, written in the fragment of a callback URL (`#rc=5&rp=all`), with Twilio's defaults.
///
/// Source: Twilio's documentation, "Webhooks (HTTP callbacks): Connection Overrides".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Overrides {
    /// `rc`: how many retries, 0 to 5.
    retries: u32,
    /// `rp`: repeat when the connection cannot be made.
    on_connect: bool,
    /// `rp`: repeat when the answer does not come in time.
    on_read: bool,
    /// `rp`: repeat on an answer 400 to 499.
    on_4xx: bool,
    /// `rp`: repeat on an answer 500 to 599.
    on_5xx: bool,
    /// `rt`: how long to wait for the answer.
    read_timeout: Duration,
    /// `tt`: how long all tries may take together.
    total: Duration,
}

/// How one try ended.
pub(crate) enum Ending {
    /// The receiver answered.
    Answered { status: StatusCode, body: String },
    /// The connection could not be made.
    NoConnection(String),
    /// The connection was made, but no answer came.
    NoAnswer(String),
}

impl Ending {
    /// Whether the receiver took it.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Answered { status, .. } if status.is_success())
    }
}

/// Splits the fragment off a callback URL and reads Twilio's overrides from it; unknown or broken entries are ignored, as Twilio does.
pub(crate) fn split_overrides(url: &str) -> (String, Overrides) {
    let (base, fragment) = url.split_once('#').unwrap_or((url, ""));
    let mut found = Overrides::default();
    for (name, value) in fragment.split('&').filter_map(|pair| pair.split_once('=')) {
        let number = value.parse::<u64>();
        match (name, number) {
            ("rc", Ok(n)) => found.retries = n.min(5) as u32,
            ("rt", Ok(n)) => found.read_timeout = Duration::from_millis(n.clamp(100, 15_000)),
            ("tt", Ok(n)) => found.total = Duration::from_millis(n.clamp(100, 15_000)),
            ("rp", _) => found.policy(value),
            _ => (),
        }
    }
    (base.to_owned(), found)
}

impl Overrides {
    fn policy(&mut self, words: &str) {
        let has = |word: &str| words.split(',').any(|w| w == word || w == "all");
        self.on_connect = has("ct");
        self.on_read = has("rt");
        self.on_4xx = has("4xx");
        self.on_5xx = has("5xx");
    }
}

impl Default for Overrides {
    fn default() -> Self {
        Self {
            retries: 1,
            on_connect: true,
            on_read: false,
            on_4xx: false,
            on_5xx: false,
            read_timeout: Duration::from_secs(15),
            total: Duration::from_secs(15),
        }
    }
}

impl Webhook {
    /// The same webhook before its first try.
    pub fn copy(&self) -> Self {
        Self {
            event: self.event.clone(),
            about: self.about.clone(),
            method: self.method.clone(),
            url: self.url.clone(),
            body: self.body.clone(),
            policy: self.policy.clone(),
            tries: 0,
            begun: None,
            ..*self
        }
    }

    /// Posts it once, and puts it on the stage again when its policy says so.
    pub async fn deliver(mut self: Box<Self>, core: &Arc<Core>) {
        let ending = self.post(core).await;
        if ending.is_success() {
            return;
        }
        match self.next_try(core.clock.now(), &ending) {
            Some(due) if !core.overloaded() => {
                let age = self.begun.map_or(0, |(_, age)| age);
                core.stage.put_of_age(due, Play::Retry(self), age);
            }
            _ => core.ledger.count(|stats| stats.webhooks_given_up += 1),
        }
    }

    /// Posts it once and records what came of it.
    pub async fn post(&mut self, core: &Core) -> Ending {
        let at = core.clock.now();
        self.tries += 1;
        self.begun.get_or_insert((at, core.stage.age()));
        let ending = match core.webhook_permits.acquire().await {
            Ok(_permit) => self.travel(core).await,
            Err(closed) => Ending::NoConnection(closed.to_string()),
        };
        let (status, error) = match &ending {
            Ending::Answered { status, .. } => (Some(status.as_u16()), None),
            Ending::NoConnection(why) | Ending::NoAnswer(why) => (None, Some(why.clone())),
        };
        if let Some(why) = &error {
            tracing::warn!(about = %self.about, event = %self.event, attempt = self.tries, error = %why, "webhook not answered");
        }
        core.ledger.webhook(WebhookRecord {
            at,
            channel: self.channel,
            kind: self.kind,
            event: self.event.clone(),
            about: self.about.clone(),
            url: self.url.clone(),
            attempt: self.tries,
            status,
            error,
            body: match &self.body {
                Body::Json(text) => text.clone(),
                Body::Form(params) => encode(params),
            },
        });
        ending
    }

    /// When the next try is due after this ending, or `None` when it was the last.
    pub fn next_try(&self, now: DateTime<Utc>, ending: &Ending) -> Option<DateTime<Utc>> {
        let first = self.begun.map_or(now, |(first, _)| first);
        let doubled =
            |start: u64| Duration::from_millis(start.saturating_mul(1 << self.tries.clamp(1, 24).saturating_sub(1)));
        match &self.policy {
            Policy::Once => None,
            Policy::Meta { retry_for } => {
                let due = later(now, doubled(1000).min(LONGEST_PAUSE));
                (due <= later(first, *retry_for)).then_some(due)
            }
            Policy::Twilio(asked) => {
                let again = match ending {
                    Ending::NoConnection(_) => asked.on_connect,
                    Ending::NoAnswer(_) => asked.on_read,
                    Ending::Answered { status, .. } if status.is_server_error() => asked.on_5xx,
                    Ending::Answered { status, .. } => asked.on_4xx && status.is_client_error(),
                };
                let due = later(now, doubled(100));
                (again && self.tries <= asked.retries && due <= later(first, asked.total)).then_some(due)
            }
        }
    }

    async fn travel(&self, core: &Core) -> Ending {
        let (url, headers, body) = self.signed(core);
        let timeout = match &self.policy {
            Policy::Twilio(asked) => asked.read_timeout,
            Policy::Once | Policy::Meta { .. } => Duration::from_secs(20),
        };
        let request = core.client.request(self.method.clone(), url).headers(headers).body(body).timeout(timeout);
        match request.send().await {
            Ok(answer) => {
                let status = answer.status();
                read_limited(answer)
                    .await
                    .map_or_else(|e| Ending::NoAnswer(causes(&e)), |body| Ending::Answered { status, body })
            }
            Err(error) if error.is_connect() || error.is_builder() => Ending::NoConnection(causes(&error)),
            Err(error) => Ending::NoAnswer(causes(&error)),
        }
    }

    fn signed(&self, core: &Core) -> (String, HeaderMap, String) {
        let mut headers = HeaderMap::new();
        match &self.body {
            Body::Json(json) if self.method == Method::GET => (self.url.clone(), headers, json.clone()),
            Body::Json(json) => {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                put(
                    &mut headers,
                    "x-hub-signature-256",
                    &signature::meta(&core.config.meta.app_secret, json.as_bytes()),
                );
                (self.url.clone(), headers, json.clone())
            }
            Body::Form(params) if self.method == Method::GET => {
                let separator = if self.url.contains('?') { '&' } else { '?' };
                let url = format!("{}{separator}{}", self.url, encode(params));
                put(&mut headers, "x-twilio-signature", &signature::twilio(&core.config.twilio.auth_token, &url, &[]));
                (url, headers, String::new())
            }
            Body::Form(params) => {
                let form = HeaderValue::from_static("application/x-www-form-urlencoded; charset=UTF-8");
                headers.insert(header::CONTENT_TYPE, form);
                put(
                    &mut headers,
                    "x-twilio-signature",
                    &signature::twilio(&core.config.twilio.auth_token, &self.url, params),
                );
                (self.url.clone(), headers, encode(params))
            }
        }
    }
}

fn put(headers: &mut HeaderMap, name: &'static str, value: &str) {
    // Hexadecimal and base64 are always valid header values.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Writes parameters as a form.
pub(crate) fn encode(params: &[(String, String)]) -> String {
    let mut url = reqwest::Url::parse("http://form/").ok();
    if let Some(url) = &mut url {
        url.query_pairs_mut().extend_pairs(params);
    }
    url.as_ref().and_then(|url| url.query()).unwrap_or_default().to_owned()
}

async fn read_limited(mut answer: reqwest::Response) -> Result<String, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > LONGEST_ANSWER {
            break;
        }
    }
    Ok(String::from_utf8_lossy(&body).into_owned())
}

/// The error with everything that caused it; the outermost text alone says only that a request failed.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook(policy: Policy) -> Webhook {
        Webhook {
            channel: Provider::Sms,
            kind: WebhookKind::Status,
            event: "sent".into(),
            about: "SM1".into(),
            method: Method::POST,
            url: "http://127.0.0.1/".into(),
            body: Body::Form(Vec::new()),
            policy,
            tries: 1,
            begun: Some((DateTime::UNIX_EPOCH, 0)),
        }
    }

    fn answered(status: u16) -> Ending {
        Ending::Answered { status: StatusCode::from_u16(status).unwrap(), body: String::new() }
    }

    #[test]
    fn overrides_are_read_from_the_fragment_and_cut_off() {
        let (url, asked) = split_overrides("http://host/hook?a=1#rc=9&rp=5xx,ct&rt=2000&x=y");
        assert_eq!(url, "http://host/hook?a=1");
        assert_eq!(
            (asked.retries, asked.on_connect, asked.on_read, asked.on_4xx, asked.on_5xx),
            (5, true, false, false, true)
        );
        assert_eq!(asked.read_timeout, Duration::from_secs(2));
    }

    #[test]
    fn twilio_repeats_only_a_failed_connection_unless_asked_for_more() {
        let plain = webhook(Policy::Twilio(split_overrides("http://h/").1));
        assert!(plain.next_try(DateTime::UNIX_EPOCH, &answered(500)).is_none());
        assert!(plain.next_try(DateTime::UNIX_EPOCH, &Ending::NoConnection(String::new())).is_some());
        let all = webhook(Policy::Twilio(split_overrides("http://h/#rc=5&rp=all").1));
        assert!(all.next_try(DateTime::UNIX_EPOCH, &answered(500)).is_some());
        assert!(all.next_try(DateTime::UNIX_EPOCH, &answered(404)).is_some());
        let mut last = webhook(Policy::Twilio(split_overrides("http://h/#rc=2&rp=all").1));
        last.tries = 3;
        assert!(last.next_try(DateTime::UNIX_EPOCH, &answered(500)).is_none(), "two retries were allowed");
    }

    #[test]
    fn meta_repeats_with_growing_pauses_until_its_time_is_over() {
        let mut hook = webhook(Policy::Meta { retry_for: Duration::from_secs(60) });
        let pause = |hook: &Webhook| hook.next_try(DateTime::UNIX_EPOCH, &answered(503)).map(|due| due.timestamp());
        assert_eq!(pause(&hook), Some(1));
        hook.tries = 5;
        assert_eq!(pause(&hook), Some(16));
        hook.tries = 20;
        assert_eq!(pause(&hook), None, "an hour's pause is past the minute that was allowed");
    }
}
