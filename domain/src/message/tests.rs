//! Golden documents of every version and kind, the published schemas, and what becomes of versions that are not known.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    Content, Direction, Document, PartyKind, Redaction, Stored,
    reading::{read, restore},
    schema::{CURRENT, Schema},
    v1::Document1,
};

mod fits;

macro_rules! golden {
    ($version:literal: $($kind:ident)+) => {
        &[$((stringify!($kind), include_str!(concat!("golden/", $version, "/", stringify!($kind), ".json")))),+]
    };
}

/// A published version: its number, its schema, and a document of each kind of content.
type Published = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const PUBLISHED: &[Published] = &[
    (
        "1.0",
        include_str!("../../../docs/schemas/message/1.0.json"),
        golden!("1.0": text email choices provider_template voice chosen key media location unsupported),
    ),
    (
        "2.0",
        include_str!("../../../docs/schemas/message/2.0.json"),
        golden!("2.0": text email choices provider_template voice chosen key media location unsupported
                       contact_card call_event form_answer note system redacted),
    ),
];

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// What the types of a version say of its form.
fn generated(version: &str) -> Option<String> {
    let mut schema = match version {
        "1.0" => schemars::schema_for!(Document1),
        version if version == CURRENT.version() => schemars::schema_for!(Document),
        _ => return None,
    };
    schema.insert("title".to_owned(), json!(format!("switchboard.message {version}")));
    Some(serde_json::to_string_pretty(&schema).unwrap() + "\n")
}

#[test]
fn published_schemas_say_what_the_types_say() {
    for (version, schema, _) in PUBLISHED {
        let generated = generated(version).expect("every published version has its types");
        assert!(
            parsed(schema) == parsed(&generated),
            "the types of version {version} are not what docs/schemas/message/{version}.json says. A published form never \
             changes: take the next version (see domain/src/message/schema.rs). The types say:\n{generated}"
        );
    }
}

#[test]
fn the_version_that_is_written_is_the_last_one_published() {
    assert_eq!(PUBLISHED.last().map(|(version, ..)| *version), Some(CURRENT.version().as_str()));
}

#[test]
fn every_kind_of_content_of_every_version_has_a_golden_document() {
    for (version, schema, golden) in PUBLISHED {
        let name = if *version == "1.0" { "Content1" } else { "Content" };
        let kinds: BTreeSet<String> = parsed(schema)["$defs"][name]["oneOf"]
            .as_array()
            .unwrap()
            .iter()
            .map(|kind| kind["properties"]["type"]["const"].as_str().unwrap().to_owned())
            .collect();
        let shown: BTreeSet<String> = golden.iter().map(|(kind, _)| (*kind).to_owned()).collect();
        assert_eq!(kinds, shown, "version {version}");
        for (kind, text) in *golden {
            assert_eq!(parsed(text)["content"]["type"], **kind);
        }
    }
}

#[test]
fn golden_documents_fit_their_published_schema() {
    for (version, schema, golden) in PUBLISHED {
        for (kind, text) in *golden {
            let faults = fits::faults(&parsed(schema), &parsed(text));
            assert!(faults.is_empty(), "{version}/{kind}: {faults:?}");
        }
    }
}

#[test]
fn a_document_with_a_fault_does_not_fit() {
    let (_, schema, golden) = PUBLISHED[1];
    for (path, wrong) in [("/seq", json!("1")), ("/content/type", json!("smoke")), ("/direction", json!("up"))] {
        let mut value = parsed(golden[0].1);
        *value.pointer_mut(path).unwrap() = wrong;
        assert!(!fits::faults(&parsed(schema), &value).is_empty(), "{path}");
    }
    let mut value = parsed(golden[0].1);
    value.as_object_mut().unwrap().remove("plain_text");
    assert!(!fits::faults(&parsed(schema), &value).is_empty());
}

#[test]
fn todays_documents_are_written_as_they_were_read() {
    let (_, _, golden) = PUBLISHED.last().unwrap();
    for (kind, text) in *golden {
        let value = parsed(text);
        let document = read(value.clone()).unwrap();
        assert_eq!(document.plain_text, document.content.plain_text(), "{kind}");
        let written = serde_json::to_value(&document).unwrap();
        // Times may be written with other digits for the same moment.
        assert_eq!(read(written.clone()).unwrap(), document, "{kind}");
        assert_eq!(written["content"], value["content"], "{kind}");
        assert_eq!(written["references"], value["references"], "{kind}");
    }
}

#[test]
fn documents_of_1_0_are_lifted_with_every_word() {
    for (kind, text) in PUBLISHED[0].2 {
        let old = parsed(text);
        let new = read(old.clone()).unwrap();
        assert_eq!(new.schema, CURRENT);
        assert_eq!(serde_json::to_value(&new.content).unwrap(), old["content"], "{kind}");
        assert_eq!(new.plain_text, old["plain_text"], "{kind}");
        assert_eq!(new.sender.display, old["sender"], "{kind}");
        assert_eq!(new.receiver.as_ref().unwrap().display, old["receiver"], "{kind}");
        let outbound = old["outbound"] == true;
        assert_eq!(new.direction == Direction::Outbound, outbound, "{kind}");
        assert_eq!(new.sender.kind == PartyKind::Business, outbound, "{kind}");
        assert_eq!(json!(new.references.provider_message), old["provider_message_id"], "{kind}");
        assert_eq!(new.channel, None, "1.0 did not keep the channel");
    }
}

#[test]
fn a_later_major_version_is_shown_by_its_words() {
    let future = json!({
        "schema": {"name": "switchboard.message", "major": 9, "minor": 4},
        "id": "01990b5c-0001-7000-8000-000000000001", "conversation": "01990b5c-9000-7000-8000-000000000001", "seq": 3,
        "sender": {"persona": "Asha"}, "plain_text": "a hologram of the dam", "content": {"hologram": [1, 2, 3]},
    });
    let document = read(future).unwrap();
    assert_eq!(document.content, Content::Unsupported { text: "a hologram of the dam".to_owned() });
    assert_eq!(document.content.plain_text(), "a hologram of the dam");
    assert_eq!((document.seq, document.schema.major), (3, 9));
}

#[test]
fn a_kind_of_content_of_a_later_minor_version_is_shown_by_its_words() {
    let mut value = parsed(PUBLISHED[1].2[0].1);
    value["content"] = json!({"type": "hologram", "points": 3});
    assert!(read(value.clone()).is_err(), "the version of today has no such kind");
    value["schema"]["minor"] = json!(CURRENT.minor + 1);
    value["mood"] = json!("calm");
    let document = read(value).unwrap();
    assert_eq!(document.content, Content::Unsupported { text: "The dam opens at noon.".to_owned() });
    assert_eq!(document.sender.kind, PartyKind::Business);
}

#[test]
fn what_is_no_message_is_refused() {
    for value in [json!(null), json!({}), json!({"schema": {"name": "other", "major": 2, "minor": 0}})] {
        assert!(read(value).is_err());
    }
    let mut value = parsed(PUBLISHED[1].2[0].1);
    value["schema"]["major"] = json!(0);
    assert!(read(value).is_err());
}

#[test]
fn the_first_redaction_stays_and_takes_every_word() {
    let golden = PUBLISHED[1].2.iter().find(|(kind, _)| *kind == "provider_template").unwrap().1;
    let mark =
        |by: &str| Redaction { by: by.into(), reason: "asked".into(), at: "2026-11-21T09:00:00Z".parse().unwrap() };
    let once = read(parsed(golden)).unwrap().redacted(mark("a"));
    let text = serde_json::to_string(&once).unwrap();
    assert!(!text.contains("noon"), "{text}");
    assert_eq!(once.clone().redacted(mark("b")), once);
}

fn stored(version: &str, content: Value, envelope: Option<Value>) -> Stored {
    let at = "2026-11-20T10:00:01Z".parse().unwrap();
    Stored {
        version: version.into(),
        id: uuid::Uuid::nil(),
        conversation: uuid::Uuid::nil(),
        seq: 1,
        direction: Direction::Inbound,
        sender: "Asha".into(),
        receiver: "+15550001111".into(),
        channel: None,
        content,
        plain_text: "Hello".into(),
        envelope,
        redaction: None,
        times: (None, at, at),
        provider_message: None,
        in_reply_to: None,
        notification: None,
        delivery: None,
    }
}

#[test]
fn rows_of_every_version_can_be_shown() {
    let text = json!({"type": "text", "text": "Hello"});
    let old = restore(stored("1.0", text.clone(), None));
    assert_eq!((old.schema, old.content), (CURRENT, Content::Text { text: "Hello".into() }));
    assert_eq!(old.sender.kind, PartyKind::Contact);

    let envelope = json!({"sender": {"kind": "bot", "display": "Helper"}, "language": "hi"});
    let new = restore(stored("2.0", text, Some(envelope)));
    assert_eq!((new.sender.kind, new.language.as_deref()), (PartyKind::Bot, Some("hi")));

    for version in ["2.7", "7.0", "not a version"] {
        let future = restore(stored(version, json!({"type": "hologram"}), Some(json!({"shape": "unknown"}))));
        assert_eq!(future.content, Content::Unsupported { text: "Hello".into() }, "{version}");
        assert_eq!(future.sender.display, "Asha", "{version}");
    }
}

#[test]
fn a_redacted_row_never_shows_its_words() {
    let mut row = stored("1.0", json!({"type": "text", "text": "secret"}), None);
    row.plain_text = "secret".into();
    row.redaction =
        Some(Redaction { by: "a".into(), reason: "asked".into(), at: "2026-11-21T09:00:00Z".parse().unwrap() });
    let text = serde_json::to_string(&restore(row)).unwrap();
    assert!(!text.contains("secret"), "{text}");
}

#[test]
fn versions_are_read_and_written() {
    assert_eq!(Schema::parse("2.0"), Some(CURRENT));
    assert_eq!(Schema::parse("2"), None);
    assert_eq!(CURRENT.version(), "2.0");
}
