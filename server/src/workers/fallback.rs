//! Falling back: sleeps until the earliest timer, claims what is due, has the rulebook asked, and writes the next steps.
//!
//! Timers of paused groups are never read. Nothing is locked by reading a timer: whoever decides locks the notification, and a
//! timer of an older generation is a no-op.

use std::{collections::HashMap, time::Duration};

use tokio_util::sync::CancellationToken;

use super::repeat;
use crate::{
    services::{
        Context, asking,
        deciding::{Cause, decide_about},
        notifications,
    },
    storage::deciding,
    wake::Topic,
};

/// Timers in one transaction.
const BATCH: i64 = 500;
/// The longest sleep: a timer that another process armed earlier than ours is seen after this.
const SCAN: Duration = Duration::from_secs(1);

/// Decides about what is due until `stop`.
pub async fn run(context: Context, stop: CancellationToken) {
    repeat("fallback", &stop, || pass(&context), || rest(&context)).await;
}

/// One batch. Says whether there may be more.
///
/// # Errors
/// What storage says.
pub async fn pass(context: &Context) -> anyhow::Result<bool> {
    let now = context.clock.now();
    let mut tx = context.db.begin().await?;
    let due = deciding::due_timers(&mut tx, "step", now, BATCH).await?;
    let full = i64::try_from(due.len())? >= BATCH;
    if !due.is_empty() {
        let causes: HashMap<_, _> = due.iter().map(|t| (t.owner, Cause::Timer(t.generation))).collect();
        let decided = decide_about(context, &mut tx, &causes, true).await?;
        tracing::debug!(due = due.len(), decided, "timers were due");
    }
    tx.commit().await?;
    if !due.is_empty() {
        notifications::wake(context);
    }
    let asked = asking::ask_due(context).await?;
    Ok(full || asked)
}

async fn rest(context: &Context) {
    let next = match context.db.conn().await {
        Ok(mut conn) => deciding::next_due(&mut conn).await.ok().flatten(),
        Err(_) => None,
    };
    // What is due and not decided is held by another decider: it is looked at again soon, not at once.
    let earliest = context.clock.now() + chrono::Duration::milliseconds(20);
    tokio::select! {
        () = context.clock.sleep_until(next.map(|at| at.max(earliest)), SCAN) => {}
        () = context.wake.wait(Topic::Fallback, SCAN) => {}
    }
}
