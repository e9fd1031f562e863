//! An allowance that fills with time: the one form of every rate of ours, known by a single moment, so that it can be kept in
//! a row and holds over processes and restarts.

use chrono::{DateTime, TimeDelta, Utc};

/// What may still be used of a rate. Filled by the rate, never above its burst; use may leave a debt that time pays back.
///
/// All that is known is when the allowance is whole again: what was used up is the distance to that moment, times the rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// When it is whole again; in the past while it is.
    pub full_at: DateTime<Utc>,
}

impl Allowance {
    /// One of which nothing was used yet.
    #[must_use]
    pub const fn whole() -> Self {
        Self { full_at: DateTime::UNIX_EPOCH }
    }

    /// What may be used now of `rate` (in a second): at most `burst`, negative while a debt is paid back.
    #[must_use]
    pub fn left(self, rate: f64, burst: f64, now: DateTime<Utc>) -> f64 {
        let missing = (self.full_at - now).max(TimeDelta::zero());
        burst - missing.as_seconds_f64() * rate
    }

    /// The same after `amount` was used.
    #[must_use]
    pub fn take(self, amount: f64, rate: f64, now: DateTime<Utc>) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "bounded below three hundred years")]
        let micros = (amount / rate.max(1e-6) * 1e6).clamp(0.0, 9e15) as i64;
        let full_at = self.full_at.max(now).checked_add_signed(TimeDelta::microseconds(micros));
        Self { full_at: full_at.unwrap_or(DateTime::<Utc>::MAX_UTC) }
    }

    /// How long until `amount` may be used; zero where it may be now.
    #[must_use]
    pub fn wait(self, amount: f64, rate: f64, burst: f64, now: DateTime<Utc>) -> TimeDelta {
        let missing = amount.min(burst) - self.left(rate, burst, now);
        #[expect(clippy::cast_possible_truncation, reason = "bounded below three hundred years")]
        let micros = (missing / rate.max(1e-6) * 1e6).clamp(0.0, 9e15).ceil() as i64;
        TimeDelta::microseconds(micros)
    }
}

/// How much of a rate may go at once: what it allows in a second, and at least one.
#[must_use]
pub fn burst(rate: f64) -> f64 {
    rate.max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(millis: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::milliseconds(millis)
    }

    #[test]
    fn one_that_was_never_used_gives_a_seconds_worth_and_no_more() {
        assert!((Allowance::whole().left(10.0, burst(10.0), at(0)) - 10.0).abs() < 1e-6);
        let used = Allowance::whole().take(10.0, 10.0, at(0));
        assert!(used.left(10.0, burst(10.0), at(0)).abs() < 1e-6);
        assert!((used.left(10.0, burst(10.0), at(60_000)) - 10.0).abs() < 1e-6, "a minute of rest saves up one second");
    }

    #[test]
    fn a_debt_is_paid_back_before_anything_goes() {
        let used = Allowance::whole().take(50.0, 5.0, at(0));
        assert!(used.left(5.0, burst(5.0), at(8_900)) < 0.0);
        assert!(used.left(5.0, burst(5.0), at(9_300)) >= 1.0);
        assert_eq!(used.wait(1.0, 5.0, burst(5.0), at(0)), TimeDelta::milliseconds(9_200));
    }

    #[test]
    fn a_rate_of_one_an_hour_gives_one_an_hour() {
        let rate = 1.0 / 3600.0;
        let used = Allowance::whole().take(1.0, rate, at(0));
        assert!(used.left(rate, burst(rate), at(3_500_000)) < 1.0);
        assert!(used.left(rate, burst(rate), at(3_600_001)) >= 1.0);
    }

    proptest! {
        #[test]
        fn no_stretch_of_time_sees_more_than_its_rate_and_one_burst(
            rate in 0.01_f64..500.0, gaps in prop::collection::vec(0_i64..5_000, 1..60), asked in 1_u32..20,
        ) {
            let (mut allowance, mut now, mut gone) = (Allowance::whole(), 0, 0.0);
            for gap in gaps {
                now += gap;
                let left = allowance.left(rate, burst(rate), at(now)).floor();
                let take = f64::from(asked).min(left).max(0.0);
                allowance = allowance.take(take, rate, at(now));
                gone += take;
                #[expect(clippy::cast_precision_loss, reason = "a few minutes in milliseconds")]
                let allowed = rate * (now as f64 / 1000.0) + burst(rate);
                prop_assert!(gone <= allowed + 1e-3, "{gone} of {allowed}");
            }
        }
    }
}
