//! Policies and their versions, and the world that a policy is checked against. What a version says is known to
//! [`crate::services::policies`].

use chrono::{DateTime, Utc};
use domain::fallback::{PolicyWorld, WorldChannel, WorldTemplate};

use super::{Conn, Result};

/// A policy in one of its versions.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyRow {
    /// Its key.
    pub id: i64,
    /// Its slug.
    pub slug: String,
    /// What people call it.
    pub display_name: String,
    /// What it is for.
    pub description: String,
    /// Changes with every write.
    pub version: i32,
    /// When the policy was created.
    pub created_at: DateTime<Utc>,
    /// The key of the version.
    pub version_id: i64,
    /// The number of the version, from 1.
    pub number: i32,
    /// What the version says.
    pub definition: serde_json::Value,
    /// When the version was written.
    pub version_created_at: DateTime<Utc>,
}

/// Creates a policy without versions. Says its key.
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
        r#"insert into policy (slug, display_name, description, created_at, updated_at) values ($1, $2, $3, $4, $4)
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

/// Locks the policy with this slug, if it exists.
///
/// # Errors
/// What storage says.
pub async fn lock(conn: &mut Conn, slug: &str) -> Result<()> {
    sqlx::query_scalar!("select id from policy where slug = $1 and deleted_at is null for update", slug)
        .fetch_optional(conn)
        .await?;
    Ok(())
}

/// A policy in a version, 0 for its newest.
///
/// # Errors
/// What storage says.
pub async fn find(conn: &mut Conn, slug: &str, number: i32) -> Result<Option<PolicyRow>> {
    let row = sqlx::query_as!(
        PolicyRow,
        r#"select p.id, p.slug, p.display_name, p.description, p.version, p.created_at, v.id as version_id, v.number,
                  v.definition, v.created_at as version_created_at
             from policy p join policy_version v on v.policy_id = p.id and v.number = case $2::int when 0 then p.latest else $2::int end
            where p.slug = $1 and p.deleted_at is null"#,
        slug,
        number
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// Policies by slug, from one slug on, each in its newest version.
///
/// # Errors
/// What storage says.
pub async fn list(conn: &mut Conn, after: &str, limit: i64) -> Result<Vec<PolicyRow>> {
    let rows = sqlx::query_as!(
        PolicyRow,
        r#"select p.id, p.slug, p.display_name, p.description, p.version, p.created_at, v.id as version_id, v.number,
                  v.definition, v.created_at as version_created_at
             from policy p join policy_version v on v.policy_id = p.id and v.number = p.latest
            where p.slug > $1 and p.deleted_at is null order by p.slug limit $2"#,
        after,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// The versions of a policy, the newest first, below one number.
///
/// # Errors
/// What storage says.
pub async fn list_versions(conn: &mut Conn, slug: &str, below: i32, limit: i64) -> Result<Vec<PolicyRow>> {
    let rows = sqlx::query_as!(
        PolicyRow,
        r#"select p.id, p.slug, p.display_name, p.description, p.version, p.created_at, v.id as version_id, v.number,
                  v.definition, v.created_at as version_created_at
             from policy p join policy_version v on v.policy_id = p.id
            where p.slug = $1 and p.deleted_at is null and v.number < $2 order by v.number desc limit $3"#,
        slug,
        below,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Changes the names of a policy that the caller has locked.
///
/// # Errors
/// What storage says.
pub async fn update(conn: &mut Conn, id: i64, display_name: &str, description: &str, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "update policy set display_name = $2, description = $3, version = version + 1, updated_at = $4 where id = $1",
        id,
        display_name,
        description,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Adds a version to a policy that the caller has locked; it is the newest from then on.
///
/// # Errors
/// What storage says.
pub async fn add_version(conn: &mut Conn, id: i64, definition: &serde_json::Value, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        r#"with p as (update policy set latest = latest + 1, version = version + 1, updated_at = $3 where id = $1
                      returning latest)
           insert into policy_version (policy_id, number, definition, created_at) select $1, latest, $2, $3 from p"#,
        id,
        definition,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes a policy that the caller has locked; its slug is free again.
///
/// # Errors
/// What storage says.
pub async fn delete(conn: &mut Conn, id: i64, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!("update policy set deleted_at = $2, version = version + 1, updated_at = $2 where id = $1", id, now)
        .execute(conn)
        .await?;
    Ok(())
}

/// The name of one that still needs a policy: an enabled trigger, an unfinished campaign.
///
/// # Errors
/// What storage says.
pub async fn used_by(conn: &mut Conn, id: i64, slug: &str) -> Result<Option<String>> {
    let user = sqlx::query_scalar!(
        r#"with named as (select jsonb_build_object('slug', $2::text, 'name', 'policies/' || $2::text) as vars)
           select 'triggers/' || slug as "name!" from trigger, named
            where enabled and jsonb_path_exists(definition, '$.**.policy ? (@ == $name || @ == $slug)', vars)
           union all
           select 'campaigns/' || slug from campaign
            where state in ('draft', 'scheduled', 'running', 'paused', 'cancelling') and policy_id = $1
           limit 1"#,
        id,
        slug
    )
    .fetch_optional(conn)
    .await?;
    Ok(user)
}

/// What exists and may be named by a policy. Templates stand under their slugs in their newest versions; `versions` (slug and
/// number) are added under `slug/versions/number`.
///
/// # Errors
/// What storage says.
pub async fn world(conn: &mut Conn, versions: &[(&str, i32)]) -> Result<PolicyWorld> {
    let channels = sqlx::query!("select slug, channel_type from channel where deleted_at is null order by slug")
        .fetch_all(&mut *conn)
        .await?;
    let channel = |slug: String, kind: String| Ok(WorldChannel { slug, channel_type: kind.parse()? });
    let channels = channels.into_iter().map(|r| channel(r.slug, r.channel_type)).collect::<Result<_>>()?;
    let call_lists = sqlx::query_scalar!("select slug from call_list").fetch_all(&mut *conn).await?;
    let slugs: Vec<&str> = versions.iter().map(|(slug, _)| *slug).collect();
    let numbers: Vec<i32> = versions.iter().map(|(_, number)| *number).collect();
    let rows = sqlx::query!(
        r#"select x.name as "name!",
                  array(select distinct c ->> 'channel_type' from jsonb_array_elements(v.definition #> '{version,contents}') c)
                    as "channel_types!: Vec<String>"
             from (select t.slug as name, t.id, t.latest as number from template t where t.deleted_at is null
                   union all
                   select t.slug || '/versions/' || y.number, t.id, y.number
                     from unnest($1::text[], $2::int[]) as y(slug, number)
                     join template t on t.slug = y.slug and t.deleted_at is null) x
             join template_version v on v.template_id = x.id and v.number = x.number"#,
        &slugs as &[&str],
        &numbers
    )
    .fetch_all(conn)
    .await?;
    let template = |slug: String, types: Vec<String>| {
        let channel_types = types.iter().map(|t| t.parse()).collect::<std::result::Result<_, _>>()?;
        Ok(WorldTemplate { slug, channel_types })
    };
    let templates = rows.into_iter().map(|r| template(r.name, r.channel_types)).collect::<Result<_>>()?;
    Ok(PolicyWorld { channels, call_lists, templates })
}
