//! A database for each test, and a sink that keeps in memory what a server would keep in tables.

use std::collections::HashSet;
use std::future::Future;
use std::path::Path;
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use triggers::postgres::{CaptureSchema, Consumer, ConsumerSettings, Source, SourceHealth, TableName, Watch, install};
use triggers::{Batch, CapturedEvent, Cursor, Gap, Operation, Sink, SinkError, SourceId, WatchId};
use uuid::Uuid;

/// How long a test waits for something before it fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The server of the tests: the one that the environment names, else this repository's private instance `test`, which is
/// started when it does not run.
pub fn server() -> PgConnectOptions {
    static URL: OnceLock<String> = OnceLock::new();
    let url = URL.get_or_init(|| {
        let given = ["SWITCHBOARD_TEST_DATABASE_URL", "DATABASE_URL"].map(|name| std::env::var(name).ok());
        given.into_iter().flatten().find(|url| !url.is_empty()).unwrap_or_else(private_server)
    });
    PgConnectOptions::from_str(url).expect("the database address").disable_statement_logging()
}

/// Asks the repository's script for the private instance. Its last line is the URL.
fn private_server() -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/postgres");
    let output = Command::new(script).arg("start").env("INSTANCE", "test").stdin(Stdio::null()).output();
    let output = output.expect("scripts/postgres can be run");
    assert!(output.status.success(), "scripts/postgres start: {}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).expect("the script prints UTF-8");
    printed.lines().last().expect("the script prints the URL").to_owned()
}

/// A database of its own.
#[derive(Clone)]
pub struct Db {
    pub name: String,
    pub pool: PgPool,
    pub source: Source,
}

/// Runs a test in a database of its own, and drops it whatever happens.
pub async fn with_db<F, Fut>(test: F)
where
    F: FnOnce(Db) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let name = format!("triggers_{}", Uuid::new_v4().simple());
    let mut admin = PgConnection::connect_with(&server()).await.expect("the test server");
    run(&mut admin, &format!("create database {name}")).await;
    let options = server().database(&name);
    let pool = PgPoolOptions::new().max_connections(16).connect_with(options.clone()).await.unwrap();
    let source = Source { id: SourceId(1), options, schema: CaptureSchema::default() };
    let outcome = tokio::spawn(test(Db { name: name.clone(), pool: pool.clone(), source })).await;
    pool.close().await;
    run(&mut admin, &format!("drop database if exists {name} with (force)")).await;
    if let Err(error) = outcome {
        std::panic::resume_unwind(error.into_panic());
    }
}

/// Runs SQL as it is, several statements too.
pub async fn run(conn: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(conn).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

impl Db {
    pub async fn conn(&self) -> PgConnection {
        PgConnection::connect_with(&self.source.options).await.unwrap()
    }

    pub async fn run(&self, sql: &str) {
        run(&mut self.pool.acquire().await.unwrap(), sql).await;
    }

    pub async fn number(&self, sql: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
            .fetch_one(&self.pool)
            .await
            .unwrap_or_else(|e| panic!("{sql}: {e}"))
    }

    pub async fn install(&self, watch: &Watch) {
        install(&mut self.conn().await, &self.source.schema, watch).await.unwrap();
    }

    /// The table most tests use.
    pub async fn orders(&self) {
        self.run("create table orders (id bigint primary key, phone text, status text default 'open', note text)")
            .await;
    }

    pub fn start(&self, sink: &Arc<MemorySink>) -> Running {
        self.start_with(sink, quick())
    }

    pub fn start_with(&self, sink: &Arc<MemorySink>, settings: ConsumerSettings) -> Running {
        let consumer = Consumer::new(self.source.clone(), Arc::clone(sink) as Arc<dyn Sink>, settings);
        let (health, cancel) = (consumer.health(), CancellationToken::new());
        let task = tokio::spawn(consumer.run(cancel.clone()));
        Running { task, cancel, health }
    }
}

/// Settings that do not wait where production would.
pub fn quick() -> ConsumerSettings {
    ConsumerSettings {
        standby_look: Duration::from_millis(10),
        check_every: Duration::from_millis(50),
        max_back_off: Duration::from_millis(100),
        ..ConsumerSettings::default()
    }
}

/// A consumer at work.
pub struct Running {
    pub task: JoinHandle<()>,
    pub cancel: CancellationToken,
    pub health: tokio::sync::watch::Receiver<SourceHealth>,
}

impl Running {
    pub async fn stop(self) {
        self.cancel.cancel();
        tokio::time::timeout(PATIENCE, self.task).await.expect("the consumer stops").unwrap();
    }

    /// Waits until the health report is as wanted.
    pub async fn until(&mut self, what: &str, wanted: impl Fn(&SourceHealth) -> bool) -> SourceHealth {
        let found = tokio::time::timeout(PATIENCE, self.health.wait_for(|health| wanted(health))).await;
        let found = found.ok().map(|health| health.unwrap().clone());
        found.unwrap_or_else(|| panic!("never {what}: {:?}", *self.health.borrow()))
    }
}

/// A watch of `public.orders`.
pub fn watch(id: i64, operations: &[Operation]) -> Watch {
    Watch {
        id: WatchId(id),
        table: TableName::new("public", "orders"),
        operations: operations.to_vec(),
        update_of: Vec::new(),
        only_changes: false,
        condition: None,
        columns: Vec::new(),
        strict: false,
    }
}

/// What a server's tables would hold.
#[derive(Default)]
pub struct Stored {
    pub cursor: Option<Cursor>,
    pub events: Vec<CapturedEvent>,
    pub gaps: Vec<Gap>,
    /// Events that came again.
    pub repeated: usize,
    /// Batches that were taken.
    pub batches: usize,
    ids: HashSet<(WatchId, Uuid)>,
}

/// A sink in memory. Storing is atomic, like a transaction.
#[derive(Default)]
pub struct MemorySink {
    pub stored: Mutex<Stored>,
    /// So many times, `accept` fails without storing.
    pub refuse: AtomicU32,
    /// So many times, `accept` stores and then fails, as when the answer to a commit is lost.
    pub lose_answer: AtomicU32,
    /// Each `accept` takes so long, in milliseconds.
    pub slow: AtomicU32,
}

fn spend(counter: &AtomicU32) -> bool {
    counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

#[async_trait]
impl Sink for MemorySink {
    async fn load_cursor(&self, _: SourceId) -> Result<Option<Cursor>, SinkError> {
        Ok(self.stored.lock().unwrap().cursor.clone())
    }

    async fn accept(&self, _: SourceId, batch: Batch) -> Result<(), SinkError> {
        assert!(!batch.events.is_empty(), "a batch without events");
        tokio::time::sleep(Duration::from_millis(self.slow.load(Ordering::SeqCst).into())).await;
        if spend(&self.refuse) {
            return Err(SinkError::failed("the database is away"));
        }
        {
            let mut stored = self.stored.lock().unwrap();
            if stored.cursor != batch.previous {
                return Err(SinkError::CursorMoved);
            }
            stored.cursor = Some(batch.cursor);
            stored.batches += 1;
            for event in batch.events {
                if stored.ids.insert((event.watch, event.id)) {
                    stored.events.push(event);
                } else {
                    stored.repeated += 1;
                }
            }
        }
        if spend(&self.lose_answer) {
            return Err(SinkError::failed("the answer was lost"));
        }
        Ok(())
    }

    async fn note_gaps(&self, _: SourceId, gaps: &[Gap]) -> Result<(), SinkError> {
        let mut stored = self.stored.lock().unwrap();
        for gap in gaps {
            stored.gaps.retain(|known| known.id != gap.id);
            stored.gaps.push(gap.clone());
        }
        Ok(())
    }
}

impl MemorySink {
    pub fn events(&self) -> Vec<CapturedEvent> {
        self.stored.lock().unwrap().events.clone()
    }

    pub fn count(&self) -> usize {
        self.stored.lock().unwrap().events.len()
    }

    /// Waits until so many events are stored, and no more.
    pub async fn wait(&self, wanted: usize) -> Vec<CapturedEvent> {
        eventually(&format!("{wanted} events"), || self.count() >= wanted).await;
        let events = self.events();
        assert_eq!(events.len(), wanted, "more events than were written");
        events
    }
}

/// Waits until a condition holds.
pub async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The `id` column of each event's row.
pub fn ids(events: &[CapturedEvent]) -> Vec<i64> {
    events.iter().map(|event| event.row().and_then(|row| row["id"].as_i64()).expect("an id")).collect()
}
