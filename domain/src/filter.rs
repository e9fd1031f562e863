//! Audience filters: which contacts are meant, in a documented subset of AIP-160.
//!
//! ```text
//! locale = "hi-IN" AND attributes.district = "Pune" AND (has(phone) OR NOT time_zone = "Asia/Kolkata")
//! ```
//!
//! | form | means |
//! |---|---|
//! | `field = "text"`, `!=` | equal, not equal; `*` at the end of the text matches any rest (`locale = "hi*"`) |
//! | `field < value`, `<=`, `>`, `>=` | before, after: numbers by value, texts by code point |
//! | `attributes.x:*` | the attribute is there and not null |
//! | `has(phone)`, `has(email)`, `has(whatsapp_user)` | the contact has an address of that kind |
//! | `NOT a`, `-a`, `a AND b`, `a OR b`, `( )` | as usual; as in AIP-160 **`OR` binds tighter than `AND`** |
//!
//! Fields are `external_id`, `display_name`, `locale`, `time_zone` (texts), and `attributes.NAME` (texts, numbers, booleans;
//! nested as `attributes.home.town`). Values are quoted texts, numbers, `true`, `false` and bare words. A field that is not
//! there satisfies no comparison, `!=` included: write `NOT attributes.x = "a"` to include contacts without it. An attribute
//! is compared with a number only when it is one. Two terms side by side without `AND` are refused, since AIP-160 gives them a
//! meaning that people do not expect.
//!
//! The tree is small on purpose: storage turns it into SQL with bound parameters, and [`Filter::matches`] says what that SQL
//! must mean. It never holds SQL itself.

mod parse;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};

use crate::channel::AddressKind;

/// The longest filter, in bytes.
pub const MAX_LENGTH: usize = 4096;
/// How deep parentheses and `NOT` may nest.
pub const MAX_DEPTH: usize = 20;
/// The most comparisons of one filter.
pub const MAX_TERMS: usize = 100;

/// A filter over contacts.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// Everybody: the empty filter.
    All,
    /// Every one of these holds; at least two.
    And(Vec<Filter>),
    /// One of these holds; at least two.
    Or(Vec<Filter>),
    /// This does not hold.
    Not(Box<Filter>),
    /// A field compares to a value.
    Compare {
        /// The field.
        field: Field,
        /// How it compares.
        operator: Operator,
        /// What it is compared with.
        value: Value,
    },
    /// An attribute is there and is not null; carries its path.
    Present(Field),
    /// The contact has an address of this kind.
    HasAddress(AddressKind),
}

/// A field of a contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// The caller's id.
    ExternalId,
    /// The name.
    DisplayName,
    /// The language, such as `hi-IN`.
    Locale,
    /// The IANA time zone.
    TimeZone,
    /// An attribute by its path, at least one name.
    Attribute(Vec<String>),
}

codes! {
    /// How a field compares to a value.
    pub enum Operator {
        /// Equal.
        Equal = "=",
        /// Not equal, and there.
        NotEqual = "!=",
        /// Less, or earlier in the alphabet.
        Less = "<",
        /// Less or equal.
        LessOrEqual = "<=",
        /// Greater.
        Greater = ">",
        /// Greater or equal.
        GreaterOrEqual = ">=",
    }
}

/// What a field is compared with.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A text, whole.
    Text(String),
    /// The beginning of a text; with `=` and `!=` only.
    Prefix(String),
    /// A number; finite, with attributes only.
    Number(f64),
    /// A truth value; with attributes and `=`, `!=` only.
    Bool(bool),
}

/// What is wrong with a filter, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at column {column}: {problem}")]
pub struct FilterError {
    /// The column in characters, counted from 1.
    pub column: usize,
    /// What is wrong and what is right.
    pub problem: String,
}

/// What a filter sees of a contact.
#[derive(Debug, Clone, Default)]
pub struct ContactView<'a> {
    /// The caller's id.
    pub external_id: Option<&'a str>,
    /// The name.
    pub display_name: Option<&'a str>,
    /// The language.
    pub locale: Option<&'a str>,
    /// The time zone.
    pub time_zone: Option<&'a str>,
    /// The attributes.
    pub attributes: Map<String, Json>,
    /// The kinds of the contact's addresses.
    pub address_kinds: BTreeSet<AddressKind>,
}

impl Filter {
    /// Reads a filter; an empty text is everybody.
    ///
    /// # Errors
    /// The first thing that is wrong, with its column.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        parse::parse(text)
    }

    /// Whether a contact is meant. What storage builds in SQL must say the same.
    #[must_use]
    pub fn matches(&self, contact: &ContactView<'_>) -> bool {
        match self {
            Self::All => true,
            Self::And(parts) => parts.iter().all(|part| part.matches(contact)),
            Self::Or(parts) => parts.iter().any(|part| part.matches(contact)),
            Self::Not(part) => !part.matches(contact),
            Self::HasAddress(kind) => contact.address_kinds.contains(kind),
            Self::Present(field) => contact.get(field).is_some(),
            Self::Compare { field, operator, value } => {
                contact.get(field).is_some_and(|found| compare(&found, *operator, value))
            }
        }
    }
}

impl ContactView<'_> {
    /// The value of a field; none when it is absent or null.
    fn get(&self, field: &Field) -> Option<Json> {
        let text = |text: Option<&str>| text.map(|t| Json::String(t.to_owned()));
        match field {
            Field::ExternalId => text(self.external_id),
            Field::DisplayName => text(self.display_name),
            Field::Locale => text(self.locale),
            Field::TimeZone => text(self.time_zone),
            Field::Attribute(path) => {
                let (first, rest) = path.split_first()?;
                let found = rest.iter().try_fold(self.attributes.get(first)?, |value, name| value.get(name))?;
                Some(found.clone()).filter(|value| !value.is_null())
            }
        }
    }
}

fn compare(found: &Json, operator: Operator, value: &Value) -> bool {
    let ordering = match (found, value) {
        (Json::String(text), Value::Text(wanted)) => Some(text.as_str().cmp(wanted)),
        (Json::String(text), Value::Prefix(prefix)) => {
            Some(if text.starts_with(prefix) { Ordering::Equal } else { Ordering::Less })
        }
        (Json::Number(number), Value::Number(wanted)) => number.as_f64().and_then(|n| n.partial_cmp(wanted)),
        (Json::Bool(flag), Value::Bool(wanted)) => Some(flag.cmp(wanted)),
        _ => None,
    };
    match (operator, ordering) {
        // A value of another type is there and is not equal.
        (Operator::NotEqual, ordering) => ordering != Some(Ordering::Equal),
        (_, None) => false,
        (Operator::Equal, Some(ordering)) => ordering.is_eq(),
        (Operator::Less, Some(ordering)) => ordering.is_lt(),
        (Operator::LessOrEqual, Some(ordering)) => ordering.is_le(),
        (Operator::Greater, Some(ordering)) => ordering.is_gt(),
        (Operator::GreaterOrEqual, Some(ordering)) => ordering.is_ge(),
    }
}
