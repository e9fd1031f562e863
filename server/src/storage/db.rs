//! The pool, its connection options, and the only way to begin a transaction.

use std::{str::FromStr, time::Duration};

use sqlx::{
    Connection, PgPool, Postgres, Transaction,
    postgres::{PgConnectOptions, PgConnection, PgPoolOptions},
};

use super::{Error, Result};

/// What storage functions take: a connection, alone or inside a transaction.
pub type Conn = PgConnection;

/// A transaction; dropped without commit it is rolled back.
pub type Tx = Transaction<'static, Postgres>;

/// A pool of connections to our own database.
#[derive(Debug, Clone)]
pub struct Db {
    pool: PgPool,
}

/// How a pool's statements are planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planner {
    /// As Postgres sees fit: lists, searches, administration.
    Free,
    /// Only index paths and nested loops: the hot statements, whose generic plans go wrong on tables that were empty when
    /// the plan was made.
    Hot,
}

/// How long a connection may have been idle and be used without a question.
const TRUSTED: Duration = Duration::from_secs(1);

impl Db {
    /// Opens a pool. Connections are made on demand, so this succeeds while Postgres is still away.
    ///
    /// # Errors
    /// [`Error::Defect`] when the URL cannot be read.
    pub fn open(url: &str, connections: u32, planner: Planner) -> Result<Self> {
        let mut options = PgConnectOptions::from_str(url)?.application_name("switchboard").options([
            ("statement_timeout", "30s"),
            ("lock_timeout", "10s"),
            ("idle_in_transaction_session_timeout", "30s"),
            ("jit", "off"),
        ]);
        if planner == Planner::Hot {
            options =
                options.options([("enable_hashjoin", "off"), ("enable_mergejoin", "off"), ("enable_seqscan", "off")]);
        }
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(Duration::from_secs(5))
            .test_before_acquire(false)
            .before_acquire(|conn, state| {
                Box::pin(async move {
                    // One that was just used is still there, as far as that can be known; asking costs as much as a statement.
                    if state.idle_for >= TRUSTED {
                        conn.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(options);
        Ok(Self { pool })
    }

    /// Begins a transaction in a task of its own: a `begin` that is cancelled half way would leave its connection inside a
    /// transaction that nobody ends, and later writes on it would be lost.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when Postgres cannot be reached.
    pub async fn begin(&self) -> Result<Tx> {
        let pool = self.pool.clone();
        #[expect(clippy::disallowed_methods, reason = "the one place that may: it cannot be cancelled here")]
        let begun = tokio::spawn(async move { pool.begin().await }).await;
        begun.map_err(|_| Error::Unavailable(sqlx::Error::WorkerCrashed))?.map_err(Error::from)
    }

    /// A connection for statements that need no transaction.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when Postgres cannot be reached.
    pub async fn conn(&self) -> Result<sqlx::pool::PoolConnection<Postgres>> {
        Ok(self.pool.acquire().await?)
    }

    /// The pool itself, for the sequencer's and leaders' held connections.
    #[must_use]
    pub const fn pool(&self) -> &PgPool {
        &self.pool
    }
}

/// Brings the schema up to date; several processes may try at once.
///
/// # Errors
/// What Postgres or the migrator says.
pub async fn migrate(url: &str) -> std::result::Result<(), sqlx::migrate::MigrateError> {
    let pool = PgPoolOptions::new().max_connections(1).connect(url).await?;
    let done = MIGRATOR.run(&pool).await;
    pool.close().await;
    done
}

/// The schema, embedded.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../migrations");
