//! A watched database: how to reach it, and the schema in it that belongs to Switchboard.

use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};

use super::Error;
use super::names::{LockPurpose, check_identifier, lock_key};
use crate::SourceId;

/// A Postgres database that is watched. Connections are direct, not through a pooler in transaction mode: listening and
/// session locks belong to a connection.
#[derive(Debug, Clone)]
pub struct Source {
    /// The server's key.
    pub id: SourceId,
    /// Address and role. The role owns the capture schema.
    pub options: PgConnectOptions,
    /// The schema in that database that holds what captures write.
    pub schema: CaptureSchema,
}

impl Source {
    /// Opens a connection for catalogue reads and installations, named in `pg_stat_activity`.
    ///
    /// # Errors
    /// [`Error::Unreachable`], or [`Error::Refused`] where the role or the password is wrong.
    pub async fn connect(&self) -> Result<PgConnection, Error> {
        let options = self.options.clone().application_name("switchboard").disable_statement_logging();
        Ok(PgConnection::connect_with(&options).await?)
    }
}

/// The schema that holds the outbox of a database, and its limits. They are written into the capture's functions: a change
/// takes effect with the next installation of any watch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CaptureSchema {
    /// The schema's name, at most 36 bytes; also the notification channel. One for each Switchboard that watches the database.
    pub name: String,
    /// Rows that may wait in the outbox; beyond it capture stops with a gap mark. A soft limit: one statement may pass it.
    pub max_rows: u64,
    /// Bytes that the outbox may take once more than ten thousand rows wait. Soft too.
    pub max_bytes: u64,
    /// Bytes of one row's columns in use; of a larger row only the primary key is kept, with a fault. At least 1 KiB.
    pub max_row_bytes: u32,
    /// Whether writers wake a sleeping consumer. Switch it off where prepared transactions are used: they cannot carry `NOTIFY`;
    /// the consumer then finds rows by looking each `ConsumerSettings::idle_look`.
    pub notify: bool,
    /// How long an installation waits for a table's lock, in milliseconds: writers queue behind it meanwhile.
    pub lock_timeout_ms: u64,
}

impl Default for CaptureSchema {
    fn default() -> Self {
        Self {
            name: "switchboard_capture".to_owned(),
            max_rows: 1_000_000,
            max_bytes: 1 << 30,
            max_row_bytes: 32 << 10,
            notify: true,
            lock_timeout_ms: 2000,
        }
    }
}

/// The smallest row of the outbox on disk, rounded down: below `max_rows` times this, the limit cannot be reached.
const SMALLEST_ROW_BYTES: u64 = 64;

impl CaptureSchema {
    /// Says what is wrong with these settings, if anything is.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the field.
    pub fn check(&self) -> Result<(), Error> {
        check_identifier("schema.name", &self.name)?;
        let invalid = |field, problem: &str| Err(Error::Invalid { field, problem: problem.to_owned() });
        if self.name.len() > 36 {
            return invalid("schema.name", "is longer than 36 bytes; triggers on the table are named after it");
        }
        if self.name.starts_with("pg_") || ["public", "information_schema"].contains(&self.name.as_str()) {
            return invalid("schema.name", "must be a schema of its own, not one of Postgres or the public one");
        }
        if self.max_rows == 0 || self.max_rows > 1_000_000_000 {
            return invalid("schema.max_rows", "must be from 1 to 1000000000");
        }
        if self.max_row_bytes < 1024 || self.max_row_bytes > 16 << 20 {
            return invalid("schema.max_row_bytes", "must be from 1024 to 16777216");
        }
        if self.max_bytes < 1 << 20 || self.max_bytes > 1 << 44 {
            return invalid("schema.max_bytes", "must be from 1 MiB to 16 TiB");
        }
        if !(100..=60_000).contains(&self.lock_timeout_ms) {
            return invalid("schema.lock_timeout_ms", "must be from 100 to 60000");
        }
        Ok(())
    }

    /// The size of the outbox's file below which neither limit can have been reached: asking it costs the writer next to nothing.
    pub(crate) fn gate_bytes(&self) -> u64 {
        (self.max_rows * SMALLEST_ROW_BYTES).min(self.max_bytes / u64::from(self.max_row_bytes) * SMALLEST_ROW_BYTES)
    }

    /// How many writes pass between two looks into an outbox whose file is large: a limit of many rows may be passed by a few.
    pub(crate) const fn look_each(&self) -> u32 {
        if self.max_rows < 100_000 { 1 } else { 64 }
    }

    /// The key of one of this schema's advisory locks.
    pub(crate) fn lock(&self, purpose: LockPurpose) -> i32 {
        lock_key(&self.name, purpose)
    }

    /// The quoted name of something in the schema.
    pub(crate) fn own(&self, name: &str) -> String {
        format!("{}.{}", super::names::quote_identifier(&self.name), super::names::quote_identifier(name))
    }
}
