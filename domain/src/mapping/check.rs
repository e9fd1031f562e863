//! Everything that can be wrong with a mapping, found when its trigger is created: against the columns of the table, the
//! variables of the templates, and the vocabulary.

use std::collections::BTreeSet;

use super::read::{self, DayEnd};
use super::{AddressSource, Compiled, Mapping, Source};
use crate::channel::{Address, AddressKind};
use crate::locale::Locale;
use crate::phone;
use crate::schedule::zone;
use crate::template::engine;
use crate::violation::Violation;

/// The most addresses, attributes or variables of one mapping.
const MAX_ENTRIES: usize = 100;

/// A column of the watched table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type as `format_type` writes it, such as `character varying(20)` or `bigint`.
    pub data_type: String,
}

/// What a type can hold, as far as a mapping cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Time,
    /// No text and no time: booleans, JSON, bytes, arrays, intervals.
    Other,
    /// A type of the user's: an enum, a domain.
    Unknown,
}

impl Column {
    fn kind(&self) -> Kind {
        let name = self.data_type.split('(').next().unwrap_or_default().trim().to_ascii_lowercase();
        if self.data_type.trim_end().ends_with("[]") {
            return Kind::Other;
        }
        match name.as_str() {
            "text" | "character varying" | "varchar" | "character" | "char" | "bpchar" | "citext" | "name" => {
                Kind::Text
            }
            "smallint" | "integer" | "bigint" | "numeric" | "int2" | "int4" | "int8" => Kind::Number,
            "date" | "timestamptz" => Kind::Time,
            _ if name.starts_with("timestamp") => Kind::Time,
            "boolean" | "bool" | "json" | "jsonb" | "bytea" | "interval" | "real" | "double precision" => Kind::Other,
            _ if name.starts_with("time") => Kind::Other,
            _ => Kind::Unknown,
        }
    }
}

impl Mapping {
    /// The columns that a row has to bring; none when an expression takes the row as a whole.
    #[must_use]
    pub fn columns(&self) -> Option<BTreeSet<String>> {
        let mut env = engine::environment();
        let mut columns = BTreeSet::new();
        for (field, source) in self.sources() {
            if let Source::Column(name) = source {
                columns.insert(name.clone());
            }
            let Some(text) = source.template() else { continue };
            if env.add_template_owned(field.clone(), text).is_err() {
                continue;
            }
            let Ok(template) = env.get_template(&field) else { continue };
            match source {
                Source::Expression(_) => {
                    for path in template.undeclared_variables(true) {
                        let column = path.strip_prefix("row.").or_else(|| path.strip_prefix("old."))?;
                        columns.extend(column.split('.').next().map(str::to_owned));
                    }
                }
                Source::Template(_) => columns.extend(template.undeclared_variables(false)),
                Source::Column(_) | Source::Constant(_) => {}
            }
        }
        Some(columns)
    }

    /// Finds everything that is wrong with this mapping; empty when the trigger may be created.
    ///
    /// `columns` are those of the watched table, `required` the variables without which the templates of the trigger's policy
    /// refuse to render.
    #[must_use]
    pub fn validate(&self, columns: &[Column], required: &BTreeSet<String>) -> Vec<Violation> {
        let mut checker = Checker { columns, found: Vec::new() };
        match Compiled::new(self, required.clone()) {
            Err(violations) => checker.found.extend(violations),
            Ok(_) => checker.templates(self),
        }
        for (field, source) in self.sources() {
            if let Source::Column(name) = source {
                checker.column_exists(&field, name);
            }
        }
        checker.sizes(self);
        checker.addresses(self.country.is_some(), &self.addresses);
        checker.constants(self);
        checker.times(self);
        checker.variables(self, required);
        checker.found
    }
}

struct Checker<'a> {
    columns: &'a [Column],
    found: Vec<Violation>,
}

impl Checker<'_> {
    fn wrong(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.found.push(Violation::new(field, description));
    }

    fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name)
    }

    fn column_exists(&mut self, field: &str, name: &str) {
        if self.column(name).is_some() {
            return;
        }
        let mut known: Vec<&str> = self.columns.iter().take(30).map(|c| c.name.as_str()).collect();
        if self.columns.len() > known.len() {
            known.push("...");
        }
        let text = format!("the table has no column {name}; its columns are {}", known.join(", "));
        self.wrong(field, text);
    }

    fn templates(&mut self, mapping: &Mapping) {
        let mut env = engine::environment();
        for (field, source) in mapping.sources() {
            let Some(text) = source.template() else { continue };
            if text.len() > engine::MAX_SOURCE_BYTES {
                self.wrong(&field, format!("has more than {} bytes", engine::MAX_SOURCE_BYTES));
            }
            if env.add_template_owned(field.clone(), text).is_err() {
                continue;
            }
            let Ok(template) = env.get_template(&field) else { continue };
            if matches!(source, Source::Expression(_)) {
                self.expression(&field, &template.undeclared_variables(true).into_iter().collect());
                continue;
            }
            let names: BTreeSet<String> = template.undeclared_variables(false).into_iter().collect();
            for name in names.iter().filter(|n| !engine::GLOBALS.contains(&n.as_str())) {
                self.column_exists(&field, name);
            }
        }
    }

    /// An expression sees the row and the row before, and nothing else.
    fn expression(&mut self, field: &str, used: &BTreeSet<String>) {
        for path in used.iter().filter(|path| !engine::GLOBALS.contains(&path.as_str())) {
            let mut parts = path.split('.');
            match (parts.next(), parts.next()) {
                (Some("row" | "old"), Some(column)) => self.column_exists(field, column),
                (Some("row" | "old"), None) => {}
                (root, _) => {
                    let root = root.unwrap_or_default();
                    self.wrong(
                        field,
                        format!("uses {root}; columns are written row.{root}, or old.{root} for the row before"),
                    );
                }
            }
        }
    }

    fn sizes(&mut self, mapping: &Mapping) {
        let sizes = [
            ("addresses", mapping.addresses.len()),
            ("attributes", mapping.attributes.len()),
            ("variables", mapping.variables.len()),
        ];
        for (field, _) in sizes.iter().filter(|(_, n)| *n > MAX_ENTRIES) {
            self.wrong(*field, format!("has more than {MAX_ENTRIES} entries"));
        }
    }

    fn addresses(&mut self, has_country: bool, addresses: &[AddressSource]) {
        if addresses.is_empty() {
            self.wrong("addresses", "is empty: map a phone, an email or a whatsapp_user, or nobody can be reached");
        }
        for (i, address) in addresses.iter().enumerate() {
            let field = format!("addresses[{i}]");
            self.default_country(&field, address);
            match &address.source {
                Source::Column(name) => self.address_column(&field, name, has_country, address),
                Source::Constant(value) => self.constant_address(&field, value, address),
                Source::Template(_) | Source::Expression(_) => {}
            }
        }
    }

    fn default_country(&mut self, field: &str, address: &AddressSource) {
        let Some(country) = &address.default_country else { return };
        let field = format!("{field}.default_country");
        if address.kind != AddressKind::Phone {
            self.wrong(field, format!("is for phones only, not for {}", address.kind));
        } else if !phone::is_country(country) {
            self.wrong(field, "must be an ISO 3166 code of two letters such as IN");
        }
    }

    fn address_column(&mut self, field: &str, name: &str, has_country: bool, address: &AddressSource) {
        let Some(column) = self.column(name) else { return };
        let data_type = column.data_type.clone();
        match (column.kind(), address.kind) {
            (Kind::Text | Kind::Unknown, _) => {}
            (Kind::Number, AddressKind::Phone) if has_country || address.default_country.is_some() => {}
            (Kind::Number, AddressKind::Phone) => {
                let text = format!(
                    "column {name} is {data_type}, which cannot hold the + of a country code: set default_country"
                );
                self.wrong(field, text);
            }
            (Kind::Number | Kind::Time | Kind::Other, kind) => {
                self.wrong(field, format!("column {name} is {data_type}, which cannot hold an address of kind {kind}"));
            }
        }
    }

    fn constant_address(&mut self, field: &str, value: &serde_json::Value, address: &AddressSource) {
        match read::text(value) {
            Err(problem) => self.wrong(field, problem),
            Ok(None) => self.wrong(field, "is empty"),
            Ok(Some(text)) => {
                // A wrong country has been reported with its own field.
                let country = address.default_country.as_deref().filter(|c| phone::is_country(c));
                if let Err(error) = Address::parse(address.kind, &text, country) {
                    self.wrong(field, error.to_string());
                }
            }
        }
    }

    fn constants(&mut self, mapping: &Mapping) {
        self.constant("locale", mapping.locale.as_ref(), |t| Locale::parse(t).map(drop).map_err(|e| e.to_string()));
        self.constant("time_zone", mapping.time_zone.as_ref(), |t| zone::parse(t).map(drop));
        self.constant("purpose", mapping.purpose.as_ref(), |t| read::purpose(t).map(drop));
        for field in ["external_id", "dedup_key"] {
            let source = if field == "dedup_key" { &mapping.dedup_key } else { &mapping.external_id };
            if matches!(source, Some(Source::Constant(_))) {
                self.wrong(field, "is a constant, so all rows would be one: use a column or a template");
            }
        }
    }

    fn constant(&mut self, field: &str, source: Option<&Source>, check: impl Fn(&str) -> Result<(), String>) {
        let Some(Source::Constant(value)) = source else { return };
        match read::text(value) {
            Err(problem) => self.wrong(field, problem),
            Ok(None) => self.wrong(field, "is empty: leave it out or give a value"),
            Ok(Some(text)) => {
                if let Err(problem) = check(&text) {
                    self.wrong(field, problem);
                }
            }
        }
    }

    fn times(&mut self, mapping: &Mapping) {
        let times = [("valid_until", &mapping.valid_until), ("deliver_after", &mapping.deliver_after)];
        for (field, source) in times {
            match source {
                Some(Source::Constant(value)) => {
                    if let Err(problem) = read::instant(value, chrono_tz::UTC, DayEnd::Beginning) {
                        self.wrong(field, problem);
                    }
                }
                Some(Source::Column(name)) => {
                    let column = self.column(name).filter(|c| matches!(c.kind(), Kind::Number | Kind::Other));
                    if let Some(data_type) = column.map(|c| c.data_type.clone()) {
                        self.wrong(field, format!("column {name} is {data_type}, which is not a time"));
                    }
                }
                Some(Source::Template(_) | Source::Expression(_)) | None => {}
            }
        }
    }

    fn variables(&mut self, mapping: &Mapping, required: &BTreeSet<String>) {
        for name in required.iter().filter(|name| !mapping.variables.contains_key(*name)) {
            self.wrong(format!("variables.{name}"), "is required by the template and not mapped");
        }
        let groups = [("variables", &mapping.variables), ("attributes", &mapping.attributes)];
        for (group, name) in groups.iter().flat_map(|(group, map)| map.keys().map(move |name| (group, name))) {
            if let Some(problem) = crate::template::name_problem(name) {
                self.wrong(format!("{group}.{name}"), problem);
            }
        }
    }
}
