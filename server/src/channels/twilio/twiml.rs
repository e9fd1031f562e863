//! TwiML: what a call says next. Say, gather digits, say again up to the script's number of rounds, then goodbye.
//!
//! A machine hears nothing, because whoever plays it back may not be the person. Elements and attributes:
//! <https://www.twilio.com/docs/voice/twiml/gather>, <https://www.twilio.com/docs/voice/twiml/say>.

use std::io;

use domain::message::{Choice, Content};
use quick_xml::{
    Writer,
    events::{BytesDecl, BytesText, Event},
};

use super::webhook::XML;
use crate::channels::{CallStep, WebhookAnswer, WebhookError, echo};

/// How a connector wants its scripts.
#[derive(Debug)]
pub(super) struct Manner {
    /// The voice, in Twilio's words (`Polly.Aditi`); empty for Twilio's own choice.
    pub(super) voice: String,
    /// How long silence lasts before the words are said again, in seconds.
    pub(super) gather_seconds: u32,
    /// What is said after the last round without a key; empty for a word in the script's language.
    pub(super) goodbye: String,
}

/// The script of one step of a call.
pub(super) fn render(
    manner: &Manner,
    content: &Content,
    step: &CallStep,
    webhooks: &str,
) -> Result<WebhookAnswer, WebhookError> {
    let Content::Voice { say, language, keys, repeat, thanks } = content else { return Err(WebhookError::NotFound) };
    let page = Page { manner, language, webhooks, step };
    let key = step.digits.as_ref().map(|digits| keys.iter().any(|key| key.id == *digits));
    // A key that is none of the choices is answered by the next round, as silence is.
    let round = if key == Some(false) { step.round.saturating_add(1) } else { step.round };
    let xml = match key {
        _ if step.machine => page.write(&[]),
        Some(true) => page.write(thanks.as_slice()),
        _ if keys.is_empty() => page.write(std::slice::from_ref(say)),
        _ if round >= (*repeat).max(1) => page.write(&[page.goodbye()]),
        _ => page.write_question(say, keys, round),
    };
    let body = xml.map_err(|error| WebhookError::Malformed(format!("the script cannot be written: {error}")))?;
    Ok(WebhookAnswer::Body { content_type: XML, body })
}

struct Page<'a> {
    manner: &'a Manner,
    language: &'a str,
    webhooks: &'a str,
    step: &'a CallStep,
}

impl Page<'_> {
    /// Says the lines and hangs up.
    fn write(&self, lines: &[String]) -> io::Result<String> {
        document(|response| {
            for line in lines {
                self.say(response, line)?;
            }
            response.create_element("Hangup").write_empty()?;
            Ok(())
        })
    }

    /// Says the words while it waits for a key, and goes on to the next round when none comes.
    fn write_question(&self, say: &str, keys: &[Choice], round: u8) -> io::Result<String> {
        let digits = keys.iter().map(|key| key.id.chars().count()).max().unwrap_or(1).to_string();
        let timeout = self.manner.gather_seconds.to_string();
        document(|response| {
            response
                .create_element("Gather")
                .with_attributes([("input", "dtmf"), ("numDigits", &digits), ("timeout", &timeout)])
                // By default `#` ends the input and is dropped; here it is a key like any other.
                .with_attributes([("finishOnKey", ""), ("action", &self.url(round)), ("method", "POST")])
                .write_inner_content(|gather| self.say(gather, say))?;
            response
                .create_element("Redirect")
                .with_attribute(("method", "POST"))
                .write_text_content(BytesText::new(&self.url(round.saturating_add(1))))?;
            Ok(())
        })
    }

    fn say(&self, parent: &mut Writer<Vec<u8>>, words: &str) -> io::Result<()> {
        let mut say = parent.create_element("Say").with_attribute(("language", self.language));
        if !self.manner.voice.is_empty() {
            say = say.with_attribute(("voice", self.manner.voice.as_str()));
        }
        say.write_text_content(BytesText::new(&speakable(words)))?;
        Ok(())
    }

    fn url(&self, round: u8) -> String {
        format!("{}/voice?{}&r={round}", self.webhooks, echo::query(self.step.delivery_id, self.step.attempt))
    }

    fn goodbye(&self) -> String {
        if !self.manner.goodbye.is_empty() {
            return self.manner.goodbye.clone();
        }
        let word = match self.language.split('-').next() {
            Some("hi") => "नमस्ते।",
            _ => "Goodbye.",
        };
        word.to_owned()
    }
}

fn document(write: impl FnOnce(&mut Writer<Vec<u8>>) -> io::Result<()>) -> io::Result<String> {
    let mut writer = Writer::new(Vec::new());
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    writer.create_element("Response").write_inner_content(write)?;
    String::from_utf8(writer.into_inner()).map_err(io::Error::other)
}

/// The words without characters that XML forbids (XML 1.0, section 2.2): one of them would make the call silent.
fn speakable(words: &str) -> String {
    words.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\r' | '\t')).collect()
}

#[cfg(test)]
#[path = "twiml_tests.rs"]
mod tests;
