//! The published schemas, held against what is really published. Knows as much of JSON Schema as they use, and refuses the rest.

use std::path::Path;

use serde_json::Value;

/// Everything in which a published event does not fit the schema that it names.
pub fn faults(event: &Value) -> Vec<String> {
    let uri = event["dataschema"].as_str().unwrap_or_default();
    let Some((name, version)) = uri.strip_prefix("urn:switchboard:schema:").and_then(|rest| rest.rsplit_once(':'))
    else {
        return vec![format!("{uri:?} is no schema of ours")];
    };
    let file = format!("../docs/events/{name}-{version}.schema.json");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let Ok(text) = std::fs::read_to_string(&path) else { return vec![format!("{} is not there", path.display())] };
    let schema: Value = serde_json::from_str(&text).expect("a schema is JSON");
    assert_eq!(schema["$id"], uri);
    let mut found = Vec::new();
    look(&schema, event, "", &mut found);
    found
}

fn look(schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    for (keyword, rule) in schema.as_object().expect("a schema is an object") {
        let length = value.as_str().map_or(0, str::len);
        let holds = match keyword.as_str() {
            "$schema" | "$id" | "title" | "description" => true,
            "type" => match rule.as_str() {
                Some("object") => value.is_object(),
                Some("string") => value.is_string(),
                Some("boolean") => value.is_boolean(),
                Some("integer") => value.is_i64(),
                other => panic!("{other:?} is not known here"),
            },
            "const" => value == rule,
            "pattern" => value.as_str().is_some_and(|text| text.contains(rule.as_str().expect("a text"))),
            "minLength" => length >= usize::try_from(rule.as_u64().expect("a number")).expect("a length"),
            "maxLength" => length <= usize::try_from(rule.as_u64().expect("a number")).expect("a length"),
            "required" => {
                rule.as_array().expect("a list").iter().all(|name| value.get(name.as_str().expect("a name")).is_some())
            }
            "properties" => {
                for (name, part) in rule.as_object().expect("an object") {
                    if let Some(value) = value.get(name) {
                        look(part, value, &format!("{at}/{name}"), found);
                    }
                }
                true
            }
            "additionalProperties" => {
                let known = schema["properties"].as_object().expect("properties");
                let all = value.as_object().is_none_or(|v| v.keys().all(|name| known.contains_key(name)));
                rule.as_bool().expect("true or false") || all
            }
            other => panic!("{other} is not known here"),
        };
        if !holds {
            found.push(format!("{at}: {keyword} {rule} does not hold of {value}"));
        }
    }
}

#[test]
fn what_does_not_fit_is_found() {
    let event = |change: &str, to: Value| {
        let mut event = serde_json::json!({"specversion": "1.0", "id": "1", "source": "/x", "type": "open-ticket",
            "subject": "", "time": "", "datacontenttype": "application/json",
            "dataschema": "urn:switchboard:schema:open-ticket:0.0.1", "partitionkey": "", "sequence": "00000000000000000001",
            "cursor": "x", "data": {"conversation": "c", "ticket": "t", "order": {}}});
        if let Some(place) = event.pointer_mut(change) {
            *place = to;
        }
        faults(&event).len()
    };
    assert_eq!(event("/none", Value::Null), 0);
    assert_eq!(event("/specversion", "2.0".into()), 1);
    assert_eq!(event("/data", serde_json::json!({"conversation": "c", "ticket": "t", "order": {}, "x": 1})), 1);
    assert_eq!(event("/data", serde_json::json!({"conversation": 7, "ticket": "t"})), 3);
}
