//! Mail over SMTP, submitted to a relay of the operator's choice. `compose` writes the mail, `replies` says what the
//! relay's answers mean.
//!
//! A mail has the same Message-ID in every attempt, so after an unknown outcome it is simply sent again and the receiving
//! side sees one mail. The relay's word proves that it took the mail, no more: there are no webhooks.

mod compose;
mod replies;

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use domain::{
    channel::ChannelType,
    delivery::{AfterUnknown, Evidence},
};
use lettre::{
    AsyncSmtpTransport, AsyncTransport, Tokio1Executor,
    transport::smtp::{
        AsyncSmtpTransportBuilder, PoolConfig,
        authentication::Credentials,
        client::{Certificate, Tls, TlsParameters},
        extension::ClientId,
    },
};
use secrecy::ExposeSecret;
use tokio::runtime::Handle;

use super::{
    Connector, Outbound, Sent, Traits, WebhookError, WebhookFacts, WebhookRequest,
    registry::ConnectorKind,
    settings::{ProviderSettings, Reader, SettingProblem, SettingSpec, is_loopback},
    wire,
};

const SETTINGS: &[SettingSpec] = &[
    SettingSpec::required("host", "The name of the relay, as in its certificate."),
    SettingSpec::optional("port", "The port, 1 to 65535; by default 587, with tls 465, without any TLS 25."),
    SettingSpec::optional("tls", "How it is protected: starttls (default), tls from the first byte, or none."),
    SettingSpec::optional("username", "The user, where the relay asks for one; needs password."),
    SettingSpec::optional("password", "The password of that user.").secret(),
    SettingSpec::optional(
        "ca",
        "Certificates (PEM) of authorities that are trusted beside Mozilla's: ca_file names their file, for a private relay.",
    )
    .secret(),
    SettingSpec::optional("hello_name", "The name by which we greet the relay; by default this machine's."),
    SettingSpec::optional("message_id_domain", "The domain in Message-IDs; by default that of the sender's address."),
    SettingSpec::optional("default_subject", "The subject of content that has none; by default its first words."),
    SettingSpec::optional("connections", "Connections that are kept at most, 1 to 50; by default 5."),
    SettingSpec::optional("timeout_seconds", "How long one mail may take, 5 to 300 s; by default 60."),
];

/// This connector in the registry.
pub const KIND: ConnectorKind = ConnectorKind {
    name: "smtp",
    description: "Mail over SMTP, to any mail server or relay.",
    channel_types: &[ChannelType::Email],
    after_unknown: AfterUnknown::Resend,
    inbound: false,
    entered_webhook: None,
    settings: SETTINGS,
    build,
};

type Transport = AsyncSmtpTransport<Tokio1Executor>;

struct Smtp {
    relay: Relay,
    manner: compose::Manner,
    connections: u32,
    timeout: Duration,
}

impl fmt::Debug for Smtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Smtp").field("manner", &self.manner).field("timeout", &self.timeout).finish()
    }
}

/// The relay's connections. lettre's pool starts a task when it is made and another when it is dropped, and panics where
/// no runtime is: so it is made at the first use and dropped inside the runtime that it was made in.
struct Relay {
    builder: AsyncSmtpTransportBuilder,
    running: OnceLock<(Handle, Transport)>,
}

impl Relay {
    /// The pool. Only called while a call runs, hence inside a runtime.
    fn connections(&self) -> &Transport {
        &self.running.get_or_init(|| (Handle::current(), self.builder.clone().build())).1
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some((runtime, transport)) = self.running.take() {
            let _inside = runtime.enter();
            drop(transport);
        }
    }
}

fn build(settings: &ProviderSettings) -> Result<Arc<dyn Connector>, Vec<SettingProblem>> {
    wire::install_tls_provider();
    let mut reader = settings.read(SETTINGS);
    let manner = compose::Manner {
        message_id_domain: reader.text("message_id_domain"),
        default_subject: reader.text("default_subject"),
    };
    let connections = reader.number("connections", 1..=50, 5);
    let timeout = reader.seconds("timeout_seconds", 5..=300, 60);
    let builder = transport(&mut reader, connections, timeout);
    let relay = Relay { builder: reader.finish_with(builder)?, running: OnceLock::new() };
    Ok(Arc::new(Smtp { relay, manner, connections, timeout }))
}

fn transport(reader: &mut Reader<'_>, connections: u32, timeout: Duration) -> Option<AsyncSmtpTransportBuilder> {
    let host = reader.text("host");
    let mode = reader.one_of("tls", &["starttls", "tls", "none"]);
    let default_port = match mode {
        "none" => 25,
        "tls" => 465,
        _ => 587,
    };
    let port = u16::try_from(reader.number("port", 1..=65_535, default_port)).unwrap_or(587);
    let credentials = credentials(reader, mode, &host);
    let hello = reader.text("hello_name");
    let protection = protection(reader, mode, &host)?;
    let pool = PoolConfig::new().max_size(connections).idle_timeout(Duration::from_secs(60));
    let mut builder =
        Transport::builder_dangerous(host).port(port).tls(protection).timeout(Some(timeout / 2)).pool_config(pool);
    if !hello.is_empty() {
        builder = builder.hello_name(ClientId::Domain(hello));
    }
    Some(match credentials {
        Some(credentials) => builder.credentials(credentials),
        None => builder,
    })
}

fn credentials(reader: &mut Reader<'_>, mode: &str, host: &str) -> Option<Credentials> {
    let username = reader.text("username");
    let password = reader.secret("password");
    let has_password = !password.expose_secret().is_empty();
    if username.is_empty() == has_password {
        reader.problem("username", "and password must be given together");
    }
    if mode == "none" && has_password && !is_loopback(host) {
        reader.problem("tls", "must be starttls or tls: the password would travel in clear text");
    }
    has_password.then(|| Credentials::new(username, password.expose_secret().to_owned()))
}

fn protection(reader: &mut Reader<'_>, mode: &str, host: &str) -> Option<Tls> {
    if mode == "none" {
        return Some(Tls::None);
    }
    let mut parameters = TlsParameters::builder(host.to_owned());
    if let Some(authority) = authority(reader) {
        parameters = parameters.add_root_certificate(authority);
    }
    let parameters = parameters.build().map_err(|_| "is not a name that a certificate can have".to_owned());
    let parameters = reader.built("host", parameters)?;
    Some(if mode == "tls" { Tls::Wrapper(parameters) } else { Tls::Required(parameters) })
}

/// The authorities of `ca_file`. It is read when the connector is built: after a change, update the channel or start again.
fn authority(reader: &mut Reader<'_>) -> Option<Certificate> {
    let pem = reader.secret("ca");
    let pem = pem.expose_secret();
    if pem.is_empty() {
        return None;
    }
    let usable = Certificate::from_pem(pem.as_bytes()).ok().filter(|read| {
        let trial = TlsParameters::builder("localhost".to_owned()).add_root_certificate(read.clone());
        pem.contains("-----BEGIN CERTIFICATE-----") && trial.build().is_ok()
    });
    reader.built("ca", usable.ok_or_else(|| "holds no certificate of an authority in PEM".to_owned()))
}

#[async_trait]
impl Connector for Smtp {
    fn traits(&self) -> Traits {
        Traits {
            channel_type: ChannelType::Email,
            after_unknown: AfterUnknown::Resend,
            timeout: self.timeout,
            in_flight: self.connections,
            proves: Evidence::Sent,
        }
    }

    async fn send(&self, outbound: &Outbound) -> Sent {
        let mail = match compose::mail(&self.manner, outbound) {
            Ok(mail) => mail,
            Err(refusal) => return Sent::Refused(refusal),
        };
        match tokio::time::timeout(self.timeout, self.relay.connections().send(mail.message)).await {
            Ok(Ok(_)) => Sent::Accepted { provider_message_id: mail.message_id },
            Ok(Err(error)) => replies::outcome(&error, outbound.to.value.is_ascii()),
            Err(_) => Sent::Unknown { detail: "no answer in time".to_owned() },
        }
    }

    fn read_webhook(&self, _: &WebhookRequest) -> Result<WebhookFacts, WebhookError> {
        Err(WebhookError::NotFound)
    }

    /// The mailbox, or its domain, does not exist (RFC 3463: 5.1.1, 5.1.2, 5.1.6, 5.1.10).
    fn address_is_gone(&self, code: &str) -> bool {
        let enhanced = code.rsplit(' ').next().unwrap_or_default();
        matches!(enhanced, "5.1.1" | "5.1.2" | "5.1.6" | "5.1.10")
    }

    async fn check(&self) -> Result<(), String> {
        match tokio::time::timeout(self.timeout, self.relay.connections().test_connection()).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err("the mail relay closed the connection".to_owned()),
            Ok(Err(error)) => Err(match replies::outcome(&error, true) {
                Sent::Refused(refusal) => format!("the mail relay: {} ({})", refusal.detail, refusal.code),
                Sent::NotSent { detail } | Sent::Unknown { detail } => format!("the mail relay: {detail}"),
                Sent::Accepted { .. } => "the mail relay gave an answer that cannot be".to_owned(),
            }),
            Err(_) => Err("the mail relay did not answer in time".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests;
