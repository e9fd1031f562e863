//! Policies: written in versions that never change, checked against what exists, and played through without sending
//! ([`simulate`]).

pub mod simulate;

use std::collections::BTreeSet;

use chrono::TimeDelta;
use domain::{
    fallback::{Policy, PolicyWorld, Success, Target},
    quiet_hours::Window,
};
use serde::{Deserialize, Serialize};

use super::{Context, Error, Result, Violation, error::all_right, etag, templates::Reference, work::Work};
pub use crate::storage::policies::PolicyRow;
use crate::storage::{self, Conn, policies};

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
    /// The steps that did not say what counts as success, until [`Definition::settle`] has said it for them.
    #[serde(skip)]
    pub unsaid_success: BTreeSet<usize>,
}

/// How long a notification is valid where its policy does not say.
pub const DEFAULT_VALIDITY: TimeDelta = TimeDelta::days(30);

impl From<Policy> for Definition {
    fn from(policy: Policy) -> Self {
        Self { policy, quiet_hours: None, valid_for_ms: None, unsaid_success: BTreeSet::new() }
    }
}

impl Definition {
    /// Says for the steps that did not say it what counts as success: [`Success::standard`] of their channel's type. Which type a named channel has only the world knows.
    pub fn settle(&mut self, world: &PolicyWorld) {
        for index in std::mem::take(&mut self.unsaid_success) {
            let Some(step) = self.policy.steps.get_mut(index) else { continue };
            let channel_type = match &step.target {
                Target::ChannelType(channel_type) => Some(*channel_type),
                Target::Channel(slug) => world.channels.iter().find(|c| c.slug == *slug).map(|c| c.channel_type),
                Target::CallList(_) => None,
            };
            step.success = channel_type.map_or(Success::Delivered, Success::standard);
        }
    }

    /// How long a notification is valid after its beginning.
    #[must_use]
    pub fn valid_for(&self) -> TimeDelta {
        self.valid_for_ms.and_then(TimeDelta::try_milliseconds).unwrap_or(DEFAULT_VALIDITY)
    }
}

/// A policy in one of its versions.
#[derive(Debug, Clone)]
pub struct Stored {
    /// What stands of it.
    pub row: PolicyRow,
    /// What the version says.
    pub definition: Definition,
}

/// A policy to be created.
#[derive(Debug, Clone)]
pub struct New {
    /// Its slug.
    pub slug: String,
    /// What people call it.
    pub display_name: String,
    /// What it is for.
    pub description: String,
    /// Its first version.
    pub definition: Definition,
}

/// What is to be written of a policy; what is `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// What people call it.
    pub display_name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// The steps, and which of them did not say what counts as success.
    pub steps: Option<(Vec<domain::fallback::Step>, BTreeSet<usize>)>,
    /// Quiet hours of its own; `Some(None)` takes them away.
    pub quiet_hours: Option<Option<Window>>,
    /// How long a notification is valid, in milliseconds; `Some(None)` takes it away.
    pub valid_for_ms: Option<Option<i64>>,
    /// Whether a call whose end is not known is repeated.
    pub at_least_once: Option<bool>,
}

/// The name of a policy in the contract.
#[must_use]
pub fn name_of(slug: &str) -> String {
    format!("policies/{slug}")
}

/// Creates a policy with its version 1.
///
/// # Errors
/// [`Error::Invalid`], [`Error::AlreadyExists`].
pub async fn create(work: &mut Work, mut new: New) -> Result<Stored> {
    all_right(violations(work.conn(), &mut new.definition, "policy").await?)?;
    if policies::find(work.conn(), &new.slug, 0).await?.is_some() {
        return Err(Error::AlreadyExists(name_of(&new.slug)));
    }
    let now = work.now();
    let id = policies::insert(work.conn(), &new.slug, &new.display_name, &new.description, now).await?;
    let document = serde_json::to_value(&new.definition).map_err(storage::Error::from)?;
    policies::add_version(work.conn(), id, &document, now).await?;
    find(work.conn(), &new.slug, 0).await
}

/// A policy in a version, 0 for its newest.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get(context: &Context, slug: &str, number: i32) -> Result<Stored> {
    find(&mut *context.lists.conn().await?, slug, number).await
}

/// A page of policies by slug, each in its newest version.
///
/// # Errors
/// What storage says.
pub async fn list(context: &Context, after: &str, limit: i64) -> Result<Vec<Stored>> {
    let rows = policies::list(&mut *context.lists.conn().await?, after, limit).await?;
    rows.into_iter().map(read).collect()
}

/// A page of the versions of a policy, the newest first.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn list_versions(context: &Context, slug: &str, below: i32, limit: i64) -> Result<Vec<Stored>> {
    let conn = &mut *context.lists.conn().await?;
    find(conn, slug, 0).await?;
    policies::list_versions(conn, slug, below, limit).await?.into_iter().map(read).collect()
}

/// Writes a new version of a policy, unless nothing changes.
///
/// # Errors
/// [`Error::Invalid`], [`Error::NotFound`], [`Error::EtagMismatch`].
pub async fn update(work: &mut Work, slug: &str, change: Change, etag: &str) -> Result<Stored> {
    let before = locked(work.conn(), slug, etag).await?;
    let (row, now) = (&before.row, work.now());
    let mut definition = change.over(&before.definition);
    let found = violations(work.conn(), &mut definition, "policy").await?;
    if definition != before.definition {
        all_right(found)?;
        let document = serde_json::to_value(&definition).map_err(storage::Error::from)?;
        policies::add_version(work.conn(), row.id, &document, now).await?;
    }
    let display_name = change.display_name.as_ref().unwrap_or(&row.display_name);
    let description = change.description.as_ref().unwrap_or(&row.description);
    if (display_name, description) != (&row.display_name, &row.description) {
        policies::update(work.conn(), row.id, display_name, description, now).await?;
    }
    find(work.conn(), slug, 0).await
}

/// Deletes a policy that nothing needs; what is pinned to its versions goes on.
///
/// # Errors
/// [`Error::NotFound`], [`Error::EtagMismatch`], [`Error::InUse`].
pub async fn delete(work: &mut Work, slug: &str, etag: &str) -> Result<()> {
    let row = locked(work.conn(), slug, etag).await?.row;
    if let Some(used_by) = policies::used_by(work.conn(), row.id, slug).await? {
        return Err(Error::InUse { name: name_of(slug), used_by });
    }
    let now = work.now();
    Ok(policies::delete(work.conn(), row.id, now).await?)
}

/// Everything that is wrong with a policy that is used with a template of the send's own.
///
/// # Errors
/// What storage says.
pub async fn validate(
    context: &Context,
    definition: &mut Definition,
    template: Option<String>,
) -> Result<Vec<Violation>> {
    for step in &mut definition.policy.steps {
        if step.template.is_none() && !matches!(step.target, Target::CallList(_)) {
            step.template.clone_from(&template);
        }
    }
    violations(&mut *context.lists.conn().await?, definition, "").await
}

/// Everything that is wrong with a policy in the world as it stands, beneath `path`; what it left unsaid is settled.
async fn violations(conn: &mut Conn, definition: &mut Definition, path: &str) -> Result<Vec<Violation>> {
    let steps = definition.policy.steps.iter();
    let named: BTreeSet<Reference> = steps.filter_map(|s| s.template.as_deref()).map(Reference::parse).collect();
    let versions: Vec<(&str, i32)> =
        named.iter().filter(|r| r.number > 0).map(|r| (r.slug.as_str(), r.number)).collect();
    let world = policies::world(conn, &versions).await?;
    definition.settle(&world);
    let found = definition.policy.validate(&world).err().unwrap_or_default();
    Ok(found.into_iter().map(|v| Violation::from(v).because_of_step(definition).inside(path)).collect())
}

impl Violation {
    /// The reason that the contract documents for a field of a step.
    fn because_of_step(self, definition: &Definition) -> Self {
        let Some((step, field)) = self.field.strip_prefix("steps[").and_then(|rest| rest.split_once("].")) else {
            return self;
        };
        let (step, field) = (step.to_owned(), field.to_owned());
        let nothing = self.description.starts_with("there is no ");
        let of_step = step.parse::<usize>().ok().and_then(|i| definition.policy.steps.get(i));
        match (field.as_str(), of_step) {
            ("success", Some(of_step)) => {
                self.because("SUCCESS_NOT_PROVABLE").with("step", step).with("success", of_step.success.as_str())
            }
            ("template", Some(_)) if !nothing => self.because("CONTENT_MISSING").with("step", step),
            (_, _) if nothing => {
                let field = self.field.clone();
                self.because("REFERENCE_NOT_FOUND").with("field", field)
            }
            _ => self,
        }
    }
}

impl Change {
    /// The definition as it will be.
    fn over(&self, before: &Definition) -> Definition {
        let mut after = before.clone();
        if let Some((steps, unsaid_success)) = &self.steps {
            after.policy.steps.clone_from(steps);
            after.unsaid_success.clone_from(unsaid_success);
        }
        after.policy.at_least_once = self.at_least_once.unwrap_or(before.policy.at_least_once);
        after.quiet_hours = self.quiet_hours.unwrap_or(before.quiet_hours);
        after.valid_for_ms = self.valid_for_ms.unwrap_or(before.valid_for_ms);
        after
    }
}

async fn find(conn: &mut Conn, slug: &str, number: i32) -> Result<Stored> {
    let row = policies::find(conn, slug, number).await?;
    let name = || format!("policies/{}", Reference { slug: slug.to_owned(), number });
    read(row.ok_or_else(|| Error::NotFound(name()))?)
}

fn read(row: PolicyRow) -> Result<Stored> {
    let definition = serde_json::from_value(row.definition.clone()).map_err(storage::Error::from)?;
    Ok(Stored { row, definition })
}

/// Locks first and reads in the next statement, which sees what the lock waited for.
async fn locked(conn: &mut Conn, slug: &str, etag: &str) -> Result<Stored> {
    policies::lock(conn, slug).await?;
    let stored = find(conn, slug, 0).await?;
    etag::check(&name_of(slug), etag, stored.row.version)?;
    Ok(stored)
}
