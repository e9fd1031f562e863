//! Suppressed addresses: those that bounced for good or are known to be invalid. A provider's word adds to them, and so does a
//! caller; only a caller takes one off.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::channel::Address;

use super::{Context, Result, work::Work};
pub use crate::storage::suppressions::SuppressionRow;
use crate::storage::{Conn, suppressions};

/// Suppresses addresses for reasons of a caller; one that is given twice counts once. Says how many were not suppressed before.
///
/// # Errors
/// What storage says.
pub async fn add(work: &mut Work, given: Vec<(Address, String)>) -> Result<u64> {
    let once: BTreeMap<Address, String> = given.into_iter().rev().collect();
    let (once, now): (Vec<_>, _) = (once.into_iter().collect(), work.now());
    Ok(suppressions::add(work.conn(), &once, "API", now).await?)
}

/// Suppresses addresses of which a provider said that they do not exist.
///
/// # Errors
/// What storage says.
pub async fn provider_refused(conn: &mut Conn, gone: &[(i64, String)], now: DateTime<Utc>) -> Result<()> {
    let once: BTreeMap<i64, String> = gone.iter().cloned().collect();
    let once: Vec<_> = once.into_iter().collect();
    if !once.is_empty() {
        suppressions::add_known(conn, &once, now).await?;
    }
    Ok(())
}

/// Takes addresses off the list. Says how many were on it.
///
/// # Errors
/// What storage says.
pub async fn remove(work: &mut Work, mut addresses: Vec<Address>) -> Result<u64> {
    addresses.sort_unstable();
    addresses.dedup();
    Ok(suppressions::remove(work.conn(), &addresses).await?)
}

/// A page of suppressed addresses.
///
/// # Errors
/// What storage says.
pub async fn list(context: &Context, only: Option<&Address>, after: i64, limit: i64) -> Result<Vec<SuppressionRow>> {
    Ok(suppressions::list(&mut *context.lists.conn().await?, only, after, limit).await?)
}
