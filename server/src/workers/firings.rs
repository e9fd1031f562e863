//! Turns pending firings into notifications, a batch at a time. Any number may run, in any number of processes: rows that one
//! has locked are skipped by the others.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::{
    services::{
        Context,
        firings::{batch, mapper::Mappers},
    },
    wake::Topic,
};

/// Firings of one transaction.
const BATCH: i64 = 500;
/// How often it looks although nobody woke it.
const LOOK: Duration = Duration::from_secs(1);

/// Runs until `stop`; a batch under way is finished first.
pub async fn run(context: Context, stop: CancellationToken) {
    let mappers = Mappers::default();
    let pass = || async { Ok(batch::take(&context, &mappers, BATCH).await? > 0) };
    super::repeat_within("firings", &context, &stop, pass, || context.wake.wait(Topic::Firings, LOOK)).await;
}
