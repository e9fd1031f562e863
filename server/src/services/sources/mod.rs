//! Sources: Postgres databases that are watched or queried. Their address is named, never held; a source is tried before it is
//! stored, and [`check`] says what is wrong with one in words that mend it.

mod check;
mod connect;
mod error;

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use check::{Checked, check};
pub use connect::{connect, open};
pub use error::{outside, violations};

use super::{Context, Error, Result, etag, work::Work};
pub use crate::storage::sources::SourceRow;
use crate::{
    storage::{self, Conn, sources},
    wake::Topic,
};

/// How many captured rows may wait where a source does not say.
pub const DEFAULT_OUTBOX_LIMIT: u64 = 1_000_000;
/// How long a connection to a source may take to be made.
const CONNECT: Duration = Duration::from_secs(10);

/// Where a source is, and its limits, as they are stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// The environment variable with the URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_env: Option<String>,
    /// The file with the URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_file: Option<String>,
    /// The role under which queries and dry runs are made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_role: Option<String>,
    /// How many captured rows may wait; none means [`DEFAULT_OUTBOX_LIMIT`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outbox_limit: Option<u64>,
}

/// How a source is, as its consumer last wrote it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// Whether the consumer is connected, or the last try to install captures was.
    pub connected: bool,
    /// What is wrong, in full sentences; empty when nothing is.
    pub last_error: String,
    /// How many captured rows wait.
    pub waiting: u64,
    /// When the last captured row was taken.
    pub last_capture_at: Option<DateTime<Utc>>,
}

/// What is written of a source; what is `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// What people call it.
    pub display_name: Option<String>,
    /// Where it is: the own database, or elsewhere.
    pub connection: Option<Connection>,
    /// The role of queries and dry runs; empty means that of the connection.
    pub query_role: Option<String>,
    /// How many captured rows may wait; 0 means the default.
    pub outbox_limit: Option<u64>,
}

/// Where a source is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    /// The database that holds our tables.
    Own,
    /// The URL stands in an environment variable.
    Env(String),
    /// The URL stands in a file.
    File(String),
}

/// Creates a source that can be reached.
///
/// # Errors
/// [`Error::AlreadyExists`]; what [`outside`] says of the try.
pub async fn create(context: &Context, work: &mut Work, slug: &str, change: Change) -> Result<SourceRow> {
    if sources::find(work.conn(), slug).await?.is_some() {
        return Err(Error::AlreadyExists(name(slug)));
    }
    // A schema of its own for each source: two sources may lead to one database, and two Switchboards may watch it.
    let capture_schema = format!("switchboard_capture_{:08x}", rand::random::<u32>());
    let now = work.now();
    let blank = SourceRow {
        id: 0,
        slug: slug.to_owned(),
        display_name: String::new(),
        own: false,
        settings: Value::Object(serde_json::Map::new()),
        capture_schema,
        system_identifier: None,
        health: Value::Object(serde_json::Map::new()),
        version: 1,
        created_at: now,
        updated_at: now,
    };
    let row = tried(context, merged(blank, change)?).await?;
    sources::insert(work.conn(), write_of(&row), &row.capture_schema, now).await?;
    work.wake(Topic::Triggers);
    one(work.conn(), slug).await
}

/// One source.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get(context: &Context, slug: &str) -> Result<SourceRow> {
    one(&mut *context.lists.conn().await?, slug).await
}

/// A page of sources by slug.
///
/// # Errors
/// What storage says.
pub async fn list(context: &Context, after: &str, limit: i64) -> Result<Vec<SourceRow>> {
    Ok(sources::list(&mut *context.lists.conn().await?, after, limit).await?)
}

/// Changes a source; the new connection is tried.
///
/// # Errors
/// [`Error::NotFound`], [`Error::EtagMismatch`], what [`outside`] says of the try.
pub async fn update(context: &Context, work: &mut Work, slug: &str, change: Change, etag: &str) -> Result<SourceRow> {
    let before = one(work.conn(), slug).await?;
    sources::lock_captures(work.conn(), before.id).await?;
    let before = one(work.conn(), slug).await?;
    etag::check(&name(slug), etag, before.version)?;
    let after = merged(before.clone(), change)?;
    if after != before {
        let (after, now) = (tried(context, after).await?, work.now());
        sources::update(work.conn(), write_of(&after), now).await?;
        work.wake(Topic::Triggers);
    }
    one(work.conn(), slug).await
}

/// Deletes a source, and what we made in its database.
///
/// # Errors
/// [`Error::NotFound`], [`Error::EtagMismatch`], [`Error::InUse`], what [`outside`] says.
pub async fn delete(context: &Context, work: &mut Work, slug: &str, etag: &str) -> Result<()> {
    let row = one(work.conn(), slug).await?;
    sources::lock_captures(work.conn(), row.id).await?;
    let row = one(work.conn(), slug).await?;
    etag::check(&name(slug), etag, row.version)?;
    if let Some(used_by) = sources::used_by(work.conn(), row.id, slug).await? {
        return Err(Error::InUse { name: name(slug), used_by });
    }
    let (source, mut conn) = connect(context, &row).await?;
    let of = |error| outside(slug, error);
    for (watch, _) in ::triggers::postgres::installed(&mut conn, &source.schema).await.map_err(of)? {
        ::triggers::postgres::uninstall(&mut conn, &source.schema, watch).await.map_err(of)?;
    }
    sources::delete(work.conn(), row.id).await?;
    work.wake(Topic::Triggers);
    Ok(())
}

/// The settings of a source.
///
/// # Errors
/// [`Error::Storage`] when what is stored cannot be read.
pub fn settings(row: &SourceRow) -> Result<Settings> {
    Ok(serde_json::from_value(row.settings.clone()).map_err(storage::Error::from)?)
}

/// How a source was, as its consumer last wrote it; none before it wrote.
#[must_use]
pub fn health(row: &SourceRow) -> Option<Health> {
    let written = row.health.as_object().is_some_and(|health| !health.is_empty());
    written.then(|| serde_json::from_value(row.health.clone()).ok()).flatten()
}

/// The resource name.
#[must_use]
pub fn name(slug: &str) -> String {
    format!("sources/{slug}")
}

async fn one(conn: &mut Conn, slug: &str) -> Result<SourceRow> {
    sources::find(conn, slug).await?.ok_or_else(|| Error::NotFound(name(slug)))
}

fn write_of(row: &SourceRow) -> sources::SourceWrite<'_> {
    sources::SourceWrite {
        slug: &row.slug,
        display_name: &row.display_name,
        own: row.own,
        settings: &row.settings,
        system_identifier: row.system_identifier.as_deref(),
    }
}

fn merged(before: SourceRow, change: Change) -> Result<SourceRow> {
    let mut settings = settings(&before)?;
    let mut own = before.own;
    if let Some(connection) = change.connection {
        own = connection == Connection::Own;
        (settings.url_env, settings.url_file) = match connection {
            Connection::Own => (None, None),
            Connection::Env(variable) => (Some(variable), None),
            Connection::File(path) => (None, Some(path)),
        };
    }
    if let Some(role) = change.query_role {
        settings.query_role = Some(role).filter(|role| !role.is_empty());
    }
    if let Some(limit) = change.outbox_limit {
        settings.outbox_limit = Some(limit).filter(|limit| *limit > 0);
    }
    let display_name = change.display_name.unwrap_or(before.display_name);
    let settings = serde_json::to_value(settings).map_err(storage::Error::from)?;
    Ok(SourceRow { own, settings, display_name, ..before })
}

/// Connects, and notes which cluster answered.
async fn tried(context: &Context, row: SourceRow) -> Result<SourceRow> {
    let (_, mut conn) = connect(context, &row).await?;
    let server = ::triggers::postgres::catalogue::server(&mut conn).await.map_err(|e| outside(&row.slug, e))?;
    Ok(SourceRow { system_identifier: Some(server.system_identifier), ..row })
}
