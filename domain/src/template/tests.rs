//! Templates as their authors and senders meet them: what is refused, what is chosen, what comes out.

use super::*;
use crate::violation::Violation;
use serde_json::json;

fn version(value: serde_json::Value) -> TemplateVersion {
    serde_json::from_value(value).unwrap()
}

fn vars(value: serde_json::Value) -> serde_json::Map<String, serde_json::Value> {
    value.as_object().unwrap().clone()
}

/// A good version with four channel types and two languages.
fn welcome() -> serde_json::Value {
    json!({
        "default_language": "en",
        "variables": [
            {"name": "name", "required": true, "example": "Asha"},
            {"name": "due", "required": false, "example": "2026-11-20"},
            {"name": "office", "default": "Pune"},
        ],
        "contents": [
            {"channel_type": "WHATSAPP", "language": "en", "body": {"type": "choices", "text": "Hello {{ name }}, due {{ due | date('%d.%m.') }}",
                "choices": [{"id": "yes", "title": "Yes, {{ office }}"}, {"id": "no", "title": "No"}]}},
            {"channel_type": "SMS", "language": "en", "body": {"type": "text", "text": "Hello {{ name }} ({{ office }})"}},
            {"channel_type": "SMS", "language": "hi", "body": {"type": "text", "text": "\u{928}\u{92e}\u{938}\u{94d}\u{924}\u{947} {{ name }}"}},
            {"channel_type": "VOICE", "language": "en", "body": {"type": "voice", "say": "Hello {{ name }}", "language": "en-IN",
                "keys": [{"id": "1", "title": "Yes"}], "repeat": 2}},
            {"channel_type": "EMAIL", "language": "en", "body": {"type": "email", "subject": "For {{ name }}", "text": "Dear {{ name }}",
                "html": "<p>Dear {{ name }}</p>"}},
        ]
    })
}

fn changed(pointer: &str, value: serde_json::Value) -> TemplateVersion {
    let mut json = welcome();
    *json.pointer_mut(pointer).unwrap() = value;
    version(json)
}

#[test]
fn a_good_version_has_no_violations_and_its_json_is_stable() {
    let good = version(welcome());
    assert_eq!(good.validate(), Vec::<Violation>::new());
    let once = serde_json::to_value(&good).unwrap();
    assert_eq!(serde_json::to_value(version(once.clone())).unwrap(), once);
    assert_eq!(once.pointer("/contents/3/body/type"), Some(&json!("voice")));
}

#[test]
fn each_fault_is_named_with_its_field() {
    let text = |t: &str| json!({"type": "text", "text": t});
    let button = |n: usize| json!({"id": n.to_string(), "title": format!("B{n}")});
    let choices =
        |list: Vec<serde_json::Value>| json!({"type": "choices", "text": "{{ name }} {{ due }}", "choices": list});
    let cases = [
        ("/default_language", json!("english"), "default_language", "is not a language"),
        ("/default_language", json!("EN"), "default_language", "must be written en"),
        ("/default_language", json!("mr"), "contents", "no WHATSAPP content in the default language mr"),
        ("/contents", json!([]), "contents", "is empty"),
        ("/contents/2/language", json!("en"), "contents[2]", "channel type and language of contents[1]"),
        ("/variables/0/name", json!("2nd"), "variables[0].name", "not a digit first"),
        ("/variables/0/name", json!("loop"), "variables[0].name", "has a meaning"),
        ("/variables/1/name", json!("name"), "variables[1].name", "same as variables[0].name"),
        ("/variables/2/name", json!("unused"), "variables[2]", "no content uses"),
        ("/variables/2/name", json!("unused"), "contents[1].body", "uses office"),
        ("/contents/1/body", text("a\n{% if name %}"), "contents[1].body.text", "line 2: syntax error"),
        ("/contents/1/body", text("{{ name | shout }}"), "contents[1].body.text", "unknown filter"),
        ("/contents/1/body", text("{{ name | date }}"), "contents[1].body.text", "is not a date"),
        ("/contents/1/body", text(""), "contents[1].body.text", "is empty"),
        ("/contents/1/body", text(&"a".repeat(1531)), "contents[1].body.text", "has 11 SMS parts, at most 10"),
        ("/contents/0/body", text(&"\u{928}".repeat(4097)), "contents[0].body.text", "has 4097 characters"),
        ("/contents/0/body/text", json!("x".repeat(1025)), "contents[0].body.text", "at most 1024"),
        ("/contents/0/body/choices/1/title", json!("x".repeat(21)), "contents[0].body.choices[1].title", "at most 20"),
        ("/contents/0/body/choices/1/id", json!("yes"), "contents[0].body.choices[1].id", "same as choices[0].id"),
        ("/contents/0/body/choices/1/title", json!("Yes, Pune"), "contents[0].body.choices[1].title", "same as"),
        ("/contents/0/body", choices((0..11).map(button).collect()), "contents[0].body.choices", "has 11 choices"),
        ("/contents/0/body", choices(vec![]), "contents[0].body.choices", "is empty"),
        ("/contents/3/body/repeat", json!(6), "contents[3].body.repeat", "must be 1 to 5"),
        ("/contents/3/body/repeat", json!(0), "contents[3].body.repeat", "must be 1 to 5"),
        ("/contents/3/body/keys/0/id", json!("12"), "contents[3].body.keys[0].id", "one digit"),
        ("/contents/3/body/language", json!("klingonese"), "contents[3].body.language", "is not a language"),
        ("/contents/4/channel_type", json!("VOICE"), "contents[4].body.type", "VOICE can carry"),
        ("/contents/4/body/subject", json!(" "), "contents[4].body.subject", "is empty"),
    ];
    for (pointer, value, field, part) in cases {
        let found = changed(pointer, value).validate();
        assert!(
            found.iter().any(|v| v.field == field && v.description.contains(part)),
            "{pointer}: {field} {part}: {found:#?}"
        );
    }
}

#[test]
fn limits_count_characters_of_what_is_rendered_with_examples() {
    let long = "\u{905}".repeat(20);
    assert_eq!(changed("/variables/2/default", json!("ok")).validate(), []);
    let found = changed("/variables/2/default", json!(long)).validate();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].description, "has 25 characters, at most 20 are allowed");
}

#[test]
fn language_goes_from_exact_to_general_to_default() {
    let compiled = Compiled::new(&version(welcome())).unwrap();
    let variables = vars(json!({"name": "Asha"}));
    let cases: [(&[&str], &str); 7] = [
        (&["hi-IN"], "hi"),
        (&["hi"], "hi"),
        (&["HI_in"], "hi"),
        (&["mr-IN", "hi-IN"], "hi"),
        (&["mr-IN"], "en"),
        (&[], "en"),
        (&["not a language", "hi"], "hi"),
    ];
    for (locales, language) in cases {
        let rendered = compiled.render(ChannelType::Sms, locales, &variables).unwrap();
        assert_eq!(rendered.language, language, "{locales:?}");
    }
}

#[test]
fn exact_language_is_preferred_to_the_general_one() {
    let mut json = welcome();
    json["contents"][1]["language"] = json!("hi-IN");
    json["default_language"] = json!("hi");
    let compiled = Compiled::new(&version(json)).unwrap();
    let variables = vars(json!({"name": "Asha"}));
    assert_eq!(compiled.render(ChannelType::Sms, &["hi-IN"], &variables).unwrap().language, "hi-IN");
    assert_eq!(compiled.render(ChannelType::Sms, &["hi-NP"], &variables).unwrap().language, "hi");
}

#[test]
fn values_defaults_and_nothing_are_put_in() {
    let compiled = Compiled::new(&version(welcome())).unwrap();
    let render = |value| compiled.render(ChannelType::Sms, &["en"], &vars(value)).map(|r| r.content.plain_text());
    assert_eq!(render(json!({"name": "Asha"})).as_deref(), Ok("Hello Asha (Pune)"));
    assert_eq!(render(json!({"name": "Asha", "office": null, "other": 1})).as_deref(), Ok("Hello Asha (Pune)"));
    assert_eq!(render(json!({"name": 7, "office": "Nashik"})).as_deref(), Ok("Hello 7 (Nashik)"));
    assert_eq!(render(json!({})), Err(RenderError::MissingVariable("name".to_owned())));
    assert_eq!(render(json!({"name": null})), Err(RenderError::MissingVariable("name".to_owned())));
    let whatsapp = compiled.render(ChannelType::Whatsapp, &[], &vars(json!({"name": "Asha"}))).unwrap();
    assert!(whatsapp.content.plain_text().starts_with("Hello Asha, due \n1. Yes, Pune"), "{whatsapp:?}");
}

#[test]
fn required_variables_are_those_that_a_channel_type_uses() {
    let mut json = welcome();
    json["variables"][1]["required"] = json!(true);
    let compiled = Compiled::new(&version(json)).unwrap();
    assert_eq!(compiled.required_variables(ChannelType::Whatsapp).into_iter().collect::<Vec<_>>(), ["due", "name"]);
    assert_eq!(compiled.required_variables(ChannelType::Sms).into_iter().collect::<Vec<_>>(), ["name"]);
}

#[test]
fn only_the_html_part_is_escaped() {
    let compiled = Compiled::new(&version(welcome())).unwrap();
    let rendered = compiled.render(ChannelType::Email, &[], &vars(json!({"name": "<b>A & B</b>\r\nBcc: x"}))).unwrap();
    let Content::Email { subject, text, html, .. } = rendered.content else { panic!("no mail") };
    assert_eq!(subject, "For <b>A & B</b> Bcc: x", "a subject is one line");
    assert!(text.starts_with("Dear <b>A & B</b>"));
    assert!(html.unwrap().starts_with("<p>Dear &lt;b&gt;A &amp; B&lt;"));
}

#[test]
fn labels_are_cut_on_characters_and_bodies_are_refused() {
    let compiled = Compiled::new(&version(welcome())).unwrap();
    let office = "\u{928}\u{93e}\u{936}\u{93f}\u{915}".repeat(6);
    let rendered =
        compiled.render(ChannelType::Whatsapp, &[], &vars(json!({"name": "Asha", "office": office}))).unwrap();
    let Content::Choices { choices, .. } = rendered.content else { panic!("no choices") };
    assert_eq!(choices[0].title.chars().count(), 20);
    assert!(choices[0].title.ends_with('\u{2026}'));
    let error = compiled.render(ChannelType::Whatsapp, &[], &vars(json!({"name": "x".repeat(2000)}))).unwrap_err();
    assert_eq!(error, RenderError::TooLong { field: "text".into(), limit: 1024, actual: 2012, unit: "characters" });
}

#[test]
fn provider_parameters_become_one_line_and_must_not_be_empty() {
    let mut json = welcome();
    json["contents"][0]["body"] = json!({"type": "provider_template", "name": "welcome_1", "language": "en_US",
        "parameters": ["{{ name }}", "{{ due }}"], "text": "Hello {{ name }} {{ office }}"});
    let template = version(json);
    assert_eq!(template.validate(), []);
    let compiled = Compiled::new(&template).unwrap();
    let render = |value| compiled.render(ChannelType::Whatsapp, &[], &vars(value));
    let rendered = render(json!({"name": "A\n\tB     C", "due": "x"})).unwrap();
    let Content::ProviderTemplate { parameters, .. } = rendered.content else { panic!("no template") };
    assert_eq!(parameters, ["A B C", "x"]);
    let error = render(json!({"name": "A"})).unwrap_err();
    assert_eq!(error, RenderError::Failed { field: "parameters[1]".into(), reason: "is empty".into() });
}

#[test]
fn says_when_there_is_nothing_for_a_channel_or_a_language() {
    let mut json = welcome();
    json["contents"].as_array_mut().unwrap().truncate(2);
    json["default_language"] = json!("mr");
    let compiled = Compiled::new(&version(json)).unwrap();
    let variables = vars(json!({"name": "Asha"}));
    let none = compiled.render(ChannelType::Voice, &["en"], &variables).unwrap_err();
    assert_eq!(none, RenderError::NoContent(ChannelType::Voice));
    let language = compiled.render(ChannelType::Sms, &["hi-IN"], &variables).unwrap_err();
    assert_eq!(language.to_string(), "the template has no SMS content in any of: hi-IN, hi, mr");
}

#[test]
fn reasons_never_carry_values() {
    let mut json = welcome();
    json["contents"][1]["body"]["text"] = json!("{{ name | number }} {{ office }}");
    json["variables"][0]["example"] = json!("12");
    let compiled = Compiled::new(&version(json)).unwrap();
    let error = compiled.render(ChannelType::Sms, &[], &vars(json!({"name": "Asha Rao"}))).unwrap_err();
    assert!(!error.to_string().contains("Asha"), "{error}");
}

proptest::proptest! {
    #[test]
    fn no_source_and_no_value_makes_it_panic(source in "[a-z{}%|' .]{0,40}", name in ".{0,20}") {
        let mut json = welcome();
        json["contents"][1]["body"]["text"] = json!(source);
        let version = version(json);
        let violations = version.validate();
        if let Ok(compiled) = Compiled::new(&version) {
            let _ = compiled.render(ChannelType::Sms, &["en"], &vars(json!({"name": name})));
        } else {
            proptest::prop_assert!(!violations.is_empty());
        }
    }

    #[test]
    fn what_is_rendered_fits_its_channel(name in ".{0,300}", office in ".{0,300}") {
        let compiled = Compiled::new(&version(welcome())).unwrap();
        for channel_type in ChannelType::ALL {
            if let Ok(r) = compiled.render(*channel_type, &[], &vars(json!({"name": name, "office": office}))) {
                proptest::prop_assert_eq!(limits::check(*channel_type, &r.content), vec![]);
            }
        }
    }
}
