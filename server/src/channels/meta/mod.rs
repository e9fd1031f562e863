//! WhatsApp over Meta's Cloud API, or over 360dialog, which speaks the same with another header. `payload` turns content
//! into requests, `webhook` reads what is posted, `errors` says what codes mean.
//!
//! The channel's own address is its phone number id. The API has no idempotency key; our ids travel in
//! `biz_opaque_callback_data` and come back in every status, which is what settles an unknown outcome.
//! Meta's pages: <https://developers.facebook.com/docs/whatsapp/cloud-api/guides/send-messages>.

pub mod errors;
mod files;
mod payload;
mod webhook;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use domain::{
    channel::ChannelType,
    delivery::{AfterUnknown, Evidence, FailureClass},
    message::Content,
};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::{Client, RequestBuilder};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::{
    Connector, Courtesy, FetchError, Fetched, Outbound, Refusal, Sent, Traits, WebhookAnswer, WebhookError,
    WebhookFacts, WebhookRequest, echo,
    forms::Form,
    registry::ConnectorKind,
    settings::{ProviderSettings, Reader, SettingProblem, SettingSpec},
    wire::{self, Reply},
};

/// The header that holds Meta's signature.
pub const SIGNATURE: &str = "x-hub-signature-256";

const SETTINGS: &[SettingSpec] = &[
    SettingSpec::required("access_token", "The token of the calls: a system user's at Meta, the API key at 360dialog.")
        .secret(),
    SettingSpec::optional("app_secret", "The app's secret, by which Meta signs webhooks; needed with auth bearer.")
        .secret(),
    SettingSpec::optional(
        "verify_token",
        "The word that Meta repeats when the webhook is set up; needed with auth bearer.",
    )
    .secret(),
    SettingSpec::optional(
        "webhook_token",
        "The token that 360dialog repeats as ?token= in webhooks; needed with auth d360.",
    )
    .secret(),
    SettingSpec::optional("auth", "Who is called: bearer for Meta itself (default), d360 for 360dialog."),
    SettingSpec::optional("base_url", "The base of the API; by default https://graph.facebook.com, or 360dialog's."),
    SettingSpec::optional(
        "phone_number_id",
        "The phone number id that the check asks for; by default it asks for the token's owner.",
    ),
    SettingSpec::optional("api_version", "The version of the Graph API; by default v23.0, not used by 360dialog."),
    SettingSpec::optional("timeout_seconds", "How long one call of the API may take, 1 to 60 s; by default 10."),
];

/// This connector in the registry.
pub const KIND: ConnectorKind = ConnectorKind {
    name: "whatsapp-cloud",
    description: "WhatsApp through Meta's Cloud API, or through a partner that speaks it.",
    channel_types: &[ChannelType::Whatsapp],
    after_unknown: AfterUnknown::Echo,
    inbound: true,
    entered_webhook: Some(""),
    settings: SETTINGS,
    build,
};

/// Who stands behind the address, and how webhooks are known to come from there.
enum Gateway {
    Meta { version: String, phone_number_id: String, app_secret: SecretString, verify_token: SecretString },
    Dialog360 { webhook_token: SecretString },
}

struct WhatsApp {
    client: Client,
    base_url: String,
    access_token: SecretString,
    gateway: Gateway,
    timeout: Duration,
}

impl fmt::Debug for WhatsApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WhatsApp").field("base_url", &self.base_url).field("timeout", &self.timeout).finish()
    }
}

fn build(settings: &ProviderSettings) -> Result<Arc<dyn Connector>, Vec<SettingProblem>> {
    let mut reader = settings.read(SETTINGS);
    let is_meta = reader.one_of("auth", &["bearer", "d360"]) == "bearer";
    let gateway = if is_meta { meta(&mut reader) } else { dialog360(&mut reader) };
    let default = if is_meta { "https://graph.facebook.com" } else { "https://waba-v2.360dialog.io" };
    let base_url = reader.base_url("base_url", default);
    let access_token = reader.secret("access_token");
    let timeout = reader.seconds("timeout_seconds", 1..=60, 10);
    let client = reader.built("base_url", wire::client(&base_url, timeout));
    let client = reader.finish_with(client)?;
    Ok(Arc::new(WhatsApp { client, base_url, access_token, gateway, timeout }))
}

fn meta(reader: &mut Reader<'_>) -> Gateway {
    let version = match reader.text("api_version") {
        version if version.is_empty() => "v23.0".to_owned(),
        version => version,
    };
    if !version.strip_prefix('v').is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')) {
        reader.problem("api_version", "must be a version such as v23.0");
    }
    let phone_number_id = reader.text("phone_number_id");
    if !phone_number_id.bytes().all(|byte| byte.is_ascii_digit()) {
        reader.problem("phone_number_id", "must be digits: the id of the number, not the number itself with its +");
    }
    Gateway::Meta {
        version,
        phone_number_id,
        app_secret: reader.needed_secret("app_secret"),
        verify_token: reader.needed_secret("verify_token"),
    }
}

fn dialog360(reader: &mut Reader<'_>) -> Gateway {
    Gateway::Dialog360 { webhook_token: reader.needed_secret("webhook_token") }
}

#[async_trait]
impl Connector for WhatsApp {
    fn traits(&self) -> Traits {
        Traits {
            channel_type: ChannelType::Whatsapp,
            after_unknown: AfterUnknown::Echo,
            timeout: self.timeout,
            in_flight: 50,
            proves: Evidence::Read,
        }
    }

    async fn send(&self, outbound: &Outbound) -> Sent {
        if !outbound.window_open && !matches!(outbound.content, Content::ProviderTemplate { .. }) {
            // Meta would take the call, count it, and say the same later in a status.
            let words = "the service window is closed: only an approved template may be sent";
            return Sent::Refused(Refusal::own(FailureClass::NeedsTemplate, "window_closed", words));
        }
        let payload = match payload::write(outbound) {
            Ok(payload) => payload,
            Err(refusal) => return Sent::Refused(refusal),
        };
        let url = self.messages(&outbound.from);
        match wire::call(self.authenticated(self.client.post(url)).json(&payload)).await {
            Ok(reply) => outcome(&reply, outbound.attempt),
            Err(error) => error.into(),
        }
    }

    fn read_webhook(&self, request: &WebhookRequest) -> Result<WebhookFacts, WebhookError> {
        if !request.path.is_empty() {
            return Err(WebhookError::NotFound);
        }
        match (&self.gateway, &request.method) {
            (Gateway::Meta { verify_token, .. }, &http::Method::GET) => shake_hands(verify_token, &request.query),
            (Gateway::Meta { app_secret, .. }, &http::Method::POST) => {
                check_signature(app_secret, request)?;
                webhook::read(&request.body)
            }
            (Gateway::Dialog360 { webhook_token }, &http::Method::POST) => {
                let given = Form::parse(request.query.as_bytes()).text("token").unwrap_or_default();
                if !same(webhook_token, &given) {
                    return Err(WebhookError::Forbidden("the token in the query is missing or wrong".to_owned()));
                }
                webhook::read(&request.body)
            }
            _ => Err(WebhookError::NotFound),
        }
    }

    fn throttles_one_recipient(&self, code: &str) -> bool {
        code == errors::PAIR_RATE.to_string()
    }

    async fn fetch_media(&self, reference: &str, max_bytes: usize) -> Result<Fetched, FetchError> {
        files::fetch(self, reference, max_bytes).await
    }

    fn takes_courtesies(&self) -> bool {
        true
    }

    async fn give_courtesy(&self, courtesy: &Courtesy) -> Sent {
        let mut payload = serde_json::json!({
            "messaging_product": "whatsapp", "status": "read", "message_id": courtesy.provider_message_id,
        });
        if courtesy.typing {
            payload["typing_indicator"] = serde_json::json!({ "type": "text" });
        }
        match wire::call(self.authenticated(self.client.post(self.messages(&courtesy.from))).json(&payload)).await {
            // It answers `{"success": true}`, without an id.
            Ok(reply) if reply.status.is_success() => Sent::Accepted { provider_message_id: String::new() },
            Ok(reply) => outcome(&reply, 1),
            Err(error) => error.into(),
        }
    }

    async fn check(&self) -> Result<(), String> {
        let url = match &self.gateway {
            Gateway::Meta { version, phone_number_id, .. } => {
                let asked = if phone_number_id.is_empty() { "me" } else { phone_number_id };
                format!("{}/{version}/{asked}?fields=id", self.base_url)
            }
            Gateway::Dialog360 { .. } => format!("{}/v1/configs/webhook", self.base_url),
        };
        let reply = wire::call(self.authenticated(self.client.get(url))).await.map_err(|e| format!("WhatsApp: {e}"))?;
        match reply.status.is_success() {
            true => Ok(()),
            false => match outcome(&reply, 1) {
                Sent::Refused(refusal) => Err(format!("WhatsApp: {} ({})", refusal.detail, refusal.code)),
                _ => Err(format!("WhatsApp: HTTP {} without a readable answer", reply.status.as_u16())),
            },
        }
    }
}

impl WhatsApp {
    /// Where messages from one of our numbers are posted.
    fn messages(&self, number: &str) -> String {
        match &self.gateway {
            Gateway::Meta { version, .. } => format!("{}/{version}/{number}/messages", self.base_url),
            Gateway::Dialog360 { .. } => format!("{}/messages", self.base_url),
        }
    }

    fn authenticated(&self, request: RequestBuilder) -> RequestBuilder {
        match self.gateway {
            Gateway::Meta { .. } => request.bearer_auth(self.access_token.expose_secret()),
            Gateway::Dialog360 { .. } => request.header("D360-API-KEY", self.access_token.expose_secret()),
        }
    }
}

#[derive(Deserialize)]
struct Accepted {
    messages: Vec<AcceptedMessage>,
}

#[derive(Deserialize)]
struct AcceptedMessage {
    id: String,
}

#[derive(Deserialize)]
struct Refused {
    error: ApiError,
}

#[derive(Deserialize)]
struct ApiError {
    code: u32,
}

fn outcome(reply: &Reply, attempt: i16) -> Sent {
    if reply.status.is_success() {
        let id = reply.json::<Accepted>().and_then(|accepted| accepted.messages.into_iter().next());
        return match id {
            Some(message) if !message.id.is_empty() => Sent::Accepted { provider_message_id: message.id },
            _ => wire::by_status(reply),
        };
    }
    let Some(code) = reply.json::<Refused>().map(|refused| refused.error.code) else { return wire::by_status(reply) };
    let otherwise = match wire::by_status(reply) {
        Sent::Refused(by_status) => by_status.class,
        not_known if !errors::is_known(code) => return not_known,
        _ => FailureClass::Temporary,
    };
    let refusal = errors::refusal(code, attempt, otherwise);
    Sent::Refused(Refusal { retry_after: reply.retry_after.or(refusal.retry_after), ..refusal })
}

/// Answers the call by which Meta proves that the address is ours
/// (<https://developers.facebook.com/docs/graph-api/webhooks/getting-started#verification-requests>).
fn shake_hands(verify_token: &SecretString, query: &str) -> Result<WebhookFacts, WebhookError> {
    let query = Form::parse(query.as_bytes());
    let token = query.text("hub.verify_token").unwrap_or_default();
    if query.text("hub.mode").as_deref() != Some("subscribe") || !same(verify_token, &token) {
        return Err(WebhookError::Forbidden("hub.verify_token is missing or wrong".to_owned()));
    }
    let challenge = query.text("hub.challenge").unwrap_or_default();
    if challenge.is_empty() || challenge.len() > 256 || !challenge.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(WebhookError::Malformed("hub.challenge is not a number or a word".to_owned()));
    }
    let answer = WebhookAnswer::Body { content_type: "text/plain", body: challenge };
    Ok(WebhookFacts { answer, ..WebhookFacts::default() })
}

/// Checks the signature over the raw body, before anything in it is read.
fn check_signature(app_secret: &SecretString, request: &WebhookRequest) -> Result<(), WebhookError> {
    let forbidden = |what: &str| WebhookError::Forbidden(what.to_owned());
    let header = request.headers.get(SIGNATURE).ok_or_else(|| forbidden("X-Hub-Signature-256 is missing"))?;
    let given =
        header.to_str().ok().and_then(|text| text.strip_prefix("sha256=")).and_then(|text| hex::decode(text).ok());
    let given = given.ok_or_else(|| forbidden("X-Hub-Signature-256 is not sha256= and hexadecimal digits"))?;
    let mut mac = Hmac::<Sha256>::new_from_slice(app_secret.expose_secret().as_bytes())
        .map_err(|_| forbidden("the app secret cannot be used"))?;
    mac.update(&request.body);
    mac.verify_slice(&given).map_err(|_| forbidden("X-Hub-Signature-256 is wrong: check the app secret"))
}

fn same(secret: &SecretString, given: &str) -> bool {
    secret.expose_secret().as_bytes().ct_eq(given.as_bytes()).into()
}

/// The echo of a status, where it is ours.
fn echo_of(data: Option<&str>) -> Option<(uuid::Uuid, i16)> {
    data.and_then(echo::from_token)
}

#[cfg(test)]
mod tests;
