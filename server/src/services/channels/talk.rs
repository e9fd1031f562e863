//! How conversations are held on a channel: what is set of it, laid over what stands.

use domain::conversation::routing::Mode;

use super::name_of;
pub use crate::storage::channel_talk::TalkRow;
use crate::{
    services::{Error, Result},
    storage::{Conn, channel_talk},
};

/// What is to be written; what is `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TalkChange {
    /// How conversations reach agents.
    pub routing_mode: Option<Mode>,
    /// After how many seconds of silence a contact is taken as gone; `Some(None)`: as its type has it.
    pub inactivity_secs: Option<Option<i32>>,
    /// When the contact is warned, in percent.
    pub warning_percent: Option<Option<i16>>,
    /// The words of the warning.
    pub warning_text: Option<Option<String>>,
    /// The words of the greeting.
    pub greeting: Option<Option<String>>,
    /// For how many seconds one waits for a contact who left.
    pub reconnect_secs: Option<Option<i32>>,
    /// Whether it comes before others of its type.
    pub default_outbound: Option<bool>,
}

impl TalkChange {
    /// What will stand.
    #[must_use]
    pub fn over(self, before: TalkRow) -> TalkRow {
        TalkRow {
            routing_mode: self.routing_mode.unwrap_or(before.routing_mode),
            inactivity_secs: self.inactivity_secs.unwrap_or(before.inactivity_secs),
            warning_percent: self.warning_percent.unwrap_or(before.warning_percent),
            warning_text: self.warning_text.unwrap_or(before.warning_text),
            greeting: self.greeting.unwrap_or(before.greeting),
            reconnect_secs: self.reconnect_secs.unwrap_or(before.reconnect_secs),
            default_outbound: self.default_outbound.unwrap_or(before.default_outbound),
        }
    }
}

/// Sets it, on a channel that the caller has locked.
///
/// # Errors
/// A violation when another channel of its type comes first already.
pub(super) async fn set(conn: &mut Conn, channel_id: i32, change: TalkChange, before: TalkRow) -> Result<()> {
    let after = change.over(before.clone());
    if after == before {
        return Ok(());
    }
    if after.default_outbound
        && let Some(other) = channel_talk::other_default(conn, channel_id).await?
    {
        let words = format!("is so of {} already; take it away there first", name_of(&other));
        return Err(Error::invalid("channel.default_outbound", words));
    }
    Ok(channel_talk::set(conn, channel_id, &after).await?)
}
