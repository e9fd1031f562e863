//! The chunk's row: queue, claim and lease in one. Statements of the relay, the claim, the mark, and the end of a chunk.
//!
//! `docs/ARCHITECTURE.md` tells the protocol; every statement here is one of its sentences. None of them reads past a paused
//! group, and none touches a delivery that another transaction decides about without its row's lock.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use domain::channel::{Address, ChannelType, Lane};
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

/// Queues chunks.
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
        r#"insert into dispatch (channel_type, lane, send_group_id, delivery_ids, not_before)
           select c.channel_type, c.lane::lane, c.send_group_id, c.delivery_ids,
                  case when c.delay > 0 then clock_timestamp() + make_interval(secs => c.delay) else '-infinity' end
             from jsonb_to_recordset($1) as c(channel_type text, lane text, send_group_id bigint, delivery_ids uuid[],
                                              delay double precision)"#,
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
             from send_group g
            where g.running and g.not_before <= $1
              and exists (select from dispatch d
                           where d.channel_type = g.channel_type and d.lane = g.lane and d.send_group_id = g.id
                             and d.published_at is null and d.not_before <= clock_timestamp())
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
                     and d.published_at is null and d.not_before > clock_timestamp()
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
                      and d.published_at is null and d.not_before <= clock_timestamp()
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

/// One delivery of a claimed chunk, with all that is needed to send it.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The delivery.
    pub delivery_id: Uuid,
    /// Its notification; none for a conversation's message.
    pub notification_id: Option<Uuid>,
    /// The step of the notification.
    pub step: i16,
    /// The generation of the notification's timers when the chunk was claimed.
    pub generation: i32,
    /// The channel.
    pub channel_id: i32,
    /// The key of the address.
    pub address_id: i64,
    /// Where to.
    pub to: Address,
    /// Why one writes.
    pub purpose: String,
    /// The content, where it is a conversation's message.
    pub content: Option<serde_json::Value>,
    /// The pinned plan that renders it, where it is a notification's.
    pub plan_id: Option<i64>,
    /// The variables of the template.
    pub variables: serde_json::Value,
    /// The contact's locale.
    pub locale: String,
    /// Attempts so far.
    pub attempts: i16,
    /// Temporary refusals so far.
    pub failures: i16,
    /// Throttled attempts so far.
    pub throttles: i16,
    /// When the recipient last wrote to this channel.
    pub last_inbound_at: Option<DateTime<Utc>>,
    /// Past this the delivery is not sent.
    pub valid_until: Option<DateTime<Utc>>,
}

/// Leases a chunk to a worker under `token` and reads what to send. Nothing comes back for a chunk that is gone, claimed by
/// another, given back, or of a paused group.
///
/// # Errors
/// What storage says.
pub async fn claim(conn: &mut Conn, chunk: i64, token: Uuid, lease_secs: f64) -> Result<Vec<Claimed>> {
    let rows = sqlx::query!(
        r#"with c as (
             update dispatch set token = $2, lease_until = clock_timestamp() + make_interval(secs => $3)
              where id = $1 and published_at is not null and (token is null or lease_until < clock_timestamp())
                and exists (select from send_group g where g.id = send_group_id and g.running)
             returning delivery_ids)
           select d.id as "id!", d.notification_id as "notification_id?", d.step as "step!", d.channel_id as "channel_id!",
                  a.id as "address_id!", a.kind::text as "kind!", a.value as "value!", n.purpose as "purpose?", m.content as "content?", n.plan_id as "plan_id?",
                  n.variables as "variables?", k.locale as "locale?", n.generation as "generation?",
                  d.attempts as "attempts!", d.failures as "failures!", d.throttles as "throttles!",
                  w.last_inbound_at as "last_inbound_at?", d.valid_until as "valid_until?"
             from c cross join unnest(c.delivery_ids) i(id)
             join delivery d on d.id = i.id
             join address a on a.id = d.address_id
             left join notification n on n.id = d.notification_id
             left join contact k on k.id = n.contact_id
             left join message m on m.id = d.message_id
             left join service_window w on w.address_id = d.address_id and w.channel_id = d.channel_id
            where d.work = 'queued'"#,
        chunk,
        token,
        lease_secs
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|r| {
            Ok(Claimed {
                delivery_id: r.id,
                notification_id: r.notification_id,
                step: r.step,
                generation: r.generation.unwrap_or_default(),
                channel_id: r.channel_id,
                address_id: r.address_id,
                to: Address { kind: r.kind.parse()?, value: r.value },
                purpose: r.purpose.unwrap_or_else(|| domain::consent::SERVICE.to_owned()),
                content: r.content,
                plan_id: r.plan_id,
                variables: r.variables.unwrap_or_default(),
                locale: r.locale.unwrap_or_default(),
                attempts: r.attempts,
                failures: r.failures,
                throttles: r.throttles,
                last_inbound_at: r.last_inbound_at,
                valid_until: r.valid_until,
            })
        })
        .collect()
}

/// Marks the deliveries whose call starts now: work SENDING, token, attempt number, lease. Comes back with those that may go;
/// what is missing is not wanted any more, belongs to a paused group, or waits for stored evidence to be merged.
///
/// # Errors
/// What storage says.
pub async fn mark(
    conn: &mut Conn,
    chunk: i64,
    token: Uuid,
    ids: &[Uuid],
    provider_id: i32,
    lease_secs: f64,
    now: DateTime<Utc>,
) -> Result<Vec<(Uuid, i16)>> {
    let rows = sqlx::query!(
        r#"with l as (
             select d.id from delivery d
               join send_group g on g.id = d.send_group_id and g.running
               left join notification n on n.id = d.notification_id
              where d.id = any($3) and d.work = 'queued'
                and exists (select from dispatch x where x.id = $1 and x.token = $2)
                and (d.valid_until is null or d.valid_until > $6)
                and (n.id is null or (n.state = 'waiting' and n.step = d.step))
                and (d.step = 0 or n.id is null
                     or coalesce(unmerged_evidence_since(n.id, n.contact_id) < clock_timestamp() - interval '1 minute', true))
              order by d.id for update of d)
           update delivery d
              set work = 'sending', token = $2, attempts = d.attempts + 1, provider_id = $4,
                  attempt_started_at = clock_timestamp(), lease_until = clock_timestamp() + make_interval(secs => $5)
             from l where d.id = l.id
           returning d.id, d.attempts"#,
        chunk,
        token,
        ids,
        provider_id,
        lease_secs,
        now
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|r| (r.id, r.attempts)).collect())
}

/// Takes back queued deliveries of a chunk that nobody wants any more: their notification is finished, or has left the step.
///
/// # Errors
/// What storage says.
pub async fn cancel_unwanted(conn: &mut Conn, ids: &[Uuid], now: DateTime<Utc>) -> Result<u64> {
    let done = sqlx::query!(
        r#"with l as (
             select d.id, d.channel_id, d.step, n.campaign_id from delivery d join notification n on n.id = d.notification_id
              where d.id = any($1) and d.work = 'queued' and (n.state <> 'waiting' or n.step <> d.step)
              order by d.id for update of d),
           u as (update delivery d set work = 'cancelled', reason = 'NOT_WANTED' from l where d.id = l.id
                 returning d.id, l.channel_id, l.step, l.campaign_id, d.evidence)
           insert into event_out (kind, campaign_id, channel_id, step, from_state, to_state, reason, n, ids, at)
           select 'delivery', campaign_id, channel_id, step, 'queued', 'cancelled', 'NOT_WANTED', count(*), array_agg(id), $2
             from u where evidence = 'none' group by campaign_id, channel_id, step"#,
        ids,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Ends a chunk in which nothing is queued or on the wire, or gives it back with what is still queued.
///
/// In a statement of its own after the outcomes, which it must see. A chunk in which a call of an earlier worker is still
/// open is left to the sweep: deleted, that call would have no row that is swept.
///
/// # Errors
/// What storage says.
pub async fn finish(conn: &mut Conn, chunk: i64, token: Uuid, delay_secs: f64) -> Result<Finished> {
    let row = sqlx::query!(
        r#"with s as (select d.id, bool_or(x.work = 'sending') as sending, bool_or(x.work = 'queued') as queued
                        from dispatch d cross join unnest(d.delivery_ids) i(id) join delivery x on x.id = i.id
                       where d.id = $1 and d.token = $2 group by d.id),
           gone as (delete from dispatch d using s where d.id = s.id and not s.sending and not s.queued returning d.id),
           back as (update dispatch d set published_at = null, token = null, lease_until = null,
                           not_before = clock_timestamp() + make_interval(secs => $3)
                      from s where d.id = s.id and s.queued and not s.sending returning d.id)
           select (select count(*) from gone) as "gone!", (select count(*) from back) as "back!""#,
        chunk,
        token,
        delay_secs
    )
    .fetch_one(conn)
    .await?;
    Ok(if row.gone > 0 {
        Finished::Gone
    } else if row.back > 0 {
        Finished::GivenBack
    } else {
        Finished::LeftToSweep
    })
}

/// What became of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    /// All is done: the row is deleted.
    Gone,
    /// Something is still queued: it waits for the relay again.
    GivenBack,
    /// Something is still on the wire, or the claim was lost: the sweep will see to it.
    LeftToSweep,
}
