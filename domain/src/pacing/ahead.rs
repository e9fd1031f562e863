//! How much may be outstanding on a channel that has no rate: as much as it proves to take, so that a slow one fills no queue
//! that others share with it.

/// Deliveries that may be outstanding at first.
const FIRST: f64 = 1_000.0;
/// At least so many: two chunks, so that there is always a next one.
const LEAST: f64 = 100.0;
/// At most so many.
const MOST: f64 = 5_000.0;

/// See the module. Doubled while what was granted is taken up, halved when workers give chunks back untried.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ahead {
    limit: f64,
}

impl Default for Ahead {
    fn default() -> Self {
        Self { limit: FIRST }
    }
}

impl Ahead {
    /// How many deliveries may be outstanding.
    #[must_use]
    pub const fn limit(self) -> f64 {
        self.limit
    }

    /// After a look: so many are outstanding, and whether chunks came back untried since the last look.
    #[must_use]
    pub fn after(self, outstanding: f64, came_back: bool) -> Self {
        let limit = match (came_back, outstanding <= self.limit / 2.0) {
            (true, _) => self.limit / 2.0,
            (false, true) => self.limit * 2.0,
            (false, false) => self.limit,
        };
        Self { limit: limit.clamp(LEAST, MOST) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_that_gives_back_gets_less_and_one_that_is_quick_gets_more() {
        let mut ahead = Ahead::default();
        for _ in 0..10 {
            ahead = ahead.after(ahead.limit(), true);
        }
        assert!((ahead.limit() - LEAST).abs() < 1e-9);
        ahead = ahead.after(LEAST, false);
        assert!((ahead.limit() - LEAST).abs() < 1e-9, "what is full stays as it is");
        for _ in 0..10 {
            ahead = ahead.after(0.0, false);
        }
        assert!((ahead.limit() - MOST).abs() < 1e-9);
    }
}
