//! Who is told, what their handsets do, and what must become of each: the timeline in hours and minutes after the rows were
//! written, and every delivery with what the provider said of it.

use std::collections::BTreeSet;

use proto::v1::{self, Evidence};
use simulator::script::Handset;

/// A row of the department.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    pub number: &'static str,
    pub citizen: &'static str,
    pub name: &'static str,
    pub phone: &'static str,
    pub language: &'static str,
    pub status: &'static str,
}

/// A person of the story.
pub struct Person {
    pub row: Row,
    pub phone: &'static str,
    pub handset: Handset,
    pub timeline: Vec<&'static str>,
    pub deliveries: Vec<&'static str>,
}

pub const FARIDS_PHONE: &str = "+919812000006";

/// A row whose transaction is rolled back.
pub const ISHAAN: Row = row("G-1009", "C-11", "Ishaan", "98120 00011", "en");
/// A row that the condition leaves out.
pub const KIRAN: Row = Row { status: "open", ..row("G-1010", "C-12", "Kiran", "98120 00012", "en") };
pub const NOT_TO_BE_TOLD: [(&str, &str); 3] =
    [("Jaya", "+919812000010"), ("Ishaan", "+919812000011"), ("Kiran", "+919812000012")];

const fn row(
    number: &'static str,
    citizen: &'static str,
    name: &'static str,
    phone: &'static str,
    language: &'static str,
) -> Row {
    Row { number, citizen, name, phone, language, status: "resolved" }
}

/// The statement that writes these rows.
pub fn insert(rows: &[Row]) -> String {
    let values = rows.iter().map(|r| {
        let Row { number, citizen, name, phone, language, status } = r;
        let mail = name.to_lowercase();
        // Gauri has no mail: a row with any usable address is mapped.
        let mail = if *name == "Gauri" { "null".to_owned() } else { format!("'{mail}@example.org'") };
        format!("('{number}', '{citizen}', '{name}', '{phone}', {mail}, '{language}', 'street light', '{status}')")
    });
    let values: Vec<String> = values.collect();
    let columns = "number, citizen_id, citizen, phone, email, language, subject, status";
    format!("insert into grievances ({columns}) values {};", values.join(", "))
}

/// A delivery in a line: how it stands, and what the provider said of it. A call is told of again and again while it goes on, so
/// each thing that was said stands here once, from the least to the most.
pub fn delivery_words(delivery: &v1::Delivery) -> String {
    let said: BTreeSet<i32> = delivery.receipts.iter().map(|receipt| receipt.evidence).collect();
    let word = |said: i32| Evidence::try_from(said).unwrap_or_default().as_str_name();
    let said = said.into_iter().map(|said| word(said).trim_start_matches("EVIDENCE_").to_lowercase());
    let said: Vec<String> = said.collect();
    let code = if delivery.failure_code.is_empty() { String::new() } else { format!(" {}", delivery.failure_code) };
    let medium = delivery.channel_type().as_str_name().trim_start_matches("CHANNEL_TYPE_");
    let late = if delivery.receipts.iter().any(|r| r.late) { ", late" } else { "" };
    format!("{medium} {}{code}: {}{late}", delivery.state().as_str_name(), said.join(" "))
}

fn handset(json: serde_json::Value) -> Handset {
    serde_json::from_value(json).expect("a handset script")
}

/// Everybody of whom something must become.
pub fn everybody() -> Vec<Person> {
    use serde_json::json;
    vec![
        Person {
            row: row("G-1001", "C-1", "Asha", "98120 00001", "hi"),
            phone: "+919812000001",
            handset: handset(
                json!({"whatsapp": {"read_after": "30m", "replies": [{"after": "60m", "text": "हाँ, धन्यवाद"}]}}),
            ),
            timeline: vec!["0:00 CREATED", "0:00 STEP_STARTED 0 WHATSAPP", "1:00 REPLY WHATSAPP", "1:00 ENDED"],
            deliveries: vec!["WHATSAPP READ: sent delivered read"],
        },
        Person {
            row: row("G-1002", "C-2", "Bilal", "098120-00002", "en"),
            phone: "+919812000002",
            handset: handset(json!({
                "whatsapp": {"read_after": "60m"},
                "sms": {"replies": [{"after": "2h", "text": "Yes it is solved"}]},
            })),
            timeline: vec![
                "0:00 CREATED",
                "0:00 STEP_STARTED 0 WHATSAPP",
                "6:00 STEP_TIMED_OUT 0 WHATSAPP",
                "6:00 STEP_STARTED 1 SMS",
                "8:00 REPLY SMS",
                "8:00 ENDED",
            ],
            deliveries: vec!["WHATSAPP READ: sent delivered read", "SMS DELIVERED: sent delivered"],
        },
        Person {
            row: row("G-1003", "C-3", "Chitra", "+91 98120 00003", "hi"),
            phone: "+919812000003",
            handset: handset(json!({
                "whatsapp": {"not_on_whatsapp": true},
                "sms": {"replies": [{"after": "3h", "text": "ठीक है"}]},
            })),
            timeline: vec![
                "0:00 CREATED",
                "0:00 STEP_STARTED 0 WHATSAPP",
                "0:00 STEP_FAILED 0 WHATSAPP",
                "0:00 STEP_STARTED 1 SMS",
                "3:00 REPLY SMS",
                "3:00 ENDED",
            ],
            deliveries: vec!["WHATSAPP FAILED 131026: failed", "SMS DELIVERED: sent delivered"],
        },
        Person {
            row: row("G-1004", "C-4", "Dev", "9812000004", "en"),
            phone: "+919812000004",
            handset: handset(json!({
                "whatsapp": {},
                "sms": {"fail": {"code": 30005, "after": "1h"}},
                "voice": {"answer": "human", "keys": [{"digits": "1", "after": "2s"}]},
            })),
            timeline: vec![
                "0:00 CREATED",
                "0:00 STEP_STARTED 0 WHATSAPP",
                "6:00 STEP_TIMED_OUT 0 WHATSAPP",
                "6:00 STEP_STARTED 1 SMS",
                "7:00 STEP_FAILED 1 SMS",
                "7:00 STEP_STARTED 2 VOICE",
                "7:00 REPLY VOICE",
                "7:00 ENDED",
            ],
            deliveries: vec![
                "WHATSAPP DELIVERED: sent delivered",
                "SMS FAILED 30005: sent failed",
                "VOICE READ: sent read",
            ],
        },
        Person {
            row: row("G-1005", "C-5", "Esha", "98120 00005", "hi"),
            phone: "+919812000005",
            handset: handset(json!({
                "whatsapp": {"deliver_after": "never"},
                "sms": {"deliver_after": "never"},
                "voice": {"answer": "no_answer"},
            })),
            timeline: vec![
                "0:00 CREATED",
                "0:00 STEP_STARTED 0 WHATSAPP",
                "6:00 STEP_TIMED_OUT 0 WHATSAPP",
                "6:00 STEP_STARTED 1 SMS",
                "10:00 STEP_TIMED_OUT 1 SMS",
                "10:00 STEP_STARTED 2 VOICE",
                "10:00 STEP_FAILED 2 VOICE",
                "10:00 LISTED",
                "10:00 ENDED",
            ],
            deliveries: vec!["WHATSAPP SENT: sent", "SMS SENT: sent", "VOICE FAILED no-answer: sent failed"],
        },
        Person {
            row: row("G-1006", "C-6", "Farid", "98120 00006", "en"),
            phone: FARIDS_PHONE,
            handset: Handset::default(),
            timeline: vec![
                "0:00 CREATED",
                "0:00 STEP_SKIPPED 0 WHATSAPP",
                "0:00 STEP_SKIPPED 1 SMS",
                "0:00 STEP_SKIPPED 2 VOICE",
                "0:00 STEP_SKIPPED 3",
                "0:00 ENDED",
            ],
            deliveries: vec![],
        },
        Person {
            row: row("G-1007", "C-7", "Gauri", "98120-0000", "hi"),
            phone: "+919812000007",
            handset: handset(json!({"whatsapp": {"read_after": "30m", "replies": [{"after": "60m", "choose": 1}]}})),
            timeline: vec!["9:00 CREATED", "9:00 STEP_STARTED 0 WHATSAPP", "10:00 REPLY WHATSAPP", "10:00 ENDED"],
            deliveries: vec!["WHATSAPP READ: sent delivered read"],
        },
        Person {
            row: row("G-1008", "C-8", "Hari", "98120 00008", "en"),
            phone: "+919812000008",
            handset: handset(json!({"whatsapp": {"read_after": "30m", "replies": [{"after": "60m", "choose": 2}]}})),
            timeline: vec!["0:00 CREATED", "0:00 STEP_STARTED 0 WHATSAPP", "1:00 REPLY WHATSAPP", "1:00 ENDED"],
            deliveries: vec!["WHATSAPP READ: sent delivered read"],
        },
    ]
}
