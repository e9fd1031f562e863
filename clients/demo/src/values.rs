//! Small conversions between the contract's well-known types and what is handy here.

use std::time::Duration;

use chrono::{DateTime, Utc};
use prost_types::{Struct, Timestamp, Value, value::Kind};

/// A JSON object as a `google.protobuf.Struct`; anything else becomes an empty one.
pub fn object(json: serde_json::Value) -> Struct {
    match json {
        serde_json::Value::Object(fields) => {
            Struct { fields: fields.into_iter().map(|(k, v)| (k, value(v))).collect() }
        }
        _ => Struct::default(),
    }
}

fn value(json: serde_json::Value) -> Value {
    let kind = match json {
        serde_json::Value::Null => Kind::NullValue(0),
        serde_json::Value::Bool(flag) => Kind::BoolValue(flag),
        serde_json::Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        serde_json::Value::String(text) => Kind::StringValue(text),
        serde_json::Value::Array(items) => {
            Kind::ListValue(prost_types::ListValue { values: items.into_iter().map(value).collect() })
        }
        object @ serde_json::Value::Object(_) => Kind::StructValue(self::object(object)),
    };
    Value { kind: Some(kind) }
}

/// A text field of a struct; empty when it is not there or no text.
pub fn text<'a>(of: Option<&'a Struct>, field: &str) -> &'a str {
    match of.and_then(|of| of.fields.get(field)).and_then(|value| value.kind.as_ref()) {
        Some(Kind::StringValue(text)) => text,
        _ => "",
    }
}

/// Whole seconds.
pub fn seconds(seconds: u64) -> Option<prost_types::Duration> {
    prost_types::Duration::try_from(Duration::from_secs(seconds)).ok()
}

/// A moment as chrono has it; 1970 when it is not set.
pub fn moment(time: Option<&Timestamp>) -> DateTime<Utc> {
    let nanos = |t: &Timestamp| u32::try_from(t.nanos).unwrap_or_default();
    time.and_then(|t| DateTime::from_timestamp(t.seconds, nanos(t))).unwrap_or_default()
}

/// A moment as the contract has it.
pub fn timestamp(time: DateTime<Utc>) -> Timestamp {
    Timestamp { seconds: time.timestamp(), nanos: i32::try_from(time.timestamp_subsec_nanos()).unwrap_or_default() }
}
