//! What operators see: logs on standard error, and metrics that `/metrics` shows. Every metric is named in this file and nowhere
//! else, with its description; other rooms call the functions below.
//!
//! Neither logs nor labels ever hold a body, an address, a token or a secret: labels are our own numbers and fixed words, so
//! that the number of series stays small.

use std::{
    io::IsTerminal,
    sync::{Once, OnceLock},
    time::Duration,
};

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::{EnvFilter, fmt, prelude::*};

use crate::config::{LogFormat, Telemetry};

/// How long calls of providers take.
const PROVIDER_CALL: &str = "switchboard_provider_call_seconds";
/// Webhooks by what became of them.
const WEBHOOKS: &str = "switchboard_webhooks_total";
/// Webhooks that wait on disk.
const SPOOLED: &str = "switchboard_spooled_webhooks";
/// Rows that wait, by queue.
const WAITING: &str = "switchboard_waiting";
/// How far this machine's clock is from the database's.
const CLOCK_OFFSET: &str = "switchboard_clock_offset_seconds";
/// Rows that were removed because they were old.
const REMOVED: &str = "switchboard_removed_rows_total";
/// Events that a sink was not told yet.
const EVENT_LAG: &str = "switchboard_event_lag";
/// What came of calls of webhooks and of commands.
const EVENTS_OUT: &str = "switchboard_events_out_total";
/// The upper bounds of the histogram of calls, in seconds.
const CALL_BUCKETS: [f64; 10] = [0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Begins to write logs on standard error, once for the process.
///
/// # Errors
/// When the level cannot be read, or logs are written already.
pub fn start_logs(settings: &Telemetry) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&settings.log_level)?;
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match settings.log_format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
    };
    Ok(tracing_subscriber::registry().with(filter).with(lines).try_init()?)
}

/// The metrics of this process, for `/metrics`. The first call begins to gather them.
pub fn metrics() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let builder = PrometheusBuilder::new().set_buckets(&CALL_BUCKETS).unwrap_or_else(|_| PrometheusBuilder::new());
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        static ONCE: Once = Once::new();
        ONCE.call_once(|| match metrics::set_global_recorder(recorder) {
            Ok(()) => describe(),
            Err(_) => tracing::warn!("another library gathers the metrics of this process; /metrics stays empty"),
        });
        handle
    })
}

fn describe() {
    describe_histogram!(PROVIDER_CALL, Unit::Seconds, "Time of one call of a provider, whatever came of it.");
    describe_counter!(
        WEBHOOKS,
        "Webhooks by what became of them: stored, spooled, refused, malformed, unknown, unavailable."
    );
    describe_gauge!(SPOOLED, "Webhooks that wait on this machine's disk for the database.");
    describe_gauge!(
        WAITING,
        "Rows that wait, at most 10000 are counted: chunks, receipts, inbound, parked, events, firings."
    );
    describe_gauge!(CLOCK_OFFSET, Unit::Seconds, "The database's clock minus this machine's.");
    describe_gauge!(EVENT_LAG, "Events that a sink was not told yet: `exchange`, or the number of a webhook.");
    describe_counter!(
        EVENTS_OUT,
        "What left for other systems and came from them, by way: published, posted, commands, dead."
    );
    describe_counter!(REMOVED, "Rows that were removed because they were old, by kind.");
}

/// Observes how long one call of a provider took, whatever came of it.
pub fn call(provider_id: i32, elapsed: Duration) {
    histogram!(PROVIDER_CALL, "provider_id" => provider_id.to_string()).record(elapsed.as_secs_f64());
}

/// Counts a webhook by what became of it; `provider_id` only where such a provider exists.
pub fn webhook(provider_id: Option<i32>, result: &'static str) {
    let provider_id = provider_id.map_or_else(|| "unknown".to_owned(), |id| id.to_string());
    counter!(WEBHOOKS, "provider_id" => provider_id, "result" => result).increment(1);
}

/// Says how many webhooks wait on disk.
pub fn spooled(waiting: usize) {
    gauge!(SPOOLED).set(u32::try_from(waiting).unwrap_or(u32::MAX));
}

/// Says how many rows of a queue wait.
pub fn waiting(queue: &'static str, rows: i64) {
    gauge!(WAITING, "queue" => queue).set(f64::from(i32::try_from(rows).unwrap_or(i32::MAX)));
}

/// Says how far this machine's clock is from the database's, in seconds.
pub fn clock_offset(seconds: f64) {
    gauge!(CLOCK_OFFSET).set(seconds);
}

/// Counts rows that were removed because they were old.
pub fn removed(kind: &'static str, rows: u64) {
    counter!(REMOVED, "kind" => kind).increment(rows);
}

/// Says how many events a sink was not told yet: `exchange`, or the number of a webhook.
pub fn event_lag(sink: String, events: i64) {
    gauge!(EVENT_LAG, "sink" => sink).set(f64::from(i32::try_from(events).unwrap_or(i32::MAX)));
}

/// Counts what left for other systems, or came from them.
pub fn events_out(way: &'static str, n: u64) {
    counter!(EVENTS_OUT, "way" => way).increment(n);
}
