//! What people agreed to: recorded for an address, a channel type and a purpose. The last word holds, and an opt-out takes
//! back at once what is queued to its address.

use chrono::{DateTime, Utc};
use domain::channel::Address;

use super::{ContactName, key};
pub use crate::storage::consents::{ConsentRow as Consent, NewConsent};
use crate::{
    services::{Context, Error, Result, consents as taking_back, work::Work},
    storage::{consents, contacts},
    wake::Topic,
};

/// Records what was said; what is older than the stored word enters only the history.
///
/// # Errors
/// What storage says.
pub async fn set(work: &mut Work, new: NewConsent) -> Result<Consent> {
    let now = work.now();
    contacts::ensure_addresses(work.conn(), &[&new.address], now).await?;
    record(work, std::slice::from_ref(&new)).await?;
    let all = consents::list(work.conn(), None, Some(&new.address), true, None, i64::MAX).await?;
    let same = |c: &Consent| {
        (c.channel_type, &c.purpose, c.opted_in, c.at) == (new.channel_type, &new.purpose, new.opted_in, new.at)
    };
    let missing = || crate::storage::Error::Corrupt("a consent is gone inside its own transaction".to_owned());
    Ok(all.into_iter().find(same).ok_or_else(missing)?)
}

/// Records many; the addresses exist already, and none is there twice for a channel type and purpose.
pub(super) async fn record(work: &mut Work, new: &[NewConsent]) -> Result<()> {
    // The notifications before the consents, as everyone locks them who records a refusal.
    let refusals: Vec<&NewConsent> = new.iter().filter(|c| !c.opted_in).collect();
    let queued = consents::queued_against(work.conn(), &refusals).await?;
    taking_back::lock(work.conn(), &queued, None).await?;
    consents::record(work.conn(), new).await?;
    let now = work.now();
    // What is older than the stored word refuses nothing: the stored consent is asked.
    taking_back::skip_refused(work.conn(), &queued, now).await?;
    if !queued.is_empty() {
        work.wake(Topic::Fallback);
        work.wake(Topic::Events);
    }
    Ok(())
}

/// Whose consents are listed.
#[derive(Debug, Clone)]
pub enum Whose {
    /// Of all addresses of a contact.
    Contact(ContactName),
    /// Of one address.
    Address(Address),
}

/// A page of records, the newest first.
///
/// # Errors
/// [`Error::NotFound`] for a contact that does not exist.
pub async fn list(
    context: &Context,
    whose: &Whose,
    history: bool,
    before: Option<(DateTime<Utc>, i64)>,
    limit: i64,
) -> Result<Vec<Consent>> {
    let conn = &mut *context.lists.conn().await?;
    let (contact, address) = match whose {
        Whose::Contact(name) => {
            let id = key(conn, name).await?;
            if contacts::load(conn, &[id]).await?.is_empty() {
                return Err(Error::NotFound(name.to_string()));
            }
            (Some(id), None)
        }
        Whose::Address(address) => (None, Some(address)),
    };
    Ok(consents::list(conn, contact, address, history, before, limit).await?)
}
