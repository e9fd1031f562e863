//! The report: an array of entries, one for each figure, as `target/bench/report.json` holds it. What it looks like for people
//! is [`crate::table`].

use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::{
    goal::Goal,
    stats::{Summary, ratios},
};

/// One figure. A case that could not be run has an entry with `error`, and no figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its case, a slash, and what was measured.
    pub name: String,
    /// The unit of `value` and `baseline_value`.
    pub unit: String,
    /// The median of the rounds.
    pub value: Option<f64>,
    /// What it was compared with, in words.
    pub baseline: Option<String>,
    /// The median of the baseline in the same rounds.
    pub baseline_value: Option<f64>,
    /// The median of the rounds' own ratios.
    pub ratio: Option<f64>,
    /// What it has to be.
    pub goal: Option<String>,
    /// Whether it is; none where there is no goal, or nothing was measured.
    pub met: Option<bool>,
    /// In how many rounds it was measured.
    pub rounds: usize,
    /// What one must know to read it.
    pub note: String,
    /// The smallest and the largest round.
    pub spread: Option<[f64; 2]>,
    /// The smallest and the largest ratio of a round.
    pub ratio_spread: Option<[f64; 2]>,
    /// Why it could not be measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Entry {
    /// A figure of its own, one value a round.
    #[must_use]
    pub fn new(name: impl Into<String>, unit: &str, values: &[f64]) -> Self {
        let summary = Summary::of(values);
        Self {
            name: name.into(),
            unit: unit.to_owned(),
            value: summary.map(|s| s.median),
            baseline: None,
            baseline_value: None,
            ratio: None,
            goal: None,
            met: None,
            rounds: values.len(),
            note: String::new(),
            spread: summary.map(|s| [s.min, s.max]),
            ratio_spread: None,
            error: None,
        }
    }

    /// A case that could not be run.
    #[must_use]
    pub fn failed(case: &str, error: &str) -> Self {
        Self { error: Some(error.to_owned()), ..Self::new(case, "", &[]) }
    }

    /// The same, compared with a baseline of the same rounds. `values` are those that were given to [`Entry::new`].
    #[must_use]
    pub fn against(mut self, baseline: &str, values: &[f64], baseline_values: &[f64]) -> Self {
        let ratio = Summary::of(&ratios(values, baseline_values));
        self.baseline = Some(baseline.to_owned());
        self.baseline_value = Summary::of(baseline_values).map(|s| s.median);
        self.ratio = ratio.map(|s| s.median);
        self.ratio_spread = ratio.map(|s| [s.min, s.max]);
        self
    }

    /// The same, judged.
    #[must_use]
    pub fn goal(mut self, goal: Goal) -> Self {
        self.goal = Some(goal.to_string());
        self.met = self.value.and_then(|value| goal.met(value, self.ratio));
        self
    }

    /// The same, with what one must know to read it.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }
}

/// A rate or a time of ours against its baseline of the same rounds: the common case.
#[must_use]
pub fn compared(name: impl Into<String>, unit: &str, ours: &[f64], baseline: &str, theirs: &[f64]) -> Entry {
    Entry::new(name, unit, ours).against(baseline, ours, theirs)
}

/// Writes the report, folders included.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, entries: &[Entry]) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    }
    let text = serde_json::to_string_pretty(entries)?;
    std::fs::write(path, text + "\n").with_context(|| format!("{} cannot be written", path.display()))
}

/// Reads a report.
///
/// # Errors
/// When there is none, or it is no report.
pub fn read(path: &Path) -> anyhow::Result<Vec<Entry>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no report of this program", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_the_fields_that_the_report_promises() {
        let entry = compared("plan/write", "rows/s", &[5.0, 15.0], "raw", &[10.0, 20.0])
            .goal(Goal::AtLeastTimes(0.5))
            .note("of one page");
        let written = serde_json::to_value(&entry).unwrap();
        let expected = serde_json::json!({
            "name": "plan/write", "unit": "rows/s", "value": 10.0, "baseline": "raw", "baseline_value": 15.0, "ratio": 0.625,
            "goal": ">= 0.5x", "met": true, "rounds": 2, "note": "of one page", "spread": [5.0, 15.0],
            "ratio_spread": [0.5, 0.75],
        });
        assert_eq!(written, expected);
    }

    #[test]
    fn the_ratio_is_that_of_the_rounds_and_not_of_the_medians() {
        // The second round ran on a machine that was three times as slow.
        let entry = compared("x", "rows/s", &[90.0, 30.0, 60.0], "raw", &[100.0, 33.0, 67.0]);
        assert!((entry.ratio.unwrap() - 0.9).abs() < 0.01);
    }

    #[test]
    fn a_failed_case_is_an_entry_without_a_figure() {
        let entry = Entry::failed("relay", "no broker").goal(Goal::AtLeast(1.0));
        assert_eq!((entry.value, entry.met, entry.rounds), (None, None, 0));
        assert_eq!(entry.error.as_deref(), Some("no broker"));
    }

    #[test]
    fn a_report_that_was_written_is_read_back() {
        let folder = std::env::temp_dir().join(format!("switchboard-bench-{}", std::process::id()));
        let path = folder.join("deep/report.json");
        let entries = vec![Entry::new("idle/rss", "MB", &[41.5]), Entry::failed("relay", "no broker")];
        write(&path, &entries).unwrap();
        assert_eq!(read(&path).unwrap(), entries);
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("cannot be read"));
    }
}
