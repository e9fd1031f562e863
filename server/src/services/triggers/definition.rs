//! What a table trigger says, as it is stored with it: the table, what of it fires, how a row is read, which way is taken.

use std::collections::{BTreeMap, BTreeSet};

use ::triggers::{Operation, WatchId, postgres};
use chrono::TimeDelta;
use domain::{
    channel::{AddressKind, Lane},
    mapping::{self, AddressSource, Mapping},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    services::{Result, sending::way::Way},
    storage::{self, triggers::TriggerRow},
};

/// Where purposes are not said.
pub const DEFAULT_PURPOSE: &str = "service";
/// How long deduplication remembers where a trigger does not say.
const DEFAULT_DEDUP_WINDOW: TimeDelta = TimeDelta::days(1);

/// A table whose rows become notifications.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TableWatch {
    /// The schema of the table.
    pub schema: String,
    /// The table.
    pub table: String,
    /// What fires.
    pub operations: Vec<Operation>,
    /// With updates: only when the statement sets one of these columns; empty means any.
    #[serde(default)]
    pub update_columns: Vec<String>,
    /// An SQL condition over `new` and `old`; empty means all rows.
    #[serde(default)]
    pub condition: String,
    /// Whether a fault in capture fails the user's write.
    #[serde(default)]
    pub strict: bool,
    /// How a row is read.
    pub mapping: RowMapping,
    /// Which way is taken.
    pub way: Way,
    /// What it is for; empty means [`DEFAULT_PURPOSE`].
    #[serde(default)]
    pub purpose: String,
    /// Columns whose values make a row the same as an earlier one.
    #[serde(default)]
    pub dedup_columns: Vec<String>,
    /// How long these are remembered, in seconds; none means a day.
    #[serde(default)]
    pub dedup_window_secs: Option<i64>,
    /// The lane; none: by the number of rows that came together.
    #[serde(default)]
    pub lane: Option<Lane>,
    /// How long after the write a notification is valid, in milliseconds; none means as the policy says.
    #[serde(default)]
    pub valid_for_ms: Option<i64>,
}

/// How a row becomes a person and variables, as people write it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RowMapping {
    /// The column with the person's id in the caller's system.
    pub external_id: Option<String>,
    /// The column with the person's name.
    pub display_name: Option<String>,
    /// The columns with addresses, the preferred first.
    pub addresses: Vec<(AddressKind, String)>,
    /// The country of phones without `+`.
    pub default_country: Option<String>,
    /// The column with that country.
    pub country: Option<String>,
    /// The column with the language.
    pub locale: Option<String>,
    /// The column with the time zone.
    pub time_zone: Option<String>,
    /// The variables, in the order in which they were written.
    pub variables: Vec<VariableSource>,
}

/// Where the value of a variable comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VariableSource {
    /// The variable.
    pub name: String,
    /// Where its value comes from: a column, a constant or an expression.
    pub from: mapping::Source,
}

impl TableWatch {
    /// What may be changed of one that stands, as the contract names it.
    pub const PARTS: [&str; 11] = [
        "operations",
        "update_columns",
        "condition",
        "strict",
        "mapping",
        "plan",
        "purpose",
        "dedup_columns",
        "dedup_window",
        "lane",
        "valid_for",
    ];

    /// The same with some parts of another.
    #[must_use]
    pub fn with(mut self, parts: &[String], other: Self) -> Self {
        let has = |part: &str| parts.iter().any(|p| p == part);
        macro_rules! take {
            ($($part:literal => $field:ident),+ $(,)?) => { $(if has($part) { self.$field = other.$field; })+ };
        }
        take! {
            "operations" => operations, "update_columns" => update_columns, "condition" => condition, "strict" => strict,
            "mapping" => mapping, "plan" => way, "purpose" => purpose, "dedup_columns" => dedup_columns,
            "dedup_window" => dedup_window_secs, "lane" => lane, "valid_for" => valid_for_ms,
        }
        self
    }

    /// Reads the definition of a stored trigger.
    ///
    /// # Errors
    /// `Corrupt` when it is no table watch.
    pub fn read(row: &TriggerRow) -> Result<Self> {
        Ok(serde_json::from_value(row.definition.clone()).map_err(storage::Error::from)?)
    }

    /// The definition as it is stored.
    ///
    /// # Errors
    /// `Corrupt`, which cannot be.
    pub fn write(&self) -> Result<Value> {
        Ok(serde_json::to_value(self).map_err(storage::Error::from)?)
    }

    /// The table.
    #[must_use]
    pub fn table_name(&self) -> postgres::TableName {
        postgres::TableName::new(&self.schema, &self.table)
    }

    /// What it is for.
    #[must_use]
    pub fn purpose(&self) -> &str {
        if self.purpose.is_empty() { DEFAULT_PURPOSE } else { &self.purpose }
    }

    /// How long deduplication remembers.
    #[must_use]
    pub fn dedup_window(&self) -> TimeDelta {
        self.dedup_window_secs.and_then(TimeDelta::try_seconds).unwrap_or(DEFAULT_DEDUP_WINDOW)
    }

    /// What is captured for it.
    #[must_use]
    pub fn watch(&self, id: i64) -> postgres::Watch {
        let used = self.mapping.to_domain().columns().map(|mut columns| {
            columns.extend(self.dedup_columns.iter().cloned());
            columns.into_iter().collect()
        });
        postgres::Watch {
            id: WatchId(id),
            table: self.table_name(),
            operations: self.operations.clone(),
            update_of: self.update_columns.clone(),
            only_changes: false,
            condition: Some(self.condition.clone()).filter(|condition| !condition.trim().is_empty()),
            columns: used.unwrap_or_default(),
            strict: self.strict,
        }
    }
}

impl RowMapping {
    /// The mapping as the rulebook applies it.
    #[must_use]
    pub fn to_domain(&self) -> Mapping {
        let column = |name: &Option<String>| name.clone().map(mapping::Source::Column);
        let address = |(kind, name): &(AddressKind, String)| AddressSource {
            kind: *kind,
            source: mapping::Source::Column(name.clone()),
            default_country: self.default_country.clone().filter(|_| *kind == AddressKind::Phone),
        };
        let variables: BTreeMap<_, _> = self.variables.iter().map(|v| (v.name.clone(), v.from.clone())).collect();
        Mapping {
            external_id: column(&self.external_id),
            display_name: column(&self.display_name),
            locale: column(&self.locale),
            time_zone: column(&self.time_zone),
            country: column(&self.country),
            addresses: self.addresses.iter().map(address).collect(),
            variables,
            ..Mapping::default()
        }
    }

    /// The path in the contract of a field of the rulebook's mapping: `addresses[1]` is `addresses[1].column`.
    #[must_use]
    pub fn path(&self, field: &str) -> String {
        if let Some(variable) = field.strip_prefix("variables.") {
            let place = self.variables.iter().position(|v| v.name == variable);
            return place.map_or_else(|| "variables".to_owned(), |i| format!("variables[{i}]"));
        }
        match field {
            "external_id" | "display_name" | "locale" | "time_zone" | "country" => format!("{field}_column"),
            "addresses" => field.to_owned(),
            _ if field.ends_with(".default_country") => "default_country".to_owned(),
            _ => format!("{field}.column"),
        }
    }

    /// What a reason is about: the column or the variable.
    #[must_use]
    pub fn about(&self, field: &str) -> String {
        if let Some(variable) = field.strip_prefix("variables.") {
            return variable.to_owned();
        }
        let place = field.strip_prefix("addresses[").and_then(|rest| rest.trim_end_matches(']').parse::<usize>().ok());
        let column = match (place, field) {
            (Some(place), _) => self.addresses.get(place).map(|(_, column)| column),
            (None, "external_id") => self.external_id.as_ref(),
            (None, "display_name") => self.display_name.as_ref(),
            (None, "locale") => self.locale.as_ref(),
            (None, "time_zone") => self.time_zone.as_ref(),
            (None, "country") => self.country.as_ref(),
            (None, _) => None,
        };
        column.cloned().unwrap_or_else(|| field.to_owned())
    }

    /// Names that are there twice, with their place.
    #[must_use]
    pub fn repeated_variables(&self) -> Vec<(usize, &str)> {
        let mut seen = BTreeSet::new();
        let names = self.variables.iter().enumerate().map(|(i, v)| (i, v.name.as_str()));
        names.filter(|(_, name)| !seen.insert(*name)).collect()
    }
}
