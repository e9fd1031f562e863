//! A person comes to a channel and leaves it, on channels that know it: web chat, and connectors outside that say so.
//!
//! It is told as an event at once, and then waits in the inbox among the messages of that person: who writes and leaves has left
//! after the message was taken up, and who comes back is there. Taken up, it begins or ends the channel session of the
//! conversation (`take_up`).

use chrono::{DateTime, Utc};
use domain::{channel::Address, conversation::EndReason};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{
    Context, Error, Result,
    conversations::{
        closing,
        held::{By, Held},
        opening, saying,
        sessions::{self, Place},
        who::{self, Says},
    },
};
use crate::{
    channels::InboundFact,
    storage::{
        self, Conn, conversation_state, events, identity,
        inbound::{self, NewInbound, Waiting},
    },
};

/// Whose presence it is.
#[derive(Debug, Clone)]
pub struct Presence<'a> {
    /// The channel.
    pub channel_id: i32,
    /// The provider that knows it.
    pub provider_id: i32,
    /// The person's address, as addresses are stored.
    pub address: &'a Address,
    /// The name of the session in the contract.
    pub subject: String,
}

/// What waits in the inbox.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "presence", rename_all = "snake_case")]
pub enum Change {
    /// The person came, with what the channel knows, name to text.
    Came {
        /// The address.
        address: Address,
        /// What is known.
        data: Value,
    },
    /// The person left.
    Left {
        /// The address.
        address: Address,
    },
}

impl Change {
    /// What waits under a fact of the inbox; none: a message.
    ///
    /// # Errors
    /// What storage says of a fact that cannot be read.
    pub fn read(fact: &Value) -> storage::Result<Option<Self>> {
        match fact.get("presence") {
            Some(_) => Ok(Some(serde_json::from_value(fact.clone())?)),
            None => Ok(None),
        }
    }

    const fn address(&self) -> &Address {
        match self {
            Self::Came { address, .. } | Self::Left { address } => address,
        }
    }
}

/// A person came; `data` is what the channel knows, name to text. Told again (`is_new` is false) with more data when it is known.
///
/// # Errors
/// What storage says.
pub async fn started(
    conn: &mut Conn,
    who: &Presence<'_>,
    data: &Value,
    is_new: bool,
    now: DateTime<Utc>,
) -> Result<()> {
    if is_new {
        events::say(conn, "session", "started", &who.subject, None, None, now).await?;
    }
    keep(conn, who, Change::Came { address: who.address.clone(), data: data.clone() }, now).await
}

/// A person left, for this reason.
///
/// # Errors
/// What storage says.
pub async fn ended(conn: &mut Conn, who: &Presence<'_>, reason: &str, now: DateTime<Utc>) -> Result<()> {
    events::say(conn, "session", "ended", &who.subject, None, Some(reason), now).await?;
    keep(conn, who, Change::Left { address: who.address.clone() }, now).await
}

async fn keep(conn: &mut Conn, who: &Presence<'_>, change: Change, now: DateTime<Utc>) -> Result<()> {
    let new = NewInbound {
        channel_id: who.channel_id,
        provider_id: who.provider_id,
        provider_message_id: format!("presence/{}", Uuid::now_v7()),
        sender: format!("{}:{}", who.address.kind, who.address.value),
        fact: serde_json::to_value(change).map_err(storage::Error::from)?,
    };
    inbound::store(conn, &new, 0, now).await?;
    Ok(())
}

/// Takes up that a person came or left; says which message of theirs came before it, where one waits.
///
/// # Errors
/// What storage says.
pub(super) async fn take_up(
    context: &Context,
    conn: &mut Conn,
    waiting: &Waiting,
    change: &Change,
) -> Result<Option<i64>> {
    let by = By::contact(waiting.received_at);
    let address_id = inbound::ensure_address(conn, change.address(), by.at).await?;
    let place = Place { channel_id: waiting.channel_id, address_id };
    let person = match change {
        Change::Came { data, .. } => Some(who::wrote(conn, says(&[address_id], data), by.at).await?),
        Change::Left { .. } => known(conn, address_id).await?,
    };
    let Some(person) = person else { return Ok(None) };
    if person.addresses > 1
        && let Some(earlier) = identity::earlier_waits(conn, person.id, waiting.id).await?
    {
        return Ok(Some(earlier));
    }
    match change {
        Change::Came { data, .. } => come(context, conn, person.id, place, data, by).await?,
        Change::Left { .. } => leave(context, conn, person.id, place, by).await?,
    }
    Ok(None)
}

/// Who came says the same as who writes: an external id or a token, where the channel knows one.
fn says<'a>(addresses: &'a [i64], data: &'a Value) -> Says<'a> {
    let given = |key: &str| data.get(key).and_then(Value::as_str).filter(|value| !value.is_empty());
    Says { addresses, external_id: given(InboundFact::EXTERNAL_ID), token: given(InboundFact::TOKEN), display_name: "" }
}

/// The contact of an address, locked; one that was merged away while its lock was waited for is looked up again.
async fn known(conn: &mut Conn, address_id: i64) -> Result<Option<identity::Who>> {
    for _ in 0..3 {
        match identity::lock_by_address(conn, &[address_id]).await? {
            identity::Locked::Nobody => return Ok(None),
            identity::Locked::Found(who) => return Ok(Some(who)),
            identity::Locked::Gone => {}
        }
    }
    Err(Error::Storage(storage::Error::no_answer()))
}

async fn come(context: &Context, conn: &mut Conn, contact: i64, place: Place, data: &Value, by: By<'_>) -> Result<()> {
    let (mut held, _) = opening::ensure(context, conn, contact, place.channel_id, by).await?;
    let (_, is_new) = sessions::contact_comes(conn, &mut held, place, data, by).await?;
    held.settle(conn, "SESSION_STARTED", by).await?;
    if is_new {
        saying::greet(context, conn, &mut held, place, By::system(context.clock.now())).await?;
        held.settle(conn, "SESSION_STARTED", by).await?;
    }
    Ok(())
}

async fn leave(context: &Context, conn: &mut Conn, contact: i64, place: Place, by: By<'_>) -> Result<()> {
    let Some(row) = conversation_state::lock_open(conn, contact).await? else { return Ok(()) };
    let mut held = Held::from(row);
    let session = storage::sessions::find_open(conn, held.id(), place.channel_id, place.address_id).await?;
    let Some(session) = session else { return Ok(()) };
    let reason = EndReason::CustomerLeft;
    sessions::end(conn, &mut held, &session, reason, by).await?;
    closing::if_gone(context, conn, &mut held, reason.as_str(), by).await
}
