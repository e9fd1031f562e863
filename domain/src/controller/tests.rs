//! What controllers do and refuse, in stories.

use chrono::{TimeZone, Utc};
use serde_json::json;

use super::*;
use crate::slug::Slug;

fn version(json: serde_json::Value) -> ControllerVersion {
    serde_json::from_value(json).expect("a controller")
}

fn scene(intent: Intent, text: &str, attributes: serde_json::Value) -> Scene {
    let facts = json!({
        "message": { "text": text, "type": "text", "choice": "" },
        "channel": { "name": "channels/wa", "type": "WHATSAPP" },
        "session": { "reason": "" },
        "conversation": { "name": "conversations/1", "state": "CREATED", "priority": 3, "labels": ["vip"],
                          "attributes": attributes, "messages": 2, "on_hold": false },
        "contact": { "name": "contacts/1", "display_name": "Asha", "external_id": "", "locale": "hi-IN",
                     "time_zone": "Asia/Kolkata", "attributes": { "district": "Pune" } },
    });
    let now = Utc.with_ymd_and_hms(2026, 11, 20, 6, 0, 0).unwrap();
    Scene { intent, now, facts: facts.as_object().unwrap().clone() }
}

fn example(name: &str) -> Compiled {
    let found = examples::ALL.iter().find(|example| example.name == name).expect("an example");
    Compiled::new(serde_json::from_str(found.json).expect("JSON")).expect("compiles")
}

fn done(compiled: &Compiled, scene: &Scene) -> Vec<Action> {
    let reaction = compiled.react(scene);
    assert_eq!(reaction.faults, []);
    reaction.actions.into_iter().map(|(_, action)| action).collect()
}

#[test]
fn every_example_is_valid_and_reads_back_as_it_was_written() {
    for example in examples::ALL {
        let version: ControllerVersion = serde_json::from_str(example.json).expect(example.name);
        assert_eq!(version.validate(), [], "{}", example.name);
        let again = serde_json::from_value(serde_json::to_value(&version).unwrap()).unwrap();
        assert_eq!(version, again);
        Slug::parse(example.name).expect("a name that can be stored");
    }
}

#[test]
fn greets_by_name_at_the_first_message_only() {
    let greeting = example("greeting");
    let said = done(&greeting, &scene(Intent::FirstMessage, "hi", json!({})));
    assert_eq!(said, [Action::SendMessage { text: "Hello Asha, how can we help you?".into(), channel: None }]);
    assert_eq!(done(&greeting, &scene(Intent::Message, "hi", json!({}))), []);
}

#[test]
fn says_once_that_the_office_is_closed_and_forgets_it_when_it_opens() {
    let hours = example("office-hours");
    let open = scene(Intent::Message, "hi", json!({}));
    assert_eq!(done(&hours, &open), [], "it is Friday, 11:30 in India");
    let night = |attributes| Scene {
        now: Utc.with_ymd_and_hms(2026, 11, 20, 13, 0, 0).unwrap(),
        ..scene(Intent::Message, "hi", attributes)
    };
    assert_eq!(done(&hours, &night(json!({}))).len(), 3);
    assert_eq!(done(&hours, &night(json!({ "told_closed": "yes" }))), []);
    let again = done(&hours, &scene(Intent::Message, "hi", json!({ "told_closed": "yes" })));
    assert_eq!(again, [Action::SetAttribute { name: "told_closed".into(), value: None }]);
}

#[test]
fn a_survey_takes_only_an_answer_that_is_one() {
    let survey = example("survey");
    let asked = json!({ "survey": "asked" });
    assert_eq!(done(&survey, &scene(Intent::Message, "well", asked.clone())), []);
    let noted = done(&survey, &scene(Intent::Message, " 4 ", asked));
    assert_eq!(noted[0], Action::SetAttribute { name: "survey".into(), value: Some("4".into()) });
    assert_eq!(noted[2], Action::Close);
    assert_eq!(done(&survey, &scene(Intent::Message, "4", json!({}))), []);
}

#[test]
fn every_rule_that_fits_adds_its_actions_until_one_is_the_last() {
    let rule = |name: &str, when: &str, last: bool| json!({ "name": name, "on": ["MESSAGE"], "when": when, "last": last, "actions": [{ "do": "add_label", "label": name }] });
    let version = version(json!({ "rules": [
        rule("a", "conversation.priority > 2", false),
        rule("b", "conversation.priority > 5", false),
        rule("c", "\"vip\" in conversation.labels and contact.attributes.district == \"Pune\"", true),
        rule("d", "true", false),
    ] }));
    assert_eq!(version.validate(), []);
    let reaction = Compiled::new(version).unwrap().react(&scene(Intent::Message, "", json!({})));
    assert_eq!(reaction.actions.iter().map(|(rule, _)| rule.as_str()).collect::<Vec<_>>(), ["a", "c"]);
}

#[test]
fn a_rule_that_fails_does_nothing_and_stops_no_other() {
    let loops = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}";
    let version = version(json!({ "rules": [
        { "name": "endless", "on": ["MESSAGE"], "actions": [{ "do": "send_message", "text": loops }] },
        { "name": "half", "on": ["MESSAGE"],
          "actions": [{ "do": "hold" }, { "do": "send_message", "text": "{{ message.text|number }}" }] },
        { "name": "fine", "on": ["MESSAGE"], "actions": [{ "do": "add_label", "label": "seen" }] },
    ] }));
    let reaction = Compiled::new(version).unwrap().react(&scene(Intent::Message, "no number", json!({})));
    assert_eq!(reaction.actions, [("fine".to_owned(), Action::AddLabel { label: "seen".into() })]);
    let faults: Vec<_> = reaction.faults.iter().map(|f| (f.rule.as_str(), f.field.as_str())).collect();
    assert_eq!(faults, [("endless", "actions[0].text"), ("half", "actions[1].text")]);
    assert!(reaction.faults[0].reason.contains("steps"), "{:?}", reaction.faults[0]);
}

#[test]
fn one_intent_leads_to_a_bounded_number_of_actions() {
    let rule =
        |n: usize| json!({ "name": format!("r{n}"), "on": ["MESSAGE"], "actions": vec![json!({ "do": "hold" }); 20] });
    let version = version(json!({ "rules": (0..4).map(rule).collect::<Vec<_>>() }));
    assert_eq!(version.validate(), []);
    let reaction = Compiled::new(version).unwrap().react(&scene(Intent::Message, "", json!({})));
    assert_eq!(reaction.actions.len(), MAX_REACTION);
    assert_eq!(reaction.faults.len(), 1);
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let wrong = version(json!({
        "hours": [{ "name": "9to5", "time_zone": "Mars/Base", "open": ["all day"] }],
        "rules": [
            { "name": "", "on": [], "when": "message.txt == \"a\" and hours.office and nobody.knows", "actions": [
                { "do": "request_operator", "queue": "help" },
                { "do": "set_priority", "priority": 10 },
                { "do": "set_active_channel", "channel": "Not A Slug" },
                { "do": "call_http", "url": "http://169.254.169.254/x", "timeout_secs": 60, "into": "a b" },
                { "do": "send_message", "text": "" } ] },
            { "name": "late", "on": ["CONVERSATION_CLOSED"], "actions": [{ "do": "send_message", "text": "bye" }] },
        ]
    }));
    let found: Vec<String> = wrong.validate().into_iter().map(|violation| violation.field).collect();
    for field in [
        "hours[0].name",
        "hours[0].time_zone",
        "hours[0].open[0]",
        "rules[0].name",
        "rules[0].on",
        "rules[0].when",
        "rules[0].actions[0]",
        "rules[0].actions[1].priority",
        "rules[0].actions[2].channel",
        "rules[0].actions[3].url",
        "rules[0].actions[3].timeout_secs",
        "rules[0].actions[3].into",
        "rules[0].actions[4].text",
        "rules[1].actions[0]",
    ] {
        assert!(found.iter().any(|f| f == field), "{field} is not among {found:?}");
    }
    assert_eq!(found.iter().filter(|f| *f == "rules[0].when").count(), 3, "each unknown name");
}

#[test]
fn a_condition_is_an_expression_and_texts_must_be_templates() {
    let with = |when: &str, text: &str| {
        version(
            json!({ "rules": [{ "name": "a", "on": ["MESSAGE"], "when": when, "actions": [{ "do": "send_message", "text": text }] }] }),
        )
    };
    assert_eq!(with("true", "{{ contact.display_name }}").validate(), []);
    for (when, text, field) in [
        ("true %}yes{% endif %}{% if false", "a", "rules[0].when"),
        ("message.text ==", "a", "rules[0].when"),
        ("true", "{{ contact.", "rules[0].actions[0].text"),
        ("true", "{{ contact.display_name|nothing }}", "rules[0].actions[0].text"),
    ] {
        let found = with(when, text).validate();
        assert!(found.iter().any(|violation| violation.field == field), "{when} / {text}: {found:?}");
    }
}
