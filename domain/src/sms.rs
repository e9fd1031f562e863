//! How many parts a short message takes: GSM 7-bit or UCS-2, whole or in concatenated parts (3GPP TS 23.038, 23.040).
//!
//! Parts are what a provider bills and what a handset joins. One character outside the GSM alphabet turns the whole message
//! into UCS-2; nothing is transliterated, because a changed name is a wrong name.

use serde::{Deserialize, Serialize};

codes! {
    /// The alphabet in which a short message travels.
    pub enum Encoding {
        /// The GSM 7-bit default alphabet with its extension table; units are septets.
        Gsm7 = "GSM7",
        /// UCS-2; units are UTF-16 code units.
        Ucs2 = "UCS2",
    }
}

impl Encoding {
    /// The units that one message holds when it needs no joining: 160 or 70.
    #[must_use]
    pub const fn single(self) -> usize {
        match self {
            Self::Gsm7 => 160,
            Self::Ucs2 => 70,
        }
    }

    /// The units that each part holds beside the header (UDH) that joins parts: 153 or 67.
    #[must_use]
    pub const fn part(self) -> usize {
        match self {
            Self::Gsm7 => 153,
            Self::Ucs2 => 67,
        }
    }
}

/// What a text costs as a short message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segments {
    /// The alphabet.
    pub encoding: Encoding,
    /// The number of parts, at least 1; 65535 when there are more.
    pub parts: u16,
    /// The units of the text: septets or UTF-16 code units, without what is lost at the seams.
    pub units: usize,
    /// The units still free in the last part.
    pub remaining: usize,
}

/// The GSM 7-bit default alphabet, without its escape.
const BASIC: &str = "@\u{a3}$\u{a5}\u{e8}\u{e9}\u{f9}\u{ec}\u{f2}\u{c7}\n\u{d8}\u{f8}\r\u{c5}\u{e5}\u{394}_\u{3a6}\u{393}\
    \u{39b}\u{3a9}\u{3a0}\u{3a8}\u{3a3}\u{398}\u{39e}\u{c6}\u{e6}\u{df}\u{c9} !\"#\u{a4}%&'()*+,-./0123456789:;<=>?\u{a1}\
    ABCDEFGHIJKLMNOPQRSTUVWXYZ\u{c4}\u{d6}\u{d1}\u{dc}\u{a7}\u{bf}abcdefghijklmnopqrstuvwxyz\u{e4}\u{f6}\u{f1}\u{fc}\u{e0}";

/// The extension table: an escape and a septet, so two septets each.
const EXTENDED: &str = "\u{c}^{}\\[~]|\u{20ac}";

/// The septets of a character in the GSM alphabet, or none when it is not in it.
fn septets(c: char) -> Option<usize> {
    match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' | ' ' => Some(1),
        _ if BASIC.contains(c) => Some(1),
        _ if EXTENDED.contains(c) => Some(2),
        _ => None,
    }
}

/// Counts the parts of a text. An empty text is one part.
#[must_use]
pub fn segments(text: &str) -> Segments {
    let gsm: Option<usize> = text.chars().map(septets).sum();
    match gsm {
        Some(units) => split(Encoding::Gsm7, units, text.chars().map(|c| septets(c).unwrap_or(1))),
        None => split(Encoding::Ucs2, text.encode_utf16().count(), text.chars().map(char::len_utf16)),
    }
}

/// Fills parts with characters of the given widths; a character (escape pair, surrogate pair) never straddles two parts.
fn split(encoding: Encoding, units: usize, widths: impl Iterator<Item = usize>) -> Segments {
    if units <= encoding.single() {
        return Segments { encoding, parts: 1, units, remaining: encoding.single() - units };
    }
    let (mut parts, mut used) = (1_u16, 0);
    for width in widths {
        if used + width > encoding.part() {
            parts = parts.saturating_add(1);
            used = 0;
        }
        used += width;
    }
    Segments { encoding, parts, units, remaining: encoding.part() - used }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn counts_parts_as_the_standard_does() {
        use Encoding::{Gsm7, Ucs2};
        let a = |n: usize| "a".repeat(n);
        let hindi = |n: usize| "\u{928}".repeat(n);
        let cases = [
            (String::new(), Gsm7, 1, 0, 160),
            (a(160), Gsm7, 1, 160, 0),
            (a(161), Gsm7, 2, 161, 145),
            (a(306), Gsm7, 2, 306, 0),
            (a(307), Gsm7, 3, 307, 152),
            ("\u{20ac}".repeat(80), Gsm7, 1, 160, 0),
            (format!("{}[", a(159)), Gsm7, 2, 161, 145),
            // The bracket would straddle the seam at 153, so it moves over and one septet is lost.
            (format!("{}[{}", a(152), a(10)), Gsm7, 2, 164, 141),
            (format!("{}[{}", a(152), a(152)), Gsm7, 3, 306, 152),
            (hindi(70), Ucs2, 1, 70, 0),
            (hindi(71), Ucs2, 2, 71, 63),
            (hindi(105), Ucs2, 2, 105, 29),
            (hindi(134), Ucs2, 2, 134, 0),
            (hindi(135), Ucs2, 3, 135, 66),
            ("\u{1f600}".repeat(35), Ucs2, 1, 70, 0),
            // 66 units and a surrogate pair: the pair moves over whole.
            (format!("{}\u{1f600}{}", hindi(66), hindi(4)), Ucs2, 2, 72, 61),
            ("\u{e0}\u{e8}\u{ec}\u{f2}\u{f9}\u{c7}".to_owned(), Gsm7, 1, 6, 154),
            ("\u{e7}".to_owned(), Ucs2, 1, 1, 69),
            ("it\u{2019}s".to_owned(), Ucs2, 1, 4, 66),
            ("`".to_owned(), Ucs2, 1, 1, 69),
        ];
        for (text, encoding, parts, units, remaining) in cases {
            assert_eq!(segments(&text), Segments { encoding, parts, units, remaining }, "{text:?}");
        }
    }

    #[test]
    fn the_alphabet_has_its_127_characters() {
        assert_eq!(BASIC.chars().collect::<std::collections::BTreeSet<_>>().len(), 127);
        assert_eq!(EXTENDED.chars().count(), 10);
    }

    proptest! {
        #[test]
        fn parts_hold_the_text_and_none_is_empty(text in "[a-z\\[\u{20ac}\u{928}\u{1f600}]{0,500}") {
            let s = segments(&text);
            let room = if s.parts == 1 { s.encoding.single() } else { s.encoding.part() };
            let capacity = usize::from(s.parts) * room;
            prop_assert!(s.units + s.remaining <= capacity);
            // At most one unit is lost at each seam.
            prop_assert!(s.units + s.remaining + usize::from(s.parts) > capacity);
            prop_assert!(s.remaining < room || s.units == 0);
        }

        #[test]
        fn more_text_never_takes_fewer_parts(text in "[a-z{}\u{928}]{0,400}", more in "[a-z{}]{1,20}") {
            let longer = format!("{text}{more}");
            prop_assert!(segments(&longer).parts >= segments(&text).parts);
        }
    }
}
