//! Goals: what a figure is judged by, against its baseline of the same run or by itself. Pure.

use std::fmt;

/// What a figure has to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    /// At least so many times the baseline.
    AtLeastTimes(f64),
    /// At most so many times the baseline.
    AtMostTimes(f64),
    /// At least so much, in the figure's own unit.
    AtLeast(f64),
    /// At most so much, in the figure's own unit.
    AtMost(f64),
}

impl Goal {
    /// Whether a figure meets it; none where what it asks for was not measured.
    #[must_use]
    pub fn met(self, value: f64, ratio: Option<f64>) -> Option<bool> {
        match self {
            Self::AtLeastTimes(wanted) => ratio.map(|ratio| ratio >= wanted),
            Self::AtMostTimes(wanted) => ratio.map(|ratio| ratio <= wanted),
            Self::AtLeast(wanted) => Some(value >= wanted),
            Self::AtMost(wanted) => Some(value <= wanted),
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeastTimes(wanted) => write!(f, ">= {wanted}x"),
            Self::AtMostTimes(wanted) => write!(f, "<= {wanted}x"),
            Self::AtLeast(wanted) => write!(f, ">= {wanted}"),
            Self::AtMost(wanted) => write!(f, "<= {wanted}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_met_on_its_border_and_missed_beyond() {
        assert_eq!(Goal::AtLeastTimes(0.8).met(1.0, Some(0.8)), Some(true));
        assert_eq!(Goal::AtLeastTimes(0.8).met(1.0, Some(0.79)), Some(false));
        assert_eq!(Goal::AtMostTimes(3.3).met(1.0, Some(3.4)), Some(false));
        assert_eq!(Goal::AtMost(45.0).met(45.0, None), Some(true));
        assert_eq!(Goal::AtLeast(10.0).met(9.9, None), Some(false));
    }

    #[test]
    fn a_goal_against_a_baseline_that_was_not_measured_is_neither_met_nor_missed() {
        assert_eq!(Goal::AtLeastTimes(0.8).met(1.0, None), None);
    }

    #[test]
    fn a_goal_says_whether_it_is_a_ratio() {
        assert_eq!(Goal::AtLeastTimes(0.8).to_string(), ">= 0.8x");
        assert_eq!(Goal::AtMost(20.0).to_string(), "<= 20");
    }
}
