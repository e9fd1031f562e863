//! Counts the SQL statements of one test, by the event that the client library writes for each. A test and the workers that it
//! starts by hand run on one thread, so that it counts its own and nobody else's; what it asks over [`Counting::watch`] is not
//! counted. One test counts at a time: while another begins or ends to listen, an event may be missed.

use std::{
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sqlx::{ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    subscriber::DefaultGuard,
};
use tracing_subscriber::{
    Layer,
    filter::filter_fn,
    layer::{Context, SubscriberExt},
};

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
    pub fn start() -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let said = Arc::new(Mutex::new(Vec::new()));
        let noting = Noting(Arc::clone(&said)).with_filter(filter_fn(|metadata| metadata.target() == TARGET));
        let subscriber = tracing_subscriber::registry().with(noting);
        Self { said, _on_this_thread: tracing::subscriber::set_default(subscriber), _alone: alone }
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

impl<S: Subscriber> Layer<S> for Noting {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut summary = Summary(String::new());
        event.record(&mut summary);
        let of_a_transaction = ["BEGIN", "COMMIT", "ROLLBACK"].iter().any(|verb| summary.0.starts_with(verb));
        if !of_a_transaction {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(summary.0);
        }
    }
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
