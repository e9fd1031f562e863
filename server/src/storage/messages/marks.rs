//! How far the business has read, the receipts of what it said, and the small signs that providers are given.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::super::{Conn, Result, history::ReceiptRow};

/// How far a reader has read a conversation.
#[derive(Debug, Clone)]
pub struct MarkRow {
    /// The conversation.
    pub conversation_id: Uuid,
    /// Who read; empty: the business as a whole.
    pub reader: String,
    /// The last message that was read.
    pub message_id: Uuid,
    /// Its place.
    pub seq: i64,
    /// When it was marked.
    pub read_at: DateTime<Utc>,
    /// Messages of the contact behind it.
    pub unread: i64,
}

/// The place of a message in a conversation, or of the last one where none is named; none when there is no such message.
///
/// # Errors
/// What storage says.
pub async fn place(conn: &mut Conn, conversation: Uuid, message: Option<Uuid>) -> Result<Option<(Uuid, i64)>> {
    let row = sqlx::query!(
        r#"select id, seq from message
            where conversation_id = $1 and ($2::uuid is null or id = $2) order by seq desc limit 1"#,
        conversation,
        message
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|r| (r.id, r.seq)))
}

/// Moves a mark forward; one that stands further on stays. Says up to where was read before.
///
/// # Errors
/// What storage says.
pub async fn mark(
    conn: &mut Conn,
    conversation: Uuid,
    reader: &str,
    (message, seq): (Uuid, i64),
    now: DateTime<Utc>,
) -> Result<i64> {
    let before = sqlx::query_scalar!(
        "select seq from read_mark where conversation_id = $1 and reader = $2 for update",
        conversation,
        reader
    )
    .fetch_optional(&mut *conn)
    .await?;
    sqlx::query!(
        r#"insert into read_mark (conversation_id, reader, seq, message_id, read_at) values ($1, $2, $3, $4, $5)
           on conflict (conversation_id, reader) do update
              set seq = excluded.seq, message_id = excluded.message_id, read_at = excluded.read_at
            where read_mark.seq < excluded.seq"#,
        conversation,
        reader,
        seq,
        message,
        now
    )
    .execute(conn)
    .await?;
    Ok(before.unwrap_or(0))
}

/// The marks of a conversation, by reader, behind the reader `after`.
///
/// # Errors
/// What storage says.
pub async fn marks(
    conn: &mut Conn,
    conversation: Uuid,
    (reader, after): (Option<&str>, Option<&str>),
    limit: i64,
) -> Result<Vec<MarkRow>> {
    let rows = sqlx::query_as!(
        MarkRow,
        r#"select r.conversation_id, r.reader, r.message_id, r.seq, r.read_at,
                  (select count(*) from message m where m.conversation_id = r.conversation_id and m.seq > r.seq
                      and not m.outbound and not m.internal) as "unread!"
             from read_mark r
            where r.conversation_id = $1 and ($2::text is null or r.reader = $2) and ($3::text is null or r.reader > $3)
            order by r.reader limit $4"#,
        conversation,
        reader,
        after,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// The contact's last message on a channel, as its provider knows it.
#[derive(Debug, Clone)]
pub struct LastInbound {
    /// The channel.
    pub channel_id: i32,
    /// The provider's id of the message.
    pub provider_message_id: String,
}

/// The contact's last message on each channel between two places of a conversation, the later one included.
///
/// # Errors
/// What storage says.
pub async fn last_inbound(conn: &mut Conn, conversation: Uuid, after: i64, upto: i64) -> Result<Vec<LastInbound>> {
    let rows = sqlx::query_as!(
        LastInbound,
        r#"select distinct on (m.channel_id) m.channel_id as "channel_id!", m.provider_message_id as "provider_message_id!"
             from message m
            where m.conversation_id = $1 and m.seq > $2 and m.seq <= $3 and not m.outbound and not m.internal
              and m.channel_id is not null and m.provider_message_id is not null
            order by m.channel_id, m.seq desc"#,
        conversation,
        after,
        upto
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// The channel on which a conversation goes on, and its last place; none when there is no such conversation.
///
/// # Errors
/// What storage says.
pub async fn active(conn: &mut Conn, conversation: Uuid) -> Result<Option<(i32, i64, String)>> {
    let row = sqlx::query!("select active_channel_id, last_seq, phase from conversation where id = $1", conversation);
    Ok(row.fetch_optional(conn).await?.map(|r| (r.active_channel_id, r.last_seq, r.phase)))
}

/// Leaves a sign for the worker that gives it to the provider.
///
/// # Errors
/// What storage says.
pub async fn leave_courtesy(conn: &mut Conn, to: &LastInbound, typing: bool, good_for_secs: f64) -> Result<()> {
    sqlx::query!(
        r#"insert into courtesy (channel_id, provider_message_id, typing, expires_at)
           values ($1, $2, $3, clock_timestamp() + make_interval(secs => $4))"#,
        to.channel_id,
        to.provider_message_id,
        typing,
        good_for_secs
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A sign that is to be given.
#[derive(Debug, Clone)]
pub struct CourtesyRow {
    /// Its key.
    pub id: i64,
    /// The channel.
    pub channel_id: i32,
    /// The provider's id of the contact's message.
    pub provider_message_id: String,
    /// Somebody types; else: it was read.
    pub typing: bool,
    /// How often it was tried.
    pub tries: i16,
}

/// Takes signs that are due, for `lease_secs`, and forgets those that are too old.
///
/// # Errors
/// What storage says.
pub async fn take_courtesies(conn: &mut Conn, limit: i64, lease_secs: f64) -> Result<Vec<CourtesyRow>> {
    sqlx::query!("delete from courtesy where expires_at < clock_timestamp()").execute(&mut *conn).await?;
    let rows = sqlx::query_as!(
        CourtesyRow,
        r#"update courtesy c set tries = tries + 1, not_before = clock_timestamp() + make_interval(secs => $2)
             from (select id from courtesy where not_before <= clock_timestamp() order by id limit $1
                      for update skip locked) d
            where c.id = d.id
            returning c.id as "id!", c.channel_id as "channel_id!", c.provider_message_id as "provider_message_id!",
                      c.typing as "typing!", c.tries as "tries!""#,
        limit,
        lease_secs
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Forgets signs that were given, or never can be.
///
/// # Errors
/// What storage says.
pub async fn forget_courtesy(conn: &mut Conn, id: i64) -> Result<()> {
    sqlx::query!("delete from courtesy where id = $1", id).execute(conn).await?;
    Ok(())
}

/// Where a page of receipts ended: time, attempt, evidence.
pub type AfterReceipt = (DateTime<Utc>, i16, String);

/// The receipts of a message, in the order of their arrival; none when there is no such message.
///
/// # Errors
/// What storage says.
pub async fn receipts(
    conn: &mut Conn,
    message: Uuid,
    after: Option<&AfterReceipt>,
    limit: i64,
) -> Result<Option<Vec<ReceiptRow>>> {
    let delivery = sqlx::query!("select delivery_id, outbound from message where id = $1", message);
    let Some(found) = delivery.fetch_optional(&mut *conn).await? else { return Ok(None) };
    let Some(delivery) = found.delivery_id.filter(|_| found.outbound) else { return Ok(Some(Vec::new())) };
    let (time, n, evidence) = after.map_or((None, None, None), |(t, n, e)| (Some(*t), Some(*n), Some(e.as_str())));
    let rows = sqlx::query!(
        r#"select n, evidence::text as "evidence!", failure_code, provider_time, received_at, late from receipt
            where delivery_id = $1
              and ($2::timestamptz is null or (received_at, n, evidence::text) > ($2, $3::smallint, $4::text))
            order by received_at, n, evidence::text limit $5"#,
        delivery,
        time,
        n,
        evidence,
        limit
    )
    .fetch_all(conn)
    .await?;
    let rows = rows.into_iter().map(|r| {
        Ok(ReceiptRow {
            delivery_id: delivery,
            n: r.n,
            evidence: r.evidence.parse()?,
            failure_code: r.failure_code,
            provider_time: r.provider_time,
            received_at: r.received_at,
            late: r.late,
        })
    });
    rows.collect::<Result<Vec<_>>>().map(Some)
}
