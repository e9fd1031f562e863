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

/// A conversation that a command speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spoken {
    /// Its contact.
    pub contact_id: i64,
    /// Where the contact was last.
    pub active_channel_id: i32,
    /// Whether it is open.
    pub open: bool,
}

/// A conversation, locked behind its contact.
///
/// # Errors
/// What storage says.
pub async fn lock_conversation(conn: &mut Conn, id: Uuid) -> Result<Option<Spoken>> {
    let contact =
        sqlx::query_scalar!("select contact_id from conversation where id = $1", id).fetch_optional(&mut *conn);
    let Some(contact) = contact.await? else { return Ok(None) };
    super::inbound::lock_contact(conn, contact).await?;
    sqlx::query!("select id from conversation where id = $1 for update", id).fetch_optional(&mut *conn).await?;
    let row = sqlx::query_as!(
        Spoken,
        r#"select contact_id, active_channel_id, phase = 'open' as "open!" from conversation where id = $1"#,
        id
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// The address of the contact that a conversation last used on a channel; else its first one of a fitting kind.
///
/// # Errors
/// What storage says.
pub async fn address_on(conn: &mut Conn, conversation: Uuid, channel_id: i32, kinds: &[String]) -> Result<Option<i64>> {
    let used = sqlx::query_scalar!(
        "select address_id from message where conversation_id = $1 and channel_id = $2 order by seq desc limit 1",
        conversation,
        channel_id
    )
    .fetch_optional(&mut *conn)
    .await?;
    if used.is_some() {
        return Ok(used);
    }
    let first = sqlx::query_scalar!(
        r#"select l.address_id as "id!" from conversation v join contact_address l on l.contact_id = v.contact_id
             join address a on a.id = l.address_id
            where v.id = $1 and a.kind::text = any($2) order by l.position limit 1"#,
        conversation,
        kinds
    )
    .fetch_optional(conn)
    .await?;
    Ok(first)
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

/// Closes an open conversation unless an outside system still owes an end in it. Says whether it was closed; that is an event.
///
/// # Errors
/// What storage says.
pub async fn close_if_free(conn: &mut Conn, conversation: Uuid, reason: &str, now: DateTime<Utc>) -> Result<bool> {
    let done = sqlx::query!(
        r#"with c as (update conversation set phase = 'closed', changed_at = $3
                       where id = $1 and phase = 'open'
                         and not exists (select from outside_order where conversation_id = $1 and ended_at is null)
                      returning id)
           insert into event_out (kind, from_state, to_state, reason, ids, at)
           select 'conversation', 'open', 'closed', $2, array[c.id], $3 from c"#,
        conversation,
        reason,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}
