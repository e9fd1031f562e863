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

/// An order as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderRow {
    /// The conversation in which it was given.
    pub conversation_id: Uuid,
    /// Whether it has ended.
    pub ended: bool,
}

/// An order of a kind by its id.
///
/// # Errors
/// What storage says.
pub async fn find(conn: &mut Conn, kind: &str, id: Uuid) -> Result<Option<OrderRow>> {
    let row = sqlx::query_as!(
        OrderRow,
        r#"select conversation_id, ended_at is not null as "ended!" from outside_order where id = $2 and kind = $1"#,
        kind,
        id
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// Whether an order of a kind has ended in a conversation.
///
/// # Errors
/// What storage says.
pub async fn any_ended(conn: &mut Conn, conversation: Uuid, kind: &str) -> Result<bool> {
    Ok(sqlx::query_scalar!(
        r#"select exists (select from outside_order where conversation_id = $1 and kind = $2 and ended_at is not null) as "any!""#,
        conversation,
        kind
    )
    .fetch_one(conn)
    .await?)
}

/// Parks the end of a ticket that was not ordered yet; none: of whichever is ordered first. The first end holds.
///
/// # Errors
/// What storage says.
pub async fn park(conn: &mut Conn, conversation: Uuid, ticket: Option<Uuid>, outcome: &str) -> Result<()> {
    sqlx::query!(
        "insert into parked_ticket (conversation_id, ticket, outcome) values ($1, $2, $3) on conflict do nothing",
        conversation,
        ticket.unwrap_or_default(),
        outcome
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes the parked end of a ticket that is ordered now: its own, else that of whichever is ordered first. Says how it ended.
///
/// # Errors
/// What storage says.
pub async fn unpark(conn: &mut Conn, conversation: Uuid, ticket: Uuid) -> Result<Option<String>> {
    let outcome = sqlx::query_scalar!(
        r#"delete from parked_ticket
            where conversation_id = $1
              and ticket = (select max(p.ticket::text)::uuid from parked_ticket p
                             where p.conversation_id = $1 and p.ticket = any (array[$2, '00000000-0000-0000-0000-000000000000'::uuid]))
            returning outcome"#,
        conversation,
        ticket
    )
    .fetch_optional(conn)
    .await?;
    Ok(outcome)
}

/// Gives what was ordered in one conversation to another; both are locked. Of two open orders of a kind the other's stays open.
///
/// # Errors
/// What storage says.
pub async fn give_to(conn: &mut Conn, from: Uuid, into: Uuid, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        r#"with clash as (select o.id from outside_order o
                           where o.conversation_id = $1 and o.ended_at is null
                             and exists (select from outside_order x
                                          where x.conversation_id = $2 and x.kind = o.kind and x.ended_at is null)),
                p as (delete from parked_ticket where conversation_id = $1 returning ticket, outcome, parked_at),
                k as (insert into parked_ticket (conversation_id, ticket, outcome, parked_at)
                      select $2, p.ticket, p.outcome, p.parked_at from p on conflict do nothing)
           update outside_order o
              set conversation_id = $2,
                  ended_at = case when o.id = any (array(select c.id from clash c)) then $3 else o.ended_at end,
                  outcome = case when o.id = any (array(select c.id from clash c)) then 'merged' else o.outcome end
            where o.conversation_id = $1"#,
        from,
        into,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
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
