//! Who takes part in a conversation besides the contact, and who of them counts as an agent.

codes! {
    /// What kind of participant it is.
    pub enum Kind {
        /// The contact, present on one channel.
        Session = "session",
        /// An operator, human or bot, who takes tasks.
        Operator = "operator",
        /// The bot of the conversation, which answers while no agent does.
        Bot = "bot",
        /// The business's script of the conversation.
        Controller = "controller",
        /// An application of the business.
        Application = "application",
    }
}

codes! {
    /// In which role it takes part.
    pub enum Role {
        /// The contact.
        Customer = "CUSTOMER",
        /// The agent who answers.
        Primary = "PRIMARY",
        /// An agent who helps.
        Assist = "ASSIST",
        /// Someone who reads along and counts as no agent.
        Monitor = "MONITOR",
        /// A bot, controller or application: it serves the conversation and counts as no agent.
        Service = "SERVICE",
    }
}

impl Role {
    /// The role of a kind for which none was said.
    #[must_use]
    pub const fn default_of(kind: Kind) -> Self {
        match kind {
            Kind::Session => Self::Customer,
            Kind::Operator => Self::Primary,
            Kind::Bot | Kind::Controller | Kind::Application => Self::Service,
        }
    }

    /// Whether a participant of this kind may have this role.
    #[must_use]
    pub const fn fits(self, kind: Kind) -> bool {
        match kind {
            Kind::Session => matches!(self, Self::Customer),
            Kind::Operator => matches!(self, Self::Primary | Self::Assist | Self::Monitor),
            Kind::Bot | Kind::Controller | Kind::Application => matches!(self, Self::Service | Self::Monitor),
        }
    }
}

/// Whether such a participant counts as an agent: operators who answer or help do, whether human or bot; the
/// conversation's own bot, its controller and whoever only reads along do not.
#[must_use]
pub const fn is_agent(kind: Kind, role: Role) -> bool {
    matches!(kind, Kind::Operator) && matches!(role, Role::Primary | Role::Assist)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_operators_who_answer_or_help_count_as_agents() {
        for kind in Kind::ALL {
            for role in Role::ALL {
                let agent = *kind == Kind::Operator && [Role::Primary, Role::Assist].contains(role);
                assert_eq!(is_agent(*kind, *role), agent, "{kind} {role}");
                assert!(!is_agent(*kind, *role) || role.fits(*kind), "{kind} {role} counts and may not be");
            }
            assert!(Role::default_of(*kind).fits(*kind), "{kind}");
        }
    }
}
