//! Counts the SQL statements of one test, by the event that the client library writes for each. A test and the workers that it
//! starts by hand run on one thread, so that it counts its own and nobody else's; what it asks over [`Counting::watch`] is not
//! counted. One test counts at a time: while another begins or ends to listen, an event may be missed.

use std::{
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sqlx::{ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span,
    subscriber::{DefaultGuard, Interest},
};

use super::World;

/// The events of the client library.
const TARGET: &str = "sqlx::query";

static ALONE: Mutex<()> = Mutex::new(());

/// A count that goes on until it is dropped.
pub struct Counting {
    said: Arc<Mutex<Vec<String>>>,
    // In this order: who comes next listens after this one has ended.
    _on_this_thread: DefaultGuard,
    _alone: MutexGuard<'static, ()>,
}

impl Counting {
    /// Begins to count, once a statement is heard: what other threads do at this moment may keep the first ones from us.
    pub async fn start(world: &World) -> anyhow::Result<Self> {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let said = Arc::new(Mutex::new(Vec::new()));
        let guard = tracing::subscriber::set_default(Noting(Arc::clone(&said)));
        let counting = Self { said, _on_this_thread: guard, _alone: alone };
        for _ in 0..100 {
            tracing::callsite::rebuild_interest_cache();
            sqlx::query("select 1").execute(&world.db.pool).await?;
            if !counting.take().is_empty() {
                return Ok(counting);
            }
        }
        anyhow::bail!("no statement was heard")
    }

    /// How the statements since the last call began. `BEGIN` and `COMMIT` are none.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.said.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A connection whose statements are not counted.
    pub async fn watch(url: &str) -> anyhow::Result<PgConnection> {
        let options = PgConnectOptions::from_str(url)?.disable_statement_logging();
        Ok(PgConnection::connect_with(&options).await?)
    }
}

struct Noting(Arc<Mutex<Vec<String>>>);

impl Subscriber for Noting {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if metadata.target() == TARGET { Interest::sometimes() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == TARGET
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }

    fn event(&self, event: &Event<'_>) {
        let mut summary = Summary(String::new());
        event.record(&mut summary);
        let of_a_transaction = ["BEGIN", "COMMIT", "ROLLBACK"].iter().any(|verb| summary.0.starts_with(verb));
        if !of_a_transaction {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(summary.0);
        }
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Summary(String);

impl Visit for Summary {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "summary" {
            value.clone_into(&mut self.0);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}
