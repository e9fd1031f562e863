//! Audiences: who is meant by a name.

use super::{Conn, Result};

/// The key and the kind (`list`, `filter`, `sql`) of an audience, if it exists.
///
/// # Errors
/// What storage says.
pub async fn kind(conn: &mut Conn, slug: &str) -> Result<Option<(i64, String)>> {
    let row = sqlx::query!("select id, kind from audience where slug = $1", slug).fetch_optional(conn).await?;
    Ok(row.map(|r| (r.id, r.kind)))
}
