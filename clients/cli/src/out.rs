//! Everything that is written: answers to stdout, notes to stderr. Colours and bars are for terminals only.
//!
//! Nothing else in the program writes, so that a closed pipe is an error that comes back, and never a panic.

use std::io::{self, IsTerminal, Write};

use prost_reflect::{DynamicMessage, SerializeOptions};

/// What a piece of text means, which decides its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// A heading.
    Strong,
    /// It went well.
    Good,
    /// It is under way, or asks for attention.
    Doubtful,
    /// It failed.
    Bad,
    /// It matters less than the rest.
    Faint,
}

/// Where the output goes and how it looks.
pub struct Out {
    answers: Box<dyn Write + Send>,
    notes: Box<dyn Write + Send>,
    /// Whether answers are JSON.
    pub json: bool,
    /// Whether notes and bars are left out.
    pub quiet: bool,
    /// Whether answers go to a terminal.
    pub terminal: bool,
    /// Whether notes go to a terminal, so that bars can be drawn.
    pub bars: bool,
    color: bool,
}

impl Out {
    /// The output of this process.
    pub fn of_process(json: bool, quiet: bool, no_color: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        Self {
            answers: Box::new(io::stdout()),
            notes: Box::new(io::stderr()),
            json,
            quiet,
            terminal,
            bars: io::stderr().is_terminal() && !quiet && !json,
            color: terminal && !no_color,
        }
    }

    /// Writes one line of the answer.
    ///
    /// # Errors
    /// What the system says, for instance that the pipe is closed.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.answers, "{}", text.trim_end())
    }

    /// Writes a part of the answer as it is.
    ///
    /// # Errors
    /// As `line`.
    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.answers.write_all(bytes)
    }

    /// Writes what is not part of the answer to stderr, unless it should be quiet; programs get errors there only.
    ///
    /// # Errors
    /// As `line`.
    pub fn note(&mut self, text: &str) -> io::Result<()> {
        if self.quiet || self.json {
            return Ok(());
        }
        writeln!(self.notes, "{text}")
    }

    /// Writes a message as proto3 JSON: indented when it is the whole answer, else on one line.
    ///
    /// # Errors
    /// As `line`.
    pub fn message(&mut self, message: &DynamicMessage, whole: bool) -> io::Result<()> {
        let text = if whole {
            let mut text = Vec::new();
            message.serialize_with_options(&mut serde_json::Serializer::pretty(&mut text), &SerializeOptions::new())?;
            text
        } else {
            let mut text = Vec::new();
            message.serialize_with_options(&mut serde_json::Serializer::new(&mut text), &SerializeOptions::new())?;
            text
        };
        self.answers.write_all(&text)?;
        writeln!(self.answers)?;
        self.answers.flush()
    }

    /// Writes out what is buffered.
    ///
    /// # Errors
    /// As `line`.
    pub fn flush(&mut self) -> io::Result<()> {
        self.answers.flush()
    }

    /// The text in the colour of its tone, where there are colours.
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        if !self.color {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Strong => "1",
            Tone::Good => "32",
            Tone::Doubtful => "33",
            Tone::Bad => "31",
            Tone::Faint => "2",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    /// A state in the colour of what it means.
    pub fn state(&self, word: &str) -> String {
        self.tone(word).map_or_else(|| word.to_owned(), |tone| self.paint(tone, word))
    }

    /// What a state means, where there are colours to show it.
    pub fn tone(&self, word: &str) -> Option<Tone> {
        if self.color { tone_of(word) } else { None }
    }

    /// Whether there are colours.
    pub fn has_colors(&self) -> bool {
        self.color
    }
}

/// What a state, an outcome or a kind of the contract means for the eye.
fn tone_of(word: &str) -> Option<Tone> {
    let tone = match word {
        "REACHED" | "REPLIED" | "ACKNOWLEDGED" | "DELIVERED" | "READ" | "COMPLETED" | "ENABLED" | "FIRED"
        | "CONNECTED" | "ACCEPTED" | "OPTED_IN" | "STEP_SUCCEEDED" | "REPLY" => Tone::Good,
        "FAILED" | "EXHAUSTED" | "EXPIRED" | "PARKED" | "BROKEN" | "UNMAPPABLE" | "REFUSED" | "OPTED_OUT"
        | "DISCONNECTED" | "ERROR" | "STEP_FAILED" | "OPEN" => Tone::Bad,
        "WAITING" | "SENDING" | "RUNNING" | "PAUSED" | "CANCELLING" | "UNKNOWN" | "DEGRADED" | "SKIPPED"
        | "WARNING" | "STEP_TIMED_OUT" | "STEP_SKIPPED" | "STEP_DEFERRED" | "HALF_OPEN" => Tone::Doubtful,
        _ => return None,
    };
    Some(tone)
}

#[cfg(test)]
pub mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::contract;

    /// Keeps what is written.
    #[derive(Clone, Default)]
    pub struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Kept {
        /// What was written so far.
        pub fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// An output that is kept: answers and notes together.
    pub fn kept(json: bool, color: bool) -> (Out, Kept) {
        let kept = Kept::default();
        let (answers, notes) = (Box::new(kept.clone()), Box::new(kept.clone()));
        (Out { answers, notes, json, quiet: false, terminal: false, bars: false, color }, kept)
    }

    #[test]
    fn colours_are_for_terminals_only() {
        let (plain, _) = kept(false, false);
        assert_eq!(plain.state("FAILED"), "FAILED");
        let (colored, _) = kept(false, true);
        assert_eq!(colored.state("FAILED"), "\u{1b}[31mFAILED\u{1b}[0m");
        assert_eq!(colored.state("contacts/1"), "contacts/1");
    }

    #[test]
    fn messages_are_proto3_json_with_times_in_z() {
        let (mut out, kept) = kept(true, false);
        let contact = proto::v1::Contact {
            name: "contacts/7".into(),
            create_time: Some(prost_types::Timestamp { seconds: 1_763_629_200, nanos: 0 }),
            ..Default::default()
        };
        let mut message = DynamicMessage::new(contract::message("Contact").unwrap());
        message.transcode_from(&contact).unwrap();
        out.message(&message, false).unwrap();
        assert_eq!(kept.text(), "{\"name\":\"contacts/7\",\"createTime\":\"2025-11-20T09:00:00Z\"}\n");
    }
}
