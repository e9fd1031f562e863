//! What a call says, step by step.

use domain::message::{Choice, Content};

use super::*;
use crate::channels::testing::{DELIVERY, text};

const WEBHOOKS: &str = "https://alerts.example.org/webhooks/7";

fn key(id: &str) -> Choice {
    Choice { id: id.to_owned(), title: "Yes".to_owned(), description: None }
}

fn script_of(keys: Vec<Choice>) -> Content {
    Content::Voice {
        say: "Water at 5 < 6? & press 1".to_owned(),
        language: "en-IN".to_owned(),
        keys,
        repeat: 3,
        thanks: Some("Thank you.".to_owned()),
    }
}

fn rendered(content: &Content, round: u8, digits: Option<&str>, machine: bool) -> String {
    let manner = Manner { voice: String::new(), gather_seconds: 5, goodbye: String::new() };
    let step = CallStep { delivery_id: DELIVERY, attempt: 2, round, digits: digits.map(str::to_owned), machine };
    match render(&manner, content, &step, WEBHOOKS).unwrap() {
        WebhookAnswer::Body { content_type, body } => {
            assert_eq!(content_type, "text/xml; charset=utf-8");
            body.strip_prefix(r#"<?xml version="1.0" encoding="UTF-8"?>"#).unwrap().to_owned()
        }
        WebhookAnswer::Ok => panic!("no body"),
    }
}

#[test]
fn asks_waits_for_a_key_and_comes_back_for_the_next_round() {
    let url = format!("{WEBHOOKS}/voice?d={DELIVERY}&amp;n=2&amp;r=");
    let expected = format!(
        r#"<Response><Gather input="dtmf" numDigits="1" timeout="5" finishOnKey="" action="{url}0" method="POST"><Say language="en-IN">Water at 5 &lt; 6? &amp; press 1</Say></Gather><Redirect method="POST">{url}1</Redirect></Response>"#
    );
    assert_eq!(rendered(&script_of(vec![key("1")]), 0, None, false), expected);
}

#[test]
fn says_it_as_often_as_the_script_wants_and_then_goodbye() {
    let script = script_of(vec![key("1")]);
    assert!(rendered(&script, 2, None, false).contains("<Gather"));
    let last = rendered(&script, 3, None, false);
    assert_eq!(last, r#"<Response><Say language="en-IN">Goodbye.</Say><Hangup/></Response>"#);
}

#[test]
fn thanks_for_a_key_and_asks_again_after_a_wrong_one() {
    let script = script_of(vec![key("1"), key("2")]);
    let thanks = r#"<Response><Say language="en-IN">Thank you.</Say><Hangup/></Response>"#;
    assert_eq!(rendered(&script, 1, Some("2"), false), thanks);
    assert!(rendered(&script, 0, Some("9"), false).contains("&amp;r=1\""));
    assert!(rendered(&script, 2, Some("9"), false).contains("Goodbye."), "a wrong key in the last round");
}

#[test]
fn a_machine_hears_nothing() {
    assert_eq!(rendered(&script_of(vec![key("1")]), 0, None, true), "<Response><Hangup/></Response>");
}

#[test]
fn words_without_keys_are_said_once() {
    let once = rendered(&script_of(vec![]), 0, None, false);
    assert!(once.contains("press 1</Say><Hangup/>") && !once.contains("Gather"));
}

#[test]
fn a_character_that_xml_forbids_is_left_out() {
    let Content::Voice { language, keys, repeat, thanks, .. } = script_of(vec![]) else { panic!("not a script") };
    let script = Content::Voice { say: "a\u{0}b\u{b}c".to_owned(), language, keys, repeat, thanks };
    assert!(rendered(&script, 0, None, false).contains(">abc</Say>"));
}

#[test]
fn the_voice_and_the_goodbye_of_the_settings_are_used() {
    let manner = Manner { voice: "Polly.Aditi".to_owned(), gather_seconds: 5, goodbye: "Bye bye".to_owned() };
    let step = CallStep { delivery_id: DELIVERY, attempt: 1, round: 9, digits: None, machine: false };
    let WebhookAnswer::Body { body, .. } = render(&manner, &script_of(vec![key("1")]), &step, WEBHOOKS).unwrap() else {
        panic!("no body")
    };
    assert!(body.contains(r#"<Say language="en-IN" voice="Polly.Aditi">Bye bye</Say>"#));
}

#[test]
fn words_that_are_no_script_are_not_spoken() {
    let manner = Manner { voice: String::new(), gather_seconds: 5, goodbye: String::new() };
    let step = CallStep { delivery_id: DELIVERY, attempt: 1, round: 0, digits: None, machine: false };
    assert_eq!(render(&manner, &text("Hello"), &step, WEBHOOKS).unwrap_err(), WebhookError::NotFound);
}
