//! The sequencer: numbers events after commit. One process leads, on the connection that holds its lock, so that a leader that
//! lost its connection cannot number anything more.

use std::time::Duration;

use sqlx::Connection;
use tokio_util::sync::CancellationToken;

use crate::{
    services::Context,
    storage::{
        events,
        leader::{Leadership, SILENCE},
    },
    wake::Topic,
};

/// The key of the sequencer's leader lock.
const LEADER: i32 = 2;
/// Rows in one transaction.
const BATCH: i64 = 1000;
/// What is written within this time after something was numbered is numbered together: the first event after a silence goes at once.
const GAP: Duration = Duration::from_millis(20);
/// The longest sleep without a wake-up.
const SCAN: Duration = Duration::from_secs(1);

/// Numbers events until `stop`.
pub async fn run(context: Context, stop: CancellationToken) {
    while !stop.is_cancelled() {
        match context.within(Leadership::try_acquire(&context.side, LEADER)).await.flatten() {
            Ok(Some(mut leadership)) => {
                if let Err(error) = lead(&context, &mut leadership, &stop).await {
                    tracing::warn!(error = format!("{error:#}"), "the sequencer lost its lead");
                }
            }
            Ok(None) => {}
            Err(error) => tracing::debug!(error = %error, "the sequencer cannot lead yet"),
        }
        tokio::select! { () = stop.cancelled() => {}, () = tokio::time::sleep(SCAN) => {} }
    }
}

async fn lead(context: &Context, leadership: &mut Leadership, stop: &CancellationToken) -> anyhow::Result<()> {
    leadership.end_in_silence(SILENCE).await?;
    while !stop.is_cancelled() {
        let numbered = context.within(number(leadership)).await??;
        if numbered > 0 {
            // A signal wakes one waiter, so each kind of reader has its own.
            for topic in [Topic::Numbered, Topic::Publish, Topic::Hooks, Topic::Controllers] {
                context.wake.signal(topic);
            }
        }
        if numbered > 0 && numbered < BATCH {
            tokio::time::sleep(GAP).await;
        }
        if numbered < BATCH {
            tokio::select! { () = stop.cancelled() => {}, () = context.wake.wait(Topic::Events, SCAN) => {} }
        }
    }
    Ok(())
}

async fn number(leadership: &mut Leadership) -> anyhow::Result<i64> {
    let mut tx = leadership.conn().begin().await?;
    let numbered = events::sequence(&mut tx, BATCH).await?;
    tx.commit().await?;
    Ok(numbered)
}
