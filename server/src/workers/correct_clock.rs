//! Keeps business time on Postgres's clock, so that all processes agree however wrong their machines' clocks are.

use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use super::repeat_within;
use crate::{clock::Measured, services::Context, storage::receiving, telemetry};

/// How often the offset is measured.
const EVERY: Duration = Duration::from_secs(30);
/// An answer that took longer says too little.
const MAX_ROUND_TRIP: Duration = Duration::from_secs(1);
/// Clocks that differ by no more than this agree.
const AGREEMENT: Duration = Duration::from_millis(1);
/// An offset of this many seconds is worth a word in the log.
const NOTABLE_SECS: f64 = 2.0;

/// Measures until `stop`.
pub async fn run(context: Context, measured: Measured, stop: CancellationToken) {
    repeat_within(
        "correct_clock",
        &context,
        &stop,
        || async { measure(&context, &measured).await.map(|_| false) },
        || tokio::time::sleep(EVERY),
    )
    .await;
}

/// Measures once and corrects business time. Gives the offset in seconds: the database's clock minus this machine's.
///
/// # Errors
/// What storage says, or that the answer took too long to mean anything.
pub async fn measure(context: &Context, measured: &Measured) -> anyhow::Result<f64> {
    let mut conn = context.side.conn().await?;
    // The first answer of a connection may have to wait for its statement to be prepared.
    receiving::machine_now(&mut conn).await?;
    let begun = Instant::now();
    let there = receiving::machine_now(&mut conn).await?;
    let took = begun.elapsed();
    anyhow::ensure!(took < MAX_ROUND_TRIP, "the database took {took:?} to say what time it is");
    // It was said somewhere between the question and the answer: in the middle, as far as one can know.
    let there = there + TimeDelta::from_std(took / 2).unwrap_or_default();
    context.clock.correct(there, took / 2 + AGREEMENT);
    measured.note();
    let offset = (there - Utc::now()).as_seconds_f64();
    telemetry::clock_offset(offset);
    if offset.abs() > NOTABLE_SECS {
        tracing::warn!(offset_secs = offset, "this machine's clock is off; the database's is followed");
    }
    Ok(offset)
}
