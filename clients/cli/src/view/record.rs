//! Any message, field by field: names to the left, values to the right, what is nested beneath and indented.

use std::io;

use prost_reflect::{DynamicMessage, FieldDescriptor, MapKey, ReflectMessage, Value};

use super::value;
use crate::out::{Out, Tone};

/// Writes all fields that are set, in the order of the contract.
///
/// # Errors
/// What the system says.
pub fn show(out: &mut Out, message: &DynamicMessage) -> io::Result<()> {
    fields(out, message, 0)
}

/// Writes one line of a record: a name and a value; nothing when the value is empty.
///
/// # Errors
/// What the system says.
pub fn pair(out: &mut Out, name: &str, value: &str) -> io::Result<()> {
    if value.is_empty() { Ok(()) } else { entry(out, 0, name, value) }
}

fn fields(out: &mut Out, message: &DynamicMessage, depth: usize) -> io::Result<()> {
    for field in message.descriptor().fields().filter(|it| message.has_field(it)) {
        let found = message.get_field(&field);
        match &*found {
            Value::List(items) if items.iter().any(nested) => {
                for (index, item) in items.iter().enumerate() {
                    nest(out, &format!("{}[{index}]", field.name()), item, depth)?;
                }
            }
            Value::Map(entries) => {
                let mut entries: Vec<_> = entries.iter().collect();
                entries.sort_by(|a, b| a.0.cmp(b.0));
                for (key, item) in entries {
                    entry(out, depth, &format!("{}.{}", field.name(), key_words(key)), &map_words(&field, item))?;
                }
            }
            found if nested(found) => nest(out, field.name(), found, depth)?,
            found => entry(out, depth, field.name(), &value::words(&field.kind(), found))?,
        }
    }
    Ok(())
}

/// Whether a value is a message that needs lines of its own.
fn nested(value: &Value) -> bool {
    let Value::Message(message) = value else { return false };
    let descriptor = message.descriptor();
    let short = ["Address", "FiringStateCount", "NotificationStateCount", "SkipCount"];
    !descriptor.full_name().starts_with("google.protobuf.") && !short.contains(&descriptor.name())
}

fn nest(out: &mut Out, name: &str, value: &Value, depth: usize) -> io::Result<()> {
    let Value::Message(message) = value else { return Ok(()) };
    let name = out.paint(Tone::Strong, name);
    out.line(&format!("{}{name}", "  ".repeat(depth)))?;
    fields(out, message, depth + 1)
}

fn entry(out: &mut Out, depth: usize, name: &str, value: &str) -> io::Result<()> {
    let indent = "  ".repeat(depth);
    let width = 20_usize.saturating_sub(indent.len());
    // Further lines of a text stand beneath the first.
    let value = value.replace('\n', &format!("\n{}", " ".repeat(22)));
    let padded = out.paint(Tone::Faint, &format!("{name:<width$}"));
    let value = out.state(&value);
    out.line(&format!("{indent}{padded}  {value}"))
}

fn key_words(key: &MapKey) -> String {
    match key {
        MapKey::String(it) => it.clone(),
        MapKey::Bool(it) => it.to_string(),
        MapKey::I32(it) => it.to_string(),
        MapKey::I64(it) => it.to_string(),
        MapKey::U32(it) => it.to_string(),
        MapKey::U64(it) => it.to_string(),
    }
}

fn map_words(field: &FieldDescriptor, item: &Value) -> String {
    field.kind().as_message().map_or_else(String::new, |it| value::words(&it.map_entry_value_field().kind(), item))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract;
    use crate::out::tests::kept;
    use proto::v1::{Address, AddressKind, Contact, FallbackPolicy, Step};

    fn shown<T: prost::Message>(name: &str, message: &T) -> String {
        let mut dynamic = DynamicMessage::new(contract::message(name).unwrap());
        dynamic.transcode_from(message).unwrap();
        let (mut out, kept) = kept(false, false);
        show(&mut out, &dynamic).unwrap();
        kept.text()
    }

    #[test]
    fn a_contact_is_shown_field_by_field() {
        let contact = Contact {
            name: "contacts/7".into(),
            addresses: vec![Address { kind: AddressKind::Phone.into(), value: "+919812345678".into() }],
            attributes: [("district".to_owned(), "Pune".to_owned())].into(),
            ..Default::default()
        };
        let lines = [
            "name                  contacts/7",
            "addresses             phone +919812345678",
            "attributes.district   Pune",
            "",
        ];
        assert_eq!(shown("Contact", &contact), lines.join("\n"));
    }

    #[test]
    fn what_is_nested_is_indented() {
        let policy = FallbackPolicy { steps: vec![Step { attempts: 3, ..Default::default() }], ..Default::default() };
        assert_eq!(shown("FallbackPolicy", &policy), "steps[0]\n  attempts            3\n");
    }
}
