//! A campaign that is spread over its window: what waits is begun evenly until the window ends.

use chrono::TimeDelta;

/// Nothing is spread thinner than over this time, so that the end of a window asks no impossible rate.
const SHORTEST: TimeDelta = TimeDelta::minutes(1);
/// The slowest rate, in deliveries a second: one in an hour.
const SLOWEST: f64 = 1.0 / 3600.0;

/// How fast a campaign with `waiting` deliveries is begun, in a second, when its window ends after `left`.
#[must_use]
pub fn rate(waiting: i64, left: TimeDelta) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a count of deliveries is far below 2^52")]
    let waiting = waiting.max(0) as f64;
    (waiting / left.max(SHORTEST).as_seconds_f64()).max(SLOWEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_campaign_takes_the_whole_window_whatever_its_size() {
        assert!((rate(21_600, TimeDelta::hours(6)) - 1.0).abs() < 1e-9);
        assert!((rate(1_000_000, TimeDelta::hours(6)) - 46.296).abs() < 0.01);
        assert!((rate(60, TimeDelta::seconds(1)) - 1.0).abs() < 1e-9);
        assert!((rate(0, TimeDelta::hours(6)) - SLOWEST).abs() < 1e-12);
    }

    /// The rate is set anew as time passes: the last one goes when the window ends.
    #[test]
    fn what_was_held_up_is_made_up_for() {
        let (mut waiting, mut begun) = (6_000.0_f64, 0.0);
        for minute in 0..60 {
            #[expect(clippy::cast_possible_truncation, reason = "a test's count")]
            let now = rate(waiting as i64, TimeDelta::minutes(60 - minute));
            // Nothing goes in the first quarter of the hour: a provider is down.
            let gone = if minute < 15 { 0.0 } else { (now * 60.0).min(waiting) };
            (waiting, begun) = (waiting - gone, begun + gone);
        }
        assert!(begun > 5_990.0, "{begun}");
    }
}
