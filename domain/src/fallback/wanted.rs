//! Whether a delivery is still wanted: the one question that claim, mark, requeue and repeat ask, in the same words.
//!
//! Leaving a step, an answer, an opt-out and a cancellation take the QUEUED deliveries back in their own transaction; this
//! question is the second fence, for what was claimed in the meantime.

use crate::{
    delivery::WorkEvent,
    notification::{Reason, State},
};
use chrono::{DateTime, Utc};

/// What the question is asked of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WantedFacts {
    /// The notification's state.
    pub state: State,
    /// The step that the notification is at, counted from 0.
    pub current_step: usize,
    /// The delivery's step.
    pub delivery_step: usize,
    /// Whether the delivery's send group stands still.
    pub paused: bool,
    /// Whether the address opted out of this channel type for this purpose.
    pub opted_out: bool,
    /// Until when the delivery may be put on the wire.
    pub valid_until: Option<DateTime<Utc>>,
    /// The time on the wall.
    pub now: DateTime<Utc>,
}

codes! {
    /// Why a delivery is not wanted.
    pub enum NotWanted {
        /// The notification is over: answered, cancelled, reached.
        Finished = "finished",
        /// The notification is at another step.
        StepLeft = "step_left",
        /// The person asked not to be written to.
        OptedOut = "opted_out",
        /// Its validity passed.
        Expired = "expired",
        /// Its group is paused: later, not never.
        Paused = "paused",
    }
}

impl NotWanted {
    /// What this does to a delivery that is QUEUED; a pause does nothing.
    #[must_use]
    pub const fn event(self) -> Option<WorkEvent> {
        match self {
            Self::Finished | Self::StepLeft => Some(WorkEvent::Cancel),
            Self::OptedOut => Some(WorkEvent::Skip),
            Self::Expired => Some(WorkEvent::Expire),
            Self::Paused => None,
        }
    }

    /// The reason that is stored with the delivery.
    #[must_use]
    pub const fn reason(self) -> Option<Reason> {
        match self {
            Self::Finished | Self::StepLeft => Some(Reason::TakenBack),
            Self::OptedOut => Some(Reason::OptedOut),
            Self::Expired => Some(Reason::ValidityPassed),
            Self::Paused => None,
        }
    }
}

/// Whether the delivery may go on the wire now: asked by claim and mark.
///
/// # Errors
/// Why not.
pub fn wanted(facts: &WantedFacts) -> Result<(), NotWanted> {
    wanted_later(facts)?;
    if facts.paused { Err(NotWanted::Paused) } else { Ok(()) }
}

/// Whether the delivery may go on the wire now or after a pause: asked by requeue and repeat.
///
/// A pause must not end what it interrupts: an attempt that was not sent during a pause is queued again, and waits with its
/// group. Asked with the pause, it would stand unfinished for ever.
///
/// # Errors
/// Why not; never [`NotWanted::Paused`].
pub fn wanted_later(facts: &WantedFacts) -> Result<(), NotWanted> {
    if facts.state.is_finished() {
        return Err(NotWanted::Finished);
    }
    if facts.current_step != facts.delivery_step {
        return Err(NotWanted::StepLeft);
    }
    if facts.opted_out {
        return Err(NotWanted::OptedOut);
    }
    if facts.valid_until.is_some_and(|until| until <= facts.now) {
        return Err(NotWanted::Expired);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    fn facts() -> WantedFacts {
        let now = DateTime::UNIX_EPOCH;
        WantedFacts {
            state: State::Waiting,
            current_step: 1,
            delivery_step: 1,
            paused: false,
            opted_out: false,
            valid_until: Some(now + TimeDelta::seconds(1)),
            now,
        }
    }

    #[test]
    fn each_condition_alone_ends_the_wish() {
        let base = facts();
        assert_eq!(wanted(&base), Ok(()));
        let cases = [
            (WantedFacts { state: State::Replied, ..base }, NotWanted::Finished, Some(WorkEvent::Cancel)),
            (WantedFacts { state: State::Cancelled, ..base }, NotWanted::Finished, Some(WorkEvent::Cancel)),
            (WantedFacts { opted_out: true, ..base }, NotWanted::OptedOut, Some(WorkEvent::Skip)),
            (
                WantedFacts { now: base.now + TimeDelta::seconds(1), ..base },
                NotWanted::Expired,
                Some(WorkEvent::Expire),
            ),
            (WantedFacts { paused: true, ..base }, NotWanted::Paused, None),
        ];
        for (facts, expected, event) in cases {
            assert_eq!(wanted(&facts), Err(expected));
            assert_eq!(expected.event(), event, "{expected}");
        }
    }

    #[test]
    fn cx01_a_pause_does_not_lose_what_it_interrupts() {
        let paused = WantedFacts { paused: true, ..facts() };
        assert_eq!(wanted(&paused), Err(NotWanted::Paused));
        assert_eq!(wanted_later(&paused), Ok(()));
        assert_eq!(NotWanted::Paused.event(), None);
    }

    #[test]
    fn cx04_what_is_wanted_stands_at_the_notifications_step() {
        for (current_step, delivery_step) in [(1, 0), (0, 1), (2, 1)] {
            let facts = WantedFacts { current_step, delivery_step, ..facts() };
            assert_eq!(wanted(&facts), Err(NotWanted::StepLeft));
            assert_eq!(wanted_later(&facts), Err(NotWanted::StepLeft));
        }
    }
}
