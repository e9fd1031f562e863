//! The fire times to come, for the person who writes a schedule: what daylight saving does to them is said in words.

use chrono::{DateTime, NaiveDateTime, Utc};

use super::zone::{self, Local};
use super::{MAX_FIRES, Schedule};

/// One fire time to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// When it fires; with each recipient's own zone, when it opens in the first zone.
    pub at: DateTime<Utc>,
    /// The time on the wall that it stands for.
    pub local: NaiveDateTime,
    /// What daylight saving does to it, where it does something.
    pub note: Option<String>,
}

impl Schedule {
    /// The first `count` fire times after an instant, 1000 at most.
    #[must_use]
    pub fn preview(&self, after: DateTime<Utc>, count: usize) -> Vec<Preview> {
        let fires = std::iter::successors(self.next_fire(after), |fire| self.next_fire(fire.nominal));
        let preview = |fire: super::Fire| {
            let note = if self.each_recipient_zone { None } else { self.note(fire.nominal, fire.local) };
            Preview { at: fire.nominal, local: fire.local, note }
        };
        fires.take(count.min(MAX_FIRES)).map(preview).collect()
    }

    fn note(&self, at: DateTime<Utc>, local: NaiveDateTime) -> Option<String> {
        let wall = local.format("%H:%M");
        match zone::resolve(self.zone, local) {
            (_, Local::Once) => None,
            (_, Local::Gap) => {
                let end = zone::local(self.zone, at).format("%H:%M");
                Some(format!("{wall} does not exist on this day: fires at {end}"))
            }
            (first, Local::Fold) if first == at => {
                Some(format!("{wall} happens twice on this day: fires the first time"))
            }
            (_, Local::Fold) => Some(format!("{wall} happens twice on this day: fires the second time too")),
        }
    }
}
