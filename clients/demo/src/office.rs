//! The department's own database, which Switchboard does not own: everything is written with `psql`, as its clerks would.

use std::process::Stdio;

use anyhow::{Context, bail};
use tokio::process::Command;

use crate::cast::Row;

/// The way into the database of the department.
#[derive(Debug, Clone)]
pub struct Office {
    url: String,
}

impl Office {
    /// The database at `url`, by the role that owns the table.
    pub fn new(url: String) -> Self {
        Self { url }
    }

    /// Runs statements with `psql`, in the order given, and returns what it printed.
    ///
    /// # Errors
    /// What `psql` said.
    pub async fn psql(&self, sql: &str) -> anyhow::Result<String> {
        let output = Command::new("psql")
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &self.url, "-c", sql])
            .env("PGOPTIONS", "")
            .stdin(Stdio::null())
            .output()
            .await
            .context("psql cannot be run: install the package postgresql-client")?;
        if !output.status.success() {
            bail!("psql failed: {}\n  {sql}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

/// The statement that writes these rows.
pub fn insert(rows: &[Row<'_>]) -> String {
    let values: Vec<String> = rows.iter().map(|row| format!("  ({})", row.fields().map(quoted).join(", "))).collect();
    format!(
        "insert into grievances (number, citizen_id, citizen, phone, email, language, subject, status) values\n{};",
        values.join(",\n")
    )
}

/// A text in SQL; an empty one is NULL.
fn quoted(text: &str) -> String {
    if text.is_empty() { "null".to_owned() } else { format!("'{}'", text.replace('\'', "''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_in_a_name_cannot_end_the_text() {
        assert_eq!(quoted("D'Souza"), "'D''Souza'");
        assert_eq!(quoted(""), "null");
    }
}
