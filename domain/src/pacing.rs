//! How much goes out at once, and how fast: chunks, allowances, fair shares, and what follows when a provider says that we are
//! too fast. Planning cuts by it, the relay grants by it, so that both mean the same.
//!
//! Everything here is arithmetic over plain values; who holds the values, and for how long, is decided in the server's relay.

pub mod adaptive;
pub mod ahead;
pub mod allowance;
pub mod fair;
pub mod pair;
pub mod spread;

use crate::channel::Lane;

/// Seconds of work that may be outstanding on a channel with a rate.
pub const AHEAD_SECS: f64 = 3.0;
/// The share of what a channel may do that bulk leaves to interactive.
pub const INTERACTIVE_SHARE: f64 = 0.2;
/// Deliveries in a bulk chunk of a channel without a rate, and the most of any.
const BULK: f64 = 50.0;

/// How many deliveries a chunk carries: one in the interactive lane; in the bulk lane a second or two of a channel's `rate`
/// (deliveries a second; none: as fast as it goes), between 1 and 50, so that no chunk outlives its lease.
#[must_use]
pub fn chunk_size(lane: Lane, rate: Option<f64>) -> usize {
    let size = match (lane, rate) {
        (Lane::Interactive, _) => 1.0,
        (Lane::Bulk, None) => BULK,
        (Lane::Bulk, Some(rate)) => (rate * AHEAD_SECS / 2.0).clamp(1.0, BULK),
    };
    whole(size)
}

/// The same where the campaign has a rate of its own and calls are counted over all processes: a chunk is at most what the
/// campaign may begin in a second, so that a slow campaign goes out evenly, and at most half of the calls that may be open, so
/// that two workers can share them.
#[must_use]
pub fn chunk_size_within(lane: Lane, channel: Option<f64>, campaign: Option<f64>, calls: Option<f64>) -> usize {
    let own = campaign.map_or(BULK, |rate| rate.clamp(1.0, BULK));
    let open = calls.map_or(BULK, |calls| (calls / 2.0).clamp(1.0, BULK));
    chunk_size(lane, channel).min(whole(own)).min(whole(open))
}

/// What bulk may use of what is left, so that interactive finds its share at any moment: a fifth of the rate is kept back, as
/// long as one whole message remains of it.
#[must_use]
pub fn of_lane(lane: Lane, left: f64, whole: f64) -> f64 {
    match lane {
        Lane::Interactive => left,
        Lane::Bulk => left - (left.clamp(0.0, whole) * INTERACTIVE_SHARE).min((whole - 1.0).max(0.0)),
    }
}

/// How many calls bulk may have open where `calls` may be open at all: a fifth, and where there are two at least one, is kept
/// for interactive.
#[must_use]
pub fn calls_of_lane(lane: Lane, calls: f64) -> f64 {
    match lane {
        Lane::Interactive => calls,
        Lane::Bulk if calls < 2.0 => calls,
        Lane::Bulk => (calls * (1.0 - INTERACTIVE_SHARE)).floor().min(calls - 1.0),
    }
}

fn whole(size: f64) -> usize {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 50")]
    let size = size as usize;
    size.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_channel_gets_small_chunks() {
        assert_eq!(chunk_size(Lane::Bulk, Some(1.0)), 1);
        assert_eq!(chunk_size(Lane::Bulk, Some(20.0)), 30);
        assert_eq!(chunk_size(Lane::Bulk, Some(1000.0)), 50);
        assert_eq!(chunk_size(Lane::Bulk, None), 50);
    }

    #[test]
    fn an_interactive_chunk_carries_one_delivery_whatever_the_rate() {
        assert_eq!(chunk_size(Lane::Interactive, None), 1);
        assert_eq!(chunk_size(Lane::Interactive, Some(500.0)), 1);
    }

    #[test]
    fn a_rate_that_is_no_number_still_gives_a_chunk() {
        assert_eq!(chunk_size(Lane::Bulk, Some(f64::NAN)), 1);
        assert_eq!(chunk_size(Lane::Bulk, Some(0.0)), 1);
        assert_eq!(chunk_size_within(Lane::Bulk, None, Some(f64::NAN), None), 1);
    }

    #[test]
    fn a_slow_campaign_and_few_open_calls_make_chunks_small() {
        assert_eq!(chunk_size_within(Lane::Bulk, None, Some(7.5), None), 7);
        assert_eq!(chunk_size_within(Lane::Bulk, None, Some(0.01), None), 1);
        assert_eq!(chunk_size_within(Lane::Bulk, Some(4.0), Some(500.0), None), 6);
        assert_eq!(chunk_size_within(Lane::Bulk, None, None, Some(5.0)), 2);
    }

    #[test]
    fn interactive_finds_its_share_whatever_bulk_has_used() {
        assert!((of_lane(Lane::Bulk, 10.0, 10.0) - 8.0).abs() < 1e-9);
        assert!((of_lane(Lane::Interactive, 10.0, 10.0) - 10.0).abs() < 1e-9);
        assert!(of_lane(Lane::Bulk, -3.0, 10.0) <= -3.0, "a debt is nobody's share");
        for whole in [1.0, 1.1, 1.2, 2.0, 5.0] {
            assert!(of_lane(Lane::Bulk, whole, whole) >= 1.0, "bulk never goes at {whole} a second");
        }
        for calls in [2.0, 3.0, 5.0, 50.0] {
            assert!(calls_of_lane(Lane::Bulk, calls) < calls, "{calls}");
            assert!(calls_of_lane(Lane::Bulk, calls) >= 1.0, "{calls}");
        }
        assert!((calls_of_lane(Lane::Bulk, 1.0) - 1.0).abs() < 1e-9, "one call is for whoever comes");
    }
}
