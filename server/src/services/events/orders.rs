//! What we order of outside systems in a conversation, and how such an order ends: a flow that is to be run, a ticket that is to
//! be worked on. As long as one is open, the conversation does not close by itself.

use chrono::TimeDelta;
use domain::conversation::{
    Phase,
    closing::{Cause, Obligation},
};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::{
    services::{
        Context, Error, Result,
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
    order(conn, held, (Obligation::Flow, Uuid::now_v7()), &data, By::system(context.clock.now())).await
}

/// Orders a flow by its name, with what it is given. One runs in a conversation at a time; a second order is none.
///
/// # Errors
/// STATE_WRONG when the conversation is not open.
pub async fn start_flow(work: &mut Work, conversation: Uuid, of: Map<String, Value>) -> Result<bool> {
    let who = work.who();
    let held = Held::open(work.conn(), conversation).await?;
    let data = json!({"conversation": conversation, "order": of});
    order(work.conn(), &held, (Obligation::Flow, Uuid::now_v7()), &data, By::of(&who)).await
}

/// A ticket that is ordered.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ticket {
    /// The id that whoever orders it has given it; none: it gets one.
    pub id: Option<Uuid>,
    /// What the flow or agent says of it, for the ticket system.
    pub of: Map<String, Value>,
}

/// Orders a ticket. One is open in a conversation at a time; a second order is none, and neither is the same order again. One
/// that was closed before it was ordered is over at once.
///
/// # Errors
/// STATE_WRONG when the conversation is not open; a violation when its id is that of another conversation's ticket.
pub async fn open_ticket(context: &Context, work: &mut Work, conversation: Uuid, ticket: Ticket) -> Result<bool> {
    let who = work.who();
    let by = By::of(&who);
    let mut held = Held::open(work.conn(), conversation).await?;
    if let Some(id) = ticket.id
        && let Some(known) = outside::find(work.conn(), Obligation::Ticket.as_str(), id).await?
    {
        return match known.conversation_id == held.id() {
            true => Ok(false),
            false => Err(Error::invalid("open_ticket.ticket", "is a ticket of another conversation")),
        };
    }
    let id = ticket.id.unwrap_or_else(Uuid::now_v7);
    let data = json!({"conversation": conversation, "order": ticket.of});
    let ordered = order(work.conn(), &held, (Obligation::Ticket, id), &data, by).await?;
    if ordered && let Some(outcome) = outside::unpark(work.conn(), held.id(), id).await? {
        end(context, work.conn(), &mut held, (Obligation::Ticket, Some(id)), &outcome, by).await?;
    }
    Ok(ordered)
}

async fn order(conn: &mut Conn, held: &Held, (kind, id): (Obligation, Uuid), data: &Value, by: By<'_>) -> Result<bool> {
    let lost = by.at - if kind == Obligation::Ticket { NEVER } else { LOST_AFTER };
    let ordered = outside::order(conn, id, held.id(), kind.as_str(), data, lost, by.at).await?;
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
    let who = work.who();
    let mut held = Held::of(work.conn(), conversation).await?;
    end(context, work.conn(), &mut held, (Obligation::Flow, execution), outcome, By::of(&who)).await
}

/// What the end of a ticket meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TicketEnd {
    /// The ticket was open, and is over.
    Ended,
    /// It was over already.
    Repeated,
    /// It was not ordered yet: it is over when it is.
    Parked,
    /// It can belong to nothing: the conversation is over, or it is another conversation's.
    Unknown,
}

/// The ticket of a conversation was closed: the conversation closes. Where that is heard before the order of the ticket, it is
/// parked, and takes effect when the order comes; heard twice, it is over once. Where no ticket is named, it is the one that is
/// open, else one that is over already, else the one that is ordered first.
///
/// # Errors
/// What storage says.
pub async fn ticket_closed(
    context: &Context,
    work: &mut Work,
    conversation: Uuid,
    ticket: Option<Uuid>,
    outcome: &str,
) -> Result<TicketEnd> {
    let (who, kind) = (work.who(), Obligation::Ticket);
    let mut held = Held::of(work.conn(), conversation).await?;
    if end(context, work.conn(), &mut held, (kind, ticket), outcome, By::of(&who)).await? {
        return Ok(TicketEnd::Ended);
    }
    let conn = work.conn();
    let over = match ticket {
        Some(id) => match outside::find(conn, kind.as_str(), id).await? {
            Some(known) if known.conversation_id == held.id() => known.ended,
            Some(_) => return Ok(TicketEnd::Unknown),
            None => false,
        },
        None => outside::any_ended(conn, held.id(), kind.as_str()).await?,
    };
    if over {
        return Ok(TicketEnd::Repeated);
    }
    if held.row.facts.phase != Phase::Open {
        return Ok(TicketEnd::Unknown);
    }
    outside::park(conn, held.id(), ticket, outcome).await?;
    Ok(TicketEnd::Parked)
}

/// Ends an open order of a conversation that is held. Says whether there was one.
async fn end(
    context: &Context,
    conn: &mut Conn,
    held: &mut Held,
    (kind, id): (Obligation, Option<Uuid>),
    outcome: &str,
    by: By<'_>,
) -> Result<bool> {
    let cause = if kind == Obligation::Ticket { Cause::TicketClosed } else { Cause::FlowEnded };
    let ended = outside::end_order(conn, held.id(), kind.as_str(), id, outcome, by.at).await?;
    if ended.is_some() {
        obligations::end(context, conn, held, (kind, owed(kind)), Some(cause), by).await?;
        held.settle(conn, cause.as_str(), by).await?;
    }
    Ok(ended.is_some())
}
