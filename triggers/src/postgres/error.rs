//! Everything that can go wrong with a watched Postgres, told so that its owner can mend it.

use std::fmt;

use sqlx::postgres::{PgDatabaseError, PgErrorPosition};

use super::names::TableName;
use crate::Operation;

/// An error of a source: what is wrong, and where possible the statement that mends it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database cannot be reached, or the connection was lost; worth another try.
    #[error("the source cannot be reached: {0}")]
    Unreachable(#[source] sqlx::Error),
    /// An answer that this crate does not understand: a defect, or a capture schema that was changed by hand.
    #[error("unexpected answer of the source: {0}")]
    Unexpected(#[source] sqlx::Error),
    /// The server is older than capture needs (13, for `xid8`).
    #[error("the source runs PostgreSQL {0}; capture needs 13 or newer")]
    TooOld(String),
    /// The source is a standby: triggers and outbox can only be written on the primary.
    #[error("the source is a standby in recovery; give the address of the primary")]
    Standby,
    /// No such table, or its schema may not be used.
    #[error("{table} does not exist or its schema is not visible to {role}")]
    NoSuchTable {
        /// What was asked for.
        table: TableName,
        /// The role that asked.
        role: String,
    },
    /// A relation that cannot be watched.
    #[error("{table} is {kind}, which cannot be watched; watch {instead}")]
    NotATable {
        /// What was asked for.
        table: TableName,
        /// What it is, with its article: "a view".
        kind: &'static str,
        /// What to watch instead.
        instead: &'static str,
    },
    /// Columns that the table does not have.
    #[error("{table} has no column {}; it has {}", list(missing), list(existing))]
    NoSuchColumns {
        /// The table.
        table: TableName,
        /// Those that are missing.
        missing: Vec<String>,
        /// Those that there are.
        existing: Vec<String>,
    },
    /// Privileges that the role lacks, each with the statement that grants it.
    #[error("{role} lacks {}", lacks(missing))]
    MissingPrivileges {
        /// The role that lacks them.
        role: String,
        /// All that is missing, not only the first.
        missing: Vec<MissingPrivilege>,
    },
    /// The `WHEN` condition is not a condition over the row.
    #[error("the condition is not valid for {operation}: {message}{}", at(*position))]
    BadCondition {
        /// The operation for which it failed: `old` exists for update and delete, `new` for insert and update.
        operation: Operation,
        /// What Postgres says.
        message: String,
        /// The character of the condition at which it failed, from 1.
        position: Option<usize>,
    },
    /// A piece of SQL that was refused before it reached the database.
    #[error("the SQL expression is refused: {message}{}", at(Some(*position)))]
    BadExpression {
        /// Why.
        message: &'static str,
        /// The character at which it was refused, from 1.
        position: usize,
    },
    /// A name or a number of a watch that cannot be.
    #[error("{field}: {problem}")]
    Invalid {
        /// The field of the watch.
        field: &'static str,
        /// What is wrong, and what is right.
        problem: String,
    },
    /// The watch is installed already with another definition; remove it first.
    #[error("watch {0} is installed already with another definition; replace it instead")]
    AlreadyInstalled(i64),
    /// The table, or the outbox, was locked by others for longer than `lock_timeout`; nothing was changed, try again.
    #[error(
        "the table is in use: its lock was not free within {wait_ms} ms; nothing was changed, try again in a quiet moment"
    )]
    Busy {
        /// How long it waited.
        wait_ms: u64,
    },
    /// The statement ran longer than it may.
    #[error("the statement ran longer than {limit_ms} ms and was stopped")]
    Timeout {
        /// The limit.
        limit_ms: u64,
    },
    /// The user's statement is not one that reads.
    #[error("{0}")]
    NotReadOnly(String),
    /// Postgres refused a statement.
    #[error("{message}{} (SQLSTATE {code})", at(*position))]
    Refused {
        /// SQLSTATE.
        code: String,
        /// What Postgres says, with its detail and hint.
        message: String,
        /// The character of the statement at which it failed, from 1.
        position: Option<usize>,
    },
}

/// One privilege that a role lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingPrivilege {
    /// What it is: `TRIGGER on table "public"."orders"`.
    pub privilege: String,
    /// The statement with which an owner grants it.
    pub grant: String,
}

impl fmt::Display for MissingPrivilege {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (mend with: {};)", self.privilege, self.grant)
    }
}

fn lacks(missing: &[MissingPrivilege]) -> String {
    missing.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn list(names: &[String]) -> String {
    names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}

fn at(position: Option<usize>) -> String {
    position.map(|position| format!(" at character {position}")).unwrap_or_default()
}

impl Error {
    /// Whether trying again later, unchanged, may succeed.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Busy { .. } | Self::Timeout { .. })
    }

    /// The SQLSTATE, if Postgres refused a statement.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            _ => None,
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        let Some(refusal) = error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>())
        else {
            return match error {
                sqlx::Error::ColumnDecode { .. }
                | sqlx::Error::ColumnNotFound(_)
                | sqlx::Error::ColumnIndexOutOfBounds { .. }
                | sqlx::Error::RowNotFound
                | sqlx::Error::Decode(_)
                | sqlx::Error::Encode(_)
                | sqlx::Error::TypeNotFound { .. } => Self::Unexpected(error),
                error => Self::Unreachable(error),
            };
        };
        // 08 connection, 57P0x shutdown, 53 resources: the server's state, not the statement's fault.
        if ["08", "57P", "53"].iter().any(|class| refusal.code().starts_with(class)) {
            return Self::Unreachable(error);
        }
        let extra = |label: &str, text: Option<&str>| text.map(|text| format!("; {label}: {text}")).unwrap_or_default();
        Self::Refused {
            code: refusal.code().to_owned(),
            message: format!("{}{}", refusal.message(), extra("hint", refusal.hint())),
            position: match refusal.position() {
                Some(PgErrorPosition::Original(position)) => Some(position),
                Some(PgErrorPosition::Internal { .. }) | None => None,
            },
        }
    }
}
