//! Everything that can be wrong with a template version, found before it is stored.
//!
//! Checked in this order: languages, variables, syntax, names, then each content is rendered with examples and held against
//! the limits of its channel type. All violations are returned, so that one correction is enough.

use std::collections::{BTreeMap, BTreeSet};

use minijinja::{ErrorKind, Value};

use super::{Compiled, TemplateVersion, Variable, engine, limits};
use crate::channel::ChannelType;
use crate::locale::Locale;
use crate::violation::Violation;

/// The most contents of one version.
const MAX_CONTENTS: usize = 400;
/// The most variables of one version.
const MAX_VARIABLES: usize = 100;
/// The characters of a variable's name.
const MAX_NAME: usize = 64;
/// What the template language itself means by a name.
const RESERVED: [&str; 12] =
    ["true", "false", "none", "True", "False", "None", "loop", "range", "not", "and", "or", "in"];

impl TemplateVersion {
    /// Finds everything that is wrong with this version; empty when it may be stored.
    ///
    /// Contents are rendered with the variables' examples (else their defaults, else their names), so an example that is as
    /// long as values get shows whether a channel can carry them.
    #[must_use]
    pub fn validate(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        self.check_languages(&mut found);
        self.check_variables(&mut found);
        match Compiled::new(self) {
            Err(syntax) => found.extend(syntax),
            Ok(compiled) => {
                self.check_names(&compiled, &mut found);
                self.check_contents(&compiled, &mut found);
            }
        }
        found
    }

    fn check_languages(&self, found: &mut Vec<Violation>) {
        check_language("default_language", &self.default_language, found);
        if self.contents.is_empty() {
            found.push(Violation::new("contents", "is empty: say something on at least one channel type"));
        }
        if self.contents.len() > MAX_CONTENTS {
            found.push(Violation::new("contents", format!("has more than {MAX_CONTENTS} entries")));
        }
        let mut first: BTreeMap<(ChannelType, &str), usize> = BTreeMap::new();
        for (i, content) in self.contents.iter().enumerate() {
            check_language(&format!("contents[{i}].language"), &content.language, found);
            let key = (content.channel_type, content.language.as_str());
            if let Some(other) = first.insert(key, i) {
                let text = format!("has the channel type and language of contents[{other}]");
                found.push(Violation::new(format!("contents[{i}]"), text));
            }
        }
        self.check_default_language(found);
    }

    /// A person whose language is not among the contents is spoken to in the default one, so each channel type must have it.
    fn check_default_language(&self, found: &mut Vec<Violation>) {
        let Ok(default) = Locale::parse(&self.default_language) else { return };
        let channel_types: BTreeSet<ChannelType> = self.contents.iter().map(|c| c.channel_type).collect();
        for channel_type in channel_types {
            let mut languages = self.contents.iter().filter(|c| c.channel_type == channel_type).map(|c| &c.language);
            if !languages.any(|language| default.chain().any(|tag| tag == language)) {
                let text = format!("has no {channel_type} content in the default language {default}");
                found.push(Violation::new("contents", text));
            }
        }
    }

    fn check_variables(&self, found: &mut Vec<Violation>) {
        if self.variables.len() > MAX_VARIABLES {
            found.push(Violation::new("variables", format!("has more than {MAX_VARIABLES} entries")));
        }
        for (i, variable) in self.variables.iter().enumerate() {
            let field = format!("variables[{i}].name");
            if let Some(problem) = name_problem(&variable.name) {
                found.push(Violation::new(&field, problem));
            }
            if let Some(first) = self.variables[..i].iter().position(|v| v.name == variable.name) {
                found.push(Violation::new(field, format!("is the same as variables[{first}].name")));
            }
        }
    }

    fn check_names(&self, compiled: &Compiled, found: &mut Vec<Violation>) {
        let declared: BTreeSet<&str> = self.variables.iter().map(|v| v.name.as_str()).collect();
        let mut used = BTreeSet::new();
        for (i, names) in (0..self.contents.len()).filter_map(|i| Some((i, compiled.used(i)?))) {
            for name in names.iter().filter(|n| !declared.contains(n.as_str())) {
                let text = format!("uses {name}, which is not among the variables");
                found.push(Violation::new(format!("contents[{i}].body"), text));
            }
            used.extend(names.iter().map(String::as_str));
        }
        for (i, variable) in self.variables.iter().enumerate().filter(|(_, v)| !used.contains(v.name.as_str())) {
            let text = format!("declares {}, which no content uses", variable.name);
            found.push(Violation::new(format!("variables[{i}]"), text));
        }
    }

    fn check_contents(&self, compiled: &Compiled, found: &mut Vec<Violation>) {
        let values = Value::from_pairs(self.variables.iter().map(|v| (v.name.as_str(), v.sample())));
        for (i, content) in self.contents.iter().enumerate() {
            let path = |field: &str| format!("contents[{i}].body.{field}");
            match compiled.draft(i, &values) {
                None => {}
                Some(Ok(sample)) => {
                    let breaches = limits::check(content.channel_type, &sample).into_iter().map(Violation::from);
                    found.extend(breaches.map(|v| Violation::new(path(&v.field), v.description)));
                }
                Some(Err((field, error))) if self.is_certain(compiled, i, &error) => {
                    found.push(Violation::new(path(&field), engine::describe(&error)));
                }
                Some(Err(_)) => {}
            }
        }
    }

    /// Whether a failed sample proves a fault: an unknown filter always does, another failure only when every value that was
    /// used is an example or a default (a made-up value may have the wrong type). Undeclared names are reported elsewhere.
    fn is_certain(&self, compiled: &Compiled, content: usize, error: &minijinja::Error) -> bool {
        match error.kind() {
            ErrorKind::UnknownFilter | ErrorKind::UnknownTest | ErrorKind::UnknownFunction => true,
            _ => compiled.used(content).is_some_and(|names| {
                names.iter().all(|name| {
                    self.variables.iter().any(|v| v.name == *name && (v.example.is_some() || v.default.is_some()))
                })
            }),
        }
    }
}

impl Variable {
    /// A value to try contents with.
    fn sample(&self) -> Value {
        let known = self.example.as_ref().or(self.default.as_ref());
        known.map_or_else(|| Value::from(self.name.as_str()), engine::value)
    }
}

fn check_language(field: &str, language: &str, found: &mut Vec<Violation>) {
    match Locale::parse(language) {
        Err(error) => found.push(Violation::new(field, error.to_string())),
        Ok(locale) if locale.as_str() != language => {
            found.push(Violation::new(field, format!("must be written {locale}")));
        }
        Ok(_) => {}
    }
}

/// What is wrong with the name of a variable, if anything.
pub(crate) fn name_problem(name: &str) -> Option<String> {
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    let rest = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !first || !rest || name.len() > MAX_NAME {
        return Some(format!("must be 1 to {MAX_NAME} of a-z, A-Z, 0-9 and _, not a digit first"));
    }
    RESERVED.contains(&name).then(|| format!("{name} has a meaning in templates, choose another name"))
}
