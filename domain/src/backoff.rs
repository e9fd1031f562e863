//! How long to wait before trying again: doubling, capped, and spread so that many do not return at once.
//!
//! A provider that names its own delay is obeyed by the caller (the longer of the two); rules of one provider, such as
//! WhatsApp's `4^n` for a pair of numbers, stay in its connector.

use chrono::TimeDelta;

/// The longest pause between two attempts inside a step, whatever the first was.
pub const CAP: TimeDelta = TimeDelta::minutes(15);

/// The pause after the `failures`-th failure (1 is the first): `first` doubled each time, at most `cap`, of which the
/// upper half is spread by `jitter`.
///
/// `jitter` is a random number in `[0, 1)`; anything else is brought into that range. The result is between half of the
/// doubled pause and the whole of it, so it is never zero while `first` is at least two milliseconds.
#[must_use]
pub fn delay(first: TimeDelta, cap: TimeDelta, failures: u32, jitter: f64) -> TimeDelta {
    let first = first.num_milliseconds().max(0);
    let cap = cap.num_milliseconds().max(0);
    let doubled = first.saturating_mul(1_i64.checked_shl(failures.saturating_sub(1).min(40)).unwrap_or(i64::MAX));
    let whole = doubled.min(cap);
    let half = whole / 2;
    TimeDelta::milliseconds(half + spread(whole - half, jitter))
}

/// `jitter` of `width` milliseconds, without leaving `0..=width`.
fn spread(width: i64, jitter: f64) -> i64 {
    let thousandths = if jitter.is_finite() { (jitter.clamp(0.0, 1.0) * 1000.0).round() } else { 0.0 };
    #[expect(clippy::cast_possible_truncation, reason = "between 0 and 1000 by the clamp above")]
    let thousandths = thousandths as i64;
    width.saturating_mul(thousandths) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn doubles_until_the_cap() {
        let cases = [(1, 10), (2, 20), (3, 40), (4, 60), (5, 60), (63, 60), (u32::MAX, 60)];
        for (failures, seconds) in cases {
            let got = delay(TimeDelta::seconds(10), TimeDelta::seconds(60), failures, 1.0);
            assert_eq!(got, TimeDelta::seconds(seconds), "after {failures}");
        }
    }

    #[test]
    fn jitter_spreads_over_the_upper_half() {
        let at = |jitter| delay(TimeDelta::seconds(8), CAP, 1, jitter).num_milliseconds();
        assert_eq!((at(0.0), at(0.5), at(0.999)), (4000, 6000, 7996));
        assert_eq!((at(-3.0), at(f64::NAN), at(9.0)), (4000, 4000, 8000));
    }

    proptest! {
        #[test]
        fn stays_between_half_and_whole_and_never_shrinks(
            first in 2_i64..600_000, cap in 2_i64..86_400_000, n in 1_u32..80, jitter in 0.0_f64..1.0,
        ) {
            let d = |n| delay(TimeDelta::milliseconds(first), TimeDelta::milliseconds(cap), n, jitter);
            prop_assert!(d(n) > TimeDelta::zero());
            prop_assert!(d(n) <= TimeDelta::milliseconds(cap));
            prop_assert!(d(n + 1) >= d(n));
        }
    }
}
