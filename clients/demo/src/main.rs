//! The binary `switchboard-demo`: plays the first acceptance scenario against a running Switchboard, and says whether it went
//! as it must.
//!
//! It is a client like any other: it uses the contract, the control API of the simulator, `psql` for the rows, and the folder
//! of the mailbox. `scripts/demo` starts everything it needs; `scripts/up` uses its first two commands.

mod api;
mod campaign;
mod cast;
mod definitions;
mod follow;
mod mailbox;
mod office;
mod show;
mod simulator;
mod story;
mod values;
mod verdict;

use std::{io::Write, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::{api::Api, definitions::Providers, mailbox::Mailbox, office::Office, show::Stage, simulator::Simulator};

/// Plays the first story: a row in a table reaches people.
#[derive(Debug, Parser)]
#[command(name = "switchboard-demo", version)]
struct Options {
    /// Where Switchboard's API is.
    #[arg(long, env = "SWITCHBOARD_SERVER", default_value = "http://127.0.0.1:7440")]
    server: String,
    /// Where the simulator of the providers is.
    #[arg(long, env = "SIMULATOR_URL", default_value = "http://127.0.0.1:7490")]
    simulator: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create the channels; print where the providers must call, as `META_WEBHOOK=...` and `SMS_WEBHOOK=...`.
    Channels {
        /// The port of the SMTP server on 127.0.0.1.
        #[arg(long, env = "SMTP_PORT")]
        smtp_port: u16,
    },
    /// Create everything else and begin to watch the table.
    Prepare,
    /// Prepare, play the whole story, and compare what was seen with what must be.
    Play {
        /// The department's database, by the role that owns the table: rows are written there with psql.
        #[arg(long, env = "DEMO_OFFICE_URL")]
        office: String,
        /// The folder in which received mails lie.
        #[arg(long, env = "DEMO_MAILBOX")]
        mailbox: PathBuf,
        /// A command that stops and starts Switchboard, called with `stop` or `start`.
        #[arg(long, env = "DEMO_SERVER_CONTROL")]
        server_control: PathBuf,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn run(options: Options) -> anyhow::Result<bool> {
    let api = Api::new(&options.server)?;
    match options.command {
        Command::Channels { smtp_port } => {
            let providers = Providers { simulator: options.simulator, smtp_port };
            let (meta, sms) = definitions::channels(&api, &providers).await?;
            writeln!(std::io::stdout(), "META_WEBHOOK={meta}\nSMS_WEBHOOK={sms}")?;
            Ok(true)
        }
        Command::Prepare => {
            let (stage, simulator) = (Stage::new(), Simulator::new(&options.simulator)?);
            story::prepare(&api, &simulator, &stage).await?;
            definitions::begin_to_watch(&api).await?;
            Ok(true)
        }
        Command::Play { office, mailbox, server_control } => {
            let world = story::World {
                api,
                simulator: Simulator::new(&options.simulator)?,
                office: Office::new(office),
                mailbox: Mailbox::open(&mailbox)?,
                server_control,
                stage: std::sync::Arc::new(Stage::new()),
            };
            story::play(&world).await
        }
    }
}
