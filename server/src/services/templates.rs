//! Templates: written in versions that never change, checked before they are stored, and shown as a person would get them.

use std::{collections::BTreeMap, fmt};

use domain::template::{Compiled, TemplateVersion, Variable};
use serde::{Deserialize, Serialize};

use super::{Error, Result};
use crate::storage;

/// The one variable that every template may use without declaring it: who is written to.
pub const CONTACT: &str = "contact";

/// What one version of a template says, as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// The contents and their variables.
    pub version: TemplateVersion,
    /// Why it was made.
    #[serde(default)]
    pub change_note: String,
    /// What variables mean, by name.
    #[serde(default)]
    pub descriptions: BTreeMap<String, String>,
    /// What providers must be told besides, one entry for each content.
    #[serde(default)]
    pub provider_parameters: Vec<BTreeMap<String, String>>,
}

/// A template by its slug, in its newest version or a given one: `welcome`, `welcome/versions/3`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// The slug.
    pub slug: String,
    /// The number of the version; 0 for the newest.
    pub number: i32,
}

impl Reference {
    /// Reads what [`Reference`] shows.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text.split_once("/versions/").and_then(|(slug, number)| Some((slug, number.parse().ok()?))) {
            Some((slug, number)) => Self { slug: slug.to_owned(), number },
            None => Self { slug: text.to_owned(), number: 0 },
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            0 => f.write_str(&self.slug),
            number => write!(f, "{}/versions/{number}", self.slug),
        }
    }
}

impl Definition {
    /// Declares [`CONTACT`] where a content uses it, so that the rules of templates know it.
    #[must_use]
    pub fn with_contact(mut self) -> Self {
        let declared = self.version.variables.iter().any(|v| v.name == CONTACT);
        if !declared && self.uses_contact() {
            let example =
                serde_json::json!({"name": "Asha Rao", "locale": "en", "external_id": "42", "attributes": {}});
            let variable =
                Variable { name: CONTACT.to_owned(), required: false, default: None, example: Some(example) };
            self.version.variables.push(variable);
        }
        self
    }

    fn uses_contact(&self) -> bool {
        let Ok(compiled) = Compiled::new(&self.version) else { return false };
        let mut types = compiled.channel_types().into_iter();
        types.any(|channel_type| compiled.required_variables(channel_type).contains(CONTACT))
    }

    /// Makes the version ready to render.
    ///
    /// # Errors
    /// [`Error::Storage`] when what was stored does not compile any more, which only an older version of ours can have written.
    pub fn compile(&self) -> Result<Compiled> {
        Compiled::new(&self.version).map_err(|found| {
            let words = found.first().map(ToString::to_string).unwrap_or_default();
            Error::Storage(storage::Error::Corrupt(format!("a template version does not compile: {words}")))
        })
    }
}
