//! Tells webhooks what happened: one process leads, and looks after each webhook by itself, so that one that is slow or fails holds
//! back nobody else.

use std::{collections::HashSet, time::Duration};

use futures::{
    StreamExt,
    future::{BoxFuture, FutureExt},
    stream::FuturesUnordered,
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{MAX_PAUSE, repeat};
use crate::{
    bus::post::Poster,
    config::Webhooks,
    services::{
        Context,
        hooks::{
            self,
            telling::{self, Patience, Told},
        },
    },
    storage::{self, leader::Leadership},
    telemetry,
    wake::Topic,
};

/// The key of the leader lock.
const LEADER: i32 = 22;
/// The longest sleep without a wake-up; also how soon another process takes over, and a new webhook is found.
const SCAN: Duration = Duration::from_secs(1);
/// How often it is asked whether the lock is still held, and how far webhooks are behind.
const LOOK: Duration = Duration::from_secs(5);

/// The failure in a row from which on a webhook counts as failing.
const FAILING_FROM: i32 = 3;
/// The first and the longest pause between two tries.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// Tells as the settings say, until `stop`.
pub async fn run(context: Context, settings: Webhooks, stop: CancellationToken) {
    let poster = Poster::new(context.settings.events.reach, settings.timeout);
    let patience = Patience {
        batch: usize::try_from(settings.batch_size).unwrap_or(1),
        first_pause: PAUSES.0,
        longest_pause: PAUSES.1,
        give_up_after: settings.give_up,
        disable_after: settings.disable,
        failing_from: FAILING_FROM,
    };
    tell(context, poster, patience, stop).await;
}

/// Tells until `stop`, with this patience.
pub async fn tell(context: Context, poster: Poster, patience: Patience, stop: CancellationToken) {
    let pass = || async {
        if let Some(mut leadership) = Leadership::try_acquire(&context.side, LEADER).await? {
            tokio::select! {
                () = stop.cancelled() => {}
                ended = lead(&context, &poster, &patience, &mut leadership) => ended?,
            }
        }
        Ok(false)
    };
    repeat("hooks", &stop, pass, || tokio::time::sleep(SCAN)).await;
}

/// Looks after every webhook until the lock is lost.
async fn lead(
    context: &Context,
    poster: &Poster,
    patience: &Patience,
    leadership: &mut Leadership,
) -> anyhow::Result<()> {
    let bell = watch::Sender::new(());
    let mut told: FuturesUnordered<BoxFuture<'_, String>> = FuturesUnordered::new();
    let mut known: HashSet<String> = HashSet::new();
    let mut looked = Instant::now();
    loop {
        for (_, slug) in storage::hooks::active(&mut *context.lists.conn().await?).await? {
            if known.insert(slug.clone()) {
                told.push(look_after(context, poster, patience, slug, bell.subscribe()).boxed());
            }
        }
        if looked.elapsed() >= LOOK {
            looked = Instant::now();
            anyhow::ensure!(leadership.still_held().await, "the lock was lost");
            measure(context).await?;
        }
        tokio::select! {
            () = context.wake.wait(Topic::Hooks, SCAN) => { bell.send_replace(()); }
            Some(slug) = told.next() => { known.remove(&slug); }
        }
    }
}

/// Tells one webhook as long as it is enabled. Gives its slug when it is not any more.
async fn look_after(
    context: &Context,
    poster: &Poster,
    patience: &Patience,
    slug: String,
    mut bell: watch::Receiver<()>,
) -> String {
    let (mut seen, mut errors) = (0, 0u32);
    loop {
        bell.mark_unchanged();
        let pause = match telling::tell(context, poster, patience, &slug, &mut seen).await {
            Ok(Told::More) => {
                errors = 0;
                continue;
            }
            Ok(Told::Nothing) => SCAN,
            Ok(Told::Later(pause)) => pause,
            Ok(Told::Ended) => return slug,
            Err(error) => {
                tracing::warn!(error = %error, "a webhook could not be looked after; it is tried again");
                errors += 1;
                Duration::from_millis(50 << errors.min(7)).min(MAX_PAUSE)
            }
        };
        // A bell shortens a pause only to look again: whether it is too early is asked there.
        tokio::select! { _ = bell.changed() => {}, () = tokio::time::sleep(pause) => {} }
    }
}

async fn measure(context: &Context) -> anyhow::Result<()> {
    for hook in hooks::list(context, "", 1000).await? {
        telemetry::event_lag(hook.row.id.to_string(), hook.row.lag);
    }
    Ok(())
}
