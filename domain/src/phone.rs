//! Phone numbers as people type them, brought to E.164 (`+919812345678`), or refused with a reason that they can act on.
//!
//! The numbering plans are those of the `phonenumber` crate. A number is accepted when its country exists and its length is
//! possible there: the finer patterns of the plans lag behind new ranges, and the provider knows better. Errors never carry
//! the number; [`crate::address::mask`] is for showing one.

use phonenumber::metadata::DATABASE;
use phonenumber::{Mode, ParseError};

/// The longest text that is looked at, in characters.
const MAX_TEXT_CHARS: usize = 40;

/// Why a text is no phone number that can be reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PhoneError {
    /// Nothing was given.
    #[error("is empty")]
    Empty,
    /// It holds something that no phone number has, such as letters.
    #[error("is not a phone number")]
    NotANumber,
    /// There is neither a country code nor a default country.
    #[error("needs a country code: write it like +919812345678, or set a default country")]
    NeedsCountryCode,
    /// The country code is not assigned.
    #[error("has a country code that does not exist")]
    UnknownCountryCode,
    /// Fewer digits than any number of its country.
    #[error("is too short")]
    TooShort,
    /// More digits than any number of its country.
    #[error("is too long")]
    TooLong,
    /// Between shortest and longest, and yet no number of its country has so many digits.
    #[error("has a number of digits that does not exist in its country")]
    WrongLength,
    /// The default country is not an ISO 3166 code of two letters.
    #[error("cannot be read: the default country must be a code of two letters such as IN")]
    UnknownDefaultCountry,
}

/// Reads a phone number and returns it in E.164.
///
/// Digits of any Indic or Arabic script, spaces, hyphens, dots, slashes, parentheses and a leading `tel:` are understood; so
/// is `00` for `+`. A number without a country code belongs to `default_country`, an ISO 3166 code such as `IN`.
///
/// # Errors
/// See [`PhoneError`].
pub fn parse(text: &str, default_country: Option<&str>) -> Result<String, PhoneError> {
    let (digits, international) = normalise(text)?;
    let country = match default_country {
        Some(code) => Some(country_id(code)?),
        None => None,
    };
    let (given, country) = match (international, country) {
        (true, _) => (format!("+{digits}"), None),
        (false, Some(_)) => (digits, country),
        (false, None) => match digits.strip_prefix("00") {
            Some(rest) => (format!("+{rest}"), None),
            None => return Err(PhoneError::NeedsCountryCode),
        },
    };
    let number = phonenumber::parse(country, &given).map_err(|error| match error {
        ParseError::NoNumber | ParseError::TooShortAfterIdd | ParseError::TooShortNsn => PhoneError::TooShort,
        ParseError::InvalidCountryCode => PhoneError::UnknownCountryCode,
        ParseError::TooLong => PhoneError::TooLong,
        ParseError::MalformedInteger(_) => PhoneError::NotANumber,
    })?;
    let national = number.national().to_string();
    check_length(number.code().value(), national.len())?;
    Ok(number.format().mode(Mode::E164).to_string())
}

/// Whether a text is an ISO 3166 code of two letters whose numbering plan is known: what a default country may be.
#[must_use]
pub fn is_country(code: &str) -> bool {
    country_id(code).is_ok()
}

fn country_id(code: &str) -> Result<phonenumber::country::Id, PhoneError> {
    let id = code.trim().to_ascii_uppercase().parse().map_err(|_| PhoneError::UnknownDefaultCountry)?;
    // The list of countries is longer than the list of numbering plans, and the parser panics in between.
    DATABASE.by_id(AsRef::<str>::as_ref(&id)).map(|_| id).ok_or(PhoneError::UnknownDefaultCountry)
}

/// The digits of a text in ASCII, and whether they begin with a country code.
fn normalise(text: &str) -> Result<(String, bool), PhoneError> {
    let text = text.trim();
    let text = text.strip_prefix("tel:").unwrap_or(text);
    if text.is_empty() {
        return Err(PhoneError::Empty);
    }
    if text.chars().count() > MAX_TEXT_CHARS {
        return Err(PhoneError::TooLong);
    }
    let mut digits = String::with_capacity(text.len());
    let mut international = false;
    for c in text.chars() {
        match c {
            '+' | '\u{ff0b}' if digits.is_empty() && !international => international = true,
            ' ' | '\t' | '\u{a0}' | '-' | '\u{2010}'..='\u{2015}' | '.' | '/' | '(' | ')' => {}
            // Marks of writing direction come along when a number is copied from a right-to-left page.
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' => {}
            _ => digits.push(ascii_digit(c).ok_or(PhoneError::NotANumber)?),
        }
    }
    if digits.is_empty() { Err(PhoneError::NotANumber) } else { Ok((digits, international)) }
}

/// The first digit (zero) of each script in which people write numbers: ASCII, Arabic, Persian, the Indic scripts, full width.
const ZEROS: [char; 13] = [
    '0', '\u{660}', '\u{6f0}', '\u{966}', '\u{9e6}', '\u{a66}', '\u{ae6}', '\u{b66}', '\u{be6}', '\u{c66}', '\u{ce6}',
    '\u{d66}', '\u{ff10}',
];

fn ascii_digit(c: char) -> Option<char> {
    ZEROS.iter().find_map(|&zero| {
        let value = u32::from(c).checked_sub(u32::from(zero)).filter(|v| *v < 10)?;
        char::from_digit(value, 10)
    })
}

/// Compares the length of a national number with the lengths of the numbers of its country at which a person is reached.
fn check_length(country_code: u16, digits: usize) -> Result<(), PhoneError> {
    let plans = DATABASE.by_code(&country_code).ok_or(PhoneError::UnknownCountryCode)?;
    // The general descriptor of the data has no lengths, so those of the kinds are taken together.
    let kinds = plans
        .iter()
        .map(|plan| plan.descriptors())
        .flat_map(|plan| [Some(plan.general()), plan.fixed_line(), plan.mobile(), plan.personal_number(), plan.voip()]);
    let possible: Vec<usize> =
        kinds.flatten().flat_map(|kind| kind.possible_length()).map(|length| usize::from(*length)).collect();
    let (Some(&shortest), Some(&longest)) = (possible.iter().min(), possible.iter().max()) else { return Ok(()) };
    match digits {
        n if n < shortest => Err(PhoneError::TooShort),
        n if n > longest => Err(PhoneError::TooLong),
        n if !possible.contains(&n) => Err(PhoneError::WrongLength),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn brings_numbers_to_e164() {
        let cases = [
            ("+91 98123 45678", None, "+919812345678"),
            ("tel:+91-98123-45678", None, "+919812345678"),
            ("0091 98123 45678", None, "+919812345678"),
            ("98123 45678", Some("IN"), "+919812345678"),
            ("098123-45678", Some("in"), "+919812345678"),
            ("00 49 30 123456", Some("IN"), "+4930123456"),
            ("919812345678", Some("IN"), "+919812345678"),
            ("+1 (500) 555-0006", None, "+15005550006"),
            ("030 / 12 34 56", Some("DE"), "+4930123456"),
            ("\u{96f}\u{96e}\u{967}\u{968}\u{969}\u{96a}\u{96b}\u{96c}\u{96d}\u{96e}", Some("IN"), "+919812345678"),
            ("\u{200e}+44 20 7946 0958", Some("IN"), "+442079460958"),
            ("+39 06 1234 5678", None, "+390612345678"),
        ];
        for (text, country, expected) in cases {
            assert_eq!(parse(text, country), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        let cases = [
            ("", None, PhoneError::Empty),
            ("  ", Some("IN"), PhoneError::Empty),
            ("call me", Some("IN"), PhoneError::NotANumber),
            ("+", None, PhoneError::NotANumber),
            ("98123+45678", Some("IN"), PhoneError::NotANumber),
            ("1-800-FLOWERS", Some("US"), PhoneError::NotANumber),
            ("9812345678", None, PhoneError::NeedsCountryCode),
            ("+999 12345678", None, PhoneError::UnknownCountryCode),
            ("+91 98123", None, PhoneError::TooShort),
            ("12345", Some("IN"), PhoneError::TooShort),
            ("1", Some("IN"), PhoneError::TooShort),
            ("+91 98123 45678 99999", None, PhoneError::TooLong),
            ("+91 00000 00000", None, PhoneError::NotANumber),
            ("9812345678", Some("ZZ"), PhoneError::UnknownDefaultCountry),
            ("9812345678", Some("India"), PhoneError::UnknownDefaultCountry),
        ];
        for (text, country, error) in cases {
            assert_eq!(parse(text, country), Err(error), "{text:?} in {country:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_gives_e164(text in ".{0,24}", country in proptest::option::of("[A-Z]{2}")) {
            if let Ok(number) = parse(&text, country.as_deref()) {
                prop_assert!(number.len() <= 20 && number[1..].bytes().all(|b| b.is_ascii_digit()), "{}", number);
            }
        }

        #[test]
        fn digits_never_panic_and_what_was_read_stays(text in "\\+?[0-9 ()-]{1,18}", country in "(IN|DE|US|IT|AR|BR|AQ|MX)") {
            if let Ok(number) = parse(&text, Some(&country)) {
                prop_assert_eq!(parse(&number, None), Ok(number));
            }
        }
    }
}
