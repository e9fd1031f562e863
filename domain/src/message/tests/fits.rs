//! As much of JSON Schema as the published schemas use: enough to say whether a document fits one.

use serde_json::Value;

/// Everything in `value` that `schema` does not allow.
pub fn faults(schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    look(schema, schema, value, "", &mut found);
    found
}

fn look(root: &Value, schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = root.pointer(reference.trim_start_matches('#')).expect("a reference leads somewhere");
        look(root, target, value, path, found);
    }
    if let Some(wanted) = schema.get("const").filter(|wanted| *wanted != value) {
        found.push(format!("{path} is not {wanted}"));
    }
    if schema["enum"].as_array().is_some_and(|allowed| !allowed.contains(value)) {
        found.push(format!("{path} is none of {}", schema["enum"]));
    }
    types(schema, value, path, found);
    for (kind, exactly_one) in [("oneOf", true), ("anyOf", false)] {
        let Some(options) = schema[kind].as_array() else { continue };
        let fitting = options.iter().filter(|option| {
            let mut inner = Vec::new();
            look(root, option, value, path, &mut inner);
            inner.is_empty()
        });
        match fitting.count() {
            0 => found.push(format!("{path} fits none of {kind}")),
            n if n > 1 && exactly_one => found.push(format!("{path} fits {n} of oneOf")),
            _ => {}
        }
    }
    members(root, schema, value, path, found);
}

fn types(schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    let is = |name: &Value| match name.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        _ => false,
    };
    let allowed = match &schema["type"] {
        Value::Null => true,
        Value::Array(names) => names.iter().any(is),
        name => is(name),
    };
    if !allowed {
        found.push(format!("{path} is no {}", schema["type"]));
    }
}

fn members(root: &Value, schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.get(name).is_none() {
            found.push(format!("{path}/{name} is missing"));
        }
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(value) = value.get(name) {
            look(root, schema, value, &format!("{path}/{name}"), found);
        }
    }
    if let (Some(items), Some(values)) = (schema.get("items"), value.as_array()) {
        for (i, value) in values.iter().enumerate() {
            look(root, items, value, &format!("{path}/{i}"), found);
        }
    }
}
