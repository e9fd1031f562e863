//! The sweep: what is left behind by workers that are gone. A marked attempt whose lease is over becomes UNKNOWN, exactly as if
//! its worker had said so; what was claimed and never marked is queued again, and fails after three lost leases.

use std::time::Duration;

use domain::{delivery::AfterUnknown, fallback::outcome::MAX_LOST_LEASES, notification::Reason};
use tokio_util::sync::CancellationToken;

use super::repeat_within;
use crate::{
    channels::Sent,
    services::{
        Context,
        outcomes::{self, Ended},
    },
    storage::{leases, outcomes as stored},
    wake::Topic,
};

/// Chunks in one pass.
const BATCH: i64 = 100;
/// How often leases are looked at.
const SCAN: Duration = Duration::from_secs(1);

/// Sweeps until `stop`.
pub async fn run(context: Context, stop: CancellationToken) {
    repeat_within("sweep", &context, &stop, || pass(&context), || tokio::time::sleep(SCAN)).await;
}

/// One batch. Says whether there may be more.
///
/// # Errors
/// What storage says.
pub async fn pass(context: &Context) -> anyhow::Result<bool> {
    let (chunks, lost) = leases::lost(&mut *context.db.conn().await?, BATCH).await?;
    if chunks.is_empty() {
        return Ok(false);
    }
    if !lost.is_empty() {
        let snapshot = context.directory.snapshot(&context.side).await?;
        let ability = |provider: i32| {
            let connector = snapshot.provider(provider).and_then(|(_, p)| p.connector.as_ref().ok());
            connector.map_or(AfterUnknown::Nothing, |c| c.traits().after_unknown)
        };
        let ended: Vec<Ended> = lost
            .iter()
            .map(|attempt| Ended {
                delivery_id: attempt.delivery_id,
                attempt: attempt.attempt,
                token: attempt.token,
                provider_id: attempt.provider_id,
                after_unknown: ability(attempt.provider_id),
                sent: Sent::Unknown { detail: "its worker did not say how the call ended".into() },
            })
            .collect();
        tracing::warn!(attempts = ended.len(), "attempts whose lease is over are UNKNOWN");
        outcomes::store(context, &ended).await?;
    }
    let max_tries = i16::try_from(MAX_LOST_LEASES)?;
    let mut conn = context.db.conn().await?;
    let given_up = leases::sweep(&mut conn, &chunks, max_tries).await?;
    if !given_up.is_empty() {
        tracing::error!(deliveries = given_up.len(), "deliveries lost their lease too often and are given up");
        stored::give_up(&mut conn, &given_up, Reason::LeasesLost, context.clock.now()).await?;
    }
    context.wake.signal(Topic::Relay);
    context.wake.signal(Topic::Fallback);
    Ok(i64::try_from(chunks.len())? >= BATCH)
}
