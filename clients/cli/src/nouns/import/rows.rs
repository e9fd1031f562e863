//! Reads a CSV file row by row. A row that is broken is rejected with its line, and the rest goes on.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use csv::{ByteRecord, ReaderBuilder, StringRecord};
use indicatif::ProgressBar;
use proto::v1::ImportRow;

use super::columns::Columns;
use super::rejects::Rejects;
use super::{Header, Import};
use crate::error::Error;

/// An open file.
pub struct Source {
    reader: Box<dyn BufRead + Send>,
    path: std::path::PathBuf,
    /// How many bytes it has; `None` for what is not a file on disk.
    pub length: Option<u64>,
}

/// Opens the file; `-` is standard input. A byte order mark is left out.
///
/// # Errors
/// `Error::File` with the path.
pub fn open(path: &Path) -> Result<Source, Error> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    let (input, length): (Box<dyn Read + Send>, _) = if path == Path::new("-") {
        (Box::new(io::stdin()), None)
    } else {
        let file = File::open(path).map_err(failed)?;
        let length = file.metadata().ok().filter(std::fs::Metadata::is_file).map(|it| it.len());
        (Box::new(file), length)
    };
    let mut reader = BufReader::new(input);
    if reader.fill_buf().map_err(failed)?.starts_with(b"\xef\xbb\xbf") {
        reader.consume(3);
    }
    Ok(Source { reader: Box::new(reader), path: path.to_owned(), length })
}

/// A file whose columns are known.
pub struct Table {
    reader: csv::Reader<Box<dyn BufRead + Send>>,
    path: std::path::PathBuf,
    columns: Columns,
    width: usize,
    /// The first row, when it is not a header.
    first: Option<ByteRecord>,
    bar: ProgressBar,
}

impl Table {
    /// Reads the first row and finds the columns.
    ///
    /// # Errors
    /// `Error::Usage` when the file is empty or a column does not exist, `Error::File` when it cannot be read.
    pub fn read(source: Source, import: &Import, bar: ProgressBar) -> Result<Self, Error> {
        let mut builder = ReaderBuilder::new();
        builder.has_headers(false).flexible(true).delimiter(import.delimiter);
        let mut reader = builder.from_reader(source.reader);
        let mut first = ByteRecord::new();
        let found = reader.read_byte_record(&mut first).map_err(|error| unreadable(&source.path, error))?;
        if !found {
            return Err(Error::Usage(format!("{} is empty", source.path.display())));
        }
        let cells: Vec<String> = first.iter().map(|it| String::from_utf8_lossy(it).trim().to_owned()).collect();
        let named = match import.header {
            Header::Yes => true,
            Header::No => false,
            Header::Auto => !cells.iter().any(|cell| is_address(cell)),
        };
        let numbers = || (1..=cells.len()).map(|it| it.to_string()).collect();
        let header = if named { cells.clone() } else { numbers() };
        let columns = import.mapping.resolve(&header, named)?;
        let first = (!named).then_some(first);
        Ok(Self { reader, path: source.path, columns, width: cells.len(), first, bar })
    }

    /// Sends all rows in batches until `send` says that nobody takes them any more, and returns the rows that could not
    /// be read.
    ///
    /// # Errors
    /// `Error::File` when the file cannot be read any further.
    pub fn send(mut self, batch: usize, mut send: impl FnMut(Vec<ImportRow>) -> bool) -> Result<Rejects, Error> {
        let mut rejects = Rejects::default();
        let mut rows = Vec::with_capacity(batch);
        let mut record = ByteRecord::new();
        loop {
            if let Some(first) = self.first.take() {
                record = first;
            } else if !self.reader.read_byte_record(&mut record).map_err(|error| unreadable(&self.path, error))? {
                break;
            }
            let line = record.position().map_or(0, |it| i64::try_from(it.line()).unwrap_or(i64::MAX));
            match self.row(line, &record) {
                Ok(row) => rows.push(row),
                Err((field, description)) => rejects.push(line, &field, "FIELD_INVALID", &description),
            }
            if rows.len() == batch {
                self.bar.set_position(self.reader.position().byte());
                if !send(std::mem::take(&mut rows)) {
                    return Ok(rejects);
                }
            }
        }
        if !rows.is_empty() {
            send(rows);
        }
        Ok(rejects)
    }

    fn row(&self, line: i64, record: &ByteRecord) -> Result<ImportRow, (String, String)> {
        if record.len() != self.width {
            let counts = format!("the row has {} columns where the first one has {}", record.len(), self.width);
            return Err((String::new(), counts));
        }
        let text = StringRecord::from_byte_record(record.clone())
            .map_err(|error| (format!("column {}", error.utf8_error().field() + 1), "it is not UTF-8".to_owned()))?;
        self.columns.row(line, &text)
    }
}

/// Whether a cell is what a header never has: an email address or a phone number.
fn is_address(cell: &str) -> bool {
    let digits = cell.chars().filter(char::is_ascii_digit).count();
    let others = cell.chars().any(|c| !(c.is_ascii_digit() || "+-() .".contains(c)));
    cell.contains('@') || (digits >= 7 && !others)
}

fn unreadable(path: &Path, error: csv::Error) -> Error {
    let path = path.to_owned();
    match error.into_kind() {
        csv::ErrorKind::Io(source) => Error::File { path, source },
        other => Error::Usage(format!("{}: {other:?}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_has_no_addresses() {
        assert!(is_address("+91 98123 45678") && is_address("a@example.org"));
        assert!(!is_address("Mobile") && !is_address("2026") && !is_address("Phone 2"));
    }
}
