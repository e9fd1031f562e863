//! Which way a trigger's notifications take, by name: a policy or one step, and the templates in it. A name without a version
//! means the newest at the moment in which a notification begins.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use domain::{
    channel::ChannelType,
    fallback::{Policy, Step, Target},
};
use serde::{Deserialize, Serialize};

use crate::{
    services::{
        Context, Error, Result, Violation,
        plans::{PinnedPlan, Request},
        policies::Definition,
        templates::{CONTACT, Reference},
    },
    storage::{self, Conn},
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
    /// The template of steps that name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Templates in place of those of single steps, by index.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub step_templates: BTreeMap<usize, String>,
}

impl Way {
    /// Pins the way as it stands now.
    ///
    /// # Errors
    /// [`Error::ReferenceNotFound`], [`Error::Invalid`] when no way is said.
    pub async fn pin(&self, context: &Context, conn: &mut Conn, purpose: &str, now: DateTime<Utc>) -> Result<i64> {
        let (definition, policy_version_id) = self.definition(conn, purpose).await?;
        let request = Request {
            definition,
            policy_version_id,
            template: self.template.clone(),
            step_templates: self.step_templates.clone(),
        };
        context.plans.pin(conn, request, now).await
    }

    async fn definition(&self, conn: &mut Conn, purpose: &str) -> Result<(Definition, Option<i64>)> {
        if let Some(step) = &self.step {
            let policy = Policy { steps: vec![step.clone()], at_least_once: false, purpose: purpose.to_owned() };
            return Ok((policy.into(), None));
        }
        let Some(policy) = &self.policy else {
            return Err(Error::invalid("plan", "must name a policy or have a step of its own"));
        };
        let reference = Reference::parse(policy);
        let found = storage::policies::find(conn, &reference.slug, reference.number).await?;
        let missing =
            || Error::ReferenceNotFound { field: "plan.policy".to_owned(), name: format!("policies/{policy}") };
        let found = found.ok_or_else(missing)?;
        Ok((serde_json::from_value(found.definition).map_err(storage::Error::from)?, Some(found.version_id)))
    }
}

/// What the steps of a plan lack: a template, or content for what they use. And the variables without which none can be said.
pub async fn lacks(context: &Context, plan: &Arc<PinnedPlan>) -> Result<(Vec<Violation>, BTreeSet<String>)> {
    let snapshot = context.directory.snapshot(&context.side).await?;
    let (mut found, mut required) = (Vec::new(), BTreeSet::new());
    for (index, (step, template)) in plan.policy.steps.iter().zip(&plan.templates).enumerate() {
        let channel_type = match &step.target {
            Target::CallList(_) => continue,
            Target::ChannelType(channel_type) => Some(*channel_type),
            Target::Channel(slug) => snapshot.by_slug(slug).map(|c| c.channel_type()),
        };
        let (Some(template), Some(channel_type)) = (template, channel_type) else {
            found.extend(without(index, step, template.is_none()));
            continue;
        };
        if !template.channel_types().contains(&channel_type) {
            found.push(no_content(index, step, channel_type));
        }
        required.extend(template.required_variables(channel_type).into_iter().map(str::to_owned));
    }
    required.remove(CONTACT);
    Ok((found, required))
}

fn without(index: usize, step: &Step, no_template: bool) -> Option<Violation> {
    if no_template {
        let words = format!("is missing, and step {index} of the policy names no template either");
        return Some(
            Violation::new("plan.template", words).because("TEMPLATE_MISSING").with("step", index.to_string()),
        );
    }
    match &step.target {
        Target::Channel(slug) => {
            let words = format!("step {index} uses channels/{slug}, which does not exist");
            Some(Violation::new("plan", words).because("REFERENCE_NOT_FOUND").with("name", format!("channels/{slug}")))
        }
        Target::ChannelType(_) | Target::CallList(_) => None,
    }
}

fn no_content(index: usize, step: &Step, channel_type: ChannelType) -> Violation {
    let template = format!("templates/{}", step.template.as_deref().unwrap_or_default());
    let words = format!("{template} of step {index} has no content for {channel_type}");
    let found = Violation::new("plan", words).because("CONTENT_MISSING");
    found.with("template", template).with("channel_type", channel_type.as_str())
}
