//! Rows that are in a table already, in the shape in which a capture would have written them: to try a mapping before it acts.
//!
//! Reads only, in a read-only transaction with a time limit.

use std::time::Duration;

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::expression::check_expression;
use super::functions::project;
use super::{Error, MissingPrivilege, Watch, catalogue};
use crate::Operation;

/// The most rows of one read: ten thousand, and one that shows that there are more.
pub const MOST_ROWS: u32 = 10_001;

/// What a dry run shows.
#[derive(Debug, Clone, PartialEq)]
pub struct DryRun {
    /// The rows, by column name.
    pub rows: Vec<Value>,
    /// Whether the watch's condition was applied: it cannot be for a watch of updates alone, whose condition compares
    /// two rows.
    pub condition_applied: bool,
}

/// Reads at most `limit` rows (1 to [`MOST_ROWS`]) of the watch's table. `filter` is an SQL condition over the columns.
///
/// # Errors
/// What the catalogue and [`Watch::check`] refuse; [`Error::MissingPrivileges`] with the grant that lets the role read;
/// [`Error::Timeout`]; [`Error::Refused`] where the filter is wrong, with its position.
pub async fn dry_run(
    conn: &mut PgConnection,
    watch: &Watch,
    filter: Option<&str>,
    limit: u32,
    timeout: Duration,
) -> Result<DryRun, Error> {
    if !(1..=MOST_ROWS).contains(&limit) {
        return Err(Error::Invalid { field: "limit", problem: format!("must be from 1 to {MOST_ROWS}") });
    }
    let table = catalogue::describe(conn, &watch.table).await?;
    watch.check(&table)?;
    filter.map_or(Ok(()), check_expression)?;
    let alias = alias(&watch.operations);
    let condition = watch.condition.as_deref().filter(|_| alias.is_some());
    let row = alias.unwrap_or("new");
    let head = format!(
        "select {} from (select to_jsonb({row}.*) as doc from {} as {row} where (\n",
        project("t.doc", &watch.kept(&table)),
        watch.table.quoted(),
    );
    let filter = filter.unwrap_or("true");
    let sql = format!("{head}{filter}\n) and (\n{}\n) limit {limit}) t", condition.unwrap_or("true"));
    let rows = read(conn, sql, timeout).await.map_err(|error| match error {
        Error::Refused { code, .. } if code == "42501" => denied(watch),
        Error::Refused { code, message, position } => {
            let inside = |at: &usize| (1..=filter.chars().count()).contains(at);
            Error::Refused {
                code,
                message,
                position: position.and_then(|at| at.checked_sub(head.chars().count())).filter(inside),
            }
        }
        error => error,
    })?;
    Ok(DryRun { rows, condition_applied: watch.condition.is_none() || condition.is_some() })
}

/// Under which name the existing row stands in the watch's condition, if one row is enough for it.
fn alias(operations: &[Operation]) -> Option<&'static str> {
    if operations.contains(&Operation::Insert) {
        Some("new")
    } else if operations == [Operation::Delete] {
        Some("old")
    } else {
        None
    }
}

async fn read(conn: &mut PgConnection, sql: String, timeout: Duration) -> Result<Vec<Value>, Error> {
    let mut transaction = conn.begin().await?;
    let outcome = async {
        super::query::limit(&mut transaction, timeout).await?;
        Ok(sqlx::query_scalar(AssertSqlSafe(sql)).persistent(false).fetch_all(&mut *transaction).await?)
    }
    .await;
    transaction.rollback().await?;
    super::query::explain_timeout(outcome, timeout)
}

fn denied(watch: &Watch) -> Error {
    let table = watch.table.quoted();
    Error::MissingPrivileges {
        role: "the source's role".to_owned(),
        missing: vec![MissingPrivilege {
            privilege: format!("SELECT on table {table}"),
            grant: format!("grant select on table {table} to the source's role"),
        }],
    }
}
