//! Silence during our own outage is not silence: waits that came due while nothing could be received are given more time.

use chrono::{DateTime, TimeDelta, Utc};

/// The longest deferral after an interruption, however long it was.
pub const MAX_CATCH_UP: TimeDelta = TimeDelta::minutes(15);

/// A time in which answers and receipts could not reach us: we, the database or the channel's inbound way were down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// When it began.
    pub from: DateTime<Utc>,
    /// When it ended.
    pub to: DateTime<Utc>,
}

/// Before when a wait that is due at `due` must not be decided: `due` itself, unless it came due between the beginning of the
/// outage and the end of its catch-up.
///
/// The catch-up is as long as the outage was, at most [`MAX_CATCH_UP`], and begins when the outage ends. All times are of one
/// clock.
#[must_use]
pub fn catch_up(due: DateTime<Utc>, outage: Outage) -> DateTime<Utc> {
    let length = (outage.to - outage.from).clamp(TimeDelta::zero(), MAX_CATCH_UP);
    let caught_up = outage.to + length;
    if length > TimeDelta::zero() && due >= outage.from { due.max(caught_up) } else { due }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_that_came_due_during_an_outage_get_its_length_again() {
        let at = |minutes| DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes);
        // (outage from, to, due, expected), in minutes.
        let cases = [
            (10, 14, 9, 9),
            (10, 14, 10, 18),
            (10, 14, 13, 18),
            (10, 14, 17, 18),
            (10, 14, 18, 18),
            (10, 14, 30, 30),
            (10, 300, 20, 315),
            (10, 10, 10, 10),
            (14, 10, 12, 12),
        ];
        for (from, to, due, expected) in cases {
            let outage = Outage { from: at(from), to: at(to) };
            assert_eq!(catch_up(at(due), outage), at(expected), "outage {from}..{to}, due {due}");
        }
    }
}
