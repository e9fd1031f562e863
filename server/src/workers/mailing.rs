//! Mails call lists at their times. Any number may run: a list and a mail are locked while they are written.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::repeat_within;
use crate::services::{Context, mailing};

/// How often lists are looked at: they are few, and a second more or less is nothing to people who will call.
const SCAN: Duration = Duration::from_secs(1);

/// Mails call lists until `stop`.
pub async fn run(context: Context, stop: CancellationToken) {
    let pass = || async { Ok(mailing::pass(&context).await?) };
    repeat_within("mailing", &context, &stop, pass, || tokio::time::sleep(SCAN)).await;
}
