//! How conversations are held on a channel: what an administrator sets of it besides its providers and its rate.

use std::collections::HashMap;

use domain::conversation::routing::Mode;

use super::{Conn, Result};

/// How conversations are held on a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TalkRow {
    /// How they reach agents.
    pub routing_mode: Mode,
    /// After how many seconds of silence a contact is taken as gone; none: as its type has it; 0: never.
    pub inactivity_secs: Option<i32>,
    /// When the contact is warned, in percent of that; none: 80; 0: never.
    pub warning_percent: Option<i16>,
    /// The words of the warning; none: it is not said.
    pub warning_text: Option<String>,
    /// What is said when the contact begins a session; none: nothing.
    pub greeting: Option<String>,
    /// For how many seconds one waits for a contact who left; none: not.
    pub reconnect_secs: Option<i32>,
    /// Whether it is used first where no channel is named.
    pub default_outbound: bool,
}

impl Default for TalkRow {
    fn default() -> Self {
        Self {
            routing_mode: Mode::Push,
            inactivity_secs: None,
            warning_percent: None,
            warning_text: None,
            greeting: None,
            reconnect_secs: None,
            default_outbound: false,
        }
    }
}

/// How conversations are held on channels, by their keys.
///
/// # Errors
/// What storage says.
pub async fn load(conn: &mut Conn, channels: &[i32]) -> Result<HashMap<i32, TalkRow>> {
    let rows = sqlx::query!(
        r#"select id, routing_mode, inactivity_secs, warning_percent, warning_text, greeting, reconnect_secs, default_outbound
             from channel where id = any($1)"#,
        channels
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|r| {
            let talk = TalkRow {
                routing_mode: r.routing_mode.parse()?,
                inactivity_secs: r.inactivity_secs,
                warning_percent: r.warning_percent,
                warning_text: r.warning_text,
                greeting: r.greeting,
                reconnect_secs: r.reconnect_secs,
                default_outbound: r.default_outbound,
            };
            Ok((r.id, talk))
        })
        .collect()
}

/// The slug of another channel of the same type that is used first already.
///
/// # Errors
/// What storage says.
pub async fn other_default(conn: &mut Conn, channel_id: i32) -> Result<Option<String>> {
    let slug = sqlx::query_scalar!(
        r#"select o.slug from channel c join channel o on o.channel_type = c.channel_type and o.id <> c.id
            where c.id = $1 and o.default_outbound and o.deleted_at is null"#,
        channel_id
    )
    .fetch_optional(conn)
    .await?;
    Ok(slug)
}

/// Sets how conversations are held on a channel that the caller has locked.
///
/// # Errors
/// [`super::Error::Exists`] when another channel of its type is used first already.
pub async fn set(conn: &mut Conn, channel_id: i32, talk: &TalkRow) -> Result<()> {
    sqlx::query!(
        r#"update channel set routing_mode = $2, inactivity_secs = $3, warning_percent = $4, warning_text = $5, greeting = $6,
                  reconnect_secs = $7, default_outbound = $8 where id = $1"#,
        channel_id,
        talk.routing_mode.as_str(),
        talk.inactivity_secs,
        talk.warning_percent,
        talk.warning_text,
        talk.greeting,
        talk.reconnect_secs,
        talk.default_outbound
    )
    .execute(conn)
    .await?;
    Ok(())
}
