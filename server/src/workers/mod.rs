//! What runs without a caller. Each worker sleeps until a wake-up or the next due time, does a bounded batch, and repeats;
//! an error is logged once and met with a pause that grows, never with an end.

use std::{future::Future, time::Duration};

use tokio_util::sync::CancellationToken;

pub mod archive;
use crate::services::Context;

pub mod calls;
pub mod captures;
pub mod commands;
pub mod controllers;
pub mod conversations;
pub mod correct_clock;
pub mod dispatch;
pub mod fallback;
pub mod firings;
pub mod hooks;
pub mod housekeeping;
pub mod mailing;
pub mod media;
pub mod merging;
pub mod planner;
pub mod providers;
pub mod publishing;
pub mod receiving;
pub mod relay;
pub mod schedules;
pub mod sequencer;
pub mod sweep;
pub mod writer;

/// Pauses after errors: short at first, then at most this.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// As [`repeat`], for passes that are short: one that does not end within `patience` stands on a connection that the network has
/// lost, is dropped, and counts as failed; so does a rest. Without this a worker would wait for ever.
pub async fn repeat_within<P, PF, R, RF>(
    name: &'static str,
    context: &Context,
    stop: &CancellationToken,
    mut pass: P,
    mut rest: R,
) where
    P: FnMut() -> PF,
    PF: Future<Output = anyhow::Result<bool>>,
    R: FnMut() -> RF,
    RF: Future<Output = ()>,
{
    let bounded = || {
        let pass = pass();
        async { context.within(pass).await? }
    };
    let resting = || {
        let rest = rest();
        async { drop(context.within(rest).await) }
    };
    repeat(name, stop, bounded, resting).await;
}

/// Runs `pass` for ever: `Ok(true)` at once again (there was a full batch), `Ok(false)` after `rest` has returned, an error
/// after a pause that grows. Ends when `stop` is cancelled, between two passes.
pub async fn repeat<P, PF, R, RF>(name: &'static str, stop: &CancellationToken, mut pass: P, mut rest: R)
where
    P: FnMut() -> PF,
    PF: Future<Output = anyhow::Result<bool>>,
    R: FnMut() -> RF,
    RF: Future<Output = ()>,
{
    let mut failures = 0u32;
    while !stop.is_cancelled() {
        match pass().await {
            Ok(again) => {
                if failures > 0 {
                    tracing::info!(worker = name, "works again");
                }
                failures = 0;
                if !again {
                    tokio::select! { () = stop.cancelled() => {}, () = rest() => {} }
                }
            }
            Err(error) => {
                if failures == 0 {
                    tracing::warn!(worker = name, error = format!("{error:#}"), "a pass failed; it is tried again");
                }
                let pause = Duration::from_millis(50 << failures.min(7)).min(MAX_PAUSE);
                failures += 1;
                tokio::select! { () = stop.cancelled() => {}, () = tokio::time::sleep(pause) => {} }
            }
        }
    }
}
