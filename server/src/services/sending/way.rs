//! From the way that a request names to a pinned plan: what it refers to is found, and everything that is wrong is said at
//! once. Sends, campaigns and triggers name their ways alike.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use domain::{
    channel::ChannelType,
    fallback::{Policy, PolicyWorld, Step, Success, Target, WorldChannel},
};
use serde::{Deserialize, Serialize};

use crate::{
    services::{
        Context, Result, Violation,
        directory::{Channel, Snapshot},
        parameters,
        plans::{PinnedPlan, Request},
        policies::Definition,
        templates::{CONTACT, Reference},
    },
    storage::{self, Conn, sending},
};

/// The reason of a violation whose field names something that does not exist.
pub const REFERENCE_NOT_FOUND: &str = "REFERENCE_NOT_FOUND";

/// Which way to take, by name, so that a name without a version means the newest at the moment in which a notification begins.
/// Sends carry it, triggers and campaigns store it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The template for steps that name none, as [`Reference`] writes it.
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
    /// As [`pin`].
    pub async fn pin(&self, context: &Context, conn: &mut Conn, now: DateTime<Utc>) -> Result<Pinned> {
        pin(context, conn, self, now).await
    }

    /// The one step of a way without a policy. Where it does not say what counts as success, it asks for what its channel's type
    /// can prove: [`Success::standard`].
    fn settled(&self, snapshot: &Snapshot) -> Option<Step> {
        let mut step = self.step.clone()?;
        if let (false, Some(channel_type)) = (self.says_success, channel_type_of(&step.target, snapshot)) {
            step.success = Success::standard(channel_type);
        }
        Some(step)
    }
}

/// A pinned plan, or everything that is wrong with the way to it, with paths inside the plan.
pub type Pinned = std::result::Result<Arc<PinnedPlan>, Vec<Violation>>;

/// Finds what a way refers to and pins it, in the caller's transaction.
///
/// # Errors
/// What storage says; what is wrong with the way itself is no error, but comes back.
pub async fn pin(context: &Context, conn: &mut Conn, way: &Way, now: DateTime<Utc>) -> Result<Pinned> {
    let snapshot = context.directory.snapshot(&context.side).await?;
    let mut found = Vec::new();
    let request = match (way.settled(&snapshot), &way.policy) {
        (Some(step), None) => Some(single(conn, way, step, &snapshot, &mut found).await?),
        (None, Some(policy)) => {
            let Reference { slug, number } = Reference::parse(policy);
            stored(conn, way, &slug, number, &mut found).await?
        }
        (None, None) | (Some(_), Some(_)) => {
            found.push(Violation::new("policy", "must be set, or a step of its own in its place, and not both"));
            None
        }
    };
    let Some(request) = request else { return Ok(Err(found)) };
    check_templates(conn, way, &request, &mut found).await?;
    if !found.is_empty() {
        return Ok(Err(found));
    }
    let id = context.plans.pin(conn, request, now).await?;
    let plan = context.plans.load(conn, id).await?;
    let mut missing = missing_contents(way, &plan, &snapshot);
    missing.extend(parameters::missing_of_plan(&plan, &snapshot));
    Ok(if missing.is_empty() { Ok(plan) } else { Err(missing) })
}

/// The variables without which some step of a plan cannot be said.
#[must_use]
pub fn required(plan: &PinnedPlan, snapshot: &Snapshot) -> BTreeSet<String> {
    missing_variables(plan, snapshot, &serde_json::Map::new()).into_iter().collect()
}

/// The variables that some step of a plan needs and `given` does not have.
#[must_use]
pub fn missing_variables(
    plan: &PinnedPlan,
    snapshot: &Snapshot,
    given: &serde_json::Map<String, serde_json::Value>,
) -> Vec<String> {
    let mut missing = Vec::new();
    for step in &plan.policy.steps {
        let Some(channel_type) = channel_type_of(&step.target, snapshot) else { continue };
        let facts = plan.template_facts.iter();
        let of_step = facts.filter(|f| Some(&f.slug) == step.template.as_ref() && f.channel_type == channel_type);
        let needed = of_step.flat_map(|f| &f.contents).flat_map(|c| &c.variables);
        missing.extend(needed.filter(|name| *name != CONTACT && given.get(*name).is_none_or(|v| v.is_null())).cloned());
    }
    missing.sort_unstable();
    missing.dedup();
    missing
}

/// The medium that a step leads to; none for call lists and for channels that do not exist (any more).
#[must_use]
pub fn channel_type_of(target: &Target, snapshot: &Snapshot) -> Option<ChannelType> {
    match target {
        Target::Channel(slug) => snapshot.by_slug(slug).map(Channel::channel_type),
        Target::ChannelType(channel_type) => Some(*channel_type),
        Target::CallList(_) => None,
    }
}

/// A violation of a field that names something that does not exist.
pub fn not_found(field: &str, name: impl Into<String>) -> Violation {
    let name = name.into();
    Violation::new(field, format!("names {name}, which does not exist")).because(REFERENCE_NOT_FOUND).with("name", name)
}

async fn stored(
    conn: &mut Conn,
    way: &Way,
    slug: &str,
    number: i32,
    found: &mut Vec<Violation>,
) -> Result<Option<Request>> {
    let Some(row) = storage::policies::find(conn, slug, number).await? else {
        let version = if number == 0 { String::new() } else { format!("/versions/{number}") };
        found.push(not_found("policy", format!("policies/{slug}{version}")));
        return Ok(None);
    };
    let definition: Definition = serde_json::from_value(row.definition).map_err(storage::Error::from)?;
    Ok(Some(request(way, definition, Some(row.version_id))))
}

/// A step of its own is checked as the step of a policy would be when it is written.
async fn single(
    conn: &mut Conn,
    way: &Way,
    step: Step,
    snapshot: &Snapshot,
    found: &mut Vec<Violation>,
) -> Result<Request> {
    let call_lists = match &step.target {
        Target::CallList(slug) if sending::call_list_exists(conn, slug).await? => vec![slug.clone()],
        Target::CallList(_) | Target::Channel(_) | Target::ChannelType(_) => Vec::new(),
    };
    let channels = snapshot.channels.iter();
    let channel = |c: &Channel| WorldChannel { slug: c.row.slug.clone(), channel_type: c.channel_type() };
    let world = PolicyWorld { channels: channels.map(channel).collect(), call_lists, templates: Vec::new() };
    let policy = Policy { steps: vec![step], at_least_once: false, purpose: domain::consent::SERVICE.to_owned() };
    // Templates are looked up with those of the plan, below.
    let mut bare = policy.clone();
    bare.steps.iter_mut().for_each(|step| step.template = None);
    for violation in bare.validate(&world).err().unwrap_or_default() {
        found.push(of_step(violation.into(), &policy.steps));
    }
    Ok(request(way, policy.into(), None))
}

/// The rulebook says `steps[0].channel` of what the request calls `step.channel`.
fn of_step(violation: Violation, steps: &[Step]) -> Violation {
    let field = violation.field.replacen("steps[0]", "step", 1);
    let name = match (steps.first().map(|s| &s.target), field.as_str()) {
        (Some(Target::Channel(slug)), "step.channel") => format!("channels/{slug}"),
        (Some(Target::CallList(slug)), "step.call_list") => format!("callLists/{slug}"),
        (_, "step.success") => {
            return Violation { field, ..violation }.because("SUCCESS_NOT_PROVABLE").with("step", "0");
        }
        _ => return Violation { field, ..violation },
    };
    not_found(&field, name)
}

fn request(way: &Way, definition: Definition, policy_version_id: Option<i64>) -> Request {
    Request {
        template: way.template.clone(),
        step_templates: way.step_templates.clone(),
        ..Request::of(definition, policy_version_id)
    }
}

/// Every step that sends has a template, and every template exists.
async fn check_templates(conn: &mut Conn, way: &Way, request: &Request, found: &mut Vec<Violation>) -> Result<()> {
    let steps = &request.definition.policy.steps;
    for index in way.step_templates.keys().filter(|index| **index >= steps.len()) {
        let text = format!("names step {index}, and the policy has {} steps", steps.len());
        found.push(Violation::new("step_templates", text));
    }
    let mut asked = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        if matches!(step.target, Target::CallList(_)) {
            continue;
        }
        match template_of(way, index, step) {
            Some((field, name)) => asked.push((field, Reference::parse(name))),
            None => {
                let text = format!("is missing: step {index} names no template of its own");
                found
                    .push(Violation::new("template", text).because("TEMPLATE_MISSING").with("step", index.to_string()));
            }
        }
    }
    let slugs: Vec<&str> = asked.iter().map(|(_, r)| r.slug.as_str()).collect();
    let numbers: Vec<i32> = asked.iter().map(|(_, r)| r.number).collect();
    let known = storage::templates::resolve(conn, &slugs, &numbers).await?;
    let mut missing: Vec<_> = asked
        .iter()
        .filter(|(_, r)| !known.iter().any(|(slug, number, _)| *slug == r.slug && *number == r.number))
        .map(|(field, r)| not_found(field, format!("templates/{r}")))
        .collect();
    missing.dedup();
    found.append(&mut missing);
    Ok(())
}

/// The template of a step, and the field that names it: the send's for this step, then the step's own, then the send's.
fn template_of<'a>(way: &'a Way, index: usize, step: &'a Step) -> Option<(&'static str, &'a str)> {
    let own_field = if way.step.is_some() { "step.template" } else { "policy" };
    let replaced = way.step_templates.get(&index).map(|t| ("step_templates", t.as_str()));
    let own = step.template.as_deref().map(|t| (own_field, t));
    replaced.or(own).or_else(|| way.template.as_deref().map(|t| ("template", t)))
}

fn missing_contents(way: &Way, plan: &PinnedPlan, snapshot: &Snapshot) -> Vec<Violation> {
    let mut found = Vec::new();
    for (index, step) in plan.policy.steps.iter().enumerate() {
        let (Some(channel_type), Some(name)) = (channel_type_of(&step.target, snapshot), &step.template) else {
            continue;
        };
        let has = plan.template_facts.iter().any(|f| f.slug == *name && f.channel_type == channel_type);
        if !has {
            let field = template_of(way, index, step).map_or("template", |(field, _)| field);
            let text = format!("templates/{name} has no content for {channel_type}, which step {index} needs");
            let violation = Violation::new(field, text).because("CONTENT_MISSING");
            found.push(
                violation.with("template", format!("templates/{name}")).with("channel_type", channel_type.as_str()),
            );
        }
    }
    found
}
