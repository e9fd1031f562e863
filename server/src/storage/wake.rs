//! Telling other processes that there is something to do. Outside any transaction of a writer: a `NOTIFY` inside one would
//! serialise all commits.

use super::{Db, Result};

/// Sends `payload` on a notification channel.
///
/// # Errors
/// What storage says.
pub async fn notify(db: &Db, channel: &str, payload: &str) -> Result<()> {
    sqlx::query!(r#"select pg_notify($1, $2)::text as "told?""#, channel, payload).fetch_one(db.pool()).await?;
    Ok(())
}
