//! The plans of triggers and campaigns, which are kept by name and pinned when a notification begins; those of single sends,
//! which are pinned at once, are read in [`super::plan`].

use std::collections::BTreeMap;

use proto::v1::{self, plan::Way as Given};

use super::{Faults, policy, template};
use crate::services::triggers::Way;

/// The way that a plan says.
pub fn way(plan: v1::Plan, faults: &mut Faults) -> Way {
    let (mut policy_name, mut step) = (None, None);
    match plan.way {
        Some(Given::Policy(name)) => {
            let (slug, number) = faults.versioned_name("policy", "policies", &name);
            policy_name = Some(crate::services::templates::Reference { slug, number }.to_string());
        }
        Some(Given::Step(given)) => step = faults.inside("step", |f| policy::step(given, true, f)),
        None => faults.note("policy", "is missing: name a policy, or give one step"),
    }
    let template =
        (!plan.template.is_empty()).then(|| template::reference("template", &plan.template, faults).to_string());
    let mut step_templates = BTreeMap::new();
    for (i, given) in plan.step_templates.into_iter().enumerate() {
        faults.inside(format!("step_templates[{i}]"), |f| {
            let template = template::reference("template", &given.template, f).to_string();
            match usize::try_from(given.step).ok().filter(|step| *step < 20) {
                Some(step) if step_templates.insert(step, template).is_none() => {}
                Some(_) => f.note("step", "is there twice"),
                None => f.note("step", "must be the index of a step, from 0"),
            }
        });
    }
    Way { policy: policy_name, step, template, step_templates }
}

/// A plan of the contract.
#[must_use]
pub fn message(way: Way) -> v1::Plan {
    let named = |kind: &str, reference: String| format!("{kind}/{reference}");
    let given = match (way.step, way.policy) {
        (Some(step), _) => Some(Given::Step(policy::step_message(step))),
        (None, Some(policy)) => Some(Given::Policy(named("policies", policy))),
        (None, None) => None,
    };
    let step_template = |(step, template)| v1::StepTemplate {
        step: i32::try_from(step).unwrap_or(i32::MAX),
        template: named("templates", template),
    };
    v1::Plan {
        way: given,
        template: way.template.map(|t| named("templates", t)).unwrap_or_default(),
        step_templates: way.step_templates.into_iter().map(step_template).collect(),
    }
}
