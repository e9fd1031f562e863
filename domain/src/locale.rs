//! Languages as people and providers write them, brought to one form: `hi-IN`, `hi`, `zh-Hant-TW` (BCP 47, RFC 5646).
//!
//! Only what templates need: language, script, region. Variants and extensions are refused rather than dropped in silence.

use serde::{Deserialize, Serialize};

/// A language in its canonical form: language lower case, script in title case, region upper case, joined by hyphens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Locale(String);

/// A text that is no language tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a language; write it like en, hi-IN or zh-Hant-TW")]
pub struct LocaleError(pub String);

impl Locale {
    /// Reads a language tag; `_` counts as `-` and case does not matter, so `hi_in` is `hi-IN`.
    ///
    /// # Errors
    /// When the text is not `language[-script][-region]`.
    pub fn parse(text: &str) -> Result<Self, LocaleError> {
        let error = || LocaleError(text.chars().take(40).collect());
        let mut parts = text.trim().split(['-', '_']);
        let language = parts.next().filter(|p| is_alpha(p) && matches!(p.len(), 2 | 3)).ok_or_else(error)?;
        let mut tag = language.to_ascii_lowercase();
        let mut next = parts.next();
        if let Some(script) = next.filter(|p| is_alpha(p) && p.len() == 4) {
            let script = script.to_ascii_lowercase();
            tag.push('-');
            tag.push_str(&script[..1].to_ascii_uppercase());
            tag.push_str(&script[1..]);
            next = parts.next();
        }
        if let Some(region) = next {
            let letters = is_alpha(region) && region.len() == 2;
            let digits = region.len() == 3 && region.bytes().all(|b| b.is_ascii_digit());
            if !letters && !digits {
                return Err(error());
            }
            tag.push('-');
            tag.push_str(&region.to_ascii_uppercase());
        }
        if parts.next().is_some() { Err(error()) } else { Ok(Self(tag)) }
    }

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// This language and the more general ones behind it, the most exact first: `zh-Hant-TW`, `zh-Hant`, `zh`.
    pub fn chain(&self) -> impl Iterator<Item = &str> {
        std::iter::successors(Some(self.0.as_str()), |tag| tag.rfind('-').map(|at| &tag[..at]))
    }
}

fn is_alpha(part: &str) -> bool {
    part.bytes().all(|b| b.is_ascii_alphabetic())
}

impl std::fmt::Display for Locale {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for Locale {
    type Err = LocaleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Locale {
    type Error = LocaleError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<Locale> for String {
    fn from(locale: Locale) -> Self {
        locale.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn brings_tags_to_one_form() {
        let cases = [
            ("hi", "hi"),
            ("HI_in", "hi-IN"),
            (" en-us ", "en-US"),
            ("zh-hant-tw", "zh-Hant-TW"),
            ("es-419", "es-419"),
        ];
        for (given, expected) in cases {
            assert_eq!(Locale::parse(given).map(|l| l.to_string()), Ok(expected.to_owned()));
        }
    }

    #[test]
    fn refuses_what_is_no_language() {
        for text in ["", "h", "hindi", "en-", "en-U", "en-US-x", "en--US", "12", "\u{939}\u{93f}", "en-US-posix"] {
            assert!(Locale::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn general_languages_follow_exact_ones() {
        let locale = Locale::parse("zh-Hant-TW").unwrap();
        assert_eq!(locale.chain().collect::<Vec<_>>(), ["zh-Hant-TW", "zh-Hant", "zh"]);
    }

    proptest! {
        #[test]
        fn canonical_forms_stay_as_they_are(text in "[a-zA-Z]{2,3}([-_][a-zA-Z]{4})?([-_]([a-zA-Z]{2}|[0-9]{3}))?") {
            let once = Locale::parse(&text).unwrap();
            prop_assert_eq!(Locale::parse(once.as_str()).unwrap(), once);
        }

        #[test]
        fn never_panics(text in ".{0,20}") {
            let _ = Locale::parse(&text);
        }
    }
}
