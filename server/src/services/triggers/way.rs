//! Which way the notifications of a trigger or a campaign take, as it is stored: by name, so that a name without a version means
//! the newest at the moment in which a notification begins.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use domain::fallback::Step;
use serde::{Deserialize, Serialize};

use crate::{
    services::{
        Context, Result, Violation,
        directory::Snapshot,
        plans::PinnedPlan,
        sending::way::{self, GivenStep, WayOf},
        templates::Reference,
    },
    storage::Conn,
};

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Way {
    /// The policy, as [`Reference`] writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// One step, where there is no policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<Step>,
    /// Whether that step says what counts as success; else it follows from the channel.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub says_success: bool,
    /// The template of steps that name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Templates in place of those of single steps, by index.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub step_templates: BTreeMap<usize, String>,
}

impl From<way::Way> for Way {
    fn from(given: way::Way) -> Self {
        let (template, step_templates) = (given.template, given.step_templates);
        let own = Self { template, step_templates, ..Self::default() };
        match given.of {
            WayOf::Policy { slug, number } => Self { policy: Some(Reference { slug, number }.to_string()), ..own },
            WayOf::Step(given) => Self { step: Some(given.step), says_success: given.says_success, ..own },
        }
    }
}

impl Way {
    /// Pins the way as it stands now.
    ///
    /// # Errors
    /// What storage says; what is wrong with the way comes back as violations, all of them, with paths inside the plan.
    pub async fn pin(
        &self,
        context: &Context,
        conn: &mut Conn,
        now: DateTime<Utc>,
    ) -> Result<std::result::Result<Arc<PinnedPlan>, Vec<Violation>>> {
        let of = match (&self.step, &self.policy) {
            (Some(step), _) => WayOf::Step(Box::new(GivenStep { step: step.clone(), says_success: self.says_success })),
            (None, Some(policy)) => {
                let Reference { slug, number } = Reference::parse(policy);
                WayOf::Policy { slug, number }
            }
            (None, None) => {
                return Ok(Err(vec![Violation::new("policy", "is missing: name a policy, or give one step")]));
            }
        };
        let (template, step_templates) = (self.template.clone(), self.step_templates.clone());
        way::pin(context, conn, &way::Way { of, template, step_templates }, now).await
    }
}

/// The variables without which some step of a plan cannot be said.
#[must_use]
pub fn required(plan: &PinnedPlan, snapshot: &Snapshot) -> BTreeSet<String> {
    way::missing_variables(plan, snapshot, &serde_json::Map::new()).into_iter().collect()
}
