//! Conversations on their way into the archive: found, locked, indexed, and dropped from the tables.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::super::{Conn, Result};

/// Conversations that were closed before `before` and are at rest, those that were closed first.
///
/// # Errors
/// What storage says.
pub async fn ready(conn: &mut Conn, before: DateTime<Utc>, limit: i64) -> Result<Vec<Uuid>> {
    let ids = sqlx::query_scalar!(
        r#"select v.id from conversation v
            where v.phase = 'closed' and v.archived_at is null and v.closed_at <= $1 and is_at_rest(v.id)
            order by v.closed_at, v.id limit $2"#,
        before,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(ids)
}

/// Locks conversations, then their deliveries, each by key. Says which of them are still at rest; a conversation that is locked by
/// somebody else is left out.
///
/// # Errors
/// What storage says.
pub async fn lock(conn: &mut Conn, ids: &[Uuid]) -> Result<Vec<Uuid>> {
    let locked = sqlx::query_scalar!(
        "select id from conversation where id = any($1) and archived_at is null order by id for update skip locked",
        ids
    )
    .fetch_all(&mut *conn)
    .await?;
    let messages =
        sqlx::query_scalar!("select delivery_id from message where conversation_id = any($1) and outbound", &locked);
    let mut deliveries: Vec<Uuid> = messages.fetch_all(&mut *conn).await?.into_iter().flatten().collect();
    deliveries.sort_unstable();
    // Receipts are merged under these locks: none comes between the second look and the end.
    sqlx::query!("select id from delivery where id = any($1) order by id for update", &deliveries)
        .fetch_all(&mut *conn)
        .await?;
    let ids = sqlx::query_scalar!(
        r#"select x.id as "id!" from unnest($1::uuid[]) x(id) where is_at_rest(x.id) order by 1"#,
        &locked
    )
    .fetch_all(conn)
    .await?;
    Ok(ids)
}

/// What else a record says of a conversation.
#[derive(Debug, Clone)]
pub struct Besides {
    /// What the contact is called.
    pub contact_name: String,
}

/// What a record says besides what is shown of a conversation; none when it does not exist.
///
/// # Errors
/// What storage says.
pub async fn besides(conn: &mut Conn, id: Uuid) -> Result<Option<Besides>> {
    let row = sqlx::query_as!(
        Besides,
        r#"select coalesce(k.display_name, '') as "contact_name!"
             from conversation v left join contact k on k.id = v.contact_id where v.id = $1"#,
        id
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// Where one conversation lies in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The conversation.
    pub conversation_id: Uuid,
    /// Where its record begins.
    pub first_byte: i64,
    /// How long it is.
    pub bytes: i64,
    /// How many activities it has.
    pub activities: i64,
    /// Its channel sessions and participants.
    pub parts: Vec<Uuid>,
}

/// Writes down where a conversation lies, and what lists of messages ask for. The conversation is locked.
///
/// # Errors
/// What storage says.
pub async fn place(conn: &mut Conn, file: i64, placed: &Placed) -> Result<()> {
    sqlx::query!(
        r#"with m as (
             insert into archived_message (id, conversation_id, seq, outbound, internal, channel_id, notification_id, delivery_id,
                                           received_at)
             select id, conversation_id, seq, outbound, internal, channel_id, notification_id, delivery_id, received_at
               from message where conversation_id = $2)
           insert into archived_conversation (conversation_id, file_id, first_byte, bytes, activities, parts)
           values ($2, $1, $3, $4, $5, $6)"#,
        file,
        placed.conversation_id,
        placed.first_byte,
        placed.bytes,
        placed.activities,
        &placed.parts
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes that a file holds a conversation that changed before it could be indexed: the file is to be written anew without it.
///
/// # Errors
/// What storage says.
pub async fn stain(conn: &mut Conn, file: i64, conversation: Uuid) -> Result<()> {
    sqlx::query!(
        "insert into archive_stain (file_id, conversation_id, cause) values ($1, $2, 'changed')",
        file,
        conversation
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Removes from the tables what is in the archive now. Deliveries of notifications stay: they are their history.
///
/// # Errors
/// What storage says.
pub async fn drop_rows(conn: &mut Conn, ids: &[Uuid], now: DateTime<Utc>) -> Result<u64> {
    drop_parts(conn, ids).await?;
    let done =
        sqlx::query!("update conversation set archived_at = $2 where id = any($1)", ids, now).execute(conn).await?;
    Ok(done.rows_affected())
}

/// Removes everything of conversations but their rows and the copies of their files.
///
/// # Errors
/// What storage says.
pub async fn drop_parts(conn: &mut Conn, ids: &[Uuid]) -> Result<()> {
    sqlx::query!(
        r#"with own as (select d.id from message m join delivery d on d.id = m.delivery_id
                         where m.conversation_id = any($1) and m.outbound and d.notification_id is null),
           a as (delete from attempt where delivery_id in (select id from own)),
           r as (delete from receipt where delivery_id in (select id from own))
           delete from delivery where id in (select id from own)"#,
        ids
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        r#"with s as (delete from channel_session where conversation_id = any($1)),
           p as (delete from participant where conversation_id = any($1)),
           g as (delete from conversation_change where conversation_id = any($1)),
           k as (delete from read_mark where conversation_id = any($1)),
           i as (delete from imported_conversation where conversation_id = any($1))
           delete from message where conversation_id = any($1)"#,
        ids
    )
    .execute(conn)
    .await?;
    Ok(())
}
