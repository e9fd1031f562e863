//! Taking the words of a message away. The one change of a stored message that the database lets through.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::super::{Conn, Result};

/// A message that is locked together with its conversation.
#[derive(Debug, Clone)]
pub struct Locked {
    /// Whether its words were taken away before.
    pub redacted: bool,
    /// Whether it is still to be sent, or is being sent now.
    pub on_its_way: bool,
}

/// Locks the conversation of a message, then its delivery; none when there is no such message.
///
/// # Errors
/// What storage says.
pub async fn lock(conn: &mut Conn, id: Uuid) -> Result<Option<Locked>> {
    let conversation = sqlx::query_scalar!(
        "select v.id from conversation v where v.id = (select conversation_id from message where id = $1) for update",
        id
    )
    .fetch_optional(&mut *conn)
    .await?;
    if conversation.is_none() {
        return Ok(None);
    }
    sqlx::query!(
        "select id from delivery where id = (select delivery_id from message where id = $1 and outbound) for update",
        id
    )
    .fetch_optional(&mut *conn)
    .await?;
    let locked = sqlx::query_as!(
        Locked,
        r#"select m.redaction is not null as "redacted!",
                  coalesce(d.work in ('queued', 'sending'), false) as "on_its_way!"
             from message m left join delivery d on d.id = m.delivery_id and m.outbound where m.id = $1"#,
        id
    )
    .fetch_optional(conn)
    .await?;
    Ok(locked)
}

/// Puts the mark in the place of the words, marks the copy of its file for removal, and says so to readers of events.
///
/// # Errors
/// What storage says.
pub async fn redact(conn: &mut Conn, id: Uuid, mark: &serde_json::Value, now: DateTime<Utc>) -> Result<()> {
    let words = domain::message::REDACTED;
    sqlx::query!(
        r#"with m as (
             update message set content = '{"type": "redacted"}', plain_text = $2, redaction = $3,
                                envelope = envelope #- '{template,parameters}'
              where id = $1 and redaction is null returning id, conversation_id, channel_id, outbound),
           f as (update media set state = 'redacted', reference = '', problem = null
                  where message_id in (select id from m))
           insert into event_out (kind, type, channel_id, ids, data, at)
           select 'message', 'redacted', m.channel_id, array[m.id],
                  jsonb_build_object('conversation', m.conversation_id, 'outbound', m.outbound), $4 from m"#,
        id,
        words,
        mark,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}
