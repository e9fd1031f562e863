//! The look of the output: columns, relative seconds, and colour where a person looks at a terminal.

use std::{
    io::{IsTerminal, Write},
    sync::Mutex,
};

use chrono::{DateTime, Utc};

/// How a text is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    /// As it is.
    Plain,
    /// Something that went well.
    Good,
    /// Something that failed, or is missing.
    Bad,
    /// Something that waits, or was left out.
    Warn,
    /// Beside the point.
    Dim,
    /// A heading.
    Bold,
}

/// Where everything is printed. Lines of the story and of the timeline never mix.
#[derive(Debug)]
pub struct Stage {
    coloured: bool,
    began: DateTime<Utc>,
    out: Mutex<std::io::Stdout>,
}

impl Stage {
    /// The standard output, with time beginning now.
    pub fn new() -> Self {
        let out = std::io::stdout();
        let coloured = out.is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { coloured, began: Utc::now(), out: Mutex::new(out) }
    }

    /// When the story began.
    pub fn began(&self) -> DateTime<Utc> {
        self.began
    }

    /// A heading with an empty line above.
    pub fn act(&self, title: &str) {
        self.print(&format!("\n{}\n", self.ink(Ink::Bold, title)));
    }

    /// A line of the story.
    pub fn say(&self, text: &str) {
        self.print(&format!("  {text}\n"));
    }

    /// Lines that belong to the line above, such as SQL.
    pub fn quote(&self, text: &str) {
        let lines: Vec<String> = text.lines().map(|line| format!("    {}\n", self.ink(Ink::Dim, line))).collect();
        self.print(&lines.concat());
    }

    /// A line of the timeline: when, who, where, what.
    pub fn moment(&self, at: DateTime<Utc>, who: &str, channel: &str, ink: Ink, what: &str) {
        let after = (at - self.began).as_seconds_f64();
        let text = format!("  {after:>+7.1} s  {}  {}  {}\n", pad(who, 11), pad(channel, 8), self.ink(ink, what));
        self.print(&text);
    }

    /// A table with aligned columns; a cell in its own colour.
    pub fn table(&self, head: &[&str], rows: &[Vec<(Ink, String)>]) {
        let mut widths: Vec<usize> = head.iter().map(|title| width(title)).collect();
        for row in rows {
            for (index, (_, text)) in row.iter().enumerate() {
                widths[index] = widths[index].max(width(text));
            }
        }
        let line = |cells: Vec<(Ink, String)>| {
            let cells = cells.iter().zip(&widths).map(|((ink, text), width)| self.ink(*ink, &pad(text, *width)));
            format!("  {}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
        };
        let mut text = line(head.iter().map(|title| (Ink::Bold, (*title).to_owned())).collect());
        rows.iter().for_each(|row| text.push_str(&line(row.clone())));
        self.print(&text);
    }

    /// The text in its colour, where colours are shown.
    pub fn ink(&self, ink: Ink, text: &str) -> String {
        let code = match ink {
            Ink::Plain => return text.to_owned(),
            Ink::Good => "32",
            Ink::Bad => "1;31",
            Ink::Warn => "33",
            Ink::Dim => "2",
            Ink::Bold => "1",
        };
        if self.coloured { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn print(&self, text: &str) {
        let mut out = self.out.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Whoever closed the pipe wants no more; the outcome is in the exit code.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

/// How many columns a text takes. Names and sentences here are of characters that take one each.
fn width(text: &str) -> usize {
    text.chars().count()
}

fn pad(text: &str, to: usize) -> String {
    format!("{text}{}", " ".repeat(to.saturating_sub(width(text))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_not_bytes() {
        assert_eq!(pad("पत्र", 6).chars().count(), 6);
        assert_eq!(pad("abc", 2), "abc");
    }
}
