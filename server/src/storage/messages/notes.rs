//! Notes: messages that stay within a conversation. They have no channel, no address and no delivery.

use chrono::{DateTime, Utc};
use domain::message::{CURRENT, Content, Envelope};
use uuid::Uuid;

use super::super::{Conn, Result};

/// The phase of a conversation, which is locked; none when it does not exist.
///
/// # Errors
/// What storage says.
pub async fn lock_conversation(conn: &mut Conn, id: Uuid) -> Result<Option<String>> {
    let phase = sqlx::query_scalar!("select phase from conversation where id = $1 for update", id);
    Ok(phase.fetch_optional(conn).await?)
}

/// A note to be written.
#[derive(Debug, Clone)]
pub struct NewNote {
    /// A UUIDv7.
    pub id: Uuid,
    /// The conversation, locked by the caller.
    pub conversation_id: Uuid,
    /// The words.
    pub content: Content,
    /// Who wrote it.
    pub envelope: Envelope,
}

/// Writes a note. It moves neither the active channel nor anything else of the conversation but its order.
///
/// # Errors
/// What storage says.
pub async fn write(conn: &mut Conn, note: &NewNote, now: DateTime<Utc>) -> Result<()> {
    let (content, envelope) = (serde_json::to_value(&note.content)?, serde_json::to_value(&note.envelope)?);
    sqlx::query!(
        r#"with c as (update conversation set last_seq = last_seq + 1, changed_at = greatest(changed_at, $6) where id = $2
                      returning last_seq, contact_id),
           m as (
             insert into message (id, conversation_id, seq, outbound, internal, sender, receiver, content, plain_text,
                                  received_at, envelope, schema_version, dictionary)
             select $1, $2, c.last_seq, true, true, $3, '', $4, $5, $6, $7, $8,
                    search_dictionary(coalesce($7::jsonb->>'language',
                                               (select k.locale from contact k where k.id = c.contact_id), ''))
               from c returning id)
           insert into event_out (kind, type, ids, data, at)
           select 'message', 'note_added', array[m.id], jsonb_build_object('conversation', $2::uuid), $6 from m"#,
        note.id,
        note.conversation_id,
        note.envelope.sender.display,
        content,
        note.content.plain_text(),
        now,
        envelope,
        CURRENT.version()
    )
    .execute(conn)
    .await?;
    Ok(())
}
