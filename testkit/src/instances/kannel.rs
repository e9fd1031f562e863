//! A real Kannel for one test (`scripts/kannel`): bearerbox and smsbox of Debian's package, and a message centre behind them that
//! keeps what it is given. Only on machines that have the package: `make test-peers`.

use std::path::PathBuf;

use anyhow::Context;
use serde_json::Value;

use super::scripts;

/// A Kannel of one test. Stopped and removed with it.
#[derive(Debug)]
pub struct Kannel {
    /// Where smsbox takes messages, such as `http://127.0.0.1:7963`.
    pub base_url: String,
    instance: String,
}

impl Kannel {
    /// The user of `sendsms`.
    pub const USER: &str = "switchboard";
    /// The password of that user.
    pub const PASSWORD: &str = "sendsms";

    /// Starts one that gives messages of people to this address; Kannel fills in what stands behind its percent signs.
    ///
    /// # Errors
    /// When the package is missing, or it does not start; the text names the cause.
    pub async fn start(name: &str, inbound_url: &str) -> anyhow::Result<Self> {
        scripts::run("sweep", "main", &[]).await?;
        let instance = format!("test-{name}-{}", std::process::id());
        // Whatever was started until then is removed if the rest fails.
        let mut kannel = Self { base_url: String::new(), instance };
        kannel.base_url = scripts::run("kannel", &kannel.instance, &["start", inbound_url]).await?;
        Ok(kannel)
    }

    /// What the message centre was given, in order: `{"from", "to", "text", "coding", "parts"}`.
    ///
    /// # Errors
    /// When its record cannot be read.
    pub fn received(&self) -> anyhow::Result<Vec<Value>> {
        let file: PathBuf =
            scripts::in_repository("scripts").join("../.local").join(&self.instance).join("kannel/received.jsonl");
        let text = std::fs::read_to_string(&file).with_context(|| format!("{}", file.display()))?;
        text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }
}

impl Drop for Kannel {
    fn drop(&mut self) {
        // What remains after a failure here is removed by the next sweep.
        drop(scripts::run_blocking("kannel", &self.instance, &["destroy"]));
    }
}
