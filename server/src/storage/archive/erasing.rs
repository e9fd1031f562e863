//! What goes when a contact is erased, and the receipts of it. The contact is locked by the caller; each step is one statement, and
//! all of them are one transaction.

use chrono::{DateTime, Utc};
use sqlx::{QueryBuilder, Row};
use uuid::Uuid;

use super::super::{Conn, Result};

/// Locks a contact, one that was deleted too. Says whether it exists, and when it was deleted.
///
/// # Errors
/// What storage says.
pub async fn lock_contact(conn: &mut Conn, id: i64) -> Result<Option<Option<DateTime<Utc>>>> {
    Ok(sqlx::query_scalar!("select deleted_at from contact where id = $1 for update", id).fetch_optional(conn).await?)
}

/// The conversations of a contact, those in the archive among them, by id; locked.
///
/// # Errors
/// What storage says.
pub async fn lock_conversations(conn: &mut Conn, contact: i64) -> Result<Vec<Uuid>> {
    let ids = sqlx::query_scalar!("select id from conversation where contact_id = $1 order by id for update", contact);
    Ok(ids.fetch_all(conn).await?)
}

/// Locks the deliveries of what was said in conversations. Says how many of them are on the wire now.
///
/// # Errors
/// What storage says.
pub async fn on_the_wire(conn: &mut Conn, conversations: &[Uuid]) -> Result<i64> {
    let locked = sqlx::query!(
        r#"select d.id as "id!", d.work::text as "work!" from delivery d
            where d.id = any(array(select m.delivery_id from message m where m.conversation_id = any($1) and m.outbound))
            order by d.id for update"#,
        conversations
    );
    let sending = locked.fetch_all(conn).await?.into_iter().filter(|d| d.work == "sending").count();
    Ok(i64::try_from(sending).unwrap_or(i64::MAX))
}

/// Begins the receipt of an erasure.
///
/// # Errors
/// What storage says.
pub async fn begin(conn: &mut Conn, id: Uuid, contact: i64, reason: &str, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "insert into erasure (id, contact_id, reason, asked_at, erased) values ($1, $2, $3, $4, '{}')",
        id,
        contact,
        reason,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes what went into the receipt.
///
/// # Errors
/// What storage says.
pub async fn note(conn: &mut Conn, id: Uuid, erased: &serde_json::Value) -> Result<()> {
    sqlx::query!("update erasure set erased = $2 where id = $1", id, erased).execute(conn).await?;
    Ok(())
}

/// Takes conversations out of the archive: no reader finds them from now on, and their files, which are locked, are to be written
/// anew. Says how many they are, and in how many files.
///
/// # Errors
/// What storage says.
pub async fn unplace(
    conn: &mut Conn,
    conversations: &[Uuid],
    cause: &str,
    erasure: Option<Uuid>,
) -> Result<(i64, i64)> {
    let row = sqlx::query!(
        r#"with c as (delete from archived_conversation where conversation_id = any($1) returning file_id, conversation_id),
           m as (delete from archived_message where conversation_id = any($1)),
           s as (insert into archive_stain (file_id, conversation_id, cause, erasure_id)
                 select file_id, conversation_id, $2, $3 from c on conflict do nothing),
           e as (insert into erasure_file (erasure_id, name, file_id)
                 -- A file that is not live may hold it too, and one that is still to be written anew without it.
                 select $3::uuid, f.name, f.id from archive_file f
                  where $3::uuid is not null
                    and (f.state <> 'live' or f.id in (select file_id from c)
                         or f.id in (select file_id from archive_stain where conversation_id = any($1)))
                 on conflict do nothing)
           select count(*) as "conversations!", count(distinct file_id) as "files!" from c"#,
        conversations,
        cause,
        erasure
    )
    .fetch_one(conn)
    .await?;
    Ok((row.conversations, row.files))
}

/// Marks the copies of the files of what was said for removal; before the messages go. Says how many.
///
/// # Errors
/// What storage says.
pub async fn mark_media(conn: &mut Conn, conversations: &[Uuid], erasure: Uuid) -> Result<u64> {
    let done = sqlx::query!(
        r#"update media set state = 'redacted', reference = '', problem = null, orphaned = true, erasure_id = $2
            where message_id in (select id from message where conversation_id = any($1)
                                 union all select id from archived_message where conversation_id = any($1))"#,
        conversations,
        erasure
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Counts the messages of conversations, in the tables and in the archive.
///
/// # Errors
/// What storage says.
pub async fn count_messages(conn: &mut Conn, conversations: &[Uuid]) -> Result<i64> {
    let n = sqlx::query_scalar!(
        r#"select (select count(*) from message where conversation_id = any($1))
                + (select count(*) from archived_message where conversation_id = any($1)) as "n!""#,
        conversations
    );
    Ok(n.fetch_one(conn).await?)
}

/// Removes the rows of conversations themselves; their parts have gone before. The ids of imported messages stay, so that an import
/// that is repeated does not bring back what went.
///
/// # Errors
/// What storage says.
pub async fn remove_conversations(conn: &mut Conn, ids: &[Uuid]) -> Result<()> {
    sqlx::query!(
        r#"with t as (delete from conversation_timer where entity = any($1)),
           o as (delete from obligation where conversation_id = any($1)),
           x as (delete from outside_order where conversation_id = any($1)),
           i as (delete from controller_inbox where conversation_id = any($1)),
           r as (delete from controller_run where conversation_id = any($1))
           delete from conversation where id = any($1)"#,
        ids
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The addresses that a contact shares with nobody.
///
/// # Errors
/// What storage says.
pub async fn own_addresses(conn: &mut Conn, contact: i64) -> Result<Vec<i64>> {
    let ids = sqlx::query_scalar!(
        r#"select l.address_id from contact_address l
            where l.contact_id = $1
              and not exists (select from contact_address o where o.address_id = l.address_id and o.contact_id <> $1)
            order by 1"#,
        contact
    );
    Ok(ids.fetch_all(conn).await?)
}

/// Runs a statement and notes how many rows it took away.
macro_rules! wiped {
    ($conn:ident, $done:ident, $what:literal, $sql:literal, $arg:expr) => {
        $done.push(($what, sqlx::query!($sql, $arg).execute(&mut *$conn).await?.rows_affected()));
    };
}

/// Wipes what is known of a contact besides its conversations and addresses. Says how many of what.
///
/// # Errors
/// What storage says.
pub async fn wipe_contact(conn: &mut Conn, contact: i64) -> Result<Vec<(&'static str, u64)>> {
    let mut done = Vec::new();
    wiped!(
        conn,
        done,
        "attachments",
        "delete from notification_attachment where notification_id in (select id from notification where contact_id = $1)",
        contact
    );
    wiped!(
        conn,
        done,
        "captured_rows",
        "update firing set row_data = null, old_row = null, reasons = '[]'
          where notification_id in (select id from notification where contact_id = $1)",
        contact
    );
    wiped!(
        conn,
        done,
        "notifications",
        "update notification set variables = '{}', labels = null, answered_by = null where contact_id = $1",
        contact
    );
    wiped!(conn, done, "call_list_notes", "update call_list_entry set note = '' where contact_id = $1", contact);
    wiped!(conn, done, "web_chat_sessions", "delete from web_chat_session where contact_id = $1", contact);
    wiped!(conn, done, "tokens", "delete from contact_token where contact_id = $1", contact);
    Ok(done)
}

/// Wipes what is known of addresses that nobody else has, and what they are. Says how many of what.
///
/// # Errors
/// What storage says.
pub async fn wipe_addresses(conn: &mut Conn, ids: &[i64]) -> Result<Vec<(&'static str, u64)>> {
    let mut done = Vec::new();
    wiped!(
        conn,
        done,
        "providers_words",
        "update attempt set detail = null where detail is not null
            and delivery_id in (select id from delivery where address_id = any($1))",
        ids
    );
    wiped!(
        conn,
        done,
        "waiting_messages",
        "delete from inbound_inbox i using address a where a.id = any($1) and i.sender = a.kind::text || ':' || a.value",
        ids
    );
    wiped!(conn, done, "web_chats", "delete from web_chat_visitor where address_id = any($1)", ids);
    wiped!(conn, done, "consent_history", "delete from consent_history where address_id = any($1)", ids);
    wiped!(conn, done, "consents", "delete from consent where address_id = any($1)", ids);
    wiped!(conn, done, "service_windows", "delete from service_window where address_id = any($1)", ids);
    wiped!(
        conn,
        done,
        "addresses",
        "update address set value = 'erased:' || id, suppressed_at = coalesce(suppressed_at, clock_timestamp()),
                suppression_reason = 'ERASED' where id = any($1)",
        ids
    );
    Ok(done)
}

/// Empties the row of a contact, which stays so that references lead to nobody and not to somebody else.
///
/// # Errors
/// What storage says.
pub async fn empty_contact(conn: &mut Conn, contact: i64, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!("delete from contact_address where contact_id = $1", contact).execute(&mut *conn).await?;
    sqlx::query!(
        r#"update contact set display_name = '', external_id = null, locale = '', time_zone = '', attributes = '{}',
                  version = version + 1, updated_at = $2, deleted_at = coalesce(deleted_at, $2) where id = $1"#,
        contact,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends the erasures of which nothing is left: no file that holds something, no copy of a file. Says which.
///
/// # Errors
/// What storage says.
pub async fn end_done(conn: &mut Conn, now: DateTime<Utc>) -> Result<Vec<(Uuid, i64)>> {
    sqlx::query!("delete from media where orphaned and state = 'redacted' and sha256 is null")
        .execute(&mut *conn)
        .await?;
    // A file that was being written when it was asked for, and became live without it.
    sqlx::query!(
        r#"delete from erasure_file e using archive_file f
            where f.id = e.file_id and e.removed_at is null and f.state = 'live'
              and not exists (select from archive_stain s where s.file_id = f.id)"#
    )
    .execute(&mut *conn)
    .await?;
    let rows = sqlx::query!(
        r#"update erasure e set done_at = $1
            where e.done_at is null
              and not exists (select from erasure_file f where f.erasure_id = e.id and f.removed_at is null)
              and not exists (select from media f where f.erasure_id = e.id)
           returning e.id, e.contact_id"#,
        now
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|r| (r.id, r.contact_id)).collect())
}

/// The receipt of an erasure.
#[derive(Debug, Clone, PartialEq)]
pub struct ErasureRow {
    /// Its id.
    pub id: Uuid,
    /// The contact.
    pub contact_id: i64,
    /// Why it was asked for.
    pub reason: String,
    /// When it was asked for: from then on nothing of it is read.
    pub asked_at: DateTime<Utc>,
    /// When the last file was free of it.
    pub done_at: Option<DateTime<Utc>>,
    /// How many of what went.
    pub erased: serde_json::Value,
    /// The files of the archive that held something of it, each with the time at which it was gone.
    pub files: Vec<(String, Option<DateTime<Utc>>)>,
}

/// What a list of erasures asks for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted {
    /// Only of this contact.
    pub contact: Option<i64>,
    /// Only those that are under way.
    pub under_way: bool,
    /// Behind this one.
    pub before: Option<Uuid>,
}

/// The ids of a page of erasures, the newest first.
///
/// # Errors
/// What storage says.
pub async fn page(conn: &mut Conn, wanted: &Wanted, limit: i64) -> Result<Vec<Uuid>> {
    let mut query = QueryBuilder::new("select id from erasure where true");
    if let Some(contact) = wanted.contact {
        query.push(" and contact_id = ").push_bind(contact);
    }
    if wanted.under_way {
        query.push(" and done_at is null");
    }
    if let Some(before) = wanted.before {
        query.push(" and id < ").push_bind(before);
    }
    let rows = query.push(" order by id desc limit ").push_bind(limit).build().fetch_all(conn).await?;
    rows.into_iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Erasures by their ids, in this order.
///
/// # Errors
/// What storage says.
pub async fn load(conn: &mut Conn, ids: &[Uuid]) -> Result<Vec<ErasureRow>> {
    let rows = sqlx::query!(
        r#"select e.id as "id!", e.contact_id as "contact_id!", e.reason as "reason!", e.asked_at as "asked_at!",
                  e.done_at as "done_at?", e.erased as "erased!",
                  array(select f.name from erasure_file f where f.erasure_id = e.id order by f.name) as "names!",
                  array(select f.removed_at from erasure_file f where f.erasure_id = e.id order by f.name)
                    as "removed!: Vec<Option<DateTime<Utc>>>"
             from unnest($1::uuid[]) with ordinality as x(id, position) join erasure e on e.id = x.id order by x.position"#,
        ids
    )
    .fetch_all(conn)
    .await?;
    let receipt = rows.into_iter().map(|r| ErasureRow {
        id: r.id,
        contact_id: r.contact_id,
        reason: r.reason,
        asked_at: r.asked_at,
        done_at: r.done_at,
        erased: r.erased,
        files: r.names.into_iter().zip(r.removed).collect(),
    });
    Ok(receipt.collect())
}

/// Archived conversations that were closed before `before`, those that were closed first.
///
/// # Errors
/// What storage says.
pub async fn expired(conn: &mut Conn, before: DateTime<Utc>, limit: i64) -> Result<Vec<Uuid>> {
    let ids = sqlx::query_scalar!(
        "select id from conversation where archived_at is not null and closed_at < $1 order by closed_at, id limit $2",
        before,
        limit
    );
    Ok(ids.fetch_all(conn).await?)
}

/// Locks conversations of the archive, by id; those that are gone are left out.
///
/// # Errors
/// What storage says.
pub async fn lock_archived(conn: &mut Conn, ids: &[Uuid]) -> Result<Vec<Uuid>> {
    let ids = sqlx::query_scalar!(
        "select id from conversation where id = any($1) and archived_at is not null order by id for update",
        ids
    );
    Ok(ids.fetch_all(conn).await?)
}

/// Marks the copies of the files of expired conversations for removal; before the index of their messages goes.
///
/// # Errors
/// What storage says.
pub async fn expire_media(conn: &mut Conn, conversations: &[Uuid]) -> Result<u64> {
    let done = sqlx::query!(
        r#"update media set state = 'redacted', reference = '', problem = null, orphaned = true
            where message_id in (select id from archived_message where conversation_id = any($1))"#,
        conversations
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
