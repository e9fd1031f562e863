//! What outside systems order of us (commands, once each) and we of them (flows and tickets that owe an end).

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::{Conn, Result};

/// Notes a command. Says whether it is new; the note is kept only if the caller's transaction commits.
///
/// # Errors
/// What storage says.
pub async fn note(conn: &mut Conn, source: &str, id: &str) -> Result<bool> {
    let done = sqlx::query!("insert into command_seen (source, id) values ($1, $2) on conflict do nothing", source, id)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// Orders something of an outside system unless it has such an order already that is younger than `since`; an older one that
/// was never ended counts as lost. Says whether it was ordered. The order is an event.
///
/// # Errors
/// What storage says.
pub async fn order(
    conn: &mut Conn,
    id: Uuid,
    conversation: Uuid,
    kind: &str,
    data: &Value,
    since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<bool> {
    sqlx::query!(
        "update outside_order set ended_at = $4, outcome = 'lost'
          where conversation_id = $1 and kind = $2 and ended_at is null and ordered_at < $3",
        conversation,
        kind,
        since,
        now
    )
    .execute(&mut *conn)
    .await?;
    let done = sqlx::query!(
        r#"with o as (insert into outside_order (id, conversation_id, kind, ordered_at) values ($1, $2, $3, $5)
                      on conflict (conversation_id, kind) where ended_at is null do nothing returning id)
           insert into event_out (kind, type, ids, data, at) select $3, 'ordered', array[o.id], $4, $5 from o"#,
        id,
        conversation,
        kind,
        data,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Ends an open order of a conversation: this one, or whichever is open. Says which; the end is an event.
///
/// # Errors
/// What storage says.
pub async fn end_order(
    conn: &mut Conn,
    conversation: Uuid,
    kind: &str,
    id: Option<Uuid>,
    outcome: &str,
    now: DateTime<Utc>,
) -> Result<Option<Uuid>> {
    let ended = sqlx::query_scalar!(
        r#"with o as (update outside_order set ended_at = $5, outcome = $4
                       where conversation_id = $1 and kind = $2 and ended_at is null and ($3::uuid is null or id = $3)
                      returning id)
           insert into event_out (kind, type, ids, data, at)
           select $2, case $2 when 'ticket' then 'closed' else 'ended' end, array[o.id],
                  jsonb_build_object('conversation', $1::uuid, 'outcome', $4::text), $5
             from o returning ids[1] as "id!""#,
        conversation,
        kind,
        id,
        outcome,
        now
    )
    .fetch_optional(conn)
    .await?;
    Ok(ended)
}
