//! The SQL statements that a test's own thread runs, by the event that the client library writes for each.

use std::sync::{Arc, Mutex};

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    subscriber::DefaultGuard,
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
};

type Seen = Arc<Mutex<Vec<String>>>;

struct Listener(Seen);

impl<S: Subscriber> Layer<S> for Listener {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "sqlx::query" {
            let mut statement = Statement::default();
            event.record(&mut statement);
            let whole = if statement.whole.trim().is_empty() { statement.summary } else { statement.whole };
            self.0.lock().expect("nobody panics").push(whole.trim().to_owned());
        }
    }
}

/// A short statement is its summary; of a longer one the summary has the first words.
#[derive(Default)]
struct Statement {
    summary: String,
    whole: String,
}

impl Visit for Statement {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "summary" => value.clone_into(&mut self.summary),
            "db.statement" => value.clone_into(&mut self.whole),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

/// Listens on this thread, and so to everything that a test on one thread does, until it is dropped.
pub struct Statements {
    seen: Seen,
    _guard: DefaultGuard,
}

impl Statements {
    pub fn listen() -> Self {
        let seen = Seen::default();
        let subscriber = tracing_subscriber::registry().with(Listener(Arc::clone(&seen)));
        Self { seen, _guard: tracing::subscriber::set_default(subscriber) }
    }

    /// What was run since the last time; beginnings and ends of transactions are statements too.
    pub fn taken(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock().expect("nobody panics"))
    }
}
