//! The binary against a server with canned answers on a real socket: what it sends, what it writes, how it ends.

#![expect(clippy::unwrap_used, reason = "what cannot be had fails the test that asked for it")]

mod calls;
mod errors;
mod fake;
mod imports;
mod lists;
mod story;
mod streams;

use std::process::{Command, Stdio};

pub use fake::{Fake, Reply};

/// How a run of the binary ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code.
    pub code: i32,
    /// What it wrote to stdout.
    pub out: String,
    /// What it wrote to stderr.
    pub err: String,
}

/// The binary, told to ask this server.
pub fn command(server: &str, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard-cli"));
    command.args(words).env("SWITCHBOARD_SERVER", server).env("TZ", "UTC").env_remove("NO_COLOR");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the binary to its end.
pub fn run(server: &Fake, words: &[&str]) -> Ended {
    let output = command(&server.url, words).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

/// Runs the binary, which must succeed, and returns what it wrote to stdout.
pub fn done(server: &Fake, words: &[&str]) -> String {
    let ended = run(server, words);
    assert_eq!(ended.code, 0, "{words:?}: {ended:?}");
    ended.out
}
