//! Templates and their versions. A version is a document that never changes; what is in it is known to
//! [`crate::services::templates`].

use chrono::{DateTime, Utc};

use super::{Conn, Result};

/// One version of a template.
#[derive(Debug, Clone)]
pub struct VersionRow {
    /// Its key.
    pub id: i64,
    /// The slug of its template; none when that was deleted.
    pub slug: Option<String>,
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
        r#"select v.id as "id!", t.slug as "slug?", v.number as "number!", v.definition as "definition!", v.created_at as "created_at!"
             from template_version v left join template t on t.id = v.template_id where v.id = any($1)"#,
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
             join template t on t.slug = x.slug
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
                slug: Some(r.asked.clone()),
                number: r.number,
                definition: r.definition,
                created_at: r.created_at,
            };
            (r.asked, r.asked_number, version)
        })
        .collect())
}
