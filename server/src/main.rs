//! The program: arguments, settings, signals, exit codes. Everything else is in the library; start with `server::app`.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use secrecy::ExposeSecret;
use server::{
    app::{self, Roles, StartError},
    clock::Clock,
    config::Config,
    doctor, storage, telemetry,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Told to stop a second time.
const INTERRUPTED: u8 = 130;
/// The settings or arguments are wrong.
const USAGE: u8 = 64;
/// The database, or another thing that is needed, is not there.
const UNAVAILABLE: u8 = 69;
/// A part of the process ended by itself.
const INTERNAL: u8 = 70;
/// The schema is not up to date.
const SCHEMA: u8 = 78;

const EXIT_CODES: &str = "\
Exit codes:
  0    done, or stopped in order
  1    `doctor` found something to mend
  64   the arguments or the settings are wrong; all problems are listed
  69   the database cannot be reached, or a port or folder cannot be used
  70   a part of the process failed; start it again
  78   the schema of the database is not up to date: run `switchboard migrate`
  130  stopped at once by a second signal

Settings come from the defaults, --config, DATABASE_URL, AMQP_URL, and variables such as SWITCHBOARD__HTTP__LISTEN.
`switchboard settings` prints every one of them with its documentation.";

/// Reaches people on WhatsApp, by SMS, by voice and by mail, falls back to the next channel, and understands the answers.
#[derive(Parser)]
#[command(name = "switchboard", version, after_help = EXIT_CODES)]
struct Cli {
    /// A file with settings that differ from the defaults, in TOML.
    #[arg(long, global = true, env = "SWITCHBOARD_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the API, and take the providers' webhooks.
    Serve(Start),
    /// Send, merge receipts, take up answers, fall back.
    Work(Start),
    /// Watch tables, and keep schedules.
    Trigger(Start),
    /// Do all of it in one process; needs no broker.
    All(Start),
    /// Bring the schema of the database up to date, and say what was applied.
    Migrate {
        /// How long to wait for the database, in seconds.
        #[arg(long, default_value_t = 30, value_name = "SECONDS")]
        wait_for: u64,
    },
    /// Look at everything that this deployment needs, and say what is to be mended.
    Doctor,
    /// Print every setting with its documentation and default.
    Settings,
}

#[derive(Args)]
struct Start {
    /// Bring the schema up to date first.
    #[arg(long)]
    migrate: bool,
    /// How long to wait for the database, in seconds.
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    wait_for: u64,
}

/// Why the program ends, in words, and its exit code.
struct Failure(u8, String);

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ended = match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(run(cli));
            // What was left behind is not waited for: its leases let others take over.
            runtime.shutdown_timeout(Duration::from_secs(1));
            ended
        }
        Err(error) => Err(Failure(UNAVAILABLE, format!("no runtime: {error}"))),
    };
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(Failure(code, words)) => {
            let _ = writeln!(std::io::stderr(), "switchboard: {words}");
            ExitCode::from(code)
        }
    }
}

async fn run(cli: Cli) -> Result<u8, Failure> {
    if matches!(cli.command, Command::Settings) {
        print(server::config::DEFAULTS);
        return Ok(0);
    }
    let config = load(cli.config.as_deref())?;
    telemetry::start_logs(&config.telemetry).map_err(|error| Failure(USAGE, format!("{error:#}")))?;
    telemetry::metrics();
    // Two libraries bring a cryptography each; one is chosen, or neither is.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match cli.command {
        Command::Serve(start) => serve(&config, Roles::SERVE, &start).await,
        Command::Work(start) => serve(&config, Roles::WORK, &start).await,
        Command::Trigger(start) => serve(&config, Roles::TRIGGER, &start).await,
        Command::All(start) => serve(&config, Roles::ALL, &start).await,
        Command::Migrate { wait_for } => {
            migrate(&config, wait_for).await?;
            Ok(0)
        }
        Command::Doctor => {
            let report = doctor::examine(&config).await;
            print(&report.to_string());
            Ok(u8::from(!report.is_well()))
        }
        Command::Settings => Ok(0),
    }
}

fn load(path: Option<&Path>) -> Result<Config, Failure> {
    let file = match path {
        None => None,
        Some(path) => {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path)
                .map_err(|error| Failure(USAGE, format!("--config {name} cannot be read: {error}")))?;
            Some((name, text))
        }
    };
    let file = file.as_ref().map(|(name, text)| (name.as_str(), text.as_str()));
    Config::load(file, std::env::vars()).map_err(|problems| {
        let lines: String = problems.iter().map(|problem| format!("\n  {problem}")).collect();
        Failure(USAGE, format!("the settings are wrong:{lines}"))
    })
}

async fn migrate(config: &Config, wait_for: u64) -> Result<(), Failure> {
    let url = config.database.url.expose_secret();
    let connected = storage::schema::connect(url, Duration::from_secs(wait_for)).await;
    let mut conn = connected.map_err(|error| database(&error))?;
    let applied = storage::schema::migrate(&mut conn).await;
    storage::schema::close(conn).await;
    let applied =
        applied.map_err(|error| Failure(SCHEMA, format!("the schema cannot be brought up to date: {error:#}")))?;
    for name in &applied {
        print(&format!("applied {name}\n"));
    }
    if applied.is_empty() {
        print("the schema is up to date\n");
    }
    Ok(())
}

async fn serve(config: &Config, roles: Roles, start: &Start) -> Result<u8, Failure> {
    let signals =
        |kind| signal(kind).map_err(|error| Failure(UNAVAILABLE, format!("signals cannot be heard: {error}")));
    let (mut term, mut int) = (signals(SignalKind::terminate())?, signals(SignalKind::interrupt())?);
    if start.migrate {
        migrate(config, start.wait_for).await?;
    }
    let starting = async {
        app::check_database(config.database.url.expose_secret(), Duration::from_secs(start.wait_for)).await?;
        app::start(config, Clock::new(), roles).await
    };
    let running = tokio::select! {
        started = starting => started.map_err(not_started)?,
        () = told(&mut term, &mut int) => return Ok(0),
    };
    let failed = tokio::select! {
        () = told(&mut term, &mut int) => false,
        () = running.failed() => true,
    };
    tokio::select! {
        () = running.stop() => {}
        () = told(&mut term, &mut int) => return Err(Failure(INTERRUPTED, "stopped at once".to_owned())),
    }
    if failed {
        Err(Failure(INTERNAL, "a part of the process ended by itself; the log says which".to_owned()))
    } else {
        Ok(0)
    }
}

async fn told(term: &mut Signal, int: &mut Signal) {
    tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
}

fn not_started(error: StartError) -> Failure {
    match error {
        StartError::NeedsBroker => Failure(USAGE, error.to_string()),
        StartError::Schema(_) => Failure(SCHEMA, error.to_string()),
        StartError::Database(cause) => database(&cause),
        StartError::TooOld(_) | StartError::Listen { .. } | StartError::Spool(_) | StartError::Files(_) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            Failure(UNAVAILABLE, format!("{error}{cause}"))
        }
    }
}

fn database(error: &storage::Error) -> Failure {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    Failure(UNAVAILABLE, format!("the database cannot be used: {error}{cause}"))
}

fn print(text: &str) {
    // A reader that went away is no failure of ours.
    let _ = std::io::stdout().write_all(text.as_bytes());
}
