//! Short messages over a Kannel gateway of one's own: `sendsms` to send, `dlr-url` for receipts, `get-url` for inbound.
//! `webhook` reads what Kannel calls, `replies` says what its answers mean, `text` chooses the alphabet.
//!
//! Kannel gives no id for a message at submission, so the id is ours. It offers nothing after an unknown outcome.
//! User guide: <https://www.kannel.org/download/1.4.5/userguide-1.4.5/userguide.html>, chapter 10.

mod replies;
mod text;
mod webhook;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use domain::{
    channel::{AddressKind, ChannelType},
    delivery::{AfterUnknown, Evidence, FailureClass},
};
use reqwest::Client;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use super::{
    Connector, Outbound, Refusal, Sent, Traits, WebhookError, WebhookFacts, WebhookRequest, echo,
    forms::Form,
    registry::ConnectorKind,
    settings::{ProviderSettings, SettingProblem, SettingSpec},
    wire,
};

const SETTINGS: &[SettingSpec] = &[
    SettingSpec::required(
        "base_url",
        "Where smsbox listens, such as http://127.0.0.1:13013; https unless it is this machine.",
    ),
    SettingSpec::required("username", "The name of the sendsms-user."),
    SettingSpec::required("password", "The password of the sendsms-user.").secret(),
    SettingSpec::required("webhook_token", "The token that protects receipts and inbound messages, as ?token=.")
        .secret(),
    SettingSpec::optional("smsc", "The id of the connection to send over, where Kannel has several."),
    SettingSpec::optional("timeout_seconds", "How long one call of smsbox may take, 1 to 60 s; by default 10."),
];

/// This connector in the registry.
pub const KIND: ConnectorKind = ConnectorKind {
    name: "kannel",
    description: "Short messages through a Kannel gateway of your own.",
    channel_types: &[ChannelType::Sms],
    after_unknown: AfterUnknown::Nothing,
    inbound: true,
    entered_webhook: Some("/inbound"),
    settings: SETTINGS,
    build,
};

/// Every status: delivered, failed, buffered, accepted and rejected by the centre (1 + 2 + 4 + 8 + 16).
const EVERY_STATUS: &str = "31";

struct Kannel {
    client: Client,
    base_url: String,
    username: String,
    password: SecretString,
    webhook_token: SecretString,
    smsc: String,
    timeout: Duration,
}

impl fmt::Debug for Kannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kannel").field("base_url", &self.base_url).field("timeout", &self.timeout).finish()
    }
}

fn build(settings: &ProviderSettings) -> Result<Arc<dyn Connector>, Vec<SettingProblem>> {
    let mut reader = settings.read(SETTINGS);
    let base_url = reader.base_url("base_url", "");
    let username = reader.text("username");
    let password = reader.secret("password");
    let webhook_token = reader.secret("webhook_token");
    let smsc = reader.text("smsc");
    let timeout = reader.seconds("timeout_seconds", 1..=60, 10);
    let client = reader.built("base_url", wire::client(&base_url, timeout));
    let client = reader.finish_with(client)?;
    Ok(Arc::new(Kannel { client, base_url, username, password, webhook_token, smsc, timeout }))
}

#[async_trait]
impl Connector for Kannel {
    fn traits(&self) -> Traits {
        Traits {
            channel_type: ChannelType::Sms,
            after_unknown: AfterUnknown::Nothing,
            timeout: self.timeout,
            in_flight: 20,
            proves: Evidence::Delivered,
        }
    }

    async fn send(&self, outbound: &Outbound) -> Sent {
        if outbound.to.kind != AddressKind::Phone {
            let words = "only a phone number gets an SMS";
            return Sent::Refused(Refusal::own(FailureClass::FallOver, "address_kind", words));
        }
        let words = outbound.content.plain_text();
        if words.is_empty() {
            return Sent::Refused(Refusal::own(FailureClass::Permanent, "empty", "the message has no text"));
        }
        let receipts = self.receipts_url(outbound);
        let mut query = vec![
            ("username", self.username.as_str()),
            ("password", self.password.expose_secret()),
            ("from", &outbound.from),
            ("to", &outbound.to.value),
            ("text", &words),
            ("charset", "UTF-8"),
            ("coding", if text::is_gsm7(&words) { "0" } else { "2" }),
            ("dlr-mask", EVERY_STATUS),
            ("dlr-url", &receipts),
        ];
        if !self.smsc.is_empty() {
            query.push(("smsc", &self.smsc));
        }
        let meta_data = self.meta_data(outbound);
        if !meta_data.is_empty() {
            query.push(("meta-data", &meta_data));
        }
        let request = self.client.get(format!("{}/cgi-bin/sendsms", self.base_url)).query(&query);
        match wire::call(request).await {
            Ok(reply) => replies::outcome(&reply, echo::token(outbound.delivery_id, outbound.attempt)),
            Err(error) => error.into(),
        }
    }

    fn read_webhook(&self, request: &WebhookRequest) -> Result<WebhookFacts, WebhookError> {
        let query = Form::parse(request.query.as_bytes());
        let given = query.text("token").unwrap_or_default();
        let known: bool = self.webhook_token.expose_secret().as_bytes().ct_eq(given.as_bytes()).into();
        if !known {
            return Err(WebhookError::Forbidden("the token in the query is missing or wrong".to_owned()));
        }
        match (request.path.as_str(), &request.method) {
            ("/status", &http::Method::GET) => webhook::receipt(&query),
            ("/inbound", &http::Method::GET) => webhook::inbound(&query),
            ("/inbound", &http::Method::POST) => webhook::inbound(&query.and(Form::parse(&request.body))),
            _ => Err(WebhookError::NotFound),
        }
    }

    /// Asks `sendsms` for nothing: with good credentials it complains about the missing number, and sends no message.
    async fn check(&self) -> Result<(), String> {
        let query = [("username", self.username.as_str()), ("password", self.password.expose_secret())];
        let request = self.client.get(format!("{}/cgi-bin/sendsms", self.base_url)).query(&query);
        let reply = wire::call(request).await.map_err(|error| format!("Kannel: {error}"))?;
        match reply.status.as_u16() {
            400 => Ok(()),
            403 => Err("Kannel refuses the username or the password".to_owned()),
            status => {
                Err(format!("Kannel answers with HTTP {status}, where a complaint about a missing number was expected"))
            }
        }
    }
}

impl Kannel {
    /// What goes as optional parameters (TLV) of SMPP, as `?smpp?name=value&...` (user guide, "meta data"). Kannel sends those that
    /// a group `smpp-tlv` of its configuration names; docs/CHANNELS.md has those of India's registry.
    fn meta_data(&self, outbound: &Outbound) -> String {
        let encode =
            |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
        let tlv = |(name, value): (&String, &String)| format!("{}={}", name.replace('_', "-"), encode(value));
        let tlvs: Vec<String> = outbound.parameters.iter().map(tlv).collect();
        if tlvs.is_empty() { String::new() } else { format!("?smpp?{}", tlvs.join("&")) }
    }

    /// Where Kannel reports; it fills in what stands behind the percent signs (user guide, table 6-9): `%d` the status,
    /// `%A` the centre's reply, `%T` the time.
    fn receipts_url(&self, outbound: &Outbound) -> String {
        let token = percent_encoding::utf8_percent_encode(
            self.webhook_token.expose_secret(),
            percent_encoding::NON_ALPHANUMERIC,
        );
        // Kannel would take the percent signs of the encoding for its own, so each one is doubled.
        let token = token.to_string().replace('%', "%%");
        let ids = echo::query(outbound.delivery_id, outbound.attempt);
        format!("{}/status?{ids}&status=%d&reply=%A&time=%T&token={token}", echo::webhooks(outbound))
    }
}

#[cfg(test)]
mod tests;
