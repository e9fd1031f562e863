//! Who wrote: what a message itself says of its contact, besides the address that it came from.

/// What a contact's token begins with.
const MARK: &str = "sb-";
/// The letters and digits of a token behind its mark.
const LENGTH: usize = 20;
/// The longest text in which a token is looked for, in bytes.
const LONGEST: usize = 4096;

/// A token of a deep link in the words of a message, such as the prefilled text of a link: `sb-` and 20 lower-case letters and
/// digits, as a word of its own.
#[must_use]
pub fn token_in(text: &str) -> Option<&str> {
    if text.len() > LONGEST {
        return None;
    }
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').find(|word| is_token(word))
}

/// Whether a text has the form of a token.
#[must_use]
pub fn is_token(text: &str) -> bool {
    let right = |rest: &str| rest.len() == LENGTH && rest.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    text.strip_prefix(MARK).is_some_and(right)
}

/// A token made of random bytes.
#[must_use]
pub fn token_of(random: [u8; LENGTH]) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let letter = |byte: u8| char::from(LETTERS[usize::from(byte % 32)]);
    MARK.chars().chain(random.into_iter().map(letter)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_as_a_word_of_its_own() {
        let token = token_of([7; LENGTH]);
        assert!(is_token(&token));
        for text in [token.clone(), format!("Hello, my code is {token}."), format!("({token}) नमस्ते")] {
            assert_eq!(token_in(&text), Some(token.as_str()), "{text}");
        }
        for text in ["", "sb-short", "Hello sb-", &format!("x{token}"), &format!("{token}x"), &token.to_uppercase()] {
            assert_eq!(token_in(text), None, "{text}");
        }
        assert_eq!(token_in(&format!("{} {token}", "x".repeat(LONGEST))), None);
    }
}
