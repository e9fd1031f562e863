//! From a time on the wall to an instant: what to do where daylight saving skips an hour, and where it repeats one.
//!
//! One rule for the whole system: a time that does not exist becomes the end of the gap, a time that happens twice is its
//! first occurrence. The zones are those of the IANA database as bundled with `chrono-tz`.

use chrono::{DateTime, Duration, LocalResult, NaiveDateTime, TimeZone, Utc};
use chrono_tz::{GapInfo, Tz};

/// How a local time relates to the zone's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Local {
    /// It happens once.
    Once,
    /// It is skipped: clocks went forward over it.
    Gap,
    /// It happens twice: clocks went back over it.
    Fold,
}

/// The instant of a local time in a zone, and how it was found: the end of the gap when the time is skipped, the first
/// occurrence when it happens twice.
#[must_use]
pub fn resolve(zone: Tz, local: NaiveDateTime) -> (DateTime<Utc>, Local) {
    match zone.from_local_datetime(&local) {
        LocalResult::Single(at) => (at.with_timezone(&Utc), Local::Once),
        LocalResult::Ambiguous(first, second) => (first.min(second).with_timezone(&Utc), Local::Fold),
        LocalResult::None => (gap_end(zone, local), Local::Gap),
    }
}

/// The first instant after a gap.
fn gap_end(zone: Tz, local: NaiveDateTime) -> DateTime<Utc> {
    match GapInfo::new(&local, &zone).and_then(|gap| gap.end) {
        Some(end) => end.with_timezone(&Utc),
        // Only at the limits of the time line, where no zone has a gap.
        None => local.and_utc() - Duration::seconds(offset_seconds(zone, local.and_utc())),
    }
}

/// The local time of an instant.
#[must_use]
pub fn local(zone: Tz, at: DateTime<Utc>) -> NaiveDateTime {
    at.with_timezone(&zone).naive_local()
}

/// The seconds by which the zone's clock is ahead of UTC at an instant.
pub(super) fn offset_seconds(zone: Tz, at: DateTime<Utc>) -> i64 {
    (local(zone, at) - at.naive_utc()).num_seconds()
}

/// Reads the name of an IANA time zone.
///
/// # Errors
/// A sentence that says what is right.
pub fn parse(name: &str) -> Result<Tz, String> {
    name.trim().parse().map_err(|_| {
        let name: String = name.chars().take(60).collect();
        format!("{name:?} is not a time zone; use an IANA name such as Asia/Kolkata, Europe/Berlin or UTC")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> NaiveDateTime {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").unwrap()
    }

    #[test]
    fn skipped_times_end_with_the_gap_and_repeated_times_are_the_first() {
        let cases = [
            (Tz::Europe__Berlin, "2026-03-29 02:30", "2026-03-29 01:00", Local::Gap),
            (Tz::Europe__Berlin, "2026-03-29 02:00", "2026-03-29 01:00", Local::Gap),
            (Tz::Europe__Berlin, "2026-03-29 03:00", "2026-03-29 01:00", Local::Once),
            (Tz::Europe__Berlin, "2026-10-25 02:30", "2026-10-25 00:30", Local::Fold),
            (Tz::Europe__London, "2026-03-29 01:30", "2026-03-29 01:00", Local::Gap),
            (Tz::Europe__London, "2026-10-25 01:30", "2026-10-25 00:30", Local::Fold),
            (Tz::America__New_York, "2026-03-08 02:30", "2026-03-08 07:00", Local::Gap),
            (Tz::America__New_York, "2026-11-01 01:30", "2026-11-01 05:30", Local::Fold),
            (Tz::Australia__Lord_Howe, "2026-10-04 02:15", "2026-10-03 15:30", Local::Gap),
            (Tz::Australia__Lord_Howe, "2026-04-05 01:45", "2026-04-04 14:45", Local::Fold),
            (Tz::Asia__Kolkata, "2026-11-20 09:00", "2026-11-20 03:30", Local::Once),
            // Samoa skipped a whole day when it crossed the date line.
            (Tz::Pacific__Apia, "2011-12-30 12:00", "2011-12-30 10:00", Local::Gap),
        ];
        for (zone, wall, utc, how) in cases {
            assert_eq!(resolve(zone, at(wall)), (at(utc).and_utc(), how), "{zone} {wall}");
        }
    }

    #[test]
    fn unknown_zones_are_named() {
        assert_eq!(parse(" Asia/Kolkata "), Ok(Tz::Asia__Kolkata));
        assert!(parse("Mars/Olympus").unwrap_err().contains("Mars/Olympus"));
        assert!(parse("").is_err() && parse("+05:30").is_err());
    }
}
