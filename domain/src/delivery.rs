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
        /// The calls are over.
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
