//! Triggers of both kinds. What a definition says is known to [`crate::services::triggers`] and to the service of schedules.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Conn, Result};

/// A trigger as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct TriggerRow {
    /// Its key; also the key of its capture, and never used again.
    pub id: i64,
    /// Its slug.
    pub slug: String,
    /// What people call it.
    pub display_name: String,
    /// What it is for.
    pub description: String,
    /// `table` or `schedule`.
    pub kind: String,
    /// Whether it should fire.
    pub enabled: bool,
    /// Why it cannot, although it should.
    pub failure: Option<String>,
    /// The source of its table.
    pub source_id: Option<i32>,
    /// The slug of that source.
    pub source: Option<String>,
    /// What it does.
    pub definition: Value,
    /// The plan that was pinned when it was written.
    pub plan_id: Option<i64>,
    /// Whether it was taken off its table while rows may still wait in the source.
    pub draining: bool,
    /// Schedules: when it fires next.
    pub next_fire_at: Option<DateTime<Utc>>,
    /// Changes with every write of a caller.
    pub version: i32,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

/// A trigger of a table as it is first written.
#[derive(Debug, Clone)]
pub struct NewTableTrigger<'a> {
    /// Its slug.
    pub slug: &'a str,
    /// What people call it.
    pub display_name: &'a str,
    /// What it is for.
    pub description: &'a str,
    /// Whether it fires.
    pub enabled: bool,
    /// The source of its table.
    pub source_id: i32,
    /// What it does.
    pub definition: &'a Value,
    /// The plan.
    pub plan_id: i64,
}

/// Creates a trigger of a table; says its key.
///
/// # Errors
/// `Exists` when the slug is taken.
pub async fn insert_table(conn: &mut Conn, new: NewTableTrigger<'_>, now: DateTime<Utc>) -> Result<i64> {
    let id = sqlx::query_scalar!(
        r#"insert into trigger (slug, display_name, description, kind, enabled, source_id, definition, plan_id, created_at,
                                updated_at)
           values ($1, $2, $3, 'table', $4, $5, $6, $7, $8, $8) returning id"#,
        new.slug,
        new.display_name,
        new.description,
        new.enabled,
        new.source_id,
        new.definition,
        new.plan_id,
        now
    )
    .fetch_one(conn)
    .await?;
    Ok(id)
}

/// Writes what a caller may change of a trigger of a table.
///
/// # Errors
/// What storage says.
pub async fn update_table(conn: &mut Conn, row: &TriggerRow, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        r#"update trigger set display_name = $2, description = $3, definition = $4, plan_id = $5, version = version + 1,
                  updated_at = $6 where id = $1"#,
        row.id,
        row.display_name,
        row.description,
        row.definition,
        row.plan_id,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Says whether a trigger of a table fires, by a caller's wish. One that is disabled drains what was captured.
///
/// # Errors
/// What storage says.
pub async fn set_enabled(conn: &mut Conn, id: i64, enabled: bool, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        r#"update trigger set enabled = $2, draining = not $2, failure = null, version = version + 1, updated_at = $3
            where id = $1"#,
        id,
        enabled,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes that nothing of a disabled trigger is left in its source.
///
/// # Errors
/// What storage says.
pub async fn drained(conn: &mut Conn, id: i64) -> Result<()> {
    sqlx::query!("update trigger set draining = false where id = $1", id).execute(conn).await?;
    Ok(())
}

/// Notes why a trigger cannot fire, or that it can. Says whether that is new.
///
/// # Errors
/// What storage says.
pub async fn set_failure(conn: &mut Conn, id: i64, failure: Option<&str>) -> Result<bool> {
    let changed =
        sqlx::query!("update trigger set failure = $2 where id = $1 and failure is distinct from $2", id, failure)
            .execute(conn)
            .await?;
    Ok(changed.rows_affected() == 1)
}

/// Deletes a trigger; its firings stay.
///
/// # Errors
/// What storage says.
pub async fn delete(conn: &mut Conn, id: i64, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        r#"update trigger set deleted_at = $2, enabled = false, draining = false, failure = null, next_fire_at = null,
                  version = version + 1, updated_at = $2 where id = $1"#,
        id,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// One trigger, locked until the transaction ends.
///
/// # Errors
/// What storage says.
pub async fn lock(conn: &mut Conn, slug: &str) -> Result<Option<TriggerRow>> {
    sqlx::query!("select id from trigger where slug = $1 and deleted_at is null for update", slug)
        .fetch_optional(&mut *conn)
        .await?;
    find(conn, slug).await
}

/// One trigger.
///
/// # Errors
/// What storage says.
pub async fn find(conn: &mut Conn, slug: &str) -> Result<Option<TriggerRow>> {
    let row = sqlx::query_as!(
        TriggerRow,
        r#"select t.id as "id!", t.slug as "slug!", t.display_name as "display_name!", t.description as "description!",
                  t.kind as "kind!", t.enabled as "enabled!", t.failure as "failure?", t.source_id as "source_id?",
                  s.slug as "source?", t.definition as "definition!", t.plan_id as "plan_id?", t.draining as "draining!",
                  t.next_fire_at as "next_fire_at?", t.version as "version!", t.created_at as "created_at!",
                  t.updated_at as "updated_at!"
             from trigger t left join source s on s.id = t.source_id where t.slug = $1 and t.deleted_at is null"#,
        slug
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// Triggers by their keys, deleted ones too.
///
/// # Errors
/// What storage says.
pub async fn by_ids(conn: &mut Conn, ids: &[i64]) -> Result<Vec<TriggerRow>> {
    let rows = sqlx::query_as!(
        TriggerRow,
        r#"select t.id as "id!", t.slug as "slug!", t.display_name as "display_name!", t.description as "description!",
                  t.kind as "kind!", t.enabled as "enabled!", t.failure as "failure?", t.source_id as "source_id?",
                  s.slug as "source?", t.definition as "definition!", t.plan_id as "plan_id?", t.draining as "draining!",
                  t.next_fire_at as "next_fire_at?", t.version as "version!", t.created_at as "created_at!",
                  t.updated_at as "updated_at!"
             from trigger t left join source s on s.id = t.source_id where t.id = any($1)"#,
        ids
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// What a list of triggers asks for.
#[derive(Debug, Clone, Default)]
pub struct ListFilter {
    /// Only those of this source.
    pub source: Option<String>,
    /// Only those in these states: `enabled`, `disabled`, `broken`; none means all.
    pub states: Vec<String>,
}

/// A page of triggers by slug.
///
/// # Errors
/// What storage says.
pub async fn list(conn: &mut Conn, filter: &ListFilter, after: &str, limit: i64) -> Result<Vec<TriggerRow>> {
    let rows = sqlx::query_as!(
        TriggerRow,
        r#"select t.id as "id!", t.slug as "slug!", t.display_name as "display_name!", t.description as "description!",
                  t.kind as "kind!", t.enabled as "enabled!", t.failure as "failure?", t.source_id as "source_id?",
                  s.slug as "source?", t.definition as "definition!", t.plan_id as "plan_id?", t.draining as "draining!",
                  t.next_fire_at as "next_fire_at?", t.version as "version!", t.created_at as "created_at!",
                  t.updated_at as "updated_at!"
             from trigger t left join source s on s.id = t.source_id
            where t.deleted_at is null and t.slug > $1 and ($2::text is null or s.slug = $2)
              and (cardinality($3::text[]) = 0
                   or case when not t.enabled then 'disabled' when t.failure is null then 'enabled' else 'broken' end = any($3))
            order by t.slug limit $4"#,
        after,
        filter.source,
        &filter.states,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// The table triggers of a source.
///
/// # Errors
/// What storage says.
pub async fn of_source(conn: &mut Conn, source_id: i32) -> Result<Vec<TriggerRow>> {
    let ids = sqlx::query_scalar!(
        "select id from trigger where source_id = $1 and kind = 'table' and deleted_at is null order by id",
        source_id
    )
    .fetch_all(&mut *conn)
    .await?;
    by_ids(conn, &ids).await
}
