//! The life of a campaign: a send to an audience, from its draft to its end.
//!
//! This room says what state follows what. Who is reached is decided in [`crate::fallback`], one person at a time.

codes! {
    /// Where a campaign stands.
    ///
    /// | state | scheduled | begun | paused | resumed | all ended | cancelled | taken back | cannot begin |
    /// |---|---|---|---|---|---|---|---|---|
    /// | DRAFT | SCHEDULED | RUNNING | | | | | | |
    /// | SCHEDULED | | RUNNING | | | | CANCELLED | | FAILED |
    /// | RUNNING | | | PAUSED | | COMPLETED | CANCELLING | | FAILED |
    /// | PAUSED | | | | RUNNING | | CANCELLING | | |
    /// | COMPLETED | | | | | | | | |
    /// | CANCELLING | | | | | | | CANCELLED | |
    /// | CANCELLED | | | | | | | | |
    /// | FAILED | | | | | | | | |
    ///
    /// Blank: refused, the state stays. A RUNNING campaign can fail only as long as nobody was planned: when its audience
    /// cannot be read at all.
    pub enum State {
        /// It is being written.
        Draft = "draft",
        /// It was started and waits for its time.
        Scheduled = "scheduled",
        /// It sends to its audience.
        Running = "running",
        /// Someone stopped it for a while.
        Paused = "paused",
        /// All its notifications have ended.
        Completed = "completed",
        /// It was cancelled, and what can be taken back is being taken back.
        Cancelling = "cancelling",
        /// It was cancelled, and nothing of it is left to send.
        Cancelled = "cancelled",
        /// It could not begin.
        Failed = "failed",
    }
}

codes! {
    /// What can happen to a campaign.
    pub enum Event {
        /// It was started, for a later time.
        Scheduled = "scheduled",
        /// Its time has come: audience, policy and templates are pinned.
        Begun = "begun",
        /// Someone paused it.
        Paused = "paused",
        /// Someone resumed it.
        Resumed = "resumed",
        /// Its whole audience is planned and no notification of it is unfinished.
        AllEnded = "all_ended",
        /// Someone cancelled it.
        Cancelled = "cancelled",
        /// What was queued is taken back.
        TakenBack = "taken_back",
        /// It cannot begin: what it names is gone, or its audience cannot be read.
        CannotBegin = "cannot_begin",
    }
}

impl State {
    /// The state after `event`, or `None` where the event is refused. The table stands at [`State`].
    #[must_use]
    pub const fn after(self, event: Event) -> Option<Self> {
        match (event, self) {
            (Event::Scheduled, Self::Draft) => Some(Self::Scheduled),
            (Event::Begun, Self::Draft | Self::Scheduled) | (Event::Resumed, Self::Paused) => Some(Self::Running),
            (Event::Paused, Self::Running) => Some(Self::Paused),
            (Event::AllEnded, Self::Running) => Some(Self::Completed),
            (Event::Cancelled, Self::Scheduled) | (Event::TakenBack, Self::Cancelling) => Some(Self::Cancelled),
            (Event::Cancelled, Self::Running | Self::Paused) => Some(Self::Cancelling),
            (Event::CannotBegin, Self::Scheduled | Self::Running) => Some(Self::Failed),
            (Event::Scheduled, Self::Scheduled | Self::Running | Self::Paused | Self::Completed)
            | (Event::Begun, Self::Running | Self::Paused | Self::Completed)
            | (Event::Paused, Self::Draft | Self::Scheduled | Self::Paused | Self::Completed)
            | (Event::Resumed, Self::Draft | Self::Scheduled | Self::Running | Self::Completed)
            | (Event::AllEnded, Self::Draft | Self::Scheduled | Self::Paused | Self::Completed)
            | (Event::Cancelled, Self::Draft | Self::Completed)
            | (Event::TakenBack, Self::Draft | Self::Scheduled | Self::Running | Self::Paused | Self::Completed)
            | (Event::CannotBegin, Self::Draft | Self::Paused | Self::Completed)
            | (
                Event::Scheduled
                | Event::Begun
                | Event::Paused
                | Event::Resumed
                | Event::AllEnded
                | Event::Cancelled
                | Event::CannotBegin,
                Self::Cancelling,
            )
            | (_, Self::Cancelled | Self::Failed) => None,
        }
    }

    /// Whether the campaign stands already where `event` leads, so that asking for it again changes nothing.
    #[must_use]
    pub const fn stands_after(self, event: Event) -> bool {
        match event {
            Event::Scheduled => matches!(self, Self::Scheduled | Self::Running),
            Event::Begun | Event::Resumed => matches!(self, Self::Running),
            Event::Paused => matches!(self, Self::Paused),
            Event::AllEnded => matches!(self, Self::Completed),
            Event::Cancelled => matches!(self, Self::Cancelling | Self::Cancelled),
            Event::TakenBack => matches!(self, Self::Cancelled),
            Event::CannotBegin => matches!(self, Self::Failed),
        }
    }

    /// Whether it is over for good.
    #[must_use]
    pub const fn is_ended(self) -> bool {
        match self {
            Self::Completed | Self::Cancelled | Self::Failed => true,
            Self::Draft | Self::Scheduled | Self::Running | Self::Paused | Self::Cancelling => false,
        }
    }

    /// What of its definition may still change.
    #[must_use]
    pub const fn editable(self) -> Editable {
        match self {
            Self::Draft | Self::Scheduled => Editable::Everything,
            Self::Running | Self::Paused => Editable::Pace,
            Self::Completed | Self::Cancelling | Self::Cancelled | Self::Failed => Editable::Nothing,
        }
    }
}

/// What of a campaign's definition may still change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Editable {
    /// All of it.
    Everything,
    /// Its name, rate, weight and sending window.
    Pace,
    /// Nothing: it is over, or being taken back.
    Nothing,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of [`State`], row by row in the order of `State::ALL`, columns in the order of `Event::ALL`.
    fn table() -> [[Option<State>; 8]; 8] {
        use State::{Cancelled, Cancelling, Completed, Failed, Paused, Running, Scheduled};
        let none = None;
        [
            [Some(Scheduled), Some(Running), none, none, none, none, none, none],
            [none, Some(Running), none, none, none, Some(Cancelled), none, Some(Failed)],
            [none, none, Some(Paused), none, Some(Completed), Some(Cancelling), none, Some(Failed)],
            [none, none, none, Some(Running), none, Some(Cancelling), none, none],
            [none; 8],
            [none, none, none, none, none, none, Some(Cancelled), none],
            [none; 8],
            [none; 8],
        ]
    }

    #[test]
    fn every_pair_of_state_and_event_follows_the_table() {
        for (state, row) in State::ALL.iter().zip(table()) {
            for (event, expected) in Event::ALL.iter().zip(row) {
                assert_eq!(state.after(*event), expected, "{state} on {event}");
            }
        }
    }

    #[test]
    fn what_an_event_leads_to_stands_after_it_and_an_end_is_never_left() {
        for state in State::ALL {
            for event in Event::ALL {
                if let Some(next) = state.after(*event) {
                    assert!(next.stands_after(*event), "{next} after {event}");
                    assert!(!state.is_ended(), "{state} was left by {event}");
                }
            }
        }
    }

    #[test]
    fn every_campaign_that_was_started_can_be_brought_to_an_end() {
        let ends = [Event::Resumed, Event::Cancelled, Event::TakenBack];
        for state in State::ALL.iter().filter(|s| **s != State::Draft) {
            let end = ends.iter().fold(*state, |s, e| s.after(*e).unwrap_or(s));
            assert!(end.is_ended(), "{state} ended as {end}");
        }
    }
}
