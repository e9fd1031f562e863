//! Firings: one row for each captured row and fire time, from being taken to what became of it.
//!
//! What is pending is taken under row locks that others skip, and decided in the transaction that makes its notification.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::{Conn, Error, Result};

mod listing;

pub use listing::{Counted, FiringRow, ListFilter, counts, find, list, lock, replays};

/// What became of a firing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It was taken and is not mapped yet.
    Pending,
    /// It became a notification or a campaign run.
    Fired,
    /// The row cannot be mapped.
    Unmappable,
    /// It was left out on purpose.
    Skipped,
    /// It could not be turned into work.
    Failed,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Fired, Self::Unmappable, Self::Skipped, Self::Failed];

    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Fired => "fired",
            Self::Unmappable => "unmappable",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
        }
    }

    fn parse(text: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|state| state.as_str() == text);
        found.ok_or_else(|| Error::Corrupt(format!("{text:?} is no state of a firing")))
    }
}

/// A firing as it is first written.
#[derive(Debug, Clone)]
pub struct NewFiring {
    /// The trigger.
    pub trigger_id: i64,
    /// Unique in the trigger: a second one with the same key is left out.
    pub event_key: String,
    /// What was done to the row: `insert`, `update` or `delete`.
    pub op: String,
    /// The row.
    pub row: Option<Value>,
    /// The row before.
    pub old_row: Option<Value>,
    /// The lane of its notification.
    pub lane: domain::channel::Lane,
    /// Whether someone fired it by hand.
    pub manual: bool,
    /// When the row was written.
    pub captured_at: DateTime<Utc>,
    /// The firing that it repeats.
    pub replay_of: Option<i64>,
    /// Where it stands; not pending only for what can never fire.
    pub state: State,
    /// Why it stands there, for programs.
    pub reason: Option<String>,
    /// The same for people.
    pub reasons: Value,
}

/// Writes firings; those whose key stands already and those of deleted triggers are left out. Says the keys of what was written.
///
/// # Errors
/// What storage says.
pub async fn insert(conn: &mut Conn, new: &[NewFiring], now: DateTime<Utc>) -> Result<Vec<i64>> {
    let triggers: Vec<i64> = new.iter().map(|f| f.trigger_id).collect();
    let keys: Vec<&str> = new.iter().map(|f| f.event_key.as_str()).collect();
    let ops: Vec<&str> = new.iter().map(|f| f.op.as_str()).collect();
    let rows: Vec<Option<&Value>> = new.iter().map(|f| f.row.as_ref()).collect();
    let old: Vec<Option<&Value>> = new.iter().map(|f| f.old_row.as_ref()).collect();
    let lanes: Vec<&str> = new.iter().map(|f| f.lane.as_str()).collect();
    let manual: Vec<bool> = new.iter().map(|f| f.manual).collect();
    let at: Vec<DateTime<Utc>> = new.iter().map(|f| f.captured_at).collect();
    let replays: Vec<Option<i64>> = new.iter().map(|f| f.replay_of).collect();
    let states: Vec<&str> = new.iter().map(|f| f.state.as_str()).collect();
    let reason: Vec<Option<&str>> = new.iter().map(|f| f.reason.as_deref()).collect();
    let reasons: Vec<&Value> = new.iter().map(|f| &f.reasons).collect();
    let ids = sqlx::query_scalar!(
        r#"insert into firing (trigger_id, event_key, op, row_data, old_row, lane, manual, captured_at, replay_of, state, reason,
                               reasons, created_at, decided_at)
           select x.trigger_id, x.event_key, x.op, x.row_data, x.old_row, x.lane::lane, x.manual, x.captured_at, x.replay_of,
                  x.state::firing_state, x.reason, x.reasons, $13::timestamptz,
                  case when x.state <> 'pending' then $13::timestamptz end
             from unnest($1::bigint[], $2::text[], $3::text[], $4::jsonb[], $5::jsonb[], $6::text[], $7::boolean[],
                         $8::timestamptz[], $9::bigint[], $10::text[], $11::text[], $12::jsonb[]) with ordinality
               as x(trigger_id, event_key, op, row_data, old_row, lane, manual, captured_at, replay_of, state, reason, reasons,
                    place)
             join trigger t on t.id = x.trigger_id and t.deleted_at is null
            order by x.place
           on conflict (trigger_id, event_key) do nothing returning id"#,
        &triggers,
        &keys as &[&str],
        &ops as &[&str],
        &rows as &[Option<&Value>],
        &old as &[Option<&Value>],
        &lanes as &[&str],
        &manual,
        &at,
        &replays as &[Option<i64>],
        &states as &[&str],
        &reason as &[Option<&str>],
        &reasons as &[&Value],
        now
    )
    .fetch_all(conn)
    .await?;
    Ok(ids)
}

/// A firing that is to be decided, locked.
#[derive(Debug, Clone)]
pub struct PendingRow {
    /// Its key.
    pub id: i64,
    /// Its trigger.
    pub trigger_id: i64,
    /// The row.
    pub row: Option<Value>,
    /// The row before.
    pub old_row: Option<Value>,
    /// The lane of its notification.
    pub lane: domain::channel::Lane,
    /// When the row was written.
    pub captured_at: DateTime<Utc>,
    /// The firing that it repeats.
    pub replay_of: Option<i64>,
}

/// Which pending firings are taken.
#[derive(Debug, Clone, Copy)]
pub enum Take {
    /// The next ones that never failed alone.
    Next(i64),
    /// One that failed before and may be tried again.
    Suspect,
    /// This one, unless another worker has it.
    One(i64),
}

/// Takes pending firings of tables in their order, locked until the transaction ends.
///
/// # Errors
/// What storage says.
pub async fn take(conn: &mut Conn, take: Take) -> Result<Vec<PendingRow>> {
    let (only, suspects, limit) = match take {
        Take::Next(limit) => (None, false, limit),
        Take::Suspect => (None, true, 1),
        Take::One(id) => (Some(id), false, 1),
    };
    let rows = sqlx::query!(
        r#"select id, trigger_id, row_data, old_row, lane::text as "lane!", captured_at, replay_of
             from firing
            where state = 'pending' and row_data is not null
              and case when $1::bigint is not null then id = $1
                       when $2 then tries > 0 and retry_at <= clock_timestamp()
                       else tries = 0 end
            order by id limit $3 for update skip locked"#,
        only,
        suspects,
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|r| {
            Ok(PendingRow {
                id: r.id,
                trigger_id: r.trigger_id,
                row: r.row_data,
                old_row: r.old_row,
                lane: r.lane.parse()?,
                captured_at: r.captured_at,
                replay_of: r.replay_of,
            })
        })
        .collect()
}

/// What became of a firing.
#[derive(Debug, Clone)]
pub struct Decided {
    /// The firing.
    pub id: i64,
    /// Where it stands now.
    pub state: State,
    /// Why, for programs.
    pub reason: Option<String>,
    /// Why, for people.
    pub reasons: Value,
    /// What it became.
    pub notification_id: Option<Uuid>,
}

/// Writes what became of firings that the caller has locked, and an event for each.
///
/// # Errors
/// What storage says.
pub async fn decide(conn: &mut Conn, decided: &[Decided], now: DateTime<Utc>) -> Result<()> {
    let ids: Vec<i64> = decided.iter().map(|d| d.id).collect();
    let states: Vec<&str> = decided.iter().map(|d| d.state.as_str()).collect();
    let reason: Vec<Option<&str>> = decided.iter().map(|d| d.reason.as_deref()).collect();
    let reasons: Vec<&Value> = decided.iter().map(|d| &d.reasons).collect();
    let notifications: Vec<Option<Uuid>> = decided.iter().map(|d| d.notification_id).collect();
    sqlx::query!(
        r#"with u as (
             update firing f
                set state = x.state::firing_state, reason = x.reason, reasons = x.reasons, notification_id = x.notification_id,
                    decided_at = $6
               from unnest($1::bigint[], $2::text[], $3::text[], $4::jsonb[], $5::uuid[])
                 as x(id, state, reason, reasons, notification_id)
              where f.id = x.id and f.state = 'pending' returning f.id, f.trigger_id, f.state, f.reason)
           insert into event_out (kind, type, subject, to_state, reason, at)
           select 'trigger', u.state::text, 'triggers/' || t.slug || '/firings/' || u.id, u.state::text, u.reason, $6
             from u join trigger t on t.id = u.trigger_id order by u.id"#,
        &ids,
        &states as &[&str],
        &reason as &[Option<&str>],
        &reasons as &[&Value],
        &notifications as &[Option<Uuid>],
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Counts a failure of a firing that was taken alone, and rests it for a while. Says how often it has failed.
///
/// # Errors
/// What storage says.
pub async fn count_failure(conn: &mut Conn, id: i64, rest_secs: f64) -> Result<i16> {
    let tries = sqlx::query_scalar!(
        r#"update firing set tries = tries + 1, retry_at = clock_timestamp() + make_interval(secs => $2)
            where id = $1 returning tries"#,
        id,
        rest_secs
    )
    .fetch_one(conn)
    .await?;
    Ok(tries)
}

/// Takes keys of a trigger that were not taken within `window` before their time; says which were taken. Keys that meet another
/// transaction wait for its end. None may be there twice.
///
/// # Errors
/// What storage says.
pub async fn take_keys(
    conn: &mut Conn,
    trigger_id: i64,
    keys: &[(Vec<u8>, DateTime<Utc>)],
    window: TimeDelta,
) -> Result<Vec<Vec<u8>>> {
    let (names, at): (Vec<Vec<u8>>, Vec<DateTime<Utc>>) = keys.iter().cloned().unzip();
    let window_secs = i32::try_from(window.num_seconds()).unwrap_or(i32::MAX);
    let taken = sqlx::query_scalar!(
        r#"insert into firing_key as k (trigger_id, key, at)
           select $1, x.key, x.at from unnest($2::bytea[], $3::timestamptz[]) as x(key, at) order by x.key
           on conflict (trigger_id, key) do update set at = excluded.at
              where k.at <= excluded.at - make_interval(secs => $4::int)
           returning key"#,
        trigger_id,
        &names,
        &at,
        window_secs
    )
    .fetch_all(conn)
    .await?;
    Ok(taken)
}

/// Leaves out what is pending of a trigger that is deleted.
///
/// # Errors
/// What storage says.
pub async fn skip_pending(conn: &mut Conn, trigger_id: i64, reasons: &Value, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        r#"update firing set state = 'skipped', reason = 'TARGET_INVALID', reasons = $2, decided_at = $3
            where trigger_id = $1 and state = 'pending'"#,
        trigger_id,
        reasons,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}
