//! Settings: read from the embedded `config.default.toml`, a file, and the environment, in this order; the file documents every
//! key. Everything that is wrong is reported at once. Only `app` and `main` see the whole; rooms are given what they need.
//!
//! **To add a setting**: a documented key in `config.default.toml`, a field here, and the line in `read` that fills it; the
//! test below fails while one of the three is missing.

mod events;
mod files;
mod layers;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use chrono_tz::Tz;
use domain::{
    consent::{Confirmations, Intent, Words},
    fallback::QuietRule,
    quiet_hours::Window,
};
pub use events::{Events, Webhooks};
pub use files::{Archive, Place, S3};
use layers::Layers;
pub use layers::Problem;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use toml::Value;

/// The defaults, with the documentation of every key.
pub const DEFAULTS: &str = include_str!("config.default.toml");
/// Variables that other tools use too, and the keys that they stand for.
const CONVENTIONAL: &[(&str, &str)] = &[("DATABASE_URL", "database.url"), ("AMQP_URL", "broker.url")];
/// The shortest secret that may sign links, in bytes.
const MIN_SECRET: usize = 32;

/// Every setting. The keys, units and ranges are documented in `config.default.toml`.
#[derive(Debug, Clone)]
pub struct Config {
    /// Our own PostgreSQL.
    pub database: Database,
    /// RabbitMQ; none: one process with all roles.
    pub broker_url: Option<SecretString>,
    /// Where the API is served; a loopback address.
    pub grpc_listen: SocketAddr,
    /// Webhooks, links, health and metrics.
    pub http: Http,
    /// The zone of contacts whose own is not known.
    pub time_zone: Tz,
    /// The country of phone numbers that name none.
    pub default_country: Option<String>,
    /// When people are not to be disturbed.
    pub quiet_hours: Vec<QuietRule>,
    /// The words that change consent: the shipped ones with the installation's.
    pub words: Words,
    /// What is answered to them.
    pub confirmations: Confirmations,
    /// After how many hours without a message a conversation is closed; 0: never.
    pub idle_close_hours: u64,
    /// What leaves and enters beside the API.
    pub events: Events,
    /// How subscribers' webhooks are called.
    pub webhooks: Webhooks,
    /// How long things are kept, in days.
    pub retention: Retention,
    /// Logs and metrics.
    pub telemetry: Telemetry,
    /// Leases and endings.
    pub workers: Workers,
    /// Where files lie.
    pub files: Place,
    /// When conversations go there, and for how long.
    pub archive: Archive,
    /// Which files of messages are copied there.
    pub media: domain::message::media::Rules,
}

/// `[database]`
#[derive(Debug, Clone)]
pub struct Database {
    /// The address, with its password.
    pub url: SecretString,
    /// Connections for hot statements.
    pub hot_connections: u32,
    /// Connections for lists.
    pub list_connections: u32,
    /// Connections for reads while another one is held.
    pub side_connections: u32,
}

/// `[http]`
#[derive(Debug, Clone)]
pub struct Http {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The base that the world sees, without a slash at the end; empty: the address of `listen`.
    pub public_url: String,
    /// The biggest body, in bytes.
    pub max_body_bytes: usize,
    /// Requests at once.
    pub max_requests: usize,
    /// Where webhooks wait while PostgreSQL is away.
    pub spool_dir: PathBuf,
    /// How much may wait there, in bytes; 0: nothing.
    pub spool_max_bytes: u64,
    /// Signs unsubscribe links; none: one from the database.
    pub unsubscribe_secret: Option<SecretString>,
}

/// `[retention]`, in days
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Bodies of webhooks.
    pub webhook_body: u32,
    /// Answers to request ids.
    pub request: u32,
    /// Providers' message ids.
    pub provider_ref: u32,
    /// Ids of people's messages.
    pub inbound_ref: u32,
    /// Events.
    pub event: u32,
    /// Ids of commands.
    pub command: u32,
    /// Receipts that belong to nothing.
    pub orphan: u32,
    /// What controllers did.
    pub controller_run: u32,
    /// What web chats show.
    pub web_chat_line: u32,
    /// Batches of events that webhooks did not take.
    pub dead_letter: u32,
}

/// `[telemetry]`
#[derive(Debug, Clone)]
pub struct Telemetry {
    /// Level or directives.
    pub log_level: String,
    /// For whom logs are written.
    pub log_format: LogFormat,
    /// Where a process that does not serve shows its health.
    pub listen: Option<SocketAddr>,
}

/// For whom logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For collectors: one JSON object a line.
    Json,
}

/// `[workers]`
#[derive(Debug, Clone, Copy)]
pub struct Workers {
    /// How long a claim holds.
    pub lease: Duration,
    /// Chunks at once for each queue.
    pub prefetch: u16,
    /// How long calls under way may take when the process stops.
    pub drain: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    channel_type: String,
    purpose: String,
    window: String,
}

impl Config {
    /// Reads the settings: the defaults, then `file` (its name and text), then `environment`.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn load(
        file: Option<(&str, &str)>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Vec<Problem>> {
        let mut layers = Layers::new(DEFAULTS);
        if let Some((name, text)) = file {
            layers.file(text, name);
        }
        layers.environment(environment, CONVENTIONAL);
        let config = read(&mut layers);
        layers.finish()?;
        // Whatever could not be read has left a problem.
        config.ok_or_else(Vec::new)
    }
}

fn read(layers: &mut Layers) -> Option<Config> {
    let database = database(layers);
    let broker_url = url(layers, "broker.url", &["amqp", "amqps"]);
    let grpc_listen = grpc_listen(layers);
    let http = http(layers);
    let time_zone = layers.text("defaults.time_zone");
    let time_zone = layers.parsed(
        "defaults.time_zone",
        time_zone.parse::<Tz>().map_err(|_| "must be an IANA time zone, such as Asia/Kolkata or UTC"),
    );
    let default_country = default_country(layers);
    let quiet_hours = quiet_hours(layers);
    let (words, confirmations) = words(layers);
    let idle_close_hours = layers.number("conversations.idle_close_hours", 0..=8760);
    let events = events::events(layers, broker_url.is_some());
    let webhooks = events::webhooks(layers);
    let retention = retention(layers);
    let telemetry = telemetry(layers);
    let workers = Workers {
        lease: Duration::from_secs(layers.number("workers.lease_seconds", 15..=600)),
        prefetch: u16::try_from(layers.number("workers.prefetch", 1..=1000)).unwrap_or(u16::MAX),
        drain: Duration::from_secs(layers.number("workers.drain_seconds", 1..=600)),
    };
    let files = files::place(layers);
    let media = files::media(layers);
    let archive = files::archive(layers);
    Some(Config {
        database: database?,
        broker_url,
        grpc_listen: grpc_listen?,
        http: http?,
        time_zone: time_zone?,
        default_country,
        quiet_hours,
        words,
        confirmations,
        idle_close_hours,
        events,
        webhooks,
        retention,
        telemetry: telemetry?,
        workers,
        files: files?,
        archive,
        media,
    })
}

fn database(layers: &mut Layers) -> Option<Database> {
    let found = url(layers, "database.url", &["postgres", "postgresql"]);
    if found.is_none() && layers.secret("database.url").is_none() {
        layers.wrong_secret(
            "database.url",
            "is missing: give the address of PostgreSQL, for example in the environment variable DATABASE_URL",
        );
    }
    let hot_connections = small(layers, "database.hot_connections", 2..=500);
    let list_connections = small(layers, "database.list_connections", 1..=500);
    let side_connections = small(layers, "database.side_connections", 1..=500);
    Some(Database { url: found?, hot_connections, list_connections, side_connections })
}

/// The address of a server, which may hold a password.
fn url(layers: &mut Layers, key: &str, schemes: &[&str]) -> Option<SecretString> {
    let url = layers.secret(key)?;
    let text = url.expose_secret();
    if schemes.iter().any(|scheme| text.starts_with(&format!("{scheme}://"))) && reqwest::Url::parse(text).is_ok() {
        return Some(url);
    }
    layers.wrong_secret(key, format!("must be an address that begins with {}://", schemes.join(":// or ")));
    None
}

fn grpc_listen(layers: &mut Layers) -> Option<SocketAddr> {
    let listen = layers.address("grpc.listen");
    match listen {
        Some(address) if !address.ip().is_loopback() => {
            layers.wrong(
                "grpc.listen",
                "must be a loopback address (127.0.0.1 or [::1]): there are no API keys yet, so whoever reaches the port \
                 may do everything. To use it from elsewhere, put an authenticating proxy or a tunnel in front",
            );
            None
        }
        Some(address) => Some(address),
        None => {
            if layers.text("grpc.listen").is_empty() {
                layers.wrong("grpc.listen", "must be an address and a port, such as 127.0.0.1:7440");
            }
            None
        }
    }
}

fn http(layers: &mut Layers) -> Option<Http> {
    let listen = layers.address("http.listen");
    if layers.text("http.listen").is_empty() {
        layers.wrong("http.listen", "must be an address and a port, such as 127.0.0.1:7480");
    }
    let public_url = layers.text("http.public_url").trim_end_matches('/').to_owned();
    if !public_url.is_empty() && !is_base_url(&public_url) {
        layers.wrong(
            "http.public_url",
            "must be a web address without query, such as https://alerts.example.org, or empty",
        );
    }
    let max_body_bytes = layers.number("http.max_body_bytes", 1024..=16 * 1024 * 1024);
    let max_requests = layers.number("http.max_requests", 1..=10_000);
    let spool_dir = layers.text("http.spool_dir");
    let spool_max_bytes = layers.number("http.spool_max_bytes", 0..=1 << 40);
    if spool_dir.is_empty() && spool_max_bytes > 0 {
        layers.wrong("http.spool_dir", "must name a folder; to have no spool, set http.spool_max_bytes to 0");
    }
    let unsubscribe_secret = layers.secret("http.unsubscribe_secret");
    if unsubscribe_secret.as_ref().is_some_and(|secret| secret.expose_secret().len() < MIN_SECRET) {
        layers.wrong_secret(
            "http.unsubscribe_secret",
            format!("must have at least {MIN_SECRET} characters, or be empty"),
        );
    }
    Some(Http {
        listen: listen?,
        public_url,
        max_body_bytes: usize::try_from(max_body_bytes).ok()?,
        max_requests: usize::try_from(max_requests).ok()?,
        spool_dir: PathBuf::from(spool_dir),
        spool_max_bytes,
        unsubscribe_secret,
    })
}

fn is_base_url(text: &str) -> bool {
    reqwest::Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
    })
}

fn default_country(layers: &mut Layers) -> Option<String> {
    let country = layers.text("defaults.default_country");
    if country.is_empty() {
        return None;
    }
    if !domain::phone::is_country(&country) {
        layers.wrong("defaults.default_country", "must be a country code of two letters, such as IN, or empty");
    }
    Some(country)
}

fn quiet_hours(layers: &mut Layers) -> Vec<QuietRule> {
    let key = "quiet_hours.rules";
    let rules = layers.value(key).map_or(Ok(Vec::new()), Value::try_into::<Vec<RawRule>>);
    let shape = "must be a list of rules, each with channel_type, purpose and window, and nothing else";
    let rules = layers.parsed(key, rules.map_err(|error| format!("{shape} ({})", error.message()))).unwrap_or_default();
    let mut read = Vec::with_capacity(rules.len());
    for (n, rule) in rules.into_iter().enumerate() {
        let at = |problem: String| format!("rule {}: {problem}", n + 1);
        let channel_type = rule
            .channel_type
            .parse()
            .map_err(|_| at(format!("channel_type {:?} must be WHATSAPP, SMS, VOICE or EMAIL", rule.channel_type)));
        let window = Window::parse(&rule.window).map_err(|error| at(format!("window {error}")));
        let purpose = match rule.purpose.is_empty() {
            true => Err(at("purpose must not be empty; \"*\" stands for every purpose".to_owned())),
            false => Ok(rule.purpose),
        };
        let parts = (layers.parsed(key, channel_type), layers.parsed(key, window), layers.parsed(key, purpose));
        if let (Some(channel_type), Some(window), Some(purpose)) = parts {
            read.push(QuietRule { channel_type, purpose, window });
        }
    }
    read
}

fn words(layers: &mut Layers) -> (Words, Confirmations) {
    let (mut words, mut confirmations) = (Words::shipped(), Confirmations::shipped());
    for (intent, list, text) in [
        (Intent::Stop, "words.stop", "words.stop_text"),
        (Intent::Start, "words.start", "words.start_text"),
        (Intent::Help, "words.help", "words.help_text"),
    ] {
        for (language, value) in languages(layers, list) {
            match value.try_into::<Vec<String>>() {
                Ok(said) => words.set(intent, &language, said),
                Err(_) => layers.wrong(list, format!("{language}: must be a list of words")),
            }
        }
        for (language, value) in languages(layers, text) {
            match value {
                Value::String(said) if !said.trim().is_empty() => confirmations.set(intent, &language, &said),
                _ => layers.wrong(text, format!("{language}: must be a text")),
            }
        }
    }
    (words, confirmations)
}

/// The entries of a table by language, those of impossible languages left out with a problem.
fn languages(layers: &mut Layers, key: &str) -> Vec<(String, Value)> {
    let Some(Value::Table(table)) = layers.value(key) else {
        layers.wrong(key, "must be a table by language");
        return Vec::new();
    };
    let mut read = Vec::with_capacity(table.len());
    for (language, value) in table {
        match domain::locale::Locale::parse(&language) {
            Ok(locale) => read.push((locale.as_str().to_owned(), value)),
            Err(_) => layers.wrong(key, format!("{language:?} is not a language; write it like hi or pt-BR")),
        }
    }
    read
}

fn retention(layers: &mut Layers) -> Retention {
    Retention {
        webhook_body: small(layers, "retention.webhook_body_days", 1..=3650),
        request: small(layers, "retention.request_days", 7..=365),
        provider_ref: small(layers, "retention.provider_ref_days", 8..=365),
        inbound_ref: small(layers, "retention.inbound_ref_days", 8..=365),
        event: small(layers, "retention.event_days", 1..=3650),
        command: small(layers, "retention.command_days", 1..=365),
        orphan: small(layers, "retention.orphan_days", 1..=3650),
        controller_run: small(layers, "retention.controller_run_days", 1..=3650),
        web_chat_line: small(layers, "retention.web_chat_line_days", 1..=3650),
        dead_letter: small(layers, "retention.dead_letter_days", 1..=3650),
    }
}

fn telemetry(layers: &mut Layers) -> Option<Telemetry> {
    let log_level = layers.text("telemetry.log_level");
    let level = tracing_subscriber::EnvFilter::try_new(&log_level);
    if level.is_err() || log_level.is_empty() {
        layers.wrong(
            "telemetry.log_level",
            "must be error, warn, info, debug, trace, or directives such as info,sqlx=warn",
        );
    }
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    let log_format = layers.one_of("telemetry.log_format", &formats);
    let listen = layers.address("telemetry.listen");
    Some(Telemetry { log_level, log_format: log_format?, listen })
}

fn small(layers: &mut Layers, key: &str, range: std::ops::RangeInclusive<u64>) -> u32 {
    u32::try_from(layers.number(key, range)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
