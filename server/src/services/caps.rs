//! Frequency caps: kept by RPC, and asked for at planning. They stand in a table of their own rather than in the settings or in
//! each campaign, because they hold across campaigns and a campaign manager changes them while the server runs.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use domain::{
    caps::{self, Cap},
    channel::ChannelType,
};

use super::{Context, Error, Result, etag, work::Work};
pub use crate::storage::caps::CapRow;
use crate::storage::{Conn, caps as stored};

/// The caps, and what the addresses of a page have had of them. Loaded with the page, and counted on as it is planned.
#[derive(Debug, Clone, Default)]
pub struct Caps {
    caps: Vec<Cap>,
    had: HashMap<(i64, usize, ChannelType), i64>,
}

impl Caps {
    /// Loads what these addresses have had of the caps, where there are any. Their rows are locked then: two who plan at once
    /// do not both find room for the last message.
    ///
    /// # Errors
    /// What storage says.
    pub async fn load(conn: &mut Conn, caps: Vec<Cap>, mut addresses: Vec<i64>, now: DateTime<Utc>) -> Result<Self> {
        if caps.is_empty() || addresses.is_empty() {
            return Ok(Self { caps, had: HashMap::new() });
        }
        addresses.sort_unstable();
        addresses.dedup();
        let had = stored::had(conn, &caps, &addresses, now).await?;
        Ok(Self { caps, had })
    }

    /// The channel types on which an address has had enough of what has this purpose.
    #[must_use]
    pub fn capped(&self, address: i64, purpose: &str) -> Vec<ChannelType> {
        let had = |cap, channel_type| self.had.get(&(address, cap, channel_type)).copied().unwrap_or_default();
        caps::capped(&self.caps, purpose, had)
    }

    /// Counts a message that was just planned.
    pub fn note(&mut self, address: i64, channel_type: ChannelType, purpose: &str) {
        for cap in caps::that_hold(&self.caps, channel_type, purpose) {
            *self.had.entry((address, cap, channel_type)).or_default() += 1;
        }
    }
}

/// Sets the cap of a channel type and purpose.
///
/// # Errors
/// What storage says.
pub async fn set(work: &mut Work, cap: &Cap) -> Result<CapRow> {
    let now = work.now();
    let id = stored::set(work.conn(), cap, now).await?;
    let row = stored::list(work.conn(), id - 1, 1).await?.pop();
    row.ok_or_else(|| Error::NotFound(name(id)))
}

/// A page of caps, in the order of their creation.
///
/// # Errors
/// What storage says.
pub async fn list(context: &Context, after: i64, limit: i64) -> Result<Vec<CapRow>> {
    Ok(stored::list(&mut *context.lists.conn().await?, after, limit).await?)
}

/// Takes a cap away.
///
/// # Errors
/// [`Error::NotFound`], [`Error::EtagMismatch`].
pub async fn delete(work: &mut Work, id: i64, seen: &str) -> Result<()> {
    let version = stored::lock(work.conn(), id).await?.ok_or_else(|| Error::NotFound(name(id)))?;
    etag::check(&name(id), seen, version)?;
    Ok(stored::delete(work.conn(), id).await?)
}

/// The name of a cap in the contract.
#[must_use]
pub fn name(id: i64) -> String {
    format!("frequencyCaps/{id}")
}
