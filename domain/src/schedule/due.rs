//! What is due when somebody wakes up: the times that are on time, those that were missed, and the next one.

use chrono::{DateTime, Duration, NaiveDateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{MisfirePolicy, Schedule};

/// The most fires of one answer; of more, the latest are given.
pub const MAX_FIRES: usize = 1000;

/// One fire time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fire {
    /// When it is meant to fire; with each recipient's own zone, when it opens in the first zone. No two fires of a schedule
    /// share it, so it is the key under which a schedule fires once.
    pub nominal: DateTime<Utc>,
    /// The time on the wall that it stands for: what the expression names. Differs from the wall at `nominal` where the wall
    /// skips that time. A rhythm has it twice where an hour repeats.
    pub local: NaiveDateTime,
}

/// What is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// What fires now, the earliest first.
    pub fires: Vec<Fire>,
    /// The next fire time, after now; none when there is no more and the schedule is over.
    pub next: Option<DateTime<Utc>>,
    /// Whether a time passed that does not fire: by the policy, beyond the horizon, or beyond [`MAX_FIRES`].
    pub skipped: bool,
}

impl Schedule {
    /// What is due at `now`, when the next fire time that was stored is `next_fire`.
    ///
    /// Times from `next_fire` to `now` are counted, both included. Those within the grace are on time and fire; the others
    /// were missed, and the misfire policy decides.
    #[must_use]
    pub fn due(&self, next_fire: DateTime<Utc>, now: DateTime<Utc>) -> Due {
        if next_fire > now {
            return Due { fires: Vec::new(), next: Some(next_fire), skipped: false };
        }
        let (mut fires, mut skipped) = (Vec::new(), false);
        let mut candidate = self.previous_fire(now);
        while let Some(fire) = candidate.filter(|fire| fire.nominal >= next_fire) {
            if fires.len() >= MAX_FIRES || !self.fires_late(&fire, now, fires.len()) {
                skipped = true;
                break;
            }
            fires.push(fire);
            candidate = self.previous_fire(fire.nominal - Duration::seconds(1));
        }
        fires.reverse();
        Due { fires, next: self.next_after(now), skipped }
    }

    /// Whether a time that passed fires now, when so many later ones fire already.
    fn fires_late(&self, fire: &Fire, now: DateTime<Utc>, later: usize) -> bool {
        let late = now - fire.nominal;
        let grace = Duration::seconds(i64::from(self.misfire.grace_seconds));
        let horizon = Duration::seconds(i64::from(self.misfire.horizon_seconds));
        late <= grace
            || late <= horizon
                && match self.misfire.policy {
                    MisfirePolicy::Skip => false,
                    MisfirePolicy::Once => later == 0,
                    MisfirePolicy::All => true,
                }
    }
}
