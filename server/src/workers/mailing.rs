//! Mails call lists at their times. Any number may run: a list and a mail are locked while they are written.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::repeat_within;
use crate::services::{Context, mailing};

/// How often lists are looked at: some seconds more or less are nothing to people who will call.
const SCAN: Duration = Duration::from_secs(5);

/// Mails call lists until `stop`.
pub async fn run(context: Context, stop: CancellationToken) {
    let pass = || async { Ok(mailing::pass(&context).await?) };
    repeat_within("mailing", &context, &stop, pass, || tokio::time::sleep(SCAN)).await;
}
