//! Firings as people read them: one, a page, and how many there are.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::State;
use crate::storage::{Conn, Result};

/// A firing as it stands.
#[derive(Debug, Clone)]
pub struct FiringRow {
    /// Its key.
    pub id: i64,
    /// Its trigger.
    pub trigger_id: i64,
    /// The slug of the trigger.
    pub trigger: String,
    /// What became of it.
    pub state: State,
    /// Why, for programs.
    pub reason: Option<String>,
    /// Why, for people.
    pub reasons: Value,
    /// What was done to the row; empty for a fire time.
    pub op: String,
    /// The row.
    pub row: Option<Value>,
    /// The row before.
    pub old_row: Option<Value>,
    /// The nominal fire time of a schedule, as it was written.
    pub event_key: String,
    /// Whether someone fired it by hand.
    pub manual: bool,
    /// When the row was written, or the schedule was due.
    pub captured_at: DateTime<Utc>,
    /// When it was taken.
    pub created_at: DateTime<Utc>,
    /// When it got its present state.
    pub decided_at: Option<DateTime<Utc>>,
    /// The notification that it became.
    pub notification_id: Option<Uuid>,
    /// The slug of the campaign that it became.
    pub campaign: Option<String>,
    /// How often it was replayed.
    pub replays: i64,
}

/// What a list of firings asks for.
#[derive(Debug, Clone, Default)]
pub struct ListFilter {
    /// Only those of this trigger.
    pub trigger_id: Option<i64>,
    /// Only those in these states; none means all.
    pub states: Vec<State>,
    /// Only those for these reasons; none means all.
    pub reasons: Vec<String>,
}

/// A page of firings, the newest first, below `before`.
///
/// # Errors
/// What storage says.
pub async fn list(conn: &mut Conn, filter: &ListFilter, before: i64, limit: i64) -> Result<Vec<FiringRow>> {
    let states: Vec<&str> = filter.states.iter().map(|s| s.as_str()).collect();
    let ids = sqlx::query_scalar!(
        r#"select id from firing
            where id < $1 and ($2::bigint is null or trigger_id = $2)
              and (cardinality($3::text[]) = 0 or state::text = any($3))
              and (cardinality($4::text[]) = 0 or reason = any($4))
            order by id desc limit $5"#,
        before,
        filter.trigger_id,
        &states as &[&str],
        &filter.reasons,
        limit
    )
    .fetch_all(&mut *conn)
    .await?;
    by_ids(conn, &ids).await
}

/// One firing, of a deleted trigger too.
///
/// # Errors
/// What storage says.
pub async fn find(conn: &mut Conn, id: i64) -> Result<Option<FiringRow>> {
    Ok(by_ids(conn, &[id]).await?.pop())
}

/// Locks a firing until the transaction ends.
///
/// # Errors
/// What storage says.
pub async fn lock(conn: &mut Conn, id: i64) -> Result<()> {
    sqlx::query!("select id from firing where id = $1 for update", id).fetch_optional(conn).await?;
    Ok(())
}

/// How often a firing was replayed.
///
/// # Errors
/// What storage says.
pub async fn replays(conn: &mut Conn, id: i64) -> Result<i64> {
    Ok(sqlx::query_scalar!(r#"select count(*) as "n!" from firing where replay_of = $1"#, id).fetch_one(conn).await?)
}

async fn by_ids(conn: &mut Conn, ids: &[i64]) -> Result<Vec<FiringRow>> {
    let rows = sqlx::query!(
        r#"select f.id as "id!", f.trigger_id as "trigger_id!", t.slug as "slug!", f.state::text as "state!",
                  f.reason as "reason?", f.reasons as "reasons!", f.op as "op!", f.row_data as "row_data?",
                  f.old_row as "old_row?", f.event_key as "event_key!", f.manual as "manual!", f.captured_at as "captured_at!",
                  f.created_at as "created_at!", f.decided_at as "decided_at?", f.notification_id as "notification_id?",
                  c.slug as "campaign?", (select count(*) from firing r where r.replay_of = f.id) as "replays!"
             from firing f join trigger t on t.id = f.trigger_id left join campaign c on c.id = f.campaign_id
            where f.id = any($1) order by f.id desc"#,
        ids
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|r| {
            Ok(FiringRow {
                id: r.id,
                trigger_id: r.trigger_id,
                trigger: r.slug,
                state: State::parse(&r.state)?,
                reason: r.reason,
                reasons: r.reasons,
                op: r.op,
                row: r.row_data,
                old_row: r.old_row,
                event_key: r.event_key,
                manual: r.manual,
                captured_at: r.captured_at,
                created_at: r.created_at,
                decided_at: r.decided_at,
                notification_id: r.notification_id,
                campaign: r.campaign,
                replays: r.replays,
            })
        })
        .collect()
}

/// How many firings of a trigger are in a state, and when the last of them came there.
#[derive(Debug, Clone)]
pub struct Counted {
    /// The trigger.
    pub trigger_id: i64,
    /// The state.
    pub state: State,
    /// How many.
    pub count: i64,
    /// When the newest of them was decided.
    pub last_at: Option<DateTime<Utc>>,
}

/// So many firings of a trigger are counted in one state: who asks for a trigger does not wait for millions.
pub const MOST_COUNTED: i64 = 10_000;

/// Counts the firings of triggers, at most `MOST_COUNTED` in each state.
///
/// # Errors
/// What storage says.
pub async fn counts(conn: &mut Conn, triggers: &[i64]) -> Result<Vec<Counted>> {
    let rows = sqlx::query!(
        r#"select t.id as "trigger_id!", s.state::text as "state!", c.n as "n!", f.decided_at as "decided_at?"
             from unnest($1::bigint[]) as t (id)
                  cross join unnest(enum_range(null::firing_state)) as s (state)
                  cross join lateral (select count(*) as n from (select from firing where trigger_id = t.id and state = s.state
                                                                  limit $2) as counted) as c
                  left join lateral (select decided_at from firing where trigger_id = t.id and state = s.state
                                      order by id desc limit 1) as f on true
            where c.n > 0 order by t.id, s.state"#,
        triggers,
        MOST_COUNTED
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|r| {
            let state = State::parse(&r.state)?;
            Ok(Counted { trigger_id: r.trigger_id, state, count: r.n, last_at: r.decided_at })
        })
        .collect()
}
