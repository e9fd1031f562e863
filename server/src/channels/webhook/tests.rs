//! Over a real socket: what is posted, what answers mean, who may post to us.

use http::{HeaderMap, Method};

use super::*;
use crate::channels::{
    Refusal,
    settings::SecretSource,
    testing::{DELIVERY, Peer, Play, outbound, text, webhook},
};
use domain::{
    channel::{Address, AddressKind},
    delivery::FailureClass,
};

const KEY: &str = "a key of sixteen characters";

struct Keys;

impl SecretSource for Keys {
    fn variable(&self, name: &str) -> Option<String> {
        match name {
            "KEY" => Some(KEY.to_owned()),
            "OLD" => Some("the key of last year".to_owned()),
            "SHORT" => Some("short".to_owned()),
            _ => None,
        }
    }

    fn file(&self, _: &str) -> std::io::Result<String> {
        Err(std::io::ErrorKind::NotFound.into())
    }
}

fn settings(values: Value) -> ProviderSettings {
    ProviderSettings::new(values.as_object().unwrap().clone(), Arc::new(Keys))
}

fn connector(url: &str) -> Arc<dyn Connector> {
    let values =
        json!({"url": url, "signing_secret_env": "KEY", "previous_signing_secret_env": "OLD", "timeout_seconds": 1});
    build(&settings(values)).unwrap()
}

async fn sent(play: Play) -> Sent {
    let peer = Peer::playing([play]).await;
    connector(&peer.base_url).send(&outbound("shop:desk", text("Hello"))).await
}

#[tokio::test]
async fn posts_the_message_signed_with_its_time() {
    let peer = Peer::playing([Play::json(200, json!({"status": "accepted", "message_id": "m-1"}))]).await;
    let mut out = outbound("shop:desk", text("Hello"));
    out.to = Address { kind: AddressKind::External, value: "shop:7".to_owned() };
    let ended = connector(&format!("{}/in", peer.base_url)).send(&out).await;
    assert_eq!(ended, Sent::Accepted { provider_message_id: "m-1".to_owned() });
    let asked = peer.request();
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/in"));
    assert_eq!(asked.headers["idempotency-key"], DELIVERY.to_string());
    let body = asked.json();
    assert_eq!(body["to"], json!({"kind": "external", "value": "shop:7"}));
    assert_eq!((&body["attempt"], &body["plain_text"]), (&json!(2), &json!("Hello")));
    assert_eq!(body["idempotency_key"], json!(DELIVERY));
    let time: i64 = asked.headers[signature::TIMESTAMP].parse().unwrap();
    assert!((chrono::Utc::now().timestamp() - time).abs() < 10);
    assert_eq!(asked.headers[signature::SIGNATURE], signature::sign(&KEY.into(), time, &asked.body));
}

#[tokio::test]
async fn answers_mean_what_they_say() {
    let ours = echo::token(DELIVERY, 2);
    assert_eq!(
        sent(Play::Answer(204, "text/plain", String::new())).await,
        Sent::Accepted { provider_message_id: ours }
    );
    let throttled = json!({"status": "refused", "class": "throttled", "code": "slow", "retry_after_seconds": 7});
    let refused = |class, code: &str, retry_after: Option<u64>| {
        let retry_after = retry_after.map(Duration::from_secs);
        Sent::Refused(Refusal { class, code: code.to_owned(), detail: String::new(), retry_after })
    };
    assert_eq!(sent(Play::json(200, throttled)).await, refused(FailureClass::Throttled, "slow", Some(7)));
    let opted_out = json!({"status": "refused", "class": "opt_out"});
    assert_eq!(sent(Play::json(409, opted_out)).await, refused(FailureClass::OptOut, "opt_out", None));
    let newer = json!({"status": "refused", "class": "of_next_year"});
    assert_eq!(sent(Play::json(200, newer)).await, refused(FailureClass::Permanent, "permanent", None));
    assert!(matches!(
        sent(Play::json(401, json!({"error": "who are you"}))).await,
        Sent::Refused(Refusal { class: FailureClass::ParkChannel, .. })
    ));
}

#[tokio::test]
async fn what_does_not_settle_it_is_not_known_and_may_be_repeated_under_the_same_key() {
    for play in [
        Play::Silence,
        Play::Close,
        Play::Answer(500, "text/plain", String::new()),
        Play::json(200, json!({"status": "perhaps"})),
        Play::Answer(200, "text/html", "<html>a page</html>".to_owned()),
    ] {
        assert!(matches!(sent(play).await, Sent::Unknown { .. }));
    }
    let nobody = connector(&Peer::address_that_refuses().await).send(&outbound("shop:desk", text("Hello"))).await;
    assert!(matches!(nobody, Sent::NotSent { .. }));
    assert_eq!(connector("http://127.0.0.1:9").traits().after_unknown, AfterUnknown::Key);
}

fn posted(body: &str, secret: &str, age: i64) -> WebhookRequest {
    let mut request = webhook(Method::POST, "", "", body.to_owned());
    let time = request.received_at.timestamp() - age;
    let mut headers = HeaderMap::new();
    headers.insert(signature::TIMESTAMP, time.to_string().parse().unwrap());
    headers.insert(signature::SIGNATURE, signature::sign(&secret.into(), time, body.as_bytes()).parse().unwrap());
    request.headers = headers;
    request
}

#[test]
fn takes_what_is_signed_by_either_key_within_the_window() {
    let connector = connector("http://127.0.0.1:9");
    for (secret, age, fits) in [
        (KEY, 0, true),
        ("the key of last year", 0, true),
        ("another key altogether", 0, false),
        (KEY, 299, true),
        (KEY, -299, true),
        (KEY, 301, false),
        (KEY, -301, false),
    ] {
        let read = connector.read_webhook(&posted("{}", secret, age));
        assert_eq!(read.is_ok(), fits, "{secret} {age}");
        assert!(fits || matches!(read, Err(WebhookError::Forbidden(_))));
    }
    let mut tampered = posted("{}", KEY, 0);
    tampered.body = "{ }".into();
    assert!(matches!(connector.read_webhook(&tampered), Err(WebhookError::Forbidden(_))));
    assert!(matches!(connector.read_webhook(&webhook(Method::POST, "", "", "{}")), Err(WebhookError::Forbidden(_))));
}

#[test]
fn reads_messages_and_receipts() {
    let body = json!({
        "messages": [
            {"id": "1", "from": "Shop:7", "name": "Asha", "text": "Hello", "channel_data": {"browser": "Firefox"}},
            {"id": "2", "from": [{"kind": "phone", "value": "+919812345678"}], "content": {"type": "key", "digits": "1"},
             "time": "2026-11-20T09:59:00Z", "in_reply_to": "m-1"},
        ],
        "receipts": [
            {"message_id": "m-1", "status": "read"},
            {"delivery_id": DELIVERY, "attempt": 1, "status": "failed", "class": "opt_out", "code": "gone"},
        ],
    });
    let facts = connector("http://127.0.0.1:9").read_webhook(&posted(&body.to_string(), KEY, 0)).unwrap();
    assert_eq!(facts.inbound[0].from, [Address { kind: AddressKind::External, value: "shop:7".to_owned() }]);
    assert_eq!(facts.inbound[0].content, text("Hello"));
    assert_eq!(facts.inbound[0].channel_data["browser"], "Firefox");
    assert_eq!(facts.inbound[1].in_reply_to.as_deref(), Some("m-1"));
    assert_eq!(facts.receipts[0].evidence, Evidence::Read);
    assert_eq!(facts.receipts[1].echo, Some((DELIVERY, 1)));
    assert_eq!(facts.receipts[1].failure.as_ref().map(|f| f.class), Some(FailureClass::OptOut));
}

#[test]
fn names_every_fault_of_a_request_and_takes_nothing_of_it() {
    let body = json!({
        "messages": [{"id": "", "from": "nobody", "text": "x"}, {"from": "shop:1"}, {"id": "3", "from": "shop:1", "text": "ok"}],
        "receipts": [{"status": "eaten"}],
    });
    let read = connector("http://127.0.0.1:9").read_webhook(&posted(&body.to_string(), KEY, 0));
    let Err(WebhookError::Malformed(words)) = read else { panic!("{read:?}") };
    for part in
        ["messages[0].id", "messages[0].from", "messages[1]: missing field `id`", "receipts[0].status", "message_id"]
    {
        assert!(words.contains(part), "{part} is not in: {words}");
    }
    assert!(!words.contains("messages[2]"));
}

#[test]
fn refuses_settings_that_would_not_protect() {
    let problems = build(&settings(json!({"signing_secret_env": "SHORT", "replay_window_seconds": 5}))).unwrap_err();
    let fields: Vec<&str> = problems.iter().map(|p| p.field.as_str()).collect();
    assert_eq!(fields, ["url", "signing_secret", "replay_window_seconds"]);
}
