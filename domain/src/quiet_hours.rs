//! Quiet hours: when a person is not to be disturbed, by the clock on that person's wall.
//!
//! A window is written `21:00-09:00`, or with days `mon-fri 21:00-09:00`, `sat,sun 00:00-24:00`; the days are those on which
//! it begins. The wall clock decides, so a clock that is put forward shortens the night and one that is put back makes an hour
//! quiet twice. Which window holds for which channel type and purpose is chosen in [`crate::fallback::facts`].

use chrono::{DateTime, Datelike, Days, MappedLocalTime, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Utc, Weekday};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use std::fmt;

const WEEK: [(&str, Weekday); 7] = [
    ("mon", Weekday::Mon),
    ("tue", Weekday::Tue),
    ("wed", Weekday::Wed),
    ("thu", Weekday::Thu),
    ("fri", Weekday::Fri),
    ("sat", Weekday::Sat),
    ("sun", Weekday::Sun),
];
const MINUTES_OF_DAY: u32 = 24 * 60;

/// A daily window of quiet, in minutes of the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Window {
    /// Minute of the day at which quiet begins, 0 to 1439.
    from: u32,
    /// Minute of the day before which quiet lasts, 1 to 1440; not above `from` when the window crosses midnight.
    to: u32,
    /// Bit n: the window begins on day n, Monday is 0.
    days: u8,
}

/// Why a text is no window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// The times cannot be read.
    #[error("{0:?} is not a window of quiet hours; write it like 21:00-09:00, or mon-fri 21:00-09:00")]
    Times(String),
    /// A day cannot be read.
    #[error("{0:?} is not a day of the week; write mon, tue, wed, thu, fri, sat, sun, or a range such as mon-fri")]
    Day(String),
    /// It begins and ends at the same time.
    #[error("a window must not end when it begins; write 00:00-24:00 for a whole day")]
    Empty,
    /// It never ends.
    #[error("quiet hours must leave some time of the week in which people may be reached")]
    Always,
}

impl Window {
    /// Reads `[days ]HH:MM-HH:MM`.
    ///
    /// # Errors
    /// See [`WindowError`].
    pub fn parse(text: &str) -> Result<Self, WindowError> {
        let text = text.trim();
        let (days, times) = match text.rsplit_once(char::is_whitespace) {
            Some((days, times)) => (parse_days(days)?, times),
            None => (0b111_1111, text),
        };
        let wrong = || WindowError::Times(text.chars().take(40).collect());
        let (from, to) = times.split_once('-').ok_or_else(wrong)?;
        let from = minute(from).filter(|m| *m < MINUTES_OF_DAY).ok_or_else(wrong)?;
        let to = match minute(to).ok_or_else(wrong)? {
            0 => MINUTES_OF_DAY,
            to => to,
        };
        if from == to {
            return Err(WindowError::Empty);
        }
        if days == 0b111_1111 && from == 0 && to == MINUTES_OF_DAY {
            return Err(WindowError::Always);
        }
        Ok(Self { from, to, days })
    }

    /// Whether it is quiet at `instant` on the wall of a person in `zone`.
    #[must_use]
    pub fn is_quiet(&self, instant: DateTime<Utc>, zone: Tz) -> bool {
        self.end_of(instant.with_timezone(&zone).naive_local()).is_some()
    }

    /// The first moment from `now` on at which this window does not forbid to write: `now` itself outside of it.
    #[must_use]
    pub fn next_allowed(&self, now: DateTime<Utc>, zone: Tz) -> DateTime<Utc> {
        let mut at = now;
        // Whole days in a row (`sat,sun 00:00-24:00`), and an hour that comes twice, end in more than one stride.
        for _ in 0..10 {
            match self.end_of(at.with_timezone(&zone).naive_local()) {
                Some(end) => at = first_instant(end, at, zone),
                None => break,
            }
        }
        at
    }

    /// The local end of the window that `local` lies in.
    fn end_of(&self, local: NaiveDateTime) -> Option<NaiveDateTime> {
        [local.date().pred_opt(), Some(local.date())].into_iter().flatten().find_map(|day| {
            let begins = self.days & (1 << day.weekday().num_days_from_monday()) != 0;
            let midnight = day.and_time(NaiveTime::MIN);
            let start = midnight + TimeDelta::minutes(i64::from(self.from));
            let last_day = if self.to > self.from { midnight } else { midnight.checked_add_days(Days::new(1))? };
            let end = last_day + TimeDelta::minutes(i64::from(self.to));
            (begins && (start..end).contains(&local)).then_some(end)
        })
    }
}

/// The first moment after every window of `windows` that holds at `now`, or `None` if they leave no gap within nine days.
#[must_use]
pub fn next_allowed(windows: &[Window], now: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
    let mut at = now;
    while at <= now + TimeDelta::days(9) {
        match windows.iter().find(|w| w.is_quiet(at, zone)) {
            Some(window) => {
                let next = window.next_allowed(at, zone);
                if next <= at {
                    return None;
                }
                at = next;
            }
            None => return Some(at),
        }
    }
    None
}

/// The first instant after `after` whose wall clock shows `local`, or the end of the gap that swallowed it.
fn first_instant(local: NaiveDateTime, after: DateTime<Utc>, zone: Tz) -> DateTime<Utc> {
    let mut local = local;
    // A clock that is put forward leaves out at most a day (Samoa, 2011), so a minute that exists is found by then.
    for _ in 0..=MINUTES_OF_DAY {
        match zone.from_local_datetime(&local) {
            MappedLocalTime::Single(at) => return at.with_timezone(&Utc),
            MappedLocalTime::Ambiguous(first, second) => {
                let first = first.with_timezone(&Utc);
                return if first > after { first } else { second.with_timezone(&Utc) };
            }
            MappedLocalTime::None => local += TimeDelta::minutes(1),
        }
    }
    after
}

/// `HH:MM` as a minute of the day, 0 to 1440.
fn minute(text: &str) -> Option<u32> {
    let (hours, minutes) = text.split_once(':')?;
    let digits = |t: &str| matches!(t.len(), 1 | 2) && t.bytes().all(|b| b.is_ascii_digit());
    if !digits(hours) || minutes.len() != 2 || !digits(minutes) {
        return None;
    }
    let (hours, minutes) = (hours.parse::<u32>().ok()?, minutes.parse::<u32>().ok()?);
    (minutes < 60).then_some(hours * 60 + minutes).filter(|m| *m <= MINUTES_OF_DAY)
}

/// `mon,wed-fri` as bits.
fn parse_days(text: &str) -> Result<u8, WindowError> {
    let index = |name: &str| {
        let name = name.trim().to_ascii_lowercase();
        WEEK.iter().position(|(n, _)| *n == name).ok_or(WindowError::Day(name.chars().take(40).collect()))
    };
    let mut days = 0;
    for part in text.split(',') {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (index(first)?, index(last)?),
            None => (index(part)?, index(part)?),
        };
        let mut day = first;
        while day != last {
            days |= 1 << day;
            day = (day + 1) % WEEK.len();
        }
        days |= 1 << last;
    }
    Ok(days)
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.days != 0b111_1111 {
            let named =
                WEEK.iter().enumerate().filter(|(day, _)| self.days & (1 << day) != 0).map(|(_, (name, _))| *name);
            write!(f, "{} ", named.collect::<Vec<_>>().join(","))?;
        }
        let (from, to) = (self.from, self.to);
        write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)
    }
}

impl std::str::FromStr for Window {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Window {
    type Error = WindowError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<Window> for String {
    fn from(window: Window) -> Self {
        window.to_string()
    }
}

#[cfg(test)]
mod tests;
