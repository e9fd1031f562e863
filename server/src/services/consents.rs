//! Consent: what an address allows, for a channel type and a purpose.

use chrono::{DateTime, Utc};
use domain::{
    channel::ChannelType,
    consent::{self, Intent},
};

use super::Result;
use crate::storage::{Conn, inbound};

/// Records that a provider says of an address that its person opted out.
///
/// # Errors
/// What storage says.
pub async fn provider_opted_out(
    conn: &mut Conn,
    address_id: i64,
    channel_type: ChannelType,
    now: DateTime<Utc>,
) -> Result<()> {
    said(conn, address_id, channel_type, Intent::Stop, "PROVIDER", now).await
}

/// Records a STOP or START word; HELP changes nothing.
///
/// # Errors
/// What storage says.
pub async fn said(
    conn: &mut Conn,
    address_id: i64,
    channel_type: ChannelType,
    intent: Intent,
    source: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    let Some(change) = consent::change(intent, channel_type) else { return Ok(()) };
    let name = channel_type.as_str();
    inbound::set_consent(conn, address_id, name, &change.purpose, !change.opted_out, source, now).await?;
    Ok(())
}
