//! The SMS connector against a real socket, and its webhooks as Twilio posts them.

use http::{HeaderValue, Method};
use secrecy::SecretString;
use serde_json::json;

use super::*;
use crate::channels::{
    CallStep, ProviderOpt, Refusal, WebhookAnswer,
    forms::Form,
    testing::{DELIVERY, Peer, Play, outbound, phone, settings, text, webhook},
};
use domain::message::Content;

const SID: &str = "AC0123456789abcdef0123456789abcdef";

fn connector(base_url: &str) -> Arc<dyn Connector> {
    build(&settings(json!({"account_sid": SID, "auth_token_env": "TOKEN", "base_url": base_url, "timeout_seconds": 1})))
        .unwrap()
}

async fn sent_with(play: Play) -> Sent {
    let peer = Peer::playing([play]).await;
    connector(&peer.base_url).send(&outbound("+15005550006", text("Hello"))).await
}

fn class(sent: &Sent) -> Option<FailureClass> {
    match sent {
        Sent::Refused(Refusal { class, .. }) => Some(*class),
        _ => None,
    }
}

fn signed(path: &str, query: &str, body: &str) -> WebhookRequest {
    let mut request = webhook(Method::POST, path, query, body.to_owned());
    let signature = signature::sign(&SecretString::from("12345"), &request.url, &Form::parse(body.as_bytes()));
    request.headers.insert(signature::HEADER, HeaderValue::from_str(&signature).unwrap());
    request
}

fn read(path: &str, query: &str, body: &str) -> Result<WebhookFacts, WebhookError> {
    connector("http://127.0.0.1:9").read_webhook(&signed(path, query, body))
}

#[tokio::test]
async fn what_indias_registry_asks_for_goes_under_twilios_names_and_nothing_else_does() {
    let peer = Peer::playing([Play::json(201, json!({"sid": "SM1", "status": "queued"}))]).await;
    let mut message = outbound("SWITCH", text("Hello"));
    message.parameters = [("dlt_entity_id", "1101"), ("dlt_template_id", "1107"), ("colour", "red")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    connector(&peer.base_url).send(&message).await;
    let form = peer.request().form();
    let told: Vec<_> = form.iter().filter(|(key, _)| key.starts_with("Dlt") || key == "colour").cloned().collect();
    let expected = [("DltPEId", "1101"), ("DltTemplateId", "1107")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(told, expected);
}

#[tokio::test]
async fn asks_for_a_message_as_twilio_documents_it() {
    let peer = Peer::playing([Play::json(201, json!({"sid": "SM1", "status": "queued"}))]).await;
    let sent = connector(&peer.base_url).send(&outbound("+15005550006", text("नमस्ते & hello"))).await;
    assert_eq!(sent, Sent::Accepted { provider_message_id: "SM1".to_owned() });
    let asked = peer.request();
    assert_eq!(
        (asked.method.as_str(), asked.path.clone()),
        ("POST", format!("/2010-04-01/Accounts/{SID}/Messages.json"))
    );
    assert_eq!(asked.headers["content-type"], "application/x-www-form-urlencoded");
    assert_eq!(asked.headers["authorization"], "Basic QUMwMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZjoxMjM0NQ==");
    assert!(asked.headers["user-agent"].starts_with("switchboard/"));
    let callback = format!("https://alerts.example.org/webhooks/7/status?d={DELIVERY}&n=2#rc=5&rp=all");
    let pairs =
        [("To", "+919812345678"), ("From", "+15005550006"), ("Body", "नमस्ते & hello"), ("StatusCallback", &callback)];
    assert_eq!(asked.form(), pairs.map(|(key, value)| (key.to_owned(), value.to_owned())));
}

#[tokio::test]
async fn sends_over_a_messaging_service() {
    let peer = Peer::playing([Play::json(201, json!({"sid": "SM2"}))]).await;
    connector(&peer.base_url).send(&outbound("MG0123", text("Hello"))).await;
    let form = peer.request().form();
    assert_eq!(form[1], ("MessagingServiceSid".to_owned(), "MG0123".to_owned()));
    assert!(form.iter().all(|(key, _)| key != "From"));
}

#[tokio::test]
async fn a_refusal_has_the_class_of_its_code_and_no_number_in_its_words() {
    let body = json!({"code": 21610, "message": "Attempt to send to unsubscribed +919812345678", "status": 400});
    let sent = sent_with(Play::json(400, body)).await;
    assert_eq!(class(&sent), Some(FailureClass::OptOut));
    assert!(!format!("{sent:?}").contains("9812345678"));
}

#[tokio::test]
async fn a_code_that_is_not_known_is_settled_by_the_status() {
    assert_eq!(class(&sent_with(Play::json(400, json!({"code": 29999}))).await), Some(FailureClass::Permanent));
    assert_eq!(class(&sent_with(Play::json(401, json!({"code": 29999}))).await), Some(FailureClass::ParkChannel));
    assert!(matches!(sent_with(Play::json(500, json!({"code": 20500}))).await, Sent::Unknown { .. }));
    assert_eq!(class(&sent_with(Play::json(503, json!({"code": 20503}))).await), Some(FailureClass::Temporary));
}

#[tokio::test]
async fn too_many_requests_carry_the_wait() {
    let answer = "HTTP/1.1 429 Slow\r\nRetry-After: 3\r\nContent-Length: 14\r\n\r\n{\"code\":20429}";
    let Sent::Refused(refusal) = sent_with(Play::Raw(answer.as_bytes().to_vec())).await else { panic!("not refused") };
    assert_eq!(refusal.class, FailureClass::Throttled);
    assert_eq!(refusal.retry_after, Some(std::time::Duration::from_secs(3)));
}

#[tokio::test]
async fn garbage_silence_and_bare_server_errors_are_not_known() {
    for play in [
        Play::Answer(201, "text/html", "<html>".to_owned()),
        Play::json(201, json!({"status": "queued"})),
        Play::Answer(502, "text/html", "Bad gateway".to_owned()),
        Play::Answer(201, "application/json", "x".repeat(1 << 20)),
        Play::Raw(b"HTTP/1.1 nonsense\r\n\r\n".to_vec()),
        Play::Silence,
        Play::Close,
    ] {
        assert!(matches!(sent_with(play).await, Sent::Unknown { .. }));
    }
}

#[tokio::test]
async fn a_refused_connection_was_not_sent() {
    let nobody = Peer::address_that_refuses().await;
    let sent = connector(&nobody).send(&outbound("+15005550006", text("Hello"))).await;
    assert!(matches!(sent, Sent::NotSent { .. }), "{sent:?}");
}

fn question() -> Question {
    Question {
        delivery_id: DELIVERY,
        attempt: 1,
        to: phone("+919812345678"),
        from: "+15005550006".to_owned(),
        content: text("Hello"),
        started_at: "2026-11-20T10:00:00.700Z".parse().unwrap(),
    }
}

fn listed(sid: &str, body: &str, created: &str) -> serde_json::Value {
    json!({"sid": sid, "body": body, "from": "+15005550006", "to": "+919812345678", "direction": "outbound-api",
        "date_created": created, "status": "queued"})
}

async fn answer_to(messages: Vec<serde_json::Value>, next: Option<&str>) -> Answer {
    let body = json!({"messages": messages, "next_page_uri": next});
    let peer = Peer::playing([Play::json(200, body)]).await;
    let answer = connector(&peer.base_url).ask(&question()).await;
    let asked = peer.request();
    assert_eq!(asked.query, "To=%2B919812345678&PageSize=100");
    assert_eq!((asked.method.as_str(), asked.path), ("GET", format!("/2010-04-01/Accounts/{SID}/Messages.json")));
    answer
}

#[tokio::test]
async fn finds_the_message_of_an_unknown_attempt_by_words_and_time() {
    let same = listed("SM7", "Hello", "Fri, 20 Nov 2026 10:00:00 +0000");
    let other_words = listed("SM6", "Good morning", "Fri, 20 Nov 2026 10:00:00 +0000");
    let yesterday = listed("SM5", "Hello", "Thu, 19 Nov 2026 10:00:00 +0000");
    let has = Answer::Has { provider_message_id: "SM7".to_owned() };
    assert_eq!(answer_to(vec![same.clone(), other_words.clone(), yesterday.clone()], None).await, has);
    assert_eq!(answer_to(vec![other_words.clone(), yesterday], Some("/next")).await, Answer::HasNot);
    assert_eq!(answer_to(vec![], None).await, Answer::HasNot);
    assert_eq!(answer_to(vec![same.clone(), same], None).await, Answer::CannotSay);
    assert_eq!(answer_to(vec![other_words], Some("/next")).await, Answer::CannotSay);
}

#[test]
fn recognises_its_words_behind_a_prefix_and_through_smart_encoding() {
    assert!(says_the_same("Sent from your Twilio trial account - Hello", "Hello"));
    assert!(says_the_same("It's \"done\" - really", "It\u{2019}s \u{201c}done\u{201d} \u{2013} really "));
    assert!(says_the_same("\u{1f44d}", "\u{1f44d}"));
    assert!(!says_the_same("Good morning", "\u{1f44d}"));
    assert!(!says_the_same("Hello there", "Hello"));
}

#[tokio::test]
async fn cannot_say_when_the_list_cannot_be_had() {
    let peer = Peer::playing([Play::Answer(500, "text/plain", String::new())]).await;
    assert_eq!(connector(&peer.base_url).ask(&question()).await, Answer::CannotSay);
}

#[test]
fn statuses_prove_what_they_say_and_carry_our_ids() {
    for (status, evidence) in [
        ("queued", Evidence::Sent),
        ("sent", Evidence::Sent),
        ("delivered", Evidence::Delivered),
        ("read", Evidence::Read),
        ("undelivered", Evidence::Failed),
        ("failed", Evidence::Failed),
        ("canceled", Evidence::Failed),
    ] {
        let body = format!("MessageSid=SM1&MessageStatus={status}&ErrorCode=30005&To=%2B919812345678");
        let facts = read("/status", &format!("d={DELIVERY}&n=2"), &body).unwrap();
        assert_eq!(facts.receipts.len(), 1, "{status}");
        let receipt = &facts.receipts[0];
        assert_eq!((receipt.evidence, receipt.echo), (evidence, Some((DELIVERY, 2))), "{status}");
        assert_eq!(receipt.failure.is_some(), evidence == Evidence::Failed, "{status}");
    }
    let facts = read("/status", "", "MessageSid=SM1&MessageStatus=undelivered&ErrorCode=30003").unwrap();
    assert_eq!(facts.receipts[0].failure.as_ref().unwrap().class, FailureClass::Temporary);
    assert_eq!(facts.receipts[0].echo, None);
}

#[test]
fn a_status_of_the_future_is_acknowledged_and_says_nothing() {
    let facts = read("/status", "", "MessageSid=SM1&MessageStatus=pondering").unwrap();
    assert!(facts.receipts.is_empty());
}

#[test]
fn a_message_from_a_person_is_read_with_its_opt_out() {
    let body = "MessageSid=SM9&From=%2B919812345678&To=%2B15005550006&Body=Stop&NumMedia=0&OptOutType=STOP";
    let facts = read("/inbound", "", body).unwrap();
    let inbound = &facts.inbound[0];
    assert_eq!(inbound.provider_message_id, "SM9");
    assert_eq!(inbound.from, [phone("+919812345678")]);
    assert_eq!((inbound.to.as_str(), &inbound.content), ("+15005550006", &text("Stop")));
    assert_eq!(inbound.provider_opt, Some(ProviderOpt::Out));
    assert!(matches!(&facts.answer, WebhookAnswer::Body { body, .. } if body.ends_with("<Response/>")));
}

#[test]
fn pictures_become_messages_and_the_first_has_the_words() {
    let body = "MessageSid=MM9&From=%2B919812345678&To=%2B1500&Body=Look&NumMedia=2&MediaUrl0=https%3A%2F%2Fm%2F0\
        &MediaContentType0=image%2Fjpeg&MediaUrl1=https%3A%2F%2Fm%2F1&MediaContentType1=image%2Fpng";
    let inbound = read("/inbound", "", body).unwrap().inbound;
    assert_eq!(inbound.iter().map(|fact| fact.provider_message_id.as_str()).collect::<Vec<_>>(), ["MM9", "MM9:1"]);
    assert!(matches!(&inbound[0].content, Content::Media { caption: Some(words), .. } if words == "Look"));
    assert!(matches!(&inbound[1].content, Content::Media { caption: None, .. }));
}

#[test]
fn a_machine_that_writes_is_left_out() {
    let facts = read("/inbound", "", "MessageSid=SM9&From=AX-BANK&To=%2B15005550006&Body=Hi").unwrap();
    assert!(facts.inbound.is_empty());
}

#[test]
fn refuses_what_is_unsigned_incomplete_or_elsewhere() {
    let mut unsigned = signed("/status", "", "MessageSid=SM1&MessageStatus=sent");
    unsigned.headers.clear();
    let connector = connector("http://127.0.0.1:9");
    assert!(matches!(connector.read_webhook(&unsigned), Err(WebhookError::Forbidden(_))));
    assert!(matches!(read("/status", "", "MessageStatus=sent"), Err(WebhookError::Malformed(_))));
    assert!(matches!(read("/inbound", "", "{}"), Err(WebhookError::Malformed(_))));
    assert_eq!(read("/elsewhere", "", "").unwrap_err(), WebhookError::NotFound);
    let step = CallStep { delivery_id: DELIVERY, attempt: 1, round: 0, digits: None, machine: false };
    assert_eq!(connector.script(&text("Hello"), &step, "").unwrap_err(), WebhookError::NotFound);
}

#[tokio::test]
async fn the_check_proves_the_account() {
    let check = async |status, body| {
        let peer = Peer::playing([Play::json(status, body)]).await;
        let outcome = connector(&peer.base_url).check().await;
        assert_eq!(peer.request().path, format!("/2010-04-01/Accounts/{SID}.json"));
        outcome
    };
    assert_eq!(check(200, json!({"status": "active"})).await, Ok(()));
    assert!(check(200, json!({"status": "suspended"})).await.unwrap_err().contains("suspended"));
    assert!(check(401, json!({"code": 20003})).await.unwrap_err().contains("credentials"));
}

#[test]
fn an_account_that_is_none_is_refused() {
    let problems =
        build(&settings(json!({"account_sid": "AC12", "auth_token_env": "TOKEN"}))).expect_err("a short account");
    assert_eq!(problems[0].field, "account_sid");
}
