//! What connectors outside bring: messages of people, receipts, and that somebody left. Stored at once, as webhooks are, and
//! taken up later by the same workers.

use domain::channel::Address;

use super::Served;
use crate::{
    channels::{InboundFact, ReceiptFact},
    services::{Context, Result, contact_sessions, webhooks},
    storage::{self, connectors, inbound},
    wake::Topic,
};

/// Stores messages and receipts; `body` is what brought them, as it came. Says for each message whether it is new.
///
/// # Errors
/// What storage says; then nothing is stored, and the same may be brought again.
pub async fn take(
    context: &Context,
    served: &Served,
    body: &[u8],
    messages: &[InboundFact],
    receipts: &[ReceiptFact],
) -> Result<Vec<bool>> {
    let origin = webhooks::Origin { channel_id: served.channel_id, provider_id: served.provider_id, body };
    let now = context.clock.now();
    Ok(webhooks::keep(context, &origin, receipts, messages, now).await?)
}

/// Notes that a person left the medium, after everything that was brought of them before.
///
/// # Errors
/// What storage says.
pub async fn session_ended(context: &Context, served: &Served, from: &Address, reason: &str) -> Result<()> {
    let (mut tx, now) = (context.db.begin().await?, context.clock.now());
    let country = context.settings.default_country.as_deref();
    let address = Address::parse(from.kind, &from.value, country).unwrap_or_else(|_| from.clone());
    let address_id = inbound::ensure_address(&mut tx, &address, now).await?;
    let who = contact_sessions::Presence {
        channel_id: served.channel_id,
        provider_id: served.provider_id,
        address: &address,
        subject: format!("channels/{}/addresses/{address_id}", served.slug),
    };
    contact_sessions::ended(&mut tx, &who, reason, now).await?;
    tx.commit().await.map_err(storage::Error::from)?;
    context.wake.signal(Topic::Events);
    context.wake.signal(Topic::Inbound);
    Ok(())
}

/// Keeps what a program says of its own health.
///
/// # Errors
/// What storage says.
pub async fn health(context: &Context, served: &Served, instance: &str, healthy: bool, detail: &str) -> Result<()> {
    if !healthy {
        tracing::warn!(channel = served.slug, instance, detail, "a connector outside says that it cannot do its work");
    }
    let conn = &mut *context.lists.conn().await?;
    Ok(connectors::health(conn, served.provider_id, instance, healthy, detail).await?)
}
