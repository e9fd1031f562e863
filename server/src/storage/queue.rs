//! The queue that waits in Postgres: chunks are queued here, weighed by the relay, and leased to the bus. What follows when a worker
//! has one is in [`super::dispatch`]. No statement reads past a paused group.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use domain::channel::{ChannelType, Lane};
use uuid::Uuid;

use super::{Conn, Result};

/// A chunk to be queued: deliveries of one send group.
#[derive(Debug, Clone)]
pub struct NewChunk {
    /// The medium.
    pub channel_type: String,
    /// The lane.
    pub lane: Lane,
    /// The group that is paused, weighed and paced.
    pub send_group_id: i64,
    /// One delivery, or up to 100 in the bulk lane.
    pub delivery_ids: Vec<Uuid>,
    /// How long the chunk waits before it may be published, by machine time: back-off. Zero: at once.
    pub delay_secs: f64,
}

/// Queues chunks. A conversation's message learns which chunk carries it, so that the message before it can wake it.
///
/// # Errors
/// What storage says.
pub async fn enqueue(conn: &mut Conn, chunks: &[NewChunk]) -> Result<()> {
    // Postgres has no arrays of arrays of unequal length: each chunk travels as one JSON document.
    let rows: Vec<serde_json::Value> = chunks
        .iter()
        .map(|c| {
            serde_json::json!({
                "channel_type": c.channel_type, "lane": c.lane, "send_group_id": c.send_group_id,
                "delivery_ids": c.delivery_ids, "delay": c.delay_secs,
            })
        })
        .collect();
    sqlx::query!(
        r#"with k as (
           insert into dispatch (channel_type, lane, send_group_id, delivery_ids, not_before)
           select c.channel_type, c.lane::lane, c.send_group_id, c.delivery_ids,
                  case when c.delay > 0 then clock_timestamp() + make_interval(secs => c.delay) else '-infinity' end
             from jsonb_to_recordset($1) as c(channel_type text, lane text, send_group_id bigint, delivery_ids uuid[],
                                              delay double precision)
           returning id, delivery_ids)
           update delivery d set chunk_id = k.id from k
            where cardinality(k.delivery_ids) = 1 and d.id = k.delivery_ids[1] and d.message_id is not null"#,
        serde_json::Value::Array(rows)
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What waits in one group, for the relay to weigh.
#[derive(Debug, Clone)]
pub struct WaitingGroup {
    /// The group.
    pub send_group_id: i64,
    /// Its channel.
    pub channel_id: i32,
    /// Its medium.
    pub channel_type: ChannelType,
    /// Its lane.
    pub lane: Lane,
    /// Its share among the groups of its channel.
    pub weight: i32,
}

/// The running groups that have a chunk which may go now.
///
/// # Errors
/// What storage says.
pub async fn waiting_groups(conn: &mut Conn, now: DateTime<Utc>) -> Result<Vec<WaitingGroup>> {
    let rows = sqlx::query!(
        r#"select g.id, g.channel_id, g.channel_type, g.lane::text as "lane!", g.weight
             from send_group g cross join lateral (
                  select d.id from dispatch d
                   where d.channel_type = g.channel_type and d.lane = g.lane and d.send_group_id = g.id
                     and d.published_at is null and d.not_before <= statement_timestamp() limit 1) x
            where g.running and g.not_before <= $1
            order by g.id"#,
        now
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|r| {
            Ok(WaitingGroup {
                send_group_id: r.id,
                channel_id: r.channel_id,
                channel_type: r.channel_type.parse()?,
                lane: r.lane.parse()?,
                weight: r.weight,
            })
        })
        .collect()
}

/// How long until the earliest chunk that waits for its back-off may go, in seconds of machine time.
///
/// # Errors
/// What storage says.
pub async fn next_waiting_secs(conn: &mut Conn) -> Result<Option<f64>> {
    let secs = sqlx::query_scalar!(
        r#"select extract(epoch from min(x.not_before) - clock_timestamp())::double precision
             from send_group g cross join lateral (
                  select d.not_before from dispatch d
                   where d.channel_type = g.channel_type and d.lane = g.lane and d.send_group_id = g.id
                     and d.published_at is null and d.not_before > statement_timestamp()
                   order by d.not_before limit 1) x
            where g.running"#
    )
    .fetch_one(conn)
    .await?;
    Ok(secs)
}

/// Deliveries that are on the bus or at a worker, by channel and lane.
///
/// # Errors
/// What storage says.
pub async fn outstanding(conn: &mut Conn) -> Result<HashMap<(i32, Lane), i64>> {
    let rows = sqlx::query!(
        r#"select g.channel_id, g.lane::text as "lane!", sum(cardinality(d.delivery_ids))::bigint as "n!"
             from dispatch d join send_group g on g.id = d.send_group_id
            where d.published_at is not null and d.lease_until > '-infinity'
            group by g.channel_id, g.lane"#
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|r| Ok(((r.channel_id, r.lane.parse()?), r.n))).collect()
}

/// A chunk that was leased to the bus.
#[derive(Debug, Clone)]
pub struct Granted {
    /// The chunk.
    pub chunk: i64,
    /// Its group.
    pub send_group_id: i64,
    /// Deliveries in it.
    pub size: i32,
}

/// Leases up to `k` chunks of each group to the bus: first the row, then the message, so that a publish that is lost is
/// repaired by the lease.
///
/// # Errors
/// What storage says.
pub async fn grant(
    conn: &mut Conn,
    channel_type: &str,
    lane: Lane,
    groups: &[i64],
    counts: &[i32],
    lease_secs: f64,
) -> Result<Vec<Granted>> {
    let rows = sqlx::query_as!(
        Granted,
        r#"with want as (select w.send_group_id, w.k from unnest($1::bigint[], $2::int[]) w(send_group_id, k)),
           p as (select x.id from want w cross join lateral (
                   select d.id from dispatch d
                    where d.channel_type = $3 and d.lane = $4::text::lane and d.send_group_id = w.send_group_id
                      and d.published_at is null and d.not_before <= statement_timestamp()
                    order by d.not_before, d.id limit w.k for update skip locked) x)
           update dispatch d
              set published_at = clock_timestamp(), lease_until = clock_timestamp() + make_interval(secs => $5)
             from p where d.id = p.id
           returning d.id as chunk, d.send_group_id, cardinality(d.delivery_ids) as "size!""#,
        groups,
        counts,
        channel_type,
        lane.as_str(),
        lease_secs
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Takes back chunks whose publish the bus refused, or that were published on a connection that is gone and nobody claimed.
///
/// # Errors
/// What storage says.
pub async fn take_back(conn: &mut Conn, chunks: &[i64]) -> Result<u64> {
    let done = sqlx::query!(
        r#"with l as (select id from dispatch where id = any($1) and published_at is not null and token is null
                       order by id for update)
           update dispatch d set published_at = null, lease_until = null from l where d.id = l.id"#,
        chunks
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Takes back every chunk that was published and is not claimed: the connection to the broker is new, and a queue that was
/// lost or wiped repairs itself at once.
///
/// # Errors
/// What storage says.
pub async fn take_back_unclaimed(conn: &mut Conn) -> Result<u64> {
    let done = sqlx::query!(
        r#"with l as (select id from dispatch
                       where published_at is not null and token is null and lease_until > '-infinity'
                       order by id for update)
           update dispatch d set published_at = null, lease_until = null from l where d.id = l.id"#
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
