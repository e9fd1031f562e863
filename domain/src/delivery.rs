//! What is known of one delivery: a *work* state that verbs move, and an *evidence* rank that only rises.
//!
//! One field cannot be both: a delivery that is queued again after an unknown outcome has gone back in work, while what is
//! known of it has not. `evidence < new` is the whole rule of merging.

codes! {
    /// Where the work on a delivery stands. Moved by verbs, and may go back to `Queued`.
    pub enum Work {
        /// Waits for its turn: in Postgres, on the bus, or claimed and not yet on the wire.
        Queued = "queued",
        /// Marked: the call of a provider may be under way.
        Sending = "sending",
        /// The calls are over, unless a receipt asks for another.
        Done = "done",
        /// Never tried, with a reason.
        Skipped = "skipped",
        /// Taken back before it was marked.
        Cancelled = "cancelled",
        /// Its `valid_until` passed before it was marked.
        Expired = "expired",
    }
}

codes! {
    /// What is known of a delivery, in rank order: evidence of higher rank replaces lower, never the other way.
    pub enum Evidence {
        /// Nothing.
        None = "none",
        /// A call was made, and whether the provider took it is not known.
        Unknown = "unknown",
        /// A provider accepted it.
        Sent = "sent",
        /// A provider refused it, or said later that it failed.
        Failed = "failed",
        /// It reached the device.
        Delivered = "delivered",
        /// It was read, or the call was answered.
        Read = "read",
    }
}

codes! {
    /// What a provider's refusal means for the way ahead.
    pub enum FailureClass {
        /// Try the same channel again after a while.
        Temporary = "temporary",
        /// Too fast: try again later; costs the step nothing.
        Throttled = "throttled",
        /// This address cannot be reached on this channel; the next channel may.
        FallOver = "fall_over",
        /// This message is wrong and would fail again.
        Permanent = "permanent",
        /// The channel itself is broken (credentials, suspension): stop using it and tell someone.
        ParkChannel = "park_channel",
        /// The person asked not to be written to.
        OptOut = "opt_out",
        /// The service window is closed: only a template may be sent.
        NeedsTemplate = "needs_template",
        /// We could not do our part (leases lost, rendering failed).
        Technical = "technical",
    }
}

codes! {
    /// How one attempt ended.
    pub enum Outcome {
        /// The provider took it.
        Accepted = "accepted",
        /// The provider refused it; the failure class says what that means.
        Refused = "refused",
        /// It was never put on the wire.
        NotSent = "not_sent",
        /// The call was made and its end is not known.
        Unknown = "unknown",
    }
}

codes! {
    /// What a connector can do after an outcome that is not known.
    pub enum AfterUnknown {
        /// Nothing: the step counts as failed after its wait.
        Nothing = "nothing",
        /// Our id comes back in a status: wait for it.
        Echo = "echo",
        /// The provider can be asked whether it has the message.
        Ask = "ask",
        /// The provider accepts a key and drops a second copy: repeat freely.
        Key = "key",
        /// The same message id may be sent again: the receiver de-duplicates (SMTP).
        Resend = "resend",
    }
}

codes! {
    /// What moves the work on a delivery.
    pub enum WorkEvent {
        /// A worker marked it: its call goes on the wire now.
        Mark = "mark",
        /// Its attempt ended, or a receipt said later that it failed for the moment, and another is to follow.
        Requeue = "requeue",
        /// Its attempts are over, or a receipt made the queued repeat needless.
        Finish = "finish",
        /// It is not to be sent: opted out, no address, suppressed.
        Skip = "skip",
        /// It is taken back: its step was left, an answer came, its owner cancelled it.
        Cancel = "cancel",
        /// Its validity passed.
        Expire = "expire",
    }
}

impl Work {
    /// The work after `event`, or `None` where the event is refused.
    ///
    /// | work | mark | requeue | finish | skip | cancel | expire |
    /// |---|---|---|---|---|---|---|
    /// | QUEUED | SENDING | | DONE | SKIPPED | CANCELLED | EXPIRED |
    /// | SENDING | | QUEUED | DONE | | | |
    /// | DONE | | QUEUED | | | | |
    /// | SKIPPED, CANCELLED, EXPIRED | | | | | | |
    ///
    /// What is SENDING cannot be taken back: only its outcome, or the sweep of its attempt, moves it. That is why a receipt
    /// never touches the work of a delivery that is SENDING.
    #[must_use]
    pub const fn after(self, event: WorkEvent) -> Option<Self> {
        match (self, event) {
            (Self::Queued, WorkEvent::Mark) => Some(Self::Sending),
            (Self::Queued, WorkEvent::Skip) => Some(Self::Skipped),
            (Self::Queued, WorkEvent::Cancel) => Some(Self::Cancelled),
            (Self::Queued, WorkEvent::Expire) => Some(Self::Expired),
            (Self::Queued | Self::Sending, WorkEvent::Finish) => Some(Self::Done),
            (Self::Sending | Self::Done, WorkEvent::Requeue) => Some(Self::Queued),
            (Self::Queued, WorkEvent::Requeue)
            | (Self::Sending, WorkEvent::Mark | WorkEvent::Skip | WorkEvent::Cancel | WorkEvent::Expire)
            | (
                Self::Done,
                WorkEvent::Mark | WorkEvent::Finish | WorkEvent::Skip | WorkEvent::Cancel | WorkEvent::Expire,
            )
            | (
                Self::Skipped | Self::Cancelled | Self::Expired,
                WorkEvent::Mark
                | WorkEvent::Requeue
                | WorkEvent::Finish
                | WorkEvent::Skip
                | WorkEvent::Cancel
                | WorkEvent::Expire,
            ) => None,
        }
    }

    /// Whether a call of this delivery may still follow: it holds its chunk's row, and its step's timer.
    #[must_use]
    pub const fn is_open(self) -> bool {
        match self {
            Self::Queued | Self::Sending => true,
            Self::Done | Self::Skipped | Self::Cancelled | Self::Expired => false,
        }
    }
}

impl Evidence {
    /// What is known after `new` was learnt as well: the higher of both. This is the whole rule of merging.
    #[must_use]
    pub fn merge(self, new: Self) -> Self {
        self.max(new)
    }

    /// Whether a provider is known to have taken the message, whatever became of it: it must not be sent again.
    #[must_use]
    pub fn forbids_repeat(self) -> bool {
        self >= Self::Sent
    }

    /// The same where a receipt may have said since that the attempts so far failed for the moment (`refuted`): then SENT, which
    /// speaks of those attempts, forbids nothing any more.
    #[must_use]
    pub fn forbids_repeat_after(self, refuted: bool) -> bool {
        self.forbids_repeat() && !(refuted && self == Self::Sent)
    }

    /// Whether an attempt was SENT or is UNKNOWN, so that the step's wait runs.
    #[must_use]
    pub const fn starts_wait(self) -> bool {
        match self {
            Self::None | Self::Failed => false,
            Self::Unknown | Self::Sent | Self::Delivered | Self::Read => true,
        }
    }
}

impl AfterUnknown {
    /// Whether a second call of the same message is harmless, because the far end drops it.
    #[must_use]
    pub const fn repeats_safely(self) -> bool {
        match self {
            Self::Key | Self::Resend => true,
            Self::Nothing | Self::Echo | Self::Ask => false,
        }
    }
}

/// What is shown of a delivery: its evidence if there is any, else its work.
#[must_use]
pub const fn shown(work: Work, evidence: Evidence) -> &'static str {
    match evidence {
        Evidence::None => work.as_str(),
        Evidence::Unknown | Evidence::Sent | Evidence::Failed | Evidence::Delivered | Evidence::Read => {
            evidence.as_str()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_pair_of_work_and_event_follows_the_table() {
        use Work::{Cancelled, Done, Expired, Queued, Sending, Skipped};
        let closed = [None; 6];
        let table = [
            [Some(Sending), None, Some(Done), Some(Skipped), Some(Cancelled), Some(Expired)],
            [None, Some(Queued), Some(Done), None, None, None],
            [None, Some(Queued), None, None, None, None],
            closed,
            closed,
            closed,
        ];
        for (work, row) in Work::ALL.iter().zip(table) {
            for (event, expected) in WorkEvent::ALL.iter().zip(row) {
                assert_eq!(work.after(*event), expected, "{work} on {event}");
            }
        }
        assert_eq!(table.len(), Work::ALL.len());
    }

    #[test]
    fn failed_ranks_above_sent_and_below_delivered() {
        use Evidence::{Delivered, Failed, Read, Sent, Unknown};
        for (known, new, expected) in [
            (Evidence::None, Unknown, Unknown),
            (Unknown, Sent, Sent),
            (Failed, Sent, Failed),
            (Sent, Failed, Failed),
            (Failed, Delivered, Delivered),
            (Read, Delivered, Read),
            (Delivered, Failed, Delivered),
        ] {
            assert_eq!(known.merge(new), expected, "{known} and {new}");
        }
    }

    #[test]
    fn cx11_work_may_go_back_while_evidence_does_not() {
        let work = Work::Queued.after(WorkEvent::Mark).and_then(|w| w.after(WorkEvent::Requeue));
        assert_eq!(work, Some(Work::Queued));
        assert_eq!(Evidence::Unknown.merge(Evidence::None), Evidence::Unknown);
        assert_eq!(shown(Work::Queued, Evidence::Unknown), "unknown");
        assert_eq!(shown(Work::Queued, Evidence::None), "queued");
    }

    fn any_evidence() -> impl Strategy<Value = Evidence> {
        (0..Evidence::ALL.len()).prop_map(|i| Evidence::ALL[i])
    }

    proptest! {
        #[test]
        fn evidence_never_goes_down_and_its_order_does_not_matter(
            mut learnt in prop::collection::vec(any_evidence(), 1..8), by in any::<prop::sample::Index>(),
        ) {
            let mut known = Evidence::None;
            for new in &learnt {
                let next = known.merge(*new);
                prop_assert!(next >= known);
                known = next;
            }
            let by = by.index(learnt.len());
            learnt.rotate_left(by);
            prop_assert_eq!(learnt.into_iter().fold(Evidence::None, Evidence::merge), known);
        }
    }
}
