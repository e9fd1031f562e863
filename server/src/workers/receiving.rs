//! Says every two seconds that receipts and answers can reach us, and finds the gaps in which nobody said so. Silence during our
//! own outage is not silence: after a gap no wait ends for as long as the gap was, at most [`MAX_CATCH_UP`].
//!
//! Run where webhooks are served, while they are. A process whose webhooks still wait on disk says nothing: what they hold is
//! not known to the rulebook yet.

use std::time::Duration;

use chrono::TimeDelta;
use domain::fallback::MAX_CATCH_UP;
use tokio_util::sync::CancellationToken;

use super::repeat;
use crate::{
    services::Context,
    storage::{Error, receiving},
};

/// How often it is said.
const EVERY: Duration = Duration::from_secs(2);
/// Silence of all processes for longer than this is a gap, in seconds.
const GAP_SECS: f64 = 6.0;

/// Says it until `stop`, as long as `receives` holds.
pub async fn run(context: Context, receives: impl Fn() -> bool, stop: CancellationToken) {
    repeat(
        "receiving",
        &stop,
        || async {
            if receives() {
                pass(&context).await?;
            }
            Ok(false)
        },
        || tokio::time::sleep(EVERY),
    )
    .await;
}

/// Says it once. Gives the catch-up that a gap before it asks for.
///
/// # Errors
/// What storage says.
pub async fn pass(context: &Context) -> anyhow::Result<Option<TimeDelta>> {
    let mut tx = context.side.begin().await?;
    let gap = receiving::seen(&mut tx).await?;
    let catch_up = catch_up(gap);
    if let Some(catch_up) = catch_up {
        let until = context.clock.now() + catch_up;
        let groups = receiving::quiet_until(&mut tx, until).await?;
        // A fresh installation has no groups, and so no gap.
        if groups > 0 {
            tracing::warn!(
                gap_secs = gap,
                groups,
                "nothing could be received for a while; waits are given that time again"
            );
        }
    }
    tx.commit().await.map_err(Error::from)?;
    Ok(catch_up)
}

/// How much longer waits last after this many seconds in which nothing could be received.
fn catch_up(gap_secs: f64) -> Option<TimeDelta> {
    if gap_secs <= GAP_SECS {
        return None;
    }
    let longest = MAX_CATCH_UP.to_std().unwrap_or_default().as_secs_f64();
    TimeDelta::from_std(Duration::from_secs_f64(gap_secs.min(longest))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_given_again_up_to_a_quarter_of_an_hour() {
        assert_eq!(catch_up(2.1), None);
        assert_eq!(catch_up(6.0), None);
        assert_eq!(catch_up(60.0), Some(TimeDelta::seconds(60)));
        assert_eq!(catch_up(1e9), Some(MAX_CATCH_UP));
    }
}
