//! Alphabets of short messages: GSM 7-bit where every character is in it (3GPP TS 23.038, section 6.2.1), else UCS-2.

/// The default alphabet and its extension table.
const GSM7: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§\
    ¿abcdefghijklmnopqrstuvwxyzäöñüà^{}\\[~]|€\u{c}";

/// Whether every character has a place in the GSM 7-bit alphabet.
#[must_use]
pub(super) fn is_gsm7(text: &str) -> bool {
    text.chars().all(|c| GSM7.contains(c))
}

/// The words of an inbound message. With coding 2 Kannel hands over UTF-16 (big endian), unless it was told to convert
/// to UTF-8; where the character set is not said, control characters tell the two apart.
#[must_use]
pub(super) fn decode(bytes: &[u8], coding: Option<&str>, charset: Option<&str>) -> String {
    let charset = charset.map(str::to_ascii_uppercase);
    let is_utf16 = match charset.as_deref() {
        Some("UTF-16BE" | "UCS-2" | "UCS2" | "UTF-16") => true,
        Some(_) => false,
        None => coding == Some("2") && !is_plain_utf8(bytes),
    };
    if is_utf16 {
        let units = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        return char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        // Kannel turns GSM text into Latin-1 when it was told of no character set.
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}

/// Text in UTF-8 has no control characters but line ends; UTF-16 of almost any script has.
fn is_plain_utf8(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\r')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_character_outside_the_alphabet_asks_for_ucs2() {
        assert!(is_gsm7("Hello, price 5€ [ok] ~ Ñ\n"));
        for text in ["नमस्ते", "naïve", "tick \u{2713}", "tab\there", "`"] {
            assert!(!is_gsm7(text), "{text}");
        }
        assert_eq!(GSM7.chars().filter(|c| *c != '\u{c}').count(), 127 + 9, "127 characters and 9 of the extension");
    }

    #[test]
    fn inbound_words_are_decoded_by_what_kannel_says() {
        let hindi: Vec<u8> = "हाँ".encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(decode(&hindi, Some("2"), Some("UTF-16BE")), "हाँ");
        assert_eq!(decode(&hindi, Some("2"), None), "हाँ");
        assert_eq!(decode("हाँ".as_bytes(), Some("2"), None), "हाँ");
        assert_eq!(decode("हाँ".as_bytes(), Some("2"), Some("utf-8")), "हाँ");
        assert_eq!(decode(b"YES", Some("0"), None), "YES");
        assert_eq!(decode(&[0x59, 0xe9], Some("0"), None), "Yé");
        assert_eq!(decode(&[0xd8, 0x00], Some("2"), Some("UTF-16BE")), "\u{fffd}");
    }
}
