//! Counts the SQL statements of this process, by the event that the client library writes for each. Only while a count runs:
//! otherwise the events are not even made.
//!
//! `BEGIN` and `COMMIT` are no statements of ours in these counts; transactions are counted by the server
//! ([`crate::cpu::Spent::commits`]).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    subscriber::Interest,
};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::dynamic_filter_fn,
    layer::{Context, SubscriberExt},
};

/// The events of the client library.
const TARGET: &str = "sqlx::query";

static COUNTING: AtomicBool = AtomicBool::new(false);
static COUNTED: AtomicU64 = AtomicU64::new(0);

struct Counter;

impl<S: Subscriber> Layer<S> for Counter {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut kind = Kind { of_a_transaction: false };
        event.record(&mut kind);
        COUNTED.fetch_add(u64::from(!kind.of_a_transaction), Ordering::Relaxed);
    }
}

/// Whether a statement only begins or ends a transaction.
struct Kind {
    of_a_transaction: bool,
}

impl Visit for Kind {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "summary" {
            self.of_a_transaction |= ["BEGIN", "COMMIT", "ROLLBACK"].iter().any(|verb| value.starts_with(verb));
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

/// Makes counting possible in this process; once, before anything runs. What `RUST_LOG` asks for is shown on standard error;
/// without it nothing is, since writing a log would be measured too.
pub fn count_from_now_on() {
    let counted = dynamic_filter_fn(|metadata, _| metadata.target() == TARGET && COUNTING.load(Ordering::Relaxed))
        .with_callsite_filter(|metadata| match metadata.target() == TARGET {
            true => Interest::sometimes(),
            false => Interest::never(),
        });
    let shown = EnvFilter::builder().with_default_directive(LevelFilter::OFF.into()).from_env_lossy();
    let subscriber = tracing_subscriber::registry()
        .with(Counter.with_filter(counted))
        .with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_filter(shown));
    // Another subscriber stands already: then nothing is counted.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// A count of statements under way.
#[derive(Debug)]
pub struct Count(u64);

impl Count {
    /// Begins to count.
    #[must_use]
    pub fn start() -> Self {
        COUNTING.store(true, Ordering::Relaxed);
        Self(COUNTED.load(Ordering::Relaxed))
    }

    /// Ends, and says how many there were.
    #[must_use]
    pub fn stop(self) -> u64 {
        COUNTING.store(false, Ordering::Relaxed);
        COUNTED.load(Ordering::Relaxed) - self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_counted_while_a_count_runs_and_the_ends_of_transactions_are_not() {
        count_from_now_on();
        let say = |summary: &str| tracing::debug!(target: TARGET, summary, "a statement");
        say("select 1");
        let counting = Count::start();
        for summary in ["select 2", "COMMIT", "with x as (select ...", "BEGIN", "ROLLBACK"] {
            say(summary);
        }
        tracing::debug!(target: "other", summary = "select 3", "no statement");
        assert_eq!(counting.stop(), 2);
        say("select 4");
        assert_eq!(Count::start().stop(), 0);
    }
}
