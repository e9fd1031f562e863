//! Whether the schema of a database is the one that this program was built for, and the first connection of a process.
//!
//! Queries here are not checked at compile time: they ask for the migrator's own table, which a fresh database does not have.

use std::{
    collections::BTreeMap,
    str::FromStr,
    time::{Duration, Instant},
};

use sqlx::{ConnectOptions, Connection, postgres::PgConnectOptions};

use super::{Conn, Error, Result, db::MIGRATOR};

/// The oldest PostgreSQL that is supported.
pub const MIN_SERVER: i32 = 150_000;
/// Pauses between two tries to connect: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// A schema, compared with ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schema {
    /// The same.
    Current,
    /// These migrations are missing, as `0001 contacts`.
    Behind(Vec<String>),
    /// The same, and more: a newer program has migrated it.
    Newer(i64),
    /// This migration was applied with another text, or failed half way.
    Different(String),
}

/// Compares the schema of a database with ours.
///
/// # Errors
/// What storage says.
pub async fn compare(conn: &mut Conn) -> Result<Schema> {
    let there: bool =
        sqlx::query_scalar("select to_regclass('_sqlx_migrations') is not null").fetch_one(&mut *conn).await?;
    let rows: Vec<(i64, Vec<u8>, bool)> = match there {
        true => sqlx::query_as("select version, checksum, success from _sqlx_migrations").fetch_all(conn).await?,
        false => Vec::new(),
    };
    let mut applied: BTreeMap<i64, (Vec<u8>, bool)> = rows.into_iter().map(|(v, sum, ok)| (v, (sum, ok))).collect();
    let mut missing = Vec::new();
    for migration in MIGRATOR.iter() {
        let name = format!("{:04} {}", migration.version, migration.description);
        match applied.remove(&migration.version) {
            None => missing.push(name),
            Some((checksum, true)) if checksum == *migration.checksum => {}
            Some(_) => return Ok(Schema::Different(name)),
        }
    }
    match (missing.is_empty(), applied.pop_last()) {
        (false, _) => Ok(Schema::Behind(missing)),
        (true, Some((version, _))) => Ok(Schema::Newer(version)),
        (true, None) => Ok(Schema::Current),
    }
}

/// The version of the server, such as 150018 for 15.18.
///
/// # Errors
/// What storage says.
pub async fn server_version(conn: &mut Conn) -> Result<i32> {
    Ok(sqlx::query_scalar("select current_setting('server_version_num')::int").fetch_one(conn).await?)
}

/// Connects to a database that may still be starting: tries again for `wait_for`, unless what it says will not pass by itself.
///
/// # Errors
/// The last cause.
pub async fn connect(url: &str, wait_for: Duration) -> Result<Conn> {
    let options = PgConnectOptions::from_str(url)?.application_name("switchboard");
    let (end, mut pause) = (Instant::now() + wait_for, PAUSES.0);
    loop {
        let left = end.saturating_duration_since(Instant::now()).max(Duration::from_secs(1));
        let tried = match tokio::time::timeout(left, options.connect()).await {
            Ok(tried) => tried.map_err(Error::from),
            Err(_) => Err(Error::no_answer()),
        };
        match tried {
            Err(Error::Unavailable(cause)) if Instant::now() + pause < end => {
                tracing::info!(cause = %cause, "the database cannot be reached yet; it is tried again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSES.1);
            }
            tried => return tried,
        }
    }
}

/// Applies what is missing; several processes may try at once. Says which migrations were applied.
///
/// # Errors
/// What Postgres or the migrator says.
pub async fn migrate(conn: &mut Conn) -> anyhow::Result<Vec<String>> {
    let before = compare(conn).await?;
    MIGRATOR.run(&mut *conn).await?;
    Ok(match before {
        Schema::Behind(missing) => missing,
        Schema::Current | Schema::Newer(_) | Schema::Different(_) => Vec::new(),
    })
}

/// Closes a connection in order; an error while closing changes nothing.
pub async fn close(conn: Conn) {
    let _ = conn.close().await;
}
