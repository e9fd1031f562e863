//! Providers and webhook receivers that misbehave.

use std::time::Duration;

use serde_json::{Value, json};
use simulator::script::{Fault, Handset, MessageScript};
use simulator::{Config, KeepRecords, Simulator, StartError};

use crate::receiver::Stand;

const RAVI: &str = "+919800000002";
const US: &str = "+15550001111";

fn form(callback: &str) -> Vec<(&'static str, String)> {
    vec![("To", RAVI.into()), ("From", US.into()), ("Body", "x".into()), ("StatusCallback", callback.into())]
}

async fn send(stand: &Stand, callback: &str) -> reqwest::Result<reqwest::Response> {
    let form = form(callback);
    let form: Vec<(&str, &str)> = form.iter().map(|(k, v)| (*k, v.as_str())).collect();
    stand.twilio("Messages.json", &form).timeout(Duration::from_millis(700)).send().await
}

fn template() -> Value {
    json!({ "messaging_product": "whatsapp", "to": RAVI, "type": "template",
        "template": { "name": "welcome", "language": { "code": "en" } } })
}

fn misbehaving(fault: Fault) -> Handset {
    let script = MessageScript::silent().misbehave(fault, Some(1));
    Handset::sms(script.clone()).with_voice(Default::default()).with_sms(script)
}

#[tokio::test]
async fn an_accepted_message_may_never_be_answered() {
    let stand = Stand::start().await;
    stand.simulator.handset(RAVI, misbehaving(Fault::Timeout)).unwrap();
    let callback = format!("{}/status", stand.base);
    assert!(send(&stand, &callback).await.unwrap_err().is_timeout());
    let calls = stand.simulator.calls().await;
    assert_eq!((calls.len(), calls[0].answer_fault.as_deref()), (1, Some("timeout")));
    stand.advance(2).await;
    assert_eq!(stand.statuses(), ["sent", "delivered"], "the message was sent all the same");
    let list: Value = stand.twilio_get("Messages.json?To=%2B919800000002").await.json().await.unwrap();
    assert_eq!(list["messages"][0]["status"], "delivered", "the provider can be asked");
    assert_eq!(send(&stand, &callback).await.unwrap().status(), 201, "it was to happen once");
}

#[tokio::test]
async fn an_accepted_message_may_be_answered_with_500_or_nonsense() {
    let stand = Stand::start().await;
    stand.simulator.handset(RAVI, misbehaving(Fault::ServerError)).unwrap();
    assert_eq!(send(&stand, "http://127.0.0.1:9/").await.unwrap().status(), 500);
    stand.simulator.handset(RAVI, misbehaving(Fault::Garbage)).unwrap();
    let garbage = send(&stand, "http://127.0.0.1:9/").await.unwrap();
    assert_eq!(garbage.status(), 201);
    assert!(garbage.json::<Value>().await.is_err());
    assert_eq!(stand.simulator.calls().await.len(), 2);
}

#[tokio::test]
async fn a_dropped_connection_has_accepted_nothing() {
    let stand = Stand::start().await;
    stand.simulator.handset(RAVI, misbehaving(Fault::Drop)).unwrap();
    let error = send(&stand, "http://127.0.0.1:9/").await.unwrap_err();
    assert!(!error.is_timeout(), "{error:?}");
    assert_eq!(stand.simulator.calls().await.len(), 0);
    assert_eq!(stand.simulator.stats().dropped, 1);
    assert_eq!(send(&stand, "http://127.0.0.1:9/").await.unwrap().status(), 201);
}

#[tokio::test]
async fn the_first_requests_are_throttled_in_each_providers_words() {
    let stand = Stand::start().await;
    let script = MessageScript { throttle: 2, ..MessageScript::default() };
    stand.simulator.handset(RAVI, Handset::whatsapp(script.clone()).with_sms(script)).unwrap();
    for expected in [429, 429, 201] {
        assert_eq!(send(&stand, "http://127.0.0.1:9/").await.unwrap().status(), expected);
    }
    for expected in [130429, 130429] {
        let answer = stand.whatsapp(template()).await;
        assert_eq!(answer.json::<Value>().await.unwrap()["error"]["code"], expected);
    }
    assert_eq!(stand.whatsapp(template()).await.status(), 200);
    assert_eq!(stand.simulator.stats().refused[&20429], 2);
}

#[tokio::test]
async fn meta_repeats_a_webhook_until_it_is_taken() {
    let stand = Stand::start().await;
    stand.answer_next(&[503, 500]);
    stand.whatsapp(template()).await;
    stand.settle().await;
    assert_eq!(stand.statuses(), ["sent"]);
    stand.advance(10).await;
    let mut statuses = stand.statuses();
    statuses.sort();
    assert_eq!(statuses, ["delivered", "sent", "sent", "sent"]);
    let tries: Vec<_> = stand.simulator.webhooks().await.into_iter().filter(|w| w.event == "sent").collect();
    assert_eq!(
        tries.iter().map(|t| (t.attempt, t.status)).collect::<Vec<_>>(),
        [(1, Some(503)), (2, Some(500)), (3, Some(200))]
    );
    assert_eq!(stand.simulator.stats().webhooks_given_up, 0);
}

#[tokio::test]
async fn twilio_repeats_a_callback_only_as_its_url_asks() {
    let stand = Stand::start().await;
    stand.answer_next(&[500, 200, 500]);
    send(&stand, &format!("{}/status#rc=2&rp=5xx", stand.base)).await.unwrap();
    stand.settle().await;
    stand.advance(1).await;
    assert_eq!(stand.statuses().iter().filter(|s| *s == "sent").count(), 2, "repeated once, then taken");
    let before = stand.simulator.stats().webhooks_given_up;
    stand.answer_next(&[500]);
    send(&stand, &format!("{}/status", stand.base)).await.unwrap();
    stand.settle().await;
    assert!(stand.simulator.stats().webhooks_given_up > before, "without rp a 5xx is not repeated");
}

#[tokio::test]
async fn only_loopback_is_listened_on() {
    let config = Config { listen: "0.0.0.0:0".parse().unwrap(), ..Config::default() };
    assert!(matches!(Simulator::start(config).await, Err(StartError::NotLoopback(_))));
}

#[tokio::test]
async fn an_overloaded_provider_refuses_instead_of_growing() {
    let stand = Stand::start_with(|config| {
        config.max_pending = 3;
        config.records = KeepRecords::Last(2);
    })
    .await;
    let mut answers = Vec::new();
    for _ in 0..6 {
        answers.push(stand.whatsapp(template()).await.status().as_u16());
    }
    assert_eq!(answers.iter().filter(|s| **s == 200).count(), 3, "{answers:?}");
    assert_eq!(answers.last(), Some(&429));
    assert_eq!(stand.simulator.calls().await.len(), 2, "only the newest are remembered");
}

#[tokio::test]
async fn shutdown_ends_while_a_request_is_held() {
    let stand = Stand::start().await;
    stand.simulator.handset(RAVI, misbehaving(Fault::Timeout)).unwrap();
    let held = form("http://127.0.0.1:9/");
    let held: Vec<(&str, &str)> = held.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let waiting = tokio::spawn(stand.twilio("Messages.json", &held).send());
    while stand.simulator.calls().await.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let Stand { simulator, client, .. } = stand;
    drop(client);
    tokio::time::timeout(Duration::from_secs(10), simulator.shutdown()).await.expect("it ends");
    assert!(waiting.await.unwrap().is_err(), "the held call was never answered");
}

#[tokio::test]
async fn thousands_of_messages_at_once_are_all_told_of() {
    const MESSAGES: usize = 2000;
    let stand = std::sync::Arc::new(Stand::start_with(|config| config.records = KeepRecords::Last(100)).await);
    let senders: Vec<_> = (0..20)
        .map(|_| {
            let stand = stand.clone();
            tokio::spawn(async move {
                for _ in 0..MESSAGES / 20 {
                    assert_eq!(stand.whatsapp(template()).await.status(), 200);
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }
    stand.advance(1).await;
    let statuses = stand.statuses();
    assert_eq!(statuses.iter().filter(|s| *s == "sent").count(), MESSAGES);
    assert_eq!(statuses.iter().filter(|s| *s == "delivered").count(), MESSAGES);
    assert_eq!(stand.simulator.calls().await.len(), 100);
    assert_eq!(stand.simulator.stats().accepted[&simulator::Provider::Whatsapp], MESSAGES as u64);
}
