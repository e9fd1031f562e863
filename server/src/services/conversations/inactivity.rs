//! A contact who does not answer: warned, and then taken as gone.

use domain::{
    conversation::{
        EndReason, Intent,
        inactivity::{Clock, Due, next},
        session::{self, State},
    },
    message::Content,
};

use super::{
    closing,
    held::{By, Held},
    saying, sessions,
};
use crate::{
    services::{Context, Result},
    storage::{
        Conn,
        conversation_state::{self, Note},
        conversation_timers::{self, TimerRow},
        participants,
        sessions::SessionRow,
    },
};

/// The timer of a session fired: the conversation is held, the timer stands.
///
/// # Errors
/// What storage says.
pub(super) async fn due(
    context: &Context,
    conn: &mut Conn,
    held: &mut Held,
    timer: &TimerRow,
    by: By<'_>,
) -> Result<()> {
    conversation_timers::disarm(conn, timer.entity, conversation_timers::SESSION).await?;
    let Some(mut session) = crate::storage::sessions::find(conn, timer.entity).await? else { return Ok(()) };
    if session.generation != timer.generation || session.conversation_id != held.id() {
        return Ok(());
    }
    // Paused clocks run again from their beginning, when the pause ends.
    let paused = held.row.hold || participants::is_queued(conn, held.id()).await?;
    let snapshot = context.directory.snapshot(&context.side).await?;
    let rule = sessions::rule(&snapshot, session.channel_id);
    let clock = Clock { state: session.state, silent_since: session.silent_since, paused };
    match next(rule, clock, by.at) {
        Due::Nothing => {}
        Due::Warning(at) if at <= by.at => warn(context, conn, held, &mut session, by).await?,
        Due::Expiry(at) if at <= by.at => {
            sessions::end(conn, held, &session, EndReason::CustomerInactivity, by).await?;
            closing::if_gone(context, conn, held, EndReason::CustomerInactivity.as_str(), by).await?;
        }
        Due::Warning(_) | Due::Expiry(_) => sessions::arm(context, conn, held, &session, by.at).await?,
    }
    Ok(())
}

/// Warns: in words where the channel has some, and in any case by the intent, so that a controller can.
async fn warn(context: &Context, conn: &mut Conn, held: &mut Held, session: &mut SessionRow, by: By<'_>) -> Result<()> {
    session.state = session.state.after(session::Event::WarningDue).unwrap_or(State::Expiring);
    session.generation += 1;
    crate::storage::sessions::set_clock(conn, session).await?;
    let note = Note {
        intent: Some(Intent::InactivityWarning.as_str()),
        ..sessions::about(held, session.id, session.channel_id, by, "expiring")
    };
    conversation_state::note(conn, &note).await?;
    sessions::arm(context, conn, held, session, by.at).await?;
    let snapshot = context.directory.snapshot(&context.side).await?;
    let words = snapshot.channel(session.channel_id).and_then(|c| c.row.talk.warning_text.clone());
    if let Some(text) = words {
        let place = sessions::Place { channel_id: session.channel_id, address_id: session.address_id };
        saying::say_at(context, conn, held, place, Content::Text { text }, None, by).await?;
    }
    Ok(())
}
