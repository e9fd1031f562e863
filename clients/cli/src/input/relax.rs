//! Makes what people write into strict proto3 JSON by looking at the contract: short enum names (`SMS`), durations in
//! words (`10m`), times from now (`+2h`). Unknown fields and values are named with their place, all at once.

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::Value;

use super::{duration, pairs, time};
use crate::contract;

/// Rewrites `value` as a JSON form of `message`, and returns what is wrong, each with its path.
pub fn relax(message: &MessageDescriptor, value: &mut Value) -> Vec<String> {
    let mut problems = Vec::new();
    walk_message(message, value, "", &mut problems);
    problems
}

fn walk_message(message: &MessageDescriptor, value: &mut Value, path: &str, problems: &mut Vec<String>) {
    match message.full_name() {
        "google.protobuf.Duration" => return text(value, path, problems, |text| Ok(seconds(duration::parse(text)?))),
        "google.protobuf.Timestamp" => return text(value, path, problems, moment),
        // Free JSON, and the mask whose JSON form is a text.
        name if name.starts_with("google.protobuf.") => return,
        _ => {}
    }
    let Value::Object(fields) = value else {
        problems.push(format!("{}: must be an object", place(path)));
        return;
    };
    for (key, value) in fields.iter_mut() {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match message.get_field_by_name(key).or_else(|| message.get_field_by_json_name(key)) {
            Some(field) => walk_field(&field, value, &path, problems),
            None => {
                let names: Vec<_> = message.fields().map(|it| it.name().to_owned()).collect();
                let near = contract::nearest(key, names.iter().map(String::as_str));
                problems.push(format!("{path}: {} has no such field{near}", contract::bare(message.full_name())));
            }
        }
    }
}

fn walk_field(field: &FieldDescriptor, value: &mut Value, path: &str, problems: &mut Vec<String>) {
    if value.is_null() {
        return;
    }
    if field.is_map() {
        let Kind::Message(entry) = field.kind() else { return };
        let Value::Object(entries) = value else {
            return problems.push(format!("{path}: must be an object"));
        };
        for (key, value) in entries {
            walk_one(&entry.map_entry_value_field().kind(), value, &format!("{path}.{key}"), problems);
        }
    } else if field.is_list() {
        // One entry where a list is meant is a list of one.
        if !value.is_array() {
            *value = Value::Array(vec![value.take()]);
        }
        for (index, value) in value.as_array_mut().into_iter().flatten().enumerate() {
            walk_one(&field.kind(), value, &format!("{path}[{index}]"), problems);
        }
    } else {
        walk_one(&field.kind(), value, path, problems);
    }
}

fn walk_one(kind: &Kind, value: &mut Value, path: &str, problems: &mut Vec<String>) {
    match kind {
        Kind::Message(message) => walk_message(message, value, path, problems),
        Kind::Enum(descriptor) => walk_enum(descriptor, value, path, problems),
        Kind::String if !value.is_string() => {
            // `token = 7` in TOML is meant as a text, as `7` on a command line is.
            if value.is_number() || value.is_boolean() {
                *value = Value::String(value.to_string());
            } else {
                problems.push(format!("{path}: must be a text"));
            }
        }
        _ => {}
    }
}

fn walk_enum(descriptor: &EnumDescriptor, value: &mut Value, path: &str, problems: &mut Vec<String>) {
    let Some(text) = value.as_str() else { return };
    if descriptor.get_value_by_name(text).is_some() {
        return;
    }
    match pairs::enum_value(descriptor.full_name(), text) {
        Ok(number) => *value = number.into(),
        Err(problem) => problems.push(format!("{path}: {problem}")),
    }
}

fn text(value: &mut Value, path: &str, problems: &mut Vec<String>, read: impl Fn(&str) -> Result<String, String>) {
    let words = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match read(&words) {
        Ok(strict) => *value = Value::String(strict),
        Err(problem) => problems.push(format!("{}: {problem}", place(path))),
    }
}

fn seconds(duration: std::time::Duration) -> String {
    format!("{}.{:09}s", duration.as_secs(), duration.subsec_nanos())
}

fn moment(text: &str) -> Result<String, String> {
    let parsed = time::parse(text)?;
    let moment = time::moment(&parsed).ok_or_else(|| format!("`{text}` is out of range"))?;
    Ok(moment.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))
}

fn place(path: &str) -> &str {
    if path.is_empty() { "the whole" } else { path }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn relaxed(name: &str, mut value: Value) -> Result<Value, Vec<String>> {
        let problems = relax(&contract::message(name).unwrap(), &mut value);
        if problems.is_empty() { Ok(value) } else { Err(problems) }
    }

    #[test]
    fn short_names_and_durations_become_strict() {
        let policy = json!({"steps": [{"channel_type": "sms", "wait": "10m", "success": "DELIVERED"}]});
        let strict = json!({"steps": [{"channel_type": 2, "wait": "600.000000000s", "success": 2}]});
        assert_eq!(relaxed("FallbackPolicy", policy), Ok(strict));
    }

    #[test]
    fn all_that_is_wrong_is_named_with_its_place() {
        let policy = json!({"stpes": [], "steps": [{"channelType": "fax"}, {"wait": "soon"}]});
        let problems = relaxed("FallbackPolicy", policy).unwrap_err();
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems[0].starts_with("steps[0].channelType: `fax` must be one of"), "{problems:?}");
        assert!(problems[1].starts_with("steps[1].wait: `soon`"), "{problems:?}");
        assert_eq!(problems[2], "stpes: FallbackPolicy has no such field; did you mean `steps`?");
    }

    #[test]
    fn free_values_and_maps_are_left_as_they_are() {
        let request = json!({"variables": {"a": {"b": 1}}, "labels": {"x": 7}, "purpose": "service"});
        let strict = json!({"variables": {"a": {"b": 1}}, "labels": {"x": "7"}, "purpose": "service"});
        assert_eq!(relaxed("SendNotificationRequest", request), Ok(strict));
    }
}
