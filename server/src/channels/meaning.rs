//! Error tables as data: what a provider's code means for the way ahead, in our words.
//!
//! The words are ours because providers put phone numbers into theirs. Each connector keeps one table and finds in it.

use domain::delivery::FailureClass;

use super::Refusal;

/// One row of an error table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meaning {
    /// The provider's code.
    pub code: u32,
    /// What it means for the way ahead.
    pub class: FailureClass,
    /// What it means, without personal data.
    pub words: &'static str,
}

/// A row, written short so that a table reads as one.
#[must_use]
pub const fn row(code: u32, class: FailureClass, words: &'static str) -> Meaning {
    Meaning { code, class, words }
}

impl Meaning {
    /// The row as a refusal.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        Refusal { class: self.class, code: self.code.to_string(), detail: self.words.to_owned(), retry_after: None }
    }
}

/// The row of a code, in a table that is sorted by code.
#[must_use]
pub fn find(table: &'static [Meaning], code: u32) -> Option<&'static Meaning> {
    table.binary_search_by_key(&code, |row| row.code).ok().map(|index| &table[index])
}

/// What tests ask of every table: sorted, no code twice, words in every row.
#[cfg(test)]
pub(crate) fn assert_well_formed(table: &'static [Meaning]) {
    for pair in table.windows(2) {
        assert!(pair[0].code < pair[1].code, "{} is not before {}", pair[0].code, pair[1].code);
    }
    for row in table {
        assert!(!row.words.is_empty(), "{} has no words", row.code);
        assert_eq!(find(table, row.code), Some(row));
        assert_ne!(row.class, FailureClass::Technical, "{}: a provider does not speak for our own part", row.code);
    }
}
