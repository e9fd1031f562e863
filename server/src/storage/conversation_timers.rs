//! What is due of conversations. Reading locks nothing: whoever acts locks the conversation first and asks again whether the timer
//! still stands, so that several workers may read the same.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Conn, Result};

/// A session's inactivity.
pub const SESSION: &str = "session";
/// A conversation in which nothing is said.
pub const IDLE: &str = "idle";
/// The end of a reconnect grace.
pub const GONE: &str = "gone";
/// A closing that is to be ended.
pub const HOUSEKEEPING: &str = "housekeeping";
/// A notification's delivery that its conversation does not hold yet.
pub const RECORD: &str = "record";

/// One timer.
#[derive(Debug, Clone)]
pub struct TimerRow {
    /// A conversation, a channel session or a delivery.
    pub entity: Uuid,
    /// What is due.
    pub kind: String,
    /// The conversation, where it is known.
    pub conversation_id: Option<Uuid>,
    /// When, in business time.
    pub due_at: DateTime<Utc>,
    /// The generation of what armed it.
    pub generation: i32,
    /// How often it was taken up without an end.
    pub tries: i16,
}

/// What is due, the earliest first.
///
/// # Errors
/// What storage says.
pub async fn due(conn: &mut Conn, now: DateTime<Utc>, limit: i64) -> Result<Vec<TimerRow>> {
    let rows = sqlx::query_as!(
        TimerRow,
        r#"select entity, kind, conversation_id, due_at, generation, tries from conversation_timer where due_at <= $1
            order by due_at, entity limit $2"#,
        now,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// When the next one is due.
///
/// # Errors
/// What storage says.
pub async fn next_due(conn: &mut Conn) -> Result<Option<DateTime<Utc>>> {
    Ok(sqlx::query_scalar!("select min(due_at) from conversation_timer").fetch_one(conn).await?)
}

/// Whether a timer still stands as it was read; locks it. The caller has locked its conversation.
///
/// # Errors
/// What storage says.
pub async fn stands(conn: &mut Conn, timer: &TimerRow) -> Result<bool> {
    let found = sqlx::query_scalar!(
        r#"select generation from conversation_timer
            where entity = $1 and kind = $2 and generation = $3 and due_at = $4 and tries = $5 for update"#,
        timer.entity,
        timer.kind,
        timer.generation,
        timer.due_at,
        timer.tries
    )
    .fetch_optional(conn)
    .await?;
    Ok(found.is_some())
}

/// Arms a timer, in place of the one of this kind that the entity has.
///
/// # Errors
/// What storage says.
pub async fn arm(conn: &mut Conn, timer: &TimerRow) -> Result<()> {
    sqlx::query!(
        r#"insert into conversation_timer (entity, kind, conversation_id, due_at, generation, tries)
           values ($1, $2, $3, $4, $5, $6)
           on conflict (entity, kind) do update set due_at = excluded.due_at, generation = excluded.generation,
                                                    tries = excluded.tries, conversation_id = excluded.conversation_id"#,
        timer.entity,
        timer.kind,
        timer.conversation_id,
        timer.due_at,
        timer.generation,
        timer.tries
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Removes a timer.
///
/// # Errors
/// What storage says.
pub async fn disarm(conn: &mut Conn, entity: Uuid, kind: &str) -> Result<()> {
    sqlx::query!("delete from conversation_timer where entity = $1 and kind = $2", entity, kind).execute(conn).await?;
    Ok(())
}

/// Puts off a timer that could not be worked off, and counts it.
///
/// # Errors
/// What storage says.
pub async fn put_off(conn: &mut Conn, entity: Uuid, kind: &str, until: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "update conversation_timer set due_at = $3, tries = least(tries, 30000) + 1 where entity = $1 and kind = $2",
        entity,
        kind,
        until
    )
    .execute(conn)
    .await?;
    Ok(())
}
