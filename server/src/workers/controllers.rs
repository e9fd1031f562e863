//! What conversations do by themselves: reads intents from the stream of events and answers them. Any number of processes may run
//! this: an intent is read once, and those of one conversation are answered in order.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::repeat_within;
use crate::{
    services::{Context, controllers::running},
    storage::controllers::inbox,
    wake::Topic,
};

/// The longest sleep: a lease that ended, or a pause after a failure, is seen after this.
const SCAN: Duration = Duration::from_secs(1);

/// Answers intents until `stop`.
pub async fn run(context: Context, stop: CancellationToken) {
    repeat_within("controllers", &context, &stop, || pass(&context), || rest(&context)).await;
}

/// Reads on, and answers one. Says whether there may be more.
///
/// # Errors
/// What storage says.
pub async fn pass(context: &Context) -> anyhow::Result<bool> {
    let more = running::fill(context).await?;
    Ok(running::answer_one(context).await? || more)
}

async fn rest(context: &Context) {
    let next = match context.lists.conn().await {
        Ok(mut conn) => inbox::next_deadline(&mut conn).await.ok().flatten(),
        Err(_) => None,
    };
    let earliest = context.clock.now() + chrono::Duration::milliseconds(20);
    tokio::select! {
        () = context.clock.sleep_until(next.map(|at| at.max(earliest)), SCAN) => {}
        () = context.wake.wait(Topic::Controllers, SCAN) => {}
    }
}
