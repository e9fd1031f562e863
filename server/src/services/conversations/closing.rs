//! Closing: asked for, insisted on, by rule, or because everybody is gone. CLOSING ends who is left and refuses who comes; what is
//! put away then is put away by `housekeeping`, and only that makes it CLOSED.

use chrono::TimeDelta;
use domain::{
    conversation::{
        EndReason, Event, Phase, State,
        closing::{Cause, Obligation, Standing, WATCHDOG, in_the_way},
        inactivity,
    },
    delivery::Work,
    notification::{self, Reason},
};
use uuid::Uuid;

use super::{
    held::{By, Held, name_of},
    obligations, opening, participants, sessions,
};
use crate::{
    services::{Context, Error, Result},
    storage::{
        Conn, conversation_state,
        conversation_timers::{self, TimerRow},
        deciding, participants as stored, planning,
    },
};

/// How soon one looks again at a conversation that cannot be closed by rule yet.
const LOOK_AGAIN: TimeDelta = TimeDelta::minutes(10);

/// Closes a conversation that someone asks to close. One that is closing or closed stays as it is.
///
/// # Errors
/// OBLIGATIONS_OPEN with everything that stands in the way.
pub async fn request(conn: &mut Conn, held: &mut Held, cause: Cause, by: By<'_>) -> Result<()> {
    if held.row.facts.phase != Phase::Open {
        return Ok(());
    }
    let reasons = in_the_way(cause, &standing(conn, held).await?);
    if !reasons.is_empty() {
        let message = format!("{} cannot be closed: {}", name_of(held.id()), reasons.join("; "));
        return Err(Error::WrongState { reason: "OBLIGATIONS_OPEN", message });
    }
    if held.apply(Event::CloseRequested { wrap_up: false }) {
        put_away(conn, held, cause, by).await?;
    }
    Ok(())
}

/// Closes it if nothing stands in the way. Says whether it did.
///
/// # Errors
/// What storage says.
pub async fn close_if_free(conn: &mut Conn, held: &mut Held, cause: Cause, by: By<'_>) -> Result<bool> {
    match request(conn, held, cause, by).await {
        Ok(()) => Ok(true),
        Err(Error::WrongState { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Closes a conversation whatever is owed: that is cancelled.
///
/// # Errors
/// What storage says.
pub async fn force(conn: &mut Conn, held: &mut Held, by: By<'_>) -> Result<()> {
    if held.row.facts.phase != Phase::Open {
        return Ok(());
    }
    for (kind, subject) in stored::owed(conn, held.id(), held.row.contact_id).await? {
        if let Ok(kind) = kind.parse::<Obligation>() {
            obligations::say(conn, held, "obligation_cancelled", kind, &subject, by).await?;
        }
    }
    let waiting = stored::waiting_notifications(conn, held.id(), held.row.contact_id).await?;
    cancel_notifications(conn, &waiting, by).await?;
    if held.apply(Event::ForceClose) {
        put_away(conn, held, Cause::Forced, by).await?;
    }
    Ok(())
}

/// What follows when a session ended or an agent left: the facts are written, and where nobody is left the conversation is closed,
/// at once or after the time in which the contact may come back.
///
/// # Errors
/// What storage says.
pub async fn if_gone(context: &Context, conn: &mut Conn, held: &mut Held, cause: &str, by: By<'_>) -> Result<()> {
    held.settle(conn, cause, by).await?;
    if held.state() != State::CustomerLeft || held.row.facts.agents > 0 {
        return Ok(());
    }
    let snapshot = context.directory.snapshot(&context.side).await?;
    let channel = snapshot.channel(held.row.active_channel_id);
    let grace = channel.and_then(|c| match c.row.talk.reconnect_secs {
        Some(secs) => Some(TimeDelta::seconds(secs.into())),
        None => inactivity::reconnect_default(c.channel_type()),
    });
    match grace.filter(|grace| *grace > TimeDelta::zero()) {
        Some(grace) => arm(conn, held, conversation_timers::GONE, by.at + grace).await,
        None => all_gone(conn, held, by).await,
    }
}

/// Contact and agents are gone and nobody is waited for any more. While something is owed, one looks again later.
///
/// # Errors
/// What storage says.
pub(super) async fn all_gone(conn: &mut Conn, held: &mut Held, by: By<'_>) -> Result<()> {
    if held.state() != State::CustomerLeft || held.row.facts.agents > 0 {
        return conversation_timers::disarm(conn, held.id(), conversation_timers::GONE).await.map_err(Error::from);
    }
    if !in_the_way(Cause::AllGone, &standing(conn, held).await?).is_empty() {
        return arm(conn, held, conversation_timers::GONE, by.at + LOOK_AGAIN).await;
    }
    if held.apply(Event::AllGone) {
        put_away(conn, held, Cause::AllGone, by).await?;
    }
    Ok(())
}

/// Nothing was said for long, as far as the timer knows.
///
/// # Errors
/// What storage says.
pub(super) async fn idle(context: &Context, conn: &mut Conn, held: &mut Held, by: By<'_>) -> Result<()> {
    let Some(after) = opening::idle(context).filter(|_| held.row.facts.phase == Phase::Open) else {
        return Ok(conversation_timers::disarm(conn, held.id(), conversation_timers::IDLE).await?);
    };
    let due = held.row.last_message_at.unwrap_or(held.row.created_at) + after;
    if due > by.at {
        return arm(conn, held, conversation_timers::IDLE, due).await;
    }
    match close_if_free(conn, held, Cause::Idle, by).await? {
        true => Ok(()),
        false => arm(conn, held, conversation_timers::IDLE, by.at + LOOK_AGAIN * 6).await,
    }
}

/// Ends who is left and orders the housekeeping: the facts say already that it is closing.
async fn put_away(conn: &mut Conn, held: &mut Held, cause: Cause, by: By<'_>) -> Result<()> {
    sessions::end_all(conn, held, EndReason::ConversationClosed, by).await?;
    participants::all_leave(conn, held, EndReason::ConversationClosed.as_str(), by).await?;
    stored::settle_all(conn, held.id()).await?;
    for kind in [conversation_timers::GONE, conversation_timers::IDLE] {
        conversation_timers::disarm(conn, held.id(), kind).await?;
    }
    held.row.close_reason = Some(cause.as_str().to_owned());
    held.row.version += 1;
    held.settle(conn, cause.as_str(), by).await?;
    conversation_state::closed_by(conn, held.id(), by.actor, None).await?;
    arm(conn, held, conversation_timers::HOUSEKEEPING, by.at).await
}

/// Ends a closing conversation: nothing happens in it any more. The archive takes it from here, by itself and much later
/// ([`crate::services::archive`]): receipts and late answers speak of it for weeks, and what waits for a file store must not keep
/// the contact's place taken. An error leaves the conversation CLOSING, and the watchdog comes back to it.
///
/// # Errors
/// What storage says.
pub(super) async fn housekeeping(conn: &mut Conn, held: &mut Held, by: By<'_>) -> Result<()> {
    if held.apply(Event::HousekeepingDone) {
        held.settle(conn, "HOUSEKEEPING_DONE", by).await?;
    }
    Ok(conversation_timers::disarm(conn, held.id(), conversation_timers::HOUSEKEEPING).await?)
}

/// When a housekeeping that failed is tried again, and said to be late.
pub(super) const fn again_after() -> TimeDelta {
    WATCHDOG
}

async fn arm(conn: &mut Conn, held: &Held, kind: &str, due_at: chrono::DateTime<chrono::Utc>) -> Result<()> {
    let timer = TimerRow {
        entity: held.id(),
        kind: kind.to_owned(),
        conversation_id: Some(held.id()),
        due_at,
        generation: 0,
        tries: 0,
    };
    Ok(conversation_timers::arm(conn, &timer).await?)
}

async fn standing(conn: &mut Conn, held: &mut Held) -> Result<Standing> {
    let owed = stored::owed(conn, held.id(), held.row.contact_id).await?;
    held.row.facts.obligations = u32::try_from(owed.len()).unwrap_or(u32::MAX);
    Ok(Standing {
        owed: owed.into_iter().map(|(_, subject)| subject).collect(),
        agents: held.row.facts.agents,
        hold: held.row.hold,
    })
}

/// Takes back the notifications that keep a conversation open; in the order of locks, the conversation is held.
async fn cancel_notifications(conn: &mut Conn, ids: &[Uuid], by: By<'_>) -> Result<()> {
    let because = Reason::CancelledByOwner.as_str();
    let locked = deciding::lock(conn, ids, false).await?;
    let moves: Vec<planning::Move> = locked
        .into_iter()
        .filter_map(|n| {
            Some(planning::Move {
                id: n.id,
                campaign_id: n.campaign_id,
                from: n.state,
                to: n.state.after(notification::Event::Cancelled)?,
                step: n.step,
                reason: Some(because.to_owned()),
                answered_by: None,
                late: false,
            })
        })
        .collect();
    let ids: Vec<Uuid> = moves.iter().map(|m| m.id).collect();
    if ids.is_empty() {
        return Ok(());
    }
    planning::cancel_queued(conn, &ids, Work::Cancelled, because, by.at).await?;
    planning::move_notifications(conn, &moves, by.at).await?;
    planning::leave_call_lists(conn, &ids, by.at).await?;
    Ok(planning::disarm_timers(conn, &ids).await?)
}
