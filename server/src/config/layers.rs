//! The layers of settings: the embedded defaults, a file, the environment; each value with where it comes from. Reads them by
//! type and range, and gathers every problem instead of stopping at the first. Knows no setting by name.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::SocketAddr,
    ops::RangeInclusive,
};

use secrecy::SecretString;
use toml::{Table, Value};

/// Environment variables of this prefix are settings.
const PREFIX: &str = "SWITCHBOARD__";
/// Values are shown up to this length.
const SHOWN: usize = 80;

/// One thing that is wrong, for the person who set it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key, such as `http.listen`, and where it was set.
    pub key: String,
    /// The value as it was given; none for a secret, or where there is none.
    pub value: Option<String>,
    /// What would be right.
    pub right: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{} is {value}: {}", self.key, self.right),
            None => write!(f, "{}: {}", self.key, self.right),
        }
    }
}

/// All values by their full key, the later layers over the earlier ones.
#[derive(Debug)]
pub struct Layers {
    values: BTreeMap<String, Entry>,
    asked: BTreeSet<String>,
    problems: Vec<Problem>,
}

#[derive(Debug)]
struct Entry {
    value: Value,
    origin: String,
}

impl Layers {
    /// The defaults; what stands in them is what may be set.
    #[must_use]
    pub fn new(defaults: &str) -> Self {
        let mut layers = Self { values: BTreeMap::new(), asked: BTreeSet::new(), problems: Vec::new() };
        let table = layers.parse(defaults, "the defaults");
        for (section, keys) in table {
            for (key, value) in keys.as_table().cloned().unwrap_or_default() {
                layers.values.insert(format!("{section}.{key}"), Entry { value, origin: String::new() });
            }
        }
        layers
    }

    /// Lays a file's text over what stands.
    pub fn file(&mut self, text: &str, name: &str) {
        let origin = format!(" (in {name})");
        for (section, keys) in self.parse(text, name) {
            let sections: BTreeSet<&str> = self.values.keys().filter_map(|k| Some(k.split_once('.')?.0)).collect();
            if !sections.contains(section.as_str()) {
                let known: Vec<&str> = sections.into_iter().collect();
                let right = format!("is not a section; known are {}", known.join(", "));
                self.problem(format!("{section}{origin}"), None, right);
                continue;
            }
            let Value::Table(keys) = keys else {
                self.problem(format!("{section}{origin}"), Some(keys.to_string()), "must be a section of keys");
                continue;
            };
            for (key, value) in keys {
                self.set(&format!("{section}.{key}"), value, &origin);
            }
        }
    }

    /// Lays the environment over what stands: `conventional` variables first, then those of our prefix.
    pub fn environment(
        &mut self,
        variables: impl IntoIterator<Item = (String, String)>,
        conventional: &[(&str, &str)],
    ) {
        let variables: BTreeMap<String, String> = variables.into_iter().collect();
        for (variable, key) in conventional {
            if let Some(text) = variables.get(*variable).filter(|text| !text.is_empty()) {
                self.set(key, Value::String(text.clone()), &format!(" (in {variable})"));
            }
        }
        for (variable, text) in &variables {
            let Some(path) = variable.strip_prefix(PREFIX) else { continue };
            let key = path.to_lowercase().replacen("__", ".", 1);
            let origin = format!(" (in {variable})");
            match self.values.get(&key).map(|entry| &entry.value) {
                Some(Value::String(_)) => self.set(&key, Value::String(text.clone()), &origin),
                Some(_) => match format!("value = {text}").parse::<Table>().ok().and_then(|mut t| t.remove("value")) {
                    Some(value) => self.set(&key, value, &origin),
                    None => self.problem(format!("{key}{origin}"), Some(show(text)), "cannot be read"),
                },
                None => self.set(&key, Value::String(text.clone()), &origin),
            }
        }
    }

    fn set(&mut self, key: &str, value: Value, origin: &str) {
        if let Some(entry) = self.values.get_mut(key) {
            *entry = Entry { value, origin: origin.to_owned() };
            return;
        }
        let section = key.split_once('.').map_or("", |(section, _)| section);
        let siblings = self.values.keys().filter_map(|k| Some(k.split_once('.')?).filter(|(s, _)| *s == section));
        let known: Vec<&str> = siblings.map(|(_, key)| key).collect();
        let right = match known.is_empty() {
            true => "is not a setting".to_owned(),
            false => format!("is not a setting; known in [{section}] are {}", known.join(", ")),
        };
        self.problem(format!("{key}{origin}"), None, right);
    }

    fn parse(&mut self, text: &str, name: &str) -> Table {
        text.parse::<Table>().unwrap_or_else(|error| {
            // The error's own display would quote the line, which may hold a secret.
            let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            self.problem(format!("{name}, line {line}"), None, format!("is no TOML: {}", error.message()));
            Table::new()
        })
    }

    /// Notes a problem with a key's value, which is shown.
    pub fn wrong(&mut self, key: &str, right: impl Into<String>) {
        let (value, origin) = self.shown(key);
        self.problem(format!("{key}{origin}"), value, right);
    }

    /// Notes a problem with a secret, which is not shown.
    pub fn wrong_secret(&mut self, key: &str, right: impl Into<String>) {
        let (_, origin) = self.shown(key);
        self.problem(format!("{key}{origin}"), None, right);
    }

    fn problem(&mut self, key: String, value: Option<String>, right: impl Into<String>) {
        self.problems.push(Problem { key, value, right: right.into() });
    }

    fn shown(&self, key: &str) -> (Option<String>, String) {
        match self.values.get(key) {
            Some(entry) => (Some(show(&entry.value.to_string())), entry.origin.clone()),
            None => (None, String::new()),
        }
    }

    /// The value of a key, as it is.
    pub fn value(&mut self, key: &str) -> Option<Value> {
        self.asked.insert(key.to_owned());
        self.values.get(key).map(|entry| entry.value.clone())
    }

    /// A text, without spaces at its ends.
    pub fn text(&mut self, key: &str) -> String {
        match self.value(key) {
            Some(Value::String(text)) => text.trim().to_owned(),
            _ => {
                self.wrong(key, "must be a text");
                String::new()
            }
        }
    }

    /// A secret; none when it is empty.
    pub fn secret(&mut self, key: &str) -> Option<SecretString> {
        match self.value(key) {
            Some(Value::String(text)) => Some(text.trim()).filter(|t| !t.is_empty()).map(SecretString::from),
            _ => {
                self.wrong_secret(key, "must be a text");
                None
            }
        }
    }

    /// A whole number in a range.
    pub fn number(&mut self, key: &str, range: RangeInclusive<u64>) -> u64 {
        let number = self.value(key).as_ref().and_then(Value::as_integer).and_then(|n| u64::try_from(n).ok());
        number.filter(|n| range.contains(n)).unwrap_or_else(|| {
            self.wrong(key, format!("must be a whole number from {} to {}", range.start(), range.end()));
            *range.start()
        })
    }

    /// Yes or no.
    pub fn flag(&mut self, key: &str) -> bool {
        let flag = self.value(key).as_ref().and_then(Value::as_bool);
        flag.unwrap_or_else(|| {
            self.wrong(key, "must be true or false");
            false
        })
    }

    /// An address and a port to listen on; none when it is empty.
    pub fn address(&mut self, key: &str) -> Option<SocketAddr> {
        let text = self.text(key);
        if text.is_empty() {
            return None;
        }
        let read = text.replace("localhost:", "127.0.0.1:").parse().ok();
        if read.is_none() {
            self.wrong(key, "must be an address and a port, such as 127.0.0.1:7480 or [::1]:7480");
        }
        read
    }

    /// One of a few words.
    pub fn one_of<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(key);
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.wrong(key, format!("must be one of {}", names.join(", ")));
        }
        found
    }

    /// What was read from a value, or why it could not be.
    pub fn parsed<T, E: fmt::Display>(&mut self, key: &str, read: Result<T, E>) -> Option<T> {
        read.map_err(|error| self.wrong(key, error.to_string())).ok()
    }

    /// Ends reading.
    ///
    /// # Errors
    /// Every problem that was found.
    pub fn finish(self) -> Result<(), Vec<Problem>> {
        if self.problems.is_empty() { Ok(()) } else { Err(self.problems) }
    }

    /// The keys that may be set but were not asked for: a setting that does nothing.
    #[cfg(test)]
    pub(super) fn never_asked(&self) -> Vec<&str> {
        self.values.keys().map(String::as_str).filter(|key| !self.asked.contains(*key)).collect()
    }
}

fn show(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
