//! The life of a notification: one person to be reached about one thing, and the reason where it ended.
//!
//! This room says what state follows what; when something happens is decided in [`crate::fallback`]. Verbs (skip, cancel,
//! expire, exhaust) end a notification that is unfinished and touch no other. Evidence (a step's success, an answer) lifts,
//! also after the end, and never lowers; it restarts nothing.

codes! {
    /// Where a notification stands, in rank order: a later state is never left for an earlier one.
    ///
    /// | state | step started | step succeeded | replied | acknowledged | opted out, nothing applies | steps used up | validity passed | cancelled |
    /// |---|---|---|---|---|---|---|---|---|
    /// | PENDING | WAITING | REACHED | REPLIED | ACKNOWLEDGED | SKIPPED | EXHAUSTED | EXPIRED | CANCELLED |
    /// | WAITING | WAITING | REACHED | REPLIED | ACKNOWLEDGED | SKIPPED | EXHAUSTED | EXPIRED | CANCELLED |
    /// | SKIPPED | | | | | | | | |
    /// | CANCELLED | | REACHED | REPLIED | ACKNOWLEDGED | | | | |
    /// | EXPIRED | | REACHED | REPLIED | ACKNOWLEDGED | | | | |
    /// | EXHAUSTED | | REACHED | REPLIED | ACKNOWLEDGED | | | | |
    /// | REACHED | | REACHED | REPLIED | ACKNOWLEDGED | | | | |
    /// | REPLIED | | | REPLIED | ACKNOWLEDGED | | | | |
    /// | ACKNOWLEDGED | | | | ACKNOWLEDGED | | | | |
    ///
    /// Blank: ignored, the state stays. SKIPPED is lifted by nothing: either nothing was sent, or the person said no, and a
    /// receipt that arrives behind that word does not unsay it.
    pub enum State {
        /// Planned or deferred: no step has put anything on the wire.
        Pending = "pending",
        /// A step has started; its wait runs, or its next attempt is on the way.
        Waiting = "waiting",
        /// No step could apply, or the person opted out; the reason says which.
        Skipped = "skipped",
        /// Taken back by its owner.
        Cancelled = "cancelled",
        /// `valid_until` passed before a step succeeded.
        Expired = "expired",
        /// Every step was tried or skipped, and none succeeded.
        Exhausted = "exhausted",
        /// A step met its success.
        Reached = "reached",
        /// The person answered.
        Replied = "replied",
        /// The person acknowledged.
        Acknowledged = "acknowledged",
    }
}

codes! {
    /// What can happen to a notification.
    pub enum Event {
        /// An attempt of a step was SENT, or its outcome is UNKNOWN.
        StepStarted = "step_started",
        /// A step's success was met by a receipt or an accepted call.
        StepSucceeded = "step_succeeded",
        /// The person answered, on whatever channel.
        Replied = "replied",
        /// The person acknowledged, on whatever channel.
        Acknowledged = "acknowledged",
        /// The person asked not to be written to.
        OptedOut = "opted_out",
        /// At planning, no step could apply.
        NothingApplies = "nothing_applies",
        /// The last step was left without success.
        StepsUsedUp = "steps_used_up",
        /// `valid_until` passed.
        ValidityPassed = "validity_passed",
        /// The owner took it back.
        Cancelled = "cancelled",
    }
}

impl State {
    /// Whether the notification is over: no step of it is sent any more. Evidence may still lift it.
    #[must_use]
    pub const fn is_finished(self) -> bool {
        match self {
            Self::Pending | Self::Waiting => false,
            Self::Skipped
            | Self::Cancelled
            | Self::Expired
            | Self::Exhausted
            | Self::Reached
            | Self::Replied
            | Self::Acknowledged => true,
        }
    }

    /// The state after `event`, or `None` where the event is ignored. The table stands at [`State`].
    #[must_use]
    pub const fn after(self, event: Event) -> Option<Self> {
        match event {
            Event::StepStarted => self.unless_finished(Self::Waiting),
            Event::StepSucceeded => self.lifted_to(Self::Reached),
            Event::Replied => self.lifted_to(Self::Replied),
            Event::Acknowledged => self.lifted_to(Self::Acknowledged),
            Event::OptedOut | Event::NothingApplies => self.unless_finished(Self::Skipped),
            Event::StepsUsedUp => self.unless_finished(Self::Exhausted),
            Event::ValidityPassed => self.unless_finished(Self::Expired),
            Event::Cancelled => self.unless_finished(Self::Cancelled),
        }
    }

    const fn unless_finished(self, to: Self) -> Option<Self> {
        if self.is_finished() { None } else { Some(to) }
    }

    const fn lifted_to(self, to: Self) -> Option<Self> {
        match self {
            Self::Skipped => None,
            Self::Pending
            | Self::Waiting
            | Self::Cancelled
            | Self::Expired
            | Self::Exhausted
            | Self::Reached
            | Self::Replied
            | Self::Acknowledged => {
                if self as u8 <= to as u8 {
                    Some(to)
                } else {
                    None
                }
            }
        }
    }
}

codes! {
    /// Why a step was skipped or left, or why a notification ended; stored with it and shown to its owner.
    pub enum Reason {
        /// The person asked not to be written to on this channel type, for this purpose or for all.
        OptedOut = "OPTED_OUT",
        /// The contact has no address that this channel type can reach.
        NoAddress = "NO_ADDRESS",
        /// The address is suppressed: it bounced for good, or it is known to be invalid.
        Suppressed = "SUPPRESSED",
        /// It is quiet time for this person, and the step skips then or could not be sent in time afterwards.
        QuietHours = "QUIET_HOURS",
        /// The address has had as many messages of this kind as it may have for now.
        FrequencyCap = "FREQUENCY_CAP",
        /// The same message is already on its way to this address.
        Duplicate = "DUPLICATE",
        /// The channel was disabled or removed, or no channel of the type is enabled.
        ChannelDisabled = "CHANNEL_DISABLED",
        /// The provider refused the channel itself (credentials, suspension), and it waits for a person to mend it.
        ChannelParked = "CHANNEL_PARKED",
        /// None of the channel's providers works at present.
        ProviderDown = "PROVIDER_DOWN",
        /// The template says nothing for this channel type.
        NoTemplateContent = "NO_TEMPLATE_CONTENT",
        /// The template has neither the contact's language nor its own default language on this channel type.
        NoTemplateLanguage = "NO_TEMPLATE_LANGUAGE",
        /// The template needs a variable that the notification does not carry.
        TemplateVariableMissing = "TEMPLATE_VARIABLE_MISSING",
        /// The service window is closed, and the template has only content that needs it open.
        WindowClosed = "WINDOW_CLOSED",
        /// The provider refused this message or this address for good.
        ProviderRefused = "PROVIDER_REFUSED",
        /// The provider's temporary refusals used up the attempts of the step.
        AttemptsUsedUp = "ATTEMPTS_USED_UP",
        /// Workers lost the lease three times, or never got to the wire: our fault, not the person's.
        LeasesLost = "LEASES_LOST",
        /// Something of ours failed before the wire, such as the rendering of the content.
        TechnicalFailure = "TECHNICAL_FAILURE",
        /// The delivery or the notification was not sent while it was valid.
        ValidityPassed = "VALIDITY_PASSED",
        /// The step asked for an answer, and none came in its wait.
        NoReply = "NO_REPLY",
        /// Nothing proved in the step's wait that the message was delivered.
        NotDelivered = "NOT_DELIVERED",
        /// The message was delivered and not read in the step's wait.
        NotRead = "NOT_READ",
        /// A call was made whose end is not known, and nothing was heard of it in the step's wait.
        UnknownOutcome = "UNKNOWN_OUTCOME",
        /// The delivery was taken back before it was sent.
        TakenBack = "TAKEN_BACK",
        /// No channel reached the person, who now stands on a call list.
        OnCallList = "ON_CALL_LIST",
        /// The policy has no step after this one.
        NoStepLeft = "NO_STEP_LEFT",
        /// The owner of the notification or of its campaign cancelled it.
        CancelledByOwner = "CANCELLED_BY_OWNER",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The table of [`State`], row by row in the order of `State::ALL`, columns in the order of `Event::ALL`.
    fn table() -> Vec<[Option<State>; 9]> {
        use State::{Acknowledged, Cancelled, Exhausted, Expired, Reached, Replied, Skipped, Waiting};
        let open = [Waiting, Reached, Replied, Acknowledged, Skipped, Skipped, Exhausted, Expired, Cancelled].map(Some);
        let lifted = |reached: Option<State>, replied: Option<State>| {
            [None, reached, replied, Some(Acknowledged), None, None, None, None, None]
        };
        let ended = lifted(Some(Reached), Some(Replied));
        vec![open, open, [None; 9], ended, ended, ended, ended, lifted(None, Some(Replied)), lifted(None, None)]
    }

    #[test]
    fn every_pair_of_state_and_event_follows_the_table() {
        for (state, row) in State::ALL.iter().zip(table()) {
            for (event, expected) in Event::ALL.iter().zip(row) {
                assert_eq!(state.after(*event), expected, "{state} on {event}");
            }
        }
        assert_eq!(table().len(), State::ALL.len());
    }

    fn any_event() -> impl Strategy<Value = Event> {
        (0..Event::ALL.len()).prop_map(|i| Event::ALL[i])
    }

    fn run(events: &[Event]) -> State {
        events.iter().fold(State::Pending, |s, e| s.after(*e).unwrap_or(s))
    }

    proptest! {
        #[test]
        fn a_notification_is_never_lowered(events in prop::collection::vec(any_event(), 0..12)) {
            let mut state = State::Pending;
            for event in events {
                let next = state.after(event).unwrap_or(state);
                prop_assert!(next >= state, "{state} fell to {next} on {event}");
                prop_assert!(next.is_finished() || !state.is_finished(), "{state} was restarted by {event}");
                state = next;
            }
        }

        #[test]
        fn the_order_of_evidence_does_not_matter(
            evidence in prop::sample::subsequence(vec![Event::StepSucceeded, Event::Replied, Event::Acknowledged], 0..=3),
            seed in any::<prop::sample::Index>(),
        ) {
            let mut turned = evidence.clone();
            if !turned.is_empty() {
                let by = seed.index(turned.len());
                turned.rotate_left(by);
            }
            prop_assert_eq!(run(&evidence), run(&turned));
        }
    }
}
