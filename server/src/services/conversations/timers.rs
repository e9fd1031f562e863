//! What is due of conversations, one timer a transaction: a stale one is a no-op, one that fails is tried again later, and a closing
//! that does not end is said aloud.

use chrono::TimeDelta;

use super::{
    closing,
    held::{By, Held},
    inactivity, recording, sessions,
};
use crate::{
    services::{Context, Error, Result, notifications},
    storage::{
        self, Conn,
        conversation_timers::{self as timers, TimerRow},
        sessions as stored,
    },
    wake::Topic,
};
use domain::conversation::{EndReason, Phase};
use uuid::Uuid;

/// Timers that are read at once.
const BATCH: i64 = 100;

/// Works off what is due. Says whether there may be more.
///
/// # Errors
/// What storage says while reading; a timer that fails by itself is put off.
pub async fn work_off(context: &Context) -> Result<bool> {
    let due = timers::due(&mut *context.db.conn().await?, context.clock.now(), BATCH).await?;
    let full = i64::try_from(due.len()).unwrap_or(BATCH) >= BATCH;
    for timer in &due {
        fire(context, timer).await?;
    }
    if !due.is_empty() {
        notifications::wake(context);
    }
    Ok(full)
}

async fn fire(context: &Context, timer: &TimerRow) -> Result<()> {
    let mut tx = context.db.begin().await?;
    match one(context, &mut tx, timer).await {
        Ok(()) => Ok(tx.commit().await.map_err(storage::Error::from)?),
        Err(Error::Storage(error)) if error.is_transient() => Err(error.into()),
        Err(error) => {
            drop(tx);
            let after = match timer.kind.as_str() {
                timers::HOUSEKEEPING => closing::again_after(),
                _ => TimeDelta::seconds(5 << timer.tries.clamp(0, 9)),
            };
            tracing::error!(
                timer.kind, timer.entity = %timer.entity, tries = timer.tries, error = %error,
                "something that is due of a conversation failed; it is tried again"
            );
            let conn = &mut *context.db.conn().await?;
            Ok(timers::put_off(conn, timer.entity, &timer.kind, context.clock.now() + after).await?)
        }
    }
}

async fn one(context: &Context, conn: &mut Conn, timer: &TimerRow) -> Result<()> {
    let by = By::system(context.clock.now());
    if timer.kind == timers::RECORD {
        return recording::record(context, conn, timer.entity, by).await;
    }
    let Some(mut held) = holding(conn, timer).await? else {
        return Ok(timers::disarm(conn, timer.entity, &timer.kind).await?);
    };
    if !timers::stands(conn, timer).await? {
        return Ok(());
    }
    match (timer.kind.as_str(), held.row.facts.phase) {
        (timers::HOUSEKEEPING, _) => closing::housekeeping(conn, &mut held, by).await,
        (_, Phase::Closing | Phase::Closed) => Ok(timers::disarm(conn, timer.entity, &timer.kind).await?),
        (timers::SESSION, Phase::Open) => inactivity::due(context, conn, &mut held, timer, by).await,
        (timers::IDLE, Phase::Open) => closing::idle(context, conn, &mut held, by).await,
        (timers::GONE, Phase::Open) => {
            timers::disarm(conn, timer.entity, timers::GONE).await?;
            closing::all_gone(conn, &mut held, by).await
        }
        _ => Ok(timers::disarm(conn, timer.entity, &timer.kind).await?),
    }
}

/// The timer's conversation; a session may have gone to another one since.
async fn holding(conn: &mut Conn, timer: &TimerRow) -> Result<Option<Held>> {
    let id = match timer.kind.as_str() {
        timers::SESSION => stored::find(conn, timer.entity).await?.map(|session| session.conversation_id),
        _ => timer.conversation_id,
    };
    let Some(id) = id else { return Ok(None) };
    match Held::of(conn, id).await {
        Ok(held) => Ok(Some(held)),
        Err(Error::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Ends the sessions of channels that are disabled or deleted, a page at a time. Says whether there may be more.
///
/// # Errors
/// What storage says.
pub async fn end_on_disabled(context: &Context) -> Result<bool> {
    let left = stored::on_disabled(&mut *context.lists.conn().await?, BATCH).await?;
    let full = i64::try_from(left.len()).unwrap_or(BATCH) >= BATCH;
    for id in left {
        end_one(context, id).await?;
        context.wake.signal(Topic::Events);
    }
    Ok(full)
}

async fn end_one(context: &Context, id: Uuid) -> Result<()> {
    let mut tx = context.db.begin().await?;
    let Some(session) = stored::find(&mut tx, id).await? else { return Ok(()) };
    let by = By::system(context.clock.now());
    let mut held = Held::of(&mut tx, session.conversation_id).await?;
    if let Some(session) = stored::find(&mut tx, id).await?.filter(|s| s.state.is_open()) {
        sessions::end(&mut tx, &mut held, &session, EndReason::ChannelDisabled, by).await?;
        closing::if_gone(context, &mut tx, &mut held, EndReason::ChannelDisabled.as_str(), by).await?;
    }
    Ok(tx.commit().await.map_err(storage::Error::from)?)
}
