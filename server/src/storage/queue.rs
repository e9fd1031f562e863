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
    /// What it counts against rates in parts of short messages; less than its deliveries: one each.
    pub parts: i32,
    /// What it costs if all of it goes out, in millionths of the unit of its channel's currency.
    pub price_micros: i64,
}

/// Queues chunks. A conversation's message learns which chunk carries it, so that the message before it can wake it.
///
/// # Errors
/// What storage says.
pub async fn enqueue(conn: &mut Conn, chunks: &[NewChunk]) -> Result<()> {
    sqlx::query!(
        r#"with k as (
           insert into dispatch (channel_type, lane, send_group_id, delivery_ids, not_before, parts, price_micros)
           select c.channel_type, c.lane::lane, c.send_group_id, c.delivery_ids,
                  case when c.delay > 0 then clock_timestamp() + make_interval(secs => c.delay) else '-infinity' end,
                  c.parts, c.price
             from jsonb_to_recordset($1) as c(channel_type text, lane text, send_group_id bigint, delivery_ids uuid[],
                                              delay double precision, parts int, price bigint)
           returning id, delivery_ids)
           update delivery d set chunk_id = k.id from k
            where cardinality(k.delivery_ids) = 1 and d.id = k.delivery_ids[1] and d.message_id is not null"#,
        documents(chunks)
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Postgres has no arrays of arrays of unequal length: each chunk travels as one JSON document.
pub(super) fn documents(chunks: &[NewChunk]) -> serde_json::Value {
    let document = |c: &NewChunk| {
        serde_json::json!({
            "channel_type": c.channel_type, "lane": c.lane, "send_group_id": c.send_group_id,
            "delivery_ids": c.delivery_ids, "delay": c.delay_secs, "parts": c.parts, "price": c.price_micros,
        })
    };
    chunks.iter().map(document).collect()
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
    /// The campaign that it belongs to, with its limits.
    pub campaign: Option<CampaignLimits>,
}

/// What limits a campaign on all its channels together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CampaignLimits {
    /// The campaign.
    pub id: i64,
    /// How many deliveries a second it may begin; none: as fast as its channels allow.
    pub rate: Option<f64>,
    /// What is left of its budget, in millionths; none: it has none.
    pub budget_left: Option<i64>,
}

/// What the relay weighs: what waits, what is under way, and when the next chunk may go.
#[derive(Debug, Clone)]
pub struct Look {
    /// The running groups that have a chunk which may go now, in the order of their keys.
    pub groups: Vec<WaitingGroup>,
    /// Deliveries that are on the bus or at a worker, by channel and lane.
    pub outstanding: HashMap<(i32, Lane), i64>,
    /// How long until the earliest chunk that waits for its back-off may go, in seconds of machine time.
    pub next_secs: Option<f64>,
}

/// Looks at all of it, in one statement.
///
/// # Errors
/// What storage says.
pub async fn look(conn: &mut Conn, now: DateTime<Utc>) -> Result<Look> {
    // A row is a group, what is out of a channel and lane, or the time of the next chunk.
    let rows = sqlx::query!(
        r#"select g.id as "group_id?", g.channel_id as "channel_id?", g.channel_type as "channel_type?", g.lane::text as "lane?",
                  g.weight as "weight?", c.id as "campaign_id?", least(c.rate_per_second, c.spread_per_second) as "rate?",
                  c.budget_micros - c.spent_micros as "budget_left?", null::bigint as "out?",
                  null::double precision as "next_secs?"
             from send_group g cross join lateral (
                  select d.id from dispatch d
                   where d.channel_type = g.channel_type and d.lane = g.lane and d.send_group_id = g.id
                     and d.published_at is null and d.not_before <= statement_timestamp() limit 1) x
             left join lateral (select y.id, y.rate_per_second, y.spread_per_second, y.budget_micros, y.spent_micros
                                  from campaign y where y.id = g.campaign_id offset 0) c on true
            where g.running and g.not_before <= $1
           union all
           select null, g.channel_id, null, g.lane::text, null, null, null, null, sum(cardinality(d.delivery_ids))::bigint, null
             from dispatch d join send_group g on g.id = d.send_group_id
            where d.published_at is not null and d.lease_until > '-infinity'
            group by g.channel_id, g.lane
           union all
           select null, null, null, null, null, null, null, null, null,
                  extract(epoch from min(x.not_before) - clock_timestamp())::double precision
             from send_group g cross join lateral (
                  select d.not_before from dispatch d
                   where d.channel_type = g.channel_type and d.lane = g.lane and d.send_group_id = g.id
                     and d.published_at is null and d.not_before > statement_timestamp()
                   order by d.not_before limit 1) x
            where g.running"#,
        now
    )
    .fetch_all(conn)
    .await?;
    let mut look = Look { groups: Vec::new(), outstanding: HashMap::new(), next_secs: None };
    for r in rows {
        match (r.group_id, r.channel_id, r.lane, r.channel_type) {
            (Some(send_group_id), Some(channel_id), Some(lane), Some(channel_type)) => look.groups.push(WaitingGroup {
                send_group_id,
                channel_id,
                channel_type: channel_type.parse()?,
                lane: lane.parse()?,
                weight: r.weight.unwrap_or(1),
                campaign: r.campaign_id.map(|id| CampaignLimits { id, rate: r.rate, budget_left: r.budget_left }),
            }),
            (None, Some(channel_id), Some(lane), _) => {
                look.outstanding.insert((channel_id, lane.parse()?), r.out.unwrap_or_default());
            }
            _ => look.next_secs = r.next_secs,
        }
    }
    look.groups.sort_by_key(|group| group.send_group_id);
    Ok(look)
}

/// The running groups that have a chunk which may go now.
///
/// # Errors
/// What storage says.
pub async fn waiting_groups(conn: &mut Conn, now: DateTime<Utc>) -> Result<Vec<WaitingGroup>> {
    Ok(look(conn, now).await?.groups)
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
    /// Parts of short messages in it; at least one for each delivery.
    pub parts: i32,
    /// What was taken from a budget for it now, in millionths; 0 where it was taken before.
    pub price_micros: i64,
    /// Whether a worker had given it back without having tried.
    pub returned: bool,
    /// Chunks of its group that could go, with it and those that were granted beside it: one more than the grant allows where there
    /// are as many.
    pub found: i64,
}

/// How much one group may be granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want {
    /// The group.
    pub send_group_id: i64,
    /// Deliveries; the last chunk may go beyond it.
    pub messages: i64,
    /// Parts of short messages; the last chunk may go beyond it.
    pub parts: i64,
    /// Money, in millionths; no chunk goes beyond it.
    pub micros: i64,
}

/// Leases chunks of groups to the bus, the oldest first: first the row, then the message, so that a publish that is lost is
/// repaired by the lease. What they cost is reserved in the same statement.
///
/// # Errors
/// What storage says.
pub async fn grant(
    conn: &mut Conn,
    channel_type: &str,
    lane: Lane,
    wants: &[Want],
    lease_secs: f64,
) -> Result<Vec<Granted>> {
    let groups: Vec<i64> = wants.iter().map(|w| w.send_group_id).collect();
    let messages: Vec<i64> = wants.iter().map(|w| w.messages).collect();
    let parts: Vec<i64> = wants.iter().map(|w| w.parts).collect();
    let micros: Vec<i64> = wants.iter().map(|w| w.micros).collect();
    let rows = sqlx::query_as!(
        Granted,
        r#"with want as (select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[])
                             as w(send_group_id, messages, parts, micros)),
           p as (
             select y.id, y.price, y.returned, y.found from want w cross join lateral (
               select x.id, x.price, x.returned, count(*) over () as found, sum(x.size) over o - x.size as messages_before,
                      sum(x.parts) over o - x.parts as parts_before, sum(x.price) over o as price_with
                 from (select d.id, d.not_before, cardinality(d.delivery_ids)::bigint as size, d.returned,
                              greatest(d.parts, cardinality(d.delivery_ids))::bigint as parts,
                              case when d.reserved then 0 else d.price_micros end as price
                         from dispatch d
                        where d.channel_type = $5 and d.lane = $6::text::lane and d.send_group_id = w.send_group_id
                          and d.published_at is null and d.not_before <= statement_timestamp()
                        order by d.not_before, d.id limit least(w.messages, 5000) + 1 for update skip locked) x
               window o as (order by x.not_before, x.id rows unbounded preceding)) y
              where y.messages_before < w.messages and y.parts_before < w.parts and y.price_with <= w.micros),
           u as (
             update dispatch d
                set published_at = clock_timestamp(), lease_until = clock_timestamp() + make_interval(secs => $7),
                    reserved = true, returned = false
               from p where d.id = p.id
             returning d.id, d.send_group_id, cardinality(d.delivery_ids) as size,
                       greatest(d.parts, cardinality(d.delivery_ids)) as parts, p.price, p.returned, p.found),
           t as (select g.campaign_id, sum(u.price)::bigint as price from u
                  cross join lateral (select y.campaign_id from send_group y where y.id = u.send_group_id offset 0) g
                  where u.price > 0 and g.campaign_id is not null group by g.campaign_id),
           s as (
             update campaign c set spent_micros = c.spent_micros + (select t.price from t where t.campaign_id = c.id)
              where c.id = any (array(select campaign_id from t)))
           select id as "chunk!", send_group_id as "send_group_id!", size as "size!", parts as "parts!",
                  price as "price_micros!", returned as "returned!", found as "found!" from u"#,
        &groups,
        &messages,
        &parts,
        &micros,
        channel_type,
        lane.as_str(),
        lease_secs
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// The next chunk of a group that waits, with what it costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextChunk {
    /// The chunk.
    pub chunk: i64,
    /// Deliveries in it.
    pub size: i32,
    /// What it costs, in millionths; 0 where it is paid for.
    pub price_micros: i64,
}

/// The next chunk of a group that waits.
///
/// # Errors
/// What storage says.
pub async fn next_chunk(
    conn: &mut Conn,
    channel_type: &str,
    lane: Lane,
    send_group_id: i64,
) -> Result<Option<NextChunk>> {
    let next = sqlx::query_as!(
        NextChunk,
        r#"select d.id as "chunk!", cardinality(d.delivery_ids) as "size!",
                  case when d.reserved then 0 else d.price_micros end as "price_micros!" from dispatch d
            where d.channel_type = $1 and d.lane = $2::text::lane and d.send_group_id = $3
              and d.published_at is null and d.not_before <= statement_timestamp()
            order by d.not_before, d.id limit 1"#,
        channel_type,
        lane.as_str(),
        send_group_id
    )
    .fetch_optional(conn)
    .await?;
    Ok(next)
}

/// Leaves the first `n` deliveries in a chunk that waits, and puts the others into one of their own behind it; what it costs is
/// divided by deliveries. Says whether it was done.
///
/// # Errors
/// What storage says.
pub async fn split(conn: &mut Conn, chunk: i64, n: i32) -> Result<bool> {
    let done = sqlx::query!(
        r#"with d as (select id, channel_type, lane, send_group_id, delivery_ids, not_before, parts, price_micros, reserved,
                             cardinality(delivery_ids) as size, published_at from dispatch where id = $1 for update),
           c as (select * from d where published_at is null and size > $2),
           rest as (
             insert into dispatch (channel_type, lane, send_group_id, delivery_ids, not_before, parts, price_micros, reserved)
             select channel_type, lane, send_group_id, delivery_ids[$2 + 1 :], not_before, parts - parts * $2 / size,
                    price_micros - price_micros * $2 / size, reserved from c)
           update dispatch x
              set delivery_ids = c.delivery_ids[: $2], parts = c.parts * $2 / c.size, price_micros = c.price_micros * $2 / c.size
             from c where x.id = c.id"#,
        chunk,
        n
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
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
