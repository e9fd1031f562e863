//! Schedules: triggers of kind `schedule`, their next fire times, and what became of each fire time.
//!
//! A fire time is taken by locking its trigger and moving `next_fire_at` on; its firing is unique for (trigger, fire time). So
//! it fires once, however many processes look and however often they are restarted.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Conn, Result};

/// A schedule as it stands.
#[derive(Debug, Clone)]
pub struct ScheduleRow {
    /// Its key.
    pub id: i64,
    /// Its slug.
    pub slug: String,
    /// What people call it.
    pub display_name: String,
    /// What it is for.
    pub description: String,
    /// Whether it fires.
    pub enabled: bool,
    /// When, and what; [`crate::services::schedules`] reads it.
    pub definition: Value,
    /// When it fires next, in business time.
    pub next_fire_at: Option<DateTime<Utc>>,
    /// Changes with every write of a caller.
    pub version: i32,
}

/// Locks a schedule by its slug.
///
/// # Errors
/// What storage says.
pub async fn lock(conn: &mut Conn, slug: &str) -> Result<Option<ScheduleRow>> {
    let row = sqlx::query_as!(
        ScheduleRow,
        r#"select id, slug, display_name, description, enabled, definition, next_fire_at, version
             from trigger where slug = $1 and kind = 'schedule' and deleted_at is null for update"#,
        slug
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// Locks one schedule that is due; those that another process fires right now are left out.
///
/// # Errors
/// What storage says.
pub async fn take_due(conn: &mut Conn, now: DateTime<Utc>) -> Result<Option<ScheduleRow>> {
    let row = sqlx::query_as!(
        ScheduleRow,
        r#"select id, slug, display_name, description, enabled, definition, next_fire_at, version
             from trigger where kind = 'schedule' and enabled and next_fire_at <= $1 and deleted_at is null
            order by next_fire_at, id limit 1 for update skip locked"#,
        now
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// When the next schedule is due.
///
/// # Errors
/// What storage says.
pub async fn next_due(conn: &mut Conn) -> Result<Option<DateTime<Utc>>> {
    let at = sqlx::query_scalar!(
        "select min(next_fire_at) from trigger where kind = 'schedule' and enabled and deleted_at is null"
    )
    .fetch_one(conn)
    .await?;
    Ok(at)
}

/// Whether a trigger of any kind has this slug.
///
/// # Errors
/// What storage says.
pub async fn is_taken(conn: &mut Conn, slug: &str) -> Result<bool> {
    let taken = sqlx::query_scalar!(
        r#"select exists (select from trigger where slug = $1 and deleted_at is null) as "taken!""#,
        slug
    )
    .fetch_one(conn)
    .await?;
    Ok(taken)
}

/// What is written of a schedule.
#[derive(Debug, Clone)]
pub struct ScheduleWrite<'a> {
    /// What people call it.
    pub display_name: &'a str,
    /// What it is for.
    pub description: &'a str,
    /// When, and what.
    pub definition: &'a Value,
    /// Whether it fires.
    pub enabled: bool,
    /// When it fires next.
    pub next_fire_at: Option<DateTime<Utc>>,
}

/// Writes a new schedule.
///
/// # Errors
/// [`super::Error::Exists`] when the slug is taken.
pub async fn insert(conn: &mut Conn, slug: &str, write: &ScheduleWrite<'_>, now: DateTime<Utc>) -> Result<i64> {
    let id = sqlx::query_scalar!(
        r#"insert into trigger (slug, display_name, description, kind, enabled, definition, next_fire_at, created_at, updated_at)
           values ($1, $2, $7, 'schedule', $3, $4, $5, $6, $6) returning id"#,
        slug,
        write.display_name,
        write.enabled,
        write.definition,
        write.next_fire_at,
        now,
        write.description
    )
    .fetch_one(conn)
    .await?;
    Ok(id)
}

/// Changes a schedule that the caller has locked.
///
/// # Errors
/// What storage says.
pub async fn update(conn: &mut Conn, id: i64, write: &ScheduleWrite<'_>, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        r#"update trigger set display_name = $2, definition = $3, enabled = $4, next_fire_at = $5, version = version + 1,
                              updated_at = $6, description = $7 where id = $1"#,
        id,
        write.display_name,
        write.definition,
        write.enabled,
        write.next_fire_at,
        now,
        write.description
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Moves a schedule to its next fire time, if nobody has since it was read; without a next one it is over, and disabled.
///
/// # Errors
/// What storage says.
pub async fn advance(conn: &mut Conn, fired: &ScheduleRow, next: Option<DateTime<Utc>>) -> Result<bool> {
    let done = sqlx::query!(
        r#"update trigger set next_fire_at = $4, enabled = $4::timestamptz is not null
            where id = $1 and version = $2 and next_fire_at = $3"#,
        fired.id,
        fired.version,
        fired.next_fire_at,
        next
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// What became of a fire time.
#[derive(Debug, Clone)]
pub struct NewFiring {
    /// The nominal time, or what else it is known by.
    pub key: String,
    /// `fired`, `skipped` or `failed`.
    pub state: &'static str,
    /// Why it did not fire, for programs.
    pub reason: Option<&'static str>,
    /// The same for people: `[{field, fault, reason}]`.
    pub reasons: Value,
    /// Whether someone fired it by hand.
    pub manual: bool,
    /// When it was due.
    pub at: DateTime<Utc>,
    /// The run that it made.
    pub campaign_id: Option<i64>,
    /// The firing that it replays.
    pub replay_of: Option<i64>,
}

/// Writes firings; a fire time that was decided before is left as it is. Says the keys of those that are new.
///
/// # Errors
/// What storage says.
pub async fn write_firings(
    conn: &mut Conn,
    trigger_id: i64,
    firings: &[NewFiring],
    now: DateTime<Utc>,
) -> Result<Vec<i64>> {
    let keys: Vec<&str> = firings.iter().map(|f| f.key.as_str()).collect();
    let states: Vec<&str> = firings.iter().map(|f| f.state).collect();
    let reason: Vec<Option<&str>> = firings.iter().map(|f| f.reason).collect();
    let reasons: Vec<&Value> = firings.iter().map(|f| &f.reasons).collect();
    let manual: Vec<bool> = firings.iter().map(|f| f.manual).collect();
    let times: Vec<DateTime<Utc>> = firings.iter().map(|f| f.at).collect();
    let campaigns: Vec<Option<i64>> = firings.iter().map(|f| f.campaign_id).collect();
    let replays: Vec<Option<i64>> = firings.iter().map(|f| f.replay_of).collect();
    let ids = sqlx::query_scalar!(
        r#"insert into firing (trigger_id, event_key, state, reasons, captured_at, created_at, decided_at, campaign_id, replay_of,
                               reason, manual)
           select $1, x.key, x.state::firing_state, x.reasons, x.at, $8, $8, x.campaign_id, x.replay_of, x.reason, x.manual
             from unnest($2::text[], $3::text[], $4::jsonb[], $5::timestamptz[], $6::bigint[], $7::bigint[], $9::text[],
                         $10::boolean[]) with ordinality
               as x(key, state, reasons, at, campaign_id, replay_of, reason, manual, place)
            order by x.place
           on conflict (trigger_id, event_key) do nothing returning id"#,
        trigger_id,
        &keys as &[&str],
        &states as &[&str],
        &reasons as &[&Value],
        &times,
        &campaigns as &[Option<i64>],
        &replays as &[Option<i64>],
        now,
        &reason as &[Option<&str>],
        &manual
    )
    .fetch_all(conn)
    .await?;
    Ok(ids)
}

/// Whether a fire time was decided before.
///
/// # Errors
/// What storage says.
pub async fn is_decided(conn: &mut Conn, trigger_id: i64, key: &str) -> Result<bool> {
    let decided = sqlx::query_scalar!(
        r#"select exists (select from firing where trigger_id = $1 and event_key = $2) as "decided!""#,
        trigger_id,
        key
    )
    .fetch_one(conn)
    .await?;
    Ok(decided)
}

/// Notes that the run of a firing could not begin.
///
/// # Errors
/// What storage says.
pub async fn fail_run(
    conn: &mut Conn,
    campaign_id: i64,
    reason: &str,
    reasons: &Value,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "update firing set state = 'failed', reason = $4, reasons = $2, decided_at = $3 where campaign_id = $1 and state = 'fired'",
        campaign_id,
        reasons,
        now,
        reason
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Whether a run of this schedule still reads its audience.
///
/// # Errors
/// What storage says.
pub async fn still_reads(conn: &mut Conn, trigger_id: i64) -> Result<bool> {
    let reads = sqlx::query_scalar!(
        r#"select exists (select from campaign where trigger_id = $1 and state in ('scheduled', 'running')
                                                 and planned_at is null) as "reads!""#,
        trigger_id
    )
    .fetch_one(conn)
    .await?;
    Ok(reads)
}
