//! What a series of measurements says: the median, its spread, percentiles, and ratios of pairs from the same round. Pure.

use serde::{Deserialize, Serialize};

/// The middle of a series, and how far it went to either side.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The median.
    pub median: f64,
    /// The smallest value.
    pub min: f64,
    /// The largest value.
    pub max: f64,
}

impl Summary {
    /// Summarises a series; none where it is empty or holds a value that is no number.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        if values.is_empty() || values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        Some(Self { median: f64::midpoint(low, high), min: sorted[0], max: sorted[sorted.len() - 1] })
    }
}

/// The ratios of two series, round by round: what the machine did to one round it did to both sides of it.
#[must_use]
pub fn ratios(ours: &[f64], baseline: &[f64]) -> Vec<f64> {
    ours.iter().zip(baseline).filter(|(_, base)| **base > 0.0).map(|(ours, base)| ours / base).collect()
}

/// The value below which `share` (0 to 1) of a series lies, by the nearest rank; 0 where it is empty.
#[must_use]
pub fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(clippy::cast_precision_loss, reason = "a series has far fewer than 2^52 values")]
    let rank = (sorted.len() as f64 * share.clamp(0.0, 1.0)).ceil();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank lies within the series")]
    let index = (rank as usize).saturating_sub(1);
    sorted.get(index).copied().unwrap_or_default()
}

/// A count as a number to calculate with.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts of a measurement are far below 2^52")]
pub const fn number(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_an_even_series_lies_between_its_two_middle_values() {
        let summary = Summary::of(&[4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!((summary.median, summary.min, summary.max), (2.5, 1.0, 4.0));
        assert_eq!(Summary::of(&[7.0, 1.0, 2.0]).unwrap().median, 2.0);
    }

    #[test]
    fn an_empty_or_broken_series_has_no_middle() {
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(Summary::of(&[1.0, f64::NAN]), None);
        assert_eq!(Summary::of(&[f64::INFINITY]), None);
    }

    #[test]
    fn ratios_pair_the_rounds_and_leave_out_what_has_no_baseline() {
        assert_eq!(ratios(&[1.0, 9.0, 3.0], &[2.0, 3.0, 0.0]), [0.5, 3.0]);
    }

    #[test]
    fn a_percentile_is_a_value_of_the_series() {
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!((percentile(&hundred, 0.5), percentile(&hundred, 0.99)), (50.0, 99.0));
        assert_eq!((percentile(&hundred, 1.0), percentile(&hundred, 0.0)), (100.0, 1.0));
        assert_eq!(percentile(&[], 0.5), 0.0);
        assert_eq!(percentile(&[3.0], 0.99), 3.0);
    }
}
