//! Addresses as they are given, brought to the one form under which consent, suppression and rate are kept.
//!
//! Two spellings of one phone or mailbox must be one [`Address`]: an opt-out is stored for the address. Errors name what is
//! wrong and never repeat the text; [`mask`] is the only way to show a part of it.

use crate::channel::{Address, AddressKind};
use crate::phone::{self, PhoneError};

/// The longest email address, in characters (RFC 5321).
const MAX_EMAIL: usize = 254;

/// Why a text is no address of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No phone number that can be reached.
    #[error("phone {0}")]
    Phone(#[from] PhoneError),
    /// No email address.
    #[error("email {0}")]
    Email(#[from] EmailError),
    /// No WhatsApp user id.
    #[error("whatsapp_user must be 1 to 128 letters, digits, '.', '_' or '-', such as IN.13491208655302741918")]
    WhatsappUser,
    /// No id of another medium.
    #[error(
        "external must be the medium's name, a colon and the id there, such as telegram:1093: the name of 2 to 32 of a-z, 0-9 \
         and '-', beginning with a letter; the id of 1 to 200 characters without spaces"
    )]
    External,
}

/// Why a text is no email address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EmailError {
    /// Nothing was given.
    #[error("is empty")]
    Empty,
    /// More than 254 characters.
    #[error("is longer than 254 characters")]
    TooLong,
    /// Not exactly one `@` between a name and a domain.
    #[error("must have one @ between a name and a domain")]
    At,
    /// The part before the `@`.
    #[error("has a name that is not allowed before the @ (1 to 64 characters without spaces, quotes or doubled dots)")]
    Local,
    /// The part after the `@`.
    #[error(
        "has a domain that is not allowed after the @ (labels of letters, digits and hyphens, with a dot, such as example.org)"
    )]
    Domain,
}

impl Address {
    /// Reads an address of a kind and brings it to its canonical form: E.164 for a phone, lower case for an email.
    ///
    /// `default_country` is an ISO 3166 code such as `IN`, for phones without a country code. The name of a mailbox is lowered
    /// too: in theory it may matter, in practice it makes two people of one.
    ///
    /// # Errors
    /// See [`AddressError`].
    pub fn parse(kind: AddressKind, text: &str, default_country: Option<&str>) -> Result<Self, AddressError> {
        let value = match kind {
            AddressKind::Phone => phone::parse(text, default_country)?,
            AddressKind::Email => email(text)?,
            AddressKind::WhatsappUser => whatsapp_user(text)?,
            AddressKind::External => external(text)?,
        };
        Ok(Self { kind, value })
    }

    /// The name of the medium, for an address of kind [`AddressKind::External`].
    #[must_use]
    pub fn scheme(&self) -> Option<&str> {
        match self.kind {
            AddressKind::External => scheme(&self.value),
            AddressKind::Phone | AddressKind::Email | AddressKind::WhatsappUser => None,
        }
    }

    /// The value with its middle hidden, for logs, reasons and lists: `+91*******78`, `a***@example.org`.
    #[must_use]
    pub fn masked(&self) -> String {
        mask(&self.value)
    }
}

/// Hides the middle of any address-like text, so that a reason can be told apart without telling whose it is.
///
/// A mailbox keeps its first letter and its domain; anything else keeps a leading `+` with two digits, and its last two
/// characters when it has at least eight.
#[must_use]
pub fn mask(text: &str) -> String {
    let text = text.trim();
    if let Some((local, domain)) = text.rsplit_once('@') {
        let first: String = local.chars().take(1).collect();
        return format!("{first}***@{domain}");
    }
    let chars: Vec<char> = text.chars().take(24).collect();
    let head = if chars.first() == Some(&'+') && chars.len() >= 8 { 3 } else { 0 };
    let tail = if chars.len() >= 8 { 2 } else { 0 };
    let hidden = |(index, c): (usize, &char)| if index < head || index + tail >= chars.len() { *c } else { '*' };
    chars.iter().enumerate().map(hidden).collect()
}

fn email(text: &str) -> Result<String, EmailError> {
    let text = text.trim();
    let text = text.strip_prefix("mailto:").unwrap_or(text);
    if text.is_empty() {
        return Err(EmailError::Empty);
    }
    if text.chars().count() > MAX_EMAIL {
        return Err(EmailError::TooLong);
    }
    let (local, domain) = text.split_once('@').filter(|(_, d)| !d.contains('@')).ok_or(EmailError::At)?;
    let allowed = |c: char| {
        c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c) || (!c.is_ascii() && c.is_alphanumeric())
    };
    let dots = local.starts_with('.') || local.ends_with('.') || local.contains("..");
    if local.is_empty() || local.chars().count() > 64 || dots || !local.chars().all(allowed) {
        return Err(EmailError::Local);
    }
    let labels: Vec<&str> = domain.split('.').collect();
    if labels.len() < 2 || domain.len() > 253 || !labels.iter().all(|l| is_label(l)) {
        return Err(EmailError::Domain);
    }
    // A last label of digits only would be an IP address, which no public server accepts behind an @.
    if labels.last().is_none_or(|last| last.bytes().all(|b| b.is_ascii_digit()) || last.chars().count() < 2) {
        return Err(EmailError::Domain);
    }
    Ok(text.to_lowercase())
}

fn is_label(label: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || (!c.is_ascii() && c.is_alphanumeric());
    !label.is_empty()
        && label.len() <= 63
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.chars().all(allowed)
}

/// The medium's name in an external id, without the colon.
#[must_use]
pub fn scheme(value: &str) -> Option<&str> {
    value.split_once(':').map(|(scheme, _)| scheme)
}

/// The name is lowered; the id is left as it is, because most media tell upper from lower case.
fn external(text: &str) -> Result<String, AddressError> {
    let (scheme, id) = text.trim().split_once(':').ok_or(AddressError::External)?;
    let scheme = scheme.to_ascii_lowercase();
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let named = (2..=32).contains(&scheme.len())
        && scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.bytes().all(allowed);
    let id_fits = (1..=200).contains(&id.chars().count()) && !id.chars().any(|c| c.is_whitespace() || c.is_control());
    if named && id_fits { Ok(format!("{scheme}:{id}")) } else { Err(AddressError::External) }
}

fn whatsapp_user(text: &str) -> Result<String, AddressError> {
    let text = text.trim();
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if text.is_empty() || text.len() > 128 || !text.bytes().all(allowed) {
        return Err(AddressError::WhatsappUser);
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_id_of_another_medium_names_the_medium() {
        let read = |text: &str| Address::parse(AddressKind::External, text, None);
        let address = read(" Telegram:1093:x ").unwrap();
        assert_eq!((address.value.as_str(), address.scheme()), ("telegram:1093:x", Some("telegram")));
        for wrong in ["1093", ":1093", "t:1", "telegram:", "telegram:a b", "9x:1", "te legram:1", "telegram:a\u{0}"] {
            assert_eq!(read(wrong), Err(AddressError::External), "{wrong:?}");
        }
        assert!(read(&format!("web:{}", "x".repeat(201))).is_err());
    }

    #[test]
    fn one_mailbox_has_one_form() {
        for text in ["Asha.Rao@Example.ORG", " asha.rao@example.org ", "mailto:ASHA.RAO@example.org"] {
            let address = Address::parse(AddressKind::Email, text, None).unwrap();
            assert_eq!(address.value, "asha.rao@example.org");
        }
        assert!(Address::parse(AddressKind::Email, "o'neil+tag@mail.example.co.in", None).is_ok());
        assert!(Address::parse(AddressKind::Email, "user@localhost", None).is_err());
    }

    #[test]
    fn says_what_is_wrong_with_an_email() {
        let cases = [
            ("", EmailError::Empty),
            ("asha", EmailError::At),
            ("a@b@example.org", EmailError::At),
            ("@example.org", EmailError::Local),
            ("a b@example.org", EmailError::Local),
            ("a..b@example.org", EmailError::Local),
            (".a@example.org", EmailError::Local),
            ("a\r\nbcc:x@example.org", EmailError::Local),
            ("a@", EmailError::Domain),
            ("a@example", EmailError::Domain),
            ("a@-example.org", EmailError::Domain),
            ("a@exa mple.org", EmailError::Domain),
            ("a@10.0.0.1", EmailError::Domain),
            ("a@example.", EmailError::Domain),
        ];
        for (text, error) in cases {
            assert_eq!(Address::parse(AddressKind::Email, text, None), Err(error.into()), "{text:?}");
        }
        let long = format!("a@{}.org", "b".repeat(260));
        assert_eq!(Address::parse(AddressKind::Email, &long, None), Err(EmailError::TooLong.into()));
    }

    #[test]
    fn phones_and_whatsapp_users_are_read() {
        let phone = Address::parse(AddressKind::Phone, "98123 45678", Some("IN")).unwrap();
        assert_eq!((phone.value.as_str(), phone.masked().as_str()), ("+919812345678", "+91********78"));
        let error = Address::parse(AddressKind::Phone, "9812345678", None).unwrap_err();
        assert!(error.to_string().starts_with("phone needs a country code"), "{error}");
        assert!(Address::parse(AddressKind::WhatsappUser, "IN.13491208655302741918", None).is_ok());
        for text in ["", "a b", "<script>"] {
            assert_eq!(Address::parse(AddressKind::WhatsappUser, text, None), Err(AddressError::WhatsappUser));
        }
    }

    #[test]
    fn masks_hide_who_it_is() {
        let cases = [
            ("+919812345678", "+91********78"),
            ("asha@example.org", "a***@example.org"),
            ("12345", "*****"),
            ("9812345678", "********78"),
            ("", ""),
        ];
        for (text, masked) in cases {
            assert_eq!(mask(text), masked);
        }
    }

    proptest! {
        #[test]
        fn canonical_emails_stay_as_they_are(text in "[a-zA-Z0-9.+]{1,10}@[a-zA-Z0-9-]{1,8}\\.[a-zA-Z]{1,4}") {
            if let Ok(address) = Address::parse(AddressKind::Email, &text, None) {
                prop_assert_eq!(Address::parse(AddressKind::Email, &address.value, None), Ok(address));
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}") {
            let _ = mask(&text);
            for kind in AddressKind::ALL {
                let _ = Address::parse(*kind, &text, Some("IN"));
            }
        }
    }
}
