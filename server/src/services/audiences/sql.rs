//! Audiences by SQL: a user's query over a source, read under a read-only role with a time limit, its rows mapped to people.
//!
//! The source puts the whole result aside before the first page is read ([`triggers::postgres::query`]), so that reading it
//! slowly holds no transaction open there. A row that cannot be mapped is counted with its reasons, and the others go on.

use std::{collections::BTreeSet, time::Duration};

use domain::mapping::{Column, Compiled, Mapped, Unmappable};
use serde::{Deserialize, Serialize};
use serde_json::Map;
use triggers::postgres::{
    self, Source,
    query::{AudienceQuery, Pages, ResultColumn},
};

use crate::{
    services::{Context, Error, Result, Violation, error::all_right, sources, triggers::RowMapping},
    storage,
};

/// How long a query may take where it does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest that it may say.
pub const LONGEST_TIMEOUT: Duration = Duration::from_secs(600);
/// The longest query, in characters.
const MAX_QUERY: usize = 20_000;

/// A query and how its columns become people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Query {
    /// The slug of the source.
    pub source: String,
    /// One `SELECT`.
    pub query: String,
    /// How its columns become a contact and variables.
    pub mapping: RowMapping,
    /// How long it may take until its first page, in milliseconds; none: 30 seconds.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
}

impl Query {
    fn timeout(&self) -> Duration {
        self.timeout_ms.map_or(DEFAULT_TIMEOUT, Duration::from_millis).min(LONGEST_TIMEOUT)
    }
}

/// A row of a query: a person, or why it is none.
pub type Row = std::result::Result<Mapped, Unmappable>;

/// A query that was run, read page by page. Dropped, it frees everything in the source.
pub struct Reader {
    pages: Pages,
    mapping: Compiled,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

impl Reader {
    /// Runs a query.
    ///
    /// # Errors
    /// SOURCE_UNAVAILABLE, which may pass; SQL_TIMEOUT, SQL_INVALID, SECRET_MISSING and wrong columns, which do not.
    pub async fn open(context: &Context, query: &Query) -> Result<Self> {
        let (source, asked) = ask(context, query).await?;
        let pages = Pages::open(&source, &asked).await.map_err(|error| outside(query, &error))?;
        all_right(wrong(&query.mapping, pages.columns()))?;
        let mapping = Compiled::new(&query.mapping.to_domain(), BTreeSet::new())
            .map_err(|found| Error::Invalid(violations(&query.mapping, found)))?;
        Ok(Self { pages, mapping })
    }

    /// The next rows, at most `count`; none at the end.
    ///
    /// # Errors
    /// SOURCE_UNAVAILABLE: what was put aside is lost with the connection, and the query must be run again.
    pub async fn next(&mut self, count: usize) -> Result<Vec<Row>> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let rows = self.pages.next(count).await.map_err(|error| lost(&error))?;
        let none = Map::new();
        Ok(rows.iter().map(|row| self.mapping.apply(row.as_object().unwrap_or(&none))).collect())
    }
}

/// Describes a query without running it, and checks its mapping against the columns that it returns.
///
/// # Errors
/// Everything that is wrong with it, as [`Reader::open`].
pub async fn check(context: &Context, query: &Query) -> Result<()> {
    let (source, asked) = ask(context, query).await?;
    let mut conn = source.connect().await.map_err(|error| outside(query, &error))?;
    let columns = postgres::query::describe(&mut conn, &asked).await.map_err(|error| outside(query, &error))?;
    all_right(wrong(&query.mapping, &columns))
}

/// What is wrong with a mapping over these columns.
fn wrong(mapping: &RowMapping, columns: &[ResultColumn]) -> Vec<Violation> {
    let column = |c: &ResultColumn| Column { name: c.name.clone(), data_type: c.type_name.to_lowercase() };
    let columns: Vec<Column> = columns.iter().map(column).collect();
    violations(mapping, mapping.to_domain().validate(&columns, &BTreeSet::new()))
}

/// The violations of a mapping, by the names of the contract.
fn violations(mapping: &RowMapping, found: Vec<domain::violation::Violation>) -> Vec<Violation> {
    let named = |v: domain::violation::Violation| {
        let path = format!("sql.mapping.{}", mapping.path(&v.field));
        Violation::new(path, v.description).because("COLUMN_UNKNOWN")
    };
    found.into_iter().map(named).collect()
}

async fn ask(context: &Context, query: &Query) -> Result<(Source, AudienceQuery)> {
    if query.query.chars().count() > MAX_QUERY {
        return Err(Error::invalid("sql.query", format!("has more than {MAX_QUERY} characters")));
    }
    let row = storage::sources::find(&mut *context.lists.conn().await?, &query.source).await?;
    let missing =
        || Error::ReferenceNotFound { field: "sql.source".to_owned(), name: format!("sources/{}", query.source) };
    let row = row.ok_or_else(missing)?;
    let role = sources::settings(&row)?.query_role.filter(|role| !role.is_empty());
    let asked = AudienceQuery { sql: query.query.clone(), role, timeout: query.timeout() };
    Ok((sources::open(context, &row)?, asked))
}

fn lost(error: &postgres::Error) -> Error {
    Error::Outside { reason: "SOURCE_UNAVAILABLE", message: error.to_string() }
}

/// What a source said, by what the caller can do about it.
fn outside(query: &Query, error: &postgres::Error) -> Error {
    let reason = match error {
        postgres::Error::Unreachable(_) | postgres::Error::Unexpected(_) | postgres::Error::Busy { .. } => {
            return lost(error);
        }
        postgres::Error::Timeout { .. } => "SQL_TIMEOUT",
        postgres::Error::Refused { .. }
        | postgres::Error::NotReadOnly(_)
        | postgres::Error::Invalid { .. }
        | postgres::Error::BadCondition { .. }
        | postgres::Error::BadExpression { .. }
        | postgres::Error::TooOld(_)
        | postgres::Error::Standby
        | postgres::Error::NoSuchTable { .. }
        | postgres::Error::NotATable { .. }
        | postgres::Error::NoSuchColumns { .. }
        | postgres::Error::MissingPrivileges { .. }
        | postgres::Error::AlreadyInstalled(_) => "SQL_INVALID",
    };
    Error::Outside { reason, message: format!("the query over sources/{}: {error}", query.source) }
}

/// Whether trying again later may help.
#[must_use]
pub fn may_pass(error: &Error) -> bool {
    matches!(error, Error::Outside { reason: "SOURCE_UNAVAILABLE", .. })
        || matches!(error, Error::Storage(error) if error.is_transient())
}
