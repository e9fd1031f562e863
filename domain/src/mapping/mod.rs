//! Mappings: how a row of a watched table becomes a contact, its addresses and the variables of a notification.
//!
//! A [`Mapping`] is data, stored as JSON with its trigger. [`Mapping::validate`] finds everything that is wrong with one when
//! the trigger is created, given the columns of the table; [`Compiled`] is built once and maps one row after the other. A row
//! that cannot be mapped is told with reasons that never repeat personal data in full.

mod apply;
mod check;
mod read;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::channel::AddressKind;
pub use apply::{Compiled, Fault, Mapped, MappedContact, Reason, Unmappable};
pub use check::Column;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A column of the row, by name.
    Column(String),
    /// The same value for each row.
    Constant(serde_json::Value),
    /// A Jinja template over the columns of the row, such as `{{ first_name }} {{ last_name }}`.
    Template(String),
    /// A Jinja expression over `row`, and over `old` where the row was changed, such as `row.first_name ~ " " ~ row.last_name`.
    Expression(String),
}

impl Source {
    /// What the engine compiles; none for what is taken as it is.
    pub(crate) fn template(&self) -> Option<String> {
        match self {
            Self::Template(text) => Some(text.clone()),
            Self::Expression(text) => Some(format!("{{{{ {text} }}}}")),
            Self::Column(_) | Self::Constant(_) => None,
        }
    }
}

/// An address of the contact: its kind, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressSource {
    /// The kind.
    pub kind: AddressKind,
    /// Where the text comes from.
    pub source: Source,
    /// The country of phones without a country code: ISO 3166, such as `IN`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_country: Option<String>,
}

/// How a row becomes a notification.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mapping {
    /// The caller's id of the contact; rows with one id are one contact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_id: Option<Source>,
    /// The contact's name, for people who read lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<Source>,
    /// The contact's language, such as `hi-IN`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locale: Option<Source>,
    /// The contact's IANA time zone, such as `Asia/Kolkata`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<Source>,
    /// The country of phones without a country code; wins over that of an address where it has a value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<Source>,
    /// The contact's addresses; at least one.
    pub addresses: Vec<AddressSource>,
    /// Attributes to keep with the contact.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, Source>,
    /// The variables of the templates.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, Source>,
    /// Why one writes, such as `service` or `reminder`; the trigger's own purpose when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<Source>,
    /// Rows with one key are one notification.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dedup_key: Option<Source>,
    /// The time after which nothing is sent; a date without a time means its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Source>,
    /// The time before which nothing is sent; a date without a time means its beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deliver_after: Option<Source>,
    /// The zone of times that carry no offset (`timestamp` and `date` columns); UTC when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

impl Mapping {
    /// Every source with the path of its field.
    pub(crate) fn sources(&self) -> Vec<(String, &Source)> {
        let single = [
            ("external_id", &self.external_id),
            ("display_name", &self.display_name),
            ("locale", &self.locale),
            ("time_zone", &self.time_zone),
            ("country", &self.country),
            ("purpose", &self.purpose),
            ("dedup_key", &self.dedup_key),
            ("valid_until", &self.valid_until),
            ("deliver_after", &self.deliver_after),
        ];
        let single = single.into_iter().filter_map(|(field, source)| Some((field.to_owned(), source.as_ref()?)));
        let addresses = self.addresses.iter().enumerate().map(|(i, a)| (format!("addresses[{i}]"), &a.source));
        let attributes = self.attributes.iter().map(|(name, source)| (format!("attributes.{name}"), source));
        let variables = self.variables.iter().map(|(name, source)| (format!("variables.{name}"), source));
        single.chain(addresses).chain(attributes).chain(variables).collect()
    }
}
