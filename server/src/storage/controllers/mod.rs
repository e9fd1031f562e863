//! Controllers and their versions. What a version says is known to [`crate::services::controllers`]; the intents that wait for one,
//! and what it did, stand in [`inbox`].

pub mod inbox;

use chrono::{DateTime, Utc};

use super::{Conn, Result};

/// A controller in one of its versions.
#[derive(Debug, Clone, PartialEq)]
pub struct ControllerRow {
    /// Its key.
    pub id: i64,
    /// Its slug.
    pub slug: String,
    /// What people call it.
    pub display_name: String,
    /// What it is for.
    pub description: String,
    /// Whether intents reach it.
    pub enabled: bool,
    /// The slugs of its channels; empty: every channel.
    pub channels: Vec<String>,
    /// How long a process of the business may decide, in seconds.
    pub answer_secs: Option<i32>,
    /// Whose turn it is among several, 0 to 1000: the lower first.
    pub position: i16,
    /// Changes with every write.
    pub version: i32,
    /// When the controller was created.
    pub created_at: DateTime<Utc>,
    /// The number of the version, from 1.
    pub number: i32,
    /// What the version says.
    pub definition: serde_json::Value,
    /// When the version was written.
    pub version_created_at: DateTime<Utc>,
}

/// What a controller has besides its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What people call it.
    pub display_name: String,
    /// What it is for.
    pub description: String,
    /// Whether intents reach it.
    pub enabled: bool,
    /// The slugs of its channels; empty: every channel.
    pub channels: Vec<String>,
    /// How long a process of the business may decide, in seconds.
    pub answer_secs: Option<i32>,
    /// Whose turn it is among several, 0 to 1000: the lower first.
    pub position: i16,
}

/// Creates a controller without versions. Says its key.
///
/// # Errors
/// [`super::Error::Exists`] when the slug is taken.
pub async fn insert(conn: &mut Conn, slug: &str, frame: &Frame, now: DateTime<Utc>) -> Result<i64> {
    let id = sqlx::query_scalar!(
        r#"insert into controller (slug, display_name, description, enabled, channels, answer_secs, position, from_number, created_at, updated_at)
           select $1, $2, $3, $4, $5, $6, $8, c.next_number - 1, $7, $7 from event_counter c returning id"#,
        slug,
        frame.display_name,
        frame.description,
        frame.enabled,
        &frame.channels,
        frame.answer_secs,
        now,
        frame.position
    )
    .fetch_one(conn)
    .await?;
    Ok(id)
}

/// Locks the controller with this slug, if it exists.
///
/// # Errors
/// What storage says.
pub async fn lock(conn: &mut Conn, slug: &str) -> Result<()> {
    sqlx::query_scalar!("select id from controller where slug = $1 and deleted_at is null for update", slug)
        .fetch_optional(conn)
        .await?;
    Ok(())
}

/// A controller in a version, 0 for its newest.
///
/// # Errors
/// What storage says.
pub async fn find(conn: &mut Conn, slug: &str, number: i32) -> Result<Option<ControllerRow>> {
    let row = sqlx::query_as!(
        ControllerRow,
        r#"select c.id as "id!", c.slug as "slug!", c.display_name as "display_name!", c.description as "description!",
                  c.enabled as "enabled!", c.channels as "channels!", c.answer_secs as "answer_secs?", c.position as "position!", c.version as "version!",
                  c.created_at as "created_at!", v.number as "number!", v.definition as "definition!",
                  v.created_at as "version_created_at!"
             from controller c
             join controller_version v on v.controller_id = c.id and v.number = case $2::int when 0 then c.latest else $2::int end
            where c.slug = $1 and c.deleted_at is null"#,
        slug,
        number
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// Controllers by slug, from one slug on, each in its newest version.
///
/// # Errors
/// What storage says.
pub async fn list(conn: &mut Conn, after: &str, limit: i64) -> Result<Vec<ControllerRow>> {
    let rows = sqlx::query_as!(
        ControllerRow,
        r#"select c.id as "id!", c.slug as "slug!", c.display_name as "display_name!", c.description as "description!",
                  c.enabled as "enabled!", c.channels as "channels!", c.answer_secs as "answer_secs?", c.position as "position!", c.version as "version!",
                  c.created_at as "created_at!", v.number as "number!", v.definition as "definition!",
                  v.created_at as "version_created_at!"
             from controller c join controller_version v on v.controller_id = c.id and v.number = c.latest
            where c.slug > $1 and c.deleted_at is null order by c.slug limit $2"#,
        after,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// The versions of a controller, the newest first, below one number.
///
/// # Errors
/// What storage says.
pub async fn list_versions(conn: &mut Conn, slug: &str, below: i32, limit: i64) -> Result<Vec<ControllerRow>> {
    let rows = sqlx::query_as!(
        ControllerRow,
        r#"select c.id as "id!", c.slug as "slug!", c.display_name as "display_name!", c.description as "description!",
                  c.enabled as "enabled!", c.channels as "channels!", c.answer_secs as "answer_secs?", c.position as "position!", c.version as "version!",
                  c.created_at as "created_at!", v.number as "number!", v.definition as "definition!",
                  v.created_at as "version_created_at!"
             from controller c join controller_version v on v.controller_id = c.id
            where c.slug = $1 and c.deleted_at is null and v.number < $2 order by v.number desc limit $3"#,
        slug,
        below,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Changes a controller that the caller has locked. One that is enabled again hears of what happens from then on.
///
/// # Errors
/// What storage says.
pub async fn update(conn: &mut Conn, id: i64, frame: &Frame, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        r#"update controller c set display_name = $2, description = $3, enabled = $4, channels = $5, answer_secs = $6, position = $8,
                  from_number = case when $4 and not c.enabled then e.next_number - 1 else c.from_number end,
                  version = c.version + 1, updated_at = $7
             from event_counter e where c.id = $1"#,
        id,
        frame.display_name,
        frame.description,
        frame.enabled,
        &frame.channels,
        frame.answer_secs,
        now,
        frame.position
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Adds a version to a controller that the caller has locked; it decides from then on.
///
/// # Errors
/// What storage says.
pub async fn add_version(conn: &mut Conn, id: i64, definition: &serde_json::Value, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        r#"with c as (update controller set latest = latest + 1, version = version + 1, updated_at = $3 where id = $1
                      returning latest)
           insert into controller_version (controller_id, number, definition, created_at) select $1, latest, $2, $3 from c"#,
        id,
        definition,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes a controller that the caller has locked, and forgets what waits for it; its slug is free again.
///
/// # Errors
/// What storage says.
pub async fn delete(conn: &mut Conn, id: i64, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        r#"with i as (delete from controller_inbox where controller_id = $1)
           update controller set deleted_at = $2, enabled = false, version = version + 1, updated_at = $2 where id = $1"#,
        id,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Which of these channels and templates do not exist.
///
/// # Errors
/// What storage says.
pub async fn missing(conn: &mut Conn, channels: &[String], templates: &[String]) -> Result<(Vec<String>, Vec<String>)> {
    let row = sqlx::query!(
        r#"select array(select x from unnest($1::text[]) x
                         where not exists (select from channel c where c.slug = x and c.deleted_at is null)) as "channels!",
                  array(select x from unnest($2::text[]) x
                         where not exists (select from template t where t.slug = x and t.deleted_at is null)) as "templates!""#,
        channels,
        templates
    )
    .fetch_one(conn)
    .await?;
    Ok((row.channels, row.templates))
}
