//! Web chat: visitors come and go ([`start`], [`end`]), speak ([`say`]), and are shown what the business says ([`stream`]).
//!
//! What visitors say takes the way of every message from a person; what they are shown comes out of the ordinary dispatch, where
//! [`put`] stands in the place of the wire.

mod ears;
pub mod stream;

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    channel::{Address, AddressKind, ChannelType},
    delivery::Evidence,
    message::Content,
};
use uuid::Uuid;

pub use self::{ears::Ears, stream::Stream};
use super::{
    Context, Error, Result, Violation,
    contact_sessions::{self, Presence},
    contacts::{self, ContactName},
    conversations::{held::By, merging},
    directory::Channel,
    webhooks,
    work::Work,
};
pub use crate::storage::web_chat::SessionRow;
use crate::{
    channels::{InboundFact, Outbound, Sent},
    storage::{
        self, Conn,
        dispatch::Claimed,
        identity, inbound, receipts,
        receipts::NewReceipt,
        web_chat::{self, NewLine, NewSession, Typist},
    },
    wake::Topic,
};

/// How long a visitor is shown as typing, where nothing is said.
pub const TYPING: TimeDelta = TimeDelta::seconds(6);

/// A session with the slug of its channel.
#[derive(Debug, Clone)]
pub struct Session {
    /// What stands.
    pub row: SessionRow,
    /// The slug of the channel.
    pub channel: String,
}

/// A session to begin.
#[derive(Debug, Clone)]
pub struct New {
    /// The slug of the channel.
    pub channel: String,
    /// The visitor's id.
    pub visitor_id: String,
    /// Whom the application knows the visitor to be.
    pub contact: Option<ContactName>,
    /// The name by which the visitor is shown.
    pub display_name: String,
    /// The language.
    pub locale: String,
    /// What the application knows, name to text.
    pub data: serde_json::Value,
}

/// The name of a session in the contract.
#[must_use]
pub fn name_of(id: Uuid) -> String {
    format!("webChatSessions/{id}")
}

/// Begins a session, or goes on with the one that is open.
///
/// # Errors
/// [`Error::NotFound`] for the channel, [`Error::ReferenceNotFound`] for the contact, [`Error::Invalid`] for the visitor's id,
/// [`Error::WrongState`] for a channel that is no web chat or is disabled, and for a visitor who is somebody else.
pub async fn start(context: &Context, work: &mut Work, new: New) -> Result<Session> {
    let snapshot = context.directory.snapshot(&context.side).await?;
    let name = super::channels::name_of(&new.channel);
    let channel = snapshot.by_slug(&new.channel).ok_or_else(|| Error::NotFound(name.clone()))?;
    usable(channel, &name)?;
    let address = address(channel, &new.visitor_id)?;
    let now = work.now();
    let address_id = inbound::ensure_address(work.conn(), &address, now).await?;
    let contact_id = who(work, &new, &address, address_id).await?;
    web_chat::introduce(work.conn(), contact_id, &new.display_name, &new.locale, now).await?;
    let begun = NewSession {
        id: Uuid::now_v7(),
        channel_id: channel.row.id,
        address_id,
        contact_id,
        display_name: &new.display_name,
        locale: &new.locale,
        data: &new.data,
    };
    let (id, is_new) = web_chat::begin(work.conn(), &begun, now).await?;
    let provider_id = provider_of(channel);
    let who = Presence { channel_id: channel.row.id, provider_id, address: &address, subject: name_of(id) };
    contact_sessions::started(work.conn(), &who, &new.data, is_new, now).await?;
    work.wake(Topic::Events);
    work.wake(Topic::Inbound);
    find(context, work.conn(), id).await
}

fn usable(channel: &Channel, name: &str) -> Result<()> {
    let wrong = |what: &str| Err(Error::WrongState { reason: "STATE_WRONG", message: format!("{name} {what}") });
    if channel.channel_type() != ChannelType::Webchat {
        return wrong("is not of type WEBCHAT");
    }
    if channel.row.state != "enabled" { wrong("is not enabled") } else { Ok(()) }
}

fn address(channel: &Channel, visitor_id: &str) -> Result<Address> {
    let scheme = channel.scheme().unwrap_or_default();
    Address::parse(AddressKind::External, &format!("{scheme}:{visitor_id}"), None).map_err(|_| {
        let words = "must have 1 to 200 characters without spaces";
        Error::Invalid(vec![Violation::new("visitor_id", words).because("ADDRESS_INVALID").with("kind", "external")])
    })
}

/// The provider under which presence is kept; 0 where the channel has none.
fn provider_of(channel: &Channel) -> i32 {
    channel.providers.first().map(|provider| provider.row.id).unwrap_or_default()
}

/// The contact of a visitor: the one that the application names, else whoever has the address, else a new one. Who was anonymous
/// until now, and is named, is merged into the one that is named.
async fn who(work: &mut Work, new: &New, address: &Address, address_id: i64) -> Result<i64> {
    let acting = work.who();
    let conn = work.conn();
    let (named, known) = found(conn, new, address_id).await?;
    match (named, known) {
        (Some(named), None) => {
            inbound::gather_addresses(conn, named, &[address_id]).await?;
            Ok(named)
        }
        (Some(named), Some(known)) if known.id == named => Ok(named),
        (Some(named), Some(known)) if known.anonymous => {
            merging::contacts(conn, known.id, named, By::of(&acting)).await?;
            Ok(named)
        }
        (Some(named), Some(known)) => Err(Error::WrongState {
            reason: "STATE_WRONG",
            message: format!(
                "visitor {} belongs to contacts/{}, not to contacts/{named}: give a person who signs in another visitor id",
                domain::address::mask(&address.value),
                known.id
            ),
        }),
        (None, Some(known)) => Ok(known.id),
        (None, None) => {
            let id = inbound::new_contact(conn, &new.display_name, &[address_id], acting.at).await?;
            identity::set_anonymous(conn, id).await?;
            Ok(id)
        }
    }
}

/// The contact that the application names and the one who has the address, both locked. While one waits for a lock, a contact may
/// be merged into another one: then both are looked up again.
async fn found(conn: &mut Conn, new: &New, address_id: i64) -> Result<(Option<i64>, Option<identity::Who>)> {
    for _ in 0..3 {
        let named = match &new.contact {
            Some(name) => {
                let missing = || Error::ReferenceNotFound { field: "contact".to_owned(), name: name.to_string() };
                let key = contacts::keys(conn, std::slice::from_ref(name)).await?.pop().flatten();
                Some(key.ok_or_else(missing)?)
            }
            None => None,
        };
        let known = inbound::contact_of(conn, &[address_id]).await?;
        let ids: Vec<i64> = named.into_iter().chain(known).collect();
        let locked = identity::lock(conn, &ids).await?;
        if ids.iter().all(|id| locked.iter().any(|who| who.id == *id)) {
            return Ok((named, locked.into_iter().find(|who| Some(who.id) == known)));
        }
    }
    Err(Error::Storage(storage::Error::no_answer()))
}

/// One session.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get(context: &Context, id: Uuid) -> Result<Session> {
    find(context, &mut *context.lists.conn().await?, id).await
}

async fn find(context: &Context, conn: &mut Conn, id: Uuid) -> Result<Session> {
    let row = web_chat::session(conn, id).await?.ok_or_else(|| Error::NotFound(name_of(id)))?;
    let snapshot = context.directory.snapshot(&context.side).await?;
    let channel = snapshot.channel(row.channel_id).map(|c| c.row.slug.clone()).unwrap_or_default();
    Ok(Session { row, channel })
}

async fn open(context: &Context, id: Uuid) -> Result<Session> {
    let session = get(context, id).await?;
    match session.row.ended_at {
        None => Ok(session),
        Some(_) => Err(Error::WrongState {
            reason: "STATE_WRONG",
            message: format!("{} has ended: begin another with StartSession", name_of(id)),
        }),
    }
}

/// What a visitor says.
#[derive(Debug, Clone)]
pub struct Words {
    /// The session.
    pub session: Uuid,
    /// The application's own key of the message.
    pub client_message_id: String,
    /// What is said.
    pub content: Content,
    /// The delivery that it answers.
    pub in_reply_to: Option<Uuid>,
}

/// Takes what a visitor says; `body` is the request as it came. Says whether it is new.
///
/// # Errors
/// [`Error::NotFound`], [`Error::WrongState`] when the session has ended.
pub async fn say(context: &Context, words: Words, body: &[u8]) -> Result<bool> {
    let Session { row, .. } = open(context, words.session).await?;
    let snapshot = context.directory.snapshot(&context.side).await?;
    let gone = || Error::NotFound(name_of(words.session));
    let channel = snapshot.channel(row.channel_id).ok_or_else(gone)?;
    let provider_id = channel.providers.first().ok_or_else(gone)?.row.id;
    let fact = InboundFact {
        // Unique for the visitor, and so on the channel.
        provider_message_id: format!("{}/{}", row.address, words.client_message_id),
        from: vec![Address { kind: AddressKind::External, value: row.address }],
        to: channel.row.service_identifier.clone(),
        display_name: Some(row.display_name).filter(|name| !name.is_empty()),
        content: words.content,
        in_reply_to: None,
        delivery_id: words.in_reply_to,
        provider_opt: None,
        provider_time: None,
        channel_data: serde_json::from_value(row.data).map_err(storage::Error::from)?,
    };
    let origin = webhooks::Origin { channel_id: row.channel_id, provider_id, body };
    let are_new = webhooks::keep(context, &origin, &[], &[fact], context.clock.now()).await?;
    Ok(are_new.first().copied().unwrap_or_default())
}

/// Puts a delivery where the visitor's stream finds it: this is what SENT means here.
pub async fn put(context: &Context, claimed: &Claimed, outbound: &Outbound) -> Sent {
    let stored = async {
        let content = serde_json::to_value(&outbound.content)?;
        let line = NewLine {
            channel_id: claimed.channel_id,
            address_id: claimed.address_id,
            delivery_id: claimed.delivery_id,
            provider_id: outbound.provider_id,
            content: &content,
        };
        web_chat::put(&mut *context.db.conn().await?, &line, context.clock.now()).await
    };
    match stored.await {
        Ok(()) => {
            context.wake.signal(Topic::WebChat);
            Sent::Accepted { provider_message_id: claimed.delivery_id.to_string() }
        }
        // A line is stored once for its delivery: what may have been stored may be stored again.
        Err(error) => Sent::Unknown { detail: error.to_string() },
    }
}

/// Notes that lines reached the visitor, or were read: receipts, as any provider sends them. Says for how many that was new.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn acknowledge(context: &Context, id: Uuid, deliveries: &[Uuid], evidence: Evidence) -> Result<usize> {
    let Session { row, .. } = get(context, id).await?;
    let mut tx = context.db.begin().await?;
    let risen = web_chat::acknowledge(&mut tx, row.channel_id, row.address_id, deliveries, evidence).await?;
    for (delivery, provider_id) in &risen {
        let receipt = NewReceipt {
            provider_message_id: delivery.to_string(),
            echo: None,
            evidence,
            failure_class: None,
            failure_code: None,
            provider_time: None,
        };
        // No webhook brought it: no body is kept.
        receipts::store(&mut tx, *provider_id, 0, &[receipt]).await?;
    }
    tx.commit().await.map_err(storage::Error::from)?;
    if !risen.is_empty() {
        context.wake.signal(Topic::Receipts);
    }
    Ok(risen.len())
}

/// Shows the visitor as typing for a while; nothing ends it.
///
/// # Errors
/// [`Error::NotFound`], [`Error::WrongState`] when the session has ended.
pub async fn typing(context: &Context, id: Uuid, duration: TimeDelta) -> Result<()> {
    let Session { row, .. } = open(context, id).await?;
    let until = (duration > TimeDelta::zero()).then(|| context.clock.now() + duration);
    let conn = &mut *context.lists.conn().await?;
    web_chat::typing(conn, row.channel_id, row.address_id, Typist::Contact, until).await?;
    Ok(())
}

/// Shows a visitor that somebody types for the business; nothing ends it. False where the visitor is not known.
///
/// # Errors
/// What storage says.
pub async fn business_typing(
    context: &Context,
    channel_id: i32,
    address_id: i64,
    until: Option<DateTime<Utc>>,
) -> Result<bool> {
    let conn = &mut *context.lists.conn().await?;
    let known = web_chat::typing(conn, channel_id, address_id, Typist::Business, until).await?;
    context.wake.signal(Topic::WebChat);
    Ok(known)
}

/// Until when a visitor is typing; none when it is not.
///
/// # Errors
/// What storage says.
pub async fn is_typing_until(context: &Context, channel_id: i32, address_id: i64) -> Result<Option<DateTime<Utc>>> {
    let until = web_chat::contact_typing_until(&mut *context.lists.conn().await?, channel_id, address_id).await?;
    Ok(until.filter(|until| *until > context.clock.now()))
}

/// Ends a session. Ended twice, the first holds.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn end(context: &Context, work: &mut Work, id: Uuid, reason: &str) -> Result<Session> {
    let (before, now) = (find(context, work.conn(), id).await?, work.now());
    if web_chat::end(work.conn(), id, reason, now).await? {
        let row = &before.row;
        let snapshot = context.directory.snapshot(&context.side).await?;
        let provider_id = snapshot.channel(row.channel_id).map(provider_of).unwrap_or_default();
        let address = Address { kind: AddressKind::External, value: row.address.clone() };
        let who = Presence { channel_id: row.channel_id, provider_id, address: &address, subject: name_of(id) };
        contact_sessions::ended(work.conn(), &who, reason, now).await?;
        work.wake(Topic::Events);
        work.wake(Topic::Inbound);
        work.wake(Topic::WebChat);
    }
    find(context, work.conn(), id).await
}
