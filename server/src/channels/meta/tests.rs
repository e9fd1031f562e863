//! The WhatsApp connector against a real socket, and its webhooks as Meta posts them.

use chrono::DateTime;
use domain::{
    channel::{Address, AddressKind},
    message::Choice,
};
use http::{HeaderValue, Method};
use serde_json::{Value, json};

use super::*;
use crate::channels::InboundFact;
use crate::channels::testing::{DELIVERY, Peer, Play, outbound, phone, settings, text, webhook};

fn connector(base_url: &str) -> Arc<dyn Connector> {
    build(&settings(json!({"access_token_env": "TOKEN", "app_secret_env": "TOKEN", "verify_token_env": "TOKEN",
        "base_url": base_url, "timeout_seconds": 1})))
    .unwrap()
}

fn accepted() -> Play {
    Play::json(200, json!({"messaging_product": "whatsapp", "contacts": [], "messages": [{"id": "wamid.1"}]}))
}

async fn sent_payload(content: Content) -> Value {
    let peer = Peer::playing([accepted()]).await;
    let sent = connector(&peer.base_url).send(&outbound("106540352242922", content)).await;
    assert_eq!(sent, Sent::Accepted { provider_message_id: "wamid.1".to_owned() });
    peer.request().json()
}

async fn answered(play: Play) -> Sent {
    let peer = Peer::playing([play]).await;
    connector(&peer.base_url).send(&outbound("106540352242922", text("Hello"))).await
}

fn refused_class(sent: &Sent) -> Option<FailureClass> {
    match sent {
        Sent::Refused(refusal) => Some(refusal.class),
        _ => None,
    }
}

fn choice(id: &str, title: &str) -> Choice {
    Choice { id: id.to_owned(), title: title.to_owned(), description: None }
}

fn choices(n: usize, list_button: Option<&str>) -> Content {
    Content::Choices {
        text: "Was it solved?".to_owned(),
        header: Some("Water".to_owned()),
        footer: None,
        list_button: list_button.map(str::to_owned),
        choices: (1..=n).map(|i| choice(&format!("c{i}"), &format!("Choice {i}"))).collect(),
    }
}

#[tokio::test]
async fn asks_for_a_text_as_meta_documents_it() {
    let peer = Peer::playing([accepted()]).await;
    let mut message = outbound("106540352242922", text("नमस्ते"));
    message.in_reply_to = Some("wamid.0".to_owned());
    connector(&peer.base_url).send(&message).await;
    let asked = peer.request();
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/v23.0/106540352242922/messages"));
    assert_eq!(asked.headers["authorization"], "Bearer 12345");
    assert_eq!(asked.headers["content-type"], "application/json");
    let expected = json!({"messaging_product": "whatsapp", "recipient_type": "individual", "to": "919812345678",
        "type": "text", "text": {"body": "नमस्ते", "preview_url": false}, "context": {"message_id": "wamid.0"},
        "biz_opaque_callback_data": format!("{DELIVERY}:2")});
    assert_eq!(asked.json(), expected);
}

#[tokio::test]
async fn calls_360dialog_by_its_header_and_path() {
    let peer = Peer::playing([accepted()]).await;
    let values = json!({"auth": "d360", "access_token_env": "TOKEN", "webhook_token_env": "TOKEN",
        "base_url": peer.base_url});
    let connector = build(&settings(values)).unwrap();
    connector.send(&outbound("106540352242922", text("Hello"))).await;
    let asked = peer.request();
    assert_eq!(asked.path, "/messages");
    assert_eq!(asked.headers["d360-api-key"], "12345");
    assert!(!asked.headers.contains_key("authorization"));
    let body = r#"{"entry": []}"#;
    assert!(connector.read_webhook(&webhook(Method::POST, "", "token=12345", body)).is_ok());
    let wrong = connector.read_webhook(&webhook(Method::POST, "", "token=12346", body));
    assert!(matches!(wrong, Err(WebhookError::Forbidden(_))));
}

#[tokio::test]
async fn names_a_person_without_a_phone_by_the_other_field() {
    let peer = Peer::playing([accepted()]).await;
    let mut message = outbound("106540352242922", text("Hello"));
    message.to = Address { kind: AddressKind::WhatsappUser, value: "IN.1349".to_owned() };
    connector(&peer.base_url).send(&message).await;
    let payload = peer.request().json();
    assert_eq!(payload["recipient"], "IN.1349");
    assert!(payload.get("to").is_none());
}

#[tokio::test]
async fn three_choices_are_buttons_and_five_are_a_list() {
    let payload = sent_payload(choices(3, None)).await;
    assert_eq!(payload["type"], "interactive");
    let interactive = &payload["interactive"];
    assert_eq!(interactive["type"], "button");
    assert_eq!(interactive["header"], json!({"type": "text", "text": "Water"}));
    assert_eq!(
        interactive["action"]["buttons"][2],
        json!({"type": "reply", "reply": {"id": "c3", "title": "Choice 3"}})
    );
    let list = &sent_payload(choices(5, None)).await["interactive"];
    assert_eq!(list["type"], "list");
    assert_eq!(list["action"]["sections"][0]["rows"].as_array().unwrap().len(), 5);
    let named = &sent_payload(choices(2, Some("Open"))).await["interactive"];
    assert_eq!((&named["type"], &named["action"]["button"]), (&json!("list"), &json!("Open")));
}

#[tokio::test]
async fn labels_are_shortened_by_characters() {
    let content = Content::Choices {
        text: "?".to_owned(),
        header: None,
        footer: None,
        list_button: None,
        choices: vec![choice("1", &"न".repeat(30))],
    };
    let payload = sent_payload(content).await;
    let title = payload["interactive"]["action"]["buttons"][0]["reply"]["title"].as_str().unwrap();
    assert_eq!(title, format!("{}\u{2026}", "न".repeat(19)));
}

#[tokio::test]
async fn asks_for_a_template_as_meta_documents_it() {
    let payload = sent_payload(Content::ProviderTemplate {
        name: "case_update".to_owned(),
        language: "en_US".to_owned(),
        parameters: vec!["Asha".to_owned()],
        button_payloads: vec!["yes".to_owned(), "no".to_owned()],
        text: "Hello Asha".to_owned(),
    })
    .await;
    let expected = json!({"name": "case_update", "language": {"code": "en_US"}, "components": [
        {"type": "body", "parameters": [{"type": "text", "text": "Asha"}]},
        {"type": "button", "sub_type": "quick_reply", "index": "0", "parameters": [{"type": "payload", "payload": "yes"}]},
        {"type": "button", "sub_type": "quick_reply", "index": "1", "parameters": [{"type": "payload", "payload": "no"}]}]});
    assert_eq!(payload["template"], expected);
}

#[tokio::test]
async fn a_file_and_a_place_are_sent_as_such() {
    let file = |mime: &str, reference: &str| Content::Media {
        mime_type: mime.to_owned(),
        reference: reference.to_owned(),
        caption: Some("Map".to_owned()),
        file_name: Some("map.pdf".to_owned()),
    };
    let document = sent_payload(file("application/pdf", "https://example.org/map.pdf")).await;
    let link = json!({"link": "https://example.org/map.pdf", "caption": "Map", "filename": "map.pdf"});
    assert_eq!(document["document"], link);
    assert_eq!(sent_payload(file("audio/ogg", "123")).await["audio"], json!({"id": "123"}));
    let place = Content::Location { latitude_micro: 28_613_900, longitude_micro: 77_209_000, name: None };
    assert_eq!(sent_payload(place).await["location"]["latitude"], 28.6139);
}

#[tokio::test]
async fn free_words_outside_the_window_are_refused_without_a_call() {
    let peer = Peer::playing([]).await;
    let mut message = outbound("106540352242922", text("Hello"));
    message.window_open = false;
    let sent = connector(&peer.base_url).send(&message).await;
    assert_eq!(refused_class(&sent), Some(FailureClass::NeedsTemplate));
    assert!(peer.requests().is_empty());
}

#[tokio::test]
async fn what_breaks_a_limit_is_refused_without_a_call() {
    let peer = Peer::playing([]).await;
    let connector = connector(&peer.base_url);
    for content in [text(""), text(&"x".repeat(4097)), choices(11, None)] {
        let sent = connector.send(&outbound("106540352242922", content)).await;
        assert_eq!(refused_class(&sent), Some(FailureClass::Permanent));
    }
    let sent = connector.send(&outbound("../me", text("Hello"))).await;
    assert_eq!(refused_class(&sent), Some(FailureClass::ParkChannel));
    assert!(peer.requests().is_empty());
}

#[tokio::test]
async fn refusals_have_the_class_of_their_code() {
    let error = |code: u32| json!({"error": {"message": "(#1) +919812345678", "type": "OAuthException", "code": code}});
    for (status, code, class) in [
        (400, 131_026, FailureClass::FallOver),
        (400, 131_047, FailureClass::NeedsTemplate),
        (401, 190, FailureClass::ParkChannel),
        (500, 131_000, FailureClass::Temporary),
        (429, 999_999, FailureClass::Throttled),
        (400, 999_999, FailureClass::Permanent),
    ] {
        let sent = answered(Play::json(status, error(code))).await;
        assert_eq!(refused_class(&sent), Some(class), "{code}");
        assert!(!format!("{sent:?}").contains("9812345678"));
    }
    let Sent::Refused(pair_rate) = answered(Play::json(400, error(131_056))).await else { panic!("not refused") };
    assert_eq!(pair_rate.retry_after, Some(Duration::from_secs(16)), "the second attempt waits 4^2 seconds");
}

#[tokio::test]
async fn what_does_not_settle_it_is_not_known() {
    for play in [
        Play::json(200, json!({"messages": []})),
        Play::Answer(200, "application/json", "{\"messages\": [".to_owned()),
        Play::Answer(503, "text/html", "<html>".to_owned()),
        Play::json(500, json!({"error": {"code": 999_999}})),
        Play::Answer(200, "application/json", "x".repeat(1 << 20)),
        Play::Silence,
        Play::Close,
    ] {
        assert!(matches!(answered(play).await, Sent::Unknown { .. }));
    }
    let nobody = connector(&Peer::address_that_refuses().await);
    assert!(matches!(nobody.send(&outbound("1", text("Hello"))).await, Sent::NotSent { .. }));
}

#[test]
fn the_handshake_gives_the_challenge_back_to_who_knows_the_word() {
    let shake = |query: &str| connector("http://127.0.0.1:9").read_webhook(&webhook(Method::GET, "", query, ""));
    let facts = shake("hub.mode=subscribe&hub.verify_token=12345&hub.challenge=1158201444").unwrap();
    assert_eq!(facts.answer, WebhookAnswer::Body { content_type: "text/plain", body: "1158201444".to_owned() });
    for query in ["hub.mode=subscribe&hub.verify_token=1234&hub.challenge=1", "hub.verify_token=12345", ""] {
        assert!(matches!(shake(query), Err(WebhookError::Forbidden(_))), "{query}");
    }
    let script = "hub.mode=subscribe&hub.verify_token=12345&hub.challenge=%3Cscript%3E";
    assert!(matches!(shake(script), Err(WebhookError::Malformed(_))));
}

fn signed(secret: &str, body: &str) -> WebhookRequest {
    let mut request = webhook(Method::POST, "", "", body.to_owned());
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
    request.headers.insert(SIGNATURE, HeaderValue::from_str(&signature).unwrap());
    request
}

fn read(body: &Value) -> WebhookFacts {
    connector("http://127.0.0.1:9").read_webhook(&signed("12345", &body.to_string())).unwrap()
}

fn notice(value: Value) -> Value {
    json!({"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [{"field": "messages", "value": value}]}]})
}

fn message(more: Value) -> InboundFact {
    let mut message = json!({"from": "919812345678", "id": "wamid.7", "timestamp": "1763632800"});
    message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let facts = read(&notice(json!({
        "metadata": {"display_phone_number": "15550", "phone_number_id": "106540352242922"},
        "contacts": [{"profile": {"name": "Asha"}, "wa_id": "919812345678", "user_id": "IN.1349"}],
        "messages": [message]})));
    facts.inbound.into_iter().next().unwrap()
}

#[test]
fn the_signature_is_hmac_sha256_of_the_raw_body() {
    // Test case 2 of RFC 4231: key "Jefe", data "what do ya want for nothing?".
    let mut request = webhook(Method::POST, "", "", "what do ya want for nothing?");
    let known = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    request.headers.insert(SIGNATURE, HeaderValue::from_static(known));
    assert_eq!(check_signature(&SecretString::from("Jefe"), &request), Ok(()));
    assert!(check_signature(&SecretString::from("Jeff"), &request).is_err());
}

#[test]
fn refuses_bodies_that_were_tampered_with_or_not_signed() {
    let connector = connector("http://127.0.0.1:9");
    let mut request = signed("12345", r#"{"entry": []}"#);
    assert!(connector.read_webhook(&request).is_ok());
    request.body = r#"{"entry": [ ]}"#.into();
    assert!(matches!(connector.read_webhook(&request), Err(WebhookError::Forbidden(_))));
    for header in ["", "sha256=", "sha256=zz", "sha1=00", "sha256=00"] {
        request.headers.insert(SIGNATURE, HeaderValue::from_static(header));
        assert!(matches!(connector.read_webhook(&request), Err(WebhookError::Forbidden(_))), "{header}");
    }
    request.headers.clear();
    assert!(matches!(connector.read_webhook(&request), Err(WebhookError::Forbidden(_))));
}

#[test]
fn what_is_no_notice_is_malformed_and_not_quoted() {
    let connector = connector("http://127.0.0.1:9");
    for body in ["{", "[]", r#"{"entry": "+919812345678"}"#, ""] {
        match connector.read_webhook(&signed("12345", body)) {
            Err(WebhookError::Malformed(words)) => assert!(!words.contains("9812345678")),
            other => panic!("{other:?}"),
        }
    }
    let elsewhere = webhook(Method::POST, "/status", "", "{}");
    assert_eq!(connector.read_webhook(&elsewhere).unwrap_err(), WebhookError::NotFound);
}

#[test]
fn statuses_come_many_at_once_and_carry_our_ids() {
    let status = |status: &str, echo: Option<String>| {
        json!({"id": "wamid.1", "status": status, "timestamp": "1763632800", "recipient_id": "919812345678",
            "biz_opaque_callback_data": echo, "errors": [{"code": 131_026, "title": "Undeliverable"}]})
    };
    let ours = Some(format!("{DELIVERY}:3"));
    let first = json!({"statuses": [status("read", ours.clone()), status("sent", None)]});
    let second = json!({"statuses": [status("failed", ours), status("played", Some("campaign".to_owned())),
        status("pondering", None), {"status": "sent"}]});
    let body = json!({"entry": [{"changes": [{"field": "messages", "value": first}]},
        {"changes": [{"field": "messages", "value": second}, {"field": "account_update", "value": {"x": 1}}]}]});
    let receipts = read(&body).receipts;
    let evidence: Vec<_> = receipts.iter().map(|receipt| receipt.evidence).collect();
    assert_eq!(evidence, [Evidence::Read, Evidence::Sent, Evidence::Failed, Evidence::Read]);
    assert_eq!(receipts[0].echo, Some((DELIVERY, 3)));
    assert_eq!(receipts[0].provider_time, DateTime::from_timestamp(1_763_632_800, 0));
    assert_eq!(receipts[0].failure, None);
    assert_eq!(receipts[2].failure.as_ref().unwrap().class, FailureClass::FallOver);
    assert_eq!(receipts[3].echo, None);
}

#[test]
fn a_message_is_read_with_every_address_of_its_sender() {
    let fact = message(json!({"type": "text", "text": {"body": "Yes"}, "context": {"from": "1", "id": "wamid.1"}}));
    let user = Address { kind: AddressKind::WhatsappUser, value: "IN.1349".to_owned() };
    assert_eq!(fact.from, [phone("+919812345678"), user]);
    assert_eq!((fact.to.as_str(), fact.display_name.as_deref()), ("106540352242922", Some("Asha")));
    assert_eq!((fact.in_reply_to.as_deref(), fact.content), (Some("wamid.1"), text("Yes")));
}

#[test]
fn a_person_without_a_phone_is_known_by_the_user_id() {
    let facts = read(&notice(json!({"metadata": {"phone_number_id": "1"},
        "contacts": [{"profile": {"name": "Asha"}, "user_id": "IN.1349"}],
        "messages": [{"id": "wamid.8", "from_user_id": "IN.1349", "type": "text", "text": {"body": "Hi"}},
            {"id": "wamid.9", "type": "text", "text": {"body": "nobody"}}]})));
    assert_eq!(facts.inbound.len(), 1);
    assert_eq!(facts.inbound[0].from, [Address { kind: AddressKind::WhatsappUser, value: "IN.1349".to_owned() }]);
    assert_eq!(facts.inbound[0].display_name.as_deref(), Some("Asha"));
}

#[test]
fn every_kind_of_message_becomes_content() {
    let chosen = |id: &str, title: &str| Content::Chosen { id: id.to_owned(), title: title.to_owned() };
    let unsupported = |text: &str| Content::Unsupported { text: text.to_owned() };
    let media = |mime: &str, caption: Option<&str>, name: Option<&str>| Content::Media {
        mime_type: mime.to_owned(),
        reference: "m1".to_owned(),
        caption: caption.map(str::to_owned),
        file_name: name.map(str::to_owned),
    };
    for (body, content) in [
        (json!({"type": "button", "button": {"payload": "yes", "text": "Yes"}}), chosen("yes", "Yes")),
        (
            json!({"type": "interactive", "interactive": {"type": "button_reply", "button_reply": {"id": "a", "title": "A"}}}),
            chosen("a", "A"),
        ),
        (
            json!({"type": "interactive", "interactive": {"type": "list_reply", "list_reply":
                {"id": "5", "title": "Five", "description": "stars"}}}),
            chosen("5", "Five"),
        ),
        (
            json!({"type": "image", "image": {"id": "m1", "mime_type": "image/jpeg", "caption": "Leak"}}),
            media("image/jpeg", Some("Leak"), None),
        ),
        (
            json!({"type": "document", "document": {"id": "m1", "mime_type": "application/pdf", "filename": "a.pdf"}}),
            media("application/pdf", None, Some("a.pdf")),
        ),
        (json!({"type": "audio", "audio": {"id": "m1", "mime_type": "audio/ogg"}}), media("audio/ogg", None, None)),
        (
            json!({"type": "location", "location": {"latitude": 28.6139, "longitude": -77.209}}),
            Content::Location { latitude_micro: 28_613_900, longitude_micro: -77_209_000, name: None },
        ),
        (json!({"type": "contacts", "contacts": [{"name": {"first_name": "X"}}]}), unsupported("[contacts]")),
        (json!({"type": "unsupported", "errors": [{"code": 131_051}]}), unsupported("[unsupported]")),
        (json!({"type": "reaction", "reaction": {"message_id": "wamid.1", "emoji": "👍"}}), unsupported("👍")),
    ] {
        assert_eq!(message(body.clone()).content, content, "{body}");
    }
}

#[test]
fn a_notice_about_the_conversation_is_no_message() {
    let system = json!({"id": "wamid.8", "from": "919812345678", "type": "system", "system": {"body": "changed"}});
    assert!(read(&notice(json!({"messages": [system]}))).inbound.is_empty());
}

#[test]
fn the_settings_of_each_gateway_are_asked_for() {
    let fields = |values: Value| -> Vec<String> {
        build(&settings(values)).expect_err("incomplete").into_iter().map(|problem| problem.field).collect()
    };
    assert_eq!(fields(json!({"access_token_env": "TOKEN"})), ["app_secret", "verify_token"]);
    assert_eq!(fields(json!({"access_token_env": "TOKEN", "auth": "d360"})), ["webhook_token"]);
    let number = json!({"access_token_env": "TOKEN", "app_secret_env": "TOKEN", "verify_token_env": "TOKEN",
        "phone_number_id": "+15550"});
    assert_eq!(fields(number), ["phone_number_id"]);
    let both = fields(json!({"access_token_env": "TOKEN", "auth": "cloud", "api_version": "latest"}));
    assert!(both.contains(&"auth".to_owned()) && both.contains(&"api_version".to_owned()), "{both:?}");
}

#[tokio::test]
async fn the_check_proves_the_token() {
    let peer =
        Peer::playing([Play::json(200, json!({"id": "1"})), Play::json(401, json!({"error": {"code": 190}}))]).await;
    let connector = connector(&peer.base_url);
    assert_eq!(connector.check().await, Ok(()));
    assert!(connector.check().await.unwrap_err().contains("expired"));
    assert_eq!((peer.requests()[0].path.as_str(), peer.requests()[0].query.as_str()), ("/v23.0/me", "fields=id"));
}
