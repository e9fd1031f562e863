//! Mapping one row: what it becomes, or why it cannot become anything.
//!
//! Only what makes the notification wrong or impossible refuses a row: no address that works, a column that is gone, a
//! required variable that is null, a time that cannot be read. A bad language, zone or second address is noted and left out.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use minijinja::Environment;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::read::{self, DayEnd};
use super::{AddressSource, Mapping, Source};
use crate::address::mask;
use crate::channel::Address;
use crate::locale::Locale;
use crate::phone;
use crate::schedule::zone;
use crate::template::engine;
use crate::violation::Violation;

/// A mapping that is ready to map rows. Build it once and share it; it is immutable.
#[derive(Debug)]
pub struct Compiled {
    mapping: Mapping,
    zone: Tz,
    required: BTreeSet<String>,
    env: Environment<'static>,
}

/// What a row became.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapped {
    /// The person.
    pub contact: MappedContact,
    /// The variables that have a value.
    pub variables: Map<String, Value>,
    /// Why one writes, when the mapping says it.
    pub purpose: Option<String>,
    /// The key under which rows are one notification.
    pub dedup_key: Option<String>,
    /// The time after which nothing is sent.
    pub valid_until: Option<DateTime<Utc>>,
    /// The time before which nothing is sent.
    pub deliver_after: Option<DateTime<Utc>>,
    /// What was left out, and why.
    pub notes: Vec<Reason>,
}

/// The person of a row.
#[derive(Debug, Clone, PartialEq)]
pub struct MappedContact {
    /// The caller's id of the contact.
    pub external_id: Option<String>,
    /// The contact's name.
    pub display_name: Option<String>,
    /// The contact's language.
    pub locale: Option<Locale>,
    /// The contact's time zone.
    pub time_zone: Option<Tz>,
    /// Attributes to keep; those that are null in the row are left out.
    pub attributes: Map<String, Value>,
    /// The addresses, at least one, in the order of the mapping and each once.
    pub addresses: Vec<Address>,
}

codes! {
    /// What kind of fault a row has, for programs.
    pub enum Fault {
        /// A column that the mapping uses is not in the row.
        ColumnMissing = "COLUMN_MISSING",
        /// An address has no value.
        NoAddress = "NO_ADDRESS",
        /// An address is none.
        AddressInvalid = "ADDRESS_INVALID",
        /// A value has the wrong form.
        ValueInvalid = "VALUE_INVALID",
        /// A template or an expression failed.
        ExpressionFailed = "EXPRESSION_FAILED",
        /// A variable that a template requires is absent.
        VariableMissing = "VARIABLE_MISSING",
    }
}

/// Why something of a row was refused or left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct Reason {
    /// The field of the mapping, such as `addresses[0]` or `variables.name`.
    pub field: String,
    /// What kind of fault it is.
    pub fault: Fault,
    /// What is wrong, without personal data in full.
    pub reason: String,
}

/// A row that cannot be mapped. It is kept, and can be replayed after the row or the mapping is corrected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("the row cannot be mapped: {}", .reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct Unmappable {
    /// All that is wrong, at least one.
    pub reasons: Vec<Reason>,
}

impl Compiled {
    /// Compiles a mapping. `required` are the variables without which the templates refuse to render; a row in which one of
    /// them is null is refused here, where it can still be replayed.
    ///
    /// # Errors
    /// Every template that is none, and a zone that does not exist.
    pub fn new(mapping: &Mapping, required: BTreeSet<String>) -> Result<Self, Vec<Violation>> {
        let mut env = engine::environment();
        let mut violations = Vec::new();
        for (field, source) in mapping.sources() {
            let expression = match source {
                Source::Expression(text) => env.compile_expression(text).map(drop),
                Source::Column(_) | Source::Constant(_) | Source::Template(_) => Ok(()),
            };
            let added = match (expression, source.template()) {
                (Ok(()), Some(text)) => env.add_template_owned(field.clone(), text),
                (checked, _) => checked,
            };
            if let Err(error) = added {
                violations.push(Violation::new(field, engine::describe(&error)));
            }
        }
        let zone = zone::parse(mapping.zone.as_deref().unwrap_or("UTC"));
        match zone {
            Ok(zone) if violations.is_empty() => Ok(Self { mapping: mapping.clone(), zone, required, env }),
            Ok(_) => Err(violations),
            Err(problem) => {
                violations.push(Violation::new("zone", problem));
                Err(violations)
            }
        }
    }

    /// Maps one row, as `to_jsonb` gives it: column names to values.
    ///
    /// # Errors
    /// Everything that keeps the row from becoming a notification.
    pub fn apply(&self, row: &Map<String, Value>) -> Result<Mapped, Unmappable> {
        self.apply_change(row, None)
    }

    /// Maps one row that was changed; `old` is the row before.
    ///
    /// # Errors
    /// Everything that keeps the row from becoming a notification.
    pub fn apply_change(
        &self,
        row: &Map<String, Value>,
        old: Option<&Map<String, Value>>,
    ) -> Result<Mapped, Unmappable> {
        let mut run = Run { compiled: self, row, old, reasons: Vec::new(), notes: Vec::new() };
        let m = &self.mapping;
        let mapped = Mapped {
            contact: MappedContact {
                external_id: run.text("external_id", m.external_id.as_ref()),
                display_name: run.text("display_name", m.display_name.as_ref()),
                locale: run.optional("locale", m.locale.as_ref(), |t| Locale::parse(t).map_err(|e| e.to_string())),
                time_zone: run.optional("time_zone", m.time_zone.as_ref(), zone::parse),
                attributes: run.values("attributes", &m.attributes),
                addresses: run.addresses(m.country.as_ref(), &m.addresses),
            },
            variables: run.values("variables", &m.variables),
            purpose: run.purpose(m.purpose.as_ref()),
            dedup_key: run.text("dedup_key", m.dedup_key.as_ref()),
            valid_until: run.instant("valid_until", m.valid_until.as_ref(), DayEnd::End),
            deliver_after: run.instant("deliver_after", m.deliver_after.as_ref(), DayEnd::Beginning),
            notes: Vec::new(),
        };
        for name in self.required.iter().filter(|name| !mapped.variables.contains_key(*name)) {
            run.refuse(format!("variables.{name}"), Fault::VariableMissing, "is required and has no value in this row");
        }
        if run.reasons.is_empty() {
            Ok(Mapped { notes: run.notes, ..mapped })
        } else {
            Err(Unmappable { reasons: run.reasons })
        }
    }
}

/// The mapping of one row under way.
struct Run<'a> {
    compiled: &'a Compiled,
    row: &'a Map<String, Value>,
    old: Option<&'a Map<String, Value>>,
    reasons: Vec<Reason>,
    notes: Vec<Reason>,
}

impl Run<'_> {
    fn refuse(&mut self, field: impl Into<String>, fault: Fault, reason: impl Into<String>) {
        let reason = Reason { field: field.into(), fault, reason: reason.into() };
        // A column that two fields use is one fault in each of them, but the same words twice help nobody.
        if !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }

    fn note(&mut self, field: impl Into<String>, reason: impl Into<String>) {
        self.notes.push(Reason { field: field.into(), fault: Fault::ValueInvalid, reason: reason.into() });
    }

    /// The value of a source; none, with a reason, when a column is gone or the template fails.
    fn value(&mut self, field: &str, source: &Source) -> Option<Value> {
        match source {
            Source::Constant(value) => Some(value.clone()),
            Source::Column(column) => match self.row.get(column) {
                Some(value) => Some(value.clone()),
                None => {
                    self.refuse(field, Fault::ColumnMissing, format!("the row has no column {column}"));
                    None
                }
            },
            Source::Template(_) => self.rendered(field),
            Source::Expression(_) => self.evaluated(field),
        }
    }

    fn rendered(&mut self, field: &str) -> Option<Value> {
        let template = self.compiled.env.get_template(field).ok()?;
        let mut used: Vec<String> = template.undeclared_variables(false).into_iter().collect();
        used.sort();
        used.retain(|name| !engine::GLOBALS.contains(&name.as_str()));
        if let Some(gone) = used.iter().find(|name| !self.row.contains_key(*name)) {
            self.refuse(field, Fault::ColumnMissing, format!("the row has no column {gone}"));
            return None;
        }
        let values = used.iter().filter_map(|name| Some((name.as_str(), engine::value(self.row.get(name)?))));
        let context = minijinja::Value::from_pairs(values);
        self.render(field, &context)
    }

    fn evaluated(&mut self, field: &str) -> Option<Value> {
        let template = self.compiled.env.get_template(field).ok()?;
        let used = template.undeclared_variables(true);
        let mut columns: Vec<&str> = used.iter().filter_map(|path| path.strip_prefix("row.")).collect();
        columns.sort_unstable();
        let column = |path: &&str| path.split('.').next().is_some_and(|name| !self.row.contains_key(name));
        if let Some(gone) = columns.into_iter().find(column) {
            self.refuse(field, Fault::ColumnMissing, format!("the row has no column {gone}"));
            return None;
        }
        let object = |map: &Map<String, Value>| {
            minijinja::Value::from_pairs(map.iter().map(|(name, value)| (name.as_str(), engine::value(value))))
        };
        let old = self.old.map_or_else(|| minijinja::Value::from(()), object);
        let context = minijinja::Value::from_pairs([("row", object(self.row)), ("old", old)]);
        self.render(field, &context)
    }

    fn render(&mut self, field: &str, context: &minijinja::Value) -> Option<Value> {
        match engine::render(&self.compiled.env, field, context) {
            Ok(text) => Some(Value::String(text)),
            Err(error) => {
                self.refuse(field, Fault::ExpressionFailed, engine::describe(&error));
                None
            }
        }
    }

    fn text(&mut self, field: &str, source: Option<&Source>) -> Option<String> {
        let value = self.value(field, source?)?;
        match read::text(&value) {
            Ok(text) => text,
            Err(problem) => {
                self.refuse(field, Fault::ValueInvalid, problem);
                None
            }
        }
    }

    /// A text that must be understood; one that is not is noted and left out.
    fn optional<T>(
        &mut self,
        field: &str,
        source: Option<&Source>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(field, source)?;
        parse(&text).map_err(|problem| self.note(field, format!("left out: {problem}"))).ok()
    }

    fn purpose(&mut self, source: Option<&Source>) -> Option<String> {
        let text = self.text("purpose", source)?;
        // Consent depends on it: a purpose that is not understood must not become another one.
        read::purpose(&text).map_err(|problem| self.refuse("purpose", Fault::ValueInvalid, problem)).ok()
    }

    fn instant(&mut self, field: &str, source: Option<&Source>, day: DayEnd) -> Option<DateTime<Utc>> {
        let value = self.value(field, source?)?;
        let read = read::instant(&value, self.compiled.zone, day);
        read.map_err(|problem| self.refuse(field, Fault::ValueInvalid, problem)).ok().flatten()
    }

    fn values(&mut self, group: &str, sources: &std::collections::BTreeMap<String, Source>) -> Map<String, Value> {
        let mut values = Map::new();
        for (name, source) in sources {
            let value = self.value(&format!("{group}.{name}"), source).filter(|v| !v.is_null());
            values.extend(value.map(|value| (name.clone(), value)));
        }
        values
    }

    /// The addresses that work. Those that do not are notes when another one works, and reasons when none does.
    fn addresses(&mut self, country: Option<&Source>, sources: &[AddressSource]) -> Vec<Address> {
        let country = self.optional("country", country, |text| {
            let code = text.to_ascii_uppercase();
            if phone::is_country(&code) {
                Ok(code)
            } else {
                Err("is not a country of two letters such as IN".to_owned())
            }
        });
        let mut addresses: Vec<Address> = Vec::with_capacity(sources.len());
        let mut problems = Vec::new();
        for (i, source) in sources.iter().enumerate() {
            let field = format!("addresses[{i}]");
            let refused = self.reasons.len();
            let Some(text) = self.text(&field, Some(&source.source)) else {
                if self.reasons.len() == refused {
                    let reason = format!("no {}", source.kind);
                    problems.push(Reason { field, fault: Fault::NoAddress, reason });
                }
                continue;
            };
            match Address::parse(source.kind, &text, country.as_deref().or(source.default_country.as_deref())) {
                Ok(address) if addresses.contains(&address) => {}
                Ok(address) => addresses.push(address),
                Err(error) => {
                    let reason = format!("{error} ({})", mask(&text));
                    problems.push(Reason { field, fault: Fault::AddressInvalid, reason });
                }
            }
        }
        if addresses.is_empty() {
            self.reasons.extend(problems)
        } else {
            self.notes.extend(problems)
        }
        addresses
    }
}
