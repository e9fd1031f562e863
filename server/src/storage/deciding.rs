//! What whoever decides about notifications locks and reads: first the locks, in id order, in a statement of their own; then,
//! in the next statement, the facts. A read in the locking statement would still see its old snapshot.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use domain::{
    delivery::{Evidence, Work},
    notification::State,
};
use uuid::Uuid;

use super::{Conn, Result};

/// A notification that is locked.
#[derive(Debug, Clone)]
pub struct Locked {
    /// Its id.
    pub id: Uuid,
    /// Its plan.
    pub plan_id: i64,
    /// Its contact.
    pub contact_id: i64,
    /// Its campaign.
    pub campaign_id: Option<i64>,
    /// The lane of its first step; later steps stay in it.
    pub lane: domain::channel::Lane,
    /// Where it stands.
    pub state: State,
    /// The step that is under way.
    pub step: i16,
    /// The generation of its timers.
    pub generation: i32,
    /// Why it waits or ended.
    pub reason: Option<String>,
    /// Why one writes.
    pub purpose: String,
    /// The variables of its templates.
    pub variables: serde_json::Value,
    /// Past this nothing is sent.
    pub valid_until: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// Locks notifications in id order. With `skip`, those that another decider holds are left out.
///
/// # Errors
/// What storage says.
pub async fn lock(conn: &mut Conn, ids: &[Uuid], skip: bool) -> Result<Vec<Locked>> {
    let locked: Vec<Uuid> = if skip {
        sqlx::query_scalar!("select id from notification where id = any($1) order by id for update skip locked", ids)
            .fetch_all(&mut *conn)
            .await?
    } else {
        sqlx::query_scalar!("select id from notification where id = any($1) order by id for update", ids)
            .fetch_all(&mut *conn)
            .await?
    };
    let rows = sqlx::query!(
        r#"select id, plan_id, contact_id, campaign_id, lane::text as "lane!", state::text as "state!", step, generation,
                  reason, purpose, variables, valid_until, created_at
             from notification where id = any($1) order by id"#,
        &locked
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|r| {
            Ok(Locked {
                id: r.id,
                plan_id: r.plan_id,
                contact_id: r.contact_id,
                campaign_id: r.campaign_id,
                lane: r.lane.parse()?,
                state: r.state.parse()?,
                step: r.step,
                generation: r.generation,
                reason: r.reason,
                purpose: r.purpose,
                variables: r.variables,
                valid_until: r.valid_until,
                created_at: r.created_at,
            })
        })
        .collect()
}

/// What is known of one delivery of a notification.
#[derive(Debug, Clone)]
pub struct DeliveryFacts {
    /// Its id.
    pub id: Uuid,
    /// Its notification.
    pub notification_id: Uuid,
    /// Its step.
    pub step: i16,
    /// Its send group; none when it was skipped.
    pub send_group_id: Option<i64>,
    /// Its channel.
    pub channel_id: Option<i32>,
    /// Its address.
    pub address_id: Option<i64>,
    /// Where the work stands.
    pub work: Work,
    /// What is known.
    pub evidence: Evidence,
    /// Why it was skipped, taken back or given up.
    pub reason: Option<String>,
    /// What a failure means.
    pub failure_class: Option<String>,
    /// The provider's code of a failure.
    pub failure_code: Option<String>,
    /// Attempts so far; the last one may be open.
    pub attempts: i16,
    /// When its wait began.
    pub first_sent_at: Option<DateTime<Utc>>,
    /// When it was queued.
    pub created_at: DateTime<Utc>,
}

/// The deliveries of notifications, by notification, in the order of their steps.
///
/// # Errors
/// What storage says.
pub async fn deliveries(conn: &mut Conn, notifications: &[Uuid]) -> Result<HashMap<Uuid, Vec<DeliveryFacts>>> {
    let rows = sqlx::query!(
        r#"select id, notification_id as "notification_id!", step, send_group_id, channel_id, address_id,
                  work::text as "work!", evidence::text as "evidence!", reason, failure_class, failure_code, attempts,
                  first_sent_at, created_at
             from delivery where notification_id = any($1) order by notification_id, step"#,
        notifications
    )
    .fetch_all(conn)
    .await?;
    let mut by_notification: HashMap<Uuid, Vec<DeliveryFacts>> = HashMap::new();
    for r in rows {
        by_notification.entry(r.notification_id).or_default().push(DeliveryFacts {
            id: r.id,
            notification_id: r.notification_id,
            step: r.step,
            send_group_id: r.send_group_id,
            channel_id: r.channel_id,
            address_id: r.address_id,
            work: r.work.parse()?,
            evidence: r.evidence.parse()?,
            reason: r.reason,
            failure_class: r.failure_class,
            failure_code: r.failure_code,
            attempts: r.attempts,
            first_sent_at: r.first_sent_at,
            created_at: r.created_at,
        });
    }
    Ok(by_notification)
}

/// For how long (seconds of machine time) evidence that could stop a notification has been stored and unmerged.
///
/// # Errors
/// What storage says.
pub async fn unmerged_for(conn: &mut Conn, notifications: &[Uuid]) -> Result<HashMap<Uuid, f64>> {
    let rows = sqlx::query!(
        r#"select n.id, extract(epoch from clock_timestamp() - unmerged_evidence_since(n.id, n.contact_id))::double precision
                          as secs
             from notification n where n.id = any($1)"#,
        notifications
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().filter_map(|r| r.secs.map(|secs| (r.id, secs.max(0.0)))).collect())
}

/// A timer that is due.
#[derive(Debug, Clone)]
pub struct DueTimer {
    /// A notification (`step`) or a delivery (`ask`).
    pub owner: Uuid,
    /// The generation it was armed for; for `ask`, the attempt.
    pub generation: i32,
}

/// Timers of one kind that are due in running groups. Nothing is locked: the decider locks notifications and asks the generation.
///
/// # Errors
/// What storage says.
pub async fn due_timers(conn: &mut Conn, kind: &str, now: DateTime<Utc>, limit: i64) -> Result<Vec<DueTimer>> {
    let rows = sqlx::query_as!(
        DueTimer,
        r#"select x.owner as "owner!", x.generation as "generation!"
             from send_group g cross join lateral (
                  select t.owner, t.generation, t.due_at from timer t
                   where t.send_group_id = g.id and t.due_at <= $2::timestamptz - g.clock_shift and t.kind = $1
                   order by t.due_at limit $3) x
            where g.running and g.quiet_until <= $2
            order by x.due_at limit $3"#,
        kind,
        now,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// What fallback looks at before it reads or locks anything.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Look {
    /// For how many seconds what people and providers say may have been hidden; none while all is known. See
    /// [`super::receiving::deaf_secs`].
    pub deaf_secs: Option<f64>,
    /// When the next wait of a step is over, in business time.
    pub step: Option<DateTime<Utc>>,
    /// When the next question to a provider is due, in business time.
    pub ask: Option<DateTime<Utc>>,
}

/// When the next timers of running groups are due, and whether anything may be decided.
///
/// # Errors
/// What storage says.
pub async fn look(conn: &mut Conn) -> Result<Look> {
    let look = sqlx::query_as!(
        Look,
        r#"select (select extract(epoch from clock_timestamp() - deaf_since())::float8) as "deaf_secs?",
                  min(x.due_at) filter (where x.kind = 'step') as "step?", min(x.due_at) filter (where x.kind = 'ask') as "ask?"
             from (select k.kind, greatest(t.due_at + g.clock_shift, g.quiet_until) as due_at
                     from send_group g cross join (values ('step'), ('ask')) as k(kind)
                    cross join lateral (
                          select y.due_at from timer y where y.send_group_id = g.id and y.kind = k.kind order by y.due_at limit 1) t
                    where g.running) x"#
    )
    .fetch_one(conn)
    .await?;
    Ok(look)
}

/// Removes timers that were decided about, unless they were armed anew meanwhile.
///
/// # Errors
/// What storage says.
pub async fn remove_timers(conn: &mut Conn, kind: &str, timers: &[DueTimer]) -> Result<()> {
    let owners: Vec<Uuid> = timers.iter().map(|t| t.owner).collect();
    let generations: Vec<i32> = timers.iter().map(|t| t.generation).collect();
    sqlx::query!(
        r#"with x as (select x.owner, x.generation from unnest($1::uuid[], $2::int[]) x(owner, generation) order by x.owner),
           l as (select t.owner, t.kind from x cross join lateral (
                   select y.owner, y.kind from timer y
                    where y.owner = x.owner and y.kind = $3 and y.generation = x.generation for update) t)
           delete from timer t using l where t.owner = l.owner and t.kind = l.kind"#,
        &owners,
        &generations,
        kind
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The clock of a send group, and the timer that runs in it.
#[derive(Debug, Clone)]
pub struct GroupClock {
    /// The notification.
    pub notification_id: Uuid,
    /// When its timer is due, in the group's clock.
    pub due_at: Option<DateTime<Utc>>,
    /// Now, in the group's clock.
    pub group_now: DateTime<Utc>,
    /// Whether the group stands still.
    pub paused: bool,
}

/// The timers of notifications, with the clocks of their groups.
///
/// # Errors
/// What storage says.
pub async fn clocks(conn: &mut Conn, notifications: &[Uuid], now: DateTime<Utc>) -> Result<HashMap<Uuid, GroupClock>> {
    let rows = sqlx::query_as!(
        GroupClock,
        r#"select x.id as "notification_id!", t.due_at as "due_at?",
                  $2::timestamptz - coalesce(g.clock_shift, '0') as "group_now!", not coalesce(g.running, true) as "paused!"
             from unnest($1::uuid[]) x(id)
             left join lateral (select y.due_at, y.send_group_id from timer y
                                 where y.owner = x.id and y.kind = 'step' offset 0) t on true
             left join lateral (
               select s.clock_shift, s.running from send_group s
                where s.id = coalesce(t.send_group_id, (select d.send_group_id from delivery d
                                                         where d.notification_id = x.id and d.send_group_id is not null
                                                         order by d.step desc limit 1))) g on true"#,
        notifications,
        now
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|r| (r.notification_id, r)).collect())
}

/// The notifications that deliveries belong to.
///
/// # Errors
/// What storage says.
pub async fn notifications_of(conn: &mut Conn, deliveries: &[Uuid]) -> Result<HashMap<Uuid, Uuid>> {
    let rows = sqlx::query!(
        r#"select id, notification_id as "notification_id!" from delivery where id = any($1) and notification_id is not null"#,
        deliveries
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|r| (r.id, r.notification_id)).collect())
}
