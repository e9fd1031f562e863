//! Everything that can be wrong with a controller, found before it is stored.

use std::collections::BTreeSet;

use chrono::DateTime;
use serde_json::{Map, Value as Json, json};

use super::react::{self, FIELDS};
use super::{Action, Compiled, ControllerVersion, Hours, MAX_ACTIONS, MAX_RULES, MAX_TEXT, Rule, Scene};
use crate::conversation::Intent;
use crate::quiet_hours::Window;
use crate::slug::Slug;
use crate::template::{engine, name_problem};
use crate::violation::Violation;

/// The longest condition, in characters.
const MAX_CONDITION: usize = 1000;
/// The longest name of a rule, label or attribute, in characters.
const MAX_NAME: usize = 63;
/// The names that the scene has besides its objects.
const BARE: [&str; 2] = ["intent", "now"];

impl ControllerVersion {
    /// Everything that is wrong with this version; empty: it can be stored and will compile.
    #[must_use]
    pub fn validate(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        for (at, hours) in self.hours.iter().enumerate() {
            check_hours(&format!("hours[{at}]"), hours, &mut found);
            if self.hours[..at].iter().any(|other| other.name == hours.name) {
                found.push(Violation::new(format!("hours[{at}].name"), "has been used above; names must differ"));
            }
        }
        if self.rules.is_empty() || self.rules.len() > MAX_RULES {
            found
                .push(Violation::new("rules", format!("must have 1 to {MAX_RULES} entries, has {}", self.rules.len())));
        }
        for (at, rule) in self.rules.iter().enumerate() {
            check_rule(&format!("rules[{at}]"), rule, &mut found);
            if self.rules[..at].iter().any(|other| other.name == rule.name) {
                found.push(Violation::new(format!("rules[{at}].name"), "has been used above; names must differ"));
            }
        }
        match Compiled::new(self.clone()) {
            Err(wrong) => found.extend(wrong),
            Ok(compiled) => self.try_out(&compiled, &mut found),
        }
        found
    }

    /// Looks every name up in what a scene has, and runs every condition and text once for each intent.
    fn try_out(&self, compiled: &Compiled, found: &mut Vec<Violation>) {
        let before = found.len();
        for (place, _) in react::sources(self) {
            for name in compiled.looked_up(&place) {
                if let Some(problem) = self.unknown(&name) {
                    found.push(Violation::new(&place, problem));
                }
            }
        }
        if found.len() > before {
            return;
        }
        for (at, rule) in self.rules.iter().enumerate() {
            let mut said = BTreeSet::new();
            for intent in &rule.on {
                let context = compiled.context(&sample(*intent));
                let wrong = [compiled.holds(at, &context).err(), compiled.rendered(at, &context).err()];
                for (field, reason) in wrong.into_iter().flatten() {
                    if said.insert(field.clone()) {
                        found.push(Violation::new(format!("rules[{at}].{field}"), reason));
                    }
                }
            }
        }
    }

    /// What is wrong with a name that is looked up, if anything.
    fn unknown(&self, name: &str) -> Option<String> {
        let mut parts = name.split('.');
        let (first, second) = (parts.next().unwrap_or_default(), parts.next());
        if BARE.contains(&first) || engine::GLOBALS.contains(&first) {
            return None;
        }
        if first == "hours" {
            let names = || self.hours.iter().map(|hours| hours.name.as_str()).collect::<Vec<_>>().join(", ");
            let known = second.is_none_or(|second| self.hours.iter().any(|hours| hours.name == second));
            return (!known).then(|| format!("hours.{} is not defined; there is: {}", second.unwrap_or(""), names()));
        }
        match FIELDS.iter().find(|(object, _)| *object == first) {
            Some((_, fields)) => {
                let known = second.is_none_or(|second| fields.contains(&second));
                (!known).then(|| format!("{first} has no {}; it has {}", second.unwrap_or(""), fields.join(", ")))
            }
            None => Some(format!(
                "{first} is not known; there is intent, now, hours, message, channel, session, conversation, contact"
            )),
        }
    }
}

fn check_hours(path: &str, hours: &Hours, found: &mut Vec<Violation>) {
    if let Some(problem) = name_problem(&hours.name) {
        found.push(Violation::new(format!("{path}.name"), problem));
    }
    if hours.time_zone.parse::<chrono_tz::Tz>().is_err() {
        found.push(Violation::new(format!("{path}.time_zone"), "must be an IANA time zone, such as Asia/Kolkata"));
    }
    if hours.open.is_empty() {
        found.push(Violation::new(format!("{path}.open"), "must have at least one entry, such as mon-fri 09:00-17:00"));
    }
    for (at, text) in hours.open.iter().enumerate() {
        if let Err(error) = Window::parse(text) {
            found.push(Violation::new(format!("{path}.open[{at}]"), error.to_string()));
        }
    }
}

fn check_rule(path: &str, rule: &Rule, found: &mut Vec<Violation>) {
    short(&format!("{path}.name"), &rule.name, found);
    if rule.on.is_empty() {
        found.push(Violation::new(format!("{path}.on"), "must name at least one intent"));
    }
    if let Some(when) = &rule.when {
        if when.trim().is_empty() || when.chars().count() > MAX_CONDITION {
            let words = format!("must have 1 to {MAX_CONDITION} characters; leave it out for always");
            found.push(Violation::new(format!("{path}.when"), words));
        }
        if when.contains("%}") || when.contains("{%") {
            found.push(Violation::new(
                format!("{path}.when"),
                "must be an expression, not a template: leave {% and %} out",
            ));
        }
    }
    if rule.actions.is_empty() || rule.actions.len() > MAX_ACTIONS {
        let words = format!("must have 1 to {MAX_ACTIONS} entries, has {}", rule.actions.len());
        found.push(Violation::new(format!("{path}.actions"), words));
    }
    for (at, action) in rule.actions.iter().enumerate() {
        check_action(&format!("{path}.actions[{at}]"), action, rule, found);
    }
}

fn check_action(path: &str, action: &Action, rule: &Rule, found: &mut Vec<Violation>) {
    let at = |field: &str| format!("{path}.{field}");
    for (field, text) in action.texts() {
        if text.is_empty() || text.chars().count() > MAX_TEXT {
            found.push(Violation::new(at(&field), format!("must have 1 to {MAX_TEXT} characters")));
        }
    }
    match action {
        Action::SendMessage { channel, .. } | Action::EndSession { channel } => {
            slug(&at("channel"), channel.as_ref(), found)
        }
        Action::SendTemplate { template, channel, .. } => {
            slug(&at("template"), Some(template), found);
            slug(&at("channel"), channel.as_ref(), found);
        }
        Action::SetActiveChannel { channel } => slug(&at("channel"), Some(channel), found),
        Action::SetAttribute { name, .. } => attribute(&at("name"), name, found),
        Action::AddLabel { label } | Action::RemoveLabel { label } => short(&at("label"), label, found),
        Action::SetPriority { priority } if *priority > 9 => {
            found.push(Violation::new(at("priority"), format!("must be from 0 to 9, is {priority}")));
        }
        Action::StartFlow { flow, .. } => short(&at("flow"), flow, found),
        Action::OpenTicket { category, .. } => short(&at("category"), category, found),
        Action::RequestOperator { .. } => {
            let words = "cannot be used yet: there are no operators and queues in this version; send a message or open a ticket";
            found.push(Violation::new(path, words));
        }
        Action::CallHttp { method, url, timeout_secs, into, .. } => {
            check_call(path, method, url, *timeout_secs, found);
            if let Some(into) = into {
                attribute(&at("into"), into, found);
            }
        }
        Action::SetPriority { .. } | Action::Hold | Action::Resume | Action::Close => {}
    }
    let says = matches!(action, Action::SendMessage { .. } | Action::SendTemplate { .. });
    if says && rule.on.contains(&Intent::ConversationClosed) {
        found.push(Violation::new(path, "a closed conversation says nothing more: use CONVERSATION_CLOSING"));
    }
}

fn check_call(path: &str, method: &str, url: &str, timeout_secs: u8, found: &mut Vec<Violation>) {
    if !["GET", "POST", "PUT"].contains(&method) {
        found.push(Violation::new(format!("{path}.method"), "must be GET, POST or PUT"));
    }
    let here = ["http://127.0.0.1", "http://localhost", "http://[::1]"]
        .iter()
        .any(|start| url.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/'])));
    let there = url.strip_prefix("https://").is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
    if !(here || there) || url.chars().any(|c| c.is_whitespace() || c.is_control()) || url.len() > 2000 {
        let words =
            "must be an https address, or http on this machine, of at most 2000 bytes without spaces or variables";
        found.push(Violation::new(format!("{path}.url"), words));
    }
    if timeout_secs > 10 {
        found.push(Violation::new(format!("{path}.timeout_secs"), "must be at most 10; 0 means 5"));
    }
}

fn slug(path: &str, value: Option<&String>, found: &mut Vec<Violation>) {
    if let Some(Err(error)) = value.map(|value| Slug::parse(value)) {
        found.push(Violation::new(path, error.to_string()));
    }
}

fn short(path: &str, value: &str, found: &mut Vec<Violation>) {
    if value.trim().is_empty() || value.chars().count() > MAX_NAME || value.chars().any(char::is_control) {
        found.push(Violation::new(
            path,
            format!("must have 1 to {MAX_NAME} characters, none of them a control character"),
        ));
    }
}

fn attribute(path: &str, value: &str, found: &mut Vec<Violation>) {
    if let Some(problem) = name_problem(value) {
        found.push(Violation::new(path, problem));
    }
}

/// A scene to try controllers with.
fn sample(intent: Intent) -> Scene {
    let facts = json!({
        "message": { "text": "hello", "type": "text", "choice": "1" },
        "channel": { "name": "channels/sample", "type": "WHATSAPP" },
        "session": { "reason": "" },
        "conversation": { "name": "conversations/sample", "state": "CREATED", "priority": 0, "labels": ["sample"],
                          "attributes": {}, "messages": 1, "on_hold": false },
        "contact": { "name": "contacts/1", "display_name": "Asha", "external_id": "a-1", "locale": "en",
                     "time_zone": "Asia/Kolkata", "attributes": {} },
    });
    let facts = match facts {
        Json::Object(facts) => facts,
        _ => Map::new(),
    };
    Scene { intent, now: DateTime::UNIX_EPOCH, facts }
}
