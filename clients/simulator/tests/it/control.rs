//! The control API: the library's powers over HTTP.

use http::Method;
use serde_json::{Value, json};
use simulator::ClockMode;

use crate::receiver::Stand;

const RAVI: &str = "+919800000002";
const US: &str = "+15550001111";

async fn control(stand: &Stand, method: Method, path: &str, body: Value) -> (u16, Value) {
    let url = format!("{}/control/{path}", stand.simulator.base_url);
    let request = stand.client.request(method, url);
    let answer = if body.is_null() { request } else { request.json(&body) }.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap_or_default())
}

async fn send(stand: &Stand) {
    let callback = format!("{}/status", stand.base);
    let form = [("To", RAVI), ("From", US), ("Body", "x"), ("StatusCallback", callback.as_str())];
    stand.twilio("Messages.json", &form).send().await.unwrap().error_for_status().unwrap();
}

#[tokio::test]
async fn handsets_and_defaults_are_set_shown_and_taken_away() {
    let stand = Stand::start().await;
    let path = format!("handsets/{RAVI}");
    assert_eq!(control(&stand, Method::GET, &path, Value::Null).await.0, 404);
    let script = json!({ "sms": { "deliver_after": "2s", "replies": [{ "after": 3, "text": "ok" }] } });
    let (status, shown) = control(&stand, Method::PUT, &path, script).await;
    assert_eq!((status, &shown["sms"]["deliver_after"]), (200, &json!(2.0)));
    let (status, refused) = control(&stand, Method::PUT, &path, json!({ "sms": { "read_after": 1 } })).await;
    assert_eq!(status, 400);
    assert!(refused["error"].as_str().unwrap().contains("read_after"), "{refused}");
    assert_eq!(control(&stand, Method::PUT, "handsets/12", json!({})).await.0, 400);
    assert_eq!(control(&stand, Method::DELETE, &path, Value::Null).await.0, 204);
    let (status, _) = control(&stand, Method::PUT, "defaults", json!({ "sms": { "deliver_after": "never" } })).await;
    assert_eq!(status, 200);
    send(&stand).await;
    stand.advance(10).await;
    assert_eq!(stand.statuses(), ["sent"]);
}

#[tokio::test]
async fn calls_webhooks_and_counts_can_be_asked_for() {
    let stand = Stand::start().await;
    send(&stand).await;
    control(&stand, Method::POST, "clock/advance", json!({ "seconds": 5 })).await;
    let (_, calls) = control(&stand, Method::GET, "calls?to=+919800000002&channel=sms", Value::Null).await;
    assert_eq!((&calls["calls"][0]["body"], &calls["calls"][0]["status"]), (&json!("x"), &json!("delivered")));
    let (_, none) = control(&stand, Method::GET, "calls?to=%2B919800000009", Value::Null).await;
    assert_eq!(none["calls"], json!([]));
    let (_, webhooks) = control(&stand, Method::GET, "webhooks?kind=status&limit=1", Value::Null).await;
    assert_eq!((&webhooks["webhooks"][0]["event"], &webhooks["left_out"]), (&json!("delivered"), &json!(1)));
    assert_eq!(webhooks["webhooks"][0]["status"], 200);
    let (_, stats) = control(&stand, Method::GET, "stats", Value::Null).await;
    assert_eq!((&stats["accepted"]["sms"], &stats["webhooks_answered"]), (&json!(1), &json!(2)));
    assert_eq!(control(&stand, Method::GET, "calls?color=red", Value::Null).await.0, 400);
}

#[tokio::test]
async fn a_person_writes_on_command() {
    let stand = Stand::start().await;
    let sms = json!({ "channel": "sms", "from": RAVI, "to": US, "text": "hello" });
    assert_eq!(control(&stand, Method::POST, "inbound", sms).await.0, 202);
    let photo = json!({ "type": "image", "image": { "id": "9", "mime_type": "image/jpeg" } });
    let whatsapp = json!({ "channel": "whatsapp", "from": RAVI, "content": photo, "context": "wamid.1" });
    assert_eq!(control(&stand, Method::POST, "inbound", whatsapp).await.0, 202);
    let (status, refused) =
        control(&stand, Method::POST, "inbound", json!({ "channel": "sms", "from": RAVI, "text": "x" })).await;
    assert_eq!(status, 400);
    assert!(refused["error"].as_str().unwrap().starts_with("to:"), "{refused}");
    stand.settle().await;
    assert!(stand.arrived().iter().any(|a| a.form.get("Body").is_some_and(|body| body == "hello")));
    let message = stand.whatsapp_inbound().remove(0);
    assert_eq!((&message["image"]["id"], &message["context"]["id"]), (&json!("9"), &json!("wamid.1")));
}

#[tokio::test]
async fn a_reset_forgets_everything_and_stops_what_was_to_come() {
    let stand = Stand::start().await;
    stand.answer_next(&[500]);
    let form = json!({ "messaging_product": "whatsapp", "to": RAVI, "type": "template",
        "template": { "name": "welcome", "language": { "code": "en" } } });
    stand.whatsapp(form).await.error_for_status().unwrap();
    stand.settle().await;
    assert_eq!(stand.simulator.stats().pending, 2, "a delivery and the repetition of a webhook");
    assert_eq!(control(&stand, Method::POST, "reset", Value::Null).await.0, 204);
    stand.simulator.idle().await;
    stand.advance(100).await;
    assert_eq!(stand.statuses(), ["sent"], "both were taken off");
    assert_eq!(stand.simulator.stats(), simulator::Stats::default());
}

#[tokio::test]
async fn in_real_time_things_happen_by_themselves_and_can_be_hurried() {
    let stand = Stand::start_with(|config| config.clock = ClockMode::Real).await;
    let script = json!({ "sms": { "deliver_after": "50ms", "replies": [{ "after": "2h", "text": "late" }] } });
    control(&stand, Method::PUT, &format!("handsets/{RAVI}"), script).await;
    send(&stand).await;
    let patience = std::time::Duration::from_secs(10);
    let delivered = async {
        while stand.statuses() != ["sent", "delivered"] {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(patience, delivered).await.expect("it is delivered by itself");
    let (_, clock) = control(&stand, Method::POST, "clock/advance", json!({ "seconds": "3h" })).await;
    assert!(clock["now"].is_string());
    tokio::time::timeout(patience, stand.simulator.idle()).await.expect("nothing is left");
    assert_eq!(stand.arrived().last().unwrap().form["Body"], "late");
}
