//! Pairs on the command line: `district=Pune`, `phone:+919812345678`, and enum values by their short names.

use std::collections::BTreeMap;

use prost_types::{Struct, Value, value::Kind};
use proto::v1::{Address, AddressKind};

use crate::contract;

/// Reads `KEY=VALUE`.
///
/// # Errors
/// A sentence that says what is right.
pub fn parse(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err(format!("`{text}` must be KEY=VALUE")),
    }
}

/// Pairs as variables: a value that is JSON counts as such, so that `count=3` is a number; anything else is a text.
pub fn variables(pairs: &[(String, String)]) -> Option<Struct> {
    let fields: BTreeMap<_, _> = pairs.iter().map(|(key, value)| (key.clone(), variable(value))).collect();
    (!fields.is_empty()).then_some(Struct { fields })
}

/// One value: JSON where it is JSON, else a text.
pub fn variable(text: &str) -> Value {
    serde_json::from_str(text).map_or_else(|_| from_json(serde_json::Value::String(text.to_owned())), from_json)
}

fn from_json(value: serde_json::Value) -> Value {
    use serde_json::Value as Json;
    let kind = match value {
        Json::Null => Kind::NullValue(0),
        Json::Bool(it) => Kind::BoolValue(it),
        // A number that a double cannot hold exactly (an account number) stays a text.
        Json::Number(it) => match it.as_f64() {
            Some(number) if number.abs() <= 9_007_199_254_740_992.0 => Kind::NumberValue(number),
            _ => Kind::StringValue(it.to_string()),
        },
        Json::String(it) => Kind::StringValue(it),
        Json::Array(items) => {
            Kind::ListValue(prost_types::ListValue { values: items.into_iter().map(from_json).collect() })
        }
        Json::Object(fields) => Kind::StructValue(Struct {
            fields: fields.into_iter().map(|(key, value)| (key, from_json(value))).collect(),
        }),
    };
    Value { kind: Some(kind) }
}

/// Reads an address: `phone:+919812345678`, `email:a@example.org`, `whatsapp_user:ID`, `external:telegram:1093`; without a
/// kind an `@` makes it an email and anything else a phone.
///
/// # Errors
/// A sentence that says what is right.
pub fn address(text: &str) -> Result<Address, String> {
    let (kind, value) = match text.split_once(':') {
        Some(("phone" | "tel", value)) => (AddressKind::Phone, value),
        Some(("email" | "mailto", value)) => (AddressKind::Email, value),
        Some(("whatsapp_user" | "whatsapp-user", value)) => (AddressKind::WhatsappUser, value),
        Some(("external", value)) => (AddressKind::External, value),
        Some((kind, _)) => {
            return Err(format!("`{kind}` is not a kind of address: phone, email, whatsapp_user or external"));
        }
        None if text.contains('@') => (AddressKind::Email, text),
        None => (AddressKind::Phone, text),
    };
    if value.trim().is_empty() {
        return Err(format!("`{text}` has no address: write it like +919812345678 or email:a@example.org"));
    }
    Ok(Address { kind: kind.into(), value: value.trim().to_owned() })
}

/// The number of an enum value by its name, with or without the prefix of the enum, whatever the case.
///
/// # Errors
/// A sentence with all values.
pub fn enum_value(enumeration: &str, text: &str) -> Result<i32, String> {
    let Some(descriptor) = contract::enumeration(enumeration) else {
        return Err(format!("the contract has no enum {enumeration}"));
    };
    let wanted = text.trim().replace('-', "_");
    let values: Vec<_> = descriptor.values().filter(|it| it.number() != 0).collect();
    let found = values.iter().find(|it| {
        it.name().eq_ignore_ascii_case(&wanted) || short(descriptor.name(), it.name()).eq_ignore_ascii_case(&wanted)
    });
    let all = || values.iter().map(|it| short(descriptor.name(), it.name())).collect::<Vec<_>>().join(", ");
    found.map(prost_reflect::EnumValueDescriptor::number).ok_or_else(|| format!("`{text}` must be one of {}", all()))
}

/// The name of an enum value without the name of its enum: `SMS` for `CHANNEL_TYPE_SMS`.
pub fn short<'a>(enumeration: &str, value: &'a str) -> &'a str {
    let mut prefix = String::new();
    for (index, letter) in enumeration.chars().enumerate() {
        if letter.is_uppercase() && index > 0 {
            prefix.push('_');
        }
        prefix.extend(letter.to_uppercase());
    }
    value.strip_prefix(&prefix).and_then(|rest| rest.strip_prefix('_')).unwrap_or(value)
}

/// Makes the parser of one enum for clap.
macro_rules! enum_parser {
    ($($function:ident => $name:literal),+ $(,)?) => {
        $(
            #[doc = concat!("Reads a value of `", $name, "` by its short name.\n\n# Errors\nA sentence with all values.")]
            pub fn $function(text: &str) -> Result<i32, String> {
                enum_value($name, text)
            }
        )+
    };
}

enum_parser! {
    channel_type => "ChannelType",
    lane => "Lane",
    skip_reason => "SkipReason",
    failure_class => "FailureClass",
    notification_state => "Notification.State",
    campaign_state => "Campaign.State",
    trigger_state => "Trigger.State",
    firing_state => "Firing.State",
    firing_reason => "Firing.Reason",
    operation => "TableWatch.Operation",
    misfire_policy => "Schedule.MisfirePolicy",
    conversation_state => "Conversation.State",
    end_reason => "ChannelSession.EndReason",
    role => "Participant.Role",
    direction => "Message.Direction",
    show_entries => "ListCallListEntriesRequest.Show",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enum_values_are_found_by_short_names_in_any_case() {
        assert_eq!(channel_type("sms"), Ok(2));
        assert_eq!(channel_type("CHANNEL_TYPE_SMS"), Ok(2));
        assert_eq!(failure_class("fall-over"), Ok(3));
        assert_eq!(notification_state("replied"), Ok(8));
        assert_eq!(
            channel_type("fax").unwrap_err(),
            "`fax` must be one of WHATSAPP, SMS, VOICE, EMAIL, TELEGRAM, WEBCHAT, WEBHOOK"
        );
    }

    #[test]
    fn every_parser_has_its_enum() {
        let parsers = [
            channel_type,
            lane,
            skip_reason,
            failure_class,
            notification_state,
            campaign_state,
            trigger_state,
            firing_state,
            firing_reason,
            operation,
            misfire_policy,
            conversation_state,
            end_reason,
            role,
            direction,
            show_entries,
        ];
        for parser in parsers {
            assert!(parser("?").unwrap_err().contains("must be one of"));
        }
    }

    #[test]
    fn addresses_say_their_kind_or_look_like_it() {
        let kind = |text: &str| address(text).unwrap().kind();
        assert_eq!(kind("+919812345678"), AddressKind::Phone);
        assert_eq!(kind("a@example.org"), AddressKind::Email);
        assert_eq!(kind("whatsapp_user:IN.123"), AddressKind::WhatsappUser);
        assert_eq!(address("external:telegram:1093").unwrap().value, "telegram:1093");
        assert!(address("fax:1").unwrap_err().contains("phone, email, whatsapp_user or external"));
        assert!(address("phone:").is_err());
    }

    #[test]
    fn variables_are_json_where_they_are_json() {
        let kinds: Vec<_> = ["3", "true", "Pune", "\"3\""].map(|it| variable(it).kind.unwrap()).into();
        assert_eq!(kinds[0], Kind::NumberValue(3.0));
        assert_eq!(kinds[1], Kind::BoolValue(true));
        assert_eq!(kinds[2], Kind::StringValue("Pune".into()));
        assert_eq!(kinds[3], Kind::StringValue("3".into()));
        assert_eq!(variable("12345678901234567890").kind, Some(Kind::StringValue("12345678901234567890".into())));
    }

    #[test]
    fn a_pair_needs_a_key() {
        assert_eq!(parse("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(parse("=b").is_err() && parse("a").is_err());
    }
}
