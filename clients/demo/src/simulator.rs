//! The providers' side, by the control API of the simulator: hands out handset scripts, has people write, asks what was seen.

use std::time::Duration;

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::{Value, json};

/// A running simulator.
#[derive(Debug, Clone)]
pub struct Simulator {
    base: String,
    client: reqwest::Client,
}

/// A request that a simulated provider accepted.
#[derive(Debug, Clone, Deserialize)]
pub struct Call {
    /// `whatsapp`, `sms` or `voice`.
    pub channel: String,
    /// The provider's id, which Switchboard must know too.
    pub id: String,
}

#[derive(Debug, Deserialize)]
struct Calls {
    calls: Vec<Call>,
    left_out: u64,
}

impl Simulator {
    /// The simulator at `base`, such as `http://127.0.0.1:7490`.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(base: &str) -> anyhow::Result<Self> {
        // Fails when one is installed already, which serves as well; only plain HTTP is spoken here.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = || reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10));
        // A machine without root certificates can still speak plain HTTP.
        let client = builder().build().or_else(|_| builder().tls_certs_only([]).build())?;
        Ok(Self { base: base.trim_end_matches('/').to_owned(), client })
    }

    /// Gives a number the script of its handset.
    ///
    /// # Errors
    /// What the simulator refused, with the field.
    pub async fn script(&self, phone: &str, script: &Value) -> anyhow::Result<()> {
        let url = format!("{}/control/handsets/{phone}", self.base);
        self.send(self.client.put(url).body(script.to_string()), &format!("the script of {phone}")).await?;
        Ok(())
    }

    /// A person writes on WhatsApp of their own accord.
    ///
    /// # Errors
    /// What the simulator refused.
    pub async fn writes_on_whatsapp(&self, phone: &str, text: &str) -> anyhow::Result<()> {
        let message = json!({"channel": "whatsapp", "from": phone, "text": text});
        let request = self.client.post(format!("{}/control/inbound", self.base)).body(message.to_string());
        self.send(request, &format!("a message from {phone}")).await?;
        Ok(())
    }

    /// Does Meta's handshake with our webhook.
    ///
    /// # Errors
    /// What was wrong with the answer.
    pub async fn verify_meta(&self, verify_token: &str) -> anyhow::Result<()> {
        let body = json!({ "verify_token": verify_token }).to_string();
        let request = self.client.post(format!("{}/control/verify", self.base)).body(body);
        self.send(request, "Meta's handshake with our webhook").await?;
        Ok(())
    }

    /// Everything that the providers accepted for a number, oldest first.
    ///
    /// # Errors
    /// When the simulator does not answer, or remembers no longer what we want to compare.
    pub async fn calls(&self, to: &str) -> anyhow::Result<Vec<Call>> {
        let url = format!("{}/control/calls", self.base);
        let request = self.client.get(url).query(&[("to", to), ("limit", "10000")]);
        let calls: Calls = serde_json::from_str(&self.send(request, "the simulator's calls").await?)?;
        if calls.left_out > 0 {
            bail!("the simulator left out {} calls", calls.left_out);
        }
        Ok(calls.calls)
    }

    async fn send(&self, request: reqwest::RequestBuilder, what: &str) -> anyhow::Result<String> {
        let unreachable = || format!("the simulator does not answer at {}", self.base);
        let answer = request.send().await.with_context(unreachable)?;
        let (status, body) = (answer.status(), answer.text().await?);
        if !status.is_success() {
            bail!("{what}: the simulator answered {status}: {body}");
        }
        Ok(body)
    }
}
