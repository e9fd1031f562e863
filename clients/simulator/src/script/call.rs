//! What a person does when the telephone rings.

use serde::{Deserialize, Serialize};

use super::message::{Failure, Misbehaviour};
use super::span::{Span, When};

/// The script of one person's telephone. An empty script is answered by a person after two seconds who presses nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CallScript {
    /// Who or what takes the call. Default `human`.
    pub answer: Answer,
    /// When the telephone begins to ring, counted from the acceptance of the call. Default one second.
    pub ring_after: Span,
    /// When it is answered, or found busy or failed, counted from the first ring. Default two seconds. A call that is not answered
    /// ends after the `Timeout` of the request whatever this says.
    pub answer_after: Span,
    /// What is pressed at each `<Gather>`, in order; at later ones nothing is pressed.
    pub keys: Vec<KeyPress>,
    /// When the person hangs up, counted from the answer. Default never.
    pub hang_up_after: When,
    /// How long each character of `<Say>` takes to be spoken. Default 0: speech takes no time.
    pub speech_per_character: Span,
    /// What `AnsweredBy` says of an answering machine. Default `machine_start`, or `machine_end_beep` where its end is waited for.
    pub machine: Option<MachineKind>,
    /// A refusal of the request with a code such as 21211 (`sync` must be true: a call that fails later is `answer = "failed"`).
    pub fail: Option<Failure>,
    /// How many requests to this number are refused as too many (20429) before one is accepted.
    pub throttle: u32,
    /// How the provider's own HTTP answer goes wrong.
    pub misbehave: Option<Misbehaviour>,
    /// How many further copies of every status callback are posted. Default 0.
    pub duplicates: u32,
}

/// Who or what takes a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// A person.
    #[default]
    Human,
    /// An answering machine.
    Machine,
    /// Nobody: it rings until the call's timeout.
    NoAnswer,
    /// The line is engaged.
    Busy,
    /// The network cannot connect the call (SIP 404).
    Failed,
}

/// The keys pressed at one `<Gather>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyPress {
    /// Digits, `*` and `#`; empty lets this `<Gather>` pass without a key.
    pub digits: String,
    /// When they are pressed, counted from the beginning of the `<Gather>`. Default one second.
    #[serde(default = "one_second")]
    pub after: Span,
}

/// What machine detection says of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MachineKind {
    /// An answering machine that has begun to speak.
    MachineStart,
    /// Its greeting has ended with a beep.
    MachineEndBeep,
    /// Its greeting has ended in silence.
    MachineEndSilence,
    /// Its greeting has ended in another way.
    MachineEndOther,
    /// A fax.
    Fax,
    /// Detection could not tell.
    Unknown,
}

impl MachineKind {
    /// The word that Twilio uses in `AnsweredBy`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MachineStart => "machine_start",
            Self::MachineEndBeep => "machine_end_beep",
            Self::MachineEndSilence => "machine_end_silence",
            Self::MachineEndOther => "machine_end_other",
            Self::Fax => "fax",
            Self::Unknown => "unknown",
        }
    }
}

fn one_second() -> Span {
    Span::seconds(1)
}

impl Default for CallScript {
    fn default() -> Self {
        Self {
            answer: Answer::Human,
            ring_after: one_second(),
            answer_after: Span::seconds(2),
            keys: Vec::new(),
            hang_up_after: When::Never,
            speech_per_character: Span::default(),
            machine: None,
            fail: None,
            throttle: 0,
            misbehave: None,
            duplicates: 0,
        }
    }
}

impl CallScript {
    /// A person who answers and presses these digits, one entry for each `<Gather>`.
    pub fn presses(keys: &[&str]) -> Self {
        let keys = keys.iter().map(|digits| KeyPress { digits: (*digits).to_owned(), after: one_second() }).collect();
        Self { keys, ..Self::default() }
    }

    /// A call that is taken in this way.
    pub fn answered(answer: Answer) -> Self {
        Self { answer, ..Self::default() }
    }

    /// Says everything that is contradictory in this script, each with the place that it concerns.
    pub(super) fn problems(&self, place: &str, found: &mut Vec<String>) {
        for (at, key) in self.keys.iter().enumerate() {
            if !key.digits.chars().all(|c| c.is_ascii_digit() || matches!(c, '*' | '#')) {
                found.push(format!("{place}.keys[{at}].digits: a telephone has only 0 to 9, * and #"));
            }
        }
        if self.fail.as_ref().is_some_and(|fail| !fail.sync) {
            found.push(format!(
                "{place}.fail: a call fails later through `answer = \"failed\"`; set `sync = true` to refuse it"
            ));
        }
    }
}
