//! What we order of outside systems in a conversation, and how such an order ends: a flow that is to be run, a ticket that is to
//! be worked on. As long as one is open, the conversation does not close by itself.

use chrono::TimeDelta;
use domain::conversation::closing::{Cause, Obligation};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::{
    services::{
        Context, Result,
        conversations::{
            held::{By, Held},
            obligations,
        },
        work::Work,
    },
    storage::{Conn, outside},
};

/// An order that nobody ended for so long is lost, and may be given again: the engine may have been exchanged.
const LOST_AFTER: TimeDelta = TimeDelta::hours(24);
/// A ticket is never lost: it waits for its officer as long as that takes.
const NEVER: TimeDelta = TimeDelta::days(3650);

/// What is owed under which name: one order of a kind is open in a conversation at a time.
const fn owed(kind: Obligation) -> &'static str {
    match kind {
        Obligation::Ticket => "tickets/outside",
        Obligation::Flow | Obligation::Task | Obligation::Notification => "flows/outside",
    }
}

/// Orders a flow for a message of a contact, if an outside flow engine takes part, none runs in the conversation and no agent is
/// there. The conversation is held. Says whether one was ordered.
///
/// # Errors
/// What storage says.
pub async fn after_inbound(context: &Context, conn: &mut Conn, held: &Held, message: Uuid) -> Result<bool> {
    if !context.settings.events.outside_flows || held.row.facts.agents > 0 {
        return Ok(false);
    }
    let data = json!({"conversation": held.id(), "message": message});
    order(conn, held, Obligation::Flow, &data, By::system(context.clock.now())).await
}

/// Orders a flow by its name, with what it is given. One runs in a conversation at a time; a second order is none.
///
/// # Errors
/// STATE_WRONG when the conversation is not open.
pub async fn start_flow(work: &mut Work, conversation: Uuid, of: Map<String, Value>) -> Result<bool> {
    let by = By::api(work.now());
    let held = Held::open(work.conn(), conversation).await?;
    let data = json!({"conversation": conversation, "order": of});
    order(work.conn(), &held, Obligation::Flow, &data, by).await
}

/// Orders a ticket, with what the flow or agent says of it. One is open in a conversation at a time; a second order is none.
///
/// # Errors
/// STATE_WRONG when the conversation is not open.
pub async fn open_ticket(work: &mut Work, conversation: Uuid, of: Map<String, Value>) -> Result<bool> {
    let by = By::api(work.now());
    let held = Held::open(work.conn(), conversation).await?;
    let data = json!({"conversation": conversation, "order": of});
    order(work.conn(), &held, Obligation::Ticket, &data, by).await
}

async fn order(conn: &mut Conn, held: &Held, kind: Obligation, data: &Value, by: By<'_>) -> Result<bool> {
    let lost = by.at - if kind == Obligation::Ticket { NEVER } else { LOST_AFTER };
    let ordered = outside::order(conn, Uuid::now_v7(), held.id(), kind.as_str(), data, lost, by.at).await?;
    if ordered {
        obligations::begin(conn, held, kind, owed(kind), by).await?;
    }
    Ok(ordered)
}

/// The flow of a conversation has ended. Without a ticket the conversation closes.
///
/// # Errors
/// What storage says.
pub async fn flow_ended(
    context: &Context,
    work: &mut Work,
    conversation: Uuid,
    execution: Option<Uuid>,
    outcome: &str,
) -> Result<bool> {
    end(context, work, conversation, (Obligation::Flow, execution), outcome, Cause::FlowEnded).await
}

/// The ticket of a conversation was closed: the conversation closes.
///
/// # Errors
/// What storage says.
pub async fn ticket_closed(
    context: &Context,
    work: &mut Work,
    conversation: Uuid,
    ticket: Option<Uuid>,
    outcome: &str,
) -> Result<bool> {
    end(context, work, conversation, (Obligation::Ticket, ticket), outcome, Cause::TicketClosed).await
}

async fn end(
    context: &Context,
    work: &mut Work,
    conversation: Uuid,
    (kind, id): (Obligation, Option<Uuid>),
    outcome: &str,
    cause: Cause,
) -> Result<bool> {
    let by = By::api(work.now());
    let mut held = Held::of(work.conn(), conversation).await?;
    let ended = outside::end_order(work.conn(), conversation, kind.as_str(), id, outcome, by.at).await?;
    if ended.is_some() {
        obligations::end(context, work.conn(), &mut held, (kind, owed(kind)), Some(cause), by).await?;
        held.settle(work.conn(), cause.as_str(), by).await?;
    }
    Ok(ended.is_some())
}
