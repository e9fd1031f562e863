//! What follows when a provider says that we are too fast: its rate is halved at once and rises again slowly, so that many
//! such answers find the speed that it takes, and one of them costs little.

use chrono::{DateTime, TimeDelta, Utc};

/// To this share the rate falls.
const FALL: f64 = 0.5;
/// This share of the whole rate is won back in each second.
const RISE_A_SECOND: f64 = 0.02;
/// Further answers within this time are about calls that were made before the rate fell.
const HOLD: TimeDelta = TimeDelta::seconds(3);
/// The rate falls no further, in messages a second.
const LEAST: f64 = 0.1;
/// The stretch over which the present speed is taken.
const METER_SECS: f64 = 5.0;

/// How fast a provider is used after it complained. Nothing is known where it never did.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Speed {
    /// What it was lowered to, in messages a second.
    pub limit: Option<f64>,
    /// When that was; from then on it rises.
    pub lowered_at: Option<DateTime<Utc>>,
}

impl Speed {
    /// The rate that is granted now, in messages a second; none where nothing limits it. `configured` is the rate that is set.
    ///
    /// Without a set rate the whole is taken to be twice what it was lowered to, and the limit is dropped when twice the whole
    /// is reached: it would be found again.
    #[must_use]
    pub fn granted(self, configured: Option<f64>, now: DateTime<Utc>) -> Option<f64> {
        let (Some(limit), Some(lowered_at)) = (self.limit, self.lowered_at) else { return configured };
        let whole = configured.unwrap_or(limit / FALL);
        let secs = (now - lowered_at).max(TimeDelta::zero()).as_seconds_f64();
        let risen = limit + whole * RISE_A_SECOND * secs;
        match configured {
            Some(configured) => Some(risen.min(configured)),
            None => Some(risen).filter(|rate| *rate < whole / FALL),
        }
    }

    /// After an answer that we are too fast; `observed` is how fast we really were.
    #[must_use]
    pub fn throttled(self, configured: Option<f64>, observed: f64, now: DateTime<Utc>) -> Self {
        if self.lowered_at.is_some_and(|at| now - at < HOLD) {
            return self;
        }
        let before = self.granted(configured, now).unwrap_or(f64::INFINITY).min(observed.max(1.0));
        Self { limit: Some((before * FALL).max(LEAST)), lowered_at: Some(now) }
    }
}

/// How fast something goes, smoothed over some seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Meter {
    rate: f64,
    at: DateTime<Utc>,
}

impl Default for Meter {
    fn default() -> Self {
        Self { rate: 0.0, at: DateTime::UNIX_EPOCH }
    }
}

impl Meter {
    /// The present speed, in a second.
    #[must_use]
    pub fn rate(self, now: DateTime<Utc>) -> f64 {
        let secs = (now - self.at).max(TimeDelta::zero()).as_seconds_f64();
        self.rate * (-secs / METER_SECS).exp()
    }

    /// The meter after `amount` went.
    #[must_use]
    pub fn add(self, amount: f64, now: DateTime<Utc>) -> Self {
        Self { rate: self.rate(now) + amount / METER_SECS, at: now }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: f64) -> DateTime<Utc> {
        #[expect(clippy::cast_possible_truncation, reason = "a test's seconds")]
        let millis = (secs * 1000.0) as i64;
        DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::milliseconds(millis)
    }

    #[test]
    fn a_provider_that_never_complained_goes_as_it_is_set() {
        assert_eq!(Speed::default().granted(Some(20.0), at(0.0)), Some(20.0));
        assert_eq!(Speed::default().granted(None, at(0.0)), None);
    }

    #[test]
    fn one_complaint_halves_the_rate_and_it_rises_evenly_to_what_is_set() {
        let slowed = Speed::default().throttled(Some(100.0), 100.0, at(0.0));
        assert_eq!(slowed.granted(Some(100.0), at(0.0)), Some(50.0));
        assert_eq!(slowed.granted(Some(100.0), at(10.0)), Some(70.0));
        assert_eq!(slowed.granted(Some(100.0), at(100.0)), Some(100.0));
    }

    #[test]
    fn complaints_about_calls_that_were_open_count_once() {
        let slowed = Speed::default().throttled(Some(100.0), 100.0, at(0.0));
        assert_eq!(slowed.throttled(Some(100.0), 100.0, at(1.0)), slowed);
        let again = slowed.throttled(Some(100.0), 60.0, at(4.0));
        assert_eq!(again.limit, Some(29.0), "half of 58, which was granted by then");
    }

    #[test]
    fn without_a_set_rate_the_speed_that_was_is_halved_and_the_limit_ends_by_itself() {
        let slowed = Speed::default().throttled(None, 40.0, at(0.0));
        assert_eq!(slowed.granted(None, at(0.0)), Some(20.0));
        assert_eq!(slowed.granted(None, at(10.0)), Some(28.0));
        assert_eq!(slowed.granted(None, at(100.0)), None);
    }

    #[test]
    fn the_rate_never_falls_to_nothing() {
        let mut speed = Speed::default();
        for n in 0..50 {
            speed = speed.throttled(Some(1.0), 0.0, at(f64::from(n) * 4.0));
        }
        assert!(speed.limit.unwrap() >= LEAST);
    }

    /// A provider that takes ten a second, a channel that is set to a hundred: what comes of it over ten minutes.
    #[test]
    fn the_speed_that_a_provider_takes_is_found() {
        let (mut speed, mut sent, mut refused) = (Speed::default(), 0.0, 0.0);
        for second in 0..600 {
            let now = at(f64::from(second));
            let rate = speed.granted(Some(100.0), now).unwrap();
            sent += rate.min(10.0);
            if rate > 10.0 {
                refused += rate - 10.0;
                speed = speed.throttled(Some(100.0), rate, now);
            }
        }
        assert!(sent > 4_500.0, "{sent} of 6000 were taken");
        assert!(refused < sent / 3.0, "{refused} were refused");
    }

    #[test]
    fn a_meter_shows_the_speed_and_forgets_it() {
        let mut meter = Meter::default();
        for tenth in 0..300 {
            meter = meter.add(2.0, at(f64::from(tenth) / 10.0));
        }
        assert!((meter.rate(at(30.0)) - 20.0).abs() < 1.0, "{}", meter.rate(at(30.0)));
        assert!(meter.rate(at(60.0)) < 0.1);
    }
}
