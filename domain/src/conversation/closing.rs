//! Who may close a conversation, and what stands in the way.

use chrono::TimeDelta;

/// How long no message may pass before a conversation is closed, where the deployment says nothing else.
pub const IDLE: TimeDelta = TimeDelta::hours(24);
/// After how long a closing that did not end is taken up again.
pub const WATCHDOG: TimeDelta = TimeDelta::minutes(5);

codes! {
    /// Why a conversation is closed.
    pub enum Cause {
        /// A flow ended without ordering a ticket.
        FlowEnded = "FLOW_ENDED",
        /// Its ticket was closed.
        TicketClosed = "TICKET_CLOSED",
        /// Nothing was said for long.
        Idle = "IDLE",
        /// Someone asked for it.
        Requested = "REQUESTED",
        /// Someone insisted on it.
        Forced = "FORCED",
        /// Contact and agents are gone.
        AllGone = "ALL_GONE",
        /// It was merged into another conversation.
        Merged = "MERGED",
    }
}

codes! {
    /// What can be owed to a contact.
    pub enum Obligation {
        /// A flow that runs.
        Flow = "flow",
        /// A ticket that is open.
        Ticket = "ticket",
        /// A task that waits for an agent: the contact is in a queue.
        Task = "task",
        /// A notification that waits for its answer or its next step.
        Notification = "notification",
    }
}

/// What a closing looks at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// What is owed, as resource names.
    pub owed: Vec<String>,
    /// Agents who take part.
    pub agents: u32,
    /// Whether it is on hold.
    pub hold: bool,
}

/// What stands in the way of closing for this cause, in words; empty: nothing.
#[must_use]
pub fn in_the_way(cause: Cause, standing: &Standing) -> Vec<String> {
    let owed = || standing.owed.iter().map(|name| format!("{name} is open"));
    let agents = (standing.agents > 0).then(|| format!("{} agents take part", standing.agents));
    let held = standing.hold.then(|| "it is on hold".to_owned());
    match cause {
        Cause::Forced | Cause::Merged => Vec::new(),
        Cause::Requested => owed().collect(),
        Cause::AllGone | Cause::FlowEnded | Cause::TicketClosed => owed().chain(agents).collect(),
        Cause::Idle => owed().chain(held).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_its_guards() {
        let owing = Standing { owed: vec!["tickets/7".into()], ..Standing::default() };
        let attended = Standing { agents: 1, ..Standing::default() };
        let held = Standing { hold: true, ..Standing::default() };
        let table = [
            (Cause::FlowEnded, [false, false, true]),
            (Cause::TicketClosed, [false, false, true]),
            (Cause::Idle, [false, true, false]),
            (Cause::Requested, [false, true, true]),
            (Cause::Forced, [true, true, true]),
            (Cause::AllGone, [false, false, true]),
            (Cause::Merged, [true, true, true]),
        ];
        assert_eq!(table.len(), Cause::ALL.len());
        for (cause, may) in table {
            for (standing, may) in [&owing, &attended, &held].into_iter().zip(may) {
                assert_eq!(in_the_way(cause, standing).is_empty(), may, "{cause} with {standing:?}");
            }
            assert!(in_the_way(cause, &Standing::default()).is_empty(), "{cause} with nothing in the way");
        }
        assert_eq!(in_the_way(Cause::Requested, &owing), ["tickets/7 is open"]);
    }
}
