//! Requests that were answered, by caller and id.

use uuid::Uuid;

use super::{Conn, Result};

/// A request as it was answered.
#[derive(Debug, Clone)]
pub struct Stored {
    /// What was called.
    pub method: String,
    /// Of its content.
    pub fingerprint: Vec<u8>,
    /// What was answered.
    pub response: Vec<u8>,
}

/// Takes an id, unless it is taken; waits for a transaction that is about to take it. Says whether it was free.
///
/// # Errors
/// What storage says.
pub async fn take(conn: &mut Conn, caller: &str, id: Uuid, method: &str, fingerprint: &[u8]) -> Result<bool> {
    let done = sqlx::query!(
        r#"insert into request (caller, request_id, method, fingerprint, response) values ($1, $2, $3, $4, '')
           on conflict (caller, request_id) do nothing"#,
        caller,
        id,
        method,
        fingerprint
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// What was answered under an id.
///
/// # Errors
/// What storage says.
pub async fn find(conn: &mut Conn, caller: &str, id: Uuid) -> Result<Option<Stored>> {
    let stored = sqlx::query_as!(
        Stored,
        "select method, fingerprint, response from request where caller = $1 and request_id = $2",
        caller,
        id
    )
    .fetch_optional(conn)
    .await?;
    Ok(stored)
}

/// Keeps the answer under an id that was taken in this transaction.
///
/// # Errors
/// What storage says.
pub async fn finish(conn: &mut Conn, caller: &str, id: Uuid, response: &[u8]) -> Result<()> {
    sqlx::query!("update request set response = $3 where caller = $1 and request_id = $2", caller, id, response)
        .execute(conn)
        .await?;
    Ok(())
}

/// Forgets requests that are older than seven days of machine time, at most `limit` at once. Says how many.
///
/// # Errors
/// What storage says.
pub async fn forget(conn: &mut Conn, limit: i64) -> Result<u64> {
    let done = sqlx::query!(
        r#"delete from request where (caller, request_id) in (
             select caller, request_id from request where created_at < clock_timestamp() - interval '7 days'
              order by created_at limit $1)"#,
        limit
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
