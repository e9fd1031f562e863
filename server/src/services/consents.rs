//! Consent: what an address allows, for a channel type and a purpose. A refusal takes back at once, in its own transaction,
//! what is queued to the address: those steps are skipped, and their notifications go on.

use chrono::{DateTime, Utc};
use domain::{
    channel::ChannelType,
    consent::{self, Intent},
};
use uuid::Uuid;

use super::{Context, Result, notifications};
use crate::storage::{self, Conn, consents, deciding, inbound};

/// What a person said.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a> {
    /// The key of the address.
    pub address_id: i64,
    /// The channel type that it holds for.
    pub channel_type: ChannelType,
    /// The purpose, or [`consent::ALL`].
    pub purpose: &'a str,
    /// Whether they agree to be written to.
    pub opted_in: bool,
    /// Where it came from.
    pub source: &'a str,
}

/// Records what a person said, in the caller's transaction, and takes back what it refuses. `also` is a notification that the
/// caller will lock next: all are locked in the order of their ids.
///
/// # Errors
/// What storage says.
pub async fn record(conn: &mut Conn, said: &Said<'_>, also: Option<Uuid>, now: DateTime<Utc>) -> Result<()> {
    if said.opted_in {
        return write(conn, said, now).await;
    }
    // The notifications before the consent, as those lock who learn of a refusal from a provider.
    let queued = consents::queued_to(conn, &[(said.address_id, said.channel_type)]).await?;
    lock(conn, &queued, also).await?;
    write(conn, said, now).await?;
    skip_refused(conn, &queued, now).await
}

/// Records that providers say of addresses that their people opted out. `beside` is what [`queued_beside`] said before the
/// caller took its locks, [`lock`]ed since.
///
/// # Errors
/// What storage says.
pub async fn providers_say_opted_out(
    conn: &mut Conn,
    opted_out: &[(i64, ChannelType)],
    beside: &[(Uuid, Uuid)],
    now: DateTime<Utc>,
) -> Result<()> {
    for (address_id, channel_type) in opted_out {
        let Some(change) = consent::change(Intent::Stop, *channel_type) else { continue };
        let purpose = change.purpose.as_str();
        let said =
            Said { address_id: *address_id, channel_type: *channel_type, purpose, opted_in: false, source: "PROVIDER" };
        write(conn, &said, now).await?;
    }
    skip_refused(conn, beside, now).await
}

/// What else is queued to these addresses: (notification, delivery). For those who lock deliveries, and so have to lock the
/// notifications of these first.
///
/// # Errors
/// What storage says.
pub async fn queued_beside(conn: &mut Conn, addresses: &[(i64, ChannelType)]) -> Result<Vec<(Uuid, Uuid)>> {
    if addresses.is_empty() { Ok(Vec::new()) } else { Ok(consents::queued_to(conn, addresses).await?) }
}

/// Locks the notifications of what is queued, and `also`, in the order of their ids.
///
/// # Errors
/// What storage says.
pub async fn lock(conn: &mut Conn, queued: &[(Uuid, Uuid)], also: impl IntoIterator<Item = Uuid>) -> Result<()> {
    let mut notifications: Vec<Uuid> = queued.iter().map(|(notification, _)| *notification).chain(also).collect();
    notifications.sort_unstable();
    notifications.dedup();
    if !notifications.is_empty() {
        deciding::lock(conn, &notifications, false).await?;
    }
    Ok(())
}

/// Skips those of these queued deliveries that their people refuse: the mark did not let them go. Their notifications go on.
///
/// # Errors
/// What storage says.
pub async fn skip_unwanted(context: &Context, deliveries: &[Uuid]) -> Result<()> {
    let mut tx = context.db.begin().await?;
    let refused = consents::refused_among(&mut tx, deliveries).await?;
    if !refused.is_empty() {
        lock(&mut tx, &refused, None).await?;
        skip_refused(&mut tx, &refused, context.clock.now()).await?;
    }
    tx.commit().await.map_err(storage::Error::from)?;
    if !refused.is_empty() {
        notifications::wake(context);
    }
    Ok(())
}

/// Skips those of these queued deliveries that the stored consent refuses: it was written, or may have changed, since they were
/// found. Their notifications are locked.
///
/// # Errors
/// What storage says.
pub async fn skip_refused(conn: &mut Conn, queued: &[(Uuid, Uuid)], now: DateTime<Utc>) -> Result<()> {
    let deliveries: Vec<Uuid> = queued.iter().map(|(_, delivery)| *delivery).collect();
    if deliveries.is_empty() {
        return Ok(());
    }
    let refused: Vec<Uuid> = consents::refused_among(conn, &deliveries).await?.into_iter().map(|r| r.1).collect();
    if !refused.is_empty() {
        consents::skip_queued(conn, &refused, now).await?;
    }
    Ok(())
}

async fn write(conn: &mut Conn, said: &Said<'_>, now: DateTime<Utc>) -> Result<()> {
    let name = said.channel_type.as_str();
    Ok(inbound::set_consent(conn, said.address_id, name, said.purpose, said.opted_in, said.source, now).await?)
}
