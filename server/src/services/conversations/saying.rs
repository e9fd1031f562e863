//! Saying something in a conversation: on the active channel, or on another one without moving it.

use chrono::TimeDelta;
use domain::{
    channel::{ChannelType, Lane},
    consent::{self, Consent},
    message::Content,
    template::limits,
};
use uuid::Uuid;

use super::{
    held::{By, Held},
    opening,
    sessions::{self, Place},
};
use crate::{
    services::{
        Context, Error, Result, Violation,
        contacts::{self, ContactName},
        directory::{Channel, Snapshot},
        error::all_right,
        messages::{self, Message},
        outgoing,
        work::Work,
    },
    storage::{
        Conn, inbound,
        recipients::{self, AddressRow},
    },
    wake::Topic,
};

/// How long after a person's message WhatsApp takes anything but an approved template.
const SERVICE_WINDOW: TimeDelta = TimeDelta::hours(24);

/// To whom something is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    /// In a conversation that is open.
    Conversation(Uuid),
    /// To a contact, in the open conversation or a new one.
    Contact(ContactName),
}

/// What is to be said.
#[derive(Debug, Clone)]
pub struct Draft {
    /// To whom.
    pub to: To,
    /// The slug of the channel; none: the active one.
    pub channel: Option<String>,
    /// What.
    pub content: Content,
    /// The message that it answers.
    pub in_reply_to: Option<Uuid>,
}

/// Says something, in the caller's unit of work.
///
/// # Errors
/// [`Error::NotFound`], [`Error::ReferenceNotFound`], [`Error::Invalid`] when the content does not fit the channel, STATE_WRONG when
/// the conversation is over or the channel cannot be used, NOT_REACHABLE, WINDOW_CLOSED.
pub async fn send(context: &Context, work: &mut Work, draft: Draft) -> Result<Message> {
    let who = work.who();
    let by = By::of(&who);
    let snapshot = context.directory.snapshot(&context.side).await?;
    let (mut held, channel) = whereto(context, work.conn(), &snapshot, &draft, by).await?;
    fits(channel.channel_type(), &draft.content)?;
    let address = reachable(work.conn(), &held, channel, &draft.content, by).await?;
    if let Some(answered) = draft.in_reply_to {
        belongs(work.conn(), &held, answered).await?;
    }
    let place = Place { channel_id: channel.row.id, address_id: address };
    let id = say_at(context, work.conn(), &mut held, place, draft.content, draft.in_reply_to, by).await?;
    held.settle(work.conn(), "MESSAGE_SENT", by).await?;
    work.wake(Topic::Relay);
    work.wake(Topic::Events);
    messages::load(work.conn(), &[id]).await?.pop().ok_or_else(|| Error::NotFound(format!("messages/{id}")))
}

/// The conversation, held, and the channel to use.
async fn whereto<'a>(
    context: &Context,
    conn: &mut Conn,
    snapshot: &'a Snapshot,
    draft: &Draft,
    by: By<'_>,
) -> Result<(Held, &'a Channel)> {
    let named = draft.channel.as_deref().map(|slug| named(snapshot, slug)).transpose()?;
    let held = match &draft.to {
        To::Conversation(id) => Held::open(conn, *id).await?,
        To::Contact(name) => {
            let contact = contacts::keys(conn, std::slice::from_ref(name)).await?.pop().flatten();
            let contact = contact.ok_or_else(|| Error::NotFound(name.to_string()))?;
            let channel = match named {
                Some(channel) => channel,
                None => usual(conn, snapshot, contact).await?,
            };
            opening::ensure(context, conn, contact, channel.row.id, by).await?.0
        }
    };
    let channel = match named {
        Some(channel) => channel,
        None => {
            let active = snapshot.channel(held.row.active_channel_id);
            active.ok_or_else(|| unusable("the active channel was deleted; name another one".to_owned()))?
        }
    };
    match channel.row.state.as_str() {
        "enabled" => Ok((held, channel)),
        other => Err(unusable(format!("channels/{} is {other}", channel.row.slug))),
    }
}

/// A channel that a request names.
///
/// # Errors
/// [`Error::ReferenceNotFound`].
pub fn named<'a>(snapshot: &'a Snapshot, slug: &str) -> Result<&'a Channel> {
    let missing = || Error::ReferenceNotFound { field: "channel".to_owned(), name: format!("channels/{slug}") };
    snapshot.by_slug(slug).ok_or_else(missing)
}

/// The channel for a contact where none is named: that of its last conversation, else the first that can reach it, those that are
/// the default of their type before others.
///
/// # Errors
/// NOT_REACHABLE.
pub async fn usual<'a>(conn: &mut Conn, snapshot: &'a Snapshot, contact: i64) -> Result<&'a Channel> {
    let last = crate::storage::conversations::last_channel(conn, contact).await?;
    let facts = recipients::load(conn, &[contact]).await?;
    let addresses = facts.get(&contact).map(|r| r.addresses.as_slice()).unwrap_or_default();
    let usable = |c: &&Channel| c.row.state == "enabled" && address_for(addresses, c.channel_type()).is_some();
    if let Some(channel) = last.and_then(|id| snapshot.channel(id)).filter(usable) {
        return Ok(channel);
    }
    let first = snapshot
        .channels
        .iter()
        .filter(usable)
        .max_by_key(|c| (c.row.talk.default_outbound, std::cmp::Reverse(c.row.id)));
    first.ok_or_else(|| unreachable(format!("no enabled channel reaches contacts/{contact}")))
}

/// The contact's address for a channel type: the preferred one that is not suppressed.
fn address_for(addresses: &[AddressRow], channel_type: ChannelType) -> Option<&AddressRow> {
    let kinds = channel_type.address_kinds();
    kinds.iter().find_map(|kind| addresses.iter().find(|a| a.kind == *kind && !a.suppressed))
}

/// The address at which the contact is met on a channel, and may be written to what is to be said.
async fn reachable(conn: &mut Conn, held: &Held, channel: &Channel, content: &Content, by: By<'_>) -> Result<i64> {
    let met = crate::storage::sessions::last_address(conn, held.id(), channel.row.id).await?;
    let facts = recipients::load(conn, &[held.row.contact_id]).await?;
    let addresses = facts.get(&held.row.contact_id).map(|r| r.addresses.as_slice()).unwrap_or_default();
    let met = met.and_then(|id| addresses.iter().find(|a| a.id == id && !a.suppressed));
    let slug = &channel.row.slug;
    let Some(address) = met.or_else(|| address_for(addresses, channel.channel_type())) else {
        return Err(unreachable(format!("the contact has no address that channels/{slug} reaches")));
    };
    let consents: Vec<Consent> = address
        .consents
        .iter()
        .filter_map(|(channel_type, purpose, opted_in)| {
            let channel_type = channel_type.parse().ok()?;
            Some(Consent { channel_type, purpose: purpose.clone(), opted_out: !opted_in })
        })
        .collect();
    if consent::may_write(&consents, channel.channel_type(), consent::SERVICE).is_err() {
        return Err(unreachable(format!("the contact opted out of channels/{slug}, answers included")));
    }
    let heard = address.last_inbound.iter().find(|(id, _)| *id == channel.row.id).map(|(_, at)| *at);
    let open = heard.is_some_and(|at| at + SERVICE_WINDOW > by.at);
    if channel.channel_type() == ChannelType::Whatsapp && !open && !matches!(content, Content::ProviderTemplate { .. })
    {
        let message =
            "the contact has not written on WhatsApp in the last 24 hours: only an approved template may be sent";
        return Err(Error::WrongState { reason: "WINDOW_CLOSED", message: message.to_owned() });
    }
    Ok(address.id)
}

fn fits(channel_type: ChannelType, content: &Content) -> Result<()> {
    let breaches = limits::check(channel_type, content).into_iter();
    let found = breaches.map(|b| Violation::from(domain::violation::Violation::from(b)).inside("content"));
    all_right(found.collect())
}

/// What is answered must stand in the same conversation.
async fn belongs(conn: &mut Conn, held: &Held, message: Uuid) -> Result<()> {
    let found = messages::load(conn, &[message]).await?.pop();
    match found.is_some_and(|m| m.row.conversation_id == held.id()) {
        true => Ok(()),
        false => Err(Error::ReferenceNotFound { field: "in_reply_to".to_owned(), name: format!("messages/{message}") }),
    }
}

/// Says something at a place, in a conversation that is held: its session goes on or begins, the message is appended and queued. The
/// caller settles. Says the message.
///
/// # Errors
/// What storage says.
pub async fn say_at(
    context: &Context,
    conn: &mut Conn,
    held: &mut Held,
    place: Place,
    content: Content,
    in_reply_to: Option<Uuid>,
    by: By<'_>,
) -> Result<Uuid> {
    sessions::we_write(context, conn, held, place, by).await?;
    let snapshot = context.directory.snapshot(&context.side).await?;
    let channel = snapshot.channel(place.channel_id).ok_or_else(|| unusable("the channel was deleted".to_owned()))?;
    let line = outgoing::Line {
        conversation_id: held.id(),
        channel_id: place.channel_id,
        channel_type: channel.channel_type(),
        address_id: place.address_id,
        content,
        lane: Lane::Interactive,
        in_reply_to,
        actor: by.actor.to_owned(),
    };
    held.row.last_seq += 1;
    outgoing::say(context, conn, &line, by.at).await
}

/// Greets the contact who began a session, where its channel has words for it. The caller settles.
///
/// # Errors
/// What storage says.
pub async fn greet(context: &Context, conn: &mut Conn, held: &mut Held, place: Place, by: By<'_>) -> Result<()> {
    let snapshot = context.directory.snapshot(&context.side).await?;
    let Some(text) = snapshot.channel(place.channel_id).and_then(|c| c.row.talk.greeting.clone()) else {
        return Ok(());
    };
    say_at(context, conn, held, place, Content::Text { text }, None, by).await?;
    Ok(())
}

/// Locks a contact by name.
///
/// # Errors
/// [`Error::NotFound`].
pub(super) async fn contact(conn: &mut Conn, name: &ContactName) -> Result<i64> {
    let found = contacts::keys(conn, std::slice::from_ref(name)).await?.pop().flatten();
    let id = found.ok_or_else(|| Error::NotFound(name.to_string()))?;
    inbound::lock_contact(conn, id).await?;
    Ok(id)
}

fn unusable(message: String) -> Error {
    Error::WrongState { reason: "STATE_WRONG", message }
}

fn unreachable(message: String) -> Error {
    Error::WrongState { reason: "NOT_REACHABLE", message }
}
