//! Two conversations that turn out to be with one person: sessions, messages and whoever takes part go to the older one, and the two
//! contacts become one.

use domain::conversation::{EndReason, Event, Phase, closing::Cause};
use uuid::Uuid;

use super::{
    held::{By, Held, name_of},
    participants, sessions,
};
use crate::{
    services::{Error, Result},
    storage::{Conn, conversation_state, conversation_timers, identity, outside, participants as stored},
};

/// Merges two open conversations. The contact of the older one stays, unless it alone is anonymous. Says which conversation is left.
///
/// # Errors
/// [`Error::NotFound`], STATE_WRONG when one is over.
pub async fn conversations(conn: &mut Conn, one: Uuid, other: Uuid, by: By<'_>) -> Result<Uuid> {
    let mut contacts = Vec::with_capacity(2);
    for id in [one, other] {
        let contact = conversation_state::contact_of(conn, id).await?.ok_or_else(|| Error::NotFound(name_of(id)))?;
        contacts.push(contact);
    }
    let known = identity::lock(conn, &contacts).await?;
    let (first, second) = (one.min(other), one.max(other));
    let (a, b) = (Held::open(conn, first).await?, Held::open(conn, second).await?);
    let (older, younger) = if a.row.created_at <= b.row.created_at { (a, b) } else { (b, a) };
    let anonymous = |id: i64| known.iter().any(|who| who.id == id && who.anonymous);
    let (mut from, mut into) = (younger.row.contact_id, older.row.contact_id);
    if anonymous(into) && !anonymous(from) {
        (from, into) = (into, from);
    }
    let survivor = absorb(conn, older, younger, into, by).await?;
    if from != into {
        identity::merge(conn, from, into, by.at).await?;
    }
    Ok(survivor)
}

/// An anonymous contact turned out to be a known one; both are locked. Its open conversation becomes the known contact's, or merges
/// with that: into the older of the two.
///
/// # Errors
/// What storage says.
pub async fn contacts(conn: &mut Conn, anonymous: i64, known: i64, by: By<'_>) -> Result<()> {
    // Rows of one kind are locked by ascending id.
    let mut open = Vec::with_capacity(2);
    for contact in [anonymous.min(known), anonymous.max(known)] {
        open.extend(conversation_state::lock_open(conn, contact).await?.map(Held::from));
    }
    match (open.pop(), open.pop()) {
        (Some(a), Some(b)) => {
            let (older, younger) = if a.row.created_at <= b.row.created_at { (a, b) } else { (b, a) };
            absorb(conn, older, younger, known, by).await?;
        }
        (Some(only), None) if only.row.contact_id == anonymous => {
            conversation_state::give_to(conn, only.id(), known).await?;
        }
        (Some(_) | None, _) => {}
    }
    Ok(identity::merge(conn, anonymous, known, by.at).await?)
}

/// The younger conversation goes into the older one, which is with `contact` from now on.
async fn absorb(conn: &mut Conn, mut older: Held, mut younger: Held, contact: i64, by: By<'_>) -> Result<Uuid> {
    let (from, into) = (younger.id(), older.id());
    conversation_state::move_messages(conn, from, into, older.row.last_seq).await?;
    conversation_state::move_rest(conn, from, into).await?;
    outside::give_to(conn, from, into, by.at).await?;
    let sessions_moved = crate::storage::sessions::give_to(conn, from, into).await?;
    let agents_moved = stored::give_to(conn, from, into).await?;
    for _ in 0..sessions_moved {
        older.apply(Event::SessionStarted { resume: true });
    }
    for _ in 0..agents_moved {
        older.apply(Event::AgentJoined);
    }
    if younger.row.last_message_at > older.row.last_message_at {
        older.row.active_channel_id = younger.row.active_channel_id;
    }
    older.row.version += 1;
    // The younger one is over first: of one contact only one may be open.
    sessions::end_all(conn, &younger, EndReason::ConversationClosed, by).await?;
    participants::all_leave(conn, &younger, "MERGED", by).await?;
    younger.apply(Event::ForceClose);
    younger.apply(Event::HousekeepingDone);
    debug_assert_eq!(younger.row.facts.phase, Phase::Closed);
    younger.row.close_reason = Some(Cause::Merged.as_str().to_owned());
    younger.settle(conn, Cause::Merged.as_str(), by).await?;
    conversation_state::closed_by(conn, from, by.actor, Some(into)).await?;
    for kind in [conversation_timers::GONE, conversation_timers::IDLE] {
        conversation_timers::disarm(conn, from, kind).await?;
    }
    if older.row.contact_id != contact {
        conversation_state::give_to(conn, into, contact).await?;
    }
    older.settle(conn, Cause::Merged.as_str(), by).await?;
    Ok(into)
}
