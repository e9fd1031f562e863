//! A person comes to a channel and leaves it, on channels that know it: web chat, and connectors outside that say so. The one
//! place that is told; what a conversation makes of it begins here.

use chrono::{DateTime, Utc};

use super::Result;
use crate::storage::{Conn, events};

/// Whose presence it is.
#[derive(Debug, Clone)]
pub struct Presence {
    /// The channel.
    pub channel_id: i32,
    /// The person's address.
    pub address_id: i64,
    /// The name of the session in the contract.
    pub subject: String,
}

/// A person came; `data` is what the channel knows, name to text. Told again with more data when it is known.
///
/// # Errors
/// What storage says.
pub async fn started(conn: &mut Conn, who: &Presence, data: &serde_json::Value, now: DateTime<Utc>) -> Result<()> {
    tracing::debug!(
        channel.id = who.channel_id,
        entries = data.as_object().map_or(0, serde_json::Map::len),
        "a session began"
    );
    Ok(events::say(conn, "session", "started", &who.subject, None, None, now).await?)
}

/// A person left, for this reason.
///
/// # Errors
/// What storage says.
pub async fn ended(conn: &mut Conn, who: &Presence, reason: &str, now: DateTime<Utc>) -> Result<()> {
    tracing::debug!(channel.id = who.channel_id, address.id = who.address_id, "a session ended");
    Ok(events::say(conn, "session", "ended", &who.subject, None, Some(reason), now).await?)
}
