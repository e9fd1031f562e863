//! How far the sinks of events have taken the stream, and the messages that some events speak of.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Conn, Result};

/// The position of a sink. One that never ran begins after the newest event.
///
/// # Errors
/// What storage says.
pub async fn position(conn: &mut Conn, sink: &str) -> Result<i64> {
    sqlx::query!(
        "insert into event_cursor (sink, position) select $1, next_number - 1 from event_counter on conflict do nothing",
        sink
    )
    .execute(&mut *conn)
    .await?;
    Ok(sqlx::query_scalar!("select position from event_cursor where sink = $1", sink).fetch_one(conn).await?)
}

/// Where a sink stands and the newest number, for a look from outside; none when it never ran.
///
/// # Errors
/// What storage says.
pub async fn lag(conn: &mut Conn, sink: &str) -> Result<Option<i64>> {
    let lag = sqlx::query_scalar!(
        r#"select (select next_number - 1 from event_counter) - position as "lag!" from event_cursor where sink = $1"#,
        sink
    )
    .fetch_optional(conn)
    .await?;
    Ok(lag)
}

/// Moves the position of a sink from `before` to `after`. Says whether it stood there: else another process leads.
///
/// # Errors
/// What storage says.
pub async fn advance(conn: &mut Conn, sink: &str, before: i64, after: i64) -> Result<bool> {
    let done = sqlx::query!(
        "update event_cursor set position = $3, moved_at = clock_timestamp() where sink = $1 and position = $2",
        sink,
        before,
        after
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// A message, as events of the conversation store tell it.
#[derive(Debug, Clone, PartialEq)]
pub struct ToldMessage {
    /// Its conversation.
    pub conversation_id: Uuid,
    /// Its position in it, from 1.
    pub seq: i64,
    /// Out, or in.
    pub outbound: bool,
    /// Its channel; a note has none.
    pub channel_id: Option<i32>,
    /// The sender, as displayed.
    pub sender: String,
    /// The receiver, as displayed.
    pub receiver: String,
    /// What was said.
    pub content: serde_json::Value,
    /// Its words.
    pub plain_text: String,
    /// The message that it answers.
    pub in_reply_to: Option<Uuid>,
    /// When it arrived or was sent.
    pub received_at: DateTime<Utc>,
}

/// Messages by their ids.
///
/// # Errors
/// What storage says.
pub async fn messages(conn: &mut Conn, ids: &[Uuid]) -> Result<HashMap<Uuid, ToldMessage>> {
    let rows = sqlx::query!(
        "select id, conversation_id, seq, outbound, channel_id, sender, receiver, content, plain_text, in_reply_to, received_at
           from message where id = any($1)",
        ids
    )
    .fetch_all(conn)
    .await?;
    let told = rows.into_iter().map(|r| {
        let message = ToldMessage {
            conversation_id: r.conversation_id,
            seq: r.seq,
            outbound: r.outbound,
            channel_id: r.channel_id,
            sender: r.sender,
            receiver: r.receiver,
            content: r.content,
            plain_text: r.plain_text,
            in_reply_to: r.in_reply_to,
            received_at: r.received_at,
        };
        (r.id, message)
    });
    Ok(told.collect())
}
