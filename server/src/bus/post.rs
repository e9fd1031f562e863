//! One POST of events to a subscriber's address: signed, bounded, never redirected, and never to where a stranger's address could
//! make us look into our own network.
//!
//! The signature is that of Standard Webhooks (standardwebhooks.com, specification 1.0): `webhook-id`, `webhook-timestamp` and
//! `webhook-signature: v1,{base64}`, an HMAC-SHA256 over `{id}.{timestamp}.{body}`. Libraries that verify it exist in many
//! languages. It says nothing of what happens afterwards: who calls keeps the count of failures.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, OnceLock},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::{
    Client, StatusCode, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    header, redirect,
};
use sha2::Sha256;

/// What the body is: a list of events in the JSON batch format of CloudEvents.
pub const CONTENT_TYPE: &str = "application/cloudevents-batch+json";
/// What a secret of Standard Webhooks begins with; base64 follows.
const SECRET_PREFIX: &str = "whsec_";
/// The longest wait that a subscriber may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);
/// Making the connection takes at most this.
const CONNECT: Duration = Duration::from_secs(5);

/// Where addresses of subscribers may lead. By default: https to public addresses, and anything to this machine by name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reach {
    /// Whether http is taken to other machines.
    pub plain_http: bool,
    /// Whether private, link-local and otherwise special addresses are taken.
    pub private_networks: bool,
}

/// Why a POST was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct Refused {
    /// What happened, for the person who keeps the receiver; holds no address and no body.
    pub words: String,
    /// How long the receiver asks us to wait.
    pub retry_after: Option<Duration>,
    /// The receiver says that it is gone for good (410).
    pub gone: bool,
}

impl Refused {
    fn because(words: impl Into<String>) -> Self {
        Self { words: words.into(), retry_after: None, gone: false }
    }
}

impl Reach {
    /// Whether an address may be written down as a subscriber's. What a name resolves to is looked at again at every call.
    ///
    /// # Errors
    /// What is wrong and what would be right, as the rest of a sentence.
    pub fn check(self, text: &str) -> Result<Url, &'static str> {
        let url = Url::parse(text).map_err(|_| "must be an absolute address, such as https://example.org/events")?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must hold no user and password: the signature says who calls");
        }
        if url.fragment().is_some() {
            return Err("must have no fragment");
        }
        let Some(host) = url.host_str().filter(|host| !host.is_empty()) else { return Err("must name a host") };
        let here = is_here(host);
        match url.scheme() {
            "https" => {}
            "http" if here || self.plain_http => {}
            "http" => return Err("must begin with https://, unless webhooks.allow_http is set"),
            _ => return Err("must begin with https://"),
        }
        match literal(host) {
            Some(ip) if !here && !self.takes(ip) => {
                Err("leads to a private or special address, which webhooks.allow_private_networks would allow")
            }
            Some(_) | None => Ok(url),
        }
    }

    /// Whether this address may be called.
    fn takes(self, ip: IpAddr) -> bool {
        self.private_networks || is_public(ip)
    }
}

/// Whether a host is this machine, said openly.
fn is_here(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || literal(host).is_some_and(|ip| ip.is_loopback())
}

fn literal(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Whether an address is one of the public internet (IANA special-purpose registries, RFC 6890).
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => match (v6.to_ipv4_mapped(), v6.segments()) {
            (Some(v4), _) => is_public_v4(v4),
            // NAT64 and 6to4 carry an address of version 4 inside.
            (None, [0x64, 0xff9b, 0, 0, 0, 0, high, low]) | (None, [0x2002, high, low, ..]) => {
                let [a, b] = high.to_be_bytes();
                let [c, d] = low.to_be_bytes();
                is_public_v4(Ipv4Addr::new(a, b, c, d))
            }
            (None, [first, second, ..]) => is_public_v6(v6, first, second),
        },
    }
}

fn is_public_v4(v4: Ipv4Addr) -> bool {
    let [a, b, c, _] = v4.octets();
    let special = v4.is_private()
        || v4.is_loopback()
        || v4.is_link_local()
        || v4.is_broadcast()
        || v4.is_documentation()
        || v4.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 198 && (18..20).contains(&b))
        || (a == 192 && b == 0 && c == 0);
    !special
}

fn is_public_v6(v6: Ipv6Addr, first: u16, second: u16) -> bool {
    let documentation = first == 0x2001 && (second == 0xdb8 || second < 0x200);
    // Global unicast is 2000::/3; whatever else there is, is not the public internet.
    (first & 0xe000) == 0x2000 && !documentation && !v6.is_loopback() && !v6.is_unspecified()
}

/// Resolves names, and leaves out what may not be called: also what a name meant for us resolves to only now.
#[derive(Debug, Clone, Copy)]
struct Guarded(Reach);

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0;
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let here = is_here(&host);
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            let taken: Vec<SocketAddr> =
                found.into_iter().filter(|a| reach.takes(a.ip()) || (here && a.ip().is_loopback())).collect();
            if taken.is_empty() {
                return Err("its name leads to no address that may be called".into());
            }
            Ok(Box::new(taken.into_iter()) as Addrs)
        })
    }
}

/// Posts events. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Poster {
    reach: Reach,
    timeout: Duration,
    clients: Arc<Clients>,
}

#[derive(Debug, Default)]
struct Clients {
    plain: OnceLock<Result<Client, String>>,
    tls: OnceLock<Result<Client, String>>,
}

/// One POST.
#[derive(Debug, Clone)]
pub struct Letter<'a> {
    /// Where to.
    pub url: &'a str,
    /// Secrets separated by white space: each signs, so that one can be replaced without a gap.
    pub secrets: &'a str,
    /// The same for every try of the same events.
    pub id: &'a str,
    /// Seconds since 1970.
    pub timestamp: i64,
    /// The events.
    pub body: Vec<u8>,
}

/// One call of a web address of the business.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// `GET`, `POST` or `PUT`.
    pub method: &'a str,
    /// Where to.
    pub url: &'a str,
    /// What is sent, as JSON; a GET sends nothing.
    pub body: String,
    /// The same for every repeat of the same call.
    pub idempotency_key: &'a str,
    /// How much of the answer is read, in bytes.
    pub read_at_most: usize,
}

impl Poster {
    /// A poster whose calls take at most `timeout`, connecting included.
    #[must_use]
    pub fn new(reach: Reach, timeout: Duration) -> Self {
        Self { reach, timeout, clients: Arc::default() }
    }

    /// Posts, and says whether the receiver took it: any 2xx.
    ///
    /// # Errors
    /// [`Refused`] for everything else: it may have been taken all the same.
    pub async fn post(&self, letter: Letter<'_>) -> Result<(), Refused> {
        let url = self.reach.check(letter.url).map_err(|wrong| Refused::because(format!("its address {wrong}")))?;
        let signature = sign(letter.secrets, letter.id, letter.timestamp, &letter.body)
            .ok_or_else(|| Refused::because("its secret is empty or cannot be read"))?;
        let client = self.client(url.scheme()).map_err(Refused::because)?;
        let call = client
            .post(url)
            .header(header::CONTENT_TYPE, CONTENT_TYPE)
            .header("webhook-id", letter.id)
            .header("webhook-timestamp", letter.timestamp.to_string())
            .header("webhook-signature", signature)
            .body(letter.body);
        // The answer's body is not read: dropped, its connection is closed.
        match call.send().await {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err(Refused {
                words: of_status(answer.status()),
                retry_after: retry_after(answer.headers()),
                gone: answer.status() == StatusCode::GONE,
            }),
            Err(error) => Err(Refused::because(of_error(&error))),
        }
    }

    /// Calls, and returns the beginning of the answer's body: any 2xx.
    ///
    /// # Errors
    /// [`Refused`] for everything else: it may have been taken all the same.
    pub async fn call(&self, call: Call<'_>) -> Result<String, Refused> {
        let url = self.reach.check(call.url).map_err(|wrong| Refused::because(format!("its address {wrong}")))?;
        let client = self.client(url.scheme()).map_err(Refused::because)?;
        let request = match call.method {
            "GET" => client.get(url),
            "PUT" => client.put(url).header(header::CONTENT_TYPE, "application/json").body(call.body),
            _ => client.post(url).header(header::CONTENT_TYPE, "application/json").body(call.body),
        };
        let answer = request.header("idempotency-key", call.idempotency_key).send().await;
        let mut answer = answer.map_err(|error| Refused::because(of_error(&error)))?;
        if !answer.status().is_success() {
            return Err(Refused::because(of_status(answer.status())));
        }
        let mut read = Vec::new();
        while read.len() < call.read_at_most {
            match answer.chunk().await.map_err(|error| Refused::because(of_error(&error)))? {
                Some(part) => read.extend_from_slice(&part),
                None => break,
            }
        }
        read.truncate(call.read_at_most);
        Ok(String::from_utf8_lossy(&read).into_owned())
    }

    fn client(&self, scheme: &str) -> Result<Client, String> {
        let tls = scheme == "https";
        let slot = if tls { &self.clients.tls } else { &self.clients.plain };
        slot.get_or_init(|| self.build(tls)).clone()
    }

    fn build(&self, tls: bool) -> Result<Client, String> {
        // An error means that another caller was first: there is a provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .user_agent(concat!("switchboard/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT.min(self.timeout))
            .timeout(self.timeout)
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            // A proxy of the environment would resolve names behind our back.
            .no_proxy()
            .dns_resolver(Guarded(self.reach));
        if !tls {
            builder = builder.tls_certs_only([]);
        }
        builder.build().map_err(|error| format!("this machine cannot call it: {error}"))
    }
}

/// The value of `webhook-signature`: one signature for each secret; none when there is no secret that can be read.
fn sign(secrets: &str, id: &str, timestamp: i64, body: &[u8]) -> Option<String> {
    let signed: Option<Vec<String>> = secrets
        .split_whitespace()
        .map(|secret| {
            let key = match secret.strip_prefix(SECRET_PREFIX) {
                Some(encoded) => STANDARD.decode(encoded).ok()?,
                None => secret.as_bytes().to_vec(),
            };
            let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
            mac.update(format!("{id}.{timestamp}.").as_bytes());
            mac.update(body);
            Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
        })
        .collect();
    signed.filter(|all| !all.is_empty()).map(|all| all.join(" "))
}

/// Whether the secrets can be used to sign.
#[must_use]
pub fn can_sign(secrets: &str) -> bool {
    sign(secrets, "", 0, &[]).is_some()
}

fn of_status(status: StatusCode) -> String {
    match status.is_redirection() {
        true => format!("it answered {}, and redirects are not followed", status.as_u16()),
        false => format!("it answered {}", status.as_u16()),
    }
}

fn of_error(error: &reqwest::Error) -> String {
    match (error.is_timeout(), error.is_connect()) {
        (true, _) => "it did not answer in time".to_owned(),
        (false, true) => {
            let source = std::error::Error::source(error).and_then(std::error::Error::source);
            let refused =
                source.map(ToString::to_string).filter(|words| words.contains("no address that may be called"));
            refused.unwrap_or_else(|| "no connection to it could be made".to_owned())
        }
        (false, false) => "the connection to it broke".to_owned(),
    }
}

fn retry_after(headers: &header::HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_standard_webhooks() {
        // The example of the specification.
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let body = br#"{"test": 2432232314}"#;
        let signed = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body).unwrap();
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let two = sign(&format!("{secret} another"), "m", 1, body).unwrap();
        assert_eq!(two.split(' ').count(), 2);
        assert!(!can_sign("  ") && !can_sign("whsec_???") && can_sign("plain"));
    }

    #[test]
    fn addresses_lead_only_where_they_may() {
        let strict = Reach::default();
        for fine in ["https://example.org/x?y=1", "http://localhost:8080/", "http://127.0.0.1:1/", "http://[::1]/x"] {
            assert!(strict.check(fine).is_ok(), "{fine}");
        }
        for wrong in [
            "example.org",
            "ftp://example.org",
            "http://example.org",
            "https://u:p@example.org",
            "https://example.org/#x",
            "https://10.0.0.1",
            "https://192.168.1.1",
            "https://169.254.169.254/latest/meta-data",
            "https://100.64.0.1",
            "https://0.0.0.0",
            "https://[::]",
            "https://[fe80::1]",
            "https://[fd00::1]",
            "https://[::ffff:10.0.0.1]",
            "https://[::ffff:169.254.169.254]",
            "https://[64:ff9b::a9fe:a9fe]",
            "https://0x7f.1.2.3.4.5",
        ] {
            assert!(strict.check(wrong).is_err(), "{wrong}");
        }
        assert!(Reach { plain_http: true, ..strict }.check("http://example.org").is_ok());
        assert!(Reach { private_networks: true, ..strict }.check("https://10.0.0.1").is_ok());
        for (ip, public) in
            [("8.8.8.8", true), ("2606:4700::1111", true), ("198.18.0.1", false), ("2001:db8::1", false)]
        {
            assert_eq!(is_public(ip.parse().unwrap()), public, "{ip}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_not_called() {
        // The name of this machine's loopback under another name than localhost: what a rebinding would look like.
        let resolving = Guarded(Reach::default()).resolve("127.0.0.1.".parse().unwrap());
        assert!(resolving.await.is_err());
    }
}
