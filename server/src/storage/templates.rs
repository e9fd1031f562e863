//! Templates and their versions. A version is a document that never changes; what is in it is known to
//! [`crate::services::templates`].

use chrono::{DateTime, Utc};

use super::{Conn, Result};

/// One version of a template.
#[derive(Debug, Clone)]
pub struct VersionRow {
    /// Its key.
    pub id: i64,
    /// The slug of its template.
    pub slug: String,
    /// Its number, from 1.
    pub number: i32,
    /// What it says.
    pub definition: serde_json::Value,
    /// When it was written.
    pub created_at: DateTime<Utc>,
}

/// Versions by their keys, in no order; those that do not exist are missing.
///
/// # Errors
/// What storage says.
pub async fn versions(conn: &mut Conn, ids: &[i64]) -> Result<Vec<VersionRow>> {
    let rows = sqlx::query_as!(
        VersionRow,
        r#"select v.id, t.slug, v.number, v.definition, v.created_at
             from template_version v join template t on t.id = v.template_id where v.id = any($1)"#,
        ids
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Versions by slug and number; the number 0 asks for the newest. Those that do not exist are missing.
///
/// # Errors
/// What storage says.
pub async fn resolve(conn: &mut Conn, slugs: &[&str], numbers: &[i32]) -> Result<Vec<(String, i32, VersionRow)>> {
    let rows = sqlx::query!(
        r#"select x.slug as "asked!", x.number as "asked_number!", v.id, v.number, v.definition, v.created_at
             from unnest($1::text[], $2::int[]) as x(slug, number)
             join template t on t.slug = x.slug and t.deleted_at is null
             join template_version v on v.template_id = t.id and v.number = case x.number when 0 then t.latest else x.number end"#,
        slugs as &[&str],
        numbers
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| {
            let version = VersionRow {
                id: r.id,
                slug: r.asked.clone(),
                number: r.number,
                definition: r.definition,
                created_at: r.created_at,
            };
            (r.asked, r.asked_number, version)
        })
        .collect())
}

/// A template as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateRow {
    /// Its key.
    pub id: i64,
    /// Its slug.
    pub slug: String,
    /// What people call it.
    pub display_name: String,
    /// What it is for.
    pub description: String,
    /// The number of its newest version; 0 while there is none.
    pub latest: i32,
    /// Changes with every write.
    pub version: i32,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

/// Creates a template without versions. Says its key.
///
/// # Errors
/// [`super::Error::Exists`] when the slug is taken.
pub async fn insert(
    conn: &mut Conn,
    slug: &str,
    display_name: &str,
    description: &str,
    now: DateTime<Utc>,
) -> Result<i64> {
    let id = sqlx::query_scalar!(
        r#"insert into template (slug, display_name, description, created_at, updated_at) values ($1, $2, $3, $4, $4)
           returning id"#,
        slug,
        display_name,
        description,
        now
    )
    .fetch_one(conn)
    .await?;
    Ok(id)
}

/// Locks the template with this slug, if it exists.
///
/// # Errors
/// What storage says.
pub async fn lock(conn: &mut Conn, slug: &str) -> Result<()> {
    sqlx::query_scalar!("select id from template where slug = $1 and deleted_at is null for update", slug)
        .fetch_optional(conn)
        .await?;
    Ok(())
}

/// One template, if it exists.
///
/// # Errors
/// What storage says.
pub async fn find(conn: &mut Conn, slug: &str) -> Result<Option<TemplateRow>> {
    let row = sqlx::query_as!(
        TemplateRow,
        r#"select id, slug, display_name, description, latest, version, created_at, updated_at
             from template where slug = $1 and deleted_at is null"#,
        slug
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// Templates by slug, from one slug on.
///
/// # Errors
/// What storage says.
pub async fn list(conn: &mut Conn, after: &str, limit: i64) -> Result<Vec<TemplateRow>> {
    let rows = sqlx::query_as!(
        TemplateRow,
        r#"select id, slug, display_name, description, latest, version, created_at, updated_at
             from template where deleted_at is null and slug > $1 order by slug limit $2"#,
        after,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Changes the names of a template that the caller has locked.
///
/// # Errors
/// What storage says.
pub async fn update(conn: &mut Conn, id: i64, display_name: &str, description: &str, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "update template set display_name = $2, description = $3, version = version + 1, updated_at = $4 where id = $1",
        id,
        display_name,
        description,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Adds a version to a template that the caller has locked; it is the newest from then on. Says its number.
///
/// # Errors
/// What storage says.
pub async fn add_version(conn: &mut Conn, id: i64, definition: &serde_json::Value, now: DateTime<Utc>) -> Result<i32> {
    let number = sqlx::query_scalar!(
        r#"with t as (update template set latest = latest + 1, version = version + 1, updated_at = $3 where id = $1
                      returning latest)
           insert into template_version (template_id, number, definition, created_at)
           select $1, latest, $2, $3 from t returning number"#,
        id,
        definition,
        now
    )
    .fetch_one(conn)
    .await?;
    Ok(number)
}

/// The versions of a template, the newest first, below one number.
///
/// # Errors
/// What storage says.
pub async fn list_versions(conn: &mut Conn, id: i64, below: i32, limit: i64) -> Result<Vec<VersionRow>> {
    let rows = sqlx::query_as!(
        VersionRow,
        r#"select v.id, t.slug, v.number, v.definition, v.created_at
             from template_version v join template t on t.id = v.template_id
            where v.template_id = $1 and v.number < $2 order by v.number desc limit $3"#,
        id,
        below,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Deletes a template that the caller has locked; its slug is free again.
///
/// # Errors
/// What storage says.
pub async fn delete(conn: &mut Conn, id: i64, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!("update template set deleted_at = $2, version = version + 1, updated_at = $2 where id = $1", id, now)
        .execute(conn)
        .await?;
    Ok(())
}

/// The name of one that still needs a template: a policy in its newest version, an enabled trigger, an unfinished campaign.
///
/// # Errors
/// What storage says.
pub async fn used_by(conn: &mut Conn, slug: &str) -> Result<Option<String>> {
    let user = sqlx::query_scalar!(
        r#"with named as (select jsonb_build_object('slug', $1::text, 'name', 'templates/' || $1::text) as vars)
           select 'policies/' || p.slug as "name!" from policy p
             join policy_version v on v.policy_id = p.id and v.number = p.latest
            where p.deleted_at is null
              and v.definition #> '{policy,steps}' @> jsonb_build_array(jsonb_build_object('template', $1::text))
           union all
           select 'triggers/' || slug from trigger, named
            where enabled and jsonb_path_exists(definition, '$.**.template ? (@ == $name || @ == $slug)', vars)
           union all
           select 'campaigns/' || slug from campaign, named
            where state in ('draft', 'scheduled', 'running', 'paused', 'cancelling')
              and jsonb_path_exists(definition, '$.**.template ? (@ == $name || @ == $slug)', vars)
           limit 1"#,
        slug
    )
    .fetch_optional(conn)
    .await?;
    Ok(user)
}
