//! SMS handsets behind Twilio's Messages.

use serde_json::Value;
use simulator::Inbound;
use simulator::script::{Failure, Handset, MessageScript, Span, When};

use crate::receiver::Stand;

const RAVI: &str = "+919800000002";
const US: &str = "+15550001111";

async fn send(stand: &Stand, body: &str) -> reqwest::Response {
    let callback = format!("{}/status?delivery=42#rc=2&rp=all", stand.base);
    let form = [("To", RAVI), ("From", US), ("Body", body), ("StatusCallback", callback.as_str())];
    stand.twilio("Messages.json", &form).send().await.unwrap()
}

async fn code_of(answer: reqwest::Response) -> Value {
    answer.json::<Value>().await.unwrap()["code"].clone()
}

#[tokio::test]
async fn an_sms_is_accepted_sent_delivered_and_answered() {
    let stand = Stand::start().await;
    stand.simulator.handset(RAVI, Handset::sms(MessageScript::silent().reply(Span::seconds(5), "YES please"))).unwrap();
    let answer = send(&stand, "Hello").await;
    assert_eq!(answer.status(), 201);
    let answer: Value = answer.json().await.unwrap();
    assert_eq!((&answer["status"], &answer["to"]), (&"queued".into(), &RAVI.into()));
    stand.settle().await;
    stand.advance(6).await;
    assert_eq!(stand.statuses(), ["sent", "delivered"]);
    let arrived = stand.arrived();
    assert_eq!(arrived[0].path, "/status");
    assert_eq!(arrived[0].form["MessageSid"], answer["sid"].as_str().unwrap());
    let inbound = arrived.iter().find(|a| a.path == "/inbound").unwrap();
    assert_eq!((&*inbound.form["From"], &*inbound.form["To"], &*inbound.form["Body"]), (RAVI, US, "YES please"));
    assert_eq!(stand.simulator.calls().await[0].reference.as_deref(), Some("delivery=42"));
}

#[tokio::test]
async fn a_failure_is_reported_with_its_code_and_can_pass_after_some_times() {
    let stand = Stand::start().await;
    let fail = Some(Failure { code: 30003, sync: false, after: Span::seconds(2), times: Some(1) });
    stand.simulator.handset(RAVI, Handset::sms(MessageScript { fail, ..MessageScript::default() })).unwrap();
    send(&stand, "one").await;
    stand.advance(3).await;
    assert_eq!(stand.statuses(), ["sent", "undelivered"]);
    assert_eq!(stand.arrived()[1].form["ErrorCode"], "30003");
    send(&stand, "two").await;
    stand.advance(3).await;
    assert_eq!(stand.statuses()[2..], ["sent", "delivered"]);
}

#[tokio::test]
async fn what_twilio_cannot_hand_to_a_carrier_has_failed() {
    let stand = Stand::start().await;
    stand.simulator.handset(RAVI, Handset::sms(MessageScript::silent().fail(30001))).unwrap();
    send(&stand, "one").await;
    stand.advance(3).await;
    assert_eq!(stand.statuses(), ["failed"]);
}

#[tokio::test]
async fn a_phone_that_is_off_gets_nothing() {
    let stand = Stand::start().await;
    let script = MessageScript { deliver_after: When::Never, ..MessageScript::default() };
    stand.simulator.handset(RAVI, Handset::sms(script)).unwrap();
    send(&stand, "one").await;
    stand.advance(86_400).await;
    assert_eq!(stand.statuses(), ["sent"]);
    stand.simulator.idle().await;
}

#[tokio::test]
async fn requests_are_refused_with_twilios_codes() {
    let stand = Stand::start().await;
    stand.simulator.handset(RAVI, Handset::sms(MessageScript::silent().refuse(21614))).unwrap();
    let long = "x".repeat(1601);
    for (form, code) in [
        (vec![("From", US), ("Body", "x")], 21604),
        (vec![("To", "+919800000003"), ("Body", "x")], 21603),
        (vec![("To", "98000"), ("From", US), ("Body", "x")], 21211),
        (vec![("To", "+919800000003"), ("From", "?"), ("Body", "x")], 21212),
        (vec![("To", "+919800000003"), ("From", US)], 21602),
        (vec![("To", "+919800000003"), ("From", US), ("Body", &long)], 21617),
        (vec![("To", "+919800000003"), ("From", US), ("Body", "x"), ("StatusCallback", "nowhere")], 21609),
        (vec![("To", "+919800000003"), ("MessagingServiceSid", "MGxyz"), ("Body", "x")], 21701),
        (vec![("To", RAVI), ("From", US), ("Body", "x")], 21614),
    ] {
        let answer = stand.twilio("Messages.json", &form).send().await.unwrap();
        assert_eq!(answer.status(), 400);
        assert_eq!(code_of(answer).await, code, "{form:?}");
    }
    assert_eq!(stand.simulator.calls().await.len(), 0);
    let url = format!("{}/2010-04-01/Accounts/AC1/Messages.json", stand.simulator.base_url);
    let wrong = stand.client.post(url).basic_auth("AC1", Some("wrong")).send().await.unwrap();
    assert_eq!(wrong.status(), 401);
    assert_eq!(code_of(wrong).await, 20003);
}

#[tokio::test]
async fn after_stop_sends_are_refused_until_start() {
    let stand = Stand::start().await;
    stand.simulator.inbound(Inbound::sms(RAVI, US, " stop ")).await.unwrap();
    stand.settle().await;
    assert_eq!(stand.arrived()[0].form["Body"], " stop ");
    assert_eq!(code_of(send(&stand, "still there?").await).await, 21610);
    stand.simulator.inbound(Inbound::sms(RAVI, US, "START")).await.unwrap();
    assert_eq!(send(&stand, "welcome back").await.status(), 201);
}

#[tokio::test]
async fn the_list_tells_what_became_of_a_message() {
    let stand = Stand::start().await;
    for body in ["one", "two", "three"] {
        send(&stand, body).await;
    }
    let day = stand.simulator.now().format("%Y-%m-%d");
    let path = format!("Messages.json?To=%2B919800000002&DateSent={day}&PageSize=2");
    let first: Value = stand.twilio_get(&path).await.json().await.unwrap();
    let bodies: Vec<&str> = first["messages"].as_array().unwrap().iter().filter_map(|m| m["body"].as_str()).collect();
    assert_eq!(bodies, ["three", "two"], "newest first");
    let next = format!("{}{}", stand.simulator.base_url, first["next_page_uri"].as_str().unwrap());
    let account = simulator::TwilioAccount::default();
    let second = stand.client.get(next).basic_auth(account.account_sid, Some(account.auth_token)).send().await.unwrap();
    let second: Value = second.json().await.unwrap();
    assert_eq!(second["messages"][0]["body"], "one");
    assert_eq!(second["next_page_uri"], Value::Null);
    let none: Value = stand.twilio_get("Messages.json?To=%2B919800000009").await.json().await.unwrap();
    assert_eq!(none["messages"], Value::Array(Vec::new()));
    let sid = first["messages"][0]["sid"].as_str().unwrap();
    let one: Value = stand.twilio_get(&format!("Messages/{sid}.json")).await.json().await.unwrap();
    assert_eq!(one["body"], "three");
    assert_eq!(stand.twilio_get("Messages/SM0.json").await.status(), 404);
}

#[tokio::test]
async fn the_account_answers_the_credential_check() {
    let stand = Stand::start().await;
    let sid = simulator::TwilioAccount::default().account_sid;
    let url = format!("{}/2010-04-01/Accounts/{sid}.json", stand.simulator.base_url);
    let good = stand.client.get(&url).basic_auth(&sid, Some("simulated-auth-token")).send().await.unwrap();
    assert_eq!(good.json::<Value>().await.unwrap()["status"], "active");
    let wrong = stand.client.get(&url).basic_auth(&sid, Some("other")).send().await.unwrap();
    assert_eq!(wrong.status(), 401);
}
