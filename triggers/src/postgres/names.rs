//! Names and literals of Postgres, quoted so that no name can become SQL, and the numbers that are locked.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Error;

/// The longest identifier that Postgres keeps, in bytes.
const LONGEST_IDENTIFIER: usize = 63;

/// Quotes an identifier: `we"ird` becomes `"we""ird"`.
#[must_use]
pub fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes a text literal, for a session in which `standard_conforming_strings` is on.
#[must_use]
pub fn quote_literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A `text[]` literal of names.
#[must_use]
pub(crate) fn text_array(names: &[String]) -> String {
    format!("array[{}]::text[]", names.iter().map(|name| quote_literal(name)).collect::<Vec<_>>().join(", "))
}

/// Says what is wrong with a name, if anything is: Postgres would cut a long one in silence, and cannot hold a zero byte.
pub(crate) fn check_identifier(field: &'static str, name: &str) -> Result<(), Error> {
    let problem = if name.is_empty() {
        "is empty".to_owned()
    } else if name.len() > LONGEST_IDENTIFIER {
        format!("{name:?} is longer than {LONGEST_IDENTIFIER} bytes, the longest that Postgres keeps")
    } else if name.contains('\0') {
        format!("{name:?} contains a zero byte")
    } else {
        return Ok(());
    };
    Err(Error::Invalid { field, problem })
}

/// A table by schema and name, both as Postgres stores them (unquoted, case kept).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableName {
    /// The schema: `public` if it was not said.
    pub schema: String,
    /// The table.
    pub name: String,
}

impl TableName {
    /// A table by its two names.
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self { schema: schema.into(), name: name.into() }
    }

    /// The quoted form for SQL: `"public"."orders"`.
    #[must_use]
    pub fn quoted(&self) -> String {
        format!("{}.{}", quote_identifier(&self.schema), quote_identifier(&self.name))
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        check_identifier("table.schema", &self.schema)?;
        check_identifier("table.name", &self.name)
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.quoted())
    }
}

impl FromStr for TableName {
    type Err = Error;

    /// Reads `orders`, `sales.orders` or `"Sales"."we""ird"`: as in SQL, an unquoted name is folded to lower case.
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |problem: &str| Error::Invalid { field: "table", problem: format!("{text:?} {problem}") };
        let mut parts = Vec::new();
        let mut rest = text.trim();
        loop {
            let (part, after) = if rest.starts_with('"') {
                quoted_part(rest).ok_or_else(|| wrong("has a quote that is not closed"))?
            } else {
                let end = rest.find('.').unwrap_or(rest.len());
                let part = &rest[..end];
                if !part.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '$') {
                    return Err(wrong("must be quoted where it holds other characters than letters, digits, _ and $"));
                }
                (part.to_lowercase(), &rest[end..])
            };
            parts.push(part);
            match after.strip_prefix('.') {
                Some(after) => rest = after,
                None if after.is_empty() => break,
                None => return Err(wrong("goes on after the table's name")),
            }
        }
        let name = match <[String; 2]>::try_from(parts) {
            Ok([schema, name]) => Self { schema, name },
            Err(parts) => match <[String; 1]>::try_from(parts) {
                Ok([name]) => Self::new("public", name),
                Err(_) => return Err(wrong("has too many parts; it should be schema.table")),
            },
        };
        name.check()?;
        Ok(name)
    }
}

/// Splits a leading quoted identifier from what follows it.
fn quoted_part(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c != '"' {
            name.push(c);
        } else if chars.next_if(|(_, next)| *next == '"').is_some() {
            name.push('"');
        } else {
            return Some((name, &text[at + 1..]));
        }
    }
    None
}

/// The class of all advisory locks of Switchboard's captures: "SWBC" in ASCII.
pub const LOCK_CLASS: i32 = 0x5357_4243;

/// What an advisory lock of a capture schema is for; the lock's two keys are [`LOCK_CLASS`] and [`lock_key`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockPurpose {
    /// Held exclusively by a consumer that sleeps; writers try it shared.
    Sleep,
    /// Held by the consumer that leads.
    Leader,
    /// Held while the capture is installed or removed.
    Install,
}

/// The second key: a hash of the capture schema's name (FNV-1a), its two lowest bits the purpose. Two Switchboards that
/// watch one database under two schema names do not meet.
#[must_use]
pub fn lock_key(schema: &str, purpose: LockPurpose) -> i32 {
    let hash = schema.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let purpose = match purpose {
        LockPurpose::Sleep => 0,
        LockPurpose::Leader => 1,
        LockPurpose::Install => 2,
    };
    i32::from_ne_bytes(((hash << 2) | purpose).to_ne_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_names_read_as_sql_reads_them() {
        for (text, schema, name) in [
            ("orders", "public", "orders"),
            ("Sales.Orders", "sales", "orders"),
            (r#""Sales"."we""ird Table""#, "Sales", "we\"ird Table"),
            (r#"a."b.c""#, "a", "b.c"),
        ] {
            assert_eq!(text.parse::<TableName>().unwrap(), TableName::new(schema, name), "{text}");
        }
        for text in ["", "a.b.c", "a b", "\"open", "\"a\"x", "a.", "a;drop table b"] {
            assert!(text.parse::<TableName>().is_err(), "{text}");
        }
    }

    #[test]
    fn quoting_leaves_no_way_out() {
        assert_eq!(TableName::new("s", "a\"; drop table b; --").quoted(), "\"s\".\"a\"\"; drop table b; --\"");
        assert_eq!(quote_literal("it's"), "'it''s'");
    }

    #[test]
    fn locks_of_one_schema_and_of_two_differ() {
        let keys =
            [LockPurpose::Sleep, LockPurpose::Leader, LockPurpose::Install].map(|purpose| lock_key("a", purpose));
        assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2]);
        assert_ne!(lock_key("a", LockPurpose::Sleep), lock_key("b", LockPurpose::Sleep));
    }
}
