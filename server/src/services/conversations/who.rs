//! Who wrote: by address, by external id, by the token of a deep link. A sender who was anonymous until now, and says who it is, is
//! merged into the contact whom it names, with the conversation that is open.

use chrono::{DateTime, TimeDelta, Utc};
use domain::conversation::identify;

use super::{held::By, merging};
use crate::{
    services::{Error, Result, contacts::ContactName, work::Work},
    storage::{Conn, contacts, identity, inbound},
};

/// How long a token may hold.
pub const LONGEST: TimeDelta = TimeDelta::days(365);

/// What a message says of its sender.
#[derive(Debug, Clone, Copy, Default)]
pub struct Says<'a> {
    /// The sender's addresses, by key; at least one.
    pub addresses: &'a [i64],
    /// The external id, where the connector knows it.
    pub external_id: Option<&'a str>,
    /// A token, where the message carries one.
    pub token: Option<&'a str>,
    /// The name, as shown by the provider.
    pub display_name: &'a str,
}

/// The contact who wrote, locked; made where nobody knows it.
///
/// # Errors
/// What storage says.
pub async fn wrote(conn: &mut Conn, says: Says<'_>, now: DateTime<Utc>) -> Result<identity::Who> {
    let (known, by_address, locked) = found(conn, says, now).await?;
    let of = |id: Option<i64>| locked.iter().find(|who| Some(who.id) == id).copied();
    match (of(known), of(by_address)) {
        (Some(known), Some(sender)) if known.id != sender.id && sender.anonymous => {
            merging::contacts(conn, sender.id, known.id, By::contact(now)).await?;
            Ok(identity::Who { addresses: known.addresses + sender.addresses, ..known })
        }
        // Families share phones: a sender who is known stays, and the one who is named has the address too.
        (Some(known), _) => {
            identity::add_addresses(conn, known.id, says.addresses).await?;
            Ok(known)
        }
        (None, Some(sender)) => {
            if says.addresses.len() > 1 {
                inbound::gather_addresses(conn, sender.id, says.addresses).await?;
            }
            Ok(sender)
        }
        (None, None) => {
            let id = inbound::new_contact(conn, says.display_name, says.addresses, now).await?;
            identity::set_anonymous(conn, id).await?;
            identity::lock(conn, &[id]).await?.pop().ok_or_else(|| Error::NotFound(format!("contacts/{id}")))
        }
    }
}

/// The contact whom a message names and the one who has the address, both locked. While one waits for the lock of a contact, that
/// may have been merged into another one: then it is looked up again.
async fn found(
    conn: &mut Conn,
    says: Says<'_>,
    now: DateTime<Utc>,
) -> Result<(Option<i64>, Option<i64>, Vec<identity::Who>)> {
    for _ in 0..3 {
        let known = named(conn, says, now).await?;
        if known.is_none() {
            match identity::lock_by_address(conn, says.addresses).await? {
                identity::Locked::Nobody => return Ok((None, None, Vec::new())),
                identity::Locked::Found(who) => return Ok((None, Some(who.id), vec![who])),
                identity::Locked::Gone => continue,
            }
        }
        let by_address = inbound::contact_of(conn, says.addresses).await?;
        let ids: Vec<i64> = known.into_iter().chain(by_address).collect();
        let locked = identity::lock(conn, &ids).await?;
        if ids.iter().all(|id| locked.iter().any(|who| who.id == *id)) {
            return Ok((known, by_address, locked));
        }
    }
    Err(crate::storage::Error::no_answer().into())
}

/// The contact whom a message names, by its token before its external id.
async fn named(conn: &mut Conn, says: Says<'_>, now: DateTime<Utc>) -> Result<Option<i64>> {
    if let Some(token) = says.token
        && let Some(id) = identity::by_token(conn, token, now).await?
    {
        return Ok(Some(id));
    }
    let Some(external_id) = says.external_id else { return Ok(None) };
    Ok(contacts::by_external_id(conn, &[external_id]).await?.remove(external_id))
}

/// Makes a token that says who a contact is, for a link that is given to nobody else.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn token(work: &mut Work, name: &ContactName, valid_for: TimeDelta) -> Result<(String, DateTime<Utc>)> {
    let contact = super::saying::contact(work.conn(), name).await?;
    let (token, now) = (identify::token_of(rand::random()), work.now());
    identity::keep_token(work.conn(), &token, contact, now, now + valid_for).await?;
    Ok((token, now + valid_for))
}
