//! What the planner reads and writes of campaigns: which ones have work, who plans which, and whom a run holds already.
//!
//! A planner holds a campaign by a lease under a token, in machine time; every page locks the campaign's row under that token,
//! so that pause and cancel wait for a page at most and no page is written after them.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::{super::Conn, CampaignRow, Result, load};

/// Scheduled campaigns whose time has come. Those that another process begins right now are left out.
///
/// # Errors
/// What storage says.
pub async fn due(conn: &mut Conn, now: DateTime<Utc>, limit: i64) -> Result<Vec<i64>> {
    let ids = sqlx::query_scalar!(
        r#"select id from campaign where state = 'scheduled' and start_at <= $1
            order by start_at, id limit $2 for update skip locked"#,
        now,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(ids)
}

/// Whether any campaign is at work, and when the next one begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AtWork {
    /// Whether one is scheduled, running, paused or being taken back.
    pub any: bool,
    /// When the next scheduled one begins, in business time.
    pub next_start: Option<DateTime<Utc>>,
}

/// What planners look at first: most of the time there is nothing to do.
///
/// # Errors
/// What storage says.
pub async fn at_work(conn: &mut Conn) -> Result<AtWork> {
    let found = sqlx::query_as!(
        AtWork,
        r#"select count(*) > 0 as "any!", min(start_at) filter (where state = 'scheduled') as "next_start?"
             from campaign where state in ('scheduled', 'running', 'paused', 'cancelling')"#
    );
    Ok(found.fetch_one(conn).await?)
}

/// Leases running campaigns that nobody plans, the oldest first.
///
/// # Errors
/// What storage says.
pub async fn claim(conn: &mut Conn, token: Uuid, lease_secs: f64, limit: i64) -> Result<Vec<i64>> {
    let ids = sqlx::query_scalar!(
        r#"with c as (
             select id from campaign
              where state = 'running' and planned_at is null and (planner is null or planner_until < clock_timestamp())
              order by id limit $3 for update skip locked)
           update campaign p set planner = $1, planner_until = clock_timestamp() + make_interval(secs => $2)
             from c where p.id = c.id returning p.id"#,
        token,
        lease_secs,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(ids)
}

/// Locks a campaign for a page and renews its lease; none when it is not this planner's any more, or does not run.
///
/// # Errors
/// What storage says.
pub async fn hold(conn: &mut Conn, id: i64, token: Uuid, lease_secs: f64) -> Result<Option<CampaignRow>> {
    let held = sqlx::query_scalar!(
        r#"update campaign set planner_until = clock_timestamp() + make_interval(secs => $3)
            where id = $1 and planner = $2 and state = 'running' and planned_at is null returning id"#,
        id,
        token,
        lease_secs
    )
    .fetch_optional(&mut *conn)
    .await?;
    match held {
        Some(id) => load(conn, id).await,
        None => Ok(None),
    }
}

/// Gives campaigns back, for any planner; with a pause before the next one may take them, in seconds of machine time.
///
/// # Errors
/// What storage says.
pub async fn release(conn: &mut Conn, token: Uuid, ids: &[i64], pause_secs: f64, reason: Option<&str>) -> Result<()> {
    sqlx::query!(
        r#"with l as (select id from campaign where id = any($2) and planner = $1 order by id for update)
           update campaign c
              set planner = case when $3::double precision > 0 then gen_random_uuid() end,
                  planner_until = clock_timestamp() + make_interval(secs => $3), state_reason = coalesce($4, state_reason)
             from l where c.id = l.id"#,
        token,
        ids,
        pause_secs,
        reason
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What a run says of a contact that is to be planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// The run did not hold it: it is to be planned.
    New,
    /// It was planned in an earlier reading of the audience, before the process died.
    Planned,
}

/// Puts contacts, each named once, into a run. Those that came before in this reading are missing in the answer: duplicates.
///
/// # Errors
/// What storage says.
pub async fn take_in(conn: &mut Conn, campaign_id: i64, contacts: &[i64], reading: i32) -> Result<HashMap<i64, Held>> {
    let rows = sqlx::query!(
        r#"insert into campaign_contact as c (campaign_id, contact_id, reading)
           select $1, x.id, $3 from unnest($2::bigint[]) as x(id) order by x.id
           on conflict (campaign_id, contact_id) do update set reading = excluded.reading where c.reading < excluded.reading
           returning c.contact_id, c.xmax = 0 as "new!""#,
        campaign_id,
        contacts,
        reading
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|r| (r.contact_id, if r.new { Held::New } else { Held::Planned })).collect())
}

/// Writes how far the planning is; with `done`, that the whole audience is planned.
///
/// # Errors
/// What storage says.
pub async fn save(conn: &mut Conn, id: i64, cursor: &Value, done: bool, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        r#"update campaign
              set plan_cursor = $2, state_reason = null, planned_at = case when $3 then $4::timestamptz end,
                  planner = case when $3 then null else planner end,
                  planner_until = case when $3 then null else planner_until end
            where id = $1"#,
        id,
        cursor,
        done,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The time zones of contacts; those that have none are missing.
///
/// # Errors
/// What storage says.
pub async fn zones(conn: &mut Conn, contacts: &[i64]) -> Result<HashMap<i64, String>> {
    let rows = sqlx::query!("select id, time_zone from contact where id = any($1) and time_zone <> ''", contacts)
        .fetch_all(conn)
        .await?;
    Ok(rows.into_iter().map(|r| (r.id, r.time_zone)).collect())
}

/// Planned, running campaigns of which no notification is unfinished.
///
/// # Errors
/// What storage says.
pub async fn finished(conn: &mut Conn, limit: i64) -> Result<Vec<i64>> {
    let ids = sqlx::query_scalar!(
        r#"select c.id from campaign c
            where c.state = 'running' and c.planned_at is not null
              and (select n.id from notification n where n.campaign_id = c.id and n.state = 'pending' limit 1) is null
              and (select n.id from notification n where n.campaign_id = c.id and n.state = 'waiting' limit 1) is null
            order by c.id limit $1"#,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(ids)
}

/// Campaigns that are being taken back.
///
/// # Errors
/// What storage says.
pub async fn cancelling(conn: &mut Conn, limit: i64) -> Result<Vec<i64>> {
    let ids = sqlx::query_scalar!("select id from campaign where state = 'cancelling' order by id limit $1", limit)
        .fetch_all(conn)
        .await?;
    Ok(ids)
}

/// Unfinished notifications of a campaign, in id order.
///
/// # Errors
/// What storage says.
pub async fn unfinished(conn: &mut Conn, campaign_id: i64, limit: i64) -> Result<Vec<Uuid>> {
    let ids = sqlx::query_scalar!(
        r#"select x.id as "id!"
             from unnest('{pending,waiting}'::notification_state[]) as s(state)
            cross join lateral (select n.id from notification n where n.campaign_id = $1 and n.state = s.state
                                 order by n.id limit $2) x
            order by x.id limit $2"#,
        campaign_id,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(ids)
}
