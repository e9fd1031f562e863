//! Where a value comes from: the command line, a file (`@file` or `--file`), or standard input (`-`).

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::Error;

/// Reads a file whole; `-` is standard input.
///
/// # Errors
/// `Error::File` with the path.
pub fn text(path: &Path) -> Result<String, Error> {
    let read = if path == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(path)
    };
    read.map_err(|source| Error::File { path: path.to_owned(), source })
}

/// Reads a file as JSON, or as TOML when its name ends in `.toml`.
///
/// # Errors
/// `Error::File` when it cannot be read, `Error::Usage` with the line when it is not well formed.
pub fn document(path: &Path) -> Result<Value, Error> {
    let text = text(path)?;
    let wrong = |error: &dyn std::fmt::Display| Error::Usage(format!("{}: {error}", path.display()));
    if path.extension().is_some_and(|it| it.eq_ignore_ascii_case("toml")) {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| wrong(&error))?;
        return Ok(from_toml(toml::Value::Table(table)));
    }
    serde_json::from_str(&text).map_err(|error| wrong(&error))
}

/// The argument of `call`: JSON as it is, `@file`, or `-`. Returns the text and what to call it in errors.
///
/// # Errors
/// As `text`.
pub fn argument(argument: &str) -> Result<(String, String), Error> {
    match argument {
        "-" => Ok((text(Path::new("-"))?, "standard input".into())),
        _ => match argument.strip_prefix('@') {
            Some(path) => Ok((text(&PathBuf::from(path))?, path.into())),
            None => Ok((argument.into(), "the argument".into())),
        },
    }
}

/// TOML as JSON; dates and times become texts.
fn from_toml(value: toml::Value) -> Value {
    match value {
        toml::Value::String(it) => Value::String(it),
        toml::Value::Integer(it) => it.into(),
        toml::Value::Float(it) => it.into(),
        toml::Value::Boolean(it) => it.into(),
        toml::Value::Datetime(it) => Value::String(it.to_string()),
        toml::Value::Array(items) => items.into_iter().map(from_toml).collect(),
        toml::Value::Table(table) => {
            Value::Object(table.into_iter().map(|(key, value)| (key, from_toml(value))).collect::<Map<_, _>>())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(suffix: &str, text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::Builder::new().suffix(suffix).tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn toml_and_json_say_the_same() {
        let toml = file(".toml", "a = 1\n[[steps]]\nat = 2026-11-20T09:00:00Z\n");
        let json = file(".json", r#"{"a": 1, "steps": [{"at": "2026-11-20T09:00:00Z"}]}"#);
        assert_eq!(document(toml.path()).unwrap(), document(json.path()).unwrap());
    }

    #[test]
    fn a_broken_file_is_named_with_the_line() {
        let broken = file(".json", "{\n\"a\": }");
        let error = document(broken.path()).unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
        let missing = document(Path::new("nowhere.json")).unwrap_err();
        assert_eq!(missing.exit_code(), crate::exit::FILES);
    }
}
