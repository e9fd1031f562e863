//! Tests of the checks on Meta's messages: each documented limit on both sides.

use serde_json::json;

use super::*;

fn checked(kind: &str, content: Value) -> Result<Checked, MetaError> {
    let mut body = json!({ "messaging_product": "whatsapp", "to": "919800000001", "type": kind });
    body[kind] = content;
    check(&body, &[])
}

fn button(id: &str, title: &str) -> Value {
    json!({ "type": "reply", "reply": { "id": id, "title": title } })
}

fn list(rows: usize) -> Value {
    let rows: Vec<Value> = (0..rows).map(|n| json!({ "id": format!("r{n}"), "title": format!("Row {n}") })).collect();
    json!({ "type": "list", "body": { "text": "Rate us" }, "action": { "button": "Choose", "sections": [{ "title": "All", "rows": rows }] } })
}

#[test]
fn a_text_may_have_4096_characters_of_any_script() {
    assert_eq!(checked("text", json!({ "body": "अ".repeat(4096) })).unwrap().choices, []);
    assert_eq!(checked("text", json!({ "body": "a".repeat(4097) })).unwrap_err().code, 100);
    assert_eq!(checked("text", json!({ "body": "" })).unwrap_err().code, 100);
}

#[test]
fn required_fields_are_asked_for() {
    assert_eq!(check(&json!({ "to": "919800000001" }), &[]).unwrap_err().code, 100);
    assert_eq!(check(&json!({ "messaging_product": "whatsapp", "type": "text" }), &[]).unwrap_err().code, 100);
    assert_eq!(checked("poem", json!({})).unwrap_err().code, 100);
    assert_eq!(check(&json!([]), &[]).unwrap_err().code, 100);
}

#[test]
fn one_to_three_buttons_of_twenty_characters_pass() {
    let message = |buttons: Vec<Value>| json!({ "type": "button", "body": { "text": "Sure?" }, "action": { "buttons": buttons } });
    let good = checked("interactive", message(vec![button("y", &"x".repeat(20)), button("n", "No")])).unwrap();
    assert_eq!(good.choices.len(), 2);
    let four = (0..4).map(|n| button(&n.to_string(), "t")).collect();
    assert_eq!(checked("interactive", message(four)).unwrap_err().code, 131009);
    assert_eq!(checked("interactive", message(vec![button("y", &"x".repeat(21))])).unwrap_err().code, 131009);
    assert_eq!(checked("interactive", message(vec![button("y", "A"), button("y", "B")])).unwrap_err().code, 131009);
}

#[test]
fn a_list_has_at_most_ten_rows_in_all() {
    assert_eq!(checked("interactive", list(10)).unwrap().choices.len(), 10);
    assert_eq!(checked("interactive", list(11)).unwrap_err().code, 131009);
    assert_eq!(checked("interactive", list(0)).unwrap_err().code, 131009);
}

#[test]
fn a_template_must_be_approved_with_its_number_of_parameters() {
    let approved =
        [MetaTemplate { name: "welcome".into(), language: "en".into(), parameters: 1, buttons: vec!["Yes".into()] }];
    let message = |name: &str, parameters: Value| {
        json!({ "messaging_product": "whatsapp", "to": "919800000001", "type": "template", "template": {
            "name": name, "language": { "code": "en" }, "components": [{ "type": "body", "parameters": parameters }] } })
    };
    let good = check(&message("welcome", json!([{ "type": "text", "text": "Asha" }])), &approved).unwrap();
    assert_eq!((good.body.as_str(), good.choices[0].title.as_str(), good.template), ("[welcome/en] Asha", "Yes", true));
    assert_eq!(check(&message("welcome", json!([])), &approved).unwrap_err().code, 132000);
    assert_eq!(check(&message("other", json!([])), &approved).unwrap_err().code, 132001);
    assert_eq!(
        check(&message("other", json!([])), &[]).unwrap().body,
        "[other/en]",
        "without a list every name is approved"
    );
}

#[test]
fn a_templates_quick_replies_carry_their_payloads() {
    let message = json!({ "name": "ask", "language": { "code": "hi" }, "components": [
        { "type": "button", "sub_type": "quick_reply", "index": "0", "parameters": [{ "type": "payload", "payload": "yes-1" }] },
        { "type": "button", "sub_type": "quick_reply", "index": 1, "parameters": [{ "type": "payload", "payload": "no-1" }] } ] });
    let ids: Vec<String> = checked("template", message).unwrap().choices.into_iter().map(|c| c.id).collect();
    assert_eq!(ids, ["yes-1", "no-1"]);
}
