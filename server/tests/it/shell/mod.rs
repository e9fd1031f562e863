//! The shell of a process: how it starts, what it takes over the web, what it does while Postgres is away, how it ends.

mod keeping_house;
mod outages;
mod spooling;
mod starting;
mod unsubscribing;
mod webhooks;

use std::path::Path;

use reqwest::{RequestBuilder, Response};
use server::{
    app::{self, Roles, Running, StartError},
    clock::Clock,
    config::Config,
};
use sqlx::PgPool;
use tempfile::TempDir;

/// The account's token: signs what Twilio sends.
const TOKEN: &str = "a-token-of-the-account";
/// Where the world believes to reach us.
const PUBLIC_URL: &str = "https://alerts.example.org";

/// A whole server in this process, on ports of its own.
pub struct Server {
    pub running: Running,
    pub base: String,
    http: reqwest::Client,
}

/// Settings for a server on this database. The folder holds its spool, its files, and the secrets of providers.
pub fn config(database_url: &str, folder: &Path, more: &[(&str, &str)]) -> Config {
    let spool = folder.join("spool").display().to_string();
    let files = folder.join("files").display().to_string();
    let pairs = [
        ("DATABASE_URL", database_url),
        ("SWITCHBOARD__GRPC__LISTEN", "127.0.0.1:0"),
        ("SWITCHBOARD__HTTP__LISTEN", "127.0.0.1:0"),
        ("SWITCHBOARD__HTTP__PUBLIC_URL", PUBLIC_URL),
        ("SWITCHBOARD__HTTP__SPOOL_DIR", &spool),
        ("SWITCHBOARD__FILES__PLACE", &files),
        ("SWITCHBOARD__DEFAULTS__DEFAULT_COUNTRY", "IN"),
    ];
    let pairs = pairs.iter().chain(more).map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Config::load(None, pairs).expect("settings")
}

/// A folder with the secret of the account in it.
pub fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("token"), TOKEN).expect("a secret");
    folder
}

impl Server {
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        let running = app::start(config, Clock::new(), Roles::ALL).await?;
        let base = format!("http://{}", running.http_addr.expect("it serves"));
        // The client wants one chosen, although nothing here is encrypted.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // Connections of their own: an idle one would be cut by a stop, and not by what is tested.
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).pool_max_idle_per_host(0);
        Ok(Self { running, base, http: http.build().expect("a client") })
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.http.get(format!("{}{path}", self.base))
    }

    pub fn post(&self, path: &str) -> RequestBuilder {
        self.http.post(format!("{}{path}", self.base))
    }

    /// A webhook as Twilio sends it: signed over the public address.
    pub async fn twilio(&self, path: &str, form: &[(&str, &str)]) -> anyhow::Result<Response> {
        let pairs: Vec<_> = form.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let signature = simulator::signature::twilio(TOKEN, &format!("{PUBLIC_URL}{path}"), &pairs);
        Ok(self.post(path).header("x-twilio-signature", signature).form(form).send().await?)
    }

    /// What a person writes to us.
    pub async fn text(&self, provider: i32, sid: &str, words: &str) -> anyhow::Result<u16> {
        let form = [
            ("MessageSid", sid),
            ("From", "+919812345678"),
            ("To", "+15550001111"),
            ("Body", words),
            ("NumMedia", "0"),
        ];
        Ok(self.twilio(&format!("/webhooks/{provider}/inbound"), &form).await?.status().as_u16())
    }
}

/// A channel with one provider of Twilio's. Gives the provider's number.
pub async fn provider(db: &PgPool, slug: &str, connector: &str, folder: &Path) -> anyhow::Result<i32> {
    let settings = serde_json::json!({
        "account_sid": "AC00000000000000000000000000000000",
        "auth_token_file": folder.join("token"),
        "base_url": "http://127.0.0.1:9",
    });
    let channel_type = if connector.ends_with("voice") { "VOICE" } else { "SMS" };
    Ok(sqlx::query_scalar(
        "with c as (insert into channel (slug, channel_type, service_identifier, created_at, updated_at)
                    values ($1, $2, '+15550001111', now(), now()) returning id)
         insert into channel_provider (channel_id, name, position, connector, settings)
         select id, 'main', 0, $3, $4 from c returning id",
    )
    .bind(slug)
    .bind(channel_type)
    .bind(connector)
    .bind(settings)
    .fetch_one(db)
    .await?)
}

pub async fn count(db: &PgPool, sql: &'static str) -> anyhow::Result<i64> {
    Ok(sqlx::query_scalar(sql).fetch_one(db).await?)
}
