//! The conversation's facts, the state that they make, and what each event does to them.

codes! {
    /// How far a conversation is in its life.
    pub enum Phase {
        /// Messages are taken and sent.
        Open = "open",
        /// It is being put away: nobody joins, nothing is added.
        Closing = "closing",
        /// It is over for good.
        Closed = "closed",
    }
}

codes! {
    /// Where a conversation stands. It is derived from [`Facts`] and never set.
    pub enum State {
        /// The contact is there, and no agent ever was.
        Created = "CREATED",
        /// The contact and at least one agent are there.
        Active = "ACTIVE",
        /// The contact is there, and all agents left.
        Inactive = "INACTIVE",
        /// The contact left, and an agent concludes.
        WrapUp = "WRAP_UP",
        /// The contact left: no channel session is open.
        CustomerLeft = "CUSTOMER_LEFT",
        /// It is being closed.
        Closing = "CLOSING",
        /// It is closed for good.
        Closed = "CLOSED",
    }
}

/// What is stored of a conversation, as far as its state depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Facts {
    /// How far it is in its life.
    pub phase: Phase,
    /// Open channel sessions.
    pub sessions: u32,
    /// Agents who take part.
    pub agents: u32,
    /// Agents who conclude their work on it.
    pub wrapping_up: u32,
    /// Whether an agent ever took part.
    pub ever_agent: bool,
    /// What is still owed to the contact: flow runs, tickets, queued tasks, notifications that wait.
    pub obligations: u32,
}

impl Facts {
    /// A conversation in which nobody is yet.
    pub const EMPTY: Self =
        Self { phase: Phase::Open, sessions: 0, agents: 0, wrapping_up: 0, ever_agent: false, obligations: 0 };
}

/// The state that the facts make.
#[must_use]
pub const fn state(facts: &Facts) -> State {
    match facts.phase {
        Phase::Closed => State::Closed,
        Phase::Closing => State::Closing,
        Phase::Open => match (facts.sessions > 0, facts.agents > 0) {
            (true, true) => State::Active,
            (true, false) if facts.ever_agent => State::Inactive,
            (true, false) => State::Created,
            (false, _) if facts.wrapping_up > 0 => State::WrapUp,
            (false, _) => State::CustomerLeft,
        },
    }
}

/// What can happen to a conversation.
///
/// | state | session started | session ended | agent joined | agent left | wrap-up ended | all gone | close requested | force close | housekeeping done |
/// |---|---|---|---|---|---|---|---|---|---|
/// | CREATED | CREATED | CREATED; last: CUSTOMER_LEFT | ACTIVE | | | | CLOSING | CLOSING | |
/// | ACTIVE | ACTIVE | ACTIVE; last: WRAP_UP if an agent wraps up, else CUSTOMER_LEFT | ACTIVE | ACTIVE; last: INACTIVE | ACTIVE | | WRAP_UP if an agent wraps up, else CLOSING | CLOSING | |
/// | INACTIVE | INACTIVE | INACTIVE; last: WRAP_UP if an agent wraps up, else CUSTOMER_LEFT | ACTIVE | | INACTIVE | | WRAP_UP if an agent wraps up, else CLOSING | CLOSING | |
/// | CUSTOMER_LEFT | ACTIVE with agents, INACTIVE after some, else CREATED | | | CUSTOMER_LEFT | | CLOSING | CLOSING | CLOSING | |
/// | WRAP_UP | ACTIVE if they resume, else INACTIVE | | | | WRAP_UP; last: CUSTOMER_LEFT | | WRAP_UP | CLOSING | |
/// | CLOSING | | | | | | | | | CLOSED |
/// | CLOSED | | | | | | | | | |
///
/// Blank: not possible. A message for a conversation that is CLOSING or CLOSED opens another one. *All gone* and *close
/// requested* need that nothing is owed; *force close* cancels what is. An obligation that begins or ends changes no state by
/// itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A channel session began; with `resume`, agents who were concluding go on.
    SessionStarted {
        /// Whether agents who wrap up are active again.
        resume: bool,
    },
    /// A channel session ended; with `wrap_up`, agents conclude their work when it was the last.
    SessionEnded {
        /// Whether agents have a time to conclude.
        wrap_up: bool,
    },
    /// An agent joined.
    AgentJoined,
    /// An agent left.
    AgentLeft {
        /// Whether this agent has a time to conclude.
        wrap_up: bool,
    },
    /// An agent has concluded.
    WrapUpEnded,
    /// Something is owed to the contact from now on.
    ObligationBegan,
    /// It is owed no longer.
    ObligationEnded,
    /// Contact and agents are gone, and the time in which the contact may come back is over.
    AllGone,
    /// A flow, a ticket, the policy or a person asks to close it.
    CloseRequested {
        /// Whether agents have a time to conclude.
        wrap_up: bool,
    },
    /// It is to be closed whatever is owed.
    ForceClose,
    /// Everything is put away.
    HousekeepingDone,
}

impl Facts {
    /// The facts after an event; none where it is not possible. The table stands at [`Event`].
    #[must_use]
    pub const fn after(self, event: Event) -> Option<Self> {
        match (state(&self), event) {
            (State::Closing, Event::HousekeepingDone) => Some(Self { phase: Phase::Closed, ..self }),
            (State::Closing | State::Closed, _) | (_, Event::HousekeepingDone) => None,
            (_, Event::SessionStarted { resume }) => Some(self.session_started(resume)),
            (_, Event::SessionEnded { wrap_up }) => self.session_ended(wrap_up),
            (State::CustomerLeft | State::WrapUp, Event::AgentJoined) | (State::WrapUp, Event::AgentLeft { .. }) => {
                None
            }
            (_, Event::AgentJoined) => Some(Self { agents: self.agents + 1, ever_agent: true, ..self }),
            (_, Event::AgentLeft { wrap_up }) => self.agent_left(wrap_up),
            (_, Event::WrapUpEnded) if self.wrapping_up > 0 => Some(Self { wrapping_up: self.wrapping_up - 1, ..self }),
            (_, Event::ObligationBegan) => Some(Self { obligations: self.obligations + 1, ..self }),
            (_, Event::ObligationEnded) if self.obligations > 0 => {
                Some(Self { obligations: self.obligations - 1, ..self })
            }
            (State::CustomerLeft, Event::AllGone) if self.agents == 0 && self.obligations == 0 => Some(self.closing()),
            (_, Event::CloseRequested { wrap_up }) if self.obligations == 0 => Some(self.close_requested(wrap_up)),
            (_, Event::ForceClose) => Some(self.closing()),
            (_, Event::WrapUpEnded | Event::ObligationEnded | Event::AllGone | Event::CloseRequested { .. }) => None,
        }
    }

    const fn session_started(self, resume: bool) -> Self {
        let back = if resume && self.sessions == 0 { self.wrapping_up } else { 0 };
        Self { sessions: self.sessions + 1, agents: self.agents + back, wrapping_up: self.wrapping_up - back, ..self }
    }

    const fn session_ended(self, wrap_up: bool) -> Option<Self> {
        match self.sessions {
            0 => None,
            1 if wrap_up => Some(Self { sessions: 0, ..self.agents_conclude() }),
            n => Some(Self { sessions: n - 1, ..self }),
        }
    }

    const fn agent_left(self, wrap_up: bool) -> Option<Self> {
        if self.agents == 0 {
            return None;
        }
        let wrapping_up = self.wrapping_up + if wrap_up && self.sessions > 0 { 1 } else { 0 };
        Some(Self { agents: self.agents - 1, wrapping_up, ..self })
    }

    const fn agents_conclude(self) -> Self {
        Self { agents: 0, wrapping_up: self.wrapping_up + self.agents, ..self }
    }

    const fn close_requested(self, wrap_up: bool) -> Self {
        let concluding = Self { sessions: 0, ..if wrap_up { self.agents_conclude() } else { self } };
        if concluding.wrapping_up > 0 { concluding } else { self.closing() }
    }

    const fn closing(self) -> Self {
        Self { phase: Phase::Closing, sessions: 0, agents: 0, wrapping_up: 0, obligations: 0, ..self }
    }
}
