//! How conversations of a channel reach agents.

codes! {
    /// Whether an agent is chosen, or chooses.
    pub enum Mode {
        /// An agent is chosen and offered the conversation.
        Push = "push",
        /// Agents choose from a list.
        Pull = "pull",
        /// An agent is chosen, and others may join from a list.
        Hybrid = "hybrid",
    }
}
