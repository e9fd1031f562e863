//! Publishes events to the exchange: one process leads, from the stored position on, as fast as the broker confirms. Whatever fails,
//! it connects again and goes on from the last position that was confirmed.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio_util::sync::CancellationToken;

use super::repeat;
use crate::{
    bus::exchange::Exchange,
    services::{Context, events::publishing},
    storage::{
        event_sinks,
        leader::{Leadership, SILENCE},
    },
    telemetry,
    wake::Topic,
};

/// The key of the leader lock.
const LEADER: i32 = 21;
/// The longest sleep without a wake-up; also how soon another process takes over.
const SCAN: Duration = Duration::from_secs(1);

/// Publishes until `stop`; without a broker there is nothing to do.
pub async fn run(context: Context, url: Option<SecretString>, stop: CancellationToken) {
    let Some(url) = url else { return stop.cancelled().await };
    let pass = || async {
        if let Some(mut leadership) = context.within(Leadership::try_acquire(&context.side, LEADER)).await?? {
            lead(&context, &url, &mut leadership, &stop).await?;
        }
        Ok(false)
    };
    repeat("publishing", &stop, pass, || tokio::time::sleep(SCAN)).await;
}

/// Publishes as long as the lock is held: positions are written on the connection that holds it.
async fn lead(
    context: &Context,
    url: &SecretString,
    leadership: &mut Leadership,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    leadership.end_in_silence(SILENCE).await?;
    let exchange = Exchange::open(url.expose_secret()).await?;
    tracing::info!("this process publishes events to the exchange");
    let ended = tokio::select! {
        () = stop.cancelled() => Ok(()),
        ended = publish(context, &exchange, leadership) => ended,
    };
    exchange.close().await;
    ended
}

async fn publish(context: &Context, exchange: &Exchange, leadership: &mut Leadership) -> anyhow::Result<()> {
    loop {
        while let Some(page) = context.within(publishing::next(context, leadership.conn())).await?? {
            exchange.publish(&page.messages).await?;
            let ours = context.within(publishing::confirmed(leadership.conn(), &page)).await??;
            anyhow::ensure!(ours, "another process has moved the position");
            telemetry::events_out("published", u64::try_from(page.messages.len()).unwrap_or_default());
        }
        let lag = context.within(event_sinks::lag(leadership.conn(), publishing::SINK)).await??;
        telemetry::event_lag(publishing::SINK.to_owned(), lag.unwrap_or_default());
        context.wake.wait(Topic::Publish, SCAN).await;
    }
}
