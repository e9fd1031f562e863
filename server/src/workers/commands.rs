//! Takes commands of outside systems from their queue, one after the other: obeyed and acknowledged, or put aside with the reason.
//! What may succeed later is tried again in its place, so that nothing overtakes it.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio_util::sync::CancellationToken;

use super::repeat;
use crate::{
    bus::commands::{Arrived, Commands},
    services::{
        Context,
        events::commands::{self, Refusal},
    },
    telemetry,
};

/// The pause after a failure that may pass.
const PAUSE: Duration = Duration::from_millis(500);

/// Takes commands until `stop`; without a broker there is nothing to do.
pub async fn run(context: Context, url: Option<SecretString>, stop: CancellationToken) {
    let Some(url) = url else { return stop.cancelled().await };
    let pass = || async {
        let mut queue = Commands::open(url.expose_secret()).await?;
        // Cut between two commands or in the midst of one: what was not acknowledged comes again, and is obeyed once.
        let ended = tokio::select! {
            () = stop.cancelled() => Ok(()),
            ended = take(&context, &mut queue) => ended,
        };
        queue.close().await;
        ended.map(|()| false)
    };
    repeat("commands", &stop, pass, || tokio::time::sleep(PAUSE)).await;
}

async fn take(context: &Context, queue: &mut Commands) -> anyhow::Result<()> {
    loop {
        let arrived = queue.next().await?;
        obey(context, queue, arrived).await?;
    }
}

async fn obey(context: &Context, queue: &Commands, arrived: Arrived) -> anyhow::Result<()> {
    loop {
        match commands::obey(context, arrived.body()).await {
            Ok(_) => {
                telemetry::events_out("commands", 1);
                return queue.done(arrived).await;
            }
            Err(Refusal::Never(reason)) => {
                tracing::warn!("a command could not be obeyed, and lies among the dead letters with the reason");
                telemetry::events_out("dead", 1);
                return queue.put_aside(arrived, &reason).await;
            }
            Err(Refusal::Later(error)) => {
                tracing::debug!(error = %error, "a command is tried again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
