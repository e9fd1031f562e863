//! Messages from people: stored once, taken up in order of arrival for each sender, parked after three failures.

use chrono::{DateTime, Utc};
use domain::channel::Address;
use uuid::Uuid;

use super::{Conn, Result};

/// A message as it is stored.
#[derive(Debug, Clone)]
pub struct NewInbound {
    /// The channel that it came on.
    pub channel_id: i32,
    /// The provider that brought it.
    pub provider_id: i32,
    /// The provider's id: unique on its channel.
    pub provider_message_id: String,
    /// The address that orders it, as `kind:value`.
    pub sender: String,
    /// What was said and by whom, for the service that takes it up.
    pub fact: serde_json::Value,
}

/// Stores a message unless it was stored before. Says whether it is new.
///
/// # Errors
/// What storage says.
pub async fn store(conn: &mut Conn, inbound: &NewInbound, body_id: i64, now: DateTime<Utc>) -> Result<bool> {
    let done = sqlx::query!(
        r#"with fresh as (insert into inbound_ref (channel_id, provider_message_id) values ($1, $3) on conflict do nothing
                          returning channel_id)
           insert into inbound_inbox (channel_id, provider_id, sender, fact, body_id, received_at)
           select $1, $2, $4, $5, $6, $7 from fresh"#,
        inbound.channel_id,
        inbound.provider_id,
        inbound.provider_message_id,
        inbound.sender,
        inbound.fact,
        body_id,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// A message that waits to be taken up.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// Its row.
    pub id: i64,
    /// Its channel.
    pub channel_id: i32,
    /// The provider that brought it.
    pub provider_id: i32,
    /// What was said and by whom.
    pub fact: serde_json::Value,
    /// When it arrived, in business time.
    pub received_at: DateTime<Utc>,
    /// How often taking it up failed.
    pub tries: i16,
}

/// Takes the oldest message of a sender whose earlier ones are done out of the inbox; with `only`, that one or none. Whoever takes
/// it up commits, or it waits again; until then no other of its sender is taken.
///
/// # Errors
/// What storage says.
pub async fn take(conn: &mut Conn, only: Option<i64>) -> Result<Option<Waiting>> {
    let row = sqlx::query_as!(
        Waiting,
        r#"with x as (
             select i.id from inbound_inbox i
              where i.parked_at is null and ($1::bigint is null or i.id = $1)
                and not exists (select from inbound_inbox e where e.sender = i.sender and e.id < i.id and e.parked_at is null)
              order by i.tries, i.id limit 1 for update of i skip locked)
           delete from inbound_inbox i using x where i.id = x.id
           returning i.id as "id!", i.channel_id as "channel_id!", i.provider_id as "provider_id!", i.fact as "fact!",
                     i.received_at as "received_at!", i.tries as "tries!""#,
        only
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// Counts a failure; the third parks the message, marked with its cause, so that the next of its sender goes on.
///
/// # Errors
/// What storage says.
pub async fn failed(conn: &mut Conn, id: i64, cause: &str, now: DateTime<Utc>) -> Result<bool> {
    let parked = sqlx::query_scalar!(
        r#"update inbound_inbox set tries = tries + 1, parked_reason = $2,
                  parked_at = case when tries + 1 >= 3 then $3::timestamptz end
            where id = $1 returning parked_at is not null as "parked!""#,
        id,
        cause,
        now
    )
    .fetch_optional(conn)
    .await?;
    Ok(parked.unwrap_or(false))
}

/// Finds or makes an address, and locks it: of two who meet a stranger at once, the second finds the first one's contact. Says its
/// key.
///
/// # Errors
/// What storage says.
pub async fn ensure_address(conn: &mut Conn, address: &Address, now: DateTime<Utc>) -> Result<i64> {
    let id = sqlx::query_scalar!(
        r#"with known as (select id from address where kind = $1::text::address_kind and value = $2 for no key update),
           fresh as (insert into address (kind, value, created_at)
                     select $1::text::address_kind, $2, $3 where not exists (select from known)
                     on conflict (kind, value) do update set created_at = address.created_at returning id)
           select id as "id!" from known union all select id from fresh"#,
        address.kind.as_str(),
        address.value,
        now
    )
    .fetch_one(conn)
    .await?;
    Ok(id)
}

/// The same for an address that somebody wrote from, on a channel: its service window there opens anew at `at`.
///
/// # Errors
/// What storage says.
pub async fn ensure_writer(
    conn: &mut Conn,
    address: &Address,
    channel_id: i32,
    at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<i64> {
    let id = sqlx::query_scalar!(
        r#"with known as (select id from address where kind = $1::text::address_kind and value = $2 for no key update),
           fresh as (insert into address (kind, value, created_at)
                     select $1::text::address_kind, $2, $3 where not exists (select from known)
                     on conflict (kind, value) do update set created_at = address.created_at returning id),
           a as (select id from known union all select id from fresh),
           w as (insert into service_window (address_id, channel_id, last_inbound_at) select a.id, $4, $5 from a
                 on conflict (address_id, channel_id)
                 do update set last_inbound_at = greatest(service_window.last_inbound_at, excluded.last_inbound_at))
           select id as "id!" from a"#,
        address.kind.as_str(),
        address.value,
        now,
        channel_id,
        at
    )
    .fetch_one(conn)
    .await?;
    Ok(id)
}

/// The contact that uses an address: of several, the one that was last written to there, else the oldest.
///
/// # Errors
/// What storage says.
pub async fn contact_of(conn: &mut Conn, addresses: &[i64]) -> Result<Option<i64>> {
    let id = sqlx::query_scalar!(
        r#"select c.contact_id from contact_address c
            where c.address_id = any($1) and (select k.deleted_at is null from contact k where k.id = c.contact_id)
            order by (select d.id::text from delivery d
                       where d.address_id = c.address_id
                         and (select n.contact_id from notification n where n.id = d.notification_id) = c.contact_id
                       order by d.id desc limit 1) desc nulls last, c.contact_id
            limit 1"#,
        addresses
    )
    .fetch_optional(conn)
    .await?;
    Ok(id)
}

/// Makes a contact of an unknown sender.
///
/// # Errors
/// What storage says.
pub async fn new_contact(conn: &mut Conn, display_name: &str, addresses: &[i64], now: DateTime<Utc>) -> Result<i64> {
    let id = sqlx::query_scalar!(
        "insert into contact (display_name, created_at, updated_at) values ($1, $2, $2) returning id",
        display_name,
        now
    )
    .fetch_one(&mut *conn)
    .await?;
    sqlx::query!(
        r#"insert into contact_address (contact_id, address_id, position)
           select $1, x.id, (x.position - 1)::smallint from unnest($2::bigint[]) with ordinality as x(id, position)
           on conflict do nothing"#,
        id,
        addresses
    )
    .execute(conn)
    .await?;
    Ok(id)
}

/// A notification that a message could answer.
#[derive(Debug, Clone)]
pub struct CandidateRow {
    /// The notification.
    pub notification_id: Uuid,
    /// Where it stands.
    pub state: String,
    /// The step that is under way.
    pub step: i16,
    /// Its campaign.
    pub campaign_id: Option<i64>,
    /// Its plan.
    pub plan_id: i64,
    /// When an attempt to the sender's address was last marked.
    pub marked_at: DateTime<Utc>,
    /// The delivery of that attempt.
    pub delivery_id: Uuid,
    /// The step of that delivery.
    pub delivery_step: i16,
}

/// The notifications of which an attempt to one of these addresses was marked, the latest first; at most 50.
///
/// # Errors
/// What storage says.
pub async fn candidates(conn: &mut Conn, addresses: &[i64]) -> Result<Vec<CandidateRow>> {
    let rows = sqlx::query_as!(
        CandidateRow,
        r#"select n.id as notification_id, n.state::text as "state!", n.step, n.campaign_id, n.plan_id,
                  x.attempt_started_at as "marked_at!", x.id as "delivery_id!", x.step as "delivery_step!"
             from (select l.* from unnest($1::bigint[]) a(id) cross join lateral (
                     select d.id, d.notification_id, d.step, d.attempt_started_at from delivery d
                      where d.address_id = a.id and d.attempts > 0 and d.notification_id is not null
                      order by d.id desc limit 50) l
                    order by l.id desc limit 50) x
             join notification n on n.id = x.notification_id
            order by x.attempt_started_at desc"#,
        addresses
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// The delivery that a provider's message id belongs to.
///
/// # Errors
/// What storage says.
pub async fn delivery_of_provider_message(
    conn: &mut Conn,
    channel_id: i32,
    provider_message_id: &str,
) -> Result<Option<Uuid>> {
    let id = sqlx::query_scalar!(
        r#"select r.delivery_id from provider_ref r join channel_provider p on p.id = r.provider_id
            where p.channel_id = $1 and r.provider_message_id = $2"#,
        channel_id,
        provider_message_id
    )
    .fetch_optional(conn)
    .await?;
    Ok(id)
}

/// Records what an address allows, for one channel type and one purpose (`*`: every purpose).
///
/// # Errors
/// What storage says.
pub async fn set_consent(
    conn: &mut Conn,
    address_id: i64,
    channel_type: &str,
    purpose: &str,
    opted_in: bool,
    source: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        r#"insert into consent (address_id, channel_type, purpose, opted_in, source, at) values ($1, $2, $3, $4, $5, $6)
           on conflict (address_id, channel_type, purpose)
           do update set opted_in = excluded.opted_in, source = excluded.source, at = excluded.at"#,
        address_id,
        channel_type,
        purpose,
        opted_in,
        source,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Gathers addresses under a contact, behind those that it has.
///
/// # Errors
/// What storage says.
pub async fn gather_addresses(conn: &mut Conn, contact_id: i64, addresses: &[i64]) -> Result<()> {
    sqlx::query!(
        r#"insert into contact_address (contact_id, address_id, position)
           select $1, x.id, (select coalesce(max(position), 0) + 1 from contact_address where contact_id = $1)::smallint
             from unnest($2::bigint[]) x(id)
            where not exists (select from contact_address c where c.address_id = x.id)
           on conflict do nothing"#,
        contact_id,
        addresses
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Locks a contact: the first lock of whoever decides about what belongs to it.
///
/// # Errors
/// What storage says.
pub async fn lock_contact(conn: &mut Conn, contact_id: i64) -> Result<()> {
    sqlx::query!("select id from contact where id = $1 for update", contact_id).fetch_optional(conn).await?;
    Ok(())
}
