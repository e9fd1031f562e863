//! Falling back: sleeps until the earliest timer, claims what is due, has the rulebook asked, and writes the next steps.
//!
//! Nothing is decided while what people and providers say may be hidden from us (see [`super::receiving`]).
//! Timers of paused groups are never read. Nothing is locked by reading a timer: whoever decides locks the notification, and a
//! timer of an older generation is a no-op.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::repeat_within;
use crate::{
    services::{
        Context, asking,
        deciding::{Cause, decide_about},
        notifications,
    },
    storage::{Conn, deciding, receiving},
    wake::Topic,
};

/// Timers in one transaction.
const BATCH: i64 = 500;
/// The longest sleep: a timer that another process armed earlier than ours is seen after this.
const SCAN: Duration = Duration::from_secs(1);

/// Decides about what is due until `stop`.
pub async fn run(context: Context, stop: CancellationToken) {
    let deaf = AtomicBool::new(false);
    repeat_within("fallback", &context, &stop, || one(&context, &deaf), || rest(&context)).await;
}

/// One batch. Says whether there may be more.
///
/// # Errors
/// What storage says.
pub async fn pass(context: &Context) -> anyhow::Result<bool> {
    one(context, &AtomicBool::new(false)).await
}

/// One batch. `deaf` keeps whether the last one was held, so that it is logged once. Providers are asked all the same: that is
/// how some of what was missed becomes known.
async fn one(context: &Context, deaf: &AtomicBool) -> anyhow::Result<bool> {
    let mut tx = context.db.begin().await?;
    let hidden = receiving::deaf_secs(&mut tx).await?;
    let due = match hidden {
        Some(_) => 0,
        None => due(context, &mut tx).await?,
    };
    tx.commit().await?;
    if due > 0 {
        notifications::wake(context);
    }
    match (deaf.swap(hidden.is_some(), Ordering::Relaxed), hidden) {
        (false, Some(secs)) => tracing::warn!(secs, "waits do not end: webhooks are not taken, or lie on a disk"),
        (true, None) => tracing::info!("waits end again"),
        (false, None) | (true, Some(_)) => {}
    }
    let asked = asking::ask_due(context).await?;
    Ok(i64::try_from(due)? >= BATCH || asked)
}

/// Decides about what is due. Says how much that was.
async fn due(context: &Context, tx: &mut Conn) -> anyhow::Result<usize> {
    let due = deciding::due_timers(tx, "step", context.clock.now(), BATCH).await?;
    if due.is_empty() {
        return Ok(0);
    }
    let causes: HashMap<_, _> = due.iter().map(|t| (t.owner, Cause::Timer(t.generation))).collect();
    let decided = decide_about(context, tx, &causes, true).await?;
    tracing::debug!(due = due.len(), decided, "timers were due");
    Ok(due.len())
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
