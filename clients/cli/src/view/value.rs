//! Single values for people: enum values by their short names, times in the local zone, durations in words.

use chrono::{DateTime, Local, SecondsFormat, Utc};
use prost_reflect::{DynamicMessage, EnumDescriptor, Kind, ReflectMessage, Value};
use prost_types::{Duration, Timestamp};

use crate::contract::{self, comments};
use crate::error::clean;
use crate::input::{duration, pairs, time};

/// A value of a field on one line.
pub fn words(kind: &Kind, value: &Value) -> String {
    match value {
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        Value::I32(it) => it.to_string(),
        Value::I64(it) => it.to_string(),
        Value::U32(it) => it.to_string(),
        Value::U64(it) => it.to_string(),
        Value::F32(it) => it.to_string(),
        Value::F64(it) => it.to_string(),
        Value::String(it) => clean(it),
        Value::Bytes(it) => format!("{} bytes", it.len()),
        Value::EnumNumber(number) => kind.as_enum().map_or_else(|| number.to_string(), |it| enum_word(it, *number)),
        Value::Message(message) => message_words(message),
        Value::List(items) => items.iter().map(|it| words(kind, it)).collect::<Vec<_>>().join(", "),
        Value::Map(_) => String::new(),
    }
}

/// A message on one line: a time, a duration, an address; anything else as JSON.
pub fn message_words(message: &DynamicMessage) -> String {
    match message.descriptor().full_name() {
        "google.protobuf.Timestamp" => message.transcode_to().map(|it: Timestamp| when(Some(&it))).unwrap_or_default(),
        "google.protobuf.Duration" => message.transcode_to().map(|it: Duration| span(Some(&it))).unwrap_or_default(),
        "switchboard.v1.Address" => message.transcode_to().map(|it| address(Some(&it))).unwrap_or_default(),
        "switchboard.v1.FiringStateCount" | "switchboard.v1.NotificationStateCount" => counted(message, "state"),
        "switchboard.v1.SkipCount" => counted(message, "reason"),
        _ => clean(&serde_json::to_string(message).unwrap_or_default()),
    }
}

fn counted(message: &DynamicMessage, field: &str) -> String {
    let word = |name: &str| {
        let field = message.descriptor().get_field_by_name(name)?;
        Some(words(&field.kind(), &message.get_field(&field)))
    };
    format!("{} {}", word(field).unwrap_or_default(), word("count").unwrap_or_default())
}

/// The short name of an enum value; its number when this program does not know it.
pub fn enum_word(descriptor: &EnumDescriptor, number: i32) -> String {
    if number == 0 {
        return String::new();
    }
    let value = descriptor.get_value(number);
    value.map_or_else(|| number.to_string(), |value| pairs::short(descriptor.name(), value.name()).to_owned())
}

/// The same for an enum by name, such as `Notification.State`.
pub fn word(enumeration: &str, number: i32) -> String {
    contract::enumeration(enumeration).map_or_else(|| number.to_string(), |it| enum_word(&it, number))
}

/// What an enum value means, in the words of the contract; empty when there is nothing to say.
pub fn meaning(enumeration: &str, number: i32) -> String {
    let value = contract::enumeration(enumeration).and_then(|it| it.get_value(number));
    value.filter(|it| it.number() != 0).map(|it| comments::of_value(&it)).unwrap_or_default()
}

/// A time in the local zone, to the second, with its offset; empty when unset.
pub fn when(time: Option<&Timestamp>) -> String {
    moment(time)
        .map(|it| local(it).to_rfc3339_opts(SecondsFormat::Secs, true).replacen('T', " ", 1))
        .unwrap_or_default()
}

/// The time of the day in the local zone, such as `14:30:05`.
pub fn clock(time: Option<&Timestamp>) -> String {
    moment(time).map(|it| local(it).format("%H:%M:%S").to_string()).unwrap_or_default()
}

/// How long from one time to another, in words; empty when one is unset or it went backwards.
pub fn between(from: Option<&Timestamp>, to: Option<&Timestamp>) -> String {
    let (Some(from), Some(to)) = (moment(from), moment(to)) else { return String::new() };
    (to - from).to_std().map(rounded).unwrap_or_default()
}

/// A time as people mean it: with how far from now it is.
pub fn due(time: Option<&Timestamp>, now: DateTime<Utc>) -> String {
    let Some(at) = moment(time) else { return String::new() };
    match (at - now).to_std() {
        Ok(ahead) => format!("{} (in {})", when(time), rounded(ahead)),
        Err(_) => format!("{} ({} ago)", when(time), rounded((now - at).to_std().unwrap_or_default())),
    }
}

/// A duration in words; empty when unset.
pub fn span(duration: Option<&Duration>) -> String {
    duration.and_then(|it| std::time::Duration::try_from(*it).ok()).map(duration::words).unwrap_or_default()
}

/// An address as `phone +919812345678`.
pub fn address(address: Option<&proto::v1::Address>) -> String {
    let Some(address) = address else { return String::new() };
    format!("{} {}", word("AddressKind", address.kind).to_lowercase(), clean(&address.value))
}

/// Variables as JSON on one line; empty when there are none.
pub fn variables(variables: Option<&prost_types::Struct>) -> String {
    let Some(variables) = variables.filter(|it| !it.fields.is_empty()) else { return String::new() };
    let Some(descriptor) = contract::pool().get_message_by_name("google.protobuf.Struct") else { return String::new() };
    let mut message = DynamicMessage::new(descriptor);
    if message.transcode_from(variables).is_err() {
        return String::new();
    }
    clean(&serde_json::to_string(&message).unwrap_or_default())
}

fn moment(time: Option<&Timestamp>) -> Option<DateTime<Utc>> {
    time::moment(time?)
}

fn local(time: DateTime<Utc>) -> DateTime<Local> {
    time.with_timezone(&Local)
}

/// Whole seconds from ten seconds on, tenths below.
fn rounded(span: std::time::Duration) -> String {
    let step: u128 = if span.as_secs() < 10 { 100 } else { 1000 };
    let millis = span.as_millis() / step * step;
    duration::words(std::time::Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enum_values_are_short_and_unknown_ones_are_numbers() {
        assert_eq!(word("ChannelType", 2), "SMS");
        assert_eq!(word("Notification.State", 8), "REPLIED");
        assert_eq!(word("ChannelType", 99), "99");
        assert_eq!(word("ChannelType", 0), "");
        assert!(meaning("SkipReason", 1).starts_with("The person opted out"));
    }

    #[test]
    fn spans_are_in_words() {
        let at = |seconds, nanos| Timestamp { seconds, nanos };
        assert_eq!(between(Some(&at(10, 0)), Some(&at(10, 345_000_000))), "0.3s");
        assert_eq!(between(Some(&at(10, 0)), Some(&at(700, 900_000_000))), "11m 30s");
        assert_eq!(between(Some(&at(10, 0)), None), "");
        let now = DateTime::from_timestamp(0, 0).unwrap();
        assert!(due(Some(&at(120, 0)), now).ends_with("(in 2m)"));
        assert!(due(Some(&at(-120, 0)), now).ends_with("(2m ago)"));
    }
}
