//! What a controller can be told of a conversation. The fact itself is an event; its intent is the name under which a script
//! waits for it.

codes! {
    /// The name of an occasion at which a controller may act.
    pub enum Intent {
        /// A channel session began.
        SessionStarted = "SESSION_STARTED",
        /// The contact's first message in the conversation came in.
        FirstMessage = "FIRST_MESSAGE",
        /// A later message of the contact came in.
        Message = "MESSAGE",
        /// The contact is about to be taken as gone: the warning is due.
        InactivityWarning = "INACTIVITY_WARNING",
        /// A channel session ended.
        SessionEnded = "SESSION_ENDED",
        /// An agent joined.
        AgentJoined = "AGENT_JOINED",
        /// An agent left, and others are still in.
        AgentLeft = "AGENT_LEFT",
        /// The last agent left while the contact is there.
        LastAgentLeft = "LAST_AGENT_LEFT",
        /// The conversation was put on hold.
        Held = "HELD",
        /// The conversation goes on after a hold.
        Resumed = "RESUMED",
        /// The conversation is being closed.
        ConversationClosing = "CONVERSATION_CLOSING",
        /// The conversation is closed: the last that a controller hears of it.
        ConversationClosed = "CONVERSATION_CLOSED",
    }
}
