//! The people of the story: their rows, what their telephones do, and what must become of each.
//!
//! The story is told in `story.rs`; whether it went as written here is found in `verdict.rs`.

use proto::v1::{ChannelType, SkipReason, delivery, notification};
use serde_json::{Value, json};

/// A row of the department's table `grievances`.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// The public number of the complaint.
    pub number: &'a str,
    /// The id of the citizen in the department's register.
    pub citizen_id: &'a str,
    /// What the citizen is called.
    pub citizen: &'a str,
    /// The telephone number as a clerk typed it.
    pub phone: &'a str,
    /// The mail address.
    pub email: &'a str,
    /// The language.
    pub language: &'a str,
    /// What it is about.
    pub subject: &'a str,
    /// `open` or `resolved`; only resolved ones are to be told.
    pub status: &'a str,
}

impl<'a> Row<'a> {
    /// The values in the order of the columns in [`crate::office::insert`].
    pub fn fields(&self) -> [&'a str; 8] {
        let Self { number, citizen_id, citizen, phone, email, language, subject, status } = *self;
        [number, citizen_id, citizen, phone, email, language, subject, status]
    }
}

/// What must have become of one delivery.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    /// On which channel type.
    pub channel_type: ChannelType,
    /// How it stands in the end.
    pub state: delivery::State,
    /// The provider's code; empty where there is none.
    pub code: &'static str,
}

/// What must have become of a person.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    /// In words, for the table.
    pub words: &'static str,
    /// Where the notification ends.
    pub state: notification::State,
    /// Why it was skipped.
    pub skip: SkipReason,
    /// On which channel type the person answered.
    pub answered_on: Option<ChannelType>,
    /// Every delivery in order, and not one more.
    pub ways: &'static [Way],
    /// Whether the department is asked by mail to call.
    pub listed: bool,
}

/// One person of the story.
#[derive(Debug, Clone)]
pub struct Person {
    /// The row.
    pub row: Row<'static>,
    /// The number in E.164, under which the handset is scripted.
    pub phone: &'static str,
    /// What the handset does; see the README of the simulator.
    pub handset: Value,
    /// What must become of the person.
    pub expected: Expected,
}

const fn row(
    number: &'static str,
    citizen: (&'static str, &'static str),
    phone: &'static str,
    email: &'static str,
    language: &'static str,
    subject: &'static str,
) -> Row<'static> {
    let status = "resolved";
    Row { number, citizen_id: citizen.0, citizen: citizen.1, phone, email, language, subject, status }
}

const fn way(channel_type: ChannelType, state: delivery::State, code: &'static str) -> Way {
    Way { channel_type, state, code }
}

const WHATSAPP_READ: Way = way(ChannelType::Whatsapp, delivery::State::Read, "");
const SMS_DELIVERED: Way = way(ChannelType::Sms, delivery::State::Delivered, "");

const CHITRAS_WAYS: &[Way] = &[way(ChannelType::Whatsapp, delivery::State::Failed, "131026"), SMS_DELIVERED];
const DEVS_WAYS: &[Way] = &[
    way(ChannelType::Whatsapp, delivery::State::Delivered, ""),
    way(ChannelType::Sms, delivery::State::Failed, "30005"),
    way(ChannelType::Voice, delivery::State::Read, ""),
];
const ESHAS_WAYS: &[Way] = &[
    way(ChannelType::Whatsapp, delivery::State::Sent, ""),
    way(ChannelType::Sms, delivery::State::Sent, ""),
    way(ChannelType::Voice, delivery::State::Failed, "no-answer"),
];

const fn answered(words: &'static str, on: ChannelType, ways: &'static [Way]) -> Expected {
    let (state, skip) = (notification::State::Replied, SkipReason::Unspecified);
    Expected { words, state, skip, answered_on: Some(on), ways, listed: false }
}

/// Asha answers on WhatsApp.
pub fn asha() -> Person {
    Person {
        row: row("G-1001", ("C-1", "Asha"), "98120 00001", "asha@example.org", "hi", "street light"),
        phone: "+919812000001",
        handset: json!({"name": "Asha", "whatsapp": {"read_after": "1s", "replies": [{"after": "2s", "text": "हाँ, धन्यवाद"}]}}),
        expected: answered("answers on WhatsApp", ChannelType::Whatsapp, &[WHATSAPP_READ]),
    }
}

/// Bilal reads on WhatsApp without a word, and answers by SMS.
pub fn bilal() -> Person {
    Person {
        row: row("G-1002", ("C-2", "Bilal"), "098120-00002", "bilal@example.org", "en", "water supply"),
        phone: "+919812000002",
        handset: json!({"name": "Bilal", "whatsapp": {"read_after": "1s"}, "sms": {"replies": [{"after": "2s", "text": "Yes it is solved"}]}}),
        expected: answered("reads WhatsApp, answers by SMS", ChannelType::Sms, &[WHATSAPP_READ, SMS_DELIVERED]),
    }
}

/// Chitra has no WhatsApp.
pub fn chitra() -> Person {
    Person {
        row: row("G-1003", ("C-3", "Chitra"), "+91 98120 00003", "chitra@example.org", "hi", "drainage"),
        phone: "+919812000003",
        handset: json!({"name": "Chitra", "whatsapp": {"not_on_whatsapp": true}, "sms": {"replies": [{"after": "2s", "text": "ठीक है"}]}}),
        expected: answered("has no WhatsApp, answers by SMS", ChannelType::Sms, CHITRAS_WAYS),
    }
}

/// Dev's SMS fails for good; he answers the call and presses 1.
pub fn dev() -> Person {
    Person {
        row: row("G-1004", ("C-4", "Dev"), "9812000004", "dev@example.org", "en", "garbage"),
        phone: "+919812000004",
        handset: json!({
            "name": "Dev",
            "whatsapp": {},
            "sms": {"fail": {"code": 30005, "after": "1s"}},
            "voice": {"answer": "human", "answer_after": "1s", "keys": [{"digits": "1", "after": "2s"}]},
        }),
        expected: Expected {
            words: "SMS fails for good, presses 1 in the call",
            state: notification::State::Acknowledged,
            skip: SkipReason::Unspecified,
            answered_on: Some(ChannelType::Voice),
            ways: DEVS_WAYS,
            listed: false,
        },
    }
}

/// Esha's telephone is off: nothing reaches her.
pub fn esha() -> Person {
    Person {
        row: row("G-1005", ("C-5", "Esha"), "98120 00005", "esha@example.org", "hi", "road repair"),
        phone: "+919812000005",
        handset: json!({
            "name": "Esha",
            "whatsapp": {"deliver_after": "never"},
            "sms": {"deliver_after": "never"},
            "voice": {"answer": "no_answer"},
        }),
        expected: Expected {
            words: "is never reached: on the list that is mailed",
            state: notification::State::Exhausted,
            skip: SkipReason::Unspecified,
            answered_on: None,
            ways: ESHAS_WAYS,
            listed: true,
        },
    }
}

/// Farid wrote STOP before, and the department's form says the same for the other channels.
pub fn farid() -> Person {
    Person {
        row: row("G-1006", ("C-6", "Farid"), "98120 00006", "farid@example.org", "en", "noise"),
        phone: "+919812000006",
        handset: json!({"name": "Farid"}),
        expected: Expected {
            words: "opted out: nothing is sent",
            state: notification::State::Skipped,
            skip: SkipReason::OptedOut,
            answered_on: None,
            ways: &[],
            listed: false,
        },
    }
}

/// Gauri's number was typed wrong; it is corrected, and the firing replayed.
pub fn gauri() -> Person {
    Person {
        row: row("G-1007", ("C-7", "Gauri"), "98120-0000", "", "hi", "stray cattle"),
        phone: "+919812000007",
        handset: json!({"name": "Gauri", "whatsapp": {"read_after": "1s", "replies": [{"after": "2s", "choose": 1}]}}),
        expected: answered(
            "bad number, corrected, replayed: answers by button",
            ChannelType::Whatsapp,
            &[WHATSAPP_READ],
        ),
    }
}

/// Hari's row is written while Switchboard is stopped.
pub fn hari() -> Person {
    Person {
        row: row("G-1008", ("C-8", "Hari"), "98120 00008", "hari@example.org", "en", "broken bench"),
        phone: "+919812000008",
        handset: json!({"name": "Hari", "whatsapp": {"read_after": "1s", "replies": [{"after": "2s", "choose": 1}]}}),
        expected: answered("written while Switchboard was stopped: answers", ChannelType::Whatsapp, &[WHATSAPP_READ]),
    }
}

/// Everybody of whom something must become.
pub fn everybody() -> Vec<Person> {
    vec![asha(), bilal(), chitra(), dev(), esha(), farid(), gauri(), hari()]
}

/// A row that was there before the table was watched: shown by the dry run, and nothing more.
pub const OLD_ROW: Row<'static> = row("G-0999", ("C-9", "Jaya"), "98120 00009", "jaya@example.org", "hi", "park gate");

/// A row whose transaction is rolled back.
pub const ROLLED_BACK: Row<'static> =
    row("G-1010", ("C-10", "Ishaan"), "98120 00010", "ishaan@example.org", "en", "pothole");

/// A row that the condition of the watch leaves out.
pub const STILL_OPEN: Row<'static> =
    Row { status: "open", ..row("G-1011", ("C-11", "Kiran"), "98120 00011", "kiran@example.org", "en", "bus stop") };

/// The numbers of those to whom nothing may be sent at all.
pub const NOT_TO_BE_TOLD: [(&Row<'static>, &str); 3] =
    [(&OLD_ROW, "+919812000009"), (&ROLLED_BACK, "+919812000010"), (&STILL_OPEN, "+919812000011")];
