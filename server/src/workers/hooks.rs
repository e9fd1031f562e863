//! Tells webhooks what happened: one process leads, and looks after each webhook by itself, so that one that is slow or fails holds
//! back nobody else.

use std::{collections::HashSet, time::Duration};

use futures::{
    StreamExt,
    future::{BoxFuture, FutureExt},
    stream::FuturesUnordered,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::repeat;
use crate::{
    bus::post::Poster,
    config::Webhooks,
    services::{
        Context,
        hooks::{
            self,
            telling::{Patience, Teller, Told},
        },
    },
    storage::{
        self,
        leader::{Leadership, SILENCE},
    },
    telemetry,
    wake::Topic,
};

/// The key of the leader lock.
const LEADER: i32 = 22;
/// The longest sleep without a wake-up; also how soon another process takes over, and a new webhook is found.
const SCAN: Duration = Duration::from_secs(1);
/// Looks at all webhooks are at least this far apart.
const GAP: Duration = Duration::from_millis(50);
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
    let teller = Teller::new(context.clone(), poster, patience);
    let pass = || async {
        if let Some(mut leadership) = context.within(Leadership::try_acquire(&context.side, LEADER)).await?? {
            tokio::select! {
                () = stop.cancelled() => {}
                ended = lead(&context, &teller, &mut leadership) => ended?,
            }
        }
        Ok(false)
    };
    repeat("hooks", &stop, pass, || tokio::time::sleep(SCAN)).await;
}

/// Looks after every webhook for which something waits, until the lock is lost.
async fn lead(context: &Context, teller: &Teller, leadership: &mut Leadership) -> anyhow::Result<()> {
    let mut told: FuturesUnordered<BoxFuture<'_, String>> = FuturesUnordered::new();
    let mut in_hand: HashSet<String> = HashSet::new();
    let mut looked = Instant::now();
    leadership.end_in_silence(SILENCE).await?;
    loop {
        let mut pause = SCAN;
        for due in context.within(async { storage::hooks::due(&mut *context.lists.conn().await?).await }).await?? {
            if due.pause_secs > 0.0 {
                pause = pause.min(Duration::from_secs_f64(due.pause_secs.min(SCAN.as_secs_f64())));
            } else if in_hand.insert(due.slug.clone()) {
                told.push(look_after(teller, due.slug).boxed());
            }
        }
        if looked.elapsed() >= LOOK {
            looked = Instant::now();
            anyhow::ensure!(context.within(leadership.still_held()).await?, "the lock was lost");
            context.within(measure(context)).await??;
        }
        // A gap after a wake-up gathers what comes together.
        let rest = async {
            context.wake.wait(Topic::Hooks, pause).await;
            tokio::time::sleep(GAP).await;
        };
        tokio::pin!(rest);
        loop {
            tokio::select! {
                () = &mut rest => break,
                Some(slug) = told.next(), if !told.is_empty() => { in_hand.remove(&slug); }
            }
        }
    }
}

/// Tells one webhook until nothing waits for it, or it has to wait for long. Gives its slug.
async fn look_after(teller: &Teller, slug: String) -> String {
    loop {
        match teller.tell(&slug).await {
            Ok(Told::More) => {}
            Ok(Told::Later(pause)) if pause <= SCAN => tokio::time::sleep(pause).await,
            Ok(Told::Later(_) | Told::Nothing | Told::Ended) => return slug,
            Err(error) => {
                tracing::warn!(error = %error, "a webhook could not be looked after; it is tried again");
                tokio::time::sleep(SCAN).await;
                return slug;
            }
        }
    }
}

async fn measure(context: &Context) -> anyhow::Result<()> {
    for hook in hooks::list(context, "", 1000).await? {
        telemetry::event_lag(hook.row.id.to_string(), hook.row.lag);
    }
    Ok(())
}
