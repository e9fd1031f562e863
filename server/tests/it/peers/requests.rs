//! What the connectors put on the wire, against what the providers' own libraries put there for the same message.

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    response::IntoResponse,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use domain::{
    channel::{Address, AddressKind},
    message::Content,
};
use serde_json::{Value, json};
use server::channels::{Outbound, Sent};
use tokio::{net::TcpListener, sync::mpsc};

use super::{connector, fixture, meta, text, twilio};

/// A request as it came over a socket.
struct Asked {
    path: String,
    authorization: String,
    body: Bytes,
}

/// A provider that accepts everything and keeps it. Ends with the test's runtime.
async fn provider() -> (String, mpsc::UnboundedReceiver<Asked>) {
    let (sender, asked) = mpsc::unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    let keep = async |State(sender): State<mpsc::UnboundedSender<Asked>>, uri: Uri, headers: HeaderMap, body: Bytes| {
        let authorization = headers["authorization"].to_str().expect("a text").to_owned();
        drop(sender.send(Asked { path: uri.path().to_owned(), authorization, body }));
        (StatusCode::CREATED, json!({"sid": "SM1", "messages": [{"id": "wamid.1"}]}).to_string()).into_response()
    };
    let app = Router::new().fallback(keep).with_state(sender);
    tokio::spawn(axum::serve(listener, app).into_future());
    (base, asked)
}

fn outbound(kind: AddressKind, to: &str, from: &str, content: Value) -> Outbound {
    Outbound {
        delivery_id: "0198b6a4-7c1e-7d7e-9c39-2f2f6a1b0001".parse().expect("an id"),
        attempt: 1,
        to: Address { kind, value: to.to_owned() },
        from: from.to_owned(),
        content: serde_json::from_value::<Content>(content).expect("content"),
        window_open: true,
        public_url: "https://alerts.example.org".to_owned(),
        provider_id: 7,
        in_reply_to: None,
        unsubscribe_url: None,
        parameters: std::collections::BTreeMap::new(),
    }
}

#[tokio::test]
async fn asks_twilio_as_its_own_library_does() {
    let requests = fixture("twilio/requests.json");
    let (base, mut asked) = provider().await;
    let mut settings = twilio::account();
    settings["base_url"] = json!(base);
    let words = json!({"type": "text", "text": "नमस्ते"});
    let service = format!("MG{}", "0".repeat(32));
    let script = json!({"type": "voice", "say": "Good morning", "language": "en-IN", "repeat": 1});
    for (name, kind, from, content) in [
        ("sms from a number", "twilio-sms", "+15550001111", &words),
        ("sms from a messaging service", "twilio-sms", &service, &words),
        ("call", "twilio-voice", "+15550001111", &script),
    ] {
        let message = outbound(AddressKind::Phone, "+919812345678", from, content.clone());
        let sent = connector(kind, settings.clone()).send(&message).await;
        assert!(matches!(sent, Sent::Accepted { .. }), "{name}: {sent:?}");
        let request = asked.recv().await.expect("a request");
        let expected = &requests[name];
        assert_eq!(request.path, text(expected, "path"), "{name}");
        let auth: Vec<String> = serde_json::from_value(expected["auth"].clone()).expect("user and password");
        assert_eq!(request.authorization, format!("Basic {}", STANDARD.encode(auth.join(":"))), "{name}");
        let form = server::channels::forms::Form::parse(&request.body);
        let mut form: Vec<_> = form.pairs().map(|(key, value)| json!([key, value])).collect();
        form.sort_by_key(ToString::to_string);
        assert_eq!(Value::Array(form), expected["form"], "{name}");
    }
}

/// Cases and types that Meta takes in several spellings, brought to one; what is empty or null is left out.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(_, one)| !(one.is_null() || **one == json!("")));
            let kept = kept.map(|(key, one)| match (key.as_str(), one) {
                ("type" | "sub_type", Value::String(word)) => (key.clone(), json!(word.to_ascii_lowercase())),
                ("index", Value::Number(number)) => (key.clone(), json!(number.to_string())),
                _ => (key.clone(), plain(one)),
            });
            Value::Object(kept.collect())
        }
        Value::Array(items) => items.iter().map(plain).collect(),
        other => other.clone(),
    }
}

fn meta_messages() -> Vec<(&'static str, Value)> {
    let choice = |id: &str, title: &str| json!({"id": id, "title": title});
    let told = |id: &str, title: &str, line: &str| json!({"id": id, "title": title, "description": line});
    vec![
        ("text", json!({"type": "text", "text": "नमस्ते"})),
        ("text that answers", json!({"type": "text", "text": "yes"})),
        ("text to a user id", json!({"type": "text", "text": "hello"})),
        (
            "buttons",
            json!({"type": "choices", "text": "Is the water back?", "header": "Water", "footer": "Reply STOP to end",
            "choices": [choice("yes", "Yes"), choice("no", "No")]}),
        ),
        (
            "list",
            json!({"type": "choices", "text": "How was it?", "list_button": "Choose", "choices":
            [told("1", "Bad", "1 of 5"), choice("2", "Fair"), told("3", "Good", "3 of 5"), choice("4", "Great")]}),
        ),
        (
            "image by link",
            json!({"type": "media", "mime_type": "image/jpeg", "reference": "https://files.example.org/tap.jpg",
            "caption": "the tap"}),
        ),
        (
            "document by id",
            json!({"type": "media", "mime_type": "application/pdf", "reference": "1003383421387256",
            "caption": "your bill", "file_name": "bill.pdf"}),
        ),
        (
            "location",
            json!({"type": "location", "latitude_micro": 30_316_500, "longitude_micro": 78_032_200,
            "name": "Clock Tower"}),
        ),
        (
            "template",
            json!({"type": "provider_template", "name": "water_back", "language": "hi", "parameters": ["Asha", "17"],
            "button_payloads": ["yes", "no"], "text": "words"}),
        ),
    ]
}

#[tokio::test]
async fn asks_meta_as_pywa_does() {
    let requests = fixture("meta/requests.json");
    let (base, mut asked) = provider().await;
    let whatsapp = connector("whatsapp-cloud", meta::app(&json!({"base_url": base})));
    for (name, content) in meta_messages() {
        let (kind, to) = match name {
            "text to a user id" => (AddressKind::WhatsappUser, "IN.13491208655302741918"),
            _ => (AddressKind::Phone, "+919812345678"),
        };
        let mut message = outbound(kind, to, "106540352242922", content);
        message.in_reply_to = (name == "text that answers").then(|| "wamid.asked".to_owned());
        let sent = whatsapp.send(&message).await;
        assert!(matches!(sent, Sent::Accepted { .. }), "{name}: {sent:?}");
        let request = asked.recv().await.expect("a request");
        let expected = &requests[name];
        // The library calls the newest version of the API, we the one that is set.
        let after_version = |path: &str| path.splitn(3, '/').nth(2).map(str::to_owned);
        assert_eq!(after_version(&request.path), after_version(text(expected, "path")), "{name}");
        assert_eq!(request.authorization, text(expected, "authorization"), "{name}");
        let body: Value = serde_json::from_slice(&request.body).expect("JSON");
        assert_eq!(plain(&body), plain(&expected["body"]), "{name}");
    }
}
