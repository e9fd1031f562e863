//! The form of a record: golden, lifted, redacted, refused.

use super::*;
use crate::message::Content;

const GOLDEN: &str = include_str!("golden/1.0.jsonl");

#[test]
fn the_golden_record_is_read_and_written_as_it_was() {
    let record = Record::read(GOLDEN.as_bytes()).unwrap();
    assert_eq!(record.schema, CURRENT);
    assert_eq!((record.messages.len(), record.activities.len(), record.parts().len()), (2, 2, 2));
    let again = Record::read(&record.line().unwrap()).unwrap();
    assert_eq!(again, record);
    let golden: Value = serde_json::from_str(GOLDEN).unwrap();
    assert_eq!(serde_json::to_value(&record).unwrap(), golden, "the form changed: it needs another version");
}

#[test]
fn a_line_has_no_line_feed_inside() {
    let mut record = Record::read(GOLDEN.as_bytes()).unwrap();
    for kept in &mut record.messages {
        kept.document.plain_text = "one\ntwo\r\n".into();
    }
    let line = record.line().unwrap();
    assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
    assert_eq!(line.last(), Some(&b'\n'));
}

#[test]
fn what_a_later_minor_version_adds_is_left_out_and_a_later_major_version_is_refused() {
    let mut value: Value = serde_json::from_str(GOLDEN).unwrap();
    value["schema"]["minor"] = 7.into();
    value["conversation"]["mood"] = "calm".into();
    assert!(Record::read(value.to_string().as_bytes()).is_ok());
    value["schema"]["major"] = 2.into();
    assert_eq!(Record::read(value.to_string().as_bytes()), Err(Unreadable::Later(2)));
    value["schema"]["major"] = 0.into();
    assert!(matches!(Record::read(value.to_string().as_bytes()), Err(Unreadable::Broken(_))));
    assert!(matches!(Record::read(b"{}"), Err(Unreadable::Broken(_))));
}

#[test]
fn words_that_are_taken_away_are_nowhere_in_the_record() {
    let mut record = Record::read(GOLDEN.as_bytes()).unwrap();
    let first = record.messages[0].document.id;
    let words = record.messages[0].document.plain_text.clone();
    let mark = Redaction { by: "Meera".into(), reason: "asked".into(), at: DateTime::UNIX_EPOCH };
    record.redact(first, &mark);
    record.redact(Uuid::nil(), &mark);
    assert_eq!(record.messages[0].document.content, Content::Redacted {});
    assert_eq!(record.messages[0].document.redaction.as_ref(), Some(&mark));
    assert!(record.messages[1].document.redaction.is_none());
    assert!(!String::from_utf8(record.line().unwrap()).unwrap().contains(&words));
}
