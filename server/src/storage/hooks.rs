//! Webhooks of subscribers: where they stand in the stream, how they fare, and what they would not take.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Conn, Result};

/// A webhook as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct HookRow {
    /// Its key.
    pub id: i64,
    /// Its slug.
    pub slug: String,
    /// What people call it.
    pub display_name: String,
    /// Where events are posted.
    pub url: String,
    /// What is told, and where the secret is.
    pub definition: Value,
    /// `enabled`, `failing` or `disabled`.
    pub state: String,
    /// Why it fails or was disabled.
    pub state_reason: Option<String>,
    /// Events up to this number were told or given up.
    pub position: i64,
    /// Failures in a row.
    pub failures: i32,
    /// Machine time of the first of them.
    pub failing_since: Option<DateTime<Utc>>,
    /// Machine time of the first failure of what is tried now.
    pub batch_since: Option<DateTime<Utc>>,
    /// Not tried again before, in machine time.
    pub not_before: Option<DateTime<Utc>>,
    /// When it last took something, in machine time.
    pub last_success_at: Option<DateTime<Utc>>,
    /// Changes with every write of a caller.
    pub version: i32,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// Events after its position, whether the filter takes them or not.
    pub lag: i64,
    /// What it would not take and was not told since.
    pub dead_letters: i64,
    /// The machine time of this read.
    pub machine_now: DateTime<Utc>,
}

/// What is written of a webhook.
#[derive(Debug, Clone)]
pub struct HookWrite<'a> {
    /// What people call it.
    pub display_name: &'a str,
    /// Where events are posted.
    pub url: &'a str,
    /// What is told, and where the secret is.
    pub definition: &'a Value,
}

/// Webhooks by slug: one where `only` is given, else a page behind `after`.
///
/// # Errors
/// What storage says.
pub async fn list(conn: &mut Conn, only: Option<&str>, after: &str, limit: i64) -> Result<Vec<HookRow>> {
    let rows = sqlx::query_as!(
        HookRow,
        r#"select w.id, w.slug, w.display_name, w.url, w.definition, w.state, w.state_reason, w.position, w.failures,
                  w.failing_since, w.batch_since, w.not_before, w.last_success_at, w.version, w.created_at, w.updated_at,
                  (select next_number - 1 from event_counter) - w.position as "lag!",
                  (select count(*) from webhook_dead_letter d where d.webhook_id = w.id and d.replayed_at is null)
                    as "dead_letters!",
                  clock_timestamp() as "machine_now!"
             from webhook w where ($1::text is null or w.slug = $1) and w.slug > $2 order by w.slug limit $3"#,
        only,
        after,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// The keys and slugs of all webhooks that are not disabled.
///
/// # Errors
/// What storage says.
pub async fn active(conn: &mut Conn) -> Result<Vec<(i64, String)>> {
    let rows =
        sqlx::query!("select id, slug from webhook where state <> 'disabled' order by id").fetch_all(conn).await?;
    Ok(rows.into_iter().map(|r| (r.id, r.slug)).collect())
}

/// Locks the webhook with this slug, if it exists.
///
/// # Errors
/// What storage says.
pub async fn lock(conn: &mut Conn, slug: &str) -> Result<()> {
    sqlx::query_scalar!("select id from webhook where slug = $1 for update", slug).fetch_optional(conn).await?;
    Ok(())
}

/// Creates a webhook that is told what happens from `position` on.
///
/// # Errors
/// [`super::Error::Exists`] when the slug is taken.
pub async fn insert(
    conn: &mut Conn,
    slug: &str,
    write: &HookWrite<'_>,
    position: i64,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "insert into webhook (slug, display_name, url, definition, position, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $6)",
        slug,
        write.display_name,
        write.url,
        write.definition,
        position,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Changes a webhook that the caller has locked, and has it tried at once.
///
/// # Errors
/// What storage says.
pub async fn update(conn: &mut Conn, id: i64, write: &HookWrite<'_>, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "update webhook set display_name = $2, url = $3, definition = $4, not_before = null, version = version + 1,
                updated_at = $5 where id = $1",
        id,
        write.display_name,
        write.url,
        write.definition,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Enables (a new beginning: its failures are forgotten) or disables a webhook that the caller has locked.
///
/// # Errors
/// What storage says.
pub async fn set_state(conn: &mut Conn, id: i64, state: &str, reason: Option<&str>, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "update webhook set state = $2, state_reason = $3, failures = 0, failing_since = null, batch_since = null,
                not_before = null, version = version + 1, updated_at = $4 where id = $1",
        id,
        state,
        reason,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes a webhook that the caller has locked, with its dead letters.
///
/// # Errors
/// What storage says.
pub async fn delete(conn: &mut Conn, id: i64) -> Result<()> {
    sqlx::query!("delete from webhook where id = $1", id).execute(conn).await?;
    Ok(())
}

/// Sets the position anew, so that everything behind it is told again, and has it tried at once.
///
/// # Errors
/// What storage says.
pub async fn rewind(conn: &mut Conn, id: i64, position: i64) -> Result<()> {
    sqlx::query!("update webhook set position = $2, batch_since = null, not_before = null where id = $1", id, position)
        .execute(conn)
        .await?;
    Ok(())
}

/// Moves the position of a webhook that stands at `before`, because it took what lies between or wanted none of it. Says
/// whether it stood there: else somebody set it anew meanwhile.
///
/// # Errors
/// What storage says.
pub async fn advance(conn: &mut Conn, id: i64, before: i64, after: i64) -> Result<bool> {
    let done = sqlx::query!("update webhook set position = $3 where id = $1 and position = $2", id, before, after)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// Notes that a webhook took something. Says whether it was failing before.
///
/// # Errors
/// What storage says.
pub async fn succeeded(conn: &mut Conn, id: i64) -> Result<bool> {
    let was = sqlx::query_scalar!(
        r#"with b as (select id, state from webhook where id = $1 for update)
           update webhook w set failures = 0, failing_since = null, batch_since = null, not_before = null,
                  last_success_at = clock_timestamp(),
                  state = case when w.state = 'failing' then 'enabled' else w.state end,
                  state_reason = case when w.state = 'failing' then null else w.state_reason end
             from b where w.id = b.id returning b.state as "state!""#,
        id
    )
    .fetch_optional(conn)
    .await?;
    Ok(was.as_deref() == Some("failing"))
}

/// Notes a failure: not to be tried again for `pause_secs`, and from the `failing_from`th on it counts as failing. Says whether
/// that is new.
///
/// # Errors
/// What storage says.
pub async fn failed(conn: &mut Conn, id: i64, reason: &str, pause_secs: f64, failing_from: i32) -> Result<bool> {
    let fresh = sqlx::query_scalar!(
        r#"with b as (select id, state from webhook where id = $1 and state <> 'disabled' for update)
           update webhook w set failures = failures + 1, state_reason = $2,
                  failing_since = coalesce(failing_since, clock_timestamp()),
                  batch_since = coalesce(batch_since, clock_timestamp()),
                  not_before = clock_timestamp() + make_interval(secs => $3),
                  state = case when failures + 1 >= $4 then 'failing' else w.state end
             from b where w.id = b.id returning (b.state = 'enabled' and w.state = 'failing') as "fresh!""#,
        id,
        reason,
        pause_secs,
        failing_from
    )
    .fetch_optional(conn)
    .await?;
    Ok(fresh.unwrap_or(false))
}

/// What a webhook would not take.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// Its key.
    pub id: i64,
    /// The number of its first event.
    pub first: i64,
    /// The number of its last.
    pub last: i64,
    /// How many events that the filter lets through lie between them, both included.
    pub n: i32,
    /// How often they were tried in vain.
    pub failures: i32,
    /// What the last try met.
    pub reason: String,
    /// When they were given up, in machine time.
    pub died_at: DateTime<Utc>,
    /// Since when they are to be told again.
    pub replay_at: Option<DateTime<Utc>>,
    /// When they were told after all.
    pub replayed_at: Option<DateTime<Utc>>,
}

/// A batch that is given up.
#[derive(Debug, Clone)]
pub struct Died<'a> {
    /// The number of its first event.
    pub first: i64,
    /// The number of its last.
    pub last: i64,
    /// How many events it has.
    pub n: i32,
    /// How often it was tried in vain.
    pub failures: i32,
    /// What the last try met.
    pub reason: &'a str,
}

/// Gives up a batch, and lets the next one be tried at once.
///
/// # Errors
/// What storage says.
pub async fn bury(conn: &mut Conn, webhook_id: i64, died: &Died<'_>) -> Result<()> {
    sqlx::query!(
        "with w as (update webhook set batch_since = null, not_before = null where id = $1)
         insert into webhook_dead_letter (webhook_id, first, last, n, failures, reason) values ($1, $2, $3, $4, $5, $6)",
        webhook_id,
        died.first,
        died.last,
        died.n,
        died.failures,
        died.reason
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives up a replay: the letter stays what it was.
///
/// # Errors
/// What storage says.
pub async fn bury_again(conn: &mut Conn, webhook_id: i64, letter: i64, failures: i32, reason: &str) -> Result<()> {
    sqlx::query!(
        "with w as (update webhook set batch_since = null, not_before = null where id = $1)
         update webhook_dead_letter set replay_at = null, failures = failures + $3, reason = $4, died_at = clock_timestamp()
          where id = $2",
        webhook_id,
        letter,
        failures,
        reason
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes how far a replay came: to its end, or up to `told`.
///
/// # Errors
/// What storage says.
pub async fn replayed(conn: &mut Conn, letter: i64, told: i64) -> Result<()> {
    sqlx::query!(
        "update webhook_dead_letter set first = least($2::bigint + 1, last),
                replayed_at = case when $2::bigint >= last then clock_timestamp() end,
                replay_at = case when $2::bigint >= last then null else replay_at end
          where id = $1",
        letter,
        told
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The oldest dead letter of a webhook that is to be told again.
///
/// # Errors
/// What storage says.
pub async fn to_replay(conn: &mut Conn, webhook_id: i64) -> Result<Option<DeadLetter>> {
    let row = sqlx::query_as!(
        DeadLetter,
        "select id, first, last, n, failures, reason, died_at, replay_at, replayed_at from webhook_dead_letter
          where webhook_id = $1 and replay_at is not null order by id limit 1",
        webhook_id
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// Asks for a dead letter to be told again, or for all that were not. Says how many.
///
/// # Errors
/// What storage says.
pub async fn ask_replay(conn: &mut Conn, webhook_id: i64, letter: Option<i64>) -> Result<u64> {
    let done = sqlx::query!(
        "update webhook_dead_letter set replay_at = clock_timestamp(), replayed_at = null
          where webhook_id = $1 and (id = $2 or ($2::bigint is null and replayed_at is null))",
        webhook_id,
        letter
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Dead letters of a webhook, the newest first, below one key.
///
/// # Errors
/// What storage says.
pub async fn dead_letters(conn: &mut Conn, webhook_id: i64, below: i64, limit: i64) -> Result<Vec<DeadLetter>> {
    let rows = sqlx::query_as!(
        DeadLetter,
        "select id, first, last, n, failures, reason, died_at, replay_at, replayed_at from webhook_dead_letter
          where webhook_id = $1 and id < $2 order by id desc limit $3",
        webhook_id,
        below,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}
