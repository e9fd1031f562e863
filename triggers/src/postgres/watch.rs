//! What to capture of one table, and the checks that need no database.

use serde::{Deserialize, Serialize};

use super::expression::check_expression;
use super::names::{TableName, check_identifier};
use super::{Error, Table};
use crate::{Operation, WatchId};

/// One watched table. Two watches of the same table are two captures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// The server's key.
    pub id: WatchId,
    /// The table.
    pub table: TableName,
    /// What to capture; at least one, each once.
    pub operations: Vec<Operation>,
    /// Capture an update only if its statement names one of these columns; empty: any update.
    #[serde(default)]
    pub update_of: Vec<String>,
    /// With `update_of`: capture only if one of these columns got another value, so that a program that saves all columns
    /// each time does not fire.
    #[serde(default)]
    pub only_changes: bool,
    /// An SQL condition over `new` (insert, update) and `old` (update, delete): as in a trigger's `WHEN`, no subqueries.
    #[serde(default)]
    pub condition: Option<String>,
    /// The columns to keep, the primary key added; empty: all. Keep few: they lie in the outbox until they were taken.
    #[serde(default)]
    pub columns: Vec<String>,
    /// Whether a fault of the capture fails the user's write. If not, the write succeeds and a gap mark stands.
    #[serde(default)]
    pub strict: bool,
}

/// How a capture is attached to its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A row trigger, with `UPDATE OF` and `WHEN`.
    Row,
    /// A statement trigger with transition tables: a bulk write costs one statement.
    Statement,
}

impl Watch {
    /// Says what is wrong with this watch of that table, if anything is.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::BadExpression`] or [`Error::NoSuchColumns`] with all missing columns.
    pub fn check(&self, table: &Table) -> Result<(), Error> {
        let invalid = |field, problem: &str| Err(Error::Invalid { field, problem: problem.to_owned() });
        self.table.check()?;
        if self.id.0 < 1 {
            return invalid("id", "must be above 0");
        }
        if self.operations.is_empty() {
            return invalid("operations", "must name at least one of INSERT, UPDATE, DELETE");
        }
        if self.operations.iter().enumerate().any(|(i, operation)| self.operations[..i].contains(operation)) {
            return invalid("operations", "names an operation twice");
        }
        if !self.update_of.is_empty() && !self.operations.contains(&Operation::Update) {
            return invalid("update_of", "is given, but UPDATE is not among the operations");
        }
        if self.only_changes && self.update_of.is_empty() {
            return invalid("only_changes", "needs update_of, the columns to compare");
        }
        for name in self.update_of.iter().chain(&self.columns) {
            check_identifier("columns", name)?;
        }
        self.condition.as_deref().map_or(Ok(()), check_expression)?;
        table.require(self.update_of.iter().chain(&self.columns))
    }

    /// The columns to keep: those in use and the primary key, each once; empty for all.
    pub(crate) fn kept(&self, table: &Table) -> Vec<String> {
        if self.columns.is_empty() {
            return Vec::new();
        }
        let mut kept = table.primary_key.clone();
        for column in &self.columns {
            if !kept.contains(column) {
                kept.push(column.clone());
            }
        }
        kept
    }

    /// Row triggers where rows are filtered, and on trees of tables: only they reach a partition that is written directly.
    pub(crate) fn form(&self, operation: Operation, table: &Table) -> Form {
        let filtered = self.condition.is_some() || (operation == Operation::Update && !self.update_of.is_empty());
        if filtered || table.kind.is_tree() { Form::Row } else { Form::Statement }
    }
}
