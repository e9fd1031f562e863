//! What a controller does about one intent.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use minijinja::value::{Enumerator, Object};
use minijinja::{Environment, Value};
use serde_json::{Map, Value as Json};

use super::hours::Open;
use super::{Action, ControllerVersion, MAX_REACTION};
use crate::conversation::Intent;
use crate::template::engine;
use crate::violation::Violation;

/// What conditions and texts see when an intent occurs.
///
/// | name | what it holds |
/// |---|---|
/// | `intent` | the intent, such as `FIRST_MESSAGE` |
/// | `message` | `text`, `type` (`text`, `media`, `chosen` ...), `choice` (the id of what was chosen or pressed); empty texts where there is no message |
/// | `channel` | `name` (`channels/{channel}`) and `type` of the session or message; empty texts where there is none |
/// | `session` | `reason`: why it ended; empty while it lasts |
/// | `conversation` | `name`, `state`, `priority`, `labels`, `attributes`, `messages` (how many), `on_hold` |
/// | `contact` | `name`, `display_name`, `external_id`, `locale`, `time_zone`, `attributes` |
/// | `hours` | for each opening hours of the controller whether it is open now |
/// | `now` | the time, RFC 3339 |
///
/// An attribute that is not there is null: it prints nothing and equals nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Scene {
    /// What occurred.
    pub intent: Intent,
    /// When it is looked at, business time.
    pub now: DateTime<Utc>,
    /// `message`, `channel`, `session`, `conversation` and `contact`, each an object with the fields of the table.
    pub facts: Map<String, Json>,
}

/// The objects of a scene and their fields; `attributes` may hold anything beneath.
pub(super) const FIELDS: [(&str, &[&str]); 5] = [
    ("message", &["text", "type", "choice"]),
    ("channel", &["name", "type"]),
    ("session", &["reason"]),
    ("conversation", &["name", "state", "priority", "labels", "attributes", "messages", "on_hold"]),
    ("contact", &["name", "display_name", "external_id", "locale", "time_zone", "attributes"]),
];

/// What is to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reaction {
    /// The actions in order, each with the rule that asks for it.
    pub actions: Vec<(String, Action)>,
    /// What could not be decided or rendered; the rule did nothing then, and the others went on.
    pub faults: Vec<Fault>,
}

/// Why a rule did nothing, or not all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The rule.
    pub rule: String,
    /// Which of its parts, such as `when` or `actions[0].text`.
    pub field: String,
    /// The reason, without values.
    pub reason: String,
}

/// A version that is ready to react. Build it once and share it; it is immutable.
#[derive(Debug)]
pub struct Compiled {
    env: Environment<'static>,
    version: ControllerVersion,
    hours: Vec<Open>,
}

impl Compiled {
    /// Compiles a version. A version that passed [`ControllerVersion::validate`] always compiles.
    ///
    /// # Errors
    /// Every text and condition that is none, with its line.
    pub fn new(version: ControllerVersion) -> Result<Self, Vec<Violation>> {
        let mut env = engine::environment();
        let mut found = Vec::new();
        for (name, source) in sources(&version) {
            if let Err(error) = env.add_template_owned(name.clone(), source) {
                found.push(Violation::new(name, engine::describe(&error)));
            }
        }
        let hours = version.hours.iter().filter_map(Open::new).collect();
        if found.is_empty() { Ok(Self { env, version, hours }) } else { Err(found) }
    }

    /// What is to be done about an intent.
    #[must_use]
    pub fn react(&self, scene: &Scene) -> Reaction {
        let context = self.context(scene);
        let mut reaction = Reaction::default();
        for (at, rule) in self.version.rules.iter().enumerate().filter(|(_, rule)| rule.on.contains(&scene.intent)) {
            let fault = |(field, reason)| Fault { rule: rule.name.clone(), field, reason };
            match self.holds(at, &context) {
                Ok(false) => continue,
                Err(why) => {
                    reaction.faults.push(fault(why));
                    continue;
                }
                Ok(true) => {}
            }
            match self.rendered(at, &context) {
                Ok(actions) => reaction.actions.extend(actions.into_iter().map(|action| (rule.name.clone(), action))),
                Err(why) => reaction.faults.push(fault(why)),
            }
            if reaction.actions.len() > MAX_REACTION {
                reaction.actions.truncate(MAX_REACTION);
                let reason = format!("one intent leads to at most {MAX_REACTION} actions; the rest was left out");
                reaction.faults.push(fault(("actions".to_owned(), reason)));
                break;
            }
            if rule.last {
                break;
            }
        }
        reaction
    }

    /// Whether the condition of a rule holds. Says where it failed and why.
    pub(super) fn holds(&self, rule: usize, context: &Value) -> Result<bool, (String, String)> {
        if self.version.rules[rule].when.is_none() {
            return Ok(true);
        }
        let name = format!("rules[{rule}].when");
        match engine::render(&self.env, &name, context) {
            Ok(text) => Ok(text == "yes"),
            Err(error) => Err(("when".to_owned(), engine::describe(&error))),
        }
    }

    /// The actions of a rule with their texts rendered. A rule acts as a whole: one text that fails, and none is carried out.
    pub(super) fn rendered(&self, rule: usize, context: &Value) -> Result<Vec<Action>, (String, String)> {
        let actions = self.version.rules[rule].actions.iter().enumerate();
        let render = |(at, action): (usize, &Action)| {
            action.with_texts(|field| {
                let name = format!("rules[{rule}].actions[{at}].{field}");
                engine::render(&self.env, &name, context)
                    .map_err(|error| (format!("actions[{at}].{field}"), engine::describe(&error)))
            })
        };
        actions.map(render).collect()
    }

    pub(super) fn context(&self, scene: &Scene) -> Value {
        let open = self.hours.iter().map(|hours| (hours.name.clone(), Value::from(hours.at(scene.now))));
        let mut fields: Vec<(String, Value)> = vec![
            ("intent".to_owned(), Value::from(scene.intent.as_str())),
            ("now".to_owned(), Value::from(scene.now.to_rfc3339())),
            ("hours".to_owned(), Value::from_pairs(open)),
        ];
        fields.extend(scene.facts.iter().map(|(name, fact)| (name.clone(), of_fact(fact))));
        Value::from_pairs(fields)
    }

    /// The names that a text or condition looks up, with their paths.
    pub(super) fn looked_up(&self, name: &str) -> Vec<String> {
        let template = self.env.get_template(name);
        template.map(|t| t.undeclared_variables(true).into_iter().collect()).unwrap_or_default()
    }
}

/// Every text and condition of a version, by its path. A condition becomes a text that says `yes` when it holds.
pub(super) fn sources(version: &ControllerVersion) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (at, rule) in version.rules.iter().enumerate() {
        if let Some(when) = &rule.when {
            all.push((format!("rules[{at}].when"), format!("{{% if {when} %}}yes{{% endif %}}")));
        }
        for (i, action) in rule.actions.iter().enumerate() {
            let texts = action.texts().into_iter();
            all.extend(texts.map(|(field, text)| (format!("rules[{at}].actions[{i}].{field}"), text.to_owned())));
        }
    }
    all
}

/// A fact as conditions see it: attributes are open, all else is what it is.
fn of_fact(fact: &Json) -> Value {
    let Json::Object(fields) = fact else { return engine::value(fact) };
    Value::from_pairs(fields.iter().map(|(name, value)| match (name.as_str(), value) {
        ("attributes", Json::Object(map)) => {
            let known = map.iter().map(|(name, value)| (name.clone(), engine::value(value))).collect();
            (name.clone(), Value::from_object(Attributes(known)))
        }
        _ => (name.clone(), engine::value(value)),
    }))
}

/// Attributes: a name that is not there is null, not an error.
#[derive(Debug)]
struct Attributes(BTreeMap<String, Value>);

impl Object for Attributes {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        Some(key.as_str().and_then(|name| self.0.get(name)).cloned().unwrap_or_else(|| Value::from(())))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.keys().map(|name| Value::from(name.as_str())).collect())
    }
}
