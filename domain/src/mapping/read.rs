//! Reading the values of a row as texts, times and words of the vocabulary: one place for what counts as absent.
//!
//! Null, an empty text and a text of spaces are absent everywhere. Errors are reasons for people and carry no value.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use chrono_tz::Tz;
use serde_json::Value;

use crate::schedule::zone;

/// The longest name of a purpose, in characters.
const MAX_PURPOSE: usize = 63;

/// A value as a text; none when it is absent.
pub(super) fn text(value: &Value) -> Result<Option<String>, String> {
    let text = match value {
        Value::Null => return Ok(None),
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Array(_) | Value::Object(_) => return Err("is a list or an object, not a text".to_owned()),
    };
    Ok(Some(text).filter(|t| !t.is_empty()))
}

/// Which end of a day a date without a time means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DayEnd {
    /// Its first instant.
    Beginning,
    /// The first instant of the next day.
    End,
}

/// A value as an instant; none when it is absent, or Postgres's `infinity`.
pub(super) fn instant(value: &Value, zone: Tz, day: DayEnd) -> Result<Option<DateTime<Utc>>, String> {
    let Some(text) = text(value)? else { return Ok(None) };
    if matches!(text.as_str(), "infinity" | "-infinity") {
        return Ok(None);
    }
    if let Ok(at) =
        DateTime::parse_from_rfc3339(&text).or_else(|_| DateTime::parse_from_str(&text, "%Y-%m-%d %H:%M:%S%.f%#z"))
    {
        return Ok(Some(at.with_timezone(&Utc)));
    }
    local(&text, day)
        .map(|local| Some(zone::resolve(zone, local).0))
        .ok_or_else(|| "is not a time such as 2026-11-20T09:30:00+05:30 or a date such as 2026-11-20".to_owned())
}

fn local(text: &str, day: DayEnd) -> Option<NaiveDateTime> {
    let formats = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"];
    if let Some(time) = formats.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok()) {
        return Some(time);
    }
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    let date = if day == DayEnd::End { date.succ_opt()? } else { date };
    Some(date.and_time(NaiveTime::MIN))
}

/// A text as a purpose.
pub(super) fn purpose(text: &str) -> Result<String, String> {
    let purpose = text.to_lowercase();
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-');
    if purpose.len() > MAX_PURPOSE || !purpose.bytes().all(allowed) {
        return Err(format!("is not a purpose: at most {MAX_PURPOSE} of a-z, 0-9, _ and -"));
    }
    Ok(purpose)
}
