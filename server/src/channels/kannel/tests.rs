//! The Kannel connector against a real socket, and its receipts and messages as Kannel calls them.

use domain::channel::Address;
use http::Method;
use serde_json::json;

use super::*;
use crate::channels::testing::{DELIVERY, Peer, Play, outbound, phone, settings, text, webhook};

fn connector(base_url: &str) -> Arc<dyn Connector> {
    let values = json!({"base_url": base_url, "username": "us", "password_env": "TOKEN", "webhook_token_env": "TOKEN",
        "timeout_seconds": 1});
    build(&settings(values)).unwrap()
}

async fn sent_with(status: u16, body: &str) -> Sent {
    let peer = Peer::playing([Play::Answer(status, "text/plain", body.to_owned())]).await;
    connector(&peer.base_url).send(&outbound("SWITCH", text("Hello"))).await
}

fn class(sent: &Sent) -> Option<FailureClass> {
    match sent {
        Sent::Refused(refusal) => Some(refusal.class),
        _ => None,
    }
}

fn read(method: Method, path: &str, query: &str, body: &str) -> Result<WebhookFacts, WebhookError> {
    connector("http://127.0.0.1:9").read_webhook(&webhook(method, path, query, body.to_owned()))
}

#[tokio::test]
async fn asks_for_a_message_as_kannel_documents_it() {
    let peer = Peer::playing([Play::Answer(202, "text/plain", "0: Accepted for delivery".to_owned())]).await;
    let sent = connector(&peer.base_url).send(&outbound("SWITCH", text("Price 5€ & more"))).await;
    assert_eq!(sent, Sent::Accepted { provider_message_id: format!("{DELIVERY}:2") });
    let asked = peer.request();
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("GET", "/cgi-bin/sendsms"));
    let receipts =
        format!("https://alerts.example.org/webhooks/7/status?d={DELIVERY}&n=2&status=%d&reply=%A&time=%T&token=12345");
    let expected = [
        ("username", "us"),
        ("password", "12345"),
        ("from", "SWITCH"),
        ("to", "+919812345678"),
        ("text", "Price 5€ & more"),
        ("charset", "UTF-8"),
        ("coding", "0"),
        ("dlr-mask", "31"),
        ("dlr-url", &receipts),
    ];
    let form = Form::parse(asked.query.as_bytes());
    assert_eq!(
        form.pairs().map(|(key, value)| (key.to_owned(), value.into_owned())).collect::<Vec<_>>(),
        expected.map(|(key, value)| (key.to_owned(), value.to_owned()))
    );
}

#[tokio::test]
async fn hindi_is_sent_as_ucs2_and_over_the_named_connection() {
    let peer = Peer::playing([Play::Answer(202, "text/plain", "3: Queued for later delivery".to_owned())]).await;
    let values = json!({"base_url": peer.base_url, "username": "us", "password_env": "TOKEN",
        "webhook_token_env": "TOKEN", "smsc": "airtel"});
    let sent = build(&settings(values)).unwrap().send(&outbound("SWITCH", text("नमस्ते"))).await;
    assert!(matches!(sent, Sent::Accepted { .. }));
    let query = Form::parse(peer.request().query.as_bytes());
    assert_eq!(query.text("coding").as_deref(), Some("2"));
    assert_eq!(query.text("text").as_deref(), Some("नमस्ते"));
    assert_eq!(query.text("smsc").as_deref(), Some("airtel"));
}

#[tokio::test]
async fn what_indias_registry_asks_for_goes_as_optional_parameters_of_smpp() {
    let peer = Peer::playing([Play::Answer(202, "text/plain", "0: Accepted for delivery".to_owned())]).await;
    let mut message = outbound("SWITCH", text("Hello"));
    message.parameters = [("dlt_entity_id", "1101 2"), ("dlt_template_id", "1107")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    connector(&peer.base_url).send(&message).await;
    let query = Form::parse(peer.request().query.as_bytes());
    assert_eq!(query.text("meta-data").as_deref(), Some("?smpp?dlt-entity-id=1101%202&dlt-template-id=1107"));
}

#[tokio::test]
async fn answers_have_their_class() {
    assert_eq!(class(&sent_with(403, "Authorization failed for sendsms").await), Some(FailureClass::ParkChannel));
    assert_eq!(class(&sent_with(503, "Temporal failure, try again later.").await), Some(FailureClass::Temporary));
    assert_eq!(class(&sent_with(400, "Empty text, rejected").await), Some(FailureClass::Permanent));
    assert_eq!(class(&sent_with(202, "4: Rejected").await), Some(FailureClass::Permanent));
    for (status, body) in [(503, "Bad gateway"), (200, "<html>"), (202, ""), (500, "")] {
        assert!(matches!(sent_with(status, body).await, Sent::Unknown { .. }), "{status} {body}");
    }
    let long = "x".repeat(1 << 20);
    assert!(matches!(sent_with(202, &long).await, Sent::Unknown { .. }));
}

#[tokio::test]
async fn silence_is_not_known_and_a_refused_connection_was_not_sent() {
    let peer = Peer::playing([Play::Silence]).await;
    let sent = connector(&peer.base_url).send(&outbound("SWITCH", text("Hello"))).await;
    assert!(matches!(&sent, Sent::Unknown { detail } if !detail.contains("12345")), "{sent:?}");
    let nobody = Peer::address_that_refuses().await;
    let sent = connector(&nobody).send(&outbound("SWITCH", text("Hello"))).await;
    assert!(matches!(&sent, Sent::NotSent { detail } if !detail.contains("12345")), "{sent:?}");
}

#[tokio::test]
async fn what_is_no_message_to_a_phone_is_refused_without_a_call() {
    let peer = Peer::playing([]).await;
    let connector = connector(&peer.base_url);
    assert_eq!(class(&connector.send(&outbound("SWITCH", text(""))).await), Some(FailureClass::Permanent));
    let mut mail = outbound("SWITCH", text("Hello"));
    mail.to = Address { kind: AddressKind::Email, value: "asha@example.org".to_owned() };
    assert_eq!(class(&connector.send(&mail).await), Some(FailureClass::FallOver));
    assert!(peer.requests().is_empty());
}

#[test]
fn receipts_prove_what_their_status_says() {
    for (status, evidence) in [
        (1, Evidence::Delivered),
        (2, Evidence::Failed),
        (4, Evidence::Sent),
        (8, Evidence::Sent),
        (16, Evidence::Failed),
        (34, Evidence::Failed),
        (66, Evidence::Failed),
    ] {
        let query =
            format!("d={DELIVERY}&n=2&status={status}&reply=NACK%2F88%2FThrottling&time=1763632800&token=12345");
        let receipt = read(Method::GET, "/status", &query, "").unwrap().receipts.remove(0);
        assert_eq!((receipt.evidence, receipt.echo), (evidence, Some((DELIVERY, 2))), "{status}");
        assert_eq!(receipt.provider_message_id, format!("{DELIVERY}:2"));
        assert_eq!(receipt.failure.is_some(), evidence == Evidence::Failed);
        assert!(receipt.provider_time.is_some());
    }
    let nothing = format!("d={DELIVERY}&n=2&status=0&token=12345");
    assert!(read(Method::GET, "/status", &nothing, "").unwrap().receipts.is_empty());
}

#[test]
fn receipts_without_the_token_or_our_ids_are_refused() {
    let ids = format!("d={DELIVERY}&n=2");
    for token in ["", "&token=", "&token=1234", "&token=123456"] {
        let outcome = read(Method::GET, "/status", &format!("{ids}&status=1{token}"), "");
        assert!(matches!(outcome, Err(WebhookError::Forbidden(_))), "{token}");
    }
    for query in ["status=1", &format!("{ids}&status=%25d"), &ids] {
        let outcome = read(Method::GET, "/status", &format!("{query}&token=12345"), "");
        assert!(matches!(outcome, Err(WebhookError::Malformed(_))), "{query}");
    }
    let elsewhere = read(Method::GET, "/elsewhere", "token=12345", "");
    assert_eq!(elsewhere.unwrap_err(), WebhookError::NotFound);
}

#[test]
fn a_message_from_a_person_is_read_from_the_query_and_from_a_form() {
    let query = "from=%2B919812345678&to=56070&text=%09%39%09%3E%09%01&coding=2&charset=UTF-16BE&id=k1&time=1763632800";
    let get = read(Method::GET, "/inbound", &format!("{query}&token=12345"), "").unwrap();
    let post = read(Method::POST, "/inbound", "token=12345", query).unwrap();
    assert_eq!(get.inbound, post.inbound);
    let fact = &get.inbound[0];
    assert_eq!((fact.provider_message_id.as_str(), fact.to.as_str()), ("k1", "56070"));
    assert_eq!(fact.from, [phone("+919812345678")]);
    assert_eq!(fact.content, text("हाँ"));
}

#[test]
fn numbers_are_brought_to_one_form_and_names_are_left_out() {
    let from = |value: &str| {
        let query = format!("from={value}&to=56070&text=hi&id=k1&token=12345");
        read(Method::GET, "/inbound", &query, "")
            .unwrap()
            .inbound
            .into_iter()
            .next()
            .map(|fact| fact.from[0].value.clone())
    };
    for value in ["%2B919812345678", "+919812345678", "919812345678", "00919812345678"] {
        assert_eq!(from(value).as_deref(), Some("+919812345678"), "{value}");
    }
    for value in ["AX-BANK", "56070", "09812345678"] {
        assert_eq!(from(value), None, "{value}");
    }
    let incomplete = read(Method::GET, "/inbound", "from=919812345678&to=1&text=hi&token=12345", "");
    assert!(matches!(incomplete, Err(WebhookError::Malformed(_))));
}

#[tokio::test]
async fn the_check_proves_the_user_without_sending() {
    let answer = |status, body: &str| Play::Answer(status, "text/plain", body.to_owned());
    let peer = Peer::playing([
        answer(400, "Missing receiver number, rejected"),
        answer(403, "Authorization failed for sendsms"),
        answer(404, ""),
    ])
    .await;
    let connector = connector(&peer.base_url);
    assert_eq!(connector.check().await, Ok(()));
    assert!(connector.check().await.unwrap_err().contains("password"));
    assert!(connector.check().await.unwrap_err().contains("404"));
    assert!(peer.requests().iter().all(|asked| !asked.query.contains("to=")));
}
