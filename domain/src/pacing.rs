//! How much goes out at once: chunks and the work that may be outstanding on a channel. Planning cuts by it, the relay grants
//! by it, so that both mean the same chunk.

use crate::channel::Lane;

/// Seconds of work that may be outstanding on a channel with a rate.
pub const AHEAD_SECS: f64 = 3.0;
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
    }
}
