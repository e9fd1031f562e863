//! The report of rejected rows: line, field, reason and description, as CSV.

use std::path::Path;

use proto::v1::RejectedRow;

use crate::error::Error;

/// How many rows are kept, as many as the server returns.
const LIMIT: usize = 10_000;

/// Rows that were not taken.
#[derive(Debug, Default)]
pub struct Rejects {
    rows: Vec<RejectedRow>,
}

impl Rejects {
    /// Keeps a row that this program could not read.
    pub fn push(&mut self, line: i64, field: &str, reason: &str, description: &str) {
        if self.rows.len() < LIMIT {
            let (field, reason, description) = (field.to_owned(), reason.to_owned(), description.to_owned());
            self.rows.push(RejectedRow { line, field, reason, description });
        }
    }

    /// Keeps rows that the server rejected.
    pub fn add(&mut self, rows: &[RejectedRow]) {
        self.rows.extend_from_slice(rows);
        self.rows.sort_by_key(|row| row.line);
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Writes the report.
    ///
    /// # Errors
    /// `Error::File` with the path.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let failed = |error: csv::Error| Error::File { path: path.to_owned(), source: error.into() };
        let mut writer = csv::Writer::from_path(path).map_err(failed)?;
        writer.write_record(["line", "field", "reason", "description"]).map_err(failed)?;
        for row in &self.rows {
            let line = row.line.to_string();
            writer.write_record([&line, &row.field, &row.reason, &row.description]).map_err(failed)?;
        }
        writer.flush().map_err(|source| Error::File { path: path.to_owned(), source })
    }
}
