//! The two workers that take up what came back: receipts in batches, messages of people one after another for each sender.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::repeat_within;
use crate::{
    services::{Context, inbound, receipts},
    wake::Topic,
};

/// The longest sleep without a wake-up. Receipts that are parked become due by machine time, without a signal.
const SCAN: Duration = Duration::from_secs(1);
/// That of one that runs beside another.
const SELDOM: Duration = Duration::from_secs(10);

/// Merges receipts until `stop`.
pub async fn receipts(context: Context, stop: CancellationToken) {
    repeat_within(
        "receipts",
        &context,
        &stop,
        || async { Ok(receipts::merge(&context).await?) },
        || context.wake.wait(Topic::Receipts, SCAN),
    )
    .await;
}

/// Takes up messages until `stop`. Several may run: the order of each sender is kept by the inbox itself.
pub async fn inbound(context: Context, stop: CancellationToken) {
    take_up(context, SCAN, stop).await;
}

/// The same beside another that looks for what nobody has said: it takes what it is woken for, and seldom looks by itself.
pub async fn inbound_beside(context: Context, stop: CancellationToken) {
    take_up(context, SELDOM, stop).await;
}

async fn take_up(context: Context, scan: Duration, stop: CancellationToken) {
    repeat_within(
        "inbound",
        &context,
        &stop,
        || async { Ok(inbound::take_up(&context).await?) },
        || context.wake.wait(Topic::Inbound, scan),
    )
    .await;
}
