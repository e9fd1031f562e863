//! The files of the archive: announced before they are written, live once their rows stand, dropped before they are removed. Whoever
//! is between two of these when it dies leaves a row that says so.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::super::{Conn, Result};

/// A file of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRow {
    /// Its key.
    pub id: i64,
    /// Its name in the file store.
    pub name: String,
}

/// Announces a file that is about to be written. One of the same content that was announced before, and left behind, is adopted;
/// none where it is live, or is being removed.
///
/// # Errors
/// What storage says.
pub async fn announce(conn: &mut Conn, name: &str, size: i64) -> Result<Option<i64>> {
    let id = sqlx::query_scalar!(
        r#"insert into archive_file (name, size) values ($1, $2)
           on conflict (name) do update set announced_at = clock_timestamp() where archive_file.state = 'announced'
           returning id"#,
        name,
        size
    );
    Ok(id.fetch_optional(conn).await?)
}

/// Makes an announced file live. Says whether it was still announced: a sweep may have taken it as left behind.
///
/// # Errors
/// What storage says.
pub async fn make_live(conn: &mut Conn, id: i64) -> Result<bool> {
    let done = sqlx::query!("update archive_file set state = 'live' where id = $1 and state = 'announced'", id)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// Locks a live file: nobody stains it, writes it anew or drops it meanwhile.
///
/// # Errors
/// What storage says.
pub async fn lock(conn: &mut Conn, id: i64) -> Result<bool> {
    let found = sqlx::query_scalar!("select id from archive_file where id = $1 and state = 'live' for update", id);
    Ok(found.fetch_optional(conn).await?.is_some())
}

/// Locks the live files in which conversations lie, by key. While one waits for a lock, the file may be written anew under another
/// name: then the new one is locked.
///
/// # Errors
/// What storage says; [`super::super::Error::Unavailable`] when they are written anew again and again.
pub async fn lock_of(conn: &mut Conn, conversations: &[Uuid]) -> Result<()> {
    let mut seen = files_of(conn, conversations).await?;
    for _ in 0..5 {
        sqlx::query!("select id from archive_file where id = any($1) order by id for update", &seen)
            .fetch_all(&mut *conn)
            .await?;
        let now = files_of(conn, conversations).await?;
        if now == seen {
            return Ok(());
        }
        seen = now;
    }
    Err(super::super::Error::no_answer())
}

async fn files_of(conn: &mut Conn, conversations: &[Uuid]) -> Result<Vec<i64>> {
    let ids = sqlx::query_scalar!(
        "select distinct file_id from archived_conversation where conversation_id = any($1) order by 1",
        conversations
    );
    Ok(ids.fetch_all(conn).await?)
}

/// Drops a file: it is removed from the store next.
///
/// # Errors
/// What storage says.
pub async fn drop_file(conn: &mut Conn, id: i64) -> Result<()> {
    sqlx::query!(
        r#"with s as (delete from archive_stain where file_id = $1)
           update archive_file set state = 'dropped', dropped_at = clock_timestamp() where id = $1"#,
        id
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Drops a file that was announced and will not become live; one that another process made live stays.
///
/// # Errors
/// What storage says.
pub async fn drop_announced(conn: &mut Conn, id: i64) -> Result<()> {
    sqlx::query!(
        "update archive_file set state = 'dropped', dropped_at = clock_timestamp() where id = $1 and state = 'announced'",
        id
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Drops files that were announced before `before` and never became live: whoever wrote them is gone.
///
/// # Errors
/// What storage says.
pub async fn drop_left_behind(conn: &mut Conn, before: DateTime<Utc>) -> Result<u64> {
    let done = sqlx::query!(
        r#"update archive_file set state = 'dropped', dropped_at = clock_timestamp()
            where state = 'announced' and announced_at < $1"#,
        before
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Files that are dropped and not removed yet.
///
/// # Errors
/// What storage says.
pub async fn dropped(conn: &mut Conn, limit: i64) -> Result<Vec<FileRow>> {
    let rows = sqlx::query_as!(
        FileRow,
        "select id, name from archive_file where state = 'dropped' order by id limit $1",
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Forgets a file that is not in the store any more, and notes it in the receipts of erasures.
///
/// # Errors
/// What storage says.
pub async fn forget(conn: &mut Conn, id: i64, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        r#"with e as (update erasure_file set removed_at = $2 where file_id = $1 and removed_at is null)
           delete from archive_file where id = $1 and state = 'dropped'"#,
        id,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes a name that stands in the store and in no row, so that it can be removed: nobody can announce it meanwhile. Says whether
/// it was free.
///
/// # Errors
/// What storage says.
pub async fn take_unknown(conn: &mut Conn, name: &str, size: i64) -> Result<bool> {
    let done = sqlx::query!(
        r#"insert into archive_file (name, size, state, dropped_at) values ($1, $2, 'dropped', clock_timestamp())
           on conflict (name) do nothing"#,
        name,
        size
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Live files that hold what they may not hold any more.
///
/// # Errors
/// What storage says.
pub async fn stained(conn: &mut Conn, limit: i64) -> Result<Vec<FileRow>> {
    let rows = sqlx::query_as!(
        FileRow,
        r#"select id, name from archive_file
            where state = 'live' and id = any(array(select file_id from archive_stain order by stained_at limit $1))
            order by id"#,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// What lies in a file, in the order in which it does, and what was taken away from it: a look that must be the same when the
/// file that replaces it becomes live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// Conversations with the first byte and the length of their records.
    pub conversations: Vec<(Uuid, i64, i64)>,
    /// Messages whose words are to go, with the mark.
    pub redacted: Vec<(Uuid, Uuid, String)>,
    /// What was taken away: conversation and cause.
    pub stains: Vec<(Uuid, String)>,
}

/// Reads what lies in a file.
///
/// # Errors
/// What storage says.
pub async fn contents(conn: &mut Conn, id: i64) -> Result<Contents> {
    let conversations = sqlx::query!(
        "select conversation_id, first_byte, bytes from archived_conversation where file_id = $1 order by first_byte",
        id
    )
    .fetch_all(&mut *conn)
    .await?;
    let redacted = sqlx::query!(
        r#"select m.conversation_id as "conversation_id!", m.id as "id!", m.redaction::text as "mark!"
             from archived_conversation c join archived_message m on m.conversation_id = c.conversation_id
            where c.file_id = $1 and m.redaction is not null
              and exists (select from archive_stain s where s.file_id = $1 and s.conversation_id = m.conversation_id)
            order by m.id"#,
        id
    )
    .fetch_all(&mut *conn)
    .await?;
    let stains = sqlx::query!(
        "select conversation_id, cause from archive_stain where file_id = $1 order by conversation_id, cause",
        id
    )
    .fetch_all(conn)
    .await?;
    Ok(Contents {
        conversations: conversations.into_iter().map(|r| (r.conversation_id, r.first_byte, r.bytes)).collect(),
        redacted: redacted.into_iter().map(|r| (r.conversation_id, r.id, r.mark)).collect(),
        stains: stains.into_iter().map(|r| (r.conversation_id, r.cause)).collect(),
    })
}

/// Says where conversations lie from now on.
///
/// # Errors
/// What storage says.
pub async fn move_to(conn: &mut Conn, file: i64, placed: &[(Uuid, i64, i64)]) -> Result<u64> {
    let ids: Vec<Uuid> = placed.iter().map(|(id, ..)| *id).collect();
    let firsts: Vec<i64> = placed.iter().map(|(_, first, _)| *first).collect();
    let bytes: Vec<i64> = placed.iter().map(|(.., bytes)| *bytes).collect();
    let done = sqlx::query!(
        r#"update archived_conversation c set file_id = $1, first_byte = x.first, bytes = x.bytes
             from unnest($2::uuid[], $3::bigint[], $4::bigint[]) x(id, first, bytes) where c.conversation_id = x.id"#,
        file,
        &ids,
        &firsts,
        &bytes
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// What a person should know of the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Live files.
    pub files: i64,
    /// Conversations in them.
    pub conversations: i64,
    /// Files that have held for a day what they may not hold.
    pub overdue_stains: i64,
    /// Files that have been dropped for a day and are not removed.
    pub overdue_removals: i64,
    /// When the oldest conversation that waits was closed, if it was before the moment that was asked for.
    pub oldest_waiting: Option<DateTime<Utc>>,
}

/// How the archive stands; `late` is the moment before which a closed conversation should have gone, if any should.
///
/// # Errors
/// What storage says.
pub async fn standing(conn: &mut Conn, late: Option<DateTime<Utc>>) -> Result<Standing> {
    let row = sqlx::query_as!(
        Standing,
        r#"select (select count(*) from archive_file where state = 'live') as "files!",
                  (select count(*) from archived_conversation) as "conversations!",
                  (select count(distinct file_id) from archive_stain
                    where stained_at < clock_timestamp() - interval '1 day') as "overdue_stains!",
                  (select count(*) from archive_file where state = 'dropped'
                      and dropped_at < clock_timestamp() - interval '1 day') as "overdue_removals!",
                  (select min(closed_at) from conversation where phase = 'closed' and archived_at is null
                      and closed_at < $1) as "oldest_waiting?""#,
        late
    )
    .fetch_one(conn)
    .await?;
    Ok(row)
}

/// The hashes of files of messages that no message has, of those that are asked about.
///
/// # Errors
/// What storage says.
pub async fn is_known_media(conn: &mut Conn, sha256: &[u8]) -> Result<bool> {
    let known = sqlx::query_scalar!(r#"select exists (select from media where sha256 = $1) as "known!""#, sha256);
    Ok(known.fetch_one(conn).await?)
}
