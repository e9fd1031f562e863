//! A circuit breaker for one provider, and which of a channel's providers takes the next call.
//!
//! The breaker is a value: outcomes go in, the next state comes out, and the caller keeps it. Machine time, not business time,
//! is its clock. What counts is whether the provider works, not whether it likes a message: a refusal that speaks of a person
//! is the answer of a provider in good health.

use crate::delivery::{FailureClass, Outcome};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// When a breaker opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// How many failures in a row open it, at least 1. Default: 5.
    pub failures: u32,
    /// How long it stays open at first; doubled each time that the trial call fails. Default: 10 s.
    pub open_for: TimeDelta,
    /// The longest that it stays open. Default: 5 min.
    pub open_at_most: TimeDelta,
    /// How long a trial call may take before another is let through. Default: 60 s.
    pub trial: TimeDelta,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            failures: 5,
            open_for: TimeDelta::seconds(10),
            open_at_most: TimeDelta::minutes(5),
            trial: TimeDelta::seconds(60),
        }
    }
}

/// A breaker.
///
/// | state | call asked for | success | failure | neutral |
/// |---|---|---|---|---|
/// | closed | let through | closed, count 0 | closed, count + 1; the last allowed: open | stays |
/// | open, before its time | refused | closed | stays | stays |
/// | open, its time over | let through as a trial: half-open | closed | open again, longer | stays |
/// | half-open | refused until the trial is overdue | closed | open, twice as long | open to another trial at once |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Breaker {
    /// Calls go through.
    Closed {
        /// Failures in a row.
        failures: u32,
    },
    /// No calls go through.
    Open {
        /// Until when.
        until: DateTime<Utc>,
        /// How often it opened in a row.
        times: u32,
    },
    /// One call is on its way to see whether the provider works again.
    HalfOpen {
        /// When that call is given up and another may go.
        overdue_at: DateTime<Utc>,
        /// How often it opened in a row.
        times: u32,
    },
}

impl Default for Breaker {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

codes! {
    /// What an outcome says of the provider's health.
    pub enum Signal {
        /// It works.
        Success = "success",
        /// It does not.
        Failure = "failure",
        /// Nothing.
        Neutral = "neutral",
    }
}

/// What an outcome says of the provider's health.
///
/// Failures are calls without a known end, calls that could not be made, technical refusals, and credentials that are refused
/// (another provider of the channel may have better ones). Throttling and temporary refusals, which mail servers give to
/// single recipients, say nothing.
#[must_use]
pub const fn signal(outcome: Outcome, refusal: Option<FailureClass>) -> Signal {
    match (outcome, refusal) {
        (Outcome::Accepted, _) => Signal::Success,
        (Outcome::NotSent | Outcome::Unknown, _) => Signal::Failure,
        (Outcome::Refused, Some(FailureClass::Technical | FailureClass::ParkChannel)) => Signal::Failure,
        (Outcome::Refused, Some(FailureClass::Temporary | FailureClass::Throttled) | None) => Signal::Neutral,
        (
            Outcome::Refused,
            Some(FailureClass::FallOver | FailureClass::Permanent | FailureClass::OptOut | FailureClass::NeedsTemplate),
        ) => Signal::Success,
    }
}

impl Breaker {
    /// The breaker after an outcome.
    #[must_use]
    pub fn after(self, signal: Signal, now: DateTime<Utc>, config: &Config) -> Self {
        match (self, signal) {
            (_, Signal::Success) => Self::default(),
            (Self::Closed { failures }, Signal::Failure) if failures + 1 >= config.failures => open(1, now, config),
            (Self::Closed { failures }, Signal::Failure) => Self::Closed { failures: failures + 1 },
            (Self::Open { until, times }, Signal::Failure) if until <= now => {
                open(times.saturating_add(1), now, config)
            }
            (Self::HalfOpen { times, .. }, Signal::Failure) => open(times.saturating_add(1), now, config),
            (Self::HalfOpen { times, .. }, Signal::Neutral) => Self::HalfOpen { overdue_at: now, times },
            (Self::Closed { .. }, Signal::Neutral) | (Self::Open { .. }, Signal::Failure | Signal::Neutral) => self,
        }
    }

    /// Whether a call may go now, and the breaker after it went.
    ///
    /// # Errors
    /// When to ask again.
    pub fn call(self, now: DateTime<Utc>, config: &Config) -> Result<Self, DateTime<Utc>> {
        match self {
            Self::Closed { .. } => Ok(self),
            Self::Open { until: at, times } | Self::HalfOpen { overdue_at: at, times } => {
                if at <= now {
                    Ok(Self::HalfOpen { overdue_at: now + config.trial, times })
                } else {
                    Err(at)
                }
            }
        }
    }
}

fn open(times: u32, now: DateTime<Utc>, config: &Config) -> Breaker {
    // Full jitter is not wanted here: each process counts its own failures, so breakers do not open in step.
    let long = crate::backoff::delay(config.open_for, config.open_at_most, times, 1.0);
    Breaker::Open { until: now + long, times }
}

/// Which provider takes the next call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// This one, by its place in the list; its breaker is this from now on.
    Use {
        /// The place.
        index: usize,
        /// The breaker after the call went.
        breaker: Breaker,
    },
    /// None; the first is to be asked again at this time. `None` when the channel has no provider at all.
    AllDown {
        /// When.
        until: Option<DateTime<Utc>>,
    },
}

/// The first provider, in the channel's order, whose breaker lets a call through.
#[must_use]
pub fn choose_provider(breakers: &[Breaker], now: DateTime<Utc>, config: &Config) -> Choice {
    let mut until: Option<DateTime<Utc>> = None;
    for (index, breaker) in breakers.iter().enumerate() {
        match breaker.call(now, config) {
            Ok(breaker) => return Choice::Use { index, breaker },
            Err(at) => until = Some(until.map_or(at, |earlier| earlier.min(at))),
        }
    }
    Choice::AllDown { until }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn opened(times: u32, now: i64) -> Breaker {
        open(times, at(now), &Config::default())
    }

    #[test]
    fn every_pair_of_state_and_signal_follows_the_table() {
        use Signal::{Failure, Neutral, Success};
        let config = Config::default();
        let closed = |failures| Breaker::Closed { failures };
        let open_until = |s| Breaker::Open { until: at(s), times: 1 };
        let half = |s| Breaker::HalfOpen { overdue_at: at(s), times: 1 };
        let cases = [
            (closed(0), Failure, closed(1)),
            (closed(3), Success, closed(0)),
            (closed(3), Neutral, closed(3)),
            (closed(4), Failure, Breaker::Open { until: at(110), times: 1 }),
            (open_until(105), Success, closed(0)),
            (open_until(105), Failure, open_until(105)),
            (open_until(105), Neutral, open_until(105)),
            (open_until(100), Failure, Breaker::Open { until: at(120), times: 2 }),
            (half(160), Success, closed(0)),
            (half(160), Failure, Breaker::Open { until: at(120), times: 2 }),
            (half(160), Neutral, half(100)),
        ];
        for (state, signal, expected) in cases {
            assert_eq!(state.after(signal, at(100), &config), expected, "{state:?} on {signal}");
        }
    }

    #[test]
    fn one_trial_call_goes_through_when_the_time_is_over() {
        let config = Config::default();
        let open = opened(1, 0);
        assert_eq!(open.call(at(9), &config), Err(at(10)));
        let trial = open.call(at(10), &config).unwrap();
        assert_eq!(trial.call(at(11), &config), Err(at(70)));
        assert!(trial.call(at(70), &config).is_ok());
    }

    #[test]
    fn refusals_that_speak_of_a_person_leave_the_provider_in_good_health() {
        let cases = [
            (Outcome::Accepted, None, Signal::Success),
            (Outcome::Refused, Some(FailureClass::FallOver), Signal::Success),
            (Outcome::Refused, Some(FailureClass::OptOut), Signal::Success),
            (Outcome::Refused, Some(FailureClass::Throttled), Signal::Neutral),
            (Outcome::Refused, Some(FailureClass::Temporary), Signal::Neutral),
            (Outcome::Refused, Some(FailureClass::Technical), Signal::Failure),
            (Outcome::NotSent, None, Signal::Failure),
            (Outcome::Unknown, None, Signal::Failure),
        ];
        for (outcome, refusal, expected) in cases {
            assert_eq!(signal(outcome, refusal), expected, "{outcome} {refusal:?}");
        }
    }

    #[test]
    fn an_outage_fails_over_to_the_next_provider_before_it_costs_anything() {
        let config = Config::default();
        let ok = Breaker::default();
        let choose = |breakers: &[Breaker]| choose_provider(breakers, at(5), &config);
        assert_eq!(choose(&[ok, ok]), Choice::Use { index: 0, breaker: ok });
        assert_eq!(choose(&[opened(1, 0), ok]), Choice::Use { index: 1, breaker: ok });
        assert_eq!(choose(&[opened(3, 0), opened(1, 0)]), Choice::AllDown { until: Some(at(10)) });
        assert_eq!(choose(&[]), Choice::AllDown { until: None });
    }

    proptest! {
        #[test]
        fn a_breaker_always_lets_a_call_through_again(
            signals in prop::collection::vec(0..Signal::ALL.len(), 0..60), step in 0_i64..100,
        ) {
            let config = Config::default();
            let (mut breaker, mut now) = (Breaker::default(), 0);
            for index in signals {
                now += step;
                if let Ok(after) = breaker.call(at(now), &config) {
                    breaker = after.after(Signal::ALL[index], at(now), &config);
                }
            }
            let longest = config.open_at_most.max(config.trial).num_seconds();
            prop_assert!(breaker.call(at(now + longest), &config).is_ok());
        }
    }
}
