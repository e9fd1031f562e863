//! Any medium over signed webhooks: what is to be said is posted to an address of one's own, what people say and what became of
//! messages is posted to us. `signature` signs and checks, `replies` says what the answers mean, `incoming` reads what comes.
//!
//! The whole protocol stands in `docs/CHANNELS.md`. The far end drops a second copy with the same idempotency key, so that a call
//! whose end is not known may be repeated.

mod incoming;
mod replies;
mod signature;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use domain::{
    channel::ChannelType,
    delivery::{AfterUnknown, Evidence},
};
use reqwest::{Client, RequestBuilder, header};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::{
    Connector, Outbound, Sent, Traits, WebhookError, WebhookFacts, WebhookRequest, echo,
    registry::{ANY_MEDIUM, ConnectorKind},
    settings::{ProviderSettings, SettingProblem, SettingSpec},
    wire,
};

const SETTINGS: &[SettingSpec] = &[
    SettingSpec::required("url", "Where messages are posted, such as https://chat.example.org/switchboard."),
    SettingSpec::required("signing_secret", "The key that signs both ways (HMAC-SHA256), at least 16 characters.")
        .secret(),
    SettingSpec::optional(
        "previous_signing_secret",
        "A key that is still taken from the far end, while it changes to the new one.",
    )
    .secret(),
    SettingSpec::optional(
        "replay_window_seconds",
        "How far the time of a request may be from ours, 10 to 3600 s; by default 300.",
    ),
    SettingSpec::optional("timeout_seconds", "How long one call may take, 1 to 60 s; by default 10."),
];

/// This connector in the registry.
pub const KIND: ConnectorKind = ConnectorKind {
    name: "webhook",
    description: "Any medium, over signed webhooks to and from a program of your own.",
    channel_types: ANY_MEDIUM,
    after_unknown: AfterUnknown::Key,
    inbound: true,
    entered_webhook: Some(""),
    settings: SETTINGS,
    build,
};

/// The version of what is posted; a field that is added does not change it.
pub const SCHEMA: &str = "switchboard.webhook/1";
/// The shortest key that is taken.
const MIN_SECRET: usize = 16;

struct Webhook {
    client: Client,
    url: String,
    secret: SecretString,
    previous: Option<SecretString>,
    window: Duration,
    timeout: Duration,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("url", &self.url).field("timeout", &self.timeout).finish()
    }
}

fn build(settings: &ProviderSettings) -> Result<Arc<dyn Connector>, Vec<SettingProblem>> {
    let mut reader = settings.read(SETTINGS);
    let url = reader.base_url("url", "");
    let secret = reader.secret("signing_secret");
    if (1..MIN_SECRET).contains(&secret.expose_secret().len()) {
        reader.problem("signing_secret", format!("must have at least {MIN_SECRET} characters"));
    }
    let previous = Some(reader.secret("previous_signing_secret")).filter(|s| !s.expose_secret().is_empty());
    let window = reader.seconds("replay_window_seconds", 10..=3600, 300);
    let timeout = reader.seconds("timeout_seconds", 1..=60, 10);
    let client = if url.is_empty() { None } else { reader.built("url", wire::client(&url, timeout)) };
    let client = reader.finish_with(client)?;
    Ok(Arc::new(Webhook { client, url, secret, previous, window, timeout }))
}

#[async_trait]
impl Connector for Webhook {
    fn traits(&self) -> Traits {
        Traits {
            channel_type: ChannelType::Webhook,
            after_unknown: AfterUnknown::Key,
            timeout: self.timeout,
            in_flight: 50,
            proves: Evidence::Read,
        }
    }

    async fn send(&self, outbound: &Outbound) -> Sent {
        let request = self.signed(&message(outbound)).header("idempotency-key", outbound.delivery_id.to_string());
        match wire::call(request).await {
            Ok(reply) => replies::outcome(&reply, echo::token(outbound.delivery_id, outbound.attempt)),
            Err(error) => error.into(),
        }
    }

    fn read_webhook(&self, request: &WebhookRequest) -> Result<WebhookFacts, WebhookError> {
        if !matches!(request.path.as_str(), "" | "/") || request.method != http::Method::POST {
            return Err(WebhookError::NotFound);
        }
        let secrets = std::iter::once(&self.secret).chain(&self.previous);
        signature::check(request, secrets, self.window)?;
        incoming::read(&request.body)
    }

    /// Posts a ping, signed like any message; whoever can check it answers with 200.
    async fn check(&self) -> Result<(), String> {
        let reply = wire::call(self.signed(&json!({"schema": SCHEMA, "type": "ping"}))).await;
        let status = reply.map_err(|error| format!("the webhook: {error}"))?.status;
        match status.is_success() {
            true => Ok(()),
            false => {
                Err(format!("the webhook answers a signed ping with HTTP {}, where 200 was expected", status.as_u16()))
            }
        }
    }
}

impl Webhook {
    fn signed(&self, body: &Value) -> RequestBuilder {
        let (body, now) = (body.to_string(), chrono::Utc::now().timestamp());
        self.client
            .post(&self.url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(signature::TIMESTAMP, now)
            .header(signature::SIGNATURE, signature::sign(&self.secret, now, body.as_bytes()))
            .body(body)
    }
}

/// What is posted for one message.
fn message(outbound: &Outbound) -> Value {
    let mut posted = json!({
        "schema": SCHEMA,
        "type": "message",
        "delivery_id": outbound.delivery_id,
        "attempt": outbound.attempt,
        "idempotency_key": outbound.delivery_id,
        "to": outbound.to,
        "from": outbound.from,
        "content": outbound.content,
        "plain_text": outbound.content.plain_text(),
        "window_open": outbound.window_open,
    });
    if let Some(answered) = &outbound.in_reply_to {
        posted["in_reply_to"] = json!(answered);
    }
    if let Some(url) = &outbound.unsubscribe_url {
        posted["unsubscribe_url"] = json!(url);
    }
    posted
}

#[cfg(test)]
mod tests;
