//! Times as people write them: RFC 3339, or `+2h` from now.

use chrono::{DateTime, Utc};
use prost_types::Timestamp;

use super::duration;

/// Reads a time.
///
/// # Errors
/// A sentence that says what is right.
pub fn parse(text: &str) -> Result<Timestamp, String> {
    parse_at(text, Utc::now())
}

fn parse_at(text: &str, now: DateTime<Utc>) -> Result<Timestamp, String> {
    let wrong = || format!("`{text}` is not a time: write it like 2026-11-20T09:00:00+05:30, or +2h for in two hours");
    let time = match text.trim().strip_prefix('+') {
        Some(later) => now + duration::parse(later).map_err(|_| wrong())?,
        None => DateTime::parse_from_rfc3339(text.trim()).map_err(|_| wrong())?.to_utc(),
    };
    Ok(Timestamp { seconds: time.timestamp(), nanos: i32::try_from(time.timestamp_subsec_nanos()).unwrap_or(0) })
}

/// The moment of a timestamp; `None` when it is outside of what can be shown.
pub fn moment(time: &Timestamp) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.seconds, u32::try_from(time.nanos).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_rfc_3339_and_what_is_meant_from_now() {
        let now = DateTime::from_timestamp(1_000, 0).unwrap();
        assert_eq!(parse_at("+1m", now).unwrap().seconds, 1_060);
        assert_eq!(parse_at("1970-01-01T05:30:01+05:30", now).unwrap().seconds, 1);
    }

    #[test]
    fn a_time_without_a_zone_is_refused() {
        assert!(parse("2026-11-20T09:00:00").unwrap_err().contains("write it like"));
        assert!(parse("tomorrow").is_err());
    }
}
