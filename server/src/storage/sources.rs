//! Sources: the databases that are watched or queried, how far their captures were taken, and how they are.
//!
//! Where a source is stands in its settings by name only (an environment variable, a file); [`crate::services::sources`]
//! resolves it.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Conn, Result};

/// The first half of the advisory locks under which captures of a source are put in place and taken away: "SWBI".
const CAPTURES_NAMESPACE: i32 = 0x5357_4249;

/// A source as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceRow {
    /// Its key.
    pub id: i32,
    /// Its slug.
    pub slug: String,
    /// What people call it.
    pub display_name: String,
    /// Whether it is the database that holds these tables.
    pub own: bool,
    /// Where it is, and its limits.
    pub settings: Value,
    /// The schema of our captures in it.
    pub capture_schema: String,
    /// The cluster, as last seen.
    pub system_identifier: Option<String>,
    /// How it was, as its consumer last wrote it.
    pub health: Value,
    /// Changes with every write of a caller.
    pub version: i32,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

/// What is written of a source.
#[derive(Debug, Clone)]
pub struct SourceWrite<'a> {
    /// Its slug.
    pub slug: &'a str,
    /// What people call it.
    pub display_name: &'a str,
    /// Whether it is the database that holds these tables.
    pub own: bool,
    /// Where it is, and its limits.
    pub settings: &'a Value,
    /// The cluster, as it was just seen.
    pub system_identifier: Option<&'a str>,
}

/// Waits until nobody else puts captures of this source in place or takes them away, and keeps others from it until the
/// transaction ends.
///
/// # Errors
/// What storage says; `Contended` when it took too long.
pub async fn lock_captures(conn: &mut Conn, id: i32) -> Result<()> {
    sqlx::query!("select pg_advisory_xact_lock($1, $2)", CAPTURES_NAMESPACE, id).execute(conn).await?;
    Ok(())
}

/// Creates a source; says its key.
///
/// # Errors
/// `Exists` when the slug is taken.
pub async fn insert(conn: &mut Conn, write: SourceWrite<'_>, capture_schema: &str, now: DateTime<Utc>) -> Result<i32> {
    let id = sqlx::query_scalar!(
        r#"insert into source (slug, display_name, own, settings, capture_schema, system_identifier, created_at, updated_at)
           values ($1, $2, $3, $4, $5, $6, $7, $7) returning id"#,
        write.slug,
        write.display_name,
        write.own,
        write.settings,
        capture_schema,
        write.system_identifier,
        now
    )
    .fetch_one(conn)
    .await?;
    Ok(id)
}

/// Changes the source with this slug.
///
/// # Errors
/// What storage says.
pub async fn update(conn: &mut Conn, write: SourceWrite<'_>, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        r#"update source set display_name = $2, own = $3, settings = $4, system_identifier = $5, version = version + 1,
                  updated_at = $6 where slug = $1"#,
        write.slug,
        write.display_name,
        write.own,
        write.settings,
        write.system_identifier,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes a source.
///
/// # Errors
/// What storage says.
pub async fn delete(conn: &mut Conn, id: i32) -> Result<()> {
    sqlx::query!("delete from source where id = $1", id).execute(conn).await?;
    Ok(())
}

/// One source.
///
/// # Errors
/// What storage says.
pub async fn find(conn: &mut Conn, slug: &str) -> Result<Option<SourceRow>> {
    let row = sqlx::query_as!(
        SourceRow,
        r#"select id, slug, display_name, own, settings, capture_schema, system_identifier, health, version, created_at,
                  updated_at from source where slug = $1"#,
        slug
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// A page of sources by slug.
///
/// # Errors
/// What storage says.
pub async fn list(conn: &mut Conn, after: &str, limit: i64) -> Result<Vec<SourceRow>> {
    let rows = sqlx::query_as!(
        SourceRow,
        r#"select id, slug, display_name, own, settings, capture_schema, system_identifier, health, version, created_at,
                  updated_at from source where slug > $1 order by slug limit $2"#,
        after,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// The name of a trigger or audience that uses a source, if one does.
///
/// # Errors
/// What storage says.
pub async fn used_by(conn: &mut Conn, id: i32, slug: &str) -> Result<Option<String>> {
    let name = sqlx::query_scalar!(
        r#"select 'triggers/' || slug as "name!" from trigger where source_id = $1 and deleted_at is null
           union all
           select 'audiences/' || slug from audience where kind = 'sql' and definition ->> 'source' = $2
           limit 1"#,
        id,
        slug
    )
    .fetch_optional(conn)
    .await?;
    Ok(name)
}

/// How far the captures of a source were taken: none when it does not exist, `Some(None)` when nothing was taken yet.
///
/// # Errors
/// What storage says.
pub async fn cursor(conn: &mut Conn, id: i32) -> Result<Option<Option<Value>>> {
    Ok(sqlx::query_scalar!("select cursor from source where id = $1", id).fetch_optional(conn).await?)
}

/// Moves the cursor if it is still at `previous`. Says whether it was.
///
/// # Errors
/// What storage says.
pub async fn move_cursor(conn: &mut Conn, id: i32, previous: Option<&Value>, cursor: &Value) -> Result<bool> {
    let moved = sqlx::query!(
        "update source set cursor = $3 where id = $1 and cursor is not distinct from $2",
        id,
        previous,
        cursor
    )
    .execute(conn)
    .await?;
    Ok(moved.rows_affected() == 1)
}

/// Keeps how a source is.
///
/// # Errors
/// What storage says.
pub async fn set_health(conn: &mut Conn, id: i32, health: &Value) -> Result<()> {
    sqlx::query!("update source set health = $2 where id = $1", id, health).execute(conn).await?;
    Ok(())
}
