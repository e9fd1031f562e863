//! The send groups of campaigns: what is paused, weighed and held back. One row for each channel of a campaign, so that
//! pausing a million recipients is one small statement and no timer moves: timers run in their group's clock.

use chrono::{DateTime, Utc};

use super::{super::Conn, Result};

/// Stops the groups of a campaign: nothing more is granted, claimed or marked, and their clocks stand still.
///
/// # Errors
/// What storage says.
pub async fn stop(conn: &mut Conn, campaign_id: i64, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        r#"with l as (select id from send_group where campaign_id = $1 and running order by id for update)
           update send_group g set running = false, paused_at = $2 from l where g.id = l.id"#,
        campaign_id,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Lets the groups of a campaign go on: their clocks have stood still for as long as they were stopped.
///
/// # Errors
/// What storage says.
pub async fn go_on(conn: &mut Conn, campaign_id: i64, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        r#"with l as (select id from send_group where campaign_id = $1 and not running order by id for update)
           update send_group g
              set running = true, clock_shift = g.clock_shift + greatest($2 - g.paused_at, interval '0'), paused_at = null
             from l where g.id = l.id"#,
        campaign_id,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Stops groups that a fallback step made while their campaign was being paused or cancelled.
///
/// # Errors
/// What storage says.
pub async fn mend(conn: &mut Conn) -> Result<u64> {
    let done = sqlx::query!(
        r#"with l as (select g.id, coalesce(c.paused_at, c.updated_at) as paused_at from send_group g join campaign c on c.id = g.campaign_id
                       where g.running and c.state in ('paused', 'cancelling') order by g.id for update of g skip locked)
           update send_group g set running = false, paused_at = l.paused_at from l where g.id = l.id"#
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Gives the groups of a campaign another share of their channels.
///
/// # Errors
/// What storage says.
pub async fn weigh(conn: &mut Conn, campaign_id: i64, weight: i32) -> Result<()> {
    sqlx::query!("update send_group set weight = $2 where campaign_id = $1 and weight <> $2", campaign_id, weight)
        .execute(conn)
        .await?;
    Ok(())
}

/// Holds the groups of a campaign back until a business time.
///
/// # Errors
/// What storage says.
pub async fn hold_until(conn: &mut Conn, campaign_id: i64, not_before: DateTime<Utc>) -> Result<u64> {
    let done = sqlx::query!(
        "update send_group set not_before = $2 where campaign_id = $1 and not_before <> $2",
        campaign_id,
        not_before
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// How many deliveries a second a campaign may begin by its own rate; none: as fast as its channels allow.
///
/// # Errors
/// What storage says.
pub async fn rate(conn: &mut Conn, campaign_id: i64) -> Result<Option<f64>> {
    let rate = sqlx::query_scalar!("select rate_per_second from campaign where id = $1", campaign_id);
    Ok(rate.fetch_optional(conn).await?.flatten())
}

/// How many deliveries of a campaign wait to be granted.
///
/// # Errors
/// What storage says.
pub async fn waiting(conn: &mut Conn, campaign_id: i64) -> Result<i64> {
    let waiting = sqlx::query_scalar!(
        r#"select coalesce(sum(x.n), 0)::bigint as "n!" from send_group g cross join lateral (
                  select sum(cardinality(d.delivery_ids)) as n from dispatch d
                   where d.channel_type = g.channel_type and d.lane = g.lane and d.send_group_id = g.id
                     and d.published_at is null offset 0) x
            where g.campaign_id = $1"#,
        campaign_id
    );
    Ok(waiting.fetch_one(conn).await?)
}

/// Sets how fast a campaign is begun that is spread over its window; none: it is not spread.
///
/// # Errors
/// What storage says.
pub async fn spread(conn: &mut Conn, campaign_id: i64, rate: Option<f64>) -> Result<()> {
    sqlx::query!(
        "update campaign set spread_per_second = $2 where id = $1 and spread_per_second is distinct from $2",
        campaign_id,
        rate
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes the groups of ended campaigns out of the relay's and the timers' sight: those in which nothing waits, nothing is under
/// way and no timer runs.
///
/// # Errors
/// What storage says.
pub async fn retire(conn: &mut Conn, now: DateTime<Utc>) -> Result<u64> {
    let done = sqlx::query!(
        r#"with l as (
             select g.id from send_group g left join campaign c on c.id = g.campaign_id
              where g.running and g.campaign_id is not null and (c.id is null or c.state in ('completed', 'cancelled', 'failed'))
                and (select d.id from dispatch d where d.channel_type = g.channel_type and d.lane = g.lane
                        and d.send_group_id = g.id and d.published_at is null limit 1) is null
                and (select d.id from dispatch d where d.published_at is not null and d.lease_until > '-infinity'
                        and d.send_group_id = g.id limit 1) is null
                and (select t.owner from timer t where t.send_group_id = g.id limit 1) is null
              order by g.id limit 1000 for update of g skip locked)
           update send_group g set running = false, paused_at = $1 from l where g.id = l.id"#,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Running campaigns that have a sending window: (campaign, definition).
///
/// # Errors
/// What storage says.
pub async fn windowed(conn: &mut Conn) -> Result<Vec<(i64, serde_json::Value)>> {
    let rows = sqlx::query!(
        r#"select id, definition from campaign
            where state in ('running', 'paused') and definition #> '{spec,window}' is not null
              and definition #> '{spec,window}' <> 'null' order by id"#
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|r| (r.id, r.definition)).collect())
}

/// Deletes chunks of a campaign in which nothing is queued or on the wire any more. Says how many.
///
/// # Errors
/// What storage says.
pub async fn drop_chunks(conn: &mut Conn, campaign_id: i64, limit: i64) -> Result<u64> {
    let done = sqlx::query!(
        r#"with l as (
             select d.id from send_group g join dispatch d on d.send_group_id = g.id
              where g.campaign_id = $1 and d.published_at is null
                and not exists (select from unnest(d.delivery_ids) i(id) join delivery x on x.id = i.id
                                 where x.work in ('queued', 'sending'))
              order by d.id limit $2 for update of d skip locked)
           delete from dispatch d using l where d.id = l.id"#,
        campaign_id,
        limit
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
