//! The binary `switchboard-simulator`: reads the command line, starts the simulator, stops on SIGTERM or SIGINT.
//!
//! Everything that can be done with a running simulator is in the library, over HTTP under `/control`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use simulator::script::Roster;
use simulator::{ClockMode, Config, KeepRecords, MetaAccount, MetaTemplate, Simulator, TwilioAccount};
use tokio::signal::unix::{SignalKind, signal};

/// Plays the provider side of Meta's Cloud API and of Twilio's Messages and Calls, and the phones behind them.
#[derive(Debug, Parser)]
#[command(name = "switchboard-simulator", version)]
struct Options {
    /// Address to listen on; only loopback is taken.
    #[arg(long, env = "SIMULATOR_LISTEN", default_value = "127.0.0.1:7490")]
    listen: SocketAddr,
    /// Where Meta's webhooks are posted.
    #[arg(long, env = "SIMULATOR_META_WEBHOOK", value_name = "URL")]
    meta_webhook: Option<String>,
    /// Where inbound SMS are posted (the SmsUrl of the Twilio numbers).
    #[arg(long, env = "SIMULATOR_SMS_WEBHOOK", value_name = "URL")]
    sms_webhook: Option<String>,
    /// Handset scripts, TOML or JSON by the file's ending.
    #[arg(long, env = "SIMULATOR_HANDSETS", value_name = "FILE")]
    handsets: Option<PathBuf>,
    /// Approved WhatsApp templates, a JSON list of {name, language, parameters, buttons}. Without it every template is approved.
    #[arg(long, env = "SIMULATOR_TEMPLATES", value_name = "FILE")]
    templates: Option<PathBuf>,
    /// Access token that Meta's API expects.
    #[arg(long, env = "SIMULATOR_META_TOKEN", default_value_t = MetaAccount::default().token, hide_env_values = true)]
    meta_token: String,
    /// App secret that signs Meta's webhooks.
    #[arg(long, env = "SIMULATOR_META_APP_SECRET", default_value_t = MetaAccount::default().app_secret, hide_env_values = true)]
    meta_app_secret: String,
    /// Id of the business phone number.
    #[arg(long, env = "SIMULATOR_META_PHONE_NUMBER_ID", default_value_t = MetaAccount::default().phone_number_id)]
    meta_phone_number_id: String,
    /// How long Meta repeats an unanswered webhook, such as 10m or 7d.
    #[arg(long, env = "SIMULATOR_META_RETRY_FOR", default_value = "7d")]
    meta_retry_for: simulator::Span,
    /// Account SID of the Twilio account.
    #[arg(long, env = "SIMULATOR_TWILIO_ACCOUNT_SID", default_value_t = TwilioAccount::default().account_sid)]
    twilio_account_sid: String,
    /// Auth token of the Twilio account: the password of requests and the key of signatures.
    #[arg(long, env = "SIMULATOR_TWILIO_AUTH_TOKEN", default_value_t = TwilioAccount::default().auth_token, hide_env_values = true)]
    twilio_auth_token: String,
    /// Sender numbers that the Twilio account owns, separated by commas. Without it every well-formed sender is owned.
    #[arg(long, env = "SIMULATOR_TWILIO_NUMBERS", value_delimiter = ',')]
    twilio_numbers: Vec<String>,
    /// Switches Twilio's own STOP handling off, as an account can.
    #[arg(long, env = "SIMULATOR_NO_STOP_WORDS")]
    no_stop_words: bool,
    /// How many requests and webhooks are remembered: all or last(N).
    #[arg(long, env = "SIMULATOR_RECORD", default_value = "last(100000)")]
    record: KeepRecords,
    /// How many webhooks may wait for their answers at the same time.
    #[arg(long, env = "SIMULATOR_WEBHOOK_CONCURRENCY", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..))]
    webhook_concurrency: u16,
}

impl Options {
    fn config(self) -> anyhow::Result<Config> {
        let templates: Vec<MetaTemplate> = match &self.templates {
            Some(path) => serde_json::from_str(&read(path)?).with_context(|| format!("in {}", path.display()))?,
            None => Vec::new(),
        };
        Ok(Config {
            listen: self.listen,
            meta: MetaAccount {
                token: self.meta_token,
                app_secret: self.meta_app_secret,
                phone_number_id: self.meta_phone_number_id,
                webhook: self.meta_webhook,
                retry_for: self.meta_retry_for.0,
                templates,
                ..MetaAccount::default()
            },
            twilio: TwilioAccount {
                account_sid: self.twilio_account_sid,
                auth_token: self.twilio_auth_token,
                numbers: self.twilio_numbers,
                sms_webhook: self.sms_webhook,
                stop_words: !self.no_stop_words,
            },
            roster: self.handsets.as_deref().map(roster).transpose()?.unwrap_or_default(),
            clock: ClockMode::Real,
            records: self.record,
            webhook_concurrency: self.webhook_concurrency.into(),
            ..Config::default()
        })
    }
}

fn roster(path: &Path) -> anyhow::Result<Roster> {
    let text = read(path)?;
    let json = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json"));
    let roster = if json { Roster::from_json(&text) } else { Roster::from_toml(&text) };
    roster.with_context(|| format!("in {}", path.display()))
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

#[tokio::main]
async fn main() -> ExitCode {
    let levels = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(levels).with_writer(std::io::stderr).init();
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> anyhow::Result<()> {
    let config = options.config()?;
    // Before the start: a signal in between must not be lost.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut simulator = Simulator::start(config).await?;
    tracing::info!(url = %simulator.base_url, "simulator is listening");
    tokio::select! {
        () = simulator.ended() => anyhow::bail!("the listener ended by itself"),
        _ = terminate.recv() => (),
        _ = interrupt.recv() => (),
    }
    tracing::info!("stopping");
    simulator.shutdown().await;
    Ok(())
}
