//! Table triggers: what a capture costs the owner of the table, and how fast a captured row is there.
//!
//! The same table stands five times, each with another capture. The consumer of ours is alive all the time and stores what it takes
//! where `switchboard trigger` stores it: all three share the machine and one Postgres, as they do in a small deployment.

pub mod drain;
pub mod faults;
pub mod latency;
pub mod statement;
pub mod writers;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use async_trait::async_trait;
use server::services::firings::sink::FiringSink;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, PgPool};
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use triggers::{
    Batch, Cursor, Gap, Operation, Sink, SinkError, SourceId, WatchId,
    postgres::{CaptureSchema, Consumer, ConsumerSettings, Source, TableName, Watch, catalogue, ddl, install},
};

use crate::{
    bench::{Bench, until},
    stats::number,
    world::World,
};

/// A table and what captures it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Capture {
    /// Nothing.
    None,
    /// Our trigger without its last lines, those that wake a consumer.
    Mute,
    /// Our trigger with a `NOTIFY` at each commit in their place: what most queues over Postgres do.
    NotifyEach,
    /// Our trigger, with its consumer alive.
    Ours,
    /// Our trigger with a condition that one row in a hundred fulfils, with its consumer alive.
    Filtered,
}

impl Capture {
    /// Every table.
    pub const ALL: [Self; 5] = [Self::None, Self::Mute, Self::NotifyEach, Self::Ours, Self::Filtered];

    /// The table's name.
    #[must_use]
    pub const fn table(self) -> &'static str {
        match self {
            Self::None => "orders_none",
            Self::Mute => "orders_mute",
            Self::NotifyEach => "orders_notify_each",
            Self::Ours => "orders_ours",
            Self::Filtered => "orders_filtered",
        }
    }

    const fn schema(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Mute => "capture_mute",
            Self::NotifyEach => "capture_notify_each",
            Self::Ours | Self::Filtered => "capture_ours",
        }
    }
}

/// The tables, with a consumer at work.
pub struct Tables {
    /// Everything else in the database.
    pub world: World,
    /// What the consumer stored.
    pub stored: Arc<Stored>,
    source: Source,
    consumer: Option<(CancellationToken, JoinHandle<()>)>,
}

/// What writers wrote.
#[derive(Debug, Clone, Copy)]
pub struct Written {
    /// Rows a second.
    pub rate: f64,
    /// Rows.
    pub rows: u64,
    /// Rows among them that fulfil the condition of [`Capture::Filtered`].
    pub urgent: u64,
}

/// The sink that ships, and a count of what it stored.
pub struct Stored {
    inner: FiringSink,
    events: AtomicU64,
    told: Notify,
}

impl Stored {
    /// Events that were stored so far.
    pub fn events(&self) -> u64 {
        self.events.load(Ordering::Acquire)
    }

    /// Waits until so many were stored.
    ///
    /// # Errors
    /// When they are not there after a minute and a half.
    pub async fn reach(&self, wanted: u64) -> anyhow::Result<()> {
        let reached = async {
            loop {
                let told = self.told.notified();
                if self.events() >= wanted {
                    return;
                }
                told.await;
            }
        };
        let missing = || format!("{} of {wanted} captured rows were stored", self.events());
        timeout(Duration::from_secs(90), reached).await.with_context(missing)
    }
}

#[async_trait]
impl Sink for Stored {
    async fn load_cursor(&self, source: SourceId) -> Result<Option<Cursor>, SinkError> {
        self.inner.load_cursor(source).await
    }

    async fn accept(&self, source: SourceId, batch: Batch) -> Result<(), SinkError> {
        let events = batch.events.len();
        self.inner.accept(source, batch).await?;
        self.events.fetch_add(u64::try_from(events).unwrap_or_default(), Ordering::AcqRel);
        self.told.notify_waiters();
        Ok(())
    }

    async fn note_gaps(&self, source: SourceId, gaps: &[Gap]) -> Result<(), SinkError> {
        self.inner.note_gaps(source, gaps).await
    }
}

impl Tables {
    /// Makes the tables and their captures, and starts the consumer.
    ///
    /// # Errors
    /// What Postgres says.
    pub async fn new(bench: &Bench) -> anyhow::Result<Self> {
        let world = World::on(bench.database().await?).await?;
        let source_id: i32 = sqlx::query_scalar(
            "insert into source (slug, own, capture_schema, created_at, updated_at)
             values ('own', true, 'capture_ours', now(), now()) returning id",
        )
        .fetch_one(&world.pool)
        .await?;
        let source = Source {
            id: SourceId(i64::from(source_id)),
            options: world.db.url.parse()?,
            schema: schema(Capture::Ours),
        };
        let mut conn = PgConnection::connect_with(&source.options.clone().disable_statement_logging()).await?;
        for capture in Capture::ALL {
            make(&mut conn, capture).await?;
            attach(&mut conn, source_id, capture).await?;
        }
        let stored = Arc::new(Stored {
            inner: FiringSink { context: world.context.clone() },
            events: AtomicU64::new(0),
            told: Notify::new(),
        });
        let mut tables = Self { world, stored, source, consumer: None };
        tables.start_consumer();
        Ok(tables)
    }

    /// Starts the consumer, where it does not run.
    pub fn start_consumer(&mut self) {
        if self.consumer.is_none() {
            let sink = Arc::clone(&self.stored) as Arc<dyn Sink>;
            let (consumer, cancel) =
                (Consumer::new(self.source.clone(), sink, ConsumerSettings::default()), CancellationToken::new());
            self.consumer = Some((cancel.clone(), tokio::spawn(consumer.run(cancel))));
        }
    }

    /// Stops the consumer; what is written from now on waits in the outbox.
    pub async fn stop_consumer(&mut self) {
        if let Some((cancel, task)) = self.consumer.take() {
            cancel.cancel();
            let _ = task.await;
        }
    }

    /// Inserts single rows from so many connections for that long.
    ///
    /// # Errors
    /// What Postgres says.
    pub async fn write(&self, capture: Capture, clients: usize, window: Duration) -> anyhow::Result<Written> {
        let began = Instant::now();
        let writers: Vec<_> = (0..clients)
            .map(|_| tokio::spawn(insert_until(self.world.pool.clone(), capture, began + window)))
            .collect();
        let mut each = Vec::with_capacity(clients);
        for writer in writers {
            each.push(writer.await??);
        }
        let (rows, urgent) = (each.iter().sum::<u64>(), each.iter().map(|rows| rows.div_ceil(100)).sum());
        Ok(Written { rate: number(usize::try_from(rows)?) / began.elapsed().as_secs_f64(), rows, urgent })
    }

    /// Waits until everything that was captured is stored and taken out of the outbox: the next measurement is not to pay for
    /// this one.
    ///
    /// # Errors
    /// When it is not stored in time.
    pub async fn settle(&self, stored: Option<u64>) -> anyhow::Result<()> {
        if let Some(wanted) = stored {
            self.stored.reach(wanted).await?;
        }
        let pool = &self.world.pool;
        until("an empty outbox", Duration::from_secs(30), Duration::from_millis(20), || async {
            Ok(sqlx::query_scalar("select not exists (select from capture_ours.outbox)").fetch_one(pool).await?)
        })
        .await
    }

    /// Empties the tables.
    ///
    /// # Errors
    /// What Postgres says.
    pub async fn clear(&self) -> anyhow::Result<()> {
        self.world
            .sql(
                "truncate orders_none, orders_mute, orders_notify_each, orders_ours, orders_filtered, firing,
                           capture_mute.outbox, capture_notify_each.outbox",
            )
            .await
    }
}

impl Drop for Tables {
    fn drop(&mut self) {
        if let Some((cancel, task)) = self.consumer.take() {
            cancel.cancel();
            task.abort();
        }
    }
}

/// Inserts until the deadline; says how many rows.
async fn insert_until(pool: PgPool, capture: Capture, deadline: Instant) -> anyhow::Result<u64> {
    let mut conn = pool.acquire().await?;
    let sql = format!(
        "insert into {} (citizen, phone, subject, status, amount, note) values ($1, $2, $3, $4, $5, $6)",
        capture.table()
    );
    let mut written = 0_u64;
    while Instant::now() < deadline {
        sqlx::query(AssertSqlSafe(sql.as_str()))
            .bind("Asha Patil")
            .bind("+919812345678")
            .bind("The street light in front of house 12 is broken")
            .bind(if written.is_multiple_of(100) { "urgent" } else { "open" })
            .bind(i32::try_from(written % 1000)?)
            .bind("as told by the ward office")
            .execute(&mut *conn)
            .await?;
        written += 1;
    }
    Ok(written)
}

async fn make(conn: &mut PgConnection, capture: Capture) -> anyhow::Result<()> {
    let sql = format!(
        "create table {} (id bigint generated always as identity primary key, citizen text not null, phone text not null,
                          subject text not null, status text not null, amount int not null, note text,
                          written_at timestamptz not null default now())",
        capture.table()
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(conn).await?;
    Ok(())
}

fn schema(capture: Capture) -> CaptureSchema {
    CaptureSchema {
        name: capture.schema().to_owned(),
        max_rows: 100_000_000,
        max_bytes: 1 << 36,
        ..CaptureSchema::default()
    }
}

/// Attaches the capture of a table, with a trigger of ours for its firings.
async fn attach(conn: &mut PgConnection, source_id: i32, capture: Capture) -> anyhow::Result<()> {
    if capture == Capture::None {
        return Ok(());
    }
    let trigger: i64 = sqlx::query_scalar(
        "insert into trigger (slug, kind, source_id, definition, created_at, updated_at)
         values ($1, 'table', $2, '{}', now(), now()) returning id",
    )
    .bind(capture.table())
    .bind(source_id)
    .fetch_one(&mut *conn)
    .await?;
    let watch = Watch {
        id: WatchId(trigger),
        table: TableName::new("public", capture.table()),
        operations: vec![Operation::Insert],
        update_of: Vec::new(),
        only_changes: false,
        condition: (capture == Capture::Filtered).then(|| "new.status = 'urgent'".to_owned()),
        columns: ["id", "citizen", "phone", "subject"].map(str::to_owned).into(),
        strict: false,
    };
    let schema = schema(capture);
    let Some(instead) = waking(capture) else {
        install(conn, &schema, &watch).await?;
        return Ok(());
    };
    let table = catalogue::describe(conn, &watch.table).await?;
    let text = ddl::render_install(&schema, &watch, &table)?;
    sqlx::raw_sql(AssertSqlSafe(without_handshake(&text, instead)?)).execute(conn).await?;
    Ok(())
}

/// What stands in place of the sleep handshake; none keeps it.
const fn waking(capture: Capture) -> Option<&'static str> {
    match capture {
        Capture::Mute => Some("null;"),
        Capture::NotifyEach => Some("perform pg_notify('at_each_commit', '');"),
        Capture::None | Capture::Ours | Capture::Filtered => None,
    }
}

/// The text of an installation with something else in place of its sleep handshake.
fn without_handshake(text: &str, instead: &str) -> anyhow::Result<String> {
    let (begin, end) = ("if not pg_try_advisory_xact_lock_shared", "end if;");
    let from = text.find(begin).context("the capture's text has no sleep handshake any more")?;
    let to = text[from..].find(end).context("the sleep handshake has no end")? + from + end.len();
    let changed = format!("{}{instead}{}", &text[..from], &text[to..]);
    anyhow::ensure!(!changed.contains(begin), "the capture's text has more than one sleep handshake");
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_handshake_is_cut_out_and_nothing_else() {
        let text = "begin\n  if found then\n    if not pg_try_advisory_xact_lock_shared(1, 2) then\n      perform pg_notify('x', '');\n    end if;\n  end if;\nend";
        assert_eq!(without_handshake(text, "null;").unwrap(), "begin\n  if found then\n    null;\n  end if;\nend");
        assert!(without_handshake("begin end", "null;").is_err());
        assert!(without_handshake(&format!("{text}{text}"), "null;").is_err());
    }
}
