//! Lists as tables. Which columns a list has is data: a heading and the path of a field.

use std::io;

use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets};
use prost_reflect::{DynamicMessage, ReflectMessage, Value};

use super::value;
use crate::error::clean;
use crate::out::{Out, Tone};

/// The columns of a list: a heading, and the path of the field beneath it, such as `spec.audience`.
pub type Columns = &'static [(&'static str, &'static str)];

/// Writes messages as rows; nothing when there are none.
///
/// # Errors
/// What the system says.
pub fn show(out: &mut Out, columns: Columns, rows: &[DynamicMessage]) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let headings: Vec<&str> = columns.iter().map(|(heading, _)| *heading).collect();
    let cells: Vec<Vec<String>> =
        rows.iter().map(|row| columns.iter().map(|(_, path)| at(row, path)).collect()).collect();
    write(out, &headings, cells)
}

/// Writes ready cells as a table; columns that are empty in all rows are left out.
///
/// # Errors
/// What the system says.
fn write(out: &mut Out, headings: &[&str], rows: Vec<Vec<String>>) -> io::Result<()> {
    let used: Vec<usize> = (0..headings.len())
        .filter(|it| rows.iter().any(|row| row.get(*it).is_some_and(|cell| !cell.is_empty())))
        .collect();
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    if out.terminal {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    if out.has_colors() {
        table.enforce_styling();
    }
    table.set_header(used.iter().map(|it| {
        let cell = Cell::new(headings[*it].to_uppercase());
        if out.has_colors() { cell.add_attribute(Attribute::Bold) } else { cell }
    }));
    for row in &rows {
        table.add_row(used.iter().map(|it| cell(out, row.get(*it).map_or("", String::as_str))));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    for line in table.lines() {
        out.line(&line)?;
    }
    Ok(())
}

/// A cell, in the colour of what it means. The table must know of colours, else it counts them as letters.
fn cell(out: &Out, text: &str) -> Cell {
    let color = match out.tone(text) {
        Some(Tone::Good) => Color::DarkGreen,
        Some(Tone::Bad) => Color::DarkRed,
        Some(Tone::Doubtful) => Color::DarkYellow,
        _ => return Cell::new(text),
    };
    Cell::new(text).fg(color)
}

/// The same, and nothing when there are no rows.
///
/// # Errors
/// What the system says.
pub fn write_some(out: &mut Out, headings: &[&str], rows: Vec<Vec<String>>) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let rows = rows.into_iter().map(|row| row.iter().map(|cell| clean(cell)).collect()).collect();
    write(out, headings, rows)
}

/// The value at a path in words; empty where a message on the way is unset.
pub fn at(message: &DynamicMessage, path: &str) -> String {
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    let Some(field) = message.descriptor().get_field_by_name(name) else { return String::new() };
    // Zero is worth a cell only where counts are meant.
    let counts = name.ends_with("count") && rest.is_none();
    if !counts && !message.has_field(&field) {
        return String::new();
    }
    match (&*message.get_field(&field), rest) {
        (Value::Message(inner), Some(rest)) => at(inner, rest),
        (found, _) => value::words(&field.kind(), found),
    }
}

#[cfg(test)]
pub mod tests {
    use prost_reflect::MessageDescriptor;

    use super::*;
    use crate::contract;
    use crate::out::tests::kept;

    /// Whether a path exists in a message.
    pub fn exists(message: &MessageDescriptor, path: &str) -> bool {
        let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
        match (message.get_field_by_name(name), rest) {
            (Some(field), Some(rest)) => field.kind().as_message().is_some_and(|inner| exists(inner, rest)),
            (found, None) => found.is_some(),
            (None, _) => false,
        }
    }

    #[test]
    fn colours_do_not_shift_columns() {
        let rows = ["ENABLED", "PARKED"].map(|state| vec![state.to_owned(), "x".to_owned()]);
        let (mut out, kept) = kept(false, true);
        write_some(&mut out, &["state", "name"], rows.into()).unwrap();
        let text = kept.text();
        assert!(text.contains("\u{1b}["), "{text:?}");
        let plain: String = text
            .split('\u{1b}')
            .enumerate()
            .map(|(n, it)| if n == 0 { it } else { it.split_once('m').unwrap().1 })
            .collect();
        let at: Vec<_> = plain.lines().map(|line| line.rfind(['x', 'N']).unwrap()).collect();
        assert_eq!(at, [9, 9, 9], "{plain:?}");
    }

    #[test]
    fn rows_have_short_words_and_empty_columns_are_left_out() {
        let channel = proto::v1::Channel {
            name: "channels/sms".into(),
            channel_type: proto::v1::ChannelType::Sms.into(),
            ..Default::default()
        };
        let mut row = DynamicMessage::new(contract::message("Channel").unwrap());
        row.transcode_from(&channel).unwrap();
        let (mut out, kept) = kept(false, false);
        show(&mut out, &[("name", "name"), ("called", "display_name"), ("type", "channel_type")], &[row]).unwrap();
        assert_eq!(kept.text(), "NAME          TYPE\nchannels/sms  SMS\n");
    }
}
