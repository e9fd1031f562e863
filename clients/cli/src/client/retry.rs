//! When a call is repeated: while the server is unavailable, a bounded number of times, with a growing pause.

use std::time::Duration;

use tonic::{Code, Status};
use uuid::Uuid;

use crate::error;

/// The pause before the first repeat; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Counts the repeats of one call.
#[derive(Debug)]
pub struct Retries {
    left: u32,
    pause: Duration,
    limit: u32,
}

impl Retries {
    /// Allows so many repeats.
    pub fn new(limit: u32) -> Self {
        Self { left: limit, pause: FIRST_PAUSE, limit }
    }

    /// How long to wait before the call is repeated; `None` when it must not be.
    pub fn pause(&mut self, status: &Status) -> Option<Duration> {
        if status.code() != Code::Unavailable || self.left == 0 {
            return None;
        }
        self.left -= 1;
        let pause = self.pause.max(error::retry_delay(status).unwrap_or_default()).min(LONGEST_PAUSE);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Some(pause.mul_f64(jitter()))
    }

    /// Begins to count anew: something was received.
    pub fn reset(&mut self) {
        *self = Self::new(self.limit);
    }
}

/// From 0.75 to 1.25, so that many clients do not come back at once.
fn jitter() -> f64 {
    0.75 + f64::from(Uuid::new_v4().as_bytes()[0]) / 510.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_are_bounded_and_wait_longer_each_time() {
        let mut retries = Retries::new(3);
        let down = Status::unavailable("down");
        let pauses: Vec<_> = std::iter::from_fn(|| retries.pause(&down)).collect();
        assert_eq!(pauses.len(), 3);
        assert!(pauses[0] >= Duration::from_millis(150) && pauses[2] >= Duration::from_millis(600), "{pauses:?}");
        retries.reset();
        assert!(retries.pause(&down).is_some());
    }

    #[test]
    fn what_the_server_refused_is_not_repeated() {
        assert_eq!(Retries::new(3).pause(&Status::invalid_argument("no")), None);
    }
}
