//! Says every second how the process stands that takes webhooks, and finds the gaps in which nobody took any. Silence during our
//! own outage is not silence: after a gap no wait ends for as long as the gap was, at most [`MAX_CATCH_UP`].
//!
//! Run where webhooks are served, while they are. While webhooks wait on the disk of any process, or while one has fallen silent,
//! fallback decides nothing (`deaf_since` of the schema): what they hold is not known to the rulebook yet. The end of such a
//! silence and the catch-up that it asks for are one transaction, so that no decision comes between them.

use std::time::Duration;

use chrono::TimeDelta;
use domain::fallback::MAX_CATCH_UP;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::repeat_within;
use crate::{
    services::Context,
    storage::{Conn, Error, receiving},
};

/// How often it is said. Three of these missed, and fallback holds.
const EVERY: Duration = Duration::from_secs(1);
/// Silence of all processes for longer than this is a gap, in seconds.
const GAP_SECS: f64 = 6.0;

/// Says it until `stop`: `receiver` is the identity of the process's spool, and `spooling` says whether webhooks wait in it. A
/// process that leaves nothing behind takes its leave at the end.
pub async fn run(context: Context, receiver: Uuid, spooling: impl Fn() -> bool, stop: CancellationToken) {
    repeat_within(
        "receiving",
        &context,
        &stop,
        || async {
            pass(&context, receiver, spooling()).await?;
            Ok(false)
        },
        || tokio::time::sleep(EVERY),
    )
    .await;
    let leaving = async {
        let conn = &mut *context.side.conn().await?;
        receiving::tell(conn, receiver, spooling()).await?;
        receiving::leave(conn, receiver).await
    };
    if let Err(error) = leaving.await {
        tracing::debug!(error = %error, "the end of a process that received is not recorded; it is forgotten in a minute");
    }
}

/// Says it once. Gives the catch-up that a gap before it asks for; none while webhooks wait.
///
/// # Errors
/// What storage says.
pub async fn pass(context: &Context, receiver: Uuid, spooling: bool) -> anyhow::Result<Option<TimeDelta>> {
    let mut tx = context.side.begin().await?;
    receiving::tell(&mut tx, receiver, spooling).await?;
    let catch_up = if spooling { None } else { heard_again(context, &mut tx).await? };
    tx.commit().await.map_err(Error::from)?;
    Ok(catch_up)
}

async fn heard_again(context: &Context, conn: &mut Conn) -> anyhow::Result<Option<TimeDelta>> {
    let gap = receiving::seen(conn).await?;
    let Some(catch_up) = catch_up(gap) else { return Ok(None) };
    let groups = receiving::quiet_until(conn, context.clock.now() + catch_up).await?;
    // A fresh installation has no groups, and so no gap.
    if groups > 0 {
        tracing::warn!(
            gap_secs = gap,
            groups,
            "nothing could be received for a while; waits are given that time again"
        );
    }
    Ok(Some(catch_up))
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
