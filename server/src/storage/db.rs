//! The pool, its connection options, and the only way to begin a transaction.
//!
//! A network can lose a connection without telling either end. The client library waits for an answer for ever, so whoever works
//! bounds his work by [`Db::within`]; what he drops then is tested before it is used again, and closed where it does not answer.
//! The server notices by itself: it probes its clients, and ends transactions that stand idle.

use std::{
    future::Future,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sqlx::{
    Connection, PgPool, Postgres, Transaction,
    postgres::{PgConnectOptions, PgConnection, PgPoolOptions},
};
use tokio::time::{Instant, timeout};

use super::{Error, Result};

/// What storage functions take: a connection, alone or inside a transaction.
pub type Conn = PgConnection;

/// A transaction; dropped without commit it is rolled back.
pub type Tx = Transaction<'static, Postgres>;

/// How long a piece of work may take, all its statements together, before its connection is taken for lost: longer than the
/// longest single statement.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How long a connection may take to answer when it is asked for nothing but an answer.
const PING: Duration = Duration::from_secs(3);
/// How long connections are doubted after one did not answer.
const DOUBT: Duration = Duration::from_secs(60);

/// A pool of connections to our own database.
#[derive(Debug, Clone)]
pub struct Db {
    pool: PgPool,
    patience: Duration,
    doubt: Doubt,
}

/// Whether connections of a pool must prove that they answer before they go back into it: after one did not.
#[derive(Debug, Clone, Default)]
struct Doubt(Arc<Mutex<Option<Instant>>>);

impl Doubt {
    fn raise(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + DOUBT);
    }

    fn stands(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|until| Instant::now() < until)
    }

    /// Asks a connection for an answer; one that gives none is to be closed.
    async fn test(&self, conn: &mut PgConnection) -> std::result::Result<bool, sqlx::Error> {
        match timeout(PING, conn.ping()).await {
            Ok(answered) => answered.map(|()| true),
            Err(_) => {
                self.raise();
                Err(sqlx::Error::PoolTimedOut)
            }
        }
    }
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
            // A process whose machine is gone must not hold locks until the kernel gives it up, which takes hours.
            ("tcp_keepalives_idle", "5"),
            ("tcp_keepalives_interval", "2"),
            ("tcp_keepalives_count", "3"),
            ("tcp_user_timeout", "10s"),
            ("jit", "off"),
        ]);
        if planner == Planner::Hot {
            options =
                options.options([("enable_hashjoin", "off"), ("enable_mergejoin", "off"), ("enable_seqscan", "off")]);
        }
        let doubt = Doubt::default();
        let (before, after) = (doubt.clone(), doubt.clone());
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(Duration::from_secs(5))
            // Ours does the same, and does not wait for ever. A connection that was just used is still there, as far as that can
            // be known; asking costs as much as a statement.
            .test_before_acquire(false)
            .before_acquire(move |conn, state| {
                let doubt = before.clone();
                Box::pin(async move {
                    if state.idle_for < TRUSTED && !doubt.stands() {
                        return Ok(true);
                    }
                    doubt.test(conn).await
                })
            })
            // The pool itself tests what comes back, and waits for ever: only in doubt is it worth a test of ours before.
            .after_release(move |conn, _| {
                let doubt = after.clone();
                Box::pin(async move { if doubt.stands() { doubt.test(conn).await } else { Ok(true) } })
            })
            .connect_lazy_with(options);
        Ok(Self { pool, patience: PATIENCE, doubt })
    }

    /// The same with another patience: for tests of connections that never answer.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// How long a piece of work may take, all its statements together.
    #[must_use]
    pub const fn patience(&self) -> Duration {
        self.patience
    }

    /// From now on, for a minute, connections must answer before they are used again.
    pub fn doubt(&self) {
        self.doubt.raise();
    }

    /// Does `work` within this pool's patience. Dropped when that is over, it leaves no transaction behind: its connection is
    /// closed, or rolls back before anybody gets it.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when there was no end in time.
    pub async fn within<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        tokio::pin!(work);
        tokio::select! {
            done = &mut work => Ok(done),
            () = tokio::time::sleep(self.patience) => {
                // Before the work is dropped: what it held goes back to the pool then.
                self.doubt();
                Err(Error::no_answer())
            }
        }
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
