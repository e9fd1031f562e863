//! `switchboard-cli`: the command line of Switchboard. README.md beside `src` says how it is used.
//!
//! The way of a command: `args` reads the command line, a noun of `nouns` makes the request (`input` reads what people
//! type), `session` and `follow` ask through `client`, `view` and `out` show the answer. `call` and `describe` reach the
//! whole contract by its descriptors (`contract`). Nothing but the `proto` crate is known of the server.

mod args;
mod call;
mod client;
mod contract;
mod error;
mod exit;
mod follow;
mod health;
mod input;
mod nouns;
mod out;
mod rpcs;
mod session;
mod view;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use crate::args::Cli;
use crate::error::Error;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let out = cli.out();
    let json = out.json;
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&Error::Output(error), json),
    };
    let result = runtime.block_on(cli.run(out));
    // A reader of standard input that nobody waits for any more must not keep the program from ending.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error, json),
    }
}

/// Says what went wrong, on stderr, and returns the exit code.
fn failed(error: &Error, json: bool) -> ExitCode {
    let mut lines = error.lines();
    if json && !lines.is_empty() {
        lines = vec![error.json().to_string()];
    }
    let mut stderr = io::stderr().lock();
    for line in lines {
        // Nobody is left to be told when stderr is closed too.
        let _ = writeln!(stderr, "{line}");
    }
    ExitCode::from(error.exit_code())
}
