//! The chunk's row: queue, claim and lease in one. Statements of the claim, the mark, the end of a chunk, and the sweep; those of the
//! relay, which come before, are in [`super::queue`].
//!
//! `docs/ARCHITECTURE.md` tells the protocol; every statement here is one of its sentences. None of them reads past a paused
//! group, and none touches a delivery that another transaction decides about without its row's lock.

use chrono::{DateTime, Utc};
use domain::channel::Address;
use uuid::Uuid;

use super::{Conn, Result};

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
                  n.variables || contact_variable(k) as "variables?", k.locale as "locale?", n.generation as "generation?",
                  d.attempts as "attempts!", d.failures as "failures!", d.throttles as "throttles!",
                  w.last_inbound_at as "last_inbound_at?", d.valid_until as "valid_until?"
             from c cross join unnest(c.delivery_ids) i(id)
             join delivery d on d.id = i.id
             join address a on a.id = d.address_id
             left join notification n on n.id = d.notification_id
             left join contact k on k.id = n.contact_id
             left join message m on m.id = d.message_id
             left join service_window w on w.address_id = d.address_id and w.channel_id = d.channel_id
            where d.work = 'queued' and (d.chunk_id is null or d.chunk_id = $1)"#,
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
/// what is missing is not wanted any more, is refused by its person, belongs to a paused group, waits for stored evidence to be
/// merged, or for an earlier message of its conversation.
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
              where d.id = any($3) and d.work = 'queued' and (d.chunk_id is null or d.chunk_id = $1)
                and exists (select from dispatch x where x.id = $1 and x.token = $2)
                and (d.valid_until is null or d.valid_until > $6)
                and (n.id is null or (n.state = 'waiting' and n.step = d.step))
                and (n.id is null
                     or (select s.address_id from consent s
                          where s.address_id = d.address_id
                            and s.channel_type = (select y.channel_type from send_group y where y.id = d.send_group_id)
                            and not s.opted_in and consent_covers(s.purpose, n.purpose) limit 1) is null)
                and (d.message_id is null or must_follow(d.message_id) is null)
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

/// Ends a chunk in which nothing is queued or on the wire, or gives it back with what is still queued, and with that alone; what
/// it is `untried` tells the relay that the channel has more than it takes.
///
/// In a statement of its own after the outcomes, which it must see. A chunk in which a call of an earlier worker is still
/// open is left to the sweep: deleted, that call would have no row that is swept.
///
/// # Errors
/// What storage says.
pub async fn finish(conn: &mut Conn, chunk: i64, token: Uuid, delay_secs: f64, untried: bool) -> Result<Finished> {
    let row = sqlx::query!(
        r#"with s as (select d.id, bool_or(x.work = 'sending' and y.ours) as sending,
                             bool_or(x.work = 'queued' and y.ours) as queued,
                             array_agg(x.id order by i.place) filter (where x.work = 'queued' and y.ours) as left_over
                        from dispatch d cross join unnest(d.delivery_ids) with ordinality i(id, place)
                        join delivery x on x.id = i.id
                       cross join lateral (select coalesce(x.chunk_id, d.id) = d.id as ours) y
                       where d.id = $1 and d.token = $2 group by d.id),
           gone as (delete from dispatch d using s where d.id = s.id and not s.sending and not s.queued returning d.id),
           back as (update dispatch d set published_at = null, token = null, lease_until = null, delivery_ids = s.left_over,
                           parts = ceil(d.parts::double precision * cardinality(s.left_over) / cardinality(d.delivery_ids)),
                           returned = $4, not_before = clock_timestamp() + make_interval(secs => $3)
                      from s where d.id = s.id and s.queued and not s.sending returning d.id)
           select (select count(*) from gone) as "gone!", (select count(*) from back) as "back!""#,
        chunk,
        token,
        delay_secs,
        untried
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

/// Whether it is the turn of all of these messages of conversations: no earlier one is queued or on the wire.
///
/// # Errors
/// What storage says.
pub async fn their_turn(conn: &mut Conn, deliveries: &[Uuid]) -> Result<bool> {
    let turn = sqlx::query_scalar!(
        r#"select bool_and(message_id is not null and must_follow(message_id) is null) as "turn?"
             from delivery where id = any($1)"#,
        deliveries
    )
    .fetch_one(conn)
    .await?;
    Ok(turn.unwrap_or(false))
}

/// Lets the messages go at once that waited behind these, which are over. Only a hint: a message that waits looks by itself every
/// second. One that was tried already keeps its back-off.
///
/// # Errors
/// What storage says.
pub async fn wake_followers(conn: &mut Conn, deliveries: &[Uuid]) -> Result<u64> {
    let done = sqlx::query!(
        r#"with next as (
             select y.id from unnest($1::uuid[]) i(id)
               join delivery o on o.id = i.id and o.work not in ('queued', 'sending')
               join message m on m.id = o.message_id
              cross join lateral (
                   select d.chunk_id, d.attempts
                     from (select e.delivery_id, e.seq, e.address_id, e.channel_id from message e
                            where e.conversation_id = m.conversation_id and e.seq > m.seq and e.outbound
                            order by e.seq limit 20) e
                    cross join lateral (select y.chunk_id, y.attempts, y.work from delivery y
                                         where y.id = e.delivery_id offset 0) d
                    where e.address_id = m.address_id and e.channel_id = m.channel_id and d.work = 'queued'
                    order by e.seq limit 1) f
              cross join lateral (select x.id, x.published_at, x.not_before from dispatch x
                                   where x.id = f.chunk_id limit 1 for update skip locked) y
              where f.attempts = 0 and y.published_at is null and y.not_before > '-infinity')
           update dispatch x set not_before = '-infinity' from next where x.id = next.id"#,
        deliveries
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
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
