//! Form parameters of Twilio's requests, and the checks that Messages and Calls share.

use axum::http::Uri;
use serde_json::{Value, json};

use super::errors::TwilioError;
use crate::script::is_e164;

/// Parameters in the order in which they came; names may repeat.
#[derive(Debug, Clone, Default)]
pub(crate) struct Form(pub Vec<(String, String)>);

impl Form {
    /// Reads a form body or a query.
    pub fn parse(text: &str) -> Self {
        // A URL's query has the same writing as a form, and the URL parser takes every text.
        let url = reqwest::Url::parse("http://form/").map(|mut url| {
            url.set_query(Some(text));
            url
        });
        Self(url.map(|url| url.query_pairs().into_owned().collect()).unwrap_or_default())
    }

    /// Reads the query of a request.
    pub fn of_query(uri: &Uri) -> Self {
        uri.query().map(Self::parse).unwrap_or_default()
    }

    /// The first value of this name that is not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// All words of this name, whether the name repeats or the words stand in one value.
    pub fn words(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(key, _)| key == name).flat_map(|(_, value)| value.split_whitespace()).collect()
    }

    /// The parameters as JSON: name to list of values.
    pub fn to_json(&self) -> Value {
        let mut object = serde_json::Map::new();
        for (name, value) in &self.0 {
            if let Some(list) = object.entry(name.clone()).or_insert_with(|| json!([])).as_array_mut() {
                list.push(json!(value));
            }
        }
        Value::Object(object)
    }

    /// The parameters back from their JSON.
    pub fn from_json(object: &Value) -> Self {
        let lists = object.as_object().into_iter().flatten();
        let pairs = lists.flat_map(|(name, list)| {
            let values = list.as_array().into_iter().flatten().filter_map(Value::as_str);
            values.map(|value| (name.clone(), value.to_owned()))
        });
        Self(pairs.collect())
    }

    /// A URL parameter, which must be an absolute http or https URL when it is given.
    pub fn url(&self, name: &str, code: u32) -> Result<Option<&str>, TwilioError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let valid =
            reqwest::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if valid {
            Ok(Some(text))
        } else {
            Err(TwilioError::new(code, format!("The '{name}' URL {text} is not a valid URL.")))
        }
    }
}

/// Whether this can be a sender of SMS: a number, a short code, or an alphanumeric sender id of at most eleven characters.
pub(crate) fn is_sender(from: &str) -> bool {
    let short_code = (3..=8).contains(&from.len()) && from.bytes().all(|b| b.is_ascii_digit());
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b' ' | b'+' | b'-' | b'_' | b'&');
    let named =
        (1..=11).contains(&from.len()) && from.bytes().all(allowed) && from.bytes().any(|b| b.is_ascii_alphabetic());
    is_e164(from) || short_code || named
}

/// The `StatusCallback` query, which callers use for their own ids.
pub(crate) fn query_of(url: Option<&str>) -> Option<String> {
    let base = url?.split('#').next()?;
    base.split_once('?').map(|(_, query)| query.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_names_and_escapes_are_read() {
        let form =
            Form::parse("To=%2B15550001111&StatusCallbackEvent=ringing&StatusCallbackEvent=answered&Body=a+b%26c");
        assert_eq!(form.get("To"), Some("+15550001111"));
        assert_eq!(form.get("Body"), Some("a b&c"));
        assert_eq!(form.words("StatusCallbackEvent"), ["ringing", "answered"]);
    }

    #[test]
    fn senders_are_numbers_short_codes_or_names() {
        for good in ["+15550001111", "56767", "SWBRD", "AB-12"] {
            assert!(is_sender(good), "{good}");
        }
        for bad in ["15550001111", "+0123", "TWELVELETTERS", "", "हिन्दी"] {
            assert!(!is_sender(bad), "{bad}");
        }
    }
}
