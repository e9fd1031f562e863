//! Web chat: the lines that a visitor is shown, in an order without gaps, and the sessions in which visitors come.
//!
//! A visitor's row is locked before its next line is written, so that whoever has read line 7 has read all before it.

use chrono::{DateTime, Utc};
use domain::delivery::Evidence;
use uuid::Uuid;

use super::{Conn, Result};

/// A line to be shown.
#[derive(Debug, Clone)]
pub struct NewLine<'a> {
    /// The channel.
    pub channel_id: i32,
    /// The visitor's address.
    pub address_id: i64,
    /// The delivery that it is; stored once.
    pub delivery_id: Uuid,
    /// The provider, to which acknowledgements go as receipts.
    pub provider_id: i32,
    /// What is said.
    pub content: &'a serde_json::Value,
}

/// Stores a line behind the visitor's last, unless its delivery stands already.
///
/// # Errors
/// What storage says.
pub async fn put(conn: &mut Conn, line: &NewLine<'_>, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        r#"with known as (select from web_chat_line where delivery_id = $3),
           v as (
             insert into web_chat_visitor (channel_id, address_id, last_seq, version)
             select $1, $2, 1, 1 where not exists (select from known)
             on conflict (channel_id, address_id) do update
                set last_seq = web_chat_visitor.last_seq + 1, version = web_chat_visitor.version + 1,
                    business_typing_until = null
             returning last_seq)
           insert into web_chat_line (channel_id, address_id, seq, delivery_id, provider_id, content, stored_at)
           select $1, $2, v.last_seq, $3, $4, $5, $6 from v"#,
        line.channel_id,
        line.address_id,
        line.delivery_id,
        line.provider_id,
        line.content,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A line as it is shown.
#[derive(Debug, Clone)]
pub struct Line {
    /// Its place.
    pub seq: i64,
    /// The delivery.
    pub delivery_id: Uuid,
    /// What is said.
    pub content: serde_json::Value,
    /// What the visitor acknowledged.
    pub evidence: Evidence,
    /// When it was stored, in business time.
    pub stored_at: DateTime<Utc>,
}

/// The lines behind a place.
///
/// # Errors
/// What storage says.
pub async fn after(conn: &mut Conn, channel_id: i32, address_id: i64, seq: i64, limit: i64) -> Result<Vec<Line>> {
    let rows = sqlx::query!(
        r#"select seq, delivery_id, content, evidence::text as "evidence!", stored_at from web_chat_line
            where channel_id = $1 and address_id = $2 and seq > $3 order by seq limit $4"#,
        channel_id,
        address_id,
        seq,
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|r| {
            let evidence = r.evidence.parse()?;
            Ok(Line { seq: r.seq, delivery_id: r.delivery_id, content: r.content, evidence, stored_at: r.stored_at })
        })
        .collect()
}

/// Where a visitor stands.
#[derive(Debug, Clone)]
pub struct Visitor {
    /// The place of the last line.
    pub last_seq: i64,
    /// The place before the oldest line that is kept; the last where none is.
    pub oldest: i64,
    /// The place before the first line that was not acknowledged; the last where all were.
    pub unseen: i64,
    /// Until when the business is shown to be typing.
    pub business_typing_until: Option<DateTime<Utc>>,
}

/// Where a visitor stands; none who never came and was never written to.
///
/// # Errors
/// What storage says.
pub async fn visitor(conn: &mut Conn, channel_id: i32, address_id: i64) -> Result<Option<Visitor>> {
    let row = sqlx::query_as!(
        Visitor,
        r#"select v.last_seq as "last_seq!",
                  coalesce((select min(l.seq) - 1 from web_chat_line l
                             where l.channel_id = v.channel_id and l.address_id = v.address_id), v.last_seq) as "oldest!",
                  coalesce((select min(l.seq) - 1 from web_chat_line l
                             where l.channel_id = v.channel_id and l.address_id = v.address_id and l.evidence < 'delivered'),
                           v.last_seq) as "unseen!",
                  v.business_typing_until as "business_typing_until?"
             from web_chat_visitor v where v.channel_id = $1 and v.address_id = $2"#,
        channel_id,
        address_id
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// How often visitors changed, for those whose streams are open.
///
/// # Errors
/// What storage says.
pub async fn versions(conn: &mut Conn, channels: &[i32], addresses: &[i64]) -> Result<Vec<(i32, i64, i64)>> {
    let rows = sqlx::query!(
        r#"select v.channel_id as "channel_id!", v.address_id as "address_id!", v.version as "version!"
             from unnest($1::int[], $2::bigint[]) w(channel_id, address_id)
             join web_chat_visitor v on v.channel_id = w.channel_id and v.address_id = w.address_id"#,
        channels,
        addresses
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|r| (r.channel_id, r.address_id, r.version)).collect())
}

/// Notes what a visitor acknowledged: higher evidence replaces lower. Comes back with the deliveries that rose, each with its
/// provider.
///
/// # Errors
/// What storage says.
pub async fn acknowledge(
    conn: &mut Conn,
    channel_id: i32,
    address_id: i64,
    deliveries: &[Uuid],
    evidence: Evidence,
) -> Result<Vec<(Uuid, i32)>> {
    let rows = sqlx::query!(
        r#"with l as (select seq from web_chat_line
                       where channel_id = $1 and address_id = $2 and delivery_id = any($3)
                         and evidence < $4::text::delivery_evidence order by seq for update)
           update web_chat_line w set evidence = $4::text::delivery_evidence from l
            where w.channel_id = $1 and w.address_id = $2 and w.seq = l.seq
           returning w.delivery_id, w.provider_id"#,
        channel_id,
        address_id,
        deliveries,
        evidence.as_str()
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|r| (r.delivery_id, r.provider_id)).collect())
}

/// Who is typing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Typist {
    /// The visitor.
    Contact,
    /// Whoever speaks for the business.
    Business,
}

/// Notes until when somebody is shown to be typing; none: not any more. False where the visitor is not known.
///
/// # Errors
/// What storage says.
pub async fn typing(
    conn: &mut Conn,
    channel_id: i32,
    address_id: i64,
    who: Typist,
    until: Option<DateTime<Utc>>,
) -> Result<bool> {
    let done = sqlx::query!(
        r#"update web_chat_visitor
              set contact_typing_until = case when $3 then $4 else contact_typing_until end,
                  business_typing_until = case when $3 then business_typing_until else $4 end,
                  version = version + case when $3 then 0 else 1 end
            where channel_id = $1 and address_id = $2"#,
        channel_id,
        address_id,
        who == Typist::Contact,
        until
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Until when the visitor is shown to be typing.
///
/// # Errors
/// What storage says.
pub async fn contact_typing_until(conn: &mut Conn, channel_id: i32, address_id: i64) -> Result<Option<DateTime<Utc>>> {
    let until = sqlx::query_scalar!(
        "select contact_typing_until from web_chat_visitor where channel_id = $1 and address_id = $2",
        channel_id,
        address_id
    )
    .fetch_optional(conn)
    .await?;
    Ok(until.flatten())
}

/// A session as it is stored.
#[derive(Debug, Clone)]
pub struct SessionRow {
    /// Its key.
    pub id: Uuid,
    /// The channel.
    pub channel_id: i32,
    /// The visitor's address.
    pub address_id: i64,
    /// The address as it is written.
    pub address: String,
    /// The contact.
    pub contact_id: i64,
    /// The name by which the visitor introduced itself.
    pub display_name: String,
    /// The language (BCP 47); empty: not known.
    pub locale: String,
    /// What the application knows, name to text.
    pub data: serde_json::Value,
    /// When it began, in business time.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// Why.
    pub end_reason: Option<String>,
}

/// What is written of a session that begins.
#[derive(Debug, Clone)]
pub struct NewSession<'a> {
    /// Its key, if it is new.
    pub id: Uuid,
    /// The channel.
    pub channel_id: i32,
    /// The visitor's address.
    pub address_id: i64,
    /// The contact.
    pub contact_id: i64,
    /// The name.
    pub display_name: &'a str,
    /// The language.
    pub locale: &'a str,
    /// What the application knows.
    pub data: &'a serde_json::Value,
}

/// Begins a session, or goes on with the one that is open: what is known of it now is laid over what was known. Says its key,
/// and whether it is new.
///
/// # Errors
/// What storage says.
pub async fn begin(conn: &mut Conn, new: &NewSession<'_>, now: DateTime<Utc>) -> Result<(Uuid, bool)> {
    sqlx::query!(
        "insert into web_chat_visitor (channel_id, address_id) values ($1, $2) on conflict do nothing",
        new.channel_id,
        new.address_id
    )
    .execute(&mut *conn)
    .await?;
    let id = sqlx::query_scalar!(
        r#"insert into web_chat_session (id, channel_id, address_id, contact_id, display_name, locale, data, started_at)
           values ($1, $2, $3, $4, $5, $6, $7, $8)
           on conflict (channel_id, address_id) where ended_at is null do update
              set contact_id = excluded.contact_id, data = web_chat_session.data || excluded.data,
                  display_name = case when excluded.display_name = '' then web_chat_session.display_name
                                      else excluded.display_name end,
                  locale = case when excluded.locale = '' then web_chat_session.locale else excluded.locale end
           returning id"#,
        new.id,
        new.channel_id,
        new.address_id,
        new.contact_id,
        new.display_name,
        new.locale,
        new.data,
        now
    )
    .fetch_one(conn)
    .await?;
    Ok((id, id == new.id))
}

/// A session, if there is one.
///
/// # Errors
/// What storage says.
pub async fn session(conn: &mut Conn, id: Uuid) -> Result<Option<SessionRow>> {
    let row = sqlx::query_as!(
        SessionRow,
        r#"select s.id as "id!", s.channel_id as "channel_id!", s.address_id as "address_id!", a.value as "address!",
                  s.contact_id as "contact_id!", s.display_name as "display_name!", s.locale as "locale!", s.data as "data!",
                  s.started_at as "started_at!", s.ended_at as "ended_at?", s.end_reason as "end_reason?"
             from web_chat_session s join address a on a.id = s.address_id where s.id = $1"#,
        id
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// Ends a session that is open. False where it was over.
///
/// # Errors
/// What storage says.
pub async fn end(conn: &mut Conn, id: Uuid, reason: &str, now: DateTime<Utc>) -> Result<bool> {
    let done = sqlx::query!(
        r#"with s as (update web_chat_session set ended_at = $2, end_reason = $3 where id = $1 and ended_at is null
                      returning channel_id, address_id)
           update web_chat_visitor v set version = v.version + 1 from s
            where v.channel_id = s.channel_id and v.address_id = s.address_id"#,
        id,
        now,
        reason
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Writes what a visitor said of itself into its contact, where the contact has nothing there.
///
/// # Errors
/// What storage says.
pub async fn introduce(
    conn: &mut Conn,
    contact_id: i64,
    display_name: &str,
    locale: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        r#"update contact set display_name = case when display_name = '' then $2 else display_name end,
                  locale = case when locale = '' then $3 else locale end, version = version + 1, updated_at = $4
            where id = $1 and ((display_name = '' and $2 <> '') or (locale = '' and $3 <> ''))"#,
        contact_id,
        display_name,
        locale,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}
