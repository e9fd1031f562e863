//! Keeps the tables in bounds, once an hour in one process: a day's partition for webhooks' bodies is made a week ahead and
//! dropped when its retention is over; other rows that are old are removed in small batches, with a pause after each.

use std::time::Duration;

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use crate::{
    config::Retention,
    services::Context,
    storage::{
        Error,
        housekeeping::{self, BATCH, Kind},
        leader::Leadership,
    },
    telemetry,
};

/// The key of the leader lock.
const LEADER: i32 = 9;
/// How often it is done.
const EVERY: Duration = Duration::from_secs(3600);
/// How soon it is tried again where another process leads, or something failed.
const RETRY: Duration = Duration::from_secs(60);
/// The pause between two batches, so that writers come first.
const BREATH: Duration = Duration::from_millis(50);
/// How long distances between messages, and who was counted on a channel's day, are kept: a day, and some slack.
const KEPT_PACE: TimeDelta = TimeDelta::hours(30);
/// Days for which partitions stand ready.
const AHEAD: u64 = 7;

/// Keeps house until `stop`.
pub async fn run(context: Context, retention: Retention, stop: CancellationToken) {
    while !stop.is_cancelled() {
        // What was not done within that time goes on with the next turn.
        let turn = context.within_for(EVERY, lead(&context, retention, &stop)).await;
        let pause = match turn.unwrap_or_else(|lost| Err(lost.into())) {
            Ok(true) => EVERY,
            Ok(false) => RETRY,
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "housekeeping failed; it is tried again");
                RETRY
            }
        };
        tokio::select! { () = stop.cancelled() => {}, () = tokio::time::sleep(pause) => {} }
    }
}

/// Does it once if no other process does. Says whether it was done.
async fn lead(context: &Context, retention: Retention, stop: &CancellationToken) -> anyhow::Result<bool> {
    let Some(_leadership) = Leadership::try_acquire(&context.lists, LEADER).await? else { return Ok(false) };
    once(context, retention, stop).await?;
    Ok(true)
}

/// Does all of it once; ends early when `stop` is cancelled.
///
/// # Errors
/// What storage says.
pub async fn once(context: &Context, retention: Retention, stop: &CancellationToken) -> anyhow::Result<()> {
    let mut conn = context.lists.conn().await?;
    // Machine time: bodies, ids and answers are stamped by the database's clock.
    let now = crate::storage::receiving::machine_now(&mut conn).await?;
    drop(conn);
    make_days(context, now.date_naive()).await?;
    drop_days(context, (now - days(retention.webhook_body)).date_naive()).await?;
    for kind in Kind::ALL {
        let before = match kind {
            Kind::Request => now - days(retention.request),
            Kind::ProviderRef => now - days(retention.provider_ref),
            Kind::InboundRef => now - days(retention.inbound_ref),
            // Events, what controllers did and the lines of web chats are stamped in business time.
            Kind::Event => context.clock.now() - days(retention.event),
            Kind::ControllerRun => context.clock.now() - days(retention.controller_run),
            Kind::WebChatLine => context.clock.now() - days(retention.web_chat_line),
            Kind::DeadLetter => now - days(retention.dead_letter),
            Kind::Command | Kind::ParkedTicket => now - days(retention.command),
            Kind::Orphan => now - days(retention.orphan),
            Kind::WebhookBody => now - days(retention.webhook_body),
            Kind::PairPace | Kind::ChannelDay => now - KEPT_PACE,
            // They say themselves until when they hold, in business time.
            Kind::ContactToken => context.clock.now(),
        };
        remove(context, kind, before, stop).await?;
    }
    Ok(())
}

async fn make_days(context: &Context, today: NaiveDate) -> anyhow::Result<()> {
    let there = housekeeping::body_days(&mut *context.lists.conn().await?).await?;
    for day in (0..=AHEAD).map(|n| today + Days::new(n)).filter(|day| !there.contains(day)) {
        let mut tx = context.lists.begin().await?;
        housekeeping::wait_briefly(&mut tx).await?;
        match housekeeping::make_body_day(&mut tx, day).await {
            Ok(()) => tx.commit().await.map_err(Error::from)?,
            // Bodies of that day came before their partition: they stay in the default one, and are removed row by row.
            Err(Error::Refused { .. }) => tracing::debug!(%day, "a day's webhooks stand in the default partition"),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

async fn drop_days(context: &Context, before: NaiveDate) -> anyhow::Result<()> {
    let there = housekeeping::body_days(&mut *context.lists.conn().await?).await?;
    for day in there.into_iter().filter(|day| *day < before) {
        let mut tx = context.lists.begin().await?;
        housekeeping::wait_briefly(&mut tx).await?;
        housekeeping::drop_body_day(&mut tx, day).await?;
        tx.commit().await.map_err(Error::from)?;
        tracing::info!(%day, "the webhooks of a day were removed");
    }
    Ok(())
}

async fn remove(context: &Context, kind: Kind, before: DateTime<Utc>, stop: &CancellationToken) -> anyhow::Result<()> {
    let mut all = 0;
    while !stop.is_cancelled() {
        let removed = housekeeping::remove_old(&mut *context.lists.conn().await?, kind, before).await?;
        all += removed;
        if removed < BATCH.unsigned_abs() {
            break;
        }
        tokio::select! { () = stop.cancelled() => {}, () = tokio::time::sleep(BREATH) => {} }
    }
    if all > 0 {
        telemetry::removed(kind.name(), all);
        match kind {
            Kind::ParkedTicket => tracing::warn!(rows = all, "tickets were closed that nobody ordered: forgotten"),
            _ => tracing::info!(kind = kind.name(), rows = all, "old rows were removed"),
        }
    }
    Ok(())
}

fn days(n: u32) -> TimeDelta {
    TimeDelta::days(i64::from(n))
}
