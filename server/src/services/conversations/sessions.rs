//! Channel sessions: the contact comes by one, is written to in one, and goes. The conversation is held by the caller, who settles
//! it afterwards.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use domain::conversation::{
    EndReason, Event, Intent,
    active::{OpenSession, after_end},
    inactivity::{self, Clock, Rule},
    session::{self, State},
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::held::{By, Held};
use crate::{
    services::{Context, Result, directory::Snapshot},
    storage::{
        Conn,
        conversation_state::{self, Note, Shown},
        conversation_timers::{self, TimerRow},
        participants,
        sessions::{self, NewSession, SessionRow},
    },
};

/// Where a contact is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The channel.
    pub channel_id: i32,
    /// The contact's address on it.
    pub address_id: i64,
}

/// The name of a channel session in the contract.
#[must_use]
pub fn name_of(id: Uuid) -> String {
    format!("channelSessions/{id}")
}

/// The contact writes: its session there goes on, or begins, and the channel becomes the active one. Says which session, and
/// whether it is new.
///
/// # Errors
/// What storage says.
pub async fn contact_writes(
    conn: &mut Conn,
    held: &mut Held,
    place: Place,
    data: &Value,
    by: By<'_>,
) -> Result<(Uuid, bool)> {
    held.row.active_channel_id = place.channel_id;
    if let Some(id) = sessions::contact_wrote(conn, held.id(), place.channel_id, place.address_id, data, by.at).await? {
        return Ok((id, false));
    }
    Ok((start(conn, held, place, Began::Wrote, data, by).await?, true))
}

/// The contact is there, and has said nothing yet: its session goes on, or begins. Where it is met nowhere else, the channel
/// becomes the active one; else only its words move that. Says which session, and whether it is new.
///
/// # Errors
/// What storage says.
pub async fn contact_comes(
    conn: &mut Conn,
    held: &mut Held,
    place: Place,
    data: &Value,
    by: By<'_>,
) -> Result<(Uuid, bool)> {
    if let Some(id) = sessions::contact_came(conn, held.id(), place.channel_id, place.address_id, data).await? {
        return Ok((id, false));
    }
    if held.row.facts.sessions == 0 {
        held.row.active_channel_id = place.channel_id;
    }
    Ok((start(conn, held, place, Began::Came, data, by).await?, true))
}

/// We write: the session there goes on, or begins; its clock runs from now on if the contact has written in it. Says which.
///
/// # Errors
/// What storage says.
pub async fn we_write(context: &Context, conn: &mut Conn, held: &mut Held, place: Place, by: By<'_>) -> Result<Uuid> {
    let Some(mut session) = sessions::find_open(conn, held.id(), place.channel_id, place.address_id).await? else {
        return start(conn, held, place, Began::WrittenTo, &json!({}), by).await;
    };
    session.last_at = session.last_at.max(by.at);
    session.state = session.state.after(session::Event::Outbound).unwrap_or(session.state);
    // The warning is a message of ours too: it moves no expiry.
    if session.wrote && session.state == State::Active {
        session.silent_since = Some(by.at);
        session.generation += 1;
        arm(context, conn, held, &session, by.at).await?;
    }
    sessions::set_clock(conn, &session).await?;
    Ok(session.id)
}

/// How a session begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Began {
    /// The contact wrote.
    Wrote,
    /// The contact is there.
    Came,
    /// We wrote.
    WrittenTo,
}

/// A session begins.
async fn start(conn: &mut Conn, held: &mut Held, place: Place, began: Began, data: &Value, by: By<'_>) -> Result<Uuid> {
    let id = Uuid::now_v7();
    let Place { channel_id, address_id } = place;
    let (inbound, wrote) = (began != Began::WrittenTo, began == Began::Wrote);
    let new = NewSession { id, conversation_id: held.id(), channel_id, address_id, inbound, wrote, data };
    sessions::begin(conn, &new, by.at).await?;
    held.apply(Event::SessionStarted { resume: true });
    conversation_timers::disarm(conn, held.id(), conversation_timers::GONE).await?;
    let direction = if inbound { "INBOUND" } else { "OUTBOUND" };
    let note = Note {
        r#type: "started",
        intent: Some(Intent::SessionStarted.as_str()),
        data: json!({"direction": direction}),
        ..about(held, id, place.channel_id, by, "started")
    };
    conversation_state::note(conn, &note).await?;
    Ok(id)
}

/// Ends a session of a conversation; one that is over already stays as it is. The active channel moves on where it was its last.
///
/// # Errors
/// What storage says.
pub async fn end(conn: &mut Conn, held: &mut Held, session: &SessionRow, reason: EndReason, by: By<'_>) -> Result<()> {
    if session.state.after(session::Event::EndedBySomeone).is_none() {
        return Ok(());
    }
    put_end(conn, held, session, reason, by).await?;
    held.apply(Event::SessionEnded { wrap_up: false });
    let open = sessions::open_of(conn, held.id()).await?;
    let open: Vec<OpenSession> =
        open.iter().map(|s| OpenSession { channel_id: s.channel_id, last_at: s.last_at }).collect();
    held.row.active_channel_id = after_end(held.row.active_channel_id, session.channel_id, &open);
    Ok(())
}

/// Ends every session that is left in a conversation whose facts say already that nobody is there.
///
/// # Errors
/// What storage says.
pub async fn end_all(conn: &mut Conn, held: &Held, reason: EndReason, by: By<'_>) -> Result<()> {
    for session in sessions::open_of(conn, held.id()).await? {
        put_end(conn, held, &session, reason, by).await?;
    }
    Ok(())
}

async fn put_end(conn: &mut Conn, held: &Held, session: &SessionRow, reason: EndReason, by: By<'_>) -> Result<()> {
    sessions::end(conn, session.id, reason.as_str(), by.actor, by.at).await?;
    conversation_timers::disarm(conn, session.id, conversation_timers::SESSION).await?;
    let note = Note {
        r#type: "ended",
        from: Some(session.state.as_str()),
        cause: reason.as_str(),
        intent: Some(Intent::SessionEnded.as_str()),
        ..about(held, session.id, session.channel_id, by, "ended")
    };
    Ok(conversation_state::note(conn, &note).await?)
}

/// What is said of a session.
pub(super) fn about<'a>(held: &Held, id: Uuid, channel_id: i32, by: By<'a>, word: &'a str) -> Note<'a> {
    Note {
        conversation_id: held.id(),
        kind: "channel_session",
        id,
        r#type: word,
        from: None,
        to: None,
        cause: "",
        actor: by.actor,
        channel_id: Some(channel_id),
        intent: None,
        data: json!({}),
        shown: Some(Shown { kind: "channel_session", subject: name_of(id), word }),
        at: by.at,
    }
}

/// How sessions of a channel expire.
#[must_use]
pub fn rule(snapshot: &Arc<Snapshot>, channel_id: i32) -> Rule {
    let Some(channel) = snapshot.channel(channel_id) else { return Rule { timeout: None, warning_percent: None } };
    let (given, usual) = (&channel.row.talk, Rule::default_of(channel.channel_type()));
    let timeout = match given.inactivity_secs {
        Some(0) => None,
        Some(secs) => Some(TimeDelta::seconds(secs.into())),
        None => usual.timeout,
    };
    let warning_percent = match given.warning_percent {
        Some(0) => None,
        Some(percent) => Some(percent.into()),
        None => usual.warning_percent,
    };
    Rule { timeout, warning_percent }
}

/// Arms the timer of a session for what is due next.
pub(super) async fn arm(
    context: &Context,
    conn: &mut Conn,
    held: &Held,
    session: &SessionRow,
    now: DateTime<Utc>,
) -> Result<()> {
    let snapshot = context.directory.snapshot(&context.side).await?;
    let clock = Clock { state: session.state, silent_since: session.silent_since, paused: held.row.hold };
    let due = inactivity::next(rule(&snapshot, session.channel_id), clock, now).at();
    let Some(due_at) = due else { return Ok(()) };
    let timer = TimerRow {
        entity: session.id,
        kind: conversation_timers::SESSION.to_owned(),
        conversation_id: Some(held.id()),
        due_at,
        generation: session.generation,
        tries: 0,
    };
    Ok(conversation_timers::arm(conn, &timer).await?)
}

/// Lets the clocks of a conversation run again after a pause, each from the beginning: the contact was not the one who was slow.
///
/// # Errors
/// What storage says.
pub async fn run_again(context: &Context, conn: &mut Conn, held: &Held, now: DateTime<Utc>) -> Result<()> {
    if held.row.hold || participants::is_queued(conn, held.id()).await? {
        return Ok(());
    }
    for mut session in sessions::open_of(conn, held.id()).await? {
        if session.silent_since.is_some() {
            session.silent_since = Some(now);
            session.state = State::Active;
            session.generation += 1;
            sessions::set_clock(conn, &session).await?;
            arm(context, conn, held, &session, now).await?;
        }
    }
    Ok(())
}
