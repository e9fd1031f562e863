//! The copies of media: what waits to be fetched from its provider, and where what was fetched lies.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::super::{Conn, Result};

/// Notes that the file of a message is to be fetched, in the transaction that stores the message.
///
/// # Errors
/// What storage says.
pub async fn want(
    conn: &mut Conn,
    message: Uuid,
    (channel, provider): (i32, Option<i32>),
    (reference, mime_type): (&str, &str),
) -> Result<()> {
    sqlx::query!(
        r#"insert into media (message_id, channel_id, provider_id, reference, mime_type) values ($1, $2, $3, $4, $5)
           on conflict do nothing"#,
        message,
        channel,
        provider,
        reference,
        mime_type
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A file to be fetched.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// The message that it belongs to.
    pub message_id: Uuid,
    /// Its channel.
    pub channel_id: i32,
    /// The provider that brought it.
    pub provider_id: Option<i32>,
    /// The provider's id or link.
    pub reference: String,
    /// The MIME type, as declared.
    pub mime_type: String,
    /// How often it was tried, this time included.
    pub tries: i16,
}

/// Takes files that are due, the oldest first, for `lease_secs`.
///
/// # Errors
/// What storage says.
pub async fn take(conn: &mut Conn, limit: i64, lease_secs: f64) -> Result<Vec<Waiting>> {
    let rows = sqlx::query_as!(
        Waiting,
        r#"update media f set tries = tries + 1, not_before = clock_timestamp() + make_interval(secs => $2)
             from (select message_id from media where state = 'waiting' and not_before <= clock_timestamp()
                    order by not_before, message_id limit $1 for update skip locked) d
            where f.message_id = d.message_id
            returning f.message_id as "message_id!", f.channel_id as "channel_id!", f.provider_id as "provider_id?",
                      f.reference as "reference!", f.mime_type as "mime_type!", f.tries as "tries!""#,
        limit,
        lease_secs
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Keeps whoever stores or removes a file of this content apart, until the transaction ends.
///
/// # Errors
/// What storage says.
pub async fn lock_content(conn: &mut Conn, sha256: &[u8]) -> Result<()> {
    sqlx::query!(
        r#"select pg_advisory_xact_lock(hashtextextended(encode($1, 'hex'), 5395))::text as "locked?""#,
        sha256
    )
    .fetch_one(conn)
    .await?;
    Ok(())
}

/// Records that a file is in the store. Says whether it is still wanted: its message may have been redacted meanwhile.
///
/// # Errors
/// What storage says.
pub async fn stored(conn: &mut Conn, message: Uuid, sha256: &[u8], size: i64, mime_type: &str) -> Result<bool> {
    let done = sqlx::query!(
        r#"update media set state = 'stored', sha256 = $2, size = $3, mime_type = $4, problem = null,
                            stored_at = clock_timestamp()
            where message_id = $1 and state = 'waiting'"#,
        message,
        sha256,
        size,
        mime_type
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Records why a file could not be fetched: tried again after `again_secs`, or never.
///
/// # Errors
/// What storage says.
pub async fn not_stored(conn: &mut Conn, message: Uuid, state: &str, problem: &str, again_secs: f64) -> Result<()> {
    sqlx::query!(
        r#"update media set state = $2, problem = $3, not_before = clock_timestamp() + make_interval(secs => $4)
            where message_id = $1 and state = 'waiting'"#,
        message,
        state,
        problem,
        again_secs
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The file of a message.
#[derive(Debug, Clone)]
pub struct MediaRow {
    /// `waiting`, `stored`, `refused`, `lost` or `redacted`.
    pub state: String,
    /// The MIME type.
    pub mime_type: String,
    /// The hash of its bytes, once they are stored.
    pub sha256: Option<Vec<u8>>,
    /// Its size in bytes.
    pub size: Option<i64>,
    /// Why it is not stored.
    pub problem: Option<String>,
    /// When it was stored.
    pub stored_at: Option<DateTime<Utc>>,
}

/// The file of a message, if it has one.
///
/// # Errors
/// What storage says.
pub async fn of(conn: &mut Conn, message: Uuid) -> Result<Option<MediaRow>> {
    let row = sqlx::query_as!(
        MediaRow,
        "select state, mime_type, sha256, size, problem, stored_at from media where message_id = $1",
        message
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// Contents whose messages were redacted and that are still in the store.
///
/// # Errors
/// What storage says.
pub async fn to_remove(conn: &mut Conn, limit: i64) -> Result<Vec<Vec<u8>>> {
    let rows = sqlx::query_scalar!(
        r#"select distinct sha256 as "sha256!" from media where state = 'redacted' and sha256 is not null limit $1"#,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Whether another message still has this content; the content is locked by the caller.
///
/// # Errors
/// What storage says.
pub async fn is_used(conn: &mut Conn, sha256: &[u8]) -> Result<bool> {
    let used = sqlx::query_scalar!(
        r#"select exists (select from media where sha256 = $1 and state = 'stored') as "used!""#,
        sha256
    );
    Ok(used.fetch_one(conn).await?)
}

/// Forgets where a content lay for all whose messages were redacted.
///
/// # Errors
/// What storage says.
pub async fn removed(conn: &mut Conn, sha256: &[u8]) -> Result<()> {
    sqlx::query!("update media set sha256 = null, size = null where sha256 = $1 and state = 'redacted'", sha256)
        .execute(conn)
        .await?;
    Ok(())
}
