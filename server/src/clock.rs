//! The two clocks. *Business time* (waits, windows, schedules, validity) comes from [`Clock`] and is an argument of every
//! rule and query that needs it; tests move it by hand for all roles at once. *Machine time* (leases, timeouts, back-off)
//! is `clock_timestamp()` in SQL and `Instant` in code, and is never moved.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::watch;

/// Business time: the machine's clock, corrected to Postgres's, plus whatever a test has added.
#[derive(Debug, Clone)]
pub struct Clock {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Microseconds to add to this machine's clock so that it says what Postgres says.
    correction: AtomicI64,
    /// Microseconds that a test has moved time forward.
    shift: AtomicI64,
    moved: watch::Sender<u64>,
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock {
    /// A clock that follows this machine until it is corrected.
    #[must_use]
    pub fn new() -> Self {
        let inner = Inner { correction: AtomicI64::new(0), shift: AtomicI64::new(0), moved: watch::Sender::new(0) };
        Self { inner: Arc::new(inner) }
    }

    /// Now, in whole microseconds, as Postgres keeps them.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        let micros = self.inner.correction.load(Ordering::Relaxed) + self.inner.shift.load(Ordering::Relaxed);
        let now = Utc::now() + TimeDelta::microseconds(micros);
        DateTime::from_timestamp_micros(now.timestamp_micros()).unwrap_or(now)
    }

    /// Moves business time forward, and wakes whoever sleeps until a business time.
    pub fn advance(&self, by: Duration) {
        let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX / 4);
        self.inner.shift.fetch_add(micros, Ordering::Relaxed);
        self.inner.moved.send_modify(|n| *n += 1);
    }

    /// Waits until business time is moved by hand.
    pub async fn moved(&self) {
        // The sender lives in this clock: it cannot be gone.
        let _ = self.inner.moved.subscribe().changed().await;
    }

    /// Tells the clock what Postgres's says now, so that all processes agree. The answer may be wrong by `doubt` either way: a
    /// clock that is right within it is left alone, so that business time does not jump about with each measurement.
    pub fn correct(&self, database_now: DateTime<Utc>, doubt: Duration) {
        let difference = (database_now - Utc::now()).num_microseconds().unwrap_or(0);
        let doubt = u64::try_from(doubt.as_micros()).unwrap_or(u64::MAX);
        if difference.abs_diff(self.inner.correction.load(Ordering::Relaxed)) > doubt {
            self.inner.correction.store(difference, Ordering::Relaxed);
        }
    }

    /// Sleeps until business time `at`, or until `at_most` of machine time has passed, whichever comes first. Returns
    /// early when time is moved past `at` by hand.
    pub async fn sleep_until(&self, at: Option<DateTime<Utc>>, at_most: Duration) {
        let mut moved = self.inner.moved.subscribe();
        let limit = tokio::time::sleep(at_most);
        tokio::pin!(limit);
        loop {
            let left = at.map(|at| (at - self.now()).to_std().unwrap_or_default()).unwrap_or(at_most);
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = &mut limit => return,
                () = tokio::time::sleep(left) => return,
                changed = moved.changed() => if changed.is_err() { return },
            }
        }
    }
}

/// A measurement of the offset that is older than this is doubtful.
const DOUBTFUL: Duration = Duration::from_secs(180);

/// When the clock was last measured against the database's. Cheap to clone; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    at: Arc<Mutex<Option<Instant>>>,
}

impl Measured {
    /// Whether the offset is known well enough to decide by.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.at.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|at| at.elapsed() < DOUBTFUL)
    }

    /// Notes that it was measured now.
    pub fn note(&self) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measurement_that_proves_nothing_changes_nothing() {
        let clock = Clock::new();
        let second = TimeDelta::seconds(1);
        clock.correct(Utc::now() + second, Duration::from_secs(2));
        assert!(clock.now() < Utc::now() + second / 2, "it may be right as it is");
        clock.correct(Utc::now() + second * 5, Duration::from_secs(2));
        assert!(clock.now() > Utc::now() + second * 4, "it is wrong by more than can be doubted");
    }

    #[tokio::test]
    async fn moving_time_by_hand_wakes_who_sleeps_until_then() {
        let clock = Clock::new();
        let at = clock.now() + TimeDelta::hours(5);
        let sleeper = {
            let clock = clock.clone();
            tokio::spawn(async move { clock.sleep_until(Some(at), Duration::from_secs(60)).await })
        };
        clock.advance(Duration::from_secs(4 * 3600));
        assert!(!sleeper.is_finished(), "four of five hours is too early");
        clock.advance(Duration::from_secs(3601));
        tokio::time::timeout(Duration::from_secs(5), sleeper).await.expect("woken").expect("no panic");
    }
}
