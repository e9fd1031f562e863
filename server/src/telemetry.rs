//! Placeholder
use std::time::Duration;
/// call
pub fn call(_provider: i32, _elapsed: Duration) {}
