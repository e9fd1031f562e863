//! Audiences: who is meant by a name. Lists keep their members here; filters and queries are read when a campaign begins.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Conn, Result};

/// An audience as it stands.
#[derive(Debug, Clone)]
pub struct AudienceRow {
    /// Its key.
    pub id: i64,
    /// Its slug.
    pub slug: String,
    /// What people call it.
    pub display_name: String,
    /// What it is for.
    pub description: String,
    /// `list`, `filter` or `sql`.
    pub kind: String,
    /// What is in it; [`crate::services::audiences`] reads it.
    pub definition: Value,
    /// How many members a list has; 0 for other kinds.
    pub members: i64,
    /// Changes with every write.
    pub version: i32,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

/// The key and the kind (`list`, `filter`, `sql`) of an audience, if it exists.
///
/// # Errors
/// What storage says.
pub async fn kind(conn: &mut Conn, slug: &str) -> Result<Option<(i64, String)>> {
    let row = sqlx::query!("select id, kind from audience where slug = $1", slug).fetch_optional(conn).await?;
    Ok(row.map(|r| (r.id, r.kind)))
}

/// One audience.
///
/// # Errors
/// What storage says.
pub async fn find(conn: &mut Conn, slug: &str) -> Result<Option<AudienceRow>> {
    Ok(page(conn, Some(slug), None, 1).await?.pop())
}

/// Locks an audience, then reads it.
///
/// # Errors
/// What storage says.
pub async fn lock(conn: &mut Conn, slug: &str) -> Result<Option<AudienceRow>> {
    sqlx::query!("select id from audience where slug = $1 for update", slug).fetch_optional(&mut *conn).await?;
    find(conn, slug).await
}

/// Audiences by slug, after a slug; or the one with a slug.
///
/// # Errors
/// What storage says.
pub async fn page(conn: &mut Conn, only: Option<&str>, after: Option<&str>, limit: i64) -> Result<Vec<AudienceRow>> {
    let rows = sqlx::query_as!(
        AudienceRow,
        r#"select a.id, a.slug, a.display_name, a.description, a.kind, a.definition, a.version, a.created_at, a.updated_at,
                  (select count(*) from audience_member m where m.audience_id = a.id) as "members!"
             from audience a
            where ($1::text is null or a.slug = $1) and ($2::text is null or a.slug > $2) order by a.slug limit $3"#,
        only,
        after,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// What is written of an audience.
#[derive(Debug, Clone)]
pub struct AudienceWrite<'a> {
    /// What people call it.
    pub display_name: &'a str,
    /// What it is for.
    pub description: &'a str,
    /// What is in it.
    pub definition: &'a Value,
}

/// Writes a new audience.
///
/// # Errors
/// [`super::Error::Exists`] when the slug is taken.
pub async fn insert(
    conn: &mut Conn,
    slug: &str,
    kind: &str,
    write: &AudienceWrite<'_>,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        r#"insert into audience (slug, kind, display_name, description, definition, created_at, updated_at)
           values ($1, $2, $3, $4, $5, $6, $6)"#,
        slug,
        kind,
        write.display_name,
        write.description,
        write.definition,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Changes an audience that the caller has locked.
///
/// # Errors
/// What storage says.
pub async fn update(conn: &mut Conn, id: i64, write: &AudienceWrite<'_>, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        r#"update audience set display_name = $2, description = $3, definition = $4, version = version + 1, updated_at = $5
            where id = $1"#,
        id,
        write.display_name,
        write.description,
        write.definition,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes an audience with its list of members; the contacts stay.
///
/// # Errors
/// What storage says.
pub async fn delete(conn: &mut Conn, id: i64) -> Result<()> {
    sqlx::query!("delete from audience where id = $1", id).execute(conn).await?;
    Ok(())
}

/// The name of something that needs an audience: an unfinished campaign or an enabled schedule.
///
/// # Errors
/// What storage says.
pub async fn used_by(conn: &mut Conn, id: i64, slug: &str) -> Result<Option<String>> {
    let name = sqlx::query_scalar!(
        r#"select x.name as "name!" from (
             select 'campaigns/' || c.slug as name from campaign c
              where c.audience_id = $1 and c.state in ('draft', 'scheduled', 'running', 'paused')
             union all
             select 'triggers/' || t.slug from trigger t
              where t.kind = 'schedule' and t.enabled and t.deleted_at is null and t.definition #>> '{campaign,audience}' = $2) x
           order by 1 limit 1"#,
        id,
        slug
    )
    .fetch_optional(conn)
    .await?;
    Ok(name)
}

/// A member of a list, with the variables that it brings.
#[derive(Debug, Clone)]
pub struct MemberRow {
    /// The contact.
    pub contact_id: i64,
    /// Its variables, an object.
    pub variables: Value,
}

/// Members of a list whose contacts still exist, in the order of their keys.
///
/// # Errors
/// What storage says.
pub async fn members(conn: &mut Conn, id: i64, after: i64, limit: i64) -> Result<Vec<MemberRow>> {
    let rows = sqlx::query_as!(
        MemberRow,
        r#"select m.contact_id, m.variables from audience_member m join contact c on c.id = m.contact_id
            where m.audience_id = $1 and m.contact_id > $2 and c.deleted_at is null order by m.contact_id limit $3"#,
        id,
        after,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Puts contacts on a list; those that are on it already stay as they are. Says how many were new.
///
/// # Errors
/// What storage says.
pub async fn add(conn: &mut Conn, id: i64, contacts: &[i64]) -> Result<u64> {
    let done = sqlx::query!(
        r#"insert into audience_member (audience_id, contact_id)
           select $1, x.id from unnest($2::bigint[]) as x(id) group by x.id order by x.id on conflict do nothing"#,
        id,
        contacts
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Takes contacts off a list. Says how many were on it.
///
/// # Errors
/// What storage says.
pub async fn remove(conn: &mut Conn, id: i64, contacts: &[i64]) -> Result<u64> {
    let done =
        sqlx::query!("delete from audience_member where audience_id = $1 and contact_id = any($2)", id, contacts)
            .execute(conn)
            .await?;
    Ok(done.rows_affected())
}
