//! What is due of conversations: sleeps until the earliest timer, works off what is due, and ends the sessions of channels that were
//! disabled. Reading a timer locks nothing, so any number of processes may run this.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::repeat_within;
use crate::{
    services::{Context, conversations::timers},
    storage::conversation_timers,
    wake::Topic,
};

/// The longest sleep: what another process armed earlier than ours is seen after this.
const SCAN: Duration = Duration::from_secs(1);

/// Works off what is due until `stop`.
pub async fn run(context: Context, stop: CancellationToken) {
    repeat_within("conversations", &context, &stop, || pass(&context), || rest(&context)).await;
}

/// One batch. Says whether there may be more.
///
/// # Errors
/// What storage says.
pub async fn pass(context: &Context) -> anyhow::Result<bool> {
    let more = timers::work_off(context).await?;
    Ok(timers::end_on_disabled(context).await? || more)
}

async fn rest(context: &Context) {
    let next = match context.db.conn().await {
        Ok(mut conn) => conversation_timers::next_due(&mut conn).await.ok().flatten(),
        Err(_) => None,
    };
    // What is due and did not go is held by another, or failed: it is looked at again soon, not at once.
    let earliest = context.clock.now() + chrono::Duration::milliseconds(20);
    tokio::select! {
        () = context.clock.sleep_until(next.map(|at| at.max(earliest)), SCAN) => {}
        () = context.wake.wait(Topic::Conversations, SCAN) => {}
    }
}
