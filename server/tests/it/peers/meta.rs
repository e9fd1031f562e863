//! Meta's webhooks as pywa checks and reads them: each notice alone, and all of them in every disorder that Meta allows.

use domain::{channel::AddressKind, delivery::Evidence, message::Content};
use serde_json::{Map, Value, json};
use server::channels::{InboundFact, ReceiptFact, WebhookError, WebhookFacts};

use super::{assert_same_verdicts, connector, fixture, text, webhook};

const SECRET: &str = "a-secret-of-the-app";

pub(super) fn app(more: &Value) -> Value {
    let mut app = json!({"access_token_env": "t", "app_secret_env": SECRET, "verify_token_env": "v"});
    app.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    app
}

fn read(body: &str, signature: Option<&str>) -> Result<WebhookFacts, WebhookError> {
    let headers = [("content-type", Some("application/json")), ("x-hub-signature-256", signature)];
    let request = webhook("https://alerts.example.org/webhooks/7", &headers, body);
    connector("whatsapp-cloud", app(&json!({}))).read_webhook(&request)
}

/// What is read in a notice that is signed as it stands.
fn facts(notice: &Value) -> (Vec<ReceiptFact>, Vec<InboundFact>) {
    let body = notice.to_string();
    let facts = read(&body, Some(&simulator::signature::meta(SECRET, body.as_bytes()))).expect("it is signed");
    (facts.receipts, facts.inbound)
}

#[test]
fn decides_on_every_signature_as_pywa_does() {
    let fixture = fixture("meta/signatures.json");
    assert_eq!(text(&fixture, "secret"), SECRET);
    assert_same_verdicts(&fixture["cases"], |case| read(text(case, "body"), case["signature"].as_str()));
}

#[test]
fn reads_every_documented_notice_as_pywa_does() {
    let notices = fixture("meta/webhooks.json");
    for (name, one) in notices.as_object().expect("notices") {
        let reading = &one["reading"];
        match facts(&one["notice"]) {
            (receipts, inbound) if inbound.is_empty() && receipts.len() == 1 => {
                assert_status(name, reading, &receipts[0])
            }
            (receipts, inbound) if receipts.is_empty() && inbound.len() == 1 => {
                assert_message(name, reading, &inbound[0])
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

fn assert_status(name: &str, reading: &Value, receipt: &ReceiptFact) {
    let evidence = match text(reading, "status") {
        "sent" => Evidence::Sent,
        "delivered" => Evidence::Delivered,
        "read" => Evidence::Read,
        "failed" => Evidence::Failed,
        other => panic!("{name}: {other}"),
    };
    let (delivery, attempt) = text(reading, "tracker").split_once(':').expect("an echo");
    assert_eq!((receipt.provider_message_id.as_str(), receipt.evidence), (text(reading, "id"), evidence), "{name}");
    assert_eq!(receipt.echo, Some((delivery.parse().expect("an id"), attempt.parse().expect("a number"))), "{name}");
    let code = receipt.failure.as_ref().and_then(|failure| failure.code.parse::<i64>().ok());
    assert_eq!(
        (code, receipt.provider_time.map(|time| time.timestamp())),
        (reading["error"].as_i64(), reading["seconds"].as_i64()),
        "{name}"
    );
}

fn assert_message(name: &str, reading: &Value, fact: &InboundFact) {
    let phone = reading["wa_id"].as_str().map(|digits| (AddressKind::Phone, format!("+{digits}")));
    let user = reading["user_id"].as_str().map(|id| (AddressKind::WhatsappUser, id.to_owned()));
    let from: Vec<_> = fact.from.iter().map(|address| (address.kind, address.value.clone())).collect();
    assert_eq!(from, phone.into_iter().chain(user).collect::<Vec<_>>(), "{name}");
    assert_eq!(
        (fact.provider_message_id.as_str(), fact.to.as_str()),
        (text(reading, "message"), text(reading, "to")),
        "{name}"
    );
    assert_eq!(fact.display_name.as_deref(), reading["name"].as_str(), "{name}");
    assert_eq!(fact.provider_time.map(|time| time.timestamp()), reading["seconds"].as_i64(), "{name}");
    // A reaction names its message beside the context; pywa keeps it in the reaction.
    let answers = reading["answers"].as_str().or((name == "reaction").then_some("wamid.asked"));
    assert_eq!(fact.in_reply_to.as_deref(), answers, "{name}");
    let said = match &fact.content {
        Content::Text { text } => json!({"text": text}),
        Content::Chosen { id, title } => json!({"chosen": id, "title": title}),
        Content::Media { mime_type, reference, caption, file_name } => {
            json!({"media": reference, "mime": mime_type, "caption": caption, "file": file_name})
        }
        Content::Location { latitude_micro, longitude_micro, name } => {
            let degrees = |micro: &i32| f64::from(*micro) / 1e6;
            json!({"latitude": degrees(latitude_micro), "longitude": degrees(longitude_micro), "place": name})
        }
        Content::Unsupported { text } if name == "reaction" => json!({"reaction": text}),
        Content::Unsupported { text } => json!({"other": text.trim_matches(['[', ']'])}),
        other => panic!("{name}: {other:?}"),
    };
    for (key, value) in said.as_object().expect("an object") {
        assert_eq!(value, &reading[key], "{name}: {key}");
    }
}

/// Every entry of the fixture, in one notice.
fn batch(turn: impl FnOnce(&mut Vec<Value>)) -> Value {
    let notices = fixture("meta/webhooks.json");
    let entries = notices.as_object().expect("notices").values().flat_map(|one| one["notice"]["entry"].as_array());
    let mut entries: Vec<_> = entries.flatten().cloned().collect();
    turn(&mut entries);
    json!({"object": "whatsapp_business_account", "entry": entries})
}

/// The facts in an order of their own, so that readings of different orders can be compared.
fn sorted((mut receipts, mut inbound): (Vec<ReceiptFact>, Vec<InboundFact>)) -> (Vec<ReceiptFact>, Vec<InboundFact>) {
    receipts.sort_by(|a, b| a.provider_message_id.cmp(&b.provider_message_id));
    inbound.sort_by(|a, b| a.provider_message_id.cmp(&b.provider_message_id));
    (receipts, inbound)
}

#[test]
fn a_batch_says_the_same_in_any_order_and_twice_the_same_when_doubled() {
    let whole = sorted(facts(&batch(|_| {})));
    assert_eq!((whole.0.len(), whole.1.len()), (4, 14));
    assert_eq!(sorted(facts(&batch(|entries| entries.reverse()))), whole);
    assert_eq!(sorted(facts(&batch(|entries| entries.rotate_left(5)))), whole);
    let mut doubled = sorted(facts(&batch(|entries| entries.extend(entries.clone()))));
    assert_eq!((doubled.0.len(), doubled.1.len()), (8, 28));
    doubled.0.dedup();
    doubled.1.dedup();
    assert_eq!(doubled, whole, "a repeated notice says exactly what it said before");
    // All in the changes of one entry, and all in the lists of one change, which Meta may also do.
    let one_entry = batch(|entries| {
        let changes: Vec<_> = entries.iter().flat_map(|entry| entry["changes"].as_array().cloned()).flatten().collect();
        *entries = vec![json!({"id": "1", "changes": changes})];
    });
    assert_eq!(sorted(facts(&one_entry)), whole);
}

#[test]
fn a_batch_with_new_fields_everywhere_says_the_same() {
    fn grown(value: &Value) -> Value {
        match value {
            Value::Object(fields) => {
                let mut grown: Map<_, _> = fields.iter().map(|(key, one)| (key.clone(), grown(one))).collect();
                grown.insert("a_new_field".to_owned(), json!({"of": ["the", "future", 1, null]}));
                grown.insert("zzz".to_owned(), Value::Null);
                Value::Object(grown)
            }
            Value::Array(items) => items.iter().map(grown).collect(),
            other => other.clone(),
        }
    }
    let whole = batch(|_| {});
    assert_eq!(facts(&grown(&whole)), facts(&whole));
}

#[test]
fn a_batch_without_what_is_optional_says_who_wrote_what_and_what_became_of_it() {
    const OPTIONAL: [&str; 14] = [
        "display_phone_number",
        "messaging_product",
        "pricing",
        "profile",
        "timestamp",
        "sha256",
        "object",
        "href",
        "recipient_id",
        "recipient_user_id",
        "voice",
        "animated",
        "error_data",
        "contacts",
    ];
    fn bare(value: &Value) -> Value {
        match value {
            Value::Object(fields) => {
                let kept = fields.iter().filter(|(key, _)| !OPTIONAL.contains(&key.as_str()));
                Value::Object(kept.map(|(key, one)| (key.clone(), bare(one))).collect())
            }
            Value::Array(items) => items.iter().map(bare).collect(),
            other => other.clone(),
        }
    }
    let whole = batch(|_| {});
    let (mut receipts, mut inbound) = facts(&whole);
    receipts.iter_mut().for_each(|receipt| receipt.provider_time = None);
    for fact in &mut inbound {
        (fact.display_name, fact.provider_time) = (None, None);
    }
    assert_eq!(facts(&bare(&whole)), (receipts, inbound));
}

#[test]
fn what_is_broken_or_of_others_takes_nothing_of_the_rest_with_it() {
    let whole = facts(&batch(|_| {}));
    let value =
        json!({"contacts": [7, {}], "messages": [{"id": 7}, "words", null], "statuses": [{"status": "read"}, 3]});
    let broken = json!({"id": "1", "changes": [{"field": "messages", "value": value}, {"field": "messages"},
        {"field": "account_update", "value": {"event": "ACCOUNT_UPDATE"}}, {"field": "messages", "value": "words"}]});
    let among = batch(|entries| {
        entries.insert(0, broken.clone());
        entries.insert(7, broken.clone());
        entries.push(broken);
    });
    assert_eq!(facts(&among), whole);
}
