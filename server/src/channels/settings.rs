//! Reading a provider's settings: a JSON object that an operator wrote, parsed with every problem reported at once.
//!
//! Secrets are never in the object: a secret named `auth_token` is given as `auth_token_env` (an environment variable)
//! or `auth_token_file` (a file, whose trailing line end is dropped). One in clear text is refused without being repeated.

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use reqwest::Url;
use secrecy::SecretString;
use serde_json::{Map, Value};

/// One setting of a connector, for checks, help and forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettingSpec {
    /// The key. A secret is given under `{name}_env` or `{name}_file`.
    pub name: &'static str,
    /// Whether the connector cannot work without it.
    pub required: bool,
    /// Whether it is a secret.
    pub secret: bool,
    /// What it is, its unit and its default, in a sentence.
    pub description: &'static str,
}

impl SettingSpec {
    /// A setting that must be given.
    #[must_use]
    pub const fn required(name: &'static str, description: &'static str) -> Self {
        Self { name, required: true, secret: false, description }
    }

    /// A setting with a default.
    #[must_use]
    pub const fn optional(name: &'static str, description: &'static str) -> Self {
        Self { name, required: false, secret: false, description }
    }

    /// The same setting as a secret.
    #[must_use]
    pub const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }
}

/// What is wrong with one setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {description}")]
pub struct SettingProblem {
    /// The key.
    pub field: String,
    /// What is wrong and what is right, as the rest of a sentence; never holds a secret.
    pub description: String,
}

/// Where secrets are looked up: the process in production, a table in tests.
pub trait SecretSource: Send + Sync {
    /// The value of an environment variable, if it is set.
    fn variable(&self, name: &str) -> Option<String>;
    /// The text of a file.
    ///
    /// # Errors
    /// Whatever reading it gives.
    fn file(&self, path: &str) -> std::io::Result<String>;
}

/// The environment and the files of this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessSecrets;

impl SecretSource for ProcessSecrets {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn file(&self, path: &str) -> std::io::Result<String> {
        std::fs::read_to_string(path)
    }
}

/// The settings of one provider, with the way to resolve the secrets that they name.
#[derive(Clone)]
pub struct ProviderSettings {
    values: Map<String, Value>,
    secrets: Arc<dyn SecretSource>,
}

impl Default for ProviderSettings {
    fn default() -> Self {
        Self::new(Map::new(), Arc::new(ProcessSecrets))
    }
}

impl fmt::Debug for ProviderSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderSettings").field("keys", &self.values.keys().collect::<Vec<_>>()).finish()
    }
}

impl ProviderSettings {
    /// Settings as they were written, and where their secrets are looked up.
    #[must_use]
    pub fn new(values: Map<String, Value>, secrets: Arc<dyn SecretSource>) -> Self {
        Self { values, secrets }
    }

    /// Starts reading against what a connector takes: unknown keys and secrets in clear text are problems already.
    #[must_use]
    pub fn read<'a>(&'a self, specs: &'static [SettingSpec]) -> Reader<'a> {
        let mut reader = Reader { settings: self, specs, problems: Vec::new() };
        for key in self.values.keys() {
            reader.check_key(key);
        }
        reader
    }
}

/// Reads settings one by one and collects what is wrong. A value with a problem reads as its default, so that reading
/// goes on; [`Reader::finish`] then says that the whole cannot be used.
pub struct Reader<'a> {
    settings: &'a ProviderSettings,
    specs: &'static [SettingSpec],
    problems: Vec<SettingProblem>,
}

impl Reader<'_> {
    /// A text; empty when it is missing, which is a problem only where the setting is required.
    pub fn text(&mut self, name: &'static str) -> String {
        match self.settings.values.get(name) {
            Some(Value::String(text)) if !text.trim().is_empty() => text.trim().to_owned(),
            Some(Value::String(_)) => self.problem_text(name, "must not be empty"),
            Some(_) => self.problem_text(name, "must be a text"),
            None if self.is_required(name) => self.problem_text(name, "is missing"),
            None => String::new(),
        }
    }

    /// A text of which only some values are right; the first is the default.
    pub fn one_of(&mut self, name: &'static str, allowed: &[&'static str]) -> &'static str {
        let text = self.text(name);
        let default = allowed.first().copied().unwrap_or_default();
        match allowed.iter().find(|value| **value == text) {
            Some(value) => value,
            None if text.is_empty() => default,
            None => {
                self.problem(name, format!("must be one of {}", allowed.join(", ")));
                default
            }
        }
    }

    /// A whole number in a range, or its default.
    pub fn number(&mut self, name: &'static str, range: std::ops::RangeInclusive<u32>, default: u32) -> u32 {
        let Some(value) = self.settings.values.get(name) else { return default };
        match value.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| range.contains(n)) {
            Some(number) => number,
            None => {
                self.problem(name, format!("must be a whole number from {} to {}", range.start(), range.end()));
                default
            }
        }
    }

    /// A length of time in whole seconds, or its default.
    pub fn seconds(&mut self, name: &'static str, range: std::ops::RangeInclusive<u32>, default: u32) -> Duration {
        Duration::from_secs(u64::from(self.number(name, range, default)))
    }

    /// The base of a provider's web address, without a slash at the end. `https` is demanded unless the host is this
    /// machine (a simulator or a local gateway), because credentials travel to it.
    pub fn base_url(&mut self, name: &'static str, default: &str) -> String {
        let text = self.text(name);
        let text = if text.is_empty() { default.to_owned() } else { text };
        let problem = match Url::parse(&text) {
            _ if text.is_empty() => None,
            Err(_) => Some("must be a web address such as https://api.example.org"),
            Ok(url) => base_url_problem(&url),
        };
        if let Some(problem) = problem {
            self.problem(name, problem);
        }
        text.trim_end_matches('/').to_owned()
    }

    /// A secret, from the variable or the file that the settings name; empty when there is none, which is a problem only
    /// where the setting is required.
    pub fn secret(&mut self, name: &'static str) -> SecretString {
        self.secret_if(name, self.is_required(name))
    }

    /// A secret that is not required in general, but by another setting.
    pub fn needed_secret(&mut self, name: &'static str) -> SecretString {
        self.secret_if(name, true)
    }

    fn secret_if(&mut self, name: &'static str, needed: bool) -> SecretString {
        let variable = self.reference(name, "_env");
        let file = self.reference(name, "_file");
        let found = match (variable, file) {
            (Some(_), Some(_)) => Err("is given twice: keep either the _env or the _file key".to_owned()),
            (Some(variable), None) => self.variable(&variable),
            (None, Some(path)) => self.file(&path),
            (None, None) if needed => {
                Err(format!("is missing: name an environment variable in {name}_env or a file in {name}_file"))
            }
            (None, None) => Ok(String::new()),
        };
        SecretString::from(found.unwrap_or_else(|problem| self.problem_text(name, problem)))
    }

    /// Notes a problem that only the connector can see.
    pub fn problem(&mut self, field: &str, description: impl Into<String>) {
        self.problems.push(SettingProblem { field: field.to_owned(), description: description.into() });
    }

    /// Ends reading.
    ///
    /// # Errors
    /// Every problem that was found.
    pub fn finish(self) -> Result<(), Vec<SettingProblem>> {
        if self.problems.is_empty() { Ok(()) } else { Err(self.problems) }
    }

    /// Takes what was built from a setting, or notes why it could not be.
    pub fn built<T>(&mut self, field: &str, result: Result<T, String>) -> Option<T> {
        result.map_err(|problem| self.problem(field, problem)).ok()
    }

    /// Ends reading with what was built, if nothing is wrong.
    ///
    /// # Errors
    /// Every problem that was found.
    pub fn finish_with<T>(self, built: Option<T>) -> Result<T, Vec<SettingProblem>> {
        match built {
            Some(built) if self.problems.is_empty() => Ok(built),
            _ => Err(self.problems),
        }
    }

    fn check_key(&mut self, key: &str) {
        let known = self.specs.iter().find(|spec| match spec.secret {
            true => key.strip_prefix(spec.name).is_some_and(|rest| ["", "_env", "_file"].contains(&rest)),
            false => spec.name == key,
        });
        match known {
            Some(spec) if spec.secret && spec.name == key => self.problem(
                key,
                format!("is a secret in clear text: name an environment variable in {key}_env or a file in {key}_file"),
            ),
            Some(_) => {}
            None => {
                let names: Vec<_> = self.specs.iter().map(|spec| spec.name).collect();
                self.problem(key, format!("is not a setting here; known are {}", names.join(", ")));
            }
        }
    }

    fn reference(&mut self, name: &str, suffix: &str) -> Option<String> {
        let key = format!("{name}{suffix}");
        match self.settings.values.get(&key)? {
            Value::String(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
            _ => {
                self.problem(&key, "must be a text that names where the secret is");
                None
            }
        }
    }

    fn variable(&self, variable: &str) -> Result<String, String> {
        match self.settings.secrets.variable(variable) {
            Some(value) if !value.is_empty() => Ok(value),
            _ => Err(format!("is not there: the environment variable {variable} is not set")),
        }
    }

    fn file(&self, path: &str) -> Result<String, String> {
        match self.settings.secrets.file(path) {
            Ok(text) if text.trim_end().is_empty() => Err(format!("is not there: the file {path} is empty")),
            Ok(text) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
            Err(error) => Err(format!("is not there: the file {path} cannot be read ({})", error.kind())),
        }
    }

    fn is_required(&self, name: &str) -> bool {
        self.specs.iter().any(|spec| spec.name == name && spec.required)
    }

    fn problem_text(&mut self, field: &str, description: impl Into<String>) -> String {
        self.problem(field, description);
        String::new()
    }
}

fn base_url_problem(url: &Url) -> Option<&'static str> {
    let host = url.host_str().unwrap_or_default();
    if !matches!(url.scheme(), "http" | "https") || host.is_empty() {
        Some("must start with https://")
    } else if !url.username().is_empty() || url.password().is_some() {
        Some("must not hold a user name or a password")
    } else if url.query().is_some() || url.fragment().is_some() {
        Some("must not have a query or a fragment")
    } else if url.scheme() == "http" && !is_loopback(host) {
        Some("must start with https://: plain http is accepted for this machine only")
    } else {
        None
    }
}

/// Whether a host is this machine, by its name or its number.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;
    use serde_json::json;

    use super::*;
    use crate::channels::testing::settings;

    const SPECS: &[SettingSpec] = &[
        SettingSpec::required("account", "The account."),
        SettingSpec::required("token", "The token.").secret(),
        SettingSpec::optional("base_url", "The address."),
        SettingSpec::optional("ring_seconds", "How long it rings."),
    ];

    fn fields(problems: &[SettingProblem]) -> Vec<&str> {
        problems.iter().map(|problem| problem.field.as_str()).collect()
    }

    #[test]
    fn reads_values_defaults_and_secrets() {
        let settings = settings(json!({"account": " AC1 ", "token_env": "TOKEN", "ring_seconds": 20}));
        let mut reader = settings.read(SPECS);
        assert_eq!(reader.text("account"), "AC1");
        assert_eq!(reader.secret("token").expose_secret(), "12345");
        assert_eq!(reader.base_url("base_url", "https://api.example.org/"), "https://api.example.org");
        assert_eq!(reader.seconds("ring_seconds", 5..=60, 30), Duration::from_secs(20));
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn reports_every_problem_at_once() {
        let settings = settings(json!({"base_url": "http://api.example.org", "ring_seconds": 0, "colour": "red"}));
        let mut reader = settings.read(SPECS);
        reader.text("account");
        reader.secret("token");
        reader.base_url("base_url", "");
        reader.seconds("ring_seconds", 5..=60, 30);
        let problems = reader.finish().expect_err("five problems");
        assert_eq!(fields(&problems), ["colour", "account", "token", "base_url", "ring_seconds"]);
    }

    #[test]
    fn refuses_a_secret_in_clear_text_without_repeating_it() {
        let settings = settings(json!({"token": "s3cr3t-value"}));
        let problems = settings.read(SPECS).finish().expect_err("a clear secret");
        assert_eq!(fields(&problems), ["token"]);
        assert!(!problems[0].to_string().contains("s3cr3t-value"));
        assert!(problems[0].description.contains("token_env"));
        assert!(!format!("{settings:?}").contains("s3cr3t-value"));
    }

    #[test]
    fn names_a_variable_that_is_not_set_and_a_file_that_is_not_there() {
        for (key, value) in [("token_env", "NOT_SET"), ("token_file", "/nowhere/token")] {
            let settings = settings(json!({key: value}));
            let mut reader = settings.read(SPECS);
            assert_eq!(reader.secret("token").expose_secret(), "");
            let problems = reader.finish().expect_err(key);
            assert!(problems[0].description.contains(value), "{problems:?}");
        }
    }

    #[test]
    fn reads_a_secret_from_a_file_without_its_line_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "from-a-file\n").unwrap();
        let values = json!({"token_file": file.path().to_str().unwrap()});
        let settings = ProviderSettings::new(values.as_object().unwrap().clone(), Arc::new(ProcessSecrets));
        assert_eq!(settings.read(SPECS).secret("token").expose_secret(), "from-a-file");
    }

    #[test]
    fn takes_plain_http_for_this_machine_only() {
        for (url, fine) in [
            ("http://127.0.0.1:7490", true),
            ("http://localhost:7490/", true),
            ("http://[::1]:7490", true),
            ("https://api.example.org/base", true),
            ("http://10.0.0.7", false),
            ("http://localhost.example.org", false),
            ("ftp://127.0.0.1", false),
            ("https://user:pass@example.org", false),
            ("https://example.org/?a=1", false),
            ("api.example.org", false),
        ] {
            let settings = settings(json!({"base_url": url}));
            let mut reader = settings.read(SPECS);
            reader.base_url("base_url", "");
            assert_eq!(reader.finish().is_ok(), fine, "{url}");
        }
    }
}
