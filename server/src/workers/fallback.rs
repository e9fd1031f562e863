//! Falling back: sleeps until the earliest timer, claims what is due, has the rulebook asked, and writes the next steps.
//!
//! Nothing is decided while what people and providers say may be hidden from us (see [`super::receiving`]).
//! Timers of paused groups are never read. Nothing is locked by reading a timer: whoever decides locks the notification, and a
//! timer of an older generation is a no-op.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, Utc};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::repeat_within;
use crate::{
    services::{
        Context, asking,
        deciding::{Cause, decide_about},
        notifications,
    },
    storage::{Conn, deciding, receiving},
    wake::{LONGEST_SLEEP, Topic},
};

/// Timers in one transaction.
const BATCH: i64 = 500;
/// The longest sleep. Whoever arms a timer that is due later than this does not wake anybody.
const SCAN: Duration = LONGEST_SLEEP;

/// What one look leaves for the next.
#[derive(Debug, Default)]
struct Last {
    /// Whether decisions were held, so that it is logged once.
    deaf: bool,
    /// When to look again, in business time.
    next: Option<DateTime<Utc>>,
}

/// Decides about what is due until `stop`.
pub async fn run(context: Context, stop: CancellationToken) {
    let last = Mutex::new(Last::default());
    repeat_within("fallback", &context, &stop, || one(&context, &last), || rest(&context, &last)).await;
}

/// One batch. Says whether there may be more.
///
/// # Errors
/// What storage says.
pub async fn pass(context: &Context) -> anyhow::Result<bool> {
    one(context, &Mutex::default()).await
}

/// One batch. Providers are asked also while nothing is decided: that is how some of what was missed becomes known. Where nothing is
/// due it costs one look.
async fn one(context: &Context, last: &Mutex<Last>) -> anyhow::Result<bool> {
    let now = context.clock.now();
    let look = deciding::look(&mut *context.db.conn().await?).await?;
    let mut last = last.lock().await;
    match (std::mem::replace(&mut last.deaf, look.deaf_secs.is_some()), look.deaf_secs) {
        (false, Some(secs)) => tracing::warn!(secs, "waits do not end: webhooks are not taken, or lie on a disk"),
        (true, None) => tracing::info!("waits end again"),
        (false, None) | (true, Some(_)) => {}
    }
    let step = look.step.filter(|_| look.deaf_secs.is_none());
    let is_due = |at: Option<DateTime<Utc>>| at.is_some_and(|at| at <= now);
    let mut more = false;
    if is_due(step) {
        let mut tx = context.db.begin().await?;
        // Asked again inside: what has become hidden meanwhile holds this batch.
        let due = match receiving::deaf_secs(&mut tx).await? {
            Some(_) => 0,
            None => due(context, &mut tx).await?,
        };
        tx.commit().await?;
        if due > 0 {
            notifications::wake(context);
        }
        more |= i64::try_from(due)? >= BATCH;
    }
    if is_due(look.ask) {
        more |= asking::ask_due(context).await?;
    }
    // What is due and was not decided is held by another decider: it is looked at again soon, not at once.
    let soon = now + chrono::Duration::milliseconds(20);
    last.next = step.into_iter().chain(look.ask).min().map(|at| at.max(soon));
    Ok(more)
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

async fn rest(context: &Context, last: &Mutex<Last>) {
    let next = last.lock().await.next;
    tokio::select! {
        () = context.clock.sleep_until(next, SCAN) => {}
        // Timers may have been armed since, without a signal, that are due by the new time.
        () = context.clock.moved() => {}
        () = context.wake.wait(Topic::Fallback, SCAN) => {}
    }
}
