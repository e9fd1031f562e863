//! What a source refused, told as the contract tells it: violations of the request where the caller can change it, else what
//! stands in the way outside.

use ::triggers::postgres::Error as Refusal;

use crate::services::{Error, Violation};

/// The request's faults in a refusal, each with the field of a table watch; none when it is no fault of the request.
#[must_use]
pub fn violations(refusal: &Refusal) -> Vec<Violation> {
    let one = |field: &str, reason| vec![Violation::new(field, refusal.to_string()).because(reason)];
    match refusal {
        Refusal::NoSuchTable { table, .. } | Refusal::NotATable { table, .. } => {
            let found = Violation::new("table", refusal.to_string()).because("COLUMN_UNKNOWN");
            vec![found.with("schema", &table.schema).with("table", &table.name)]
        }
        Refusal::NoSuchColumns { table, missing, existing } => {
            let known = existing.join(", ");
            let of = |column: &String| {
                let words = format!("has {column}, which {table} does not have; its columns are {known}");
                Violation::new("update_columns", words).because("COLUMN_UNKNOWN").with("column", column)
            };
            missing.iter().map(of).collect()
        }
        Refusal::BadCondition { .. } | Refusal::BadExpression { .. } => one("condition", "SQL_INVALID"),
        Refusal::Refused { code, .. } => {
            vec![Violation::new("condition", refusal.to_string()).because("SQL_INVALID").with("sqlstate", code)]
        }
        Refusal::NotReadOnly(_) => one("condition", "SQL_INVALID"),
        Refusal::Invalid { field, problem } => vec![Violation::new(of_watch(field), problem.clone())],
        Refusal::Unreachable(_)
        | Refusal::Unexpected(_)
        | Refusal::TooOld(_)
        | Refusal::Standby
        | Refusal::MissingPrivileges { .. }
        | Refusal::AlreadyInstalled(_)
        | Refusal::Busy { .. }
        | Refusal::Timeout { .. } => Vec::new(),
    }
}

/// A refusal as an error of a use case.
#[must_use]
pub fn outside(slug: &str, refusal: Refusal) -> Error {
    let found = violations(&refusal);
    if !found.is_empty() {
        return Error::Invalid(found);
    }
    let reason = match &refusal {
        Refusal::MissingPrivileges { .. } => "PRIVILEGE_MISSING",
        Refusal::Timeout { .. } => "SQL_TIMEOUT",
        _ => "SOURCE_UNAVAILABLE",
    };
    Error::Outside { reason, message: format!("sources/{slug}: {refusal}") }
}

/// The crate's names of fields, as the contract spells them.
fn of_watch(field: &'static str) -> &'static str {
    match field {
        "update_of" | "columns" => "update_columns",
        "table.schema" => "schema",
        "table.name" => "table",
        other => other,
    }
}
