//! The simulator's time: real time that can be pushed forward, or time that stands still until it is moved by hand.
//!
//! Only tells the time. What is due, and in which order, is the business of `stage`.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// How a [`SimClock`] runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockMode {
    /// Time passes as on the wall, plus what it has been advanced by.
    Real,
    /// Time passes only when it is advanced.
    ByHand,
}

/// The clock that all handsets live by.
#[derive(Debug)]
pub struct SimClock {
    mode: ClockMode,
    /// The time that stands still (by hand), or how far simulated time is ahead of the wall (real).
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    standing: DateTime<Utc>,
    ahead: TimeDelta,
}

impl SimClock {
    /// Starts a clock at the present moment of the wall clock.
    pub fn new(mode: ClockMode) -> Self {
        Self { mode, state: Mutex::new(State { standing: Utc::now(), ahead: TimeDelta::zero() }) }
    }

    /// How this clock runs.
    pub fn mode(&self) -> ClockMode {
        self.mode
    }

    /// The present moment of simulated time.
    pub fn now(&self) -> DateTime<Utc> {
        let state = self.lock();
        match self.mode {
            ClockMode::Real => Utc::now() + state.ahead,
            ClockMode::ByHand => state.standing,
        }
    }

    /// Moves time forward to `moment`; a moment in the past changes nothing, since simulated time never goes back.
    pub(crate) fn move_to(&self, moment: DateTime<Utc>) {
        let mut state = self.lock();
        match self.mode {
            ClockMode::Real => state.ahead = state.ahead.max(moment - Utc::now()),
            ClockMode::ByHand => state.standing = state.standing.max(moment),
        }
    }

    /// How long to sleep on the wall clock until `moment`, or `None` when only a hand can bring that moment.
    pub(crate) fn wall_time_until(&self, moment: DateTime<Utc>) -> Option<Duration> {
        match self.mode {
            ClockMode::Real => Some((moment - self.now()).to_std().unwrap_or_default()),
            ClockMode::ByHand => None,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds a length of time to a moment, stopping at the end of representable time instead of overflowing.
pub(crate) fn later(moment: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(by).ok().and_then(|d| moment.checked_add_signed(d)).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_moved_by_hand_stands_still_in_between() {
        let clock = SimClock::new(ClockMode::ByHand);
        let start = clock.now();
        assert_eq!(clock.now(), start);
        clock.move_to(later(start, Duration::from_secs(3600)));
        assert_eq!(clock.now() - start, TimeDelta::hours(1));
        clock.move_to(start);
        assert_eq!(clock.now() - start, TimeDelta::hours(1), "time never goes back");
    }

    #[test]
    fn a_real_clock_can_be_pushed_ahead_of_the_wall() {
        let clock = SimClock::new(ClockMode::Real);
        let target = later(clock.now(), Duration::from_secs(3600));
        clock.move_to(target);
        assert!(clock.now() >= target);
        assert_eq!(clock.wall_time_until(target), Some(Duration::ZERO));
    }
}
