//! The names that people choose for definitions: `channels/sms-main`, `templates/welcome`, `policies/urgent`.
//!
//! A slug is part of a resource name, so it holds only what needs no escaping in a URL, a file name or a shell.

use serde::{Deserialize, Serialize};

/// The longest slug, in characters.
pub const MAX_SLUG_CHARS: usize = 63;

/// A name chosen by a person: 2 to 63 characters of `a-z`, `0-9` and `-`, a letter first, no hyphen last
/// (`^[a-z][a-z0-9-]{0,61}[a-z0-9]$`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Slug(String);

/// Why a text is no slug.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SlugError {
    /// Fewer than 2 characters.
    #[error("must have at least 2 characters")]
    TooShort,
    /// More than [`MAX_SLUG_CHARS`] characters; carries how many there are.
    #[error("has {0} characters, at most 63 are allowed")]
    TooLong(usize),
    /// The first character is not a lower-case letter.
    #[error("must start with a lower-case letter a-z")]
    FirstNotLetter,
    /// The last character is a hyphen.
    #[error("must not end with a hyphen")]
    LastHyphen,
    /// A character that is not allowed; carries it and its position, counted from 1.
    #[error("has {found:?} at position {position}; only a-z, 0-9 and '-' are allowed")]
    Character {
        /// The character.
        found: char,
        /// Its position, counted from 1.
        position: usize,
    },
}

impl Slug {
    /// Reads a slug.
    ///
    /// # Errors
    /// The first thing that is wrong, see [`SlugError`].
    pub fn parse(text: &str) -> Result<Self, SlugError> {
        let count = text.chars().count();
        if count > MAX_SLUG_CHARS {
            return Err(SlugError::TooLong(count));
        }
        let wrong = |c: &(usize, char)| !matches!(c.1, 'a'..='z' | '0'..='9' | '-');
        if let Some((index, found)) = text.chars().enumerate().find(wrong) {
            return Err(SlugError::Character { found, position: index + 1 });
        }
        if count < 2 {
            return Err(SlugError::TooShort);
        }
        if !text.starts_with(|c: char| c.is_ascii_lowercase()) {
            return Err(SlugError::FirstNotLetter);
        }
        if text.ends_with('-') {
            return Err(SlugError::LastHyphen);
        }
        Ok(Self(text.to_owned()))
    }

    /// The text of the slug.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Slug {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for Slug {
    type Err = SlugError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Slug {
    type Error = SlugError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<Slug> for String {
    fn from(slug: Slug) -> Self {
        slug.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn accepts_what_the_rule_allows() {
        let longest = format!("a{}", "b".repeat(62));
        for text in ["ab", "a1", "sms-main", "a--b", longest.as_str()] {
            assert_eq!(Slug::parse(text).map(|s| s.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn says_what_is_wrong() {
        let cases = [
            ("", SlugError::TooShort),
            ("a", SlugError::TooShort),
            ("1a", SlugError::FirstNotLetter),
            ("-a", SlugError::FirstNotLetter),
            ("a-", SlugError::LastHyphen),
            ("Ab", SlugError::Character { found: 'A', position: 1 }),
            ("a b", SlugError::Character { found: ' ', position: 2 }),
            ("sm\u{e9}s", SlugError::Character { found: '\u{e9}', position: 3 }),
        ];
        for (text, error) in cases {
            assert_eq!(Slug::parse(text), Err(error), "{text:?}");
        }
        assert_eq!(Slug::parse(&"a".repeat(64)), Err(SlugError::TooLong(64)));
    }

    #[test]
    fn is_checked_when_read_from_json() {
        assert!(serde_json::from_str::<Slug>("\"ok-1\"").is_ok());
        assert!(serde_json::from_str::<Slug>("\"Not ok\"").is_err());
    }

    proptest! {
        #[test]
        fn agrees_with_the_regular_expression(text in "[a-zA-Z0-9_-]{0,66}") {
            let rule = regex::Regex::new("^[a-z][a-z0-9-]{0,61}[a-z0-9]$").unwrap();
            prop_assert_eq!(Slug::parse(&text).is_ok(), rule.is_match(&text));
        }
    }
}
