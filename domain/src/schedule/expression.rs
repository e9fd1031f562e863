//! Cron expressions on the wall clock and on the time line.
//!
//! croner finds the times on the wall, as if no zone had daylight saving; the rules of this module put them on the time line.
//! croner's own rule for zones drops lists and steps in the skipped hour and doubles them in the repeated one, so it is not
//! asked about zones.

use std::str::FromStr;

use chrono::{DateTime, Duration, LocalResult, NaiveDateTime, TimeZone, Timelike, Utc};
use chrono_tz::Tz;
use croner::Cron;

use super::due::Fire;
use super::zone;

/// Steps in which a change of offset is searched: no zone changes its clock and changes it back within a week.
const STEP: Duration = Duration::days(7);
const SECOND: Duration = Duration::seconds(1);

/// A parsed cron expression.
#[derive(Debug, Clone)]
pub(super) struct Expression {
    cron: Cron,
    /// Whether the hour field holds all hours, so that the expression is a rhythm of real time.
    every_hour: bool,
}

impl Expression {
    /// Parses five to seven fields.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let fields = text.split_whitespace().count();
        let nickname = text.trim_start().starts_with('@');
        if text.trim().is_empty() {
            return Err("is empty: write five to seven fields, such as 0 9 * * MON".to_owned());
        }
        if !nickname && !(5..=7).contains(&fields) {
            let meaning = "[second] minute hour day-of-month month day-of-week [year]";
            return Err(format!("has {fields} fields, it must have five to seven: {meaning}"));
        }
        let cron = Cron::from_str(text).map_err(|error| format!("is not understood: {error}"))?;
        let every_hour = cron.pattern.hours.values().len() == 24;
        Ok(Self { cron, every_hour })
    }

    /// The first matching time on the wall after `after`.
    pub(super) fn next_wall(&self, after: NaiveDateTime) -> Option<NaiveDateTime> {
        self.cron.find_next_occurrence(&whole(after)?, false).ok()
    }

    /// The last matching time on the wall at `until` or before it.
    pub(super) fn previous_wall(&self, until: NaiveDateTime) -> Option<NaiveDateTime> {
        self.cron.find_previous_occurrence(&whole(until)?, true).ok()
    }

    /// The first fire after an instant.
    pub(super) fn next(&self, zone: Tz, after: DateTime<Utc>) -> Option<Fire> {
        if self.every_hour { self.next_in_rhythm(zone, after) } else { self.next_fixed(zone, after) }
    }

    /// The last fire at an instant or before it.
    pub(super) fn previous(&self, zone: Tz, until: DateTime<Utc>) -> Option<Fire> {
        if self.every_hour { self.previous_in_rhythm(zone, until) } else { self.previous_fixed(zone, until) }
    }

    fn next_fixed(&self, zone: Tz, after: DateTime<Utc>) -> Option<Fire> {
        // Along the wall instants never decrease, so the first one that is later is the next fire. Times of a gap that
        // `after` has passed lie behind its wall time, and repeated times resolve to instants that have passed.
        let mut wall = zone::local(zone, after);
        loop {
            wall = self.next_wall(wall)?;
            let at = zone::resolve(zone, wall).0;
            if at > after {
                return Some(Fire { nominal: at, local: wall });
            }
        }
    }

    fn previous_fixed(&self, zone: Tz, until: DateTime<Utc>) -> Option<Fire> {
        let mut wall = zone::local(zone, until);
        if let LocalResult::Ambiguous(first, second) = zone.from_local_datetime(&wall) {
            // In an hour that repeats, the rest of the hour has already been on the wall once.
            wall = wall.checked_add_signed((second - first).abs())?;
        }
        let (at, mut local) = loop {
            let found = self.previous_wall(wall)?;
            let at = zone::resolve(zone, found).0;
            if at <= until {
                break (at, found);
            }
            wall = found.checked_sub_signed(SECOND)?;
        };
        // Several times of one gap are one fire, named after the first of them.
        while let Some(earlier) = local.checked_sub_signed(SECOND).and_then(|wall| self.previous_wall(wall)) {
            if zone::resolve(zone, earlier).0 != at {
                break;
            }
            local = earlier;
        }
        Some(Fire { nominal: at, local })
    }

    /// Walks the stretches of one offset: inside a stretch the wall and the time line run in parallel.
    fn next_in_rhythm(&self, zone: Tz, after: DateTime<Utc>) -> Option<Fire> {
        let mut from = after.with_nanosecond(0)?;
        loop {
            let offset = Duration::seconds(zone::offset_seconds(zone, from));
            let wall = self.next_wall(from.naive_utc().checked_add_signed(offset)?)?;
            let at = wall.checked_sub_signed(offset)?.and_utc();
            let Some(change) = first_change(zone, from, at) else {
                return Some(Fire { nominal: at, local: wall });
            };
            let local = zone::local(zone, change);
            if self.cron.is_time_matching(&local).unwrap_or(false) {
                return Some(Fire { nominal: change, local });
            }
            from = change;
        }
    }

    fn previous_in_rhythm(&self, zone: Tz, until: DateTime<Utc>) -> Option<Fire> {
        let mut to = until.with_nanosecond(0)?;
        loop {
            let offset = Duration::seconds(zone::offset_seconds(zone, to));
            let wall = self.previous_wall(to.naive_utc().checked_add_signed(offset)?)?;
            let at = wall.checked_sub_signed(offset)?.and_utc();
            match last_before_change(zone, at, to) {
                None => return Some(Fire { nominal: at, local: wall }),
                Some(before) => to = before,
            }
        }
    }
}

/// A time without its fraction of a second.
fn whole(wall: NaiveDateTime) -> Option<NaiveDateTime> {
    wall.with_nanosecond(0)
}

/// The first second after `from`, and not after `to`, whose offset is not that of `from`.
fn first_change(zone: Tz, from: DateTime<Utc>, to: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let offset = zone::offset_seconds(zone, from);
    let mut same = from;
    while same < to {
        let mut other = (same + STEP).min(to);
        if zone::offset_seconds(zone, other) == offset {
            same = other;
            continue;
        }
        while other - same > SECOND {
            let middle = same + Duration::seconds((other - same).num_seconds() / 2);
            if zone::offset_seconds(zone, middle) == offset { same = middle } else { other = middle }
        }
        return Some(other);
    }
    None
}

/// The last second before `to`, and not before `from`, whose offset is not that of `to`.
fn last_before_change(zone: Tz, from: DateTime<Utc>, to: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let offset = zone::offset_seconds(zone, to);
    let mut same = to;
    while same > from {
        let mut other = (same - STEP).max(from);
        if zone::offset_seconds(zone, other) == offset {
            same = other;
            continue;
        }
        while same - other > SECOND {
            let middle = other + Duration::seconds((same - other).num_seconds() / 2);
            if zone::offset_seconds(zone, middle) == offset { same = middle } else { other = middle }
        }
        return Some(other);
    }
    None
}
