//! Writing what was planned and decided, a page in a handful of statements: deliveries of later steps, timers, moves and call lists;
//! how it begins is in [`super::beginning`].

use chrono::{DateTime, Utc};
use domain::channel::{ChannelType, Lane};
use uuid::Uuid;

use super::{Conn, Result};

/// One person to be reached about one thing, as it is first written.
#[derive(Debug, Clone)]
pub struct NotificationRow {
    /// A UUIDv7.
    pub id: Uuid,
    /// The pinned plan.
    pub plan_id: i64,
    /// The person.
    pub contact_id: i64,
    /// The campaign, where it is one's.
    pub campaign_id: Option<i64>,
    /// The trigger, where one caused it.
    pub trigger_id: Option<i64>,
    /// The lane.
    pub lane: Lane,
    /// Where it stands: waiting, pending, or ended before anything was sent.
    pub state: domain::notification::State,
    /// The step that is under way.
    pub step: i16,
    /// Why it ended or waits.
    pub reason: Option<String>,
    /// Why one writes.
    pub purpose: String,
    /// The variables of its templates.
    pub variables: serde_json::Value,
    /// Past this nothing is sent.
    pub valid_until: Option<DateTime<Utc>>,
    /// Before this nothing is sent.
    pub deliver_after: Option<DateTime<Utc>>,
}

/// One delivery as it is first written: queued, or skipped with a reason.
#[derive(Debug, Clone)]
pub struct DeliveryRow {
    /// A UUIDv7.
    pub id: Uuid,
    /// Its notification.
    pub notification_id: Uuid,
    /// Its step.
    pub step: i16,
    /// Its send group; none when it is skipped.
    pub send_group_id: Option<i64>,
    /// Its channel, where one was chosen.
    pub channel_id: Option<i32>,
    /// Its address, where one was chosen.
    pub address_id: Option<i64>,
    /// Why it is skipped; none when it is queued.
    pub skipped: Option<String>,
    /// Past this it is not put on the wire.
    pub valid_until: Option<DateTime<Utc>>,
}

/// Inserts deliveries and their events; their notifications stand already. A step that stands already (two deciders met) is left as it is; comes back with what was
/// really inserted.
///
/// # Errors
/// What storage says.
pub async fn insert_deliveries(conn: &mut Conn, rows: &[DeliveryRow], now: DateTime<Utc>) -> Result<Vec<Uuid>> {
    let ids: Vec<Uuid> = rows.iter().map(|r| r.id).collect();
    let notifications: Vec<Uuid> = rows.iter().map(|r| r.notification_id).collect();
    let steps: Vec<i16> = rows.iter().map(|r| r.step).collect();
    let groups: Vec<Option<i64>> = rows.iter().map(|r| r.send_group_id).collect();
    let channels: Vec<Option<i32>> = rows.iter().map(|r| r.channel_id).collect();
    let addresses: Vec<Option<i64>> = rows.iter().map(|r| r.address_id).collect();
    let skipped: Vec<Option<&str>> = rows.iter().map(|r| r.skipped.as_deref()).collect();
    let valid: Vec<Option<DateTime<Utc>>> = rows.iter().map(|r| r.valid_until).collect();
    let inserted = sqlx::query_scalar!(
        r#"with x as (select * from unnest($1::uuid[], $2::uuid[], $3::smallint[], $4::bigint[], $5::int[], $6::bigint[],
                                           $7::text[], $9::timestamptz[])
                        as x(id, notification_id, step, send_group_id, channel_id, address_id, skipped, valid_until)),
           u as (
             insert into delivery (id, notification_id, step, send_group_id, channel_id, address_id, work, reason, valid_until,
                                   created_at)
             select id, notification_id, step, send_group_id, channel_id, address_id,
                    case when skipped is null then 'queued' else 'skipped' end::delivery_work, skipped, valid_until, $8
               from x on conflict (notification_id, step) where notification_id is not null do nothing
             returning id, notification_id, step, channel_id, work, reason),
           e as (
             insert into event_out (kind, type, campaign_id, channel_id, step, to_state, reason, n, ids, at)
             select 'delivery', 'created', n.campaign_id, u.channel_id, u.step, u.work::text, u.reason, count(*),
                    array_agg(u.id), $8
               from u cross join lateral (select y.campaign_id from notification y where y.id = u.notification_id offset 0) n
              group by n.campaign_id, u.channel_id, u.step, u.work, u.reason)
           select id from u"#,
        &ids,
        &notifications,
        &steps,
        &groups as &[Option<i64>],
        &channels as &[Option<i32>],
        &addresses as &[Option<i64>],
        &skipped as &[Option<&str>],
        now,
        &valid as &[Option<DateTime<Utc>>]
    )
    .fetch_all(conn)
    .await?;
    Ok(inserted)
}

/// A notification's timer.
#[derive(Debug, Clone)]
pub struct TimerRow {
    /// The notification.
    pub notification_id: Uuid,
    /// The group in whose clock it runs.
    pub send_group_id: i64,
    /// When, in business time.
    pub due_at: DateTime<Utc>,
    /// The generation of the notification that it belongs to.
    pub generation: i32,
}

/// Arms the timers of notifications, replacing what was armed.
///
/// # Errors
/// What storage says.
pub async fn arm_timers(conn: &mut Conn, rows: &[TimerRow]) -> Result<()> {
    let owners: Vec<Uuid> = rows.iter().map(|r| r.notification_id).collect();
    let groups: Vec<i64> = rows.iter().map(|r| r.send_group_id).collect();
    let dues: Vec<DateTime<Utc>> = rows.iter().map(|r| r.due_at).collect();
    let generations: Vec<i32> = rows.iter().map(|r| r.generation).collect();
    sqlx::query!(
        r#"insert into timer (owner, kind, send_group_id, due_at, generation)
           select x.owner, 'step', x.send_group_id, x.due_at - g.clock_shift, x.generation
             from unnest($1::uuid[], $2::bigint[], $3::timestamptz[], $4::int[]) as x(owner, send_group_id, due_at, generation)
             join send_group g on g.id = x.send_group_id order by x.owner
           on conflict (owner, kind) do update set due_at = excluded.due_at, generation = excluded.generation,
                                                   send_group_id = excluded.send_group_id"#,
        &owners,
        &groups,
        &dues,
        &generations
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Removes the timers of notifications that wait for nothing any more.
///
/// # Errors
/// What storage says.
pub async fn disarm_timers(conn: &mut Conn, notifications: &[Uuid]) -> Result<()> {
    sqlx::query!(
        r#"with l as (select owner from timer where owner = any($1) and kind = 'step' order by owner for update)
           delete from timer t using l where t.owner = l.owner and t.kind = 'step'"#,
        notifications
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The send group of direct traffic over a channel in a lane, where it stands; it is never removed.
///
/// # Errors
/// What storage says.
pub async fn direct_group(conn: &mut Conn, channel_id: i32, lane: Lane) -> Result<Option<i64>> {
    let found = sqlx::query_scalar!(
        "select id from send_group where campaign_id is null and channel_id = $1 and lane = $2::text::lane",
        channel_id,
        lane.as_str()
    );
    Ok(found.fetch_optional(conn).await?)
}

/// The send group of (campaign or direct traffic, channel, lane); made when it does not stand yet.
///
/// # Errors
/// What storage says.
pub async fn send_group(
    conn: &mut Conn,
    campaign_id: Option<i64>,
    channel_id: i32,
    channel_type: ChannelType,
    lane: Lane,
    weight: i32,
) -> Result<i64> {
    let found = sqlx::query_scalar!(
        r#"select id as "id!" from send_group where campaign_id = $1 and channel_id = $2 and lane = $3::text::lane
           union all
           select id from send_group
            where $1::bigint is null and campaign_id is null and channel_id = $2 and lane = $3::text::lane"#,
        campaign_id,
        channel_id,
        lane.as_str()
    )
    .fetch_optional(&mut *conn)
    .await?;
    if let Some(id) = found {
        return Ok(id);
    }
    let id = sqlx::query_scalar!(
        r#"insert into send_group (campaign_id, channel_id, channel_type, lane, weight, running, paused_at)
           select $1, $2, $3, $4::text::lane, $5, coalesce(c.state not in ('paused', 'cancelling'), true),
                  case when c.state in ('paused', 'cancelling') then coalesce(c.paused_at, c.updated_at) end
             from (select 1) one left join campaign c on c.id = $1
           on conflict (campaign_id, channel_id, lane) do update set weight = send_group.weight
           returning id"#,
        campaign_id,
        channel_id,
        channel_type.as_str(),
        lane.as_str(),
        weight
    )
    .fetch_one(conn)
    .await?;
    Ok(id)
}

/// What changes of a notification when it moves.
#[derive(Debug, Clone)]
pub struct Move {
    /// The notification, locked by the caller.
    pub id: Uuid,
    /// Its campaign.
    pub campaign_id: Option<i64>,
    /// Where it stood.
    pub from: domain::notification::State,
    /// Where it stands now.
    pub to: domain::notification::State,
    /// The step it is at.
    pub step: i16,
    /// Why.
    pub reason: Option<String>,
    /// The message that answered it.
    pub answered_by: Option<Uuid>,
    /// Whether the evidence came after its step was left.
    pub late: bool,
}

/// Moves notifications that the caller has locked: state, step, reason, a new generation, and their events.
///
/// # Errors
/// What storage says.
pub async fn move_notifications(conn: &mut Conn, moves: &[Move], now: DateTime<Utc>) -> Result<()> {
    let ids: Vec<Uuid> = moves.iter().map(|m| m.id).collect();
    let campaigns: Vec<Option<i64>> = moves.iter().map(|m| m.campaign_id).collect();
    let from: Vec<&str> = moves.iter().map(|m| m.from.as_str()).collect();
    let to: Vec<&str> = moves.iter().map(|m| m.to.as_str()).collect();
    let steps: Vec<i16> = moves.iter().map(|m| m.step).collect();
    let reasons: Vec<Option<&str>> = moves.iter().map(|m| m.reason.as_deref()).collect();
    let answers: Vec<Option<Uuid>> = moves.iter().map(|m| m.answered_by).collect();
    let late: Vec<bool> = moves.iter().map(|m| m.late).collect();
    sqlx::query!(
        r#"with x as (select * from unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::smallint[], $6::text[],
                                           $7::uuid[], $8::boolean[])
                        as x(id, campaign_id, from_state, to_state, step, reason, answered_by, late)),
           u as (
             update notification n
                set state = x.to_state::notification_state, step = x.step, reason = x.reason, generation = n.generation + 1,
                    answered_by = coalesce(n.answered_by, x.answered_by), late = n.late or x.late, changed_at = $9
               from x where n.id = x.id returning x.*)
           insert into event_out (kind, type, campaign_id, step, from_state, to_state, reason, n, ids, at)
           select 'notification', case when from_state = to_state then 'step_changed' else 'state_changed' end,
                  campaign_id, step, from_state, to_state, reason, count(*), array_agg(id), $9
             from u group by campaign_id, from_state, to_state, step, reason"#,
        &ids,
        &campaigns as &[Option<i64>],
        &from as &[&str],
        &to as &[&str],
        &steps,
        &reasons as &[Option<&str>],
        &answers as &[Option<Uuid>],
        &late,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes back the queued deliveries of notifications that moved on, in the mover's own transaction.
///
/// # Errors
/// What storage says.
pub async fn cancel_queued(
    conn: &mut Conn,
    notifications: &[Uuid],
    work: domain::delivery::Work,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<u64> {
    let done = sqlx::query!(
        r#"with l as (
             select d.id, d.channel_id, d.step, d.evidence, n.campaign_id
               from delivery d join notification n on n.id = d.notification_id
              where d.notification_id = any($1) and d.work = 'queued' order by d.id for update of d),
           u as (update delivery d
                    set work = case when d.evidence = 'none' then $2::text::delivery_work else 'done' end,
                        reason = coalesce(d.reason, $3)
                   from l where d.id = l.id returning l.*),
           e as (
             insert into event_out (kind, campaign_id, channel_id, step, from_state, to_state, reason, n, ids, at)
             select 'delivery', campaign_id, channel_id, step, 'queued', $2, $3, count(*), array_agg(id), $4
               from u where evidence = 'none' group by campaign_id, channel_id, step)
           select count(*) as "n!" from u"#,
        notifications,
        work.as_str(),
        reason,
        now
    )
    .fetch_one(conn)
    .await?;
    Ok(u64::try_from(done.n).unwrap_or_default())
}

/// People to be put on call lists.
#[derive(Debug, Clone)]
pub struct CallListEntryRow {
    /// The list, by its slug.
    pub call_list: String,
    /// The notification that no channel could end.
    pub notification_id: Uuid,
    /// The person to call.
    pub contact_id: i64,
}

/// Puts people on call lists, each notification once. A list that does not stand any more takes nobody.
///
/// # Errors
/// What storage says.
pub async fn enter_call_lists(conn: &mut Conn, rows: &[CallListEntryRow], now: DateTime<Utc>) -> Result<u64> {
    let lists: Vec<&str> = rows.iter().map(|r| r.call_list.as_str()).collect();
    let notifications: Vec<Uuid> = rows.iter().map(|r| r.notification_id).collect();
    let contacts: Vec<i64> = rows.iter().map(|r| r.contact_id).collect();
    let done = sqlx::query!(
        r#"insert into call_list_entry (call_list_id, notification_id, contact_id, created_at)
           select l.id, x.notification_id, x.contact_id, $4
             from unnest($1::text[], $2::uuid[], $3::bigint[]) as x(slug, notification_id, contact_id)
             join call_list l on l.slug = x.slug
           on conflict (notification_id) do nothing"#,
        &lists as &[&str],
        &notifications,
        &contacts,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Takes people off call lists that were not mailed yet: they answered, or were reached.
///
/// # Errors
/// What storage says.
pub async fn leave_call_lists(conn: &mut Conn, notifications: &[Uuid], now: DateTime<Utc>) -> Result<u64> {
    let done = sqlx::query!(
        r#"update call_list_entry set withdrawn_at = $2
            where notification_id = any($1) and mailed_in is null and withdrawn_at is null"#,
        notifications,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Says of notifications that their conversation begins when they are sent.
///
/// # Errors
/// What storage says.
pub async fn set_at_send(conn: &mut Conn, ids: &[Uuid]) -> Result<()> {
    sqlx::query!("update notification set at_send = true where id = any($1)", ids).execute(conn).await?;
    Ok(())
}

/// Says in which conversation a notification was sent.
///
/// # Errors
/// What storage says.
pub async fn set_conversation(conn: &mut Conn, id: Uuid, conversation_id: Uuid) -> Result<()> {
    sqlx::query!("update notification set conversation_id = $2 where id = $1", id, conversation_id)
        .execute(conn)
        .await?;
    Ok(())
}
