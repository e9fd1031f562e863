//! The one room with SQL of ours. One function answers one question or makes one change; it takes a connection, so that
//! services compose transactions. Queries are checked at compile time against the schema in `migrations/`.
//!
//! Habits that hold here: names, never `select *`; bulk work through `unnest`, never a loop of statements; rows are locked in
//! id order before a set is written; machine time is `clock_timestamp()`, business time a parameter.

pub mod activities;
pub mod archive;
pub mod asking;
pub mod audiences;
pub mod beginning;
pub mod breakers;
pub mod call_lists;
pub mod calls;
pub mod campaigns;
pub mod caps;
pub mod channel_talk;
pub mod channels;
pub mod connectors;
pub mod consents;
pub mod contacts;
pub mod controllers;
pub mod conversation_state;
pub mod conversation_timers;
pub mod conversations;
pub mod db;
pub mod deciding;
pub mod directory;
pub mod dispatch;
pub mod event_sinks;
pub mod events;
pub mod feed;
pub mod firings;
pub mod history;
pub mod hooks;
pub mod housekeeping;
pub mod identity;
pub mod inbound;
pub mod leader;
pub mod leases;
pub mod listen;
pub mod mailing;
pub mod messages;
pub mod outcomes;
pub mod outside;
pub mod pace;
pub mod pairs;
pub mod participants;
pub mod planning;
pub mod plans;
pub mod policies;
pub mod pulling;
pub mod queue;
pub mod receipts;
pub mod receiving;
pub mod recipients;
pub mod requests;
pub mod schedules;
pub mod schema;
pub mod sending;
pub mod sessions;
pub mod sources;
pub mod suppressions;
pub mod taking;
pub mod templates;
pub mod triggers;
pub mod wake;
pub mod web_chat;

pub use db::{Conn, Db, Tx};

/// What can go wrong in storage, by what the caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Postgres cannot be reached or is shutting down: try again later.
    #[error("the database cannot be reached")]
    Unavailable(#[source] sqlx::Error),
    /// Two writers met (deadlock, serialisation, lock timeout): the whole transaction may be tried again.
    #[error("the transaction met another one")]
    Contended(#[source] sqlx::Error),
    /// The statement took too long and was ended.
    #[error("the statement took longer than it may")]
    Timeout(#[source] sqlx::Error),
    /// A unique constraint refused the row: what is to be created stands already.
    #[error("{constraint} refused the row")]
    Exists {
        /// The constraint's name.
        constraint: String,
    },
    /// A foreign key or check refused the row.
    #[error("{constraint} refused the row")]
    Refused {
        /// The constraint's name.
        constraint: String,
    },
    /// Stored data is not what this version expects.
    #[error("stored data cannot be read: {0}")]
    Corrupt(String),
    /// Anything else: a defect of ours.
    #[error(transparent)]
    Defect(sqlx::Error),
}

/// The result of every storage function.
pub type Result<T> = std::result::Result<T, Error>;

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) => {
                let constraint = || database.constraint().unwrap_or("a constraint").to_owned();
                match database.code().as_deref() {
                    Some("23505") => Self::Exists { constraint: constraint() },
                    Some("23503" | "23514" | "23502") => Self::Refused { constraint: constraint() },
                    Some("40001" | "40P01" | "55P03") => Self::Contended(error),
                    Some("57014") => Self::Timeout(error),
                    Some(code) if code.starts_with("08") || code.starts_with("57P") || code.starts_with("53") => {
                        Self::Unavailable(error)
                    }
                    _ => Self::Defect(error),
                }
            }
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unavailable(error),
            _ => Self::Defect(error),
        }
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::Corrupt(error.to_string())
    }
}

impl From<domain::UnknownCode> for Error {
    fn from(error: domain::UnknownCode) -> Self {
        Self::Corrupt(error.to_string())
    }
}

impl Error {
    /// Postgres did not answer within the caller's patience.
    #[must_use]
    pub const fn no_answer() -> Self {
        Self::Unavailable(sqlx::Error::PoolTimedOut)
    }

    /// Whether the same work may succeed when it is tried again.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Contended(_) | Self::Timeout(_))
    }
}
