//! Where what is asked for lies: by conversation, by message, by channel session or participant.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::super::{Conn, Result};

/// The place of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The conversation.
    pub conversation_id: Uuid,
    /// The person, as it is now: two contacts may have become one.
    pub contact_id: i64,
    /// The name of its file.
    pub file: String,
    /// Where its record begins.
    pub first_byte: i64,
    /// How long it is.
    pub bytes: i64,
}

/// The place of a conversation; none when it is not in the archive.
///
/// # Errors
/// What storage says.
pub async fn place(conn: &mut Conn, conversation: Uuid) -> Result<Option<Place>> {
    let row = sqlx::query_as!(
        Place,
        r#"select c.conversation_id as "conversation_id!", v.contact_id as "contact_id!", f.name as "file!",
                  c.first_byte as "first_byte!", c.bytes as "bytes!"
             from archived_conversation c join archive_file f on f.id = c.file_id join conversation v on v.id = c.conversation_id
            where c.conversation_id = $1"#,
        conversation
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// The conversation in the archive that has this channel session or participant.
///
/// # Errors
/// What storage says.
pub async fn by_part(conn: &mut Conn, part: Uuid) -> Result<Option<Uuid>> {
    let id =
        sqlx::query_scalar!("select conversation_id from archived_conversation where parts @> array[$1::uuid]", part);
    Ok(id.fetch_optional(conn).await?)
}

/// The conversations in the archive that have these messages: message, conversation.
///
/// # Errors
/// What storage says.
pub async fn by_messages(conn: &mut Conn, messages: &[Uuid]) -> Result<Vec<(Uuid, Uuid)>> {
    let rows = sqlx::query!("select id, conversation_id from archived_message where id = any($1)", messages);
    Ok(rows.fetch_all(conn).await?.into_iter().map(|r| (r.id, r.conversation_id)).collect())
}

/// The marks of redactions in a conversation of the archive: message, mark.
///
/// # Errors
/// What storage says.
pub async fn redactions(conn: &mut Conn, conversation: Uuid) -> Result<Vec<(Uuid, serde_json::Value)>> {
    let rows = sqlx::query!(
        r#"select id, redaction as "redaction!" from archived_message where conversation_id = $1 and redaction is not null"#,
        conversation
    );
    Ok(rows.fetch_all(conn).await?.into_iter().map(|r| (r.id, r.redaction)).collect())
}

/// How the copies of the files of messages stand: message, state, size.
///
/// # Errors
/// What storage says.
pub async fn media(conn: &mut Conn, messages: &[Uuid]) -> Result<Vec<(Uuid, String, Option<i64>)>> {
    let rows = sqlx::query!("select message_id, state, size from media where message_id = any($1)", messages);
    Ok(rows.fetch_all(conn).await?.into_iter().map(|r| (r.message_id, r.state, r.size)).collect())
}

/// Takes the words of a message in the archive away: readers see the mark at once, and its file is to be written anew. Says whether
/// it is in the archive.
///
/// # Errors
/// What storage says.
pub async fn redact(conn: &mut Conn, message: Uuid, mark: &serde_json::Value, now: DateTime<Utc>) -> Result<bool> {
    let Some((_, conversation)) = by_messages(&mut *conn, &[message]).await?.pop() else { return Ok(false) };
    super::files::lock_of(&mut *conn, &[conversation]).await?;
    sqlx::query!(
        r#"with m as (update archived_message set redaction = $2 where id = $1 and redaction is null
                      returning conversation_id, channel_id, outbound),
           f as (update media set state = 'redacted', reference = '', problem = null where message_id = $1
                    and exists (select from m)),
           s as (insert into archive_stain (file_id, conversation_id, cause)
                 select c.file_id, c.conversation_id, 'redacted'
                   from m join archived_conversation c on c.conversation_id = m.conversation_id
                 on conflict do nothing)
           insert into event_out (kind, type, channel_id, ids, data, at)
           select 'message', 'redacted', m.channel_id, array[$1::uuid],
                  jsonb_build_object('conversation', m.conversation_id, 'outbound', m.outbound), $3 from m"#,
        message,
        mark,
        now
    )
    .execute(conn)
    .await?;
    Ok(true)
}
