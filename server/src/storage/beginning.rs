//! How notifications are first written: they, their first deliveries, the chunks that carry them and the events of all, in one
//! statement for a page of any size. One that goes on to a later step is written by [`super::planning`].

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    Conn, Result,
    planning::{DeliveryRow, NotificationRow},
    queue::{self, NewChunk},
};

/// Inserts notifications that are new, their deliveries, and the chunks of these; with one event row for each (campaign, state,
/// reason), those of the notifications before those of their deliveries.
///
/// # Errors
/// What storage says.
pub async fn begin(
    conn: &mut Conn,
    notifications: &[NotificationRow],
    deliveries: &[DeliveryRow],
    chunks: &[NewChunk],
    now: DateTime<Utc>,
) -> Result<()> {
    let ids: Vec<Uuid> = notifications.iter().map(|r| r.id).collect();
    let plans: Vec<i64> = notifications.iter().map(|r| r.plan_id).collect();
    let contacts: Vec<i64> = notifications.iter().map(|r| r.contact_id).collect();
    let campaigns: Vec<Option<i64>> = notifications.iter().map(|r| r.campaign_id).collect();
    let triggers: Vec<Option<i64>> = notifications.iter().map(|r| r.trigger_id).collect();
    let lanes: Vec<&str> = notifications.iter().map(|r| r.lane.as_str()).collect();
    let states: Vec<&str> = notifications.iter().map(|r| r.state.as_str()).collect();
    let steps: Vec<i16> = notifications.iter().map(|r| r.step).collect();
    let reasons: Vec<Option<&str>> = notifications.iter().map(|r| r.reason.as_deref()).collect();
    let purposes: Vec<&str> = notifications.iter().map(|r| r.purpose.as_str()).collect();
    let variables: Vec<&serde_json::Value> = notifications.iter().map(|r| &r.variables).collect();
    let valid: Vec<Option<DateTime<Utc>>> = notifications.iter().map(|r| r.valid_until).collect();
    let after: Vec<Option<DateTime<Utc>>> = notifications.iter().map(|r| r.deliver_after).collect();
    let of: HashMap<Uuid, Option<i64>> = notifications.iter().map(|r| (r.id, r.campaign_id)).collect();
    let delivery_ids: Vec<Uuid> = deliveries.iter().map(|r| r.id).collect();
    let owners: Vec<Uuid> = deliveries.iter().map(|r| r.notification_id).collect();
    let delivery_campaigns: Vec<Option<i64>> =
        deliveries.iter().map(|r| of.get(&r.notification_id).copied().flatten()).collect();
    let delivery_steps: Vec<i16> = deliveries.iter().map(|r| r.step).collect();
    let groups: Vec<Option<i64>> = deliveries.iter().map(|r| r.send_group_id).collect();
    let channels: Vec<Option<i32>> = deliveries.iter().map(|r| r.channel_id).collect();
    let addresses: Vec<Option<i64>> = deliveries.iter().map(|r| r.address_id).collect();
    let skipped: Vec<Option<&str>> = deliveries.iter().map(|r| r.skipped.as_deref()).collect();
    let delivery_valid: Vec<Option<DateTime<Utc>>> = deliveries.iter().map(|r| r.valid_until).collect();
    sqlx::query!(
        r#"with n as (
             select * from unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[], $7::text[],
                                  $8::smallint[], $9::text[], $10::text[], $11::jsonb[], $12::timestamptz[], $13::timestamptz[])
               as n(id, plan_id, contact_id, campaign_id, trigger_id, lane, state, step, reason, purpose, variables,
                    valid_until, deliver_after)),
           d as (
             select * from unnest($15::uuid[], $16::uuid[], $17::bigint[], $18::smallint[], $19::bigint[], $20::int[],
                                  $21::bigint[], $22::text[], $23::timestamptz[])
               as d(id, notification_id, campaign_id, step, send_group_id, channel_id, address_id, skipped, valid_until)),
           u as (
             insert into notification (id, plan_id, contact_id, campaign_id, trigger_id, lane, state, step, reason, purpose,
                                       variables, valid_until, deliver_after, created_at, changed_at)
             select n.id, n.plan_id, n.contact_id, n.campaign_id, n.trigger_id, n.lane::lane, n.state::notification_state,
                    n.step, n.reason, n.purpose, n.variables, n.valid_until, n.deliver_after, $14, $14 from n),
           v as (
             insert into delivery (id, notification_id, step, send_group_id, channel_id, address_id, work, reason, valid_until,
                                   created_at)
             select d.id, d.notification_id, d.step, d.send_group_id, d.channel_id, d.address_id,
                    case when d.skipped is null then 'queued' else 'skipped' end::delivery_work, d.skipped, d.valid_until, $14
               from d),
           k as (
             insert into dispatch (channel_type, lane, send_group_id, delivery_ids, not_before, parts, price_micros)
             select c.channel_type, c.lane::lane, c.send_group_id, c.delivery_ids,
                    case when c.delay > 0 then clock_timestamp() + make_interval(secs => c.delay) else '-infinity' end,
                    c.parts, c.price
               from jsonb_to_recordset($24) as c(channel_type text, lane text, send_group_id bigint, delivery_ids uuid[],
                                                 delay double precision, parts int, price bigint))
           insert into event_out (kind, type, campaign_id, channel_id, step, to_state, reason, n, ids, at)
           select 'notification', 'created', n.campaign_id, null::int, n.step, n.state, n.reason, count(*)::int, array_agg(n.id),
                  $14::timestamptz
             from n group by n.campaign_id, n.step, n.state, n.reason
           union all
           select 'delivery', 'created', d.campaign_id, d.channel_id, d.step,
                  case when d.skipped is null then 'queued' else 'skipped' end, d.skipped, count(*)::int, array_agg(d.id), $14
             from d group by d.campaign_id, d.channel_id, d.step, d.skipped"#,
        &ids,
        &plans,
        &contacts,
        &campaigns as &[Option<i64>],
        &triggers as &[Option<i64>],
        &lanes as &[&str],
        &states as &[&str],
        &steps,
        &reasons as &[Option<&str>],
        &purposes as &[&str],
        &variables as &[&serde_json::Value],
        &valid as &[Option<DateTime<Utc>>],
        &after as &[Option<DateTime<Utc>>],
        now,
        &delivery_ids,
        &owners,
        &delivery_campaigns as &[Option<i64>],
        &delivery_steps,
        &groups as &[Option<i64>],
        &channels as &[Option<i32>],
        &addresses as &[Option<i64>],
        &skipped as &[Option<&str>],
        &delivery_valid as &[Option<DateTime<Utc>>],
        queue::documents(chunks)
    )
    .execute(conn)
    .await?;
    Ok(())
}
