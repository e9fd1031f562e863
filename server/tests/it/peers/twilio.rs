//! Twilio's webhooks as Twilio's own library signs and checks them, and its scripts as that library writes them.

use std::collections::BTreeMap;

use domain::{
    channel::AddressKind,
    delivery::{Evidence, FailureClass},
    message::Content,
};
use quick_xml::{Reader, events::Event};
use serde_json::{Value, json};
use server::channels::{CallStep, Connector, WebhookAnswer, WebhookError, WebhookFacts};

use super::{assert_same_verdicts, connector, fixture, text, webhook};

const BASE: &str = "https://alerts.example.org/webhooks/7";
const DELIVERY: &str = "0198b6a4-7c1e-7d7e-9c39-2f2f6a1b0001";

pub(super) fn account() -> Value {
    json!({"account_sid": "AC00000000000000000000000000000000", "auth_token_env": "a-token-of-the-account",
           "webhook_key_env": "a-secret-of-a-shared-key"})
}

fn read(case: &Value) -> Result<WebhookFacts, WebhookError> {
    let url = text(case, "url");
    let name = if url.contains("/voice") { "twilio-voice" } else { "twilio-sms" };
    let headers = [
        ("content-type", case["type"].as_str()),
        ("x-twilio-signature", case["signature"].as_str()),
        ("x-twilio-webhooks-signature-settings", case["settings"].as_str()),
    ];
    match connector(name, account()).read_webhook(&webhook(url, &headers, text(case, "body"))) {
        // A body that is no form was taken by its signature, and says nothing that a message must say.
        Err(WebhookError::Malformed(_)) if case["type"] == "application/json" => Ok(WebhookFacts::default()),
        outcome => outcome,
    }
}

#[test]
fn decides_on_every_signature_as_twilios_own_library_does() {
    let fixture = fixture("twilio/signatures.json");
    assert_eq!(
        (text(&fixture, "token"), text(&fixture, "shared")),
        ("a-token-of-the-account", "a-secret-of-a-shared-key")
    );
    assert_same_verdicts(&fixture["cases"], read);
}

#[test]
fn reads_the_parameters_of_its_documentation() {
    let fixture = fixture("twilio/signatures.json");
    let facts = |name: &str| {
        let cases = fixture["cases"].as_array().expect("cases");
        read(cases.iter().find(|case| case["name"] == name).expect(name)).expect(name)
    };
    for order in ["as sent", "parameters in reverse", "a parameter twice, the same"] {
        let inbound = &facts(&format!("a message comes in: {order}")).inbound[0];
        assert_eq!(inbound.content, Content::Text { text: "हाँ, it's 100% ok & done+1 = 😀".to_owned() });
        assert_eq!((inbound.from[0].kind, inbound.from[0].value.as_str()), (AddressKind::Phone, "+919812345678"));
        assert_eq!((inbound.provider_message_id.as_str(), inbound.to.as_str()), ("SM11", "+15550001111"));

        let receipt = &facts(&format!("a status: {order}")).receipts[0];
        assert_eq!((receipt.provider_message_id.as_str(), receipt.evidence), ("SM12", Evidence::Failed));
        assert_eq!(receipt.echo, Some((DELIVERY.parse().expect("an id"), 1)));
        let failure = receipt.failure.as_ref().expect("a failure");
        assert_eq!((failure.code.as_str(), failure.class), ("30005", FailureClass::FallOver));

        let call = facts(&format!("a step of a call: {order}"));
        let step = call.call.expect("a step");
        assert_eq!((step.digits.as_deref(), step.round, step.machine), (Some("1"), 0, false));
        assert_eq!(call.inbound[0].provider_message_id, "CA13:0");
        assert_eq!(call.receipts[0].evidence, Evidence::Read);
    }
}

/// A form without the fields that nothing depends on, and one with fields of the future, say the same as the whole.
#[test]
fn needs_few_parameters_and_bears_new_ones() {
    let voice = connector("twilio-voice", account());
    let sms = connector("twilio-sms", account());
    let read = |connector: &dyn Connector, url: &str, pairs: &[(String, String)]| {
        let signature = simulator::signature::twilio("a-token-of-the-account", url, pairs);
        let body: Vec<_> = pairs.iter().map(|(key, value)| format!("{key}={}", value.replace('+', "%2B"))).collect();
        let facts = connector.read_webhook(&webhook(url, &[("x-twilio-signature", Some(&signature))], &body.join("&")));
        facts.map(|facts| (facts.receipts, facts.inbound, facts.call))
    };
    let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect::<Vec<_>>();
    let ids = format!("d={DELIVERY}&n=1");
    for (connector, url, must, may) in [
        (
            &sms,
            format!("{BASE}/status?{ids}"),
            vec![("MessageSid", "SM1"), ("MessageStatus", "delivered")],
            "RawDlrDoneDate",
        ),
        (
            &sms,
            format!("{BASE}/inbound"),
            vec![("MessageSid", "SM2"), ("From", "+919812345678"), ("To", "+15550001111"), ("Body", "yes")],
            "ChannelMetadata",
        ),
        (&voice, format!("{BASE}/status?{ids}"), vec![("CallSid", "CA1"), ("CallStatus", "busy")], "StirVerstat"),
        (
            &voice,
            format!("{BASE}/voice?{ids}&r=0"),
            vec![("CallSid", "CA1"), ("To", "+919812345678"), ("From", "+15550001111"), ("Digits", "2")],
            "CallToken",
        ),
    ] {
        let bare = read(connector.as_ref(), &url, &pairs(&must)).expect("the bare form is enough");
        assert!(bare.0.len() + bare.1.len() > 0, "{url} says nothing");
        let mut more = must.clone();
        more.insert(0, (may, "x"));
        more.push(("A_new.field[0]", "1"));
        assert_eq!(read(connector.as_ref(), &url, &pairs(&more)).expect("new fields change nothing"), bare);
        for missing in must.iter().filter(|(key, _)| !matches!(*key, "Body" | "Digits")) {
            let rest: Vec<_> = must.iter().copied().filter(|pair| pair != missing).collect();
            let outcome = read(connector.as_ref(), &url, &pairs(&rest));
            let says = |error: &str| error.contains(missing.0);
            assert!(matches!(&outcome, Err(WebhookError::Malformed(error)) if says(error)), "{missing:?}: {outcome:?}");
        }
    }
}

/// The elements of a script in their order, each with its attributes, and the words between them.
fn outline(xml: &str) -> Vec<String> {
    let (mut reader, mut outline) = (Reader::from_str(xml), Vec::new());
    let element = |start: &quick_xml::events::BytesStart<'_>| {
        let attributes = start.attributes().map(|one| {
            let one = one.expect("an attribute");
            (one.key.as_ref().to_owned(), one.value.clone().into_owned())
        });
        format!("<{} {:?}>", start.name().as_ref(), attributes.collect::<BTreeMap<_, _>>())
    };
    loop {
        match reader.read_event().expect("XML") {
            Event::Eof => return outline,
            Event::Start(start) => outline.push(element(&start)),
            Event::Empty(start) => outline.extend([element(&start), "</>".to_owned()]),
            Event::End(_) => outline.push("</>".to_owned()),
            Event::Text(words) => outline.push(words.to_string()),
            Event::GeneralRef(entity) => outline.push(format!("&{};", &*entity)),
            _ => {}
        }
    }
}

#[test]
fn writes_scripts_as_twilios_own_library_does() {
    let scripts = fixture("twilio/scripts.json");
    let content = Content::Voice {
        say: "Is the water back? Press 1 for yes & 2 for <no>.".to_owned(),
        language: "en-IN".to_owned(),
        keys: serde_json::from_value(json!([{"id": "1", "title": "yes"}, {"id": "2", "title": "no"}])).expect("keys"),
        repeat: 2,
        thanks: Some("Thank you.".to_owned()),
    };
    let step = |digits: Option<&str>, machine| CallStep {
        delivery_id: DELIVERY.parse().expect("an id"),
        attempt: 1,
        round: 0,
        digits: digits.map(str::to_owned),
        machine,
    };
    let voice = connector("twilio-voice", account());
    for (name, step) in
        [("question", step(None, false)), ("thanks", step(Some("1"), false)), ("machine", step(None, true))]
    {
        let WebhookAnswer::Body { body, .. } = voice.script(&content, &step, BASE).expect(name) else {
            panic!("{name}: no script")
        };
        assert_eq!(outline(&body), outline(text(&scripts, name)), "{name}");
    }
}
