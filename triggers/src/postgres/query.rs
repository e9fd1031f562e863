//! An audience by SQL: a user's `SELECT` over a source, read-only, limited in time, and read page by page.
//!
//! The result is put aside by the server in a held cursor, so that planning a campaign, which may take minutes, holds no
//! transaction open in the user's database. The role of the source should be one that may only read; `role` narrows it further.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::Value;
use sqlx::{AssertSqlSafe, Column as _, Connection, Executor, PgConnection, Row, SqlSafeStr, Statement as _, TypeInfo};

use super::names::quote_identifier;
use super::{Error, Source};

/// The longest statement, in bytes.
const LONGEST: usize = 100_000;

/// A user's statement and its limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudienceQuery {
    /// One `SELECT` (or `WITH`, `VALUES`, `TABLE`), a closing semicolon allowed.
    pub sql: String,
    /// The role to read as; the source's role must be a member of it.
    pub role: Option<String>,
    /// How long the statement may run.
    pub timeout: Duration,
}

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultColumn {
    /// Its name.
    pub name: String,
    /// Its type, in Postgres's short form: `TEXT`, `INT8`.
    pub type_name: String,
}

/// Says which columns the statement returns, without running it.
///
/// # Errors
/// [`Error::Refused`] with the position of a mistake; [`Error::NotReadOnly`]; [`Error::Invalid`] where two columns have the
/// same name.
pub async fn describe(conn: &mut PgConnection, query: &AudienceQuery) -> Result<Vec<ResultColumn>, Error> {
    let sql = statement(&query.sql)?.to_owned();
    let mut transaction = conn.begin().await?;
    let outcome = async {
        begin_as(&mut transaction, query).await?;
        let statement = (&mut *transaction).prepare(AssertSqlSafe(sql).into_sql_str()).await?;
        Ok(statement
            .columns()
            .iter()
            .map(|column| ResultColumn {
                name: column.name().to_owned(),
                type_name: column.type_info().name().to_owned(),
            })
            .collect::<Vec<_>>())
    }
    .await;
    transaction.rollback().await?;
    let columns = explain_timeout(outcome, query.timeout)?;
    let mut seen = HashSet::new();
    match columns.iter().find(|column| !seen.insert(&column.name)) {
        Some(twice) => Err(Error::Invalid {
            field: "sql",
            problem: format!("returns two columns called {:?}; name one of them with AS", twice.name),
        }),
        None => Ok(columns),
    }
}

/// Checks that the result has at least one of the wanted columns, say `phone` or `email`.
///
/// # Errors
/// [`Error::Invalid`] that names what is wanted and what there is.
pub fn require_one_of(columns: &[ResultColumn], wanted: &[&str]) -> Result<(), Error> {
    if columns.iter().any(|column| wanted.contains(&column.name.as_str())) {
        return Ok(());
    }
    let existing = columns.iter().map(|column| format!("{:?}", column.name)).collect::<Vec<_>>().join(", ");
    let wanted = wanted.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(" or ");
    Err(Error::Invalid { field: "sql", problem: format!("returns no column {wanted}; it returns {existing}") })
}

/// The rows of an audience, read in pages over a connection of its own. Dropping it frees everything.
pub struct Pages {
    conn: PgConnection,
    columns: Vec<ResultColumn>,
}

impl Pages {
    /// Connects, runs the statement, and puts its result aside.
    ///
    /// # Errors
    /// As for [`describe`], and [`Error::Timeout`] if the statement ran too long.
    pub async fn open(source: &Source, query: &AudienceQuery) -> Result<Self, Error> {
        let mut conn = source.connect().await?;
        let columns = describe(&mut conn, query).await?;
        let head = "declare switchboard_audience scroll cursor with hold for select to_jsonb(audience.*) from (\n";
        let sql = format!("{head}{}\n) as audience", statement(&query.sql)?);
        let mut transaction = conn.begin().await?;
        let outcome = async {
            begin_as(&mut transaction, query).await?;
            sqlx::query(AssertSqlSafe(sql)).persistent(false).execute(&mut *transaction).await?;
            // Run it to its end here: a held cursor is filled at the commit, where no statement timeout holds.
            sqlx::query("move forward all from switchboard_audience")
                .persistent(false)
                .execute(&mut *transaction)
                .await?;
            sqlx::query("move absolute 0 from switchboard_audience")
                .persistent(false)
                .execute(&mut *transaction)
                .await?;
            Ok(())
        }
        .await;
        let outcome = match outcome {
            Ok(()) => transaction.commit().await.map_err(Error::from),
            Err(error) => {
                transaction.rollback().await?;
                Err(error)
            }
        };
        explain_timeout(outcome, query.timeout).map_err(|error| shift(error, head.chars().count()))?;
        Ok(Self { conn, columns })
    }

    /// The columns of each row.
    #[must_use]
    pub fn columns(&self) -> &[ResultColumn] {
        &self.columns
    }

    /// The next rows, at most `count`, as objects by column name; none at the end.
    ///
    /// # Errors
    /// A connection's error: the pages cannot be resumed, open them again.
    pub async fn next(&mut self, count: u32) -> Result<Vec<Value>, Error> {
        let sql = format!("fetch forward {count} from switchboard_audience");
        let rows = sqlx::query(AssertSqlSafe(sql)).persistent(false).fetch_all(&mut self.conn).await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// Ends the connection in order.
    ///
    /// # Errors
    /// A connection's error, which changes nothing.
    pub async fn close(self) -> Result<(), Error> {
        Ok(self.conn.close().await?)
    }
}

/// The statement without its closing semicolon, if it looks like one that reads. Postgres has the last word: the transaction
/// is read-only and takes one statement.
fn statement(sql: &str) -> Result<&str, Error> {
    let text = sql.trim_end().trim_end_matches(';').trim_end();
    let first = text.trim_start_matches(|c: char| c.is_whitespace() || c == '(');
    let word: String = first.chars().take_while(char::is_ascii_alphabetic).collect::<String>().to_lowercase();
    if text.len() > LONGEST {
        return Err(Error::Invalid { field: "sql", problem: format!("is longer than {LONGEST} bytes") });
    }
    if first.starts_with("--")
        || first.starts_with("/*")
        || ["select", "with", "values", "table"].contains(&word.as_str())
    {
        return Ok(text);
    }
    Err(Error::NotReadOnly(format!("an audience is one SELECT; this begins with {word:?}")))
}

/// Makes the transaction read-only, limited, and the role's.
async fn begin_as(conn: &mut PgConnection, query: &AudienceQuery) -> Result<(), Error> {
    limit(conn, query.timeout).await?;
    if let Some(role) = &query.role {
        super::names::check_identifier("role", role)?;
        let sql = format!("set local role {}", quote_identifier(role));
        sqlx::query(AssertSqlSafe(sql)).persistent(false).execute(conn).await?;
    }
    Ok(())
}

/// Makes the transaction read-only and limits its statements.
pub(super) async fn limit(conn: &mut PgConnection, timeout: Duration) -> Result<(), Error> {
    sqlx::query("set transaction read only").execute(&mut *conn).await?;
    let set = "select set_config('statement_timeout', $1, true), set_config('idle_in_transaction_session_timeout', '60s', true)";
    sqlx::query(set).bind(format!("{}ms", timeout.as_millis().max(1))).execute(conn).await?;
    Ok(())
}

/// Says what a cancelled or a writing statement was.
pub(super) fn explain_timeout<T>(outcome: Result<T, Error>, timeout: Duration) -> Result<T, Error> {
    outcome.map_err(|error| match error {
        Error::Refused { code, .. } if code == "57014" => {
            Error::Timeout { limit_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX) }
        }
        Error::Refused { code, message, .. } if code == "25006" => Error::NotReadOnly(message),
        error => error,
    })
}

/// Moves a position from our statement into the user's.
fn shift(error: Error, before: usize) -> Error {
    match error {
        Error::Refused { code, message, position } => {
            Error::Refused { code, message, position: position.and_then(|at| at.checked_sub(before)) }
        }
        error => error,
    }
}
