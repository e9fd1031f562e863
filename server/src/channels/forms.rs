//! Query strings and form bodies: decoding, as `application/x-www-form-urlencoded` says (WHATWG URL, section 5.1).
//!
//! Values are kept as bytes until a caller asks for text, because Kannel sends UTF-16 in them.

use percent_encoding::percent_decode_str;

/// Decoded pairs, in the order in which they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Form(Vec<(String, Vec<u8>)>);

impl Form {
    /// Decodes a query string or a form body; bytes that are no text are kept as they are in values.
    #[must_use]
    pub fn parse(encoded: &[u8]) -> Self {
        let encoded = String::from_utf8_lossy(encoded);
        let pairs = encoded.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (String::from_utf8_lossy(&decode(key)).into_owned(), decode(value))
        });
        Self(pairs.collect())
    }

    /// Puts the pairs of another form behind these.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// The bytes of the first value of a key.
    #[must_use]
    pub fn bytes(&self, key: &str) -> Option<&[u8]> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_slice())
    }

    /// The first value of a key as text, if it is there and not empty.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<String> {
        let bytes = self.bytes(key).filter(|bytes| !bytes.is_empty())?;
        Some(String::from_utf8_lossy(bytes).into_owned())
    }

    /// Every pair as text.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, std::borrow::Cow<'_, str>)> {
        self.0.iter().map(|(key, value)| (key.as_str(), String::from_utf8_lossy(value)))
    }
}

fn decode(text: &str) -> Vec<u8> {
    percent_decode_str(&text.replace('+', " ")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_plus_percent_and_bytes_that_are_no_text() {
        let form = Form::parse(b"a=1+2&b=%E0%A4%95&c=%00%41&empty=&flag&a=second&&bad=%zz");
        assert_eq!(form.text("a").as_deref(), Some("1 2"));
        assert_eq!(form.text("b").as_deref(), Some("\u{915}"));
        assert_eq!(form.bytes("c"), Some(&[0, 0x41][..]));
        assert_eq!(form.text("empty"), None);
        assert_eq!(form.bytes("flag"), Some(&[][..]));
        assert_eq!(form.text("bad").as_deref(), Some("%zz"));
        assert_eq!(form.pairs().count(), 7);
    }
}
