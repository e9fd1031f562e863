//! Handset scripts: data that says what a person does with what reaches them, on each channel.
//!
//! A script is read from TOML or JSON, checked as a whole, and knows nothing of clocks, HTTP or providers; `phones` plays it.

mod call;
mod message;
mod span;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use call::{Answer, CallScript, KeyPress, MachineKind};
pub use message::{Choice, Failure, Fault, MessageScript, Misbehaviour, Reply, ServiceWindow};
pub use span::{Span, When};

/// One person's telephone: a script for each channel. A channel without a script follows the defaults.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Handset {
    /// The profile name shown to businesses on WhatsApp. Default the number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The business-scoped WhatsApp user id, such as `IN.13491208655302741918`. Without it one is made from the number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// The person has a username: WhatsApp webhooks carry neither `wa_id` nor `from`, only the user id.
    pub hide_number: bool,
    /// What happens to WhatsApp messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub whatsapp: Option<MessageScript>,
    /// What happens to SMS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sms: Option<MessageScript>,
    /// What happens to calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub voice: Option<CallScript>,
}

/// The scripts of all numbers that have none of their own.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Defaults {
    /// What happens to WhatsApp messages.
    pub whatsapp: MessageScript,
    /// What happens to SMS.
    pub sms: MessageScript,
    /// What happens to calls.
    pub voice: CallScript,
}

/// A whole handset file: the defaults and the persons by telephone number.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Roster {
    /// The scripts of numbers that are not named.
    pub defaults: Defaults,
    /// The persons, by number in E.164.
    pub handsets: BTreeMap<String, Handset>,
}

/// Why a handset script cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// The text is not TOML or JSON of the right shape; the message names the line and the key.
    #[error("the handset script cannot be read: {0}")]
    Syntax(String),
    /// The script contradicts itself; every problem is listed with its place.
    #[error("the handset script makes no sense: {}", .0.join("; "))]
    Nonsense(Vec<String>),
}

impl Handset {
    /// A handset with this WhatsApp script and defaults elsewhere.
    pub fn whatsapp(script: MessageScript) -> Self {
        Self { whatsapp: Some(script), ..Self::default() }
    }

    /// A handset with this SMS script and defaults elsewhere.
    pub fn sms(script: MessageScript) -> Self {
        Self { sms: Some(script), ..Self::default() }
    }

    /// A handset with this call script and defaults elsewhere.
    pub fn voice(script: CallScript) -> Self {
        Self { voice: Some(script), ..Self::default() }
    }

    /// The same handset with this SMS script.
    pub fn with_sms(self, script: MessageScript) -> Self {
        Self { sms: Some(script), ..self }
    }

    /// The same handset with this call script.
    pub fn with_voice(self, script: CallScript) -> Self {
        Self { voice: Some(script), ..self }
    }

    /// Refuses a script that contradicts itself.
    ///
    /// # Errors
    /// Every contradiction, each with its place in the script.
    pub fn check(&self, place: &str) -> Result<(), ScriptError> {
        let mut found = Vec::new();
        self.whatsapp.iter().for_each(|s| s.problems(true, &format!("{place}.whatsapp"), &mut found));
        self.sms.iter().for_each(|s| s.problems(false, &format!("{place}.sms"), &mut found));
        self.voice.iter().for_each(|s| s.problems(&format!("{place}.voice"), &mut found));
        if found.is_empty() { Ok(()) } else { Err(ScriptError::Nonsense(found)) }
    }
}

impl Defaults {
    /// Refuses defaults that contradict themselves.
    ///
    /// # Errors
    /// Every contradiction, each with its place in the script.
    pub fn check(&self) -> Result<(), ScriptError> {
        let all = Handset {
            whatsapp: Some(self.whatsapp.clone()),
            sms: Some(self.sms.clone()),
            voice: Some(self.voice.clone()),
            ..Handset::default()
        };
        all.check("defaults")
    }
}

impl Roster {
    /// Reads a handset file in TOML.
    ///
    /// # Errors
    /// When it is not TOML of the right shape, or when a script or number makes no sense.
    pub fn from_toml(text: &str) -> Result<Self, ScriptError> {
        let roster: Self = toml::from_str(text).map_err(|e| ScriptError::Syntax(e.to_string()))?;
        roster.checked()
    }

    /// Reads a handset file in JSON.
    ///
    /// # Errors
    /// When it is not JSON of the right shape, or when a script or number makes no sense.
    pub fn from_json(text: &str) -> Result<Self, ScriptError> {
        let roster: Self = serde_json::from_str(text).map_err(|e| ScriptError::Syntax(e.to_string()))?;
        roster.checked()
    }

    fn checked(self) -> Result<Self, ScriptError> {
        let mut found = Vec::new();
        let mut note = |checked: Result<(), ScriptError>| match checked {
            Ok(()) => (),
            Err(ScriptError::Nonsense(problems)) => found.extend(problems),
            Err(syntax @ ScriptError::Syntax(_)) => found.push(syntax.to_string()),
        };
        note(self.defaults.check());
        for (number, handset) in &self.handsets {
            note(handset.check(&format!("handsets.\"{number}\"")));
            note(check_number(number));
        }
        if found.is_empty() { Ok(self) } else { Err(ScriptError::Nonsense(found)) }
    }
}

/// Refuses what is not a telephone number in E.164: `+` and 8 to 15 digits, the first not 0.
///
/// # Errors
/// The number with what is right.
pub fn check_number(number: &str) -> Result<(), ScriptError> {
    if is_e164(number) {
        return Ok(());
    }
    Err(ScriptError::Nonsense(vec![format!("`{number}` is not a number in E.164, such as +919800000001")]))
}

/// Whether this is `+` and 8 to 15 digits of which the first is not 0.
pub(crate) fn is_e164(number: &str) -> bool {
    number.strip_prefix('+').is_some_and(|digits| {
        (8..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_every_behaviour_is_read() {
        let roster = Roster::from_toml(
            r#"
            [defaults.sms]
            deliver_after = "500ms"

            [handsets."+919800000001"]
            name = "Asha"
            whatsapp.read_after = 2
            whatsapp.replies = [{ after = "3s", choose = 1 }, { after = "5s", text = "yes", message = 2 }]
            sms = { deliver_after = "never", fail = { code = 30003, after = "2s", times = 1 } }
            voice = { answer = "human", keys = [{ digits = "1", after = "2s" }] }

            [handsets."+919800000002".whatsapp]
            not_on_whatsapp = true
            misbehave = { how = "timeout", times = 1 }
            "#,
        )
        .unwrap();
        let asha = &roster.handsets["+919800000001"];
        assert_eq!(asha.whatsapp.as_ref().unwrap().read_after, When::seconds(2));
        assert_eq!(asha.voice.as_ref().unwrap().keys[0].digits, "1");
        assert_eq!(roster.defaults.sms.deliver_after, When::After(Span::millis(500)));
        let json = serde_json::to_string(&roster).unwrap();
        assert_eq!(Roster::from_json(&json).unwrap(), roster, "a script survives JSON");
    }

    #[test]
    fn the_example_file_is_right() {
        let roster = Roster::from_toml(include_str!("../../handsets.example.toml")).unwrap();
        assert_eq!(roster.handsets.len(), 8);
    }

    #[test]
    fn every_contradiction_is_named_with_its_place() {
        let error = Roster::from_toml(
            r#"
            [handsets."98000"]
            sms.read_after = 1
            whatsapp.replies = [{ after = 1 }]
            voice.keys = [{ digits = "A" }]
            "#,
        )
        .unwrap_err()
        .to_string();
        for part in ["E.164", ".sms.read_after", ".whatsapp.replies[0]", ".voice.keys[0].digits"] {
            assert!(error.contains(part), "{part} is missing in: {error}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let error = Roster::from_toml("[defaults.sms]\ndelivr_after = 1").unwrap_err().to_string();
        assert!(error.contains("delivr_after"), "{error}");
    }
}
