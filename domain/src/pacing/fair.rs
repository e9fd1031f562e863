//! Who is served next where several share a channel: by weight, whatever the size of what each of them sends, and without
//! anyone saving up turns while it has nothing to send.

use std::collections::HashMap;

/// One who has something waiting.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Claimant {
    /// Its key.
    pub id: i64,
    /// Its share among the others, 1 to 1000.
    pub weight: i32,
    /// What it may use at most now (a rate of its own, a budget); infinite where nothing limits it.
    pub at_most: f64,
}

/// What one of them gets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    /// Whose it is.
    pub id: i64,
    /// How much.
    pub amount: f64,
}

/// The turns of those who share one channel and lane. What each has used, divided by its weight, is kept level; whoever comes
/// anew begins where the least served one stands.
#[derive(Debug, Clone, Default)]
pub struct Turns {
    used: HashMap<i64, f64>,
}

impl Turns {
    /// Shares `amount` among the claimants, in pieces of `piece` (the size of a chunk); what one may not use goes to the others.
    ///
    /// A piece is given whole while anything at all is left, so that the last one may be more than what is left: the caller's
    /// allowance keeps the debt.
    #[must_use]
    pub fn share(&mut self, claimants: &[Claimant], amount: f64, piece: f64) -> Vec<Share> {
        self.settle(claimants);
        let piece = piece.max(1.0);
        let (mut left, mut virtual_use) = (amount, self.used.clone());
        let mut given: HashMap<i64, f64> = HashMap::new();
        while left >= 1.0 {
            let open = claimants.iter().filter(|c| c.at_most - given.get(&c.id).copied().unwrap_or(0.0) >= 1.0);
            let stands = |c: &Claimant| virtual_use.get(&c.id).copied().unwrap_or(0.0);
            let Some(next) = open.min_by(|a, b| stands(a).total_cmp(&stands(b)).then(a.id.cmp(&b.id))) else { break };
            let so_far = given.entry(next.id).or_default();
            let part = piece.min(left).min(next.at_most - *so_far);
            *so_far += part;
            left -= part;
            *virtual_use.entry(next.id).or_default() += part / f64::from(next.weight.max(1));
        }
        let share = |c: &Claimant| Some(Share { id: c.id, amount: given.get(&c.id).copied().filter(|n| *n > 0.0)? });
        claimants.iter().filter_map(share).collect()
    }

    /// Notes what one really used.
    pub fn used(&mut self, id: i64, weight: i32, amount: f64) {
        *self.used.entry(id).or_default() += amount / f64::from(weight.max(1));
    }

    /// Forgets those who have nothing waiting, lets newcomers begin where the least served one stands, and keeps the numbers small.
    fn settle(&mut self, claimants: &[Claimant]) {
        let waits = |id: &i64| claimants.iter().any(|c| c.id == *id);
        self.used.retain(|id, _| waits(id));
        let least = self.used.values().copied().reduce(f64::min).unwrap_or(0.0);
        for value in self.used.values_mut() {
            *value -= least;
        }
        for claimant in claimants {
            self.used.entry(claimant.id).or_insert(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claimant(id: i64, weight: i32) -> Claimant {
        Claimant { id, weight, at_most: f64::INFINITY }
    }

    fn amounts(shares: &[Share]) -> Vec<(i64, f64)> {
        shares.iter().map(|s| (s.id, s.amount)).collect()
    }

    /// Serves them for many rounds, each with little to give, in chunks of `piece`; says what each got.
    fn serve(claimants: &[Claimant], rounds: usize, amount: f64, piece: f64) -> HashMap<i64, f64> {
        let (mut turns, mut got) = (Turns::default(), HashMap::new());
        for _ in 0..rounds {
            for share in turns.share(claimants, amount, piece) {
                let weight = claimants.iter().find(|c| c.id == share.id).map_or(1, |c| c.weight);
                turns.used(share.id, weight, share.amount);
                *got.entry(share.id).or_default() += share.amount;
            }
        }
        got
    }

    #[test]
    fn groups_share_a_channel_by_weight() {
        let shares = Turns::default().share(&[claimant(1, 3), claimant(2, 1)], 400.0, 10.0);
        assert_eq!(amounts(&shares), [(1, 300.0), (2, 100.0)]);
    }

    #[test]
    fn weights_hold_over_time_where_there_is_less_than_a_chunk_for_each() {
        let got = serve(&[claimant(7, 1), claimant(8, 2), claimant(9, 5)], 800, 10.0, 10.0);
        assert_eq!((got[&7], got[&8], got[&9]), (1000.0, 2000.0, 5000.0));
    }

    #[test]
    fn a_hundred_campaigns_do_not_slow_a_heavy_one_below_its_share() {
        let mut all: Vec<Claimant> = (0..100).map(|id| claimant(id, 1)).collect();
        all.push(claimant(100, 100));
        let got = serve(&all, 2_000, 50.0, 50.0);
        assert!((got[&100] / 100_000.0 - 0.5).abs() < 0.01, "{}", got[&100]);
    }

    #[test]
    fn what_one_may_not_use_goes_to_the_others() {
        let slow = Claimant { at_most: 5.0, ..claimant(1, 100) };
        let shares = Turns::default().share(&[slow, claimant(2, 1)], 100.0, 10.0);
        assert_eq!(amounts(&shares), [(1, 5.0), (2, 95.0)]);
        let shares = Turns::default().share(&[slow], 100.0, 10.0);
        assert_eq!(amounts(&shares), [(1, 5.0)]);
    }

    #[test]
    fn whoever_rested_has_saved_no_turns() {
        let (mut turns, both) = (Turns::default(), [claimant(1, 1), claimant(2, 1)]);
        for _ in 0..100 {
            let _ = turns.share(&both[..1], 10.0, 10.0);
            turns.used(1, 1, 10.0);
        }
        let shares = turns.share(&both, 100.0, 10.0);
        assert_eq!(amounts(&shares), [(1, 50.0), (2, 50.0)]);
    }

    #[test]
    fn nothing_is_shared_of_nothing() {
        assert_eq!(Turns::default().share(&[claimant(1, 1)], 0.5, 10.0), []);
        assert_eq!(Turns::default().share(&[], 50.0, 10.0), []);
    }
}
