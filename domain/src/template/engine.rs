//! The Jinja engine as templates and mappings may use it: strict, bounded, and without any way out of the string.
//!
//! No files, no other templates, no macros. A variable that does not exist is an error; null prints nothing. Each rendering
//! has a limited number of instructions and of bytes, so that a definition cannot stop a worker. Only names that end in
//! `.html` escape what they print.
//!
//! Beside the usual filters there are `date`, `number` and `truncate`, described at their functions.

use std::io::Write;

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, NaiveDate, NaiveDateTime};
use minijinja::value::Kwargs;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value};

/// The instructions that one string may take to render.
const FUEL: u64 = 20_000;

/// The bytes that one string may render to.
const MAX_OUTPUT_BYTES: usize = 256 * 1024;

/// The bytes that one string of a definition may have.
pub(crate) const MAX_SOURCE_BYTES: usize = 100 * 1024;

/// The names that the engine knows by itself, which a definition therefore need not declare.
pub(crate) const GLOBALS: [&str; 1] = ["range"];

/// An engine without templates.
pub(crate) fn environment() -> Environment<'static> {
    let mut env = Environment::new();
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_fuel(Some(FUEL));
    env.set_recursion_limit(50);
    env.set_auto_escape_callback(|name| if name.ends_with(".html") { AutoEscape::Html } else { AutoEscape::None });
    env.set_formatter(
        |out, state, value| {
            if value.is_none() { Ok(()) } else { minijinja::escape_formatter(out, state, value) }
        },
    );
    // What could fill the memory before the output is measured, or shows the inside of the engine.
    for filter in ["format", "indent", "batch", "slice", "pprint"] {
        env.remove_filter(filter);
    }
    for global in ["namespace", "dict", "debug"] {
        env.remove_global(global);
    }
    env.add_filter("date", date);
    env.add_filter("number", number);
    env.add_filter("truncate", truncate);
    env
}

/// Renders a template that was added to the engine before, into at most [`MAX_OUTPUT_BYTES`].
pub(crate) fn render(env: &Environment<'_>, name: &str, context: &Value) -> Result<String, Error> {
    let mut out = Bounded { bytes: Vec::new() };
    env.get_template(name)?.render_captured_to(context.clone(), &mut out)?;
    String::from_utf8(out.bytes).map_err(|e| Error::new(ErrorKind::WriteFailure, e.to_string()))
}

/// A JSON value as the engine sees it.
pub(crate) fn value(json: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match json {
        Json::Null => Value::from(()),
        Json::Bool(b) => Value::from(*b),
        Json::Number(n) => match (n.as_i64(), n.as_u64()) {
            (Some(n), _) => Value::from(n),
            (None, Some(n)) => Value::from(n),
            (None, None) => Value::from(n.as_f64()),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(list) => Value::from(list.iter().map(value).collect::<Vec<_>>()),
        Json::Object(map) => Value::from_pairs(map.iter().map(|(k, v)| (k.as_str(), value(v)))),
    }
}

/// Whether a string has anything to render; the others are copied.
pub(crate) fn is_dynamic(source: &str) -> bool {
    source.contains("{{") || source.contains("{%") || source.contains("{#")
}

/// What is wrong, in words for the author of the string: the line and the reason, never a value.
pub(crate) fn describe(error: &Error) -> String {
    let line = error.line().map(|n| format!("line {n}: ")).unwrap_or_default();
    match (error.kind(), error.detail()) {
        (ErrorKind::OutOfFuel, _) => format!("{line}takes more than {FUEL} steps to render"),
        (ErrorKind::WriteFailure, _) => format!("{line}renders to more than {MAX_OUTPUT_BYTES} bytes"),
        (kind, Some(detail)) => format!("{line}{kind}: {detail}"),
        (kind, None) => format!("{line}{kind}"),
    }
}

struct Bounded {
    bytes: Vec<u8>,
}

impl Write for Bounded {
    fn write(&mut self, part: &[u8]) -> std::io::Result<usize> {
        if self.bytes.len() + part.len() > MAX_OUTPUT_BYTES {
            return Err(std::io::Error::new(std::io::ErrorKind::StorageFull, "the output is too long"));
        }
        self.bytes.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn refuse(detail: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, detail)
}

/// `{{ due | date("%d.%m.%Y") }}`, `{{ at | date("%H:%M", zone="Asia/Kolkata") }}`: a date or time as Postgres and JSON write
/// it (`2026-11-20`, `2026-11-20T09:30:00`, with or without an offset), in the given `strftime` format. The zone applies to
/// times that have an offset. Null stays null.
fn date(value: Value, format: Option<String>, options: Kwargs) -> Result<Value, Error> {
    let zone: Option<String> = options.get("zone")?;
    options.assert_all_used()?;
    if value.is_none() {
        return Ok(value);
    }
    let zone: chrono_tz::Tz = match zone {
        Some(name) => {
            name.parse().map_err(|_| refuse("date: the zone is not an IANA time zone such as Asia/Kolkata"))?
        }
        None => chrono_tz::UTC,
    };
    let text = value.as_str().ok_or_else(|| refuse("date: the value is not a date in a text such as 2026-11-20"))?;
    let local = read_date(text, zone)
        .ok_or_else(|| refuse("date: the value is not a date such as 2026-11-20 or 2026-11-20T09:30:00+05:30"))?;
    let format = format.unwrap_or_else(|| "%Y-%m-%d".to_owned());
    let items: Vec<Item<'_>> = StrftimeItems::new(&format).collect();
    let mut out = String::new();
    // A specifier that is wrong, or that asks for an offset that a local time has not, shows up when it is written.
    std::fmt::write(&mut out, format_args!("{}", local.format_with_items(items.iter())))
        .map_err(|_| refuse("date: the format is not understood; use strftime specifiers such as %d.%m.%Y %H:%M"))?;
    Ok(Value::from(out))
}

fn read_date(text: &str, zone: chrono_tz::Tz) -> Option<NaiveDateTime> {
    let text = text.trim();
    if let Ok(at) =
        DateTime::parse_from_rfc3339(text).or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%#z"))
    {
        return Some(at.with_timezone(&zone).naive_local());
    }
    let naive = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M"];
    naive
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
        .or_else(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0))
}

/// `{{ amount | number(2) }}` is `1,234,567.50`; `{{ amount | number(2, grouping="indian") }}` is `12,34,567.50`. Takes a
/// number or a text that holds one; 0 to 9 decimals, 0 by default. Null stays null.
fn number(value: Value, decimals: Option<usize>, options: Kwargs) -> Result<Value, Error> {
    let grouping: Option<String> = options.get("grouping")?;
    options.assert_all_used()?;
    if value.is_none() {
        return Ok(value);
    }
    let indian = match grouping.as_deref() {
        None | Some("western") => false,
        Some("indian") => true,
        Some(_) => return Err(refuse("number: grouping is western or indian")),
    };
    let decimals = decimals.unwrap_or(0);
    if decimals > 9 {
        return Err(refuse("number: at most 9 decimals"));
    }
    let parsed = value.as_str().map_or_else(|| f64::try_from(value.clone()).ok(), |text| text.trim().parse().ok());
    let parsed = parsed.filter(|n: &f64| n.is_finite()).ok_or_else(|| refuse("number: the value is not a number"))?;
    let text = format!("{:.decimals$}", parsed.abs());
    let (whole, fraction) = text.split_once('.').unwrap_or((text.as_str(), ""));
    let is_zero = text.bytes().all(|b| matches!(b, b'0' | b'.'));
    let sign = if parsed < 0.0 && !is_zero { "-" } else { "" };
    let point = if fraction.is_empty() { "" } else { "." };
    Ok(Value::from(format!("{sign}{}{point}{fraction}", group(whole, indian))))
}

/// Puts commas between digits: in threes, or in the Indian way (three, then twos).
fn group(digits: &str, indian: bool) -> String {
    let mut out = String::with_capacity(digits.len() * 2);
    for (index, digit) in digits.chars().enumerate() {
        let left = digits.len() - index;
        let comma = if indian { left == 3 || (left > 3 && left % 2 == 1) } else { left.is_multiple_of(3) };
        if index > 0 && comma {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `{{ place | truncate(20) }}`: at most so many characters (never bytes), the last an ellipsis when something was cut.
fn truncate(text: String, max_chars: usize) -> String {
    super::limits::cut(&text, max_chars)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(source: &str, context: serde_json::Value) -> Result<String, String> {
        let mut env = environment();
        env.add_template_owned("t", source.to_owned()).map_err(|e| describe(&e))?;
        render(&env, "t", &value(&context)).map_err(|e| describe(&e))
    }

    #[test]
    fn filters_format_dates_and_numbers() {
        let cases = [
            ("{{ x | date('%d.%m.%Y') }}", serde_json::json!("2026-11-20"), "20.11.2026"),
            (
                "{{ x | date('%d %b, %H:%M', zone='Asia/Kolkata') }}",
                serde_json::json!("2026-11-20T20:00:00+00:00"),
                "21 Nov, 01:30",
            ),
            ("{{ x | date('%H:%M', zone='Asia/Kolkata') }}", serde_json::json!("2026-11-20T09:30:00"), "09:30"),
            ("{{ x | date }}", serde_json::json!("2026-11-20 09:30:00.5+05:30"), "2026-11-20"),
            ("{{ x | date }}", serde_json::json!(null), ""),
            ("{{ x | number }}", serde_json::json!(1_234_567.5), "1,234,568"),
            ("{{ x | number(2) }}", serde_json::json!("1234567.5"), "1,234,567.50"),
            ("{{ x | number(2, grouping='indian') }}", serde_json::json!(1_234_567.5), "12,34,567.50"),
            ("{{ x | number(0, grouping='indian') }}", serde_json::json!(123), "123"),
            ("{{ x | number(1) }}", serde_json::json!(-0.01), "0.0"),
            ("{{ x | number }}", serde_json::json!(-1234), "-1,234"),
            (
                "{{ x | truncate(5) }}",
                serde_json::json!("\u{928}\u{92e}\u{938}\u{94d}\u{924}\u{947} \u{906}\u{92a}"),
                "\u{928}\u{92e}\u{938}\u{94d}\u{2026}",
            ),
        ];
        for (source, x, expected) in cases {
            assert_eq!(one(source, serde_json::json!({ "x": x })).as_deref(), Ok(expected), "{source}");
        }
    }

    #[test]
    fn says_why_a_filter_failed_without_the_value() {
        let cases = [
            ("{{ x | date }}", "is not a date"),
            ("{{ '2026-11-20' | date('%Q') }}", "format is not understood"),
            ("{{ '2026-11-20' | date('%z') }}", "format is not understood"),
            ("{{ '2026-11-20' | date('%d', zone='Mars') }}", "IANA time zone"),
            ("{{ x | number }}", "not a number"),
            ("{{ 1 | number(20) }}", "at most 9 decimals"),
            ("{{ 1 | number(grouping='x') }}", "western or indian"),
        ];
        for (source, part) in cases {
            let error = one(source, serde_json::json!({ "x": "Asha" })).unwrap_err();
            assert!(error.contains(part) && !error.contains("Asha"), "{source}: {error}");
        }
    }

    #[test]
    fn bounds_what_a_template_may_take() {
        let long = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}";
        assert!(one(long, serde_json::json!({})).unwrap_err().contains("steps"));
        let large = "{% for a in range(1000) %}{{ 'x' * 1000 }}{% endfor %}";
        assert!(one(large, serde_json::json!({})).unwrap_err().contains("bytes"));
        for outside in
            ["{% include 'x' %}", "{% import 'x' as y %}", "{% macro a() %}{% endmacro %}", "{{ namespace() }}"]
        {
            assert!(one(outside, serde_json::json!({})).is_err(), "{outside}");
        }
    }

    #[test]
    fn a_name_that_is_not_there_is_an_error_and_null_is_empty() {
        assert!(one("{{ nobody }}", serde_json::json!({})).is_err());
        assert!(one("{% if nobody %}{% endif %}", serde_json::json!({})).is_err());
        assert_eq!(one("[{{ x }}]{% if x %}no{% endif %}", serde_json::json!({ "x": null })).as_deref(), Ok("[]"));
    }
}
