//! What is asked of a conversation by request, each in one unit of work: create, change, hold, resume, set the active channel, close,
//! end a session, let participants come and go.

use domain::conversation::{EndReason, Intent, closing::Cause, session};
use serde_json::json;
use uuid::Uuid;

use super::{
    Conversation, closing, get_in,
    held::{By, Held, name_of},
    merging, opening,
    participants::{self, Joining, Participant},
    saying,
    sessions::{self, Place},
};
pub use crate::storage::conversation_state::Change;
use crate::{
    services::{Context, Error, Result, contacts::ContactName, etag, work::Work},
    storage::{
        conversation_state::{self, Note, Shown},
        participants as stored_participants, recipients,
        sessions::SessionRow,
    },
    wake::Topic,
};

/// A conversation that we begin.
#[derive(Debug, Clone)]
pub struct New {
    /// With whom.
    pub contact: ContactName,
    /// The slug of the channel; none: the usual one.
    pub channel: Option<String>,
    /// Its priority, labels and attributes.
    pub change: Change,
}

/// Begins a conversation from our side: a session on the channel, in which nothing is said yet.
///
/// # Errors
/// [`Error::NotFound`], [`Error::AlreadyExists`] when one is open with this contact, NOT_REACHABLE.
pub async fn create(context: &Context, work: &mut Work, new: New) -> Result<Conversation> {
    let who = work.who();
    let by = By::of(&who);
    let contact = saying::contact(work.conn(), &new.contact).await?;
    if let Some(open) = conversation_state::lock_open(work.conn(), contact).await? {
        return Err(Error::AlreadyExists(name_of(open.id)));
    }
    let snapshot = context.directory.snapshot(&context.side).await?;
    let channel = match &new.channel {
        Some(slug) => saying::named(&snapshot, slug)?,
        None => saying::usual(work.conn(), &snapshot, contact).await?,
    };
    let facts = recipients::load(work.conn(), &[contact]).await?;
    let kinds = channel.channel_type().address_kinds();
    let addresses = facts.get(&contact).map(|r| r.addresses.as_slice()).unwrap_or_default();
    let address = kinds.iter().find_map(|kind| addresses.iter().find(|a| a.kind == *kind && !a.suppressed));
    let Some(address) = address else {
        let message = format!("the contact has no address that channels/{} reaches", channel.row.slug);
        return Err(Error::WrongState { reason: "NOT_REACHABLE", message });
    };
    let place = Place { channel_id: channel.row.id, address_id: address.id };
    let (mut held, _) = opening::ensure(context, work.conn(), contact, place.channel_id, by).await?;
    sessions::we_write(context, work.conn(), &mut held, place, by).await?;
    held.settle(work.conn(), "CREATED_BY_REQUEST", by).await?;
    conversation_state::change(work.conn(), held.id(), &filled(new.change), by.at).await?;
    shown(work, held.id()).await
}

/// Changes priority, labels and attributes.
///
/// # Errors
/// [`Error::NotFound`], [`Error::EtagMismatch`], STATE_WRONG when it is closed.
pub async fn update(work: &mut Work, id: Uuid, change: Change, etag: &str) -> Result<Conversation> {
    let who = work.who();
    let by = By::of(&who);
    let held = open(work, id, etag).await?;
    conversation_state::change(work.conn(), id, &filled(change), by.at).await?;
    say(work, &held, "updated", None, by).await?;
    shown(work, id).await
}

/// Puts a conversation on hold: the contact is the one who waits, and no clock of its sessions runs.
///
/// # Errors
/// As [`update`].
pub async fn hold(work: &mut Work, id: Uuid, etag: &str) -> Result<Conversation> {
    let who = work.who();
    let by = By::of(&who);
    let mut held = open(work, id, etag).await?;
    if !held.row.hold {
        held.row.hold = true;
        held.row.version += 1;
        held.settle(work.conn(), "HELD", by).await?;
        say(work, &held, "held", Some(Intent::Held), by).await?;
    }
    shown(work, id).await
}

/// Goes on after a hold: the clocks begin anew.
///
/// # Errors
/// As [`update`].
pub async fn resume(context: &Context, work: &mut Work, id: Uuid, etag: &str) -> Result<Conversation> {
    let who = work.who();
    let by = By::of(&who);
    let mut held = open(work, id, etag).await?;
    if held.row.hold {
        held.row.hold = false;
        held.row.version += 1;
        held.settle(work.conn(), "RESUMED", by).await?;
        sessions::run_again(context, work.conn(), &held, by.at).await?;
        say(work, &held, "resumed", Some(Intent::Resumed), by).await?;
    }
    shown(work, id).await
}

/// Sets the channel that is used where none is named.
///
/// # Errors
/// As [`update`], [`Error::ReferenceNotFound`], NOT_REACHABLE.
pub async fn set_active_channel(
    context: &Context,
    work: &mut Work,
    id: Uuid,
    slug: &str,
    etag: &str,
) -> Result<Conversation> {
    let who = work.who();
    let by = By::of(&who);
    let mut held = open(work, id, etag).await?;
    let snapshot = context.directory.snapshot(&context.side).await?;
    let channel = saying::named(&snapshot, slug)?;
    if held.row.active_channel_id != channel.row.id {
        let kinds = channel.channel_type().address_kinds();
        let facts = recipients::load(work.conn(), &[held.row.contact_id]).await?;
        let reaches =
            facts.get(&held.row.contact_id).is_some_and(|r| r.addresses.iter().any(|a| kinds.contains(&a.kind)));
        if !reaches {
            let message = format!("the contact has no address that channels/{slug} reaches");
            return Err(Error::WrongState { reason: "NOT_REACHABLE", message });
        }
        held.row.active_channel_id = channel.row.id;
        held.row.version += 1;
        held.settle(work.conn(), "ACTIVE_CHANNEL_SET", by).await?;
        say(work, &held, "active_channel_set", None, by).await?;
    }
    shown(work, id).await
}

/// Closes a conversation. One that is closing or closed stays as it is.
///
/// # Errors
/// [`Error::NotFound`], [`Error::EtagMismatch`], OBLIGATIONS_OPEN.
pub async fn close(work: &mut Work, id: Uuid, etag: &str) -> Result<Conversation> {
    let who = work.who();
    let by = By::of(&who);
    let mut held = any(work, id, etag).await?;
    closing::request(work.conn(), &mut held, Cause::Requested, by).await?;
    shown(work, id).await
}

/// Closes a conversation and cancels what is owed.
///
/// # Errors
/// [`Error::NotFound`], [`Error::EtagMismatch`].
pub async fn force_close(work: &mut Work, id: Uuid, etag: &str) -> Result<Conversation> {
    let who = work.who();
    let by = By::of(&who);
    let mut held = any(work, id, etag).await?;
    closing::force(work.conn(), &mut held, by).await?;
    shown(work, id).await
}

/// Makes one conversation of two, and one contact of their two.
///
/// # Errors
/// [`Error::NotFound`], STATE_WRONG when one is over.
pub async fn merge(work: &mut Work, one: Uuid, other: Uuid) -> Result<Conversation> {
    let who = work.who();
    let by = By::of(&who);
    if one == other {
        return Err(Error::invalid("other", "is the same conversation"));
    }
    let survivor = merging::conversations(work.conn(), one, other, by).await?;
    shown(work, survivor).await
}

/// Ends one channel session. One that has ended stays as it is.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn end_session(context: &Context, work: &mut Work, id: Uuid, reason: EndReason) -> Result<SessionRow> {
    let who = work.who();
    let by = By::of(&who);
    let missing = || Error::NotFound(sessions::name_of(id));
    let found = crate::storage::sessions::find(work.conn(), id).await?.ok_or_else(missing)?;
    let mut held = Held::of(work.conn(), found.conversation_id).await?;
    // Read again under the lock.
    let found = crate::storage::sessions::find(work.conn(), id).await?.ok_or_else(missing)?;
    if found.state != session::State::Ended {
        sessions::end(work.conn(), &mut held, &found, reason, by).await?;
        closing::if_gone(context, work.conn(), &mut held, reason.as_str(), by).await?;
    }
    woken(work);
    crate::storage::sessions::find(work.conn(), id).await?.ok_or_else(missing)
}

/// Lets someone join a conversation.
///
/// # Errors
/// [`Error::NotFound`], STATE_WRONG.
pub async fn add_participant(work: &mut Work, id: Uuid, who: &Joining) -> Result<Participant> {
    let acting = work.who();
    let by = By::of(&acting);
    let mut held = Held::open(work.conn(), id).await?;
    woken(work);
    participants::join(work.conn(), &mut held, who, by).await
}

/// Lets a participant leave.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn remove_participant(context: &Context, work: &mut Work, id: Uuid, reason: &str) -> Result<Participant> {
    let acting = work.who();
    let by = By::of(&acting);
    let (mut held, who) = participant(work, id).await?;
    participants::leave(context, work.conn(), &mut held, &who, reason, by).await?;
    woken(work);
    Ok(participant_of(work, id).await?.unwrap_or(who))
}

/// Gives a participant another role.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Invalid`], STATE_WRONG.
pub async fn change_role(
    context: &Context,
    work: &mut Work,
    id: Uuid,
    role: domain::conversation::Role,
) -> Result<Participant> {
    let acting = work.who();
    let by = By::of(&acting);
    let (mut held, who) = participant(work, id).await?;
    woken(work);
    participants::change_role(context, work.conn(), &mut held, &who, role, by).await
}

async fn participant(work: &mut Work, id: Uuid) -> Result<(Held, Participant)> {
    let missing = || Error::NotFound(format!("participants/{id}"));
    let found = participant_of(work, id).await?.ok_or_else(missing)?;
    let held = Held::of(work.conn(), found.conversation_id).await?;
    Ok((held, participant_of(work, id).await?.ok_or_else(missing)?))
}

async fn participant_of(work: &mut Work, id: Uuid) -> Result<Option<Participant>> {
    Ok(stored_participants::find(work.conn(), id).await?)
}

async fn any(work: &mut Work, id: Uuid, etag: &str) -> Result<Held> {
    let held = Held::of(work.conn(), id).await?;
    etag::check(&name_of(id), etag, held.row.version)?;
    woken(work);
    Ok(held)
}

async fn open(work: &mut Work, id: Uuid, etag: &str) -> Result<Held> {
    let held = Held::open(work.conn(), id).await?;
    etag::check(&name_of(id), etag, held.row.version)?;
    woken(work);
    Ok(held)
}

fn woken(work: &mut Work) {
    work.wake(Topic::Events);
    work.wake(Topic::Conversations);
    work.wake(Topic::Relay);
}

async fn say(work: &mut Work, held: &Held, word: &str, intent: Option<Intent>, by: By<'_>) -> Result<()> {
    let upper = word.to_uppercase();
    let note = Note {
        conversation_id: held.id(),
        kind: "conversation",
        id: held.id(),
        r#type: word,
        from: None,
        to: None,
        cause: "",
        actor: by.actor,
        channel_id: (word == "active_channel_set").then_some(held.row.active_channel_id),
        intent: intent.map(Intent::as_str),
        data: json!({}),
        shown: intent.map(|_| Shown { kind: "state_changed", subject: name_of(held.id()), word: &upper }),
        at: by.at,
    };
    Ok(conversation_state::note(work.conn(), &note).await?)
}

fn filled(mut change: Change) -> Change {
    if change.attribute.is_null() {
        change.attribute = json!({});
    }
    change
}

async fn shown(work: &mut Work, id: Uuid) -> Result<Conversation> {
    work.wake(Topic::Events);
    work.wake(Topic::Conversations);
    get_in(work.conn(), id).await
}
