//! What we order of outside systems in a conversation, and how such an order ends: a flow that is to be run, a ticket that is to
//! be worked on. As long as one is open, the conversation does not close by itself.

use chrono::TimeDelta;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::{
    services::{Context, Result, work::Work},
    storage::{Conn, outside},
};

/// An order that nobody ended for so long is lost, and may be given again: the engine may have been exchanged.
const LOST_AFTER: TimeDelta = TimeDelta::hours(24);

/// Orders a flow for a message of a contact, if an outside flow engine takes part and none runs in the conversation. The caller
/// holds the conversation's lock. Says whether one was ordered.
///
/// # Errors
/// What storage says.
pub async fn after_inbound(context: &Context, conn: &mut Conn, conversation: Uuid, message: Uuid) -> Result<bool> {
    if !context.settings.events.outside_flows {
        return Ok(false);
    }
    let now = context.clock.now();
    let data = json!({"conversation": conversation, "message": message});
    Ok(outside::order(conn, Uuid::now_v7(), conversation, "flow", &data, now - LOST_AFTER, now).await?)
}

/// Orders a flow by its name, with what it is given. One runs in a conversation at a time; a second order is none.
///
/// # Errors
/// What storage says.
pub async fn start_flow(work: &mut Work, conversation: Uuid, of: Map<String, Value>) -> Result<bool> {
    let now = work.now();
    let data = json!({"conversation": conversation, "order": of});
    Ok(outside::order(work.conn(), Uuid::now_v7(), conversation, "flow", &data, now - LOST_AFTER, now).await?)
}

/// Orders a ticket, with what the flow or agent says of it. One is open in a conversation at a time; a second order is none.
///
/// # Errors
/// What storage says.
pub async fn open_ticket(work: &mut Work, conversation: Uuid, of: Map<String, Value>) -> Result<bool> {
    let now = work.now();
    let data = json!({"conversation": conversation, "order": of});
    Ok(outside::order(work.conn(), Uuid::now_v7(), conversation, "ticket", &data, now - TimeDelta::days(3650), now)
        .await?)
}

/// The flow of a conversation has ended. Without a ticket the conversation closes.
///
/// # Errors
/// What storage says.
pub async fn flow_ended(work: &mut Work, conversation: Uuid, execution: Option<Uuid>, outcome: &str) -> Result<bool> {
    let now = work.now();
    let ended = outside::end_order(work.conn(), conversation, "flow", execution, outcome, now).await?;
    if ended.is_some() {
        close(work, conversation, "FLOW_ENDED").await?;
    }
    Ok(ended.is_some())
}

/// The ticket of a conversation was closed: the conversation closes.
///
/// # Errors
/// What storage says.
pub async fn ticket_closed(work: &mut Work, conversation: Uuid, ticket: Option<Uuid>, outcome: &str) -> Result<bool> {
    let now = work.now();
    let ended = outside::end_order(work.conn(), conversation, "ticket", ticket, outcome, now).await?;
    if ended.is_some() {
        close(work, conversation, "TICKET_CLOSED").await?;
    }
    Ok(ended.is_some())
}

/// Closes a conversation in which nobody owes anything any more.
async fn close(work: &mut Work, conversation: Uuid, reason: &str) -> Result<bool> {
    let now = work.now();
    Ok(outside::close_if_free(work.conn(), conversation, reason, now).await?)
}
