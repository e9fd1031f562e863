//! Schedules: when a cron expression or a one-off time is due, in a time zone, and what to do about the times that passed.
//!
//! A [`Spec`] is data, stored as JSON with its trigger; [`Spec::validate`] finds everything that is wrong with one before it is
//! stored; [`Schedule`] answers when. Nothing here knows the time: it is an argument. Whoever wakes up asks
//! [`Schedule::due`], writes the fires under (schedule, nominal time) and the next time in one transaction, and so fires
//! each time once however many processes ask.
//!
//! # Daylight saving
//!
//! Two kinds of expression, told apart by the hour field:
//!
//! - **Fixed hours** (`30 2 * * *`, `15,45 2 * * *`, `0 9-17 * * MON-FRI`, `*/10 2 * * *`): the expression names times on the
//!   wall. A time that is skipped when clocks go forward fires at the end of the gap, and several of them, or one that is
//!   there already, are one fire; a time that happens twice when clocks go back fires at its first occurrence only. So every
//!   nominal local time is covered by exactly one fire.
//! - **Every hour** (`*/15 * * * *`, `0 * * * *`; the hour field is `*` or lists all 24): the expression names a rhythm, which
//!   follows real time. Nothing is made up for the hour that is skipped, and the hour that happens twice has its fires twice.
//!
//! # Each recipient's own zone
//!
//! With `each_recipient_zone` a fire is a local time without a zone. Its run opens when that time comes in the first zone of
//! the world (UTC+14) and closes after the last (UTC-12); [`recipient_zones`] says when it comes in which zone.

mod check;
mod due;
mod expression;
mod preview;
#[cfg(test)]
mod tests;
pub mod zone;

use chrono::{DateTime, Duration, NaiveDateTime, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::violation::Violation;
pub use due::{Due, Fire, MAX_FIRES};
use expression::Expression;
pub use preview::Preview;

/// What a schedule is, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// When it fires.
    pub when: When,
    /// Whether a fire is a local time that comes for each recipient in the recipient's own zone. The zone of the schedule is
    /// then that of recipients who have none.
    #[serde(default)]
    pub each_recipient_zone: bool,
    /// What happens to times that passed while nobody was awake.
    #[serde(default)]
    pub misfire: Misfire,
}

/// When a schedule fires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum When {
    /// Again and again.
    Cron {
        /// Five to seven fields: `[second] minute hour day-of-month month day-of-week [year]`. As in POSIX a day fires when its
        /// day of month or its day of week matches, unless one of the two is `*`.
        expression: String,
        /// The IANA time zone of the expression.
        zone: String,
    },
    /// One time.
    Once {
        /// The instant.
        at: DateTime<Utc>,
        /// The IANA time zone in which the instant is shown, and read when each recipient has a zone of their own.
        zone: String,
    },
}

codes! {
    /// What happens to fire times that passed while nobody was awake.
    pub enum MisfirePolicy {
        /// They do not fire.
        Skip = "skip",
        /// The latest of them fires, unless a time that is still on time fires anyway.
        Once = "once",
        /// All of them fire, the latest [`MAX_FIRES`] at most.
        All = "all",
    }
}

/// The misfire policy with its times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Misfire {
    /// What happens to times that are late.
    pub policy: MisfirePolicy,
    /// So late is still on time, in seconds: 0 to 86,400. Times within it fire under every policy.
    pub grace_seconds: u32,
    /// Times that are later than this never fire, in seconds: at least the grace, at most 31 days.
    pub horizon_seconds: u32,
}

impl Default for Misfire {
    /// The latest missed time of the last day fires; a minute is on time.
    fn default() -> Self {
        Self { policy: MisfirePolicy::Once, grace_seconds: 60, horizon_seconds: 86_400 }
    }
}

/// A schedule that can be asked.
#[derive(Debug, Clone)]
pub struct Schedule {
    rule: Rule,
    /// The zone of the schedule; of recipients without one when each has their own.
    zone: Tz,
    each_recipient_zone: bool,
    misfire: Misfire,
}

#[derive(Debug, Clone)]
enum Rule {
    Cron(Box<Expression>),
    Once(DateTime<Utc>),
}

/// The zone that is first on the earth to reach a local time is 14 hours ahead of UTC (Kiritimati).
const FIRST_ZONE_HOURS: i64 = 14;
/// The zone that is last is 12 hours behind UTC.
const LAST_ZONE_HOURS: i64 = 12;

impl Schedule {
    /// Reads a stored schedule.
    ///
    /// # Errors
    /// Everything that is wrong, whatever the time is; [`Spec::validate`] also says what is wrong at a given time.
    pub fn new(spec: &Spec) -> Result<Self, Vec<Violation>> {
        check::compile(spec)
    }

    /// The first fire time after an instant; none when there is no more.
    ///
    /// With each recipient's own zone this is when the run opens: when its local time comes in the first zone.
    #[must_use]
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.next_fire(after).map(|fire| fire.nominal)
    }

    /// When a run of a local time opens and closes: the same instant twice, unless each recipient has their own zone.
    #[must_use]
    pub fn window(&self, fire: &Fire) -> (DateTime<Utc>, DateTime<Utc>) {
        if !self.each_recipient_zone {
            return (fire.nominal, fire.nominal);
        }
        (fire.nominal, fire.local.and_utc() + Duration::hours(LAST_ZONE_HOURS))
    }

    /// The zone of the schedule.
    #[must_use]
    pub fn zone(&self) -> Tz {
        self.zone
    }

    /// Whether a fire is a local time that comes for each recipient in the recipient's own zone.
    #[must_use]
    pub fn each_recipient_zone(&self) -> bool {
        self.each_recipient_zone
    }

    /// The first fire after an instant.
    fn next_fire(&self, after: DateTime<Utc>) -> Option<Fire> {
        match &self.rule {
            Rule::Once(_) => self.once().filter(|fire| fire.nominal > after),
            Rule::Cron(expression) if self.each_recipient_zone => {
                expression.next_wall((after + Duration::hours(FIRST_ZONE_HOURS)).naive_utc()).map(in_first_zone)
            }
            Rule::Cron(expression) => expression.next(self.zone, after),
        }
    }

    /// The last fire at an instant or before it.
    fn previous_fire(&self, until: DateTime<Utc>) -> Option<Fire> {
        match &self.rule {
            Rule::Once(_) => self.once().filter(|fire| fire.nominal <= until),
            Rule::Cron(expression) if self.each_recipient_zone => {
                expression.previous_wall((until + Duration::hours(FIRST_ZONE_HOURS)).naive_utc()).map(in_first_zone)
            }
            Rule::Cron(expression) => expression.previous(self.zone, until),
        }
    }

    fn once(&self) -> Option<Fire> {
        let Rule::Once(at) = &self.rule else { return None };
        let local = zone::local(self.zone, *at);
        Some(if self.each_recipient_zone { in_first_zone(local) } else { Fire { nominal: *at, local } })
    }
}

fn in_first_zone(local: NaiveDateTime) -> Fire {
    Fire { nominal: local.and_utc() - Duration::hours(FIRST_ZONE_HOURS), local }
}

/// When a local time comes in each zone: sorted by instant, each zone once. A time that a zone skips comes at the end of the
/// gap there, one that happens twice at its first occurrence.
#[must_use]
pub fn recipient_zones(local: NaiveDateTime, zones: &[Tz]) -> Vec<(Tz, DateTime<Utc>)> {
    let mut times: Vec<(Tz, DateTime<Utc>)> = zones.iter().map(|zone| (*zone, zone::resolve(*zone, local).0)).collect();
    times.sort_by_key(|(zone, at)| (*at, zone.name()));
    times.dedup();
    times
}
