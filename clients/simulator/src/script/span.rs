//! Lengths of time in scripts, written as people write them: `2`, `"500ms"`, `"90s"`, `"30m"`, `"6h"`, `"2d"`, or `"never"`.

use std::str::FromStr;
use std::time::Duration;

use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest span that a script may hold: a year.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// A length of simulated time, from zero to a year.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Span(pub Duration);

/// A moment counted from what a script's entry refers to, or never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum When {
    /// It does not happen.
    #[default]
    Never,
    /// It happens after this long.
    After(Span),
}

impl Span {
    /// A span of whole seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// A span of milliseconds.
    pub const fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }
}

impl When {
    /// After so many seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self::After(Span::seconds(seconds))
    }

    /// The length of time to wait, or `None` for never.
    pub fn span(self) -> Option<Duration> {
        match self {
            Self::Never => None,
            Self::After(span) => Some(span.0),
        }
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match &text[digits.len()..] {
            "ms" => 0.001,
            "" | "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86400.0,
            other => return Err(format!("`{other}` is not a unit of time in `{text}`: use ms, s, m, h or d")),
        };
        let number: f64 = digits.trim().parse().map_err(|_| {
            format!("`{text}` is not a length of time: write a number of seconds, or one with a unit such as `500ms`")
        })?;
        from_seconds(number * unit)
    }
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "never" { Ok(Self::Never) } else { text.parse().map(Self::After) }
    }
}

fn from_seconds(seconds: f64) -> Result<Span, String> {
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|d| *d <= LONGEST)
        .map(Span)
        .ok_or_else(|| format!("{seconds} seconds is not a usable length of time: from 0 to 366 days"))
}

struct SpanVisitor;

impl Visitor<'_> for SpanVisitor {
    type Value = When;

    fn expecting(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        out.write_str("a number of seconds, a text such as \"500ms\", \"90s\", \"6h\", or \"never\"")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<When, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_f64<E: serde::de::Error>(self, seconds: f64) -> Result<When, E> {
        from_seconds(seconds).map(When::After).map_err(E::custom)
    }

    fn visit_u64<E: serde::de::Error>(self, seconds: u64) -> Result<When, E> {
        from_seconds(seconds as f64).map(When::After).map_err(E::custom)
    }

    fn visit_i64<E: serde::de::Error>(self, seconds: i64) -> Result<When, E> {
        from_seconds(seconds as f64).map(When::After).map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for When {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(SpanVisitor)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        match When::deserialize(input)? {
            When::After(span) => Ok(span),
            When::Never => Err(D::Error::custom("`never` has no meaning here: give a length of time")),
        }
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_f64(self.0.as_secs_f64())
    }
}

impl Serialize for When {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Never => out.serialize_str("never"),
            Self::After(span) => span.serialize(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_with_and_without_units() {
        for (text, millis) in [("2", 2000), ("500ms", 500), ("1.5s", 1500), ("30m", 1_800_000), ("6h", 21_600_000)] {
            assert_eq!(text.parse(), Ok(Span::millis(millis)), "{text}");
        }
        assert_eq!("never".parse(), Ok(When::Never));
    }

    #[test]
    fn spans_that_make_no_sense_are_refused_with_the_reason() {
        assert!("3 fortnights".parse::<Span>().unwrap_err().contains("use ms, s, m, h or d"));
        assert!("-1s".parse::<Span>().unwrap_err().contains("from 0 to 366 days"));
        assert!("soon".parse::<When>().is_err());
        assert!("9999d".parse::<Span>().is_err());
    }

    #[test]
    fn numbers_and_texts_survive_json() {
        let when: When = serde_json::from_str("2.5").unwrap();
        assert_eq!(when, When::After(Span::millis(2500)));
        assert_eq!(serde_json::to_string(&When::Never).unwrap(), "\"never\"");
        assert!(serde_json::from_str::<Span>("\"never\"").is_err());
    }
}
