//! One connection of a consumer: its locks, its place, and taking one page after another.

use std::time::{Duration, Instant};

use chrono::Utc;
use sqlx::postgres::{PgListener, PgPoolOptions};
use sqlx::{Acquire, ConnectOptions, Connection, PgConnection, PgPool};
use tokio_util::sync::CancellationToken;

use super::super::health::SourceState;
use super::super::names::{LOCK_CLASS, LockPurpose};
use super::super::outbox::{Captured, HELD, Outbox};
use super::super::{Error, Source};
use super::{ConsumerSettings, Failure, Health};
use crate::{Batch, Cursor, Position, Sink, Snapshot};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);

/// A consumer's connection and its place in the outbox.
pub(super) struct Session<'a> {
    pub(super) source: &'a Source,
    pub(super) sink: &'a dyn Sink,
    pub(super) settings: &'a ConsumerSettings,
    pub(super) health: Health,
    pub(super) outbox: Outbox,
    pub(super) listener: PgListener,
    pool: PgPool,
    /// What the sink has stored.
    stored: Option<Cursor>,
    /// Where reading goes on: the stored cursor, or a later one when nothing was found in between.
    pub(super) place: Option<Cursor>,
    /// Up to which snapshot taken rows were deleted.
    pub(super) swept: Snapshot,
    /// Rows taken and not deleted.
    pub(super) unswept: u64,
    /// The highest number that was taken.
    pub(super) highest: i64,
    pub(super) asleep: bool,
    pub(super) tidied: Option<Instant>,
    pub(super) checked: Option<Instant>,
}

impl<'a> Session<'a> {
    /// Connects and listens.
    pub(super) async fn open(
        source: &'a Source,
        sink: &'a dyn Sink,
        settings: &'a ConsumerSettings,
        health: Health,
    ) -> Result<Self, Failure> {
        source.schema.check()?;
        let pool = connect(source, settings).await?;
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.ignore_pool_close_event(true);
        // A silent new connection would hold no lock: a lost one ends the session instead.
        listener.eager_reconnect(false);
        listener.listen(&source.schema.name).await?;
        let outbox = Outbox::new(&source.schema);
        Ok(Self {
            source,
            sink,
            settings,
            health,
            outbox,
            listener,
            pool,
            stored: None,
            place: None,
            swept: Snapshot::nothing(),
            unswept: 0,
            highest: 0,
            asleep: false,
            tidied: None,
            checked: None,
        })
    }

    /// Closes the connection, and with it gives the locks back.
    pub(super) async fn close(self) {
        drop(self.listener);
        if tokio::time::timeout(Duration::from_secs(2), self.pool.close()).await.is_err() {
            tracing::debug!("the connection of a consumer did not close in time and is left to the server");
        }
    }

    /// Tries to become the one that drains.
    pub(super) async fn try_lead(&mut self) -> Result<bool, Failure> {
        self.lock("select pg_try_advisory_lock($1, $2)", LockPurpose::Leader).await
    }

    /// Tries to take the lock that tells writers that this consumer sleeps. Refused while a writer is in a transaction.
    pub(super) async fn try_sleep(&mut self) -> Result<bool, Failure> {
        self.asleep = self.lock("select pg_try_advisory_lock($1, $2)", LockPurpose::Sleep).await?;
        Ok(self.asleep)
    }

    /// Tells writers that this consumer is awake.
    pub(super) async fn wake_up(&mut self) -> Result<(), Failure> {
        if self.asleep {
            self.lock("select pg_advisory_unlock($1, $2)", LockPurpose::Sleep).await?;
            self.asleep = false;
            self.health.state(SourceState::Draining);
        }
        Ok(())
    }

    async fn lock(&mut self, sql: &'static str, purpose: LockPurpose) -> Result<bool, Failure> {
        let (limit, key) = (self.limit(), self.source.schema.lock(purpose));
        let query = sqlx::query_scalar(sql).bind(LOCK_CLASS).bind(key);
        Ok(timed(limit, async { Ok(query.fetch_one(&mut self.listener).await?) }).await?)
    }

    /// Finds its place; `false` if nothing is installed. A cursor of another life of the cluster, or one that lies in this one's future
    /// (a file system that was rolled back), counts for nothing: everything is read, and the sink skips what it has.
    pub(super) async fn begin(&mut self) -> Result<bool, Failure> {
        let limit = self.limit();
        let conn = self.listener.acquire().await?;
        let Some((epoch, now)) = timed(limit, self.outbox.identity(conn)).await? else {
            return Ok(false);
        };
        self.stored = self.sink.load_cursor(self.source.id).await?;
        let valid = self.stored.as_ref().filter(|cursor| {
            let reached = cursor.inside.as_ref().map_or(&cursor.taken, |inside| &inside.target);
            cursor.epoch == epoch && reached.xmax() <= now.xmax()
        });
        if valid.is_none() && self.stored.is_some() {
            tracing::warn!(source.id = %self.source.id, "the cursor belongs to another life of the source, the outbox is read again");
        }
        self.place = Some(valid.cloned().unwrap_or(Cursor { epoch, taken: Snapshot::nothing(), inside: None }));
        Ok(true)
    }

    /// Takes everything that is visible now; says whether there was anything.
    pub(super) async fn take(&mut self, cancel: &CancellationToken) -> Result<bool, Failure> {
        let Some(place) = self.place.clone() else { return Ok(false) };
        let (page, limit) = (self.settings.page.clamp(1, 10_000), self.limit());
        let conn = self.listener.acquire().await?;
        let (target, mut rows) = match &place.inside {
            None => timed(limit, self.outbox.fresh(conn, &place.taken, page)).await?,
            Some(at) => (at.target.clone(), timed(limit, self.outbox.inside(conn, &place.taken, at, page)).await?),
        };
        let found = !rows.is_empty();
        if found {
            self.wake_up().await?;
        }
        let mut held: Option<u32> = None;
        loop {
            let full = u32::try_from(rows.len()).is_ok_and(|rows| rows == page);
            let last = rows.last().map_or(0, |row| row.seq);
            let inside = full.then(|| Position { target: target.clone(), after: last });
            self.store(rows, &place, &target, inside.clone()).await?;
            let Some(at) = inside else { break };
            if cancel.is_cancelled() {
                break;
            }
            rows = self.next_page(&place.taken, &at, page, &mut held).await?;
        }
        if held.is_some() {
            let conn = self.listener.acquire().await?;
            timed(limit, self.outbox.release(conn)).await?;
        }
        Ok(found)
    }

    /// The page after a full one, from a cursor that sorts what is left once.
    async fn next_page(
        &mut self,
        taken: &Snapshot,
        at: &Position,
        page: u32,
        held: &mut Option<u32>,
    ) -> Result<Vec<Captured>, Failure> {
        let limit = self.limit();
        let conn = self.listener.acquire().await?;
        let left = match held.take() {
            Some(left) if left >= page => left,
            spent => {
                if spent.is_some() {
                    timed(limit, self.outbox.release(conn)).await?;
                }
                timed(limit, self.outbox.hold(conn, taken, at)).await?;
                HELD
            }
        };
        *held = Some(left - page.min(left));
        Ok(timed(limit, self.outbox.fetch(conn, page)).await?)
    }

    /// Hands a page to the sink, and moves on.
    async fn store(
        &mut self,
        rows: Vec<Captured>,
        place: &Cursor,
        target: &Snapshot,
        inside: Option<Position>,
    ) -> Result<(), Failure> {
        let taken = if inside.is_some() { place.taken.clone() } else { target.clone() };
        let cursor = Cursor { epoch: place.epoch.clone(), taken, inside };
        if let Some(last) = rows.last() {
            let (seq, captured_at, count) = (last.seq, last.event.captured_at, rows.len() as u64);
            let events = rows.into_iter().map(|row| row.event).collect();
            self.sink
                .accept(self.source.id, Batch { previous: self.stored.clone(), cursor: cursor.clone(), events })
                .await?;
            self.stored = Some(cursor.clone());
            self.unswept += count;
            self.highest = self.highest.max(seq);
            self.health.change(|health| {
                health.last_event_at = Some(captured_at);
                health.lag = Some((Utc::now() - captured_at).to_std().unwrap_or_default());
                health.stored += count;
            });
        }
        self.place = Some(cursor);
        Ok(())
    }

    /// How long this side waits for an answer: a little longer than the server lets a statement run.
    pub(super) fn limit(&self) -> Duration {
        self.settings.statement_timeout + Duration::from_secs(5)
    }
}

/// Waits for one answer of the source, but not for ever: a host that vanished does not answer.
pub(super) async fn timed<T>(limit: Duration, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    tokio::time::timeout(limit, work).await.unwrap_or(Err(Error::Timeout { limit_ms }))
}

/// A pool of the one connection: sqlx's listener wants one.
async fn connect(source: &Source, settings: &ConsumerSettings) -> Result<PgPool, Error> {
    let timeout = settings.statement_timeout.as_millis().to_string();
    let options = source.options.clone().application_name("switchboard-capture").disable_statement_logging().options([
        // A sleeper whose host vanished must not keep the lock: every commit of the users would notify.
        ("tcp_keepalives_idle", "5"),
        ("tcp_keepalives_interval", "2"),
        ("tcp_keepalives_count", "3"),
        ("tcp_user_timeout", "10s"),
        // The outbox is small when plans are made and may be large when they are used.
        ("enable_seqscan", "off"),
        ("enable_sort", "off"),
        ("jit", "off"),
        ("statement_timeout", timeout.as_str()),
        ("lock_timeout", "10s"),
        ("idle_in_transaction_session_timeout", "60s"),
    ]);
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(CONNECT)
        .max_lifetime(None)
        .idle_timeout(None)
        .test_before_acquire(false)
        .connect_with(options.clone())
        .await;
    match pool {
        Ok(pool) => Ok(pool),
        // The pool keeps the cause to itself: ask again, alone.
        Err(sqlx::Error::PoolTimedOut) => {
            let again = timed(CONNECT, async { Ok(PgConnection::connect_with(&options).await?) }).await?;
            again.close().await?;
            Err(Error::Unreachable(sqlx::Error::PoolTimedOut))
        }
        Err(error) => Err(error.into()),
    }
}
