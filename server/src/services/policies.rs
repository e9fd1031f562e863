//! Policies: written in versions, checked against what exists, and played through without sending.

use chrono::TimeDelta;
use domain::{fallback::Policy, quiet_hours::Window};
use serde::{Deserialize, Serialize};

/// What one version of a policy says, as it is stored: the rules of falling back, and what frames them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// The steps and what holds for all of them.
    pub policy: Policy,
    /// When people are not to be disturbed; none means the hours of the deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet_hours: Option<Window>,
    /// How long a notification is valid, in milliseconds; none means 30 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_for_ms: Option<i64>,
}

/// How long a notification is valid where its policy does not say.
pub const DEFAULT_VALIDITY: TimeDelta = TimeDelta::days(30);

impl From<Policy> for Definition {
    fn from(policy: Policy) -> Self {
        Self { policy, quiet_hours: None, valid_for_ms: None }
    }
}

impl Definition {
    /// How long a notification is valid after its beginning.
    #[must_use]
    pub fn valid_for(&self) -> TimeDelta {
        self.valid_for_ms.and_then(TimeDelta::try_milliseconds).unwrap_or(DEFAULT_VALIDITY)
    }
}
