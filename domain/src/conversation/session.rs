//! A channel session: the contact's presence on one channel inside a conversation.

codes! {
    /// Where a channel session stands.
    pub enum State {
        /// The contact is there.
        Active = "active",
        /// The contact has not answered for long and was warned.
        Expiring = "expiring",
        /// It is over; the next message begins another one.
        Ended = "ended",
    }
}

codes! {
    /// Why a channel session ended.
    pub enum EndReason {
        /// The contact left: closed the window, hung up.
        CustomerLeft = "CUSTOMER_LEFT",
        /// The contact did not answer in the channel's time.
        CustomerInactivity = "CUSTOMER_INACTIVITY",
        /// An agent ended it.
        AgentClosed = "AGENT_CLOSED",
        /// The controller ended it.
        ControllerClosed = "CONTROLLER_CLOSED",
        /// Its conversation was closed.
        ConversationClosed = "CONVERSATION_CLOSED",
        /// Its channel was disabled.
        ChannelDisabled = "CHANNEL_DISABLED",
        /// Its connector lost it.
        ConnectorError = "CONNECTOR_ERROR",
        /// The contact asked not to be written to on this channel.
        OptedOut = "OPTED_OUT",
    }
}

codes! {
    /// What can happen to a channel session.
    ///
    /// | state | inbound | outbound | warning due | expiry due | ended by someone |
    /// |---|---|---|---|---|---|
    /// | ACTIVE | ACTIVE | ACTIVE | EXPIRING | ENDED | ENDED |
    /// | EXPIRING | ACTIVE | EXPIRING | | ENDED | ENDED |
    /// | ENDED | | | | | |
    ///
    /// Blank: ignored. A message for a session that ENDED begins another session.
    pub enum Event {
        /// The contact wrote.
        Inbound = "inbound",
        /// We wrote.
        Outbound = "outbound",
        /// The time of the warning came.
        WarningDue = "warning_due",
        /// The time of the contact is over.
        ExpiryDue = "expiry_due",
        /// The contact, an agent, the controller or the conversation ended it.
        EndedBySomeone = "ended_by_someone",
    }
}

impl State {
    /// The state after an event; none where it is ignored. The table stands at [`Event`].
    #[must_use]
    pub const fn after(self, event: Event) -> Option<Self> {
        match (self, event) {
            (Self::Ended, _) | (Self::Expiring, Event::WarningDue) => None,
            (Self::Active | Self::Expiring, Event::Inbound) | (Self::Active, Event::Outbound) => Some(Self::Active),
            (Self::Expiring, Event::Outbound) | (Self::Active, Event::WarningDue) => Some(Self::Expiring),
            (Self::Active | Self::Expiring, Event::ExpiryDue | Event::EndedBySomeone) => Some(Self::Ended),
        }
    }

    /// Whether the contact is present.
    #[must_use]
    pub const fn is_open(self) -> bool {
        match self {
            Self::Active | Self::Expiring => true,
            Self::Ended => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_of_state_and_event_follows_the_table() {
        use State::{Active, Ended, Expiring};
        let table = [
            (Active, [Some(Active), Some(Active), Some(Expiring), Some(Ended), Some(Ended)]),
            (Expiring, [Some(Active), Some(Expiring), None, Some(Ended), Some(Ended)]),
            (Ended, [None; 5]),
        ];
        assert_eq!(table.len(), State::ALL.len());
        for (state, row) in table {
            for (event, expected) in Event::ALL.iter().zip(row) {
                assert_eq!(state.after(*event), expected, "{state} on {event}");
            }
        }
    }
}
