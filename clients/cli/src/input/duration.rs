//! Durations as people write them: `90s`, `1h30m`, `1.5s`, `2d`.

use std::time::Duration;

/// The units, the longest first, with their seconds.
const UNITS: &[(&str, f64)] =
    &[("w", 604_800.0), ("d", 86_400.0), ("h", 3600.0), ("m", 60.0), ("s", 1.0), ("ms", 0.001)];

/// Reads a duration: numbers with units w, d, h, m, s, ms in a row, or a number of seconds alone.
///
/// # Errors
/// A sentence that says what is right.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a duration: write it like 90s, 10m, 1h30m or 2d");
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let unit = if letters == 0 && rest.is_empty() { "s" } else { &rest[..letters] };
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        seconds += number * factor;
        rest = &rest[letters..];
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}

/// The same for a field of the contract.
///
/// # Errors
/// As `parse`.
pub fn parse_proto(text: &str) -> Result<prost_types::Duration, String> {
    prost_types::Duration::try_from(parse(text)?).map_err(|_| format!("`{text}` is too long"))
}

/// A duration in words, such as `1h 30m` or `1.5s`.
pub fn words(duration: Duration) -> String {
    if duration < Duration::from_secs(60) {
        let text = format!("{:.3}", duration.as_secs_f64());
        return format!("{}s", text.trim_end_matches('0').trim_end_matches('.'));
    }
    let mut left = duration.as_secs();
    let mut words = Vec::new();
    for (unit, seconds) in [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)] {
        if left >= seconds {
            words.push(format!("{}{unit}", left / seconds));
            left %= seconds;
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_units_in_a_row_and_plain_seconds() {
        for (text, seconds) in [("90s", 90.0), ("1h30m", 5400.0), ("1.5s", 1.5), ("2d", 172_800.0), ("15", 15.0)] {
            assert_eq!(parse(text), Ok(Duration::from_secs_f64(seconds)), "{text}");
        }
        assert_eq!(parse("250ms"), Ok(Duration::from_millis(250)));
    }

    #[test]
    fn says_what_is_right_when_it_is_none() {
        for text in ["", "soon", "5x", "m", "-5s", "1..5s"] {
            assert!(parse(text).unwrap_err().contains("write it like"), "{text}");
        }
    }

    #[test]
    fn is_written_in_words() {
        let texts: Vec<_> = [0.0, 1.5, 60.0, 5400.0, 90_061.0].map(|it| words(Duration::from_secs_f64(it))).into();
        assert_eq!(texts, ["0s", "1.5s", "1m", "1h 30m", "1d 1h 1m 1s"]);
    }
}
