//! The connectors against the providers' own libraries. What a library signed, accepted, read and sent is kept in
//! `tests/fixtures`, made by `scripts/peers/fixtures`, which also says when the library has changed its mind.

mod kannel;
mod mail;
mod meta;
mod requests;
mod twilio;

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::Value;
use server::channels::{
    Connector, WebhookError, WebhookFacts, WebhookRequest,
    registry::find,
    settings::{ProviderSettings, SecretSource},
};

/// A connector of that name; secrets are given in clear text under `{name}_env`.
fn connector(name: &str, settings: Value) -> Arc<dyn Connector> {
    let settings = ProviderSettings::new(settings.as_object().expect("an object").clone(), Arc::new(ClearText));
    (find(name).expect(name).build)(&settings).unwrap_or_else(|problems| panic!("{name}: {problems:?}"))
}

/// Takes the name of a variable for its value.
struct ClearText;

impl SecretSource for ClearText {
    fn variable(&self, name: &str) -> Option<String> {
        Some(name.to_owned())
    }

    fn file(&self, _: &str) -> std::io::Result<String> {
        Err(std::io::ErrorKind::NotFound.into())
    }
}

fn fixture(name: &str) -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect(name)
}

/// A webhook at its public address, which is `https://alerts.example.org/webhooks/7` and what follows.
fn webhook(url: &str, headers: &[(&'static str, Option<&str>)], body: &str) -> WebhookRequest {
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let path = path.splitn(6, '/').nth(5).map_or_else(String::new, |rest| format!("/{rest}"));
    let mut map = HeaderMap::new();
    for (name, value) in headers.iter().filter_map(|(name, value)| value.map(|value| (name, value))) {
        map.insert(HeaderName::from_static(name), HeaderValue::from_str(value).expect("a header"));
    }
    WebhookRequest {
        method: Method::POST,
        url: url.to_owned(),
        path,
        query: query.to_owned(),
        headers: map,
        body: body.to_owned().into(),
        received_at: "2026-11-20T10:00:00Z".parse().expect("a time"),
    }
}

/// What was decided, as the library says it: taken, or refused for its signature. Everything else is a fault.
fn is_taken(name: &str, outcome: &Result<WebhookFacts, WebhookError>) -> bool {
    match outcome {
        Ok(_) => true,
        Err(WebhookError::Forbidden(_)) => false,
        Err(error) => panic!("{name}: {error}"),
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} in {value}"))
}

/// Asserts that a connector decides as the library did in every case, and that both decisions are among them.
fn assert_same_verdicts(cases: &Value, decide: impl Fn(&Value) -> Result<WebhookFacts, WebhookError>) {
    let cases = cases.as_array().expect("cases");
    let mut wrong = Vec::new();
    for case in cases {
        let name = text(case, "name");
        let outcome = decide(case);
        if case["accepted"] != is_taken(name, &outcome) {
            wrong.push(format!("{name}: the library says {}, we say {outcome:?}", case["accepted"]));
        }
        if let (Ok(first), Ok(again)) = (&outcome, decide(case)) {
            // A repeated webhook cannot be told from a retry: it must say the very same, so that it is stored once.
            assert_eq!((&first.receipts, &first.inbound), (&again.receipts, &again.inbound), "{name}");
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let accepted = cases.iter().filter(|case| case["accepted"] == true).count();
    assert!(accepted > 1 && cases.len() - accepted > 8, "{accepted} of {}", cases.len());
}
