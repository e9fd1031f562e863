//! Pinned plans: what runs keeps to the policy and the template versions that stood when it began.
//!
//! A plan never changes, so that one that was loaded is kept by its id for as long as the process lives. Two sends with the
//! same policy version and the same template versions share one plan.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    channel::ChannelType,
    fallback::{ContentFact, Policy, Target, TemplateFact},
    locale::Locale,
    quiet_hours::Window,
    template::{Body, Compiled},
};
use sha2::{Digest, Sha256};

use super::{
    Error, Result,
    policies::Definition,
    templates::{self, Reference},
};
use crate::storage::{
    self, Conn,
    plans::{NewPlan, PlanRow},
    templates::VersionRow,
};

/// The most plans that are kept; a deployment with more loads some again.
const KEPT: usize = 2_000;

/// What is to be pinned.
#[derive(Debug, Clone)]
pub struct Request {
    /// The policy.
    pub definition: Definition,
    /// The stored version that it is; none for a policy that stands in the send itself.
    pub policy_version_id: Option<i64>,
    /// The template for steps that name none, as [`Reference`] writes it.
    pub template: Option<String>,
    /// Templates in place of those of single steps, by index.
    pub step_templates: BTreeMap<usize, String>,
}

impl Request {
    /// A policy as it is, without templates of the send's own.
    #[must_use]
    pub const fn of(definition: Definition, policy_version_id: Option<i64>) -> Self {
        Self { definition, policy_version_id, template: None, step_templates: BTreeMap::new() }
    }
}

/// A plan, ready to decide and to render by.
#[derive(Debug)]
pub struct PinnedPlan {
    /// Its key.
    pub id: i64,
    /// The stored version of a policy that it came from.
    pub policy_version_id: Option<i64>,
    /// The policy; each step names the template that was pinned for it.
    pub policy: Policy,
    /// Quiet hours of the policy's own.
    pub quiet_hours: Option<Window>,
    /// How long a notification is valid after its beginning.
    pub valid_for: TimeDelta,
    /// The template of each step; none for call lists and for sends that carry their own content.
    pub templates: Vec<Option<Arc<Compiled>>>,
    /// The template version of each step; 0 where a step has none.
    pub template_version_ids: Vec<i64>,
    /// What the templates have to say, for [`domain::fallback::ChannelFacts`].
    pub template_facts: Vec<TemplateFact>,
    /// What providers are told with each content of each step's template.
    pub parameters: Vec<Vec<ContentParameters>>,
    /// Whether a template says who is written to, without being told: [`templates::CONTACT`].
    pub says_contact: bool,
}

/// What providers are told with one content of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentParameters {
    /// The medium of the content.
    pub channel_type: ChannelType,
    /// Its language, as the template names it.
    pub language: String,
    /// The parameters, by name.
    pub parameters: BTreeMap<String, String>,
}

impl PinnedPlan {
    /// What providers are told with the content of a step in a language.
    #[must_use]
    pub fn parameters_of(&self, step: usize, channel_type: ChannelType, language: &str) -> BTreeMap<String, String> {
        let mut contents = self.parameters.get(step).into_iter().flatten();
        let said = contents.find(|c| c.channel_type == channel_type && c.language == language);
        said.map(|content| content.parameters.clone()).unwrap_or_default()
    }
}

/// The plans of this process. Cheap to clone; clones share what is kept.
#[derive(Debug, Clone, Default)]
pub struct Plans {
    kept: Arc<Mutex<HashMap<i64, Arc<PinnedPlan>>>>,
}

impl Plans {
    /// Pins a policy to the newest (or the named) versions of its templates, in the caller's transaction. Says the plan's key.
    ///
    /// # Errors
    /// [`Error::ReferenceNotFound`] when a template does not exist or has no version.
    pub async fn pin(&self, conn: &mut Conn, request: Request, now: DateTime<Utc>) -> Result<i64> {
        let definition = with_templates(request.definition, request.template, &request.step_templates);
        let references: Vec<Option<Reference>> =
            definition.policy.steps.iter().map(|step| step.template.as_deref().map(Reference::parse)).collect();
        let found = resolve(conn, &references).await?;
        let ids: Vec<i64> =
            references.iter().map(|r| r.as_ref().and_then(|r| found.get(r)).copied().unwrap_or(0)).collect();
        let document = serde_json::to_value(&definition).map_err(storage::Error::from)?;
        let fingerprint = fingerprint(&document, request.policy_version_id, &ids);
        let plan = NewPlan {
            policy_version_id: request.policy_version_id,
            definition: &document,
            template_version_ids: &ids,
            fingerprint: &fingerprint,
        };
        Ok(storage::plans::ensure(conn, plan, now).await?)
    }

    /// The plan with this key, if it was loaded before: no connection is needed then.
    #[must_use]
    pub fn known(&self, id: i64) -> Option<Arc<PinnedPlan>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(&id).map(Arc::clone)
    }

    /// The plan with this key.
    ///
    /// # Errors
    /// [`Error::Storage`] when it does not exist (plans are never deleted) or cannot be read.
    pub async fn load(&self, conn: &mut Conn, id: i64) -> Result<Arc<PinnedPlan>> {
        if let Some(plan) = self.known(id) {
            return Ok(plan);
        }
        let missing = || storage::Error::Corrupt(format!("plan {id} does not exist"));
        let row = storage::plans::find(conn, id).await?.ok_or_else(missing)?;
        let versions = storage::templates::versions(conn, &row.template_version_ids).await?;
        let plan = Arc::new(build(row, &versions)?);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(id, Arc::clone(&plan));
        Ok(plan)
    }
}

/// Gives each step that sends something the template that it will use.
fn with_templates(
    mut definition: Definition,
    template: Option<String>,
    step_templates: &BTreeMap<usize, String>,
) -> Definition {
    for (index, step) in definition.policy.steps.iter_mut().enumerate() {
        if matches!(step.target, Target::CallList(_)) {
            continue;
        }
        let own = step_templates.get(&index).cloned().or_else(|| step.template.take());
        step.template = own.or_else(|| template.clone());
    }
    definition
}

async fn resolve(conn: &mut Conn, references: &[Option<Reference>]) -> Result<HashMap<Reference, i64>> {
    let slugs: Vec<&str> = references.iter().flatten().map(|r| r.slug.as_str()).collect();
    let numbers: Vec<i32> = references.iter().flatten().map(|r| r.number).collect();
    let rows = storage::templates::resolve(conn, &slugs, &numbers).await?;
    let found: HashMap<Reference, i64> =
        rows.into_iter().map(|(slug, number, row)| (Reference { slug, number }, row.id)).collect();
    let missing =
        references.iter().enumerate().find_map(|(i, r)| Some((i, r.as_ref().filter(|r| !found.contains_key(r))?)));
    match missing {
        Some((index, reference)) => Err(Error::ReferenceNotFound {
            field: format!("steps[{index}].template"),
            name: format!("templates/{reference}"),
        }),
        None => Ok(found),
    }
}

/// Two equal plans have one fingerprint: keys of JSON objects are sorted by `serde_json`.
fn fingerprint(definition: &serde_json::Value, policy_version_id: Option<i64>, templates: &[i64]) -> Vec<u8> {
    let mut hash = Sha256::new();
    hash.update(policy_version_id.unwrap_or(0).to_be_bytes());
    hash.update(u64::try_from(templates.len()).unwrap_or(u64::MAX).to_be_bytes());
    for id in templates {
        hash.update(id.to_be_bytes());
    }
    hash.update(definition.to_string());
    hash.finalize().to_vec()
}

fn build(row: PlanRow, versions: &[VersionRow]) -> Result<PinnedPlan> {
    let definition: Definition = serde_json::from_value(row.definition).map_err(storage::Error::from)?;
    let mut compiled: HashMap<i64, (Arc<Compiled>, templates::Definition)> = HashMap::new();
    for version in versions {
        let template: templates::Definition =
            serde_json::from_value(version.definition.clone()).map_err(storage::Error::from)?;
        compiled.insert(version.id, (Arc::new(template.compile()?), template));
    }
    let mut facts = BTreeMap::new();
    for (step, id) in definition.policy.steps.iter().zip(&row.template_version_ids) {
        if let (Some(name), Some((compiled, template))) = (&step.template, compiled.get(id)) {
            facts.entry(name.clone()).or_insert_with(|| template_facts(name, compiled, template));
        }
    }
    let template_of = |id: &i64| compiled.get(id).map(|(compiled, _)| Arc::clone(compiled));
    let parameters = row.template_version_ids.iter().map(|id| compiled.get(id).map_or_else(Vec::new, |(_, t)| told(t)));
    Ok(PinnedPlan {
        parameters: parameters.collect(),
        id: row.id,
        policy_version_id: row.policy_version_id,
        valid_for: definition.valid_for(),
        quiet_hours: definition.quiet_hours,
        policy: definition.policy,
        templates: row.template_version_ids.iter().map(template_of).collect(),
        template_facts: facts.into_values().flatten().collect(),
        says_contact: compiled.values().any(|(_, template)| template.says_contact()),
        template_version_ids: row.template_version_ids,
    })
}

/// What providers are told with each content of a template.
fn told(template: &templates::Definition) -> Vec<ContentParameters> {
    let contents = template.version.contents.iter().enumerate();
    let told = |(index, content): (usize, &domain::template::ContentTemplate)| ContentParameters {
        channel_type: content.channel_type,
        language: content.language.clone(),
        parameters: template.provider_parameters.get(index).cloned().unwrap_or_default(),
    };
    contents.map(told).collect()
}

/// What a template has to say, one entry for each channel type.
pub fn template_facts(name: &str, compiled: &Compiled, template: &templates::Definition) -> Vec<TemplateFact> {
    let Ok(default_language) = Locale::parse(&template.version.default_language) else { return Vec::new() };
    let facts = compiled.channel_types().into_iter().map(|channel_type| {
        let required = compiled.required_variables(channel_type);
        let of_type = template.version.contents.iter().filter(|c| c.channel_type == channel_type);
        let contents = of_type.filter_map(|content| {
            Some(ContentFact {
                language: Locale::parse(&content.language).ok()?,
                needs_window: needs_window(channel_type, &content.body),
                variables: required.iter().map(|&name| name.to_owned()).collect(),
            })
        });
        TemplateFact {
            slug: name.to_owned(),
            channel_type,
            default_language: default_language.clone(),
            contents: contents.collect(),
        }
    });
    facts.collect()
}

/// WhatsApp lets only what Meta approved be sent to people who have not written within a day.
fn needs_window(channel_type: ChannelType, body: &Body) -> bool {
    channel_type == ChannelType::Whatsapp && !matches!(body, Body::ProviderTemplate { .. })
}

#[cfg(test)]
mod tests {
    use domain::fallback::Step;

    use super::*;

    fn definition() -> Definition {
        let mut own = Step::to(Target::ChannelType(ChannelType::Whatsapp));
        own.template = Some("own".into());
        let none = Step::to(Target::ChannelType(ChannelType::Sms));
        let list = Step::to(Target::CallList("office".into()));
        Policy { steps: vec![own, none, list], at_least_once: false, purpose: "service".into() }.into()
    }

    fn names(definition: &Definition) -> Vec<Option<&str>> {
        definition.policy.steps.iter().map(|s| s.template.as_deref()).collect()
    }

    #[test]
    fn a_step_uses_the_sends_template_for_it_then_its_own_then_the_sends() {
        let filled = with_templates(definition(), Some("all".into()), &BTreeMap::new());
        assert_eq!(names(&filled), [Some("own"), Some("all"), None]);
        let replaced = with_templates(definition(), None, &BTreeMap::from([(0, "other/versions/2".to_owned())]));
        assert_eq!(names(&replaced), [Some("other/versions/2"), None, None]);
    }

    #[test]
    fn a_fingerprint_changes_with_each_part_and_only_then() {
        let document = serde_json::to_value(definition()).unwrap();
        let same = fingerprint(&document, Some(1), &[1, 2]);
        assert_eq!(same, fingerprint(&document.clone(), Some(1), &[1, 2]));
        let other = serde_json::json!({});
        for changed in [
            fingerprint(&other, Some(1), &[1, 2]),
            fingerprint(&document, None, &[1, 2]),
            fingerprint(&document, Some(1), &[2, 1]),
            fingerprint(&document, Some(1), &[1, 2, 0]),
        ] {
            assert_ne!(same, changed);
        }
    }
}
