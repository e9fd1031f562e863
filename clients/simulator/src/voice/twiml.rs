//! Reads TwiML: the verbs that a telephone call follows.
//!
//! Pure. Verbs that need a telephone network (`<Dial>`, `<Record>`, `<Conference>` ...) are kept as [`Verb::Other`], for the call to note
//! and pass over; what is no TwiML at all is refused, as Twilio refuses it with error 12100 or 12200.

use std::time::Duration;

use quick_xml::Reader;
use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};

/// One instruction of a document.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verb {
    /// Speaks a text, so many times.
    Say { text: String, times: u32 },
    /// Plays a recording; it takes no time here.
    Play,
    /// Waits.
    Pause(Duration),
    /// Speaks and waits for keys.
    Gather(Gather),
    /// Continues with another document.
    Redirect { url: String, get: bool },
    /// Ends the call.
    Hangup,
    /// A verb of Twilio's that is not simulated.
    Other(String),
}

/// A `<Gather>`, with Twilio's defaults.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Gather {
    /// Where the keys go; without it, the document's own URL.
    pub action: Option<String>,
    pub get: bool,
    /// How many keys end it.
    pub keys: Option<usize>,
    /// The key that ends it.
    pub finish: Option<char>,
    /// How long it waits after its words for a key, and after the last key.
    pub timeout: Duration,
    /// Whether the action is also called without keys.
    pub even_empty: bool,
    /// Whether keys are listened to at all.
    pub dtmf: bool,
    /// What is said meanwhile.
    pub words: Vec<Verb>,
}

/// Why a document is no TwiML.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum TwimlError {
    /// It is not XML (Twilio's error 12100).
    #[error("the document cannot be parsed: {0}")]
    Parse(String),
    /// It is XML, but not TwiML (Twilio's error 12200).
    #[error("the document is not TwiML: {0}")]
    Schema(String),
}

impl TwimlError {
    /// Twilio's error code.
    pub fn code(&self) -> u32 {
        match self {
            Self::Parse(_) => 12100,
            Self::Schema(_) => 12200,
        }
    }
}

#[derive(Debug, Default)]
struct Element {
    name: String,
    attributes: Vec<(String, String)>,
    text: String,
    children: Vec<Element>,
}

/// Reads a document.
///
/// # Errors
/// When it is not XML, has no `<Response>` at its root, or holds a verb or value that Twilio does not know.
pub(crate) fn parse(document: &str) -> Result<Vec<Verb>, TwimlError> {
    let root = tree(document)?;
    if root.name != "Response" {
        return Err(TwimlError::Schema(format!("the root is <{}>, not <Response>", root.name)));
    }
    root.children.iter().map(verb).collect()
}

fn tree(document: &str) -> Result<Element, TwimlError> {
    let mut reader = Reader::from_str(document);
    let mut open = vec![Element::default()];
    loop {
        let event = reader.read_event().map_err(|e| TwimlError::Parse(e.to_string()))?;
        match event {
            Event::Start(start) => open.push(element(&start)?),
            Event::Empty(start) => {
                let child = element(&start)?;
                close(&mut open, child);
            }
            Event::End(_) => {
                if let Some(done) = open.pop() {
                    close(&mut open, done);
                }
            }
            Event::Text(text) => add_text(&mut open, &text.xml10_content()),
            Event::CData(text) => add_text(&mut open, &text.xml10_content()),
            Event::GeneralRef(entity) => {
                let character = entity.resolve_char_ref().map_err(|e| TwimlError::Parse(e.to_string()))?;
                match (character, resolve_predefined_entity(&entity)) {
                    (Some(c), _) => add_text(&mut open, c.encode_utf8(&mut [0; 4])),
                    (None, Some(known)) => add_text(&mut open, known),
                    (None, None) => return Err(TwimlError::Parse(format!("the entity &{};", &*entity))),
                }
            }
            Event::Eof => break,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => (),
        }
    }
    if open.len() != 1 {
        return Err(TwimlError::Parse("an element is not closed".into()));
    }
    let root = open.pop().and_then(|mut base| base.children.pop());
    root.ok_or_else(|| TwimlError::Parse("it is empty".into()))
}

fn element(start: &BytesStart<'_>) -> Result<Element, TwimlError> {
    let mut found = Element { name: start.name().0.to_owned(), ..Element::default() };
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|e| TwimlError::Parse(e.to_string()))?;
        let value =
            attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|e| TwimlError::Parse(e.to_string()))?;
        found.attributes.push((attribute.key.0.to_owned(), value.into_owned()));
    }
    Ok(found)
}

fn close(open: &mut [Element], done: Element) {
    if let Some(parent) = open.last_mut() {
        // Marked-up speech inside <Say> is spoken as its text.
        parent.text.push_str(&done.text);
        parent.children.push(done);
    }
}

fn add_text(open: &mut [Element], text: &str) {
    if let Some(inner) = open.last_mut() {
        inner.text.push_str(text);
    }
}

fn verb(element: &Element) -> Result<Verb, TwimlError> {
    match element.name.as_str() {
        "Say" => Ok(Verb::Say {
            text: element.text.split_whitespace().collect::<Vec<_>>().join(" "),
            // Twilio repeats endlessly on 0; a listener would hang up, so a thousand times is as long.
            times: element.number("loop", 1)?.map_or(1, |n| if n == 0 { 1000 } else { n }),
        }),
        "Play" => Ok(Verb::Play),
        "Pause" => Ok(Verb::Pause(Duration::from_secs(element.number("length", 1)?.unwrap_or(1).into()))),
        "Hangup" | "Reject" => Ok(Verb::Hangup),
        "Redirect" => Ok(Verb::Redirect { url: element.text.trim().to_owned(), get: element.is_get()? }),
        "Gather" => gather(element).map(Verb::Gather),
        "Connect" | "Dial" | "Echo" | "Enqueue" | "Leave" | "Pay" | "Prompt" | "Queue" | "Record" | "Refer"
        | "Siprec" | "Sms" | "Start" | "Stop" | "Stream" => Ok(Verb::Other(element.name.clone())),
        other => Err(TwimlError::Schema(format!("<{other}> is not a verb"))),
    }
}

fn gather(element: &Element) -> Result<Gather, TwimlError> {
    let words = element.children.iter().map(verb).collect::<Result<Vec<_>, _>>()?;
    if let Some(wrong) = words.iter().find(|w| !matches!(w, Verb::Say { .. } | Verb::Play | Verb::Pause(_))) {
        return Err(TwimlError::Schema(format!("{wrong:?} cannot stand inside <Gather>")));
    }
    let timeout = match element.get("timeout") {
        Some("auto") => 5,
        _ => element.number("timeout", 0)?.unwrap_or(5),
    };
    Ok(Gather {
        action: element.get("action").filter(|url| !url.is_empty()).map(str::to_owned),
        get: element.is_get()?,
        keys: element.number("numDigits", 1)?.map(|n| n as usize),
        finish: element.get("finishOnKey").map_or(Some('#'), |key| key.chars().next()),
        timeout: Duration::from_secs(timeout.into()),
        even_empty: element.get("actionOnEmptyResult") == Some("true"),
        dtmf: element.get("input").is_none_or(|input| input.split_whitespace().any(|word| word == "dtmf")),
        words,
    })
}

impl Element {
    fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn number(&self, name: &str, least: u32) -> Result<Option<u32>, TwimlError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        // `loop="0"` is the one place where Twilio gives 0 a meaning of its own.
        let least = if name == "loop" { 0 } else { least };
        let number = text.parse::<u32>().ok().filter(|n| (least..=86_400).contains(n));
        number.map(Some).ok_or_else(|| {
            TwimlError::Schema(format!("<{} {name}=\"{text}\"> is not a number from {least}", self.name))
        })
    }

    fn is_get(&self) -> Result<bool, TwimlError> {
        match self.get("method").map(str::to_ascii_uppercase).as_deref() {
            None | Some("POST") => Ok(false),
            Some("GET") => Ok(true),
            Some(other) => {
                Err(TwimlError::Schema(format!("<{} method=\"{other}\"> is neither GET nor POST", self.name)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_menu_is_read_with_twilios_defaults() {
        let verbs = parse(
            r#"<?xml version="1.0" encoding="UTF-8"?>
            <Response>
              <Gather action="/menu?a=1&amp;b=2" numDigits="1"><Say language="hi-IN">नमस्ते &amp; 1 दबाएँ</Say></Gather>
              <Say>Good<break/>bye</Say><Redirect method="GET">/again</Redirect><Hangup/>
            </Response>"#,
        )
        .unwrap();
        let Verb::Gather(gather) = &verbs[0] else { panic!("{verbs:?}") };
        assert_eq!(gather.action.as_deref(), Some("/menu?a=1&b=2"));
        assert_eq!((gather.keys, gather.finish, gather.timeout.as_secs()), (Some(1), Some('#'), 5));
        assert!(gather.dtmf && !gather.get && !gather.even_empty);
        assert_eq!(gather.words, [Verb::Say { text: "नमस्ते & 1 दबाएँ".into(), times: 1 }]);
        assert_eq!(verbs[1], Verb::Say { text: "Goodbye".into(), times: 1 });
        assert_eq!(verbs[2..], [Verb::Redirect { url: "/again".into(), get: true }, Verb::Hangup]);
    }

    #[test]
    fn what_is_no_twiml_is_refused_with_twilios_code() {
        for (document, code) in [
            ("", 12100),
            ("not xml", 12100),
            ("<Response><Say>open</Response>", 12100),
            ("<Response><Say>open</Say>", 12100),
            ("<html/>", 12200),
            ("<Response><Sing/></Response>", 12200),
            ("<Response><Gather numDigits=\"0\"/></Response>", 12200),
            ("<Response><Gather><Hangup/></Gather></Response>", 12200),
        ] {
            assert_eq!(parse(document).unwrap_err().code(), code, "{document}");
        }
    }
}
