//! The two workers behind messages: one copies their files before the provider's links expire, one gives providers the small
//! signs that a message was read or that somebody types.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::repeat;
use crate::{
    services::{
        Context,
        messages::{courtesies as signs, media},
    },
    wake::Topic,
};

/// The longest sleep without a wake-up: what is tried again becomes due by machine time, without a signal.
const SCAN: Duration = Duration::from_secs(2);

/// Copies files until `stop`. Several may run: a file is leased to one of them.
pub async fn run(context: Context, stop: CancellationToken) {
    repeat("media", &stop, || async { Ok(media::pass(&context).await?) }, || context.wake.wait(Topic::Media, SCAN))
        .await;
}

/// Gives signs until `stop`.
pub async fn courtesies(context: Context, stop: CancellationToken) {
    repeat(
        "courtesies",
        &stop,
        || async { Ok(signs::give(&context).await?) },
        || context.wake.wait(Topic::Courtesies, SCAN),
    )
    .await;
}
