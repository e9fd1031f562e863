//! Lists as tables. Which columns a list has is data: a heading and the path of a field.

use std::io;

use comfy_table::{Attribute, Cell, ContentArrangement, Table, presets};
use prost_reflect::{DynamicMessage, ReflectMessage, Value};

use super::value;
use crate::error::clean;
use crate::out::Out;

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
        rows.iter().map(|row| columns.iter().map(|(_, path)| out.state(&at(row, path))).collect()).collect();
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
    table.set_header(used.iter().map(|it| {
        let cell = Cell::new(headings[*it].to_uppercase());
        if out.terminal { cell.add_attribute(Attribute::Bold) } else { cell }
    }));
    for row in rows {
        table.add_row(used.iter().map(|it| row.get(*it).cloned().unwrap_or_default()));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    for line in table.lines() {
        out.line(&line)?;
    }
    Ok(())
}

/// The same, and nothing when there are no rows.
///
/// # Errors
/// What the system says.
pub fn write_some(out: &mut Out, headings: &[&str], rows: Vec<Vec<String>>) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let rows = rows.into_iter().map(|row| row.iter().map(|cell| out.state(&clean(cell))).collect()).collect();
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
