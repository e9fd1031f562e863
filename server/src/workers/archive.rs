//! The archive, kept by one process at a time: conversations go into it, files that may not hold something any more are written anew,
//! what nobody needs is removed; once an hour what was kept long enough ends, and what was left behind is swept.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    services::{
        Context,
        archive::{expiring, moving, rewriting, sweeping},
    },
    storage::leader::Leadership,
};

/// The key of the leader lock.
const LEADER: i32 = 31;
/// How often there is a look for something to do.
const EVERY: Duration = Duration::from_secs(10);
/// How often the file store is listed, which costs more.
const SWEPT_EVERY: Duration = Duration::from_secs(3600);

/// Keeps the archive until `stop`.
pub async fn run(context: Context, stop: CancellationToken) {
    let mut swept: Option<Instant> = None;
    while !stop.is_cancelled() {
        if let Err(error) = lead(&context, &mut swept, &stop).await {
            tracing::warn!(error = format!("{error:#}"), "the archive could not be kept; it is tried again");
        }
        tokio::select! { () = stop.cancelled() => {}, () = tokio::time::sleep(EVERY) => {} }
    }
}

/// Does what there is to do, if no other process does.
async fn lead(context: &Context, swept: &mut Option<Instant>, stop: &CancellationToken) -> anyhow::Result<()> {
    let Some(_leadership) = Leadership::try_acquire(&context.lists, LEADER).await? else { return Ok(()) };
    while !stop.is_cancelled() && pass(context).await? {}
    if swept.is_none_or(|at| at.elapsed() >= SWEPT_EVERY) {
        while !stop.is_cancelled() && expiring::pass(context).await? {}
        sweeping::sweep(context, sweeping::AGE).await?;
        *swept = Some(Instant::now());
    }
    Ok(())
}

/// One round of what is done often. Says whether there may be more. What must go comes first.
///
/// # Errors
/// What storage or the file store says.
pub async fn pass(context: &Context) -> anyhow::Result<bool> {
    let stained = rewriting::pass(context).await?;
    let dropped = sweeping::remove_dropped(context).await?;
    Ok(moving::pass(context).await? || stained || dropped)
}
