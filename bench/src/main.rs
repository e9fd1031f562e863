//! `switchboard-bench`: runs the cases, or shows a report that was written before.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use bench::{
    bench::Bench,
    cases::{self, ALL, Case},
    report, run,
    select::{Scale, select},
    table,
};
use clap::{Parser, Subcommand};

/// Measures Switchboard against plain ways to do the same.
#[derive(Debug, Parser)]
#[command(name = "switchboard-bench")]
struct Arguments {
    /// Cases by the beginning of their names, divided by commas; all when it is missing.
    #[arg(default_value = "")]
    case: String,
    /// Small sizes and one round: some minutes in all.
    #[arg(long)]
    quick: bool,
    /// Where the report is written or read.
    #[arg(long, global = true, default_value = "target/bench/report.json")]
    report: PathBuf,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists the cases.
    List,
    /// Prints the report as a table in Markdown.
    Table,
    /// Runs campaign after campaign on one database, and compares the last with the first.
    Soak {
        /// For so many minutes, at least three campaigns.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=600))]
        minutes: u64,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    match go(Arguments::parse()).await {
        Ok(code) => code,
        Err(error) => {
            say_error(&format!("error: {error:#}"));
            ExitCode::from(64)
        }
    }
}

async fn go(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        Some(Command::List) => {
            print(&ALL.iter().map(|case| format!("{:<20} {}\n", case.name, case.about)).collect::<String>());
            return Ok(ExitCode::SUCCESS);
        }
        Some(Command::Table) => {
            print(&table::markdown(&report::read(&arguments.report)?));
            return Ok(ExitCode::SUCCESS);
        }
        Some(Command::Soak { minutes }) => return soak(&arguments, Duration::from_secs(minutes * 60)).await,
        None => {}
    }
    let names = cases::names();
    let wanted = select(&names, &arguments.case)
        .map_err(|unknown| anyhow::anyhow!("no case begins with {unknown:?}; there are: {}", names.join(", ")))?;
    let cases: Vec<Case> = ALL.iter().filter(|case| wanted.contains(&case.name)).copied().collect();
    measure(&arguments, &cases).await
}

async fn soak(arguments: &Arguments, time: Duration) -> anyhow::Result<ExitCode> {
    prepare();
    let bench = Bench::new(Scale { quick: arguments.quick });
    let entries = tokio::select! {
        entries = cases::soak::soak(&bench, time) => entries?,
        _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
    };
    report::write(&arguments.report, &entries)?;
    print(&table::terminal(&entries));
    // Anybody who was lost or written to twice is a failure; a cost that grows is a goal that was missed.
    let wrong = entries.iter().any(|entry| entry.name == "soak/lost-or-doubled" && entry.met != Some(true));
    Ok(if wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What every measurement needs once in a process.
fn prepare() {
    bench::statements::count_from_now_on();
    // Refused only when there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

async fn measure(arguments: &Arguments, cases: &[Case]) -> anyhow::Result<ExitCode> {
    prepare();
    let bench = Bench::new(Scale { quick: arguments.quick });
    let mut written = Ok(());
    let running = run::run(&bench, cases, |so_far| written = report::write(&arguments.report, so_far));
    let entries = tokio::select! {
        entries = running => entries,
        _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted; what was measured so far is in the report"),
    };
    written.with_context(|| "the report was not written")?;
    print(&table::terminal(&entries));
    bench.say(&format!("the report is in {}", arguments.report.display()));
    let failed = entries.iter().any(|entry| entry.error.is_some());
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

#[expect(clippy::print_stdout, reason = "what the program is asked for")]
fn print(text: &str) {
    print!("{text}");
}

#[expect(clippy::print_stderr, reason = "why the program ends")]
fn say_error(text: &str) {
    eprintln!("{text}");
}
