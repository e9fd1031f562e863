//! Calls the repository's `scripts/`. The only place of this crate that knows where they are.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

/// Longer than any script takes on a slow machine: RabbitMQ may need a minute to start.
const PATIENCE: Duration = Duration::from_secs(240);

/// The path of something in the repository: of the crate under test, as cargo names it while tests run. Where this crate was
/// compiled is only the second choice: a target folder may be shared or moved.
pub(super) fn in_repository(path: &str) -> PathBuf {
    let running = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let above = running.iter().flat_map(|folder| folder.ancestors()).map(|folder| folder.join(path));
    let compiled = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    above.chain([compiled.clone()]).find(|candidate| candidate.exists()).unwrap_or(compiled)
}

/// Runs a script for an instance and returns the last line that it prints: the URL, where there is one.
pub(super) async fn run(script: &str, instance: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let mut command = tokio::process::Command::from(command(script, instance, arguments));
    let output = tokio::time::timeout(PATIENCE, command.kill_on_drop(true).output());
    let output =
        output.await.with_context(|| format!("scripts/{script} {arguments:?} takes longer than {PATIENCE:?}"))?;
    read(script, arguments, output)
}

/// The same for `Drop`, which cannot await.
pub(super) fn run_blocking(script: &str, instance: &str, arguments: &[&str]) -> anyhow::Result<String> {
    read(script, arguments, command(script, instance, arguments).output())
}

fn command(script: &str, instance: &str, arguments: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new(in_repository("scripts").join(script));
    command.args(arguments.iter().map(OsStr::new)).env("INSTANCE", instance);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn read(script: &str, arguments: &[&str], output: std::io::Result<Output>) -> anyhow::Result<String> {
    let output = output.with_context(|| format!("scripts/{script} cannot be run"))?;
    if !output.status.success() {
        let cause = String::from_utf8_lossy(&output.stderr);
        bail!("scripts/{script} {} failed ({}):\n{}", arguments.join(" "), output.status, cause.trim_end());
    }
    let printed = String::from_utf8(output.stdout).with_context(|| format!("scripts/{script} printed no UTF-8"))?;
    Ok(printed.lines().last().unwrap_or_default().to_owned())
}
