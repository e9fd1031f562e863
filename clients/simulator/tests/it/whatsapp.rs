//! WhatsApp handsets behind Meta's Cloud API.

use serde_json::{Value, json};
use simulator::Inbound;
use simulator::script::{Choice, Handset, MessageScript, ServiceWindow, Span, When};

use crate::receiver::Stand;

const ASHA: &str = "+919800000001";

fn template() -> Value {
    json!({ "messaging_product": "whatsapp", "to": "919800000001", "type": "template", "biz_opaque_callback_data": "ours-1",
        "template": { "name": "welcome", "language": { "code": "en" } } })
}

fn text(body: &str) -> Value {
    json!({ "messaging_product": "whatsapp", "to": "919800000001", "type": "text", "text": { "body": body } })
}

fn buttons() -> Value {
    json!({ "messaging_product": "whatsapp", "to": ASHA, "type": "interactive", "interactive": { "type": "button",
        "body": { "text": "Solved?" }, "action": { "buttons": [
            { "type": "reply", "reply": { "id": "yes-7", "title": "Yes" } },
            { "type": "reply", "reply": { "id": "no-7", "title": "No" } } ] } } })
}

fn open() -> MessageScript {
    MessageScript { service_window: ServiceWindow::Open, ..MessageScript::default() }
}

#[tokio::test]
async fn receipts_come_at_their_times_and_echo_our_id() {
    let stand = Stand::start().await;
    let script = MessageScript { deliver_after: When::seconds(5), ..open() }.read_after(Span::seconds(7200));
    stand.simulator.handset(ASHA, Handset::whatsapp(script)).unwrap();
    let answer: Value = stand.whatsapp(template()).await.json().await.unwrap();
    let id = answer["messages"][0]["id"].as_str().unwrap();
    assert!(id.starts_with("wamid."), "{answer}");
    assert_eq!(answer["contacts"][0]["wa_id"], "919800000001");
    stand.settle().await;
    assert_eq!(stand.statuses(), ["sent"]);
    stand.advance(4).await;
    assert_eq!(stand.statuses(), ["sent"], "not before its time");
    stand.advance(1).await;
    assert_eq!(stand.statuses(), ["sent", "delivered"]);
    stand.advance(7200).await;
    assert_eq!(stand.statuses(), ["sent", "delivered", "read"]);
    let status = &stand.arrived()[2].json["entry"][0]["changes"][0]["value"]["statuses"][0];
    assert_eq!((&status["id"], &status["biz_opaque_callback_data"]), (&json!(id), &json!("ours-1")));
    assert_eq!(status["recipient_id"], "919800000001");
    assert_eq!(stand.simulator.calls_to(ASHA).await[0].status, "read");
    stand.simulator.idle().await;
}

#[tokio::test]
async fn a_person_answers_with_text_and_touches_a_button() {
    let stand = Stand::start().await;
    let script = open().choose(Span::seconds(3), Choice::Place(2)).reply(Span::seconds(9), "thanks");
    stand.simulator.handset(ASHA, Handset { name: Some("Asha".into()), ..Handset::whatsapp(script) }).unwrap();
    stand.whatsapp(buttons()).await.error_for_status().unwrap();
    let id = stand.simulator.calls().await[0].id.clone();
    stand.advance(10).await;
    let inbound = stand.whatsapp_inbound();
    assert_eq!(inbound[0]["interactive"]["button_reply"], json!({ "id": "no-7", "title": "No" }));
    assert_eq!(inbound[0]["context"]["id"], json!(id));
    assert_eq!(inbound[1]["text"]["body"], "thanks");
    assert_eq!(inbound[1]["from"], "919800000001");
    let last = stand.arrived().pop().unwrap();
    let contact = &last.json["entry"][0]["changes"][0]["value"]["contacts"][0];
    assert_eq!(contact["profile"]["name"], "Asha");
    assert_eq!(contact["user_id"], inbound[1]["from_user_id"]);
}

#[tokio::test]
async fn a_row_of_a_list_is_chosen_by_its_title() {
    let stand = Stand::start().await;
    let script = open().choose(Span::seconds(1), Choice::Named("Good".into()));
    stand.simulator.handset(ASHA, Handset::whatsapp(script)).unwrap();
    let list = json!({ "messaging_product": "whatsapp", "to": ASHA, "type": "interactive", "interactive": { "type": "list",
        "body": { "text": "Rate us" }, "action": { "button": "Rate", "sections": [{ "title": "All", "rows": [
            { "id": "r1", "title": "Bad" }, { "id": "r2", "title": "Good", "description": "four stars" } ] }] } } });
    stand.whatsapp(list).await.error_for_status().unwrap();
    stand.advance(1).await;
    let reply = &stand.whatsapp_inbound()[0]["interactive"]["list_reply"];
    assert_eq!(*reply, json!({ "id": "r2", "title": "Good", "description": "four stars" }));
}

#[tokio::test]
async fn a_choice_that_the_message_does_not_have_is_counted() {
    let stand = Stand::start().await;
    stand.simulator.handset(ASHA, Handset::whatsapp(open().choose(Span::seconds(1), Choice::Place(1)))).unwrap();
    stand.whatsapp(text("no buttons here")).await;
    stand.advance(5).await;
    assert_eq!(stand.whatsapp_inbound().len(), 0);
    assert_eq!(stand.simulator.stats().unplayable, 1);
}

#[tokio::test]
async fn a_number_without_whatsapp_fails_after_acceptance() {
    let stand = Stand::start().await;
    let script = MessageScript { not_on_whatsapp: true, ..MessageScript::default() };
    stand.simulator.handset(ASHA, Handset::whatsapp(script)).unwrap();
    assert_eq!(stand.whatsapp(template()).await.status(), 200);
    stand.advance(1).await;
    assert_eq!(stand.statuses(), ["failed"]);
    let status = &stand.arrived()[0].json["entry"][0]["changes"][0]["value"]["statuses"][0];
    assert_eq!(status["errors"][0]["code"], 131026);
    assert_eq!(stand.simulator.calls().await[0].error_code, Some(131026));
}

#[tokio::test]
async fn free_text_needs_an_open_service_window() {
    let stand = Stand::start().await;
    stand.whatsapp(text("hello")).await.error_for_status().unwrap();
    stand.advance(2).await;
    assert_eq!(stand.statuses(), ["failed"]);
    stand.simulator.inbound(Inbound::whatsapp(ASHA, "hi")).await.unwrap();
    stand.whatsapp(text("hello again")).await;
    stand.advance(2).await;
    assert_eq!(stand.statuses(), ["failed", "sent", "delivered"]);
    stand.advance(24 * 3600).await;
    stand.whatsapp(text("too late")).await;
    stand.whatsapp(template()).await;
    stand.advance(2).await;
    let mut last: Vec<String> = stand.statuses().split_off(3);
    last.sort();
    assert_eq!(last, ["delivered", "failed", "sent"], "the text fails, the template passes");
}

#[tokio::test]
async fn receipts_can_come_twice_and_out_of_order() {
    let stand = Stand::start().await;
    let script =
        MessageScript { duplicates: 1, deliver_after: When::seconds(5), ..open() }.read_after(Span::seconds(2));
    stand.simulator.handset(ASHA, Handset::whatsapp(script.reply(Span::seconds(6), "ok"))).unwrap();
    stand.whatsapp(template()).await;
    stand.advance(10).await;
    assert_eq!(stand.statuses(), ["sent", "sent", "read", "read", "delivered", "delivered"]);
    let inbound = stand.whatsapp_inbound();
    assert_eq!(inbound.len(), 2);
    assert_eq!(inbound[0], inbound[1], "a repeated message keeps its id");
}

#[tokio::test]
async fn a_person_with_a_username_is_known_by_user_id_only() {
    let stand = Stand::start().await;
    let handset = Handset { hide_number: true, user_id: Some("IN.777".into()), ..Handset::default() };
    stand.simulator.handset(ASHA, handset).unwrap();
    stand.simulator.inbound(Inbound::whatsapp(ASHA, "hi")).await.unwrap();
    stand.settle().await;
    let message = stand.whatsapp_inbound().remove(0);
    assert_eq!((message.get("from"), &message["from_user_id"]), (None, &json!("IN.777")));
    let mut to_user = text("hello");
    to_user["to"] = Value::Null;
    to_user["recipient"] = json!("IN.777");
    stand.whatsapp(to_user).await.error_for_status().unwrap();
    assert_eq!(stand.simulator.calls().await[0].to, ASHA);
}

#[tokio::test]
async fn replies_can_depend_on_the_message() {
    let stand = Stand::start().await;
    let mut script = open().reply(Span::seconds(1), "one").reply(Span::seconds(1), "two");
    script.replies[0].message = Some(1);
    script.replies[1].if_contains = Some("second".into());
    stand.simulator.handset(ASHA, Handset::whatsapp(script)).unwrap();
    for body in ["the first", "the second"] {
        stand.whatsapp(text(body)).await;
        stand.advance(5).await;
    }
    let words: Vec<_> = stand.whatsapp_inbound().iter().map(|m| m["text"]["body"].clone()).collect();
    assert_eq!(words, ["one", "two"]);
}

#[tokio::test]
async fn credentials_and_paths_are_checked_as_meta_does() {
    let stand = Stand::start().await;
    let base = &stand.simulator.base_url;
    let get = |path: &str, token: &str| stand.client.get(format!("{base}{path}")).bearer_auth(token).send();
    let good = get("/v23.0/106540352242922", "simulated-meta-token").await.unwrap();
    assert_eq!(good.json::<Value>().await.unwrap()["id"], "106540352242922");
    let wrong = get("/v23.0/106540352242922", "other").await.unwrap();
    assert_eq!(wrong.status(), 401);
    assert_eq!(wrong.json::<Value>().await.unwrap()["error"]["code"], 190);
    let unknown = get("/v23.0/1", "simulated-meta-token").await.unwrap();
    assert_eq!(unknown.json::<Value>().await.unwrap()["error"]["error_subcode"], 33);
    let number = json!({ "messaging_product": "whatsapp", "to": "12", "type": "text", "text": { "body": "x" } });
    assert_eq!(stand.whatsapp(number).await.json::<Value>().await.unwrap()["error"]["code"], 131009);
    assert_eq!(stand.simulator.stats().refused.values().sum::<u64>(), 3);
}

#[tokio::test]
async fn the_webhook_address_is_verified_by_handshake() {
    let stand = Stand::start().await;
    stand.simulator.verify_meta_webhook("right").await.unwrap();
    assert!(stand.simulator.verify_meta_webhook("wrong").await.unwrap_err().contains("challenge"));
}
