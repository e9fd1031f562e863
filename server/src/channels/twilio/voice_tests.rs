//! The voice connector against a real socket, and a call's webhooks as Twilio posts them.

use http::{HeaderValue, Method};
use secrecy::SecretString;
use serde_json::json;

use super::*;
use crate::channels::{
    forms::Form,
    testing::{DELIVERY, Peer, Play, outbound, phone, settings, text, webhook},
};

const SID: &str = "AC0123456789abcdef0123456789abcdef";

fn connector(base_url: &str, detection: &str) -> Arc<dyn Connector> {
    build(&settings(json!({"account_sid": SID, "auth_token_env": "TOKEN", "base_url": base_url,
        "timeout_seconds": 1, "machine_detection": detection})))
    .unwrap()
}

fn script() -> Content {
    Content::Voice { say: "Press 1".to_owned(), language: "en-IN".to_owned(), keys: vec![], repeat: 2, thanks: None }
}

fn read_with(detection: &str, path: &str, query: &str, body: &str) -> Result<WebhookFacts, WebhookError> {
    let mut request = webhook(Method::POST, path, query, body.to_owned());
    let signature = signature::sign(&SecretString::from("12345"), &request.url, &Form::parse(body.as_bytes()));
    request.headers.insert(signature::HEADER, HeaderValue::from_str(&signature).unwrap());
    connector("http://127.0.0.1:9", detection).read_webhook(&request)
}

fn ids() -> String {
    format!("d={DELIVERY}&n=2")
}

#[tokio::test]
async fn places_a_call_as_twilio_documents_it() {
    let peer = Peer::playing([Play::json(201, json!({"sid": "CA1", "status": "queued"}))]).await;
    let sent = connector(&peer.base_url, "enable").send(&outbound("+15005550006", script())).await;
    assert_eq!(sent, Sent::Accepted { provider_message_id: "CA1".to_owned() });
    let asked = peer.request();
    assert_eq!((asked.method.as_str(), asked.path.clone()), ("POST", format!("/2010-04-01/Accounts/{SID}/Calls.json")));
    let ids = ids();
    let (script_url, status_url) = (
        format!("https://alerts.example.org/webhooks/7/voice?{ids}#rc=5&rp=all"),
        format!("https://alerts.example.org/webhooks/7/status?{ids}#rc=5&rp=all"),
    );
    let pairs = [
        ("To", "+919812345678"),
        ("From", "+15005550006"),
        ("Url", &script_url),
        ("Method", "POST"),
        ("StatusCallback", &status_url),
        ("StatusCallbackMethod", "POST"),
        ("StatusCallbackEvent", "initiated"),
        ("StatusCallbackEvent", "ringing"),
        ("StatusCallbackEvent", "answered"),
        ("StatusCallbackEvent", "completed"),
        ("Timeout", "30"),
        ("MachineDetection", "Enable"),
    ];
    assert_eq!(asked.form(), pairs.map(|(key, value)| (key.to_owned(), value.to_owned())));
}

#[tokio::test]
async fn asks_for_no_detection_when_it_is_off() {
    let peer = Peer::playing([Play::json(201, json!({"sid": "CA1"}))]).await;
    connector(&peer.base_url, "off").send(&outbound("+15005550006", script())).await;
    assert!(peer.request().form().iter().all(|(key, _)| key != "MachineDetection"));
}

#[tokio::test]
async fn words_that_are_no_script_are_refused_without_a_call() {
    let peer = Peer::playing([]).await;
    let sent = connector(&peer.base_url, "enable").send(&outbound("+15005550006", text("Hello"))).await;
    assert!(matches!(sent, Sent::Refused(Refusal { class: FailureClass::Permanent, .. })));
    assert!(peer.requests().is_empty());
}

#[test]
fn the_end_of_a_call_proves_who_was_reached() {
    for (body, evidence, failure) in [
        ("CallStatus=ringing", Evidence::Sent, None),
        ("CallStatus=in-progress", Evidence::Sent, None),
        ("CallStatus=completed&AnsweredBy=human", Evidence::Read, None),
        ("CallStatus=completed&AnsweredBy=unknown", Evidence::Delivered, None),
        ("CallStatus=completed", Evidence::Sent, None),
        ("CallStatus=completed&AnsweredBy=machine_start", Evidence::Failed, Some((FailureClass::FallOver, "machine"))),
        ("CallStatus=completed&AnsweredBy=fax", Evidence::Failed, Some((FailureClass::FallOver, "machine"))),
        ("CallStatus=busy", Evidence::Failed, Some((FailureClass::Temporary, "busy"))),
        ("CallStatus=no-answer", Evidence::Failed, Some((FailureClass::Temporary, "no-answer"))),
        ("CallStatus=canceled", Evidence::Failed, Some((FailureClass::FallOver, "canceled"))),
        ("CallStatus=failed&SipResponseCode=404", Evidence::Failed, Some((FailureClass::FallOver, "sip-404"))),
        ("CallStatus=failed&SipResponseCode=503", Evidence::Failed, Some((FailureClass::Temporary, "sip-503"))),
        ("CallStatus=failed&ErrorCode=13224", Evidence::Failed, Some((FailureClass::FallOver, "13224"))),
        ("CallStatus=failed", Evidence::Failed, Some((FailureClass::FallOver, "failed"))),
    ] {
        let body = format!("CallSid=CA1&{body}&Timestamp=Fri%2C+20+Nov+2026+10%3A00%3A00+%2B0000");
        let receipt = read_with("enable", "/status", &ids(), &body).unwrap().receipts.remove(0);
        assert_eq!((receipt.evidence, receipt.echo), (evidence, Some((DELIVERY, 2))), "{body}");
        let seen = receipt.failure.as_ref().map(|refusal| (refusal.class, refusal.code.as_str()));
        assert_eq!(seen, failure, "{body}");
        assert_eq!(receipt.provider_time, Some("2026-11-20T10:00:00Z".parse().unwrap()));
    }
    let undetected = read_with("off", "/status", &ids(), "CallSid=CA1&CallStatus=completed").unwrap();
    assert_eq!(undetected.receipts[0].evidence, Evidence::Delivered);
}

#[test]
fn an_answered_call_asks_for_its_script() {
    let body = "CallSid=CA1&CallStatus=in-progress&AnsweredBy=human&Direction=outbound-api";
    let facts = read_with("enable", "/voice", &ids(), body).unwrap();
    let step = CallStep { delivery_id: DELIVERY, attempt: 2, round: 0, digits: None, machine: false };
    assert_eq!(facts.call, Some(step));
    assert_eq!(facts.receipts[0].evidence, Evidence::Read);
    assert!(facts.inbound.is_empty());
}

#[test]
fn a_machine_is_noted_when_the_script_is_fetched() {
    let facts = read_with("enable", "/voice", &ids(), "CallSid=CA1&AnsweredBy=machine_end_beep").unwrap();
    assert!(facts.call.unwrap().machine);
    assert_eq!(facts.receipts[0].failure.as_ref().unwrap().code, "machine");
}

#[test]
fn a_key_is_a_message_from_the_person_under_an_id_of_its_round() {
    let body = "CallSid=CA1&Digits=1&To=%2B919812345678&From=%2B15005550006&Direction=outbound-api";
    let facts = read_with("enable", "/voice", &format!("{}&r=2", ids()), body).unwrap();
    let key = &facts.inbound[0];
    assert_eq!(key.provider_message_id, "CA1:2");
    assert_eq!(key.from, [phone("+919812345678")]);
    assert_eq!(key.to, "+15005550006");
    assert_eq!(key.content, Content::Key { digits: "1".to_owned() });
    assert_eq!((key.delivery_id, key.in_reply_to.as_deref()), (Some(DELIVERY), Some("CA1")));
    let step = facts.call.unwrap();
    assert_eq!((step.round, step.digits.as_deref()), (2, Some("1")));
    assert_eq!(facts.receipts[0].evidence, Evidence::Read);
}

#[test]
fn a_call_that_is_not_ours_finds_nothing() {
    let body = "CallSid=CA1&Direction=inbound&From=%2B919812345678&To=%2B15005550006";
    assert_eq!(read_with("enable", "/voice", "", body).unwrap_err(), WebhookError::NotFound);
    assert_eq!(read_with("enable", "/inbound", "", body).unwrap_err(), WebhookError::NotFound);
    let wrong_round = read_with("enable", "/voice", &format!("{}&r=many", ids()), body);
    assert!(matches!(wrong_round, Err(WebhookError::Malformed(_))));
}

#[tokio::test]
async fn finds_the_call_of_an_unknown_attempt() {
    let question = Question {
        delivery_id: DELIVERY,
        attempt: 1,
        to: phone("+919812345678"),
        from: "+15005550006".to_owned(),
        content: script(),
        started_at: "2026-11-20T10:00:00Z".parse().unwrap(),
    };
    let call = |sid: &str, created: &str| json!({"sid": sid, "direction": "outbound-api", "date_created": created});
    let ours = call("CA7", "Fri, 20 Nov 2026 10:00:01 +0000");
    let earlier = call("CA6", "Fri, 20 Nov 2026 09:00:01 +0000");
    for (calls, answer) in [
        (vec![ours.clone(), earlier.clone()], Answer::Has { provider_message_id: "CA7".to_owned() }),
        (vec![earlier], Answer::HasNot),
        (vec![ours.clone(), ours], Answer::CannotSay),
    ] {
        let peer = Peer::playing([Play::json(200, json!({"calls": calls}))]).await;
        assert_eq!(connector(&peer.base_url, "enable").ask(&question).await, answer);
        assert_eq!(peer.request().query, "To=%2B919812345678&From=%2B15005550006&PageSize=100");
    }
}
