//! The report as people read it: a table for the terminal, and one in Markdown for `docs/BENCHMARKS.md`. Pure.

use comfy_table::{Table, presets};

use crate::report::Entry;

/// A number with three significant digits, and large ones in full.
#[must_use]
pub fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => grouped(value),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        0.0 => "0".to_owned(),
        _ => format!("{value:.3}"),
    }
}

/// Thousands apart, as in 12,345.
fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    if value < 0.0 { format!("-{out}") } else { out }
}

fn cells(entry: &Entry) -> [String; 7] {
    let optional = |value: Option<f64>| value.map(figure).unwrap_or_default();
    let spread = entry.spread.filter(|[low, high]| low < high);
    let value = match (entry.value, spread) {
        (Some(value), Some([low, high])) => format!("{} ({}..{})", figure(value), figure(low), figure(high)),
        (value, _) => optional(value),
    };
    let baseline = match (&entry.baseline, entry.baseline_value) {
        (Some(words), Some(value)) => format!("{} ({words})", figure(value)),
        (Some(words), None) => words.clone(),
        (None, _) => String::new(),
    };
    let met = match (entry.met, &entry.error) {
        (_, Some(_)) => "FAILED",
        (Some(true), None) => "yes",
        (Some(false), None) => "NO",
        (None, None) => "",
    };
    [
        entry.name.clone(),
        value,
        entry.unit.clone(),
        baseline,
        optional(entry.ratio),
        entry.goal.clone().unwrap_or_default(),
        met.to_owned(),
    ]
}

const HEAD: [&str; 7] = ["what", "median (spread)", "unit", "baseline", "ratio", "goal", "met"];

/// A table for the terminal, with the errors beneath.
#[must_use]
pub fn terminal(entries: &[Entry]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY).set_header(HEAD);
    for entry in entries {
        table.add_row(cells(entry));
    }
    let errors = entries.iter().filter_map(|e| Some(format!("\n{} failed: {}", e.name, e.error.as_ref()?)));
    format!("{table}\n{}{}\n", errors.collect::<String>(), verdict(entries))
}

/// A table in Markdown, with the notes.
#[must_use]
pub fn markdown(entries: &[Entry]) -> String {
    let escaped = |text: &str| text.replace('|', "\\|");
    let row = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut head: Vec<String> = HEAD.map(str::to_owned).into();
    head.push("note".to_owned());
    let mut out = row(&head);
    out += &row(&vec!["---".to_owned(); head.len()]);
    for entry in entries {
        let mut cells: Vec<String> = cells(entry).iter().map(|cell| escaped(cell)).collect();
        cells.push(escaped(entry.error.as_deref().unwrap_or(&entry.note)));
        out += &row(&cells);
    }
    out
}

/// How many goals were met.
fn verdict(entries: &[Entry]) -> String {
    let count = |wanted: bool| entries.iter().filter(|e| e.met == Some(wanted)).count();
    let failed = entries.iter().filter(|e| e.error.is_some()).count();
    format!("\n{} goals met, {} missed, {failed} cases failed", count(true), count(false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{goal::Goal, report::compared};

    #[test]
    fn figures_have_three_digits_and_large_ones_are_grouped() {
        let shown = [1_234_567.8, 100.0, 12.345, 1.236, 0.0491, 0.0, -1500.0].map(figure);
        assert_eq!(shown, ["1,234,568", "100", "12.3", "1.24", "0.049", "0", "-1,500"]);
    }

    #[test]
    fn a_missed_goal_and_a_failed_case_can_be_seen() {
        let missed = compared("plan/write", "rows/s", &[70.0], "raw | unnest", &[100.0]).goal(Goal::AtLeastTimes(0.8));
        let entries = [missed, Entry::failed("relay", "no broker")];
        let text = terminal(&entries);
        for wanted in ["NO", "FAILED", "relay failed: no broker", "0 goals met, 1 missed, 1 cases failed"] {
            assert!(text.contains(wanted), "{wanted}: {text}");
        }
        let markdown = markdown(&entries);
        assert!(markdown.contains("| plan/write | 70.0 | rows/s | 100 (raw \\| unnest) | 0.700 | >= 0.8x | NO |  |"));
        assert_eq!(markdown.lines().count(), 4);
    }
}
