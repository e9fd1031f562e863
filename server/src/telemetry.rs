//! What operators see: logs on standard error, and metrics that `/metrics` shows. Every metric is named in this file and nowhere
//! else, with its description; other rooms call the functions below.
//!
//! Neither logs nor labels ever hold a body, an address, a token or a secret: labels are channel types, lanes, our own
//! numbers and fixed words, so that the number of series stays small.

use std::time::Duration;

use metrics::histogram;

/// How long calls of providers take.
const PROVIDER_CALL: &str = "switchboard_provider_call_seconds";

/// Observes how long one call of a provider took, whatever came of it.
pub fn call(provider_id: i32, elapsed: Duration) {
    histogram!(PROVIDER_CALL, "provider_id" => provider_id.to_string()).record(elapsed.as_secs_f64());
}
