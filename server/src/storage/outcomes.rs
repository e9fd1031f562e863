//! How calls ended: one statement for a batch of outcomes. An outcome is written only where the token still matches; what no
//! longer does is evidence, and goes the way of a receipt ([`keep_as_evidence`]).

use chrono::{DateTime, Utc};
use domain::delivery::{Evidence, FailureClass, Outcome, Work};
use uuid::Uuid;

use super::{Conn, Result};

/// One outcome, with what the rulebook made of it.
#[derive(Debug, Clone)]
pub struct OutcomeRow {
    /// The delivery.
    pub delivery_id: Uuid,
    /// The attempt.
    pub attempt: i16,
    /// The token under which it was marked.
    pub token: Uuid,
    /// The provider that was called.
    pub provider_id: i32,
    /// How the call ended.
    pub outcome: Outcome,
    /// The provider's id of the message.
    pub provider_message_id: Option<String>,
    /// What a refusal means.
    pub class: Option<FailureClass>,
    /// The provider's code.
    pub code: Option<String>,
    /// What was said, without personal data.
    pub detail: Option<String>,
    /// Where the work goes: done, or queued again (if it is still wanted).
    pub work: Work,
    /// What is known now.
    pub evidence: Evidence,
    /// Whether it counts against the step's attempts.
    pub counts_failure: bool,
    /// Whether it was throttled.
    pub counts_throttle: bool,
    /// When the step's wait is over, in business time; none leaves the timer alone.
    pub wait_until: Option<DateTime<Utc>>,
    /// The step is due at once.
    pub due_now: bool,
    /// The generation of the notification's timers when the chunk was claimed.
    pub generation: i32,
    /// When the provider is to be asked what became of it, in business time.
    pub ask_at: Option<DateTime<Utc>>,
    /// What it was decided by, where that was read before the call and nothing was locked since: it is written only where all of
    /// that still stands. None: the row was locked before it was read.
    pub seen: Option<Seen>,
    /// The chunk that carried it, to be ended with it if nothing else of it is queued or on the wire.
    pub chunk: Option<i64>,
    /// Whether its conversation is to hold it.
    pub record: bool,
}

/// What was known of a delivery before its call, beside its token. The step and the generation of its notification belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Its evidence.
    pub evidence: Evidence,
    /// Attempts that counted.
    pub failures: i16,
    /// The last attempt that a receipt said failed for the moment; 0: none.
    pub refuted: i16,
    /// Whether its wait began.
    pub started: bool,
}

/// What a batch of outcomes came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// The deliveries that were written. A missing one has another token by now, or is not what was [`Seen`] of it.
    pub deliveries: Vec<Uuid>,
    /// The chunks that ended with them.
    pub gone: Vec<i64>,
}

/// Writes outcomes whose token still matches: deliveries, attempts, provider ids, timers and events, in one statement; and ends
/// the chunks of which these were the last.
///
/// The statement sees its own outcomes as what it writes, and every other delivery as it was committed before: a chunk ends where as
/// many were open as are over now. One that another transaction holds, or in which a call of an earlier worker is open, stays.
///
/// # Errors
/// What storage says.
pub async fn store(conn: &mut Conn, rows: &[OutcomeRow], now: DateTime<Utc>) -> Result<Written> {
    let ids: Vec<Uuid> = rows.iter().map(|r| r.delivery_id).collect();
    let tokens: Vec<Uuid> = rows.iter().map(|r| r.token).collect();
    let outcomes: Vec<&str> = rows.iter().map(|r| r.outcome.as_str()).collect();
    let message_ids: Vec<Option<&str>> = rows.iter().map(|r| r.provider_message_id.as_deref()).collect();
    let classes: Vec<Option<&str>> = rows.iter().map(|r| r.class.map(FailureClass::as_str)).collect();
    let codes: Vec<Option<&str>> = rows.iter().map(|r| r.code.as_deref()).collect();
    let details: Vec<Option<&str>> = rows.iter().map(|r| r.detail.as_deref()).collect();
    let works: Vec<&str> = rows.iter().map(|r| r.work.as_str()).collect();
    let evidences: Vec<&str> = rows.iter().map(|r| r.evidence.as_str()).collect();
    let failures: Vec<i16> = rows.iter().map(|r| i16::from(r.counts_failure)).collect();
    let throttles: Vec<i16> = rows.iter().map(|r| i16::from(r.counts_throttle)).collect();
    let waits: Vec<Option<DateTime<Utc>>> = rows.iter().map(|r| r.wait_until).collect();
    let dues: Vec<bool> = rows.iter().map(|r| r.due_now).collect();
    let generations: Vec<i32> = rows.iter().map(|r| r.generation).collect();
    let asks: Vec<Option<DateTime<Utc>>> = rows.iter().map(|r| r.ask_at).collect();
    let seen: Vec<Option<&str>> = rows.iter().map(|r| r.seen.map(|s| s.evidence.as_str())).collect();
    let failed: Vec<i16> = rows.iter().map(|r| r.seen.map_or(0, |s| s.failures)).collect();
    let refuted: Vec<i16> = rows.iter().map(|r| r.seen.map_or(0, |s| s.refuted)).collect();
    let started: Vec<bool> = rows.iter().map(|r| r.seen.is_some_and(|s| s.started)).collect();
    let chunks: Vec<Option<i64>> = rows.iter().map(|r| r.chunk).collect();
    let records: Vec<bool> = rows.iter().map(|r| r.record).collect();
    let found = sqlx::query!(
        r#"with o as (
             select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                                  $8::text[], $9::text[], $10::smallint[], $11::smallint[], $12::timestamptz[],
                                  $13::boolean[], $14::int[], $15::timestamptz[], $17::text[], $18::smallint[],
                                  $19::smallint[], $20::boolean[], $21::bigint[], $22::boolean[])
               as o(id, token, outcome, pm, class, code, detail, work, evidence, failure, throttle, wait_until, due,
                    generation, ask_at, seen, failed, refuted, started, chunk, record)),
           l as (
             select o.*, d.notification_id, d.attempts as n, d.attempt_started_at, d.send_group_id, d.channel_id, d.step,
                    d.provider_id, d.evidence as was, $16::timestamptz - g.clock_shift as group_now
               from o join delivery d on d.id = o.id join send_group g on g.id = d.send_group_id
              where d.work = 'sending' and d.token = o.token
                and (o.seen is null
                     or (d.evidence = o.seen::delivery_evidence and d.failures = o.failed and d.refuted = o.refuted
                         and (d.first_sent_at is not null) = o.started
                         and (d.notification_id is null
                              or (select y.generation from notification y where y.id = d.notification_id
                                     and y.state = 'waiting' and y.step = d.step limit 1) = o.generation)))
              order by o.id for update of d),
           u as (
             update delivery d
                set work = case when l.work = 'queued'
                                 and exists (select from notification x where x.id = d.notification_id
                                             and (x.state <> 'waiting' or x.step <> d.step)) then 'done'
                                else l.work::delivery_work end,
                    evidence = greatest(d.evidence, l.evidence::delivery_evidence),
                    failures = d.failures + l.failure, throttles = d.throttles + l.throttle,
                    failure_class = coalesce(l.class, d.failure_class), failure_code = coalesce(l.code, d.failure_code),
                    first_sent_at = coalesce(d.first_sent_at, case when l.evidence in ('sent', 'unknown') then l.group_now end),
                    token = null, lease_until = null
               from l where d.id = l.id
             returning d.id, d.work, d.evidence, l.was, l.notification_id, l.n, l.attempt_started_at, l.send_group_id,
                       l.channel_id, l.step, l.outcome, l.pm, l.class, l.code, l.detail, l.wait_until, l.due, l.generation,
                       l.ask_at, l.provider_id, l.chunk, l.token as held, l.record),
           a as (
             insert into attempt (delivery_id, n, provider_id, started_at, ended_at, outcome, failure_class, code, detail,
                                  provider_message_id)
             select id, n, provider_id, attempt_started_at, clock_timestamp(), outcome::attempt_outcome, class, code, detail, pm
               from u),
           r as (
             insert into provider_ref (provider_id, provider_message_id, delivery_id, n)
             select provider_id, pm, id, n from u where pm is not null on conflict do nothing),
           t as (
             insert into timer (owner, kind, send_group_id, due_at, generation)
             select u.notification_id, 'step', u.send_group_id,
                    case when u.due then 'epoch'::timestamptz else u.wait_until - g.clock_shift end, u.generation
               from u join send_group g on g.id = u.send_group_id
              where u.notification_id is not null and (u.due or u.wait_until is not null)
             on conflict (owner, kind) do update set due_at = excluded.due_at, generation = excluded.generation,
                                                     send_group_id = excluded.send_group_id
              where timer.generation < excluded.generation or excluded.due_at < timer.due_at),
           k as (
             insert into timer (owner, kind, send_group_id, due_at, generation)
             select u.id, 'ask', u.send_group_id, u.ask_at - g.clock_shift, u.n
               from u join send_group g on g.id = u.send_group_id where u.ask_at is not null
             on conflict (owner, kind) do update set due_at = excluded.due_at, generation = excluded.generation),
           c as (
             insert into conversation_timer (entity, kind, due_at) select u.id, 'record', $16::timestamptz from u where u.record
             on conflict (entity, kind) do nothing),
           z as (select u.chunk, u.held, count(*) as n from u where u.chunk is not null and u.work = 'done' group by 1, 2),
           ended as (
             select x.id from z
              cross join lateral (select y.id, y.delivery_ids from dispatch y where y.id = z.chunk and y.token = z.held
                                     for update skip locked) x
              where z.n = (select count(*) from unnest(x.delivery_ids) i(id)
                            cross join lateral (select from delivery y where y.id = i.id and y.work in ('queued', 'sending')
                                                   and coalesce(y.chunk_id, x.id) = x.id offset 0) s)),
           gone as (delete from dispatch x using ended where x.id = ended.id returning x.id),
           e as (
             insert into event_out (kind, campaign_id, channel_id, step, from_state, to_state, reason, n, ids, at)
             select 'delivery', g.campaign_id, u.channel_id, u.step,
                    case when u.was = 'none' then 'queued' else u.was::text end, u.evidence::text,
                    case when u.evidence = 'failed' then u.code end, count(*), array_agg(u.id), $16::timestamptz
               from u join send_group g on g.id = u.send_group_id
              where u.evidence > u.was group by 2, 3, 4, 5, 6, 7
             union all
             select 'delivery', g.campaign_id, u.channel_id, u.step, 'queued', u.work::text, null, count(*), array_agg(u.id), $16
               from u join send_group g on g.id = u.send_group_id
              where u.evidence = 'none' and u.work in ('skipped', 'cancelled', 'expired') group by 2, 3, 4, 5, 6, 7)
           select id as "id?", null::bigint as "gone?" from u union all select null, id from gone"#,
        &ids,
        &tokens,
        &outcomes as &[&str],
        &message_ids as &[Option<&str>],
        &classes as &[Option<&str>],
        &codes as &[Option<&str>],
        &details as &[Option<&str>],
        &works as &[&str],
        &evidences as &[&str],
        &failures,
        &throttles,
        &waits as &[Option<DateTime<Utc>>],
        &dues,
        &generations,
        &asks as &[Option<DateTime<Utc>>],
        now,
        &seen as &[Option<&str>],
        &failed,
        &refuted,
        &started,
        &chunks as &[Option<i64>],
        &records
    )
    .fetch_all(conn)
    .await?;
    let mut written = Written::default();
    for row in found {
        written.deliveries.extend(row.id);
        written.gone.extend(row.gone);
    }
    Ok(written)
}

/// A delivery as it stands when the outcome of a call of it is written; its row is locked.
#[derive(Debug, Clone)]
pub struct OpenDelivery {
    /// The delivery.
    pub id: Uuid,
    /// The token of the attempt that is open.
    pub token: Option<Uuid>,
    /// Its work.
    pub work: Work,
    /// Its evidence.
    pub evidence: Evidence,
    /// Attempts so far, the open one included.
    pub attempts: i16,
    /// Attempts that counted.
    pub failures: i16,
    /// The last attempt that a receipt said failed for the moment; 0: none.
    pub refuted: i16,
    /// Whether its wait began.
    pub started: bool,
    /// Its step.
    pub step: i16,
    /// Its address.
    pub address_id: Option<i64>,
    /// Its channel.
    pub channel_id: Option<i32>,
    /// Past this it is not put on the wire.
    pub valid_until: Option<DateTime<Utc>>,
    /// Its notification: state, step, plan, generation; none for a conversation's message.
    pub notification: Option<OfNotification>,
}

/// What an outcome asks of the delivery's notification.
#[derive(Debug, Clone)]
pub struct OfNotification {
    /// Its state.
    pub state: domain::notification::State,
    /// The step that it is at.
    pub step: i16,
    /// Its plan.
    pub plan_id: i64,
    /// The generation of its timers.
    pub generation: i32,
    /// Whether its conversation begins when it is sent.
    pub at_send: bool,
}

/// Locks deliveries in id order and reads them.
///
/// # Errors
/// What storage says.
pub async fn lock(conn: &mut Conn, ids: &[Uuid]) -> Result<Vec<OpenDelivery>> {
    sqlx::query!("select id from delivery where id = any($1) order by id for update", ids)
        .fetch_all(&mut *conn)
        .await?;
    let rows = sqlx::query!(
        r#"select d.id as "id!", d.token as "token?", d.work::text as "work!", d.evidence::text as "evidence!",
                  d.attempts as "attempts!", d.failures as "failures!", d.refuted as "refuted!",
                  d.first_sent_at is not null as "started!",
                  d.step as "step!", d.address_id as "address_id?", d.channel_id as "channel_id?",
                  d.valid_until as "valid_until?", n.state::text as "state?", n.step as "at_step?", n.plan_id as "plan_id?",
                  n.generation as "generation?", n.at_send as "at_send?"
             from delivery d left join notification n on n.id = d.notification_id where d.id = any($1) order by d.id"#,
        ids
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|r| {
            let notification = match (r.state, r.at_step, r.plan_id, r.generation) {
                (Some(state), Some(step), Some(plan_id), Some(generation)) => {
                    let at_send = r.at_send.unwrap_or_default();
                    Some(OfNotification { state: state.parse()?, step, plan_id, generation, at_send })
                }
                _ => None,
            };
            Ok(OpenDelivery {
                id: r.id,
                token: r.token,
                work: r.work.parse()?,
                evidence: r.evidence.parse()?,
                attempts: r.attempts,
                failures: r.failures,
                refuted: r.refuted,
                started: r.started,
                step: r.step,
                address_id: r.address_id,
                channel_id: r.channel_id,
                valid_until: r.valid_until,
                notification,
            })
        })
        .collect()
}

/// The address and the channel of deliveries that have both.
///
/// # Errors
/// What storage says.
pub async fn addresses(conn: &mut Conn, deliveries: &[Uuid]) -> Result<Vec<(i64, i32)>> {
    let rows = sqlx::query!(
        r#"select address_id as "address_id!", channel_id as "channel_id!" from delivery
            where id = any($1) and address_id is not null and channel_id is not null"#,
        deliveries
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|r| (r.address_id, r.channel_id)).collect())
}

/// Gives up queued deliveries before any call: their channel cannot be used, or their leases were lost too often. Their step is
/// due at once.
///
/// # Errors
/// What storage says.
pub async fn give_up(
    conn: &mut Conn,
    ids: &[Uuid],
    reason: domain::notification::Reason,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        r#"with l as (select d.id from delivery d where d.id = any($1) and d.work = 'queued' order by d.id for update),
           u as (update delivery d set work = case when d.attempts = 0 then 'skipped' else 'done' end::delivery_work,
                        evidence = case when d.attempts = 0 then d.evidence else greatest(d.evidence, 'failed') end,
                        failure_class = case when d.attempts = 0 then d.failure_class else 'technical' end, reason = $3
                   from l where d.id = l.id
                 returning d.id, d.notification_id, d.send_group_id, d.channel_id, d.step, d.work, d.evidence),
           t as (insert into timer (owner, kind, send_group_id, due_at, generation)
                 select u.notification_id, 'step', u.send_group_id, 'epoch'::timestamptz, n.generation
                   from u join notification n on n.id = u.notification_id order by u.notification_id
                 on conflict (owner, kind) do update set due_at = excluded.due_at, generation = excluded.generation)
           insert into event_out (kind, campaign_id, channel_id, step, from_state, to_state, reason, n, ids, at)
           select 'delivery', g.campaign_id, u.channel_id, u.step, 'queued',
                  case when u.evidence = 'none' then u.work::text else u.evidence::text end, $3, count(*), array_agg(u.id), $2
             from u join send_group g on g.id = u.send_group_id group by 2, 3, 4, 6"#,
        ids,
        now,
        reason.as_str()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Keeps outcomes that came too late for their token: the provider's ids, so that receipts find their delivery, and what they
/// prove, which is merged like a receipt.
///
/// # Errors
/// What storage says.
pub async fn keep_as_evidence(conn: &mut Conn, rows: &[&OutcomeRow]) -> Result<()> {
    let proving: Vec<&&OutcomeRow> = rows.iter().filter(|r| r.outcome == Outcome::Accepted).collect();
    let ids: Vec<Uuid> = proving.iter().map(|r| r.delivery_id).collect();
    let attempts: Vec<i16> = proving.iter().map(|r| r.attempt).collect();
    let providers: Vec<i32> = proving.iter().map(|r| r.provider_id).collect();
    let message_ids: Vec<String> = proving.iter().map(|r| r.provider_message_id.clone().unwrap_or_default()).collect();
    sqlx::query!(
        r#"with o as (select * from unnest($1::uuid[], $2::smallint[], $3::int[], $4::text[]) as o(id, n, provider_id, pm)),
           r as (insert into provider_ref (provider_id, provider_message_id, delivery_id, n)
                 select provider_id, pm, id, n from o where pm <> '' on conflict do nothing)
           insert into receipt_inbox (provider_id, provider_message_id, delivery_id, n, evidence, body_id)
           select provider_id, pm, id, n, 'sent', 0 from o"#,
        &ids,
        &attempts,
        &providers,
        &message_ids
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes the steps of queued deliveries due at once whose validity is over: only fallback may say what follows.
///
/// # Errors
/// What storage says.
pub async fn make_due_if_invalid(conn: &mut Conn, deliveries: &[Uuid], now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        r#"insert into timer (owner, kind, send_group_id, due_at, generation)
           select n.id, 'step', d.send_group_id, 'epoch'::timestamptz, n.generation
             from delivery d
            cross join lateral (select y.id, y.state, y.step, y.generation from notification y
                                 where y.id = d.notification_id offset 0) n
            where d.id = any($1) and d.work = 'queued' and d.valid_until <= $2 and n.state = 'waiting' and n.step = d.step
            order by n.id
           on conflict (owner, kind) do update set due_at = excluded.due_at, generation = excluded.generation"#,
        deliveries,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}
