//! What a relay's answers mean: the enhanced status code first (RFC 3463), then the reply code (RFC 5321, section 4.2).
//!
//! The relay's own words hold addresses and are not passed on.

use domain::delivery::FailureClass::{self, FallOver, ParkChannel, Permanent, Temporary};
use lettre::transport::smtp::Error;
use rustls::CertificateError;

use super::super::{Refusal, Sent};

/// Enhanced codes of class 5 (`5.subject.detail`) and what they mean.
const ENHANCED: &[(&str, FailureClass, &str)] = &[
    ("1.0", FallOver, "the address is refused"),
    ("1.1", FallOver, "the mailbox does not exist"),
    ("1.2", FallOver, "the domain takes no mail"),
    ("1.3", FallOver, "the address is not valid"),
    ("1.6", FallOver, "the mailbox has moved"),
    ("1.7", ParkChannel, "the relay refuses the sender's address"),
    ("1.8", ParkChannel, "the relay refuses the sender's domain"),
    ("1.10", FallOver, "the domain takes no mail"),
    ("2.0", FallOver, "the mailbox is refused"),
    ("2.1", FallOver, "the mailbox is disabled"),
    ("2.2", FallOver, "the mailbox is full"),
    ("2.3", Permanent, "the mail is too large for the mailbox"),
    ("3.4", Permanent, "the mail is too large for the relay"),
    ("4.1", FallOver, "the receiving host does not answer"),
    ("4.4", FallOver, "the domain cannot be reached"),
    ("4.6", FallOver, "the mail would run in a circle"),
    ("4.7", FallOver, "the mail waited too long"),
    ("5.2", Permanent, "the relay does not understand a command"),
    ("5.3", Permanent, "the mail has too many recipients"),
    ("6.0", Permanent, "the content is refused"),
    ("7.0", ParkChannel, "the relay's policy refuses it"),
    ("7.1", ParkChannel, "the relay may not be used for this"),
    ("7.8", ParkChannel, "the credentials are refused"),
    ("7.26", ParkChannel, "the mail is not authenticated (SPF, DKIM, DMARC)"),
];

/// Reply codes of class 5 and what they mean when no enhanced code says more.
const BASIC: &[(u16, FailureClass, &str)] = &[
    (521, FallOver, "the domain takes no mail"),
    (530, ParkChannel, "the relay asks for authentication"),
    (534, ParkChannel, "the relay wants another way of authentication"),
    (535, ParkChannel, "the credentials are refused"),
    (538, ParkChannel, "the relay wants encryption"),
    (550, FallOver, "the mailbox is refused"),
    (551, FallOver, "the mailbox is elsewhere"),
    (552, FallOver, "the mailbox is full"),
    (553, FallOver, "the address is not valid"),
    (554, Permanent, "the mail is refused"),
    (556, FallOver, "the domain takes no mail"),
];

/// How a submission ended that lettre calls an error. An address that is not ASCII needs a relay with SMTPUTF8 (RFC 6531):
/// where it has none, this person cannot be mailed, and everybody else can.
pub(super) fn outcome(error: &Error, address_is_ascii: bool) -> Sent {
    if let Some(code) = error.status() {
        return Sent::Refused(refusal(code.into(), enhanced(error).as_deref()));
    }
    if error.is_client() && !address_is_ascii {
        return Sent::Refused(local(FallOver, "smtputf8", "the relay takes no addresses beyond ASCII"));
    }
    if error.is_client() {
        return Sent::Refused(lacking(error));
    }
    if let Some(certificate) = certificate(error) {
        return Sent::NotSent { detail: format!("the relay's certificate {}", fault(certificate)) };
    }
    // lettre has no question for this kind; its first word is pinned by a test.
    if error.is_tls() || error.to_string().starts_with("Connection error") {
        return Sent::NotSent {
            detail: "no connection to the relay (refused, name not found, or TLS failed)".to_owned(),
        };
    }
    let detail = if error.is_timeout() { "no answer in time" } else { "the connection ended before the answer" };
    Sent::Unknown { detail: detail.to_owned() }
}

/// A refusal of our own, before the mail was offered.
pub(super) fn local(class: FailureClass, code: &str, words: &str) -> Refusal {
    Refusal::own(class, code, words)
}

/// What the relay does not offer, in what it says of itself. lettre tells it by words alone, which tests pin.
fn lacking(error: &Error) -> Refusal {
    let words = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    if words.contains("STARTTLS") {
        local(
            ParkChannel,
            "no_starttls",
            "the relay offers no STARTTLS, and nothing is sent in clear text: see tls and port",
        )
    } else if words.contains("authentication") {
        local(ParkChannel, "no_login", "the relay offers no way to log in that we know (PLAIN, LOGIN)")
    } else {
        local(ParkChannel, "relay", "the relay lacks something that is needed")
    }
}

/// What was wrong with the relay's certificate, if that ended the connection.
fn certificate(error: &Error) -> Option<&CertificateError> {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        // An I/O error hands out the cause of what it wraps, never the wrapped error itself.
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let found = wrapped.and_then(|wrapped| wrapped.downcast_ref()).or_else(|| error.downcast_ref());
        if let Some(rustls::Error::InvalidCertificate(fault)) = found {
            return Some(fault);
        }
        cause = error.source();
    }
    None
}

/// The fault in our own words: rustls quotes names.
fn fault(fault: &CertificateError) -> &'static str {
    match fault {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet: is this machine's clock right?"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is for another name than host"
        }
        CertificateError::UnknownIssuer => "is of an authority that is not trusted: name that authority in ca_file",
        _ => "is not valid",
    }
}

fn refusal(code: u16, enhanced: Option<&str>) -> Refusal {
    let shown = enhanced.map_or_else(|| code.to_string(), |enhanced| format!("{code} {enhanced}"));
    if code < 500 {
        return said(Temporary, &shown, "the relay asks us to try later");
    }
    let detail = enhanced.and_then(|enhanced| enhanced.strip_prefix("5."));
    let by_enhanced = detail.and_then(|detail| ENHANCED.iter().find(|(known, ..)| *known == detail));
    let by_code = BASIC.iter().find(|(known, ..)| *known == code);
    let (class, words) = match (by_enhanced, by_code) {
        (Some((_, class, words)), _) => (*class, *words),
        (None, Some((_, class, words))) => (*class, *words),
        (None, None) => (Permanent, "the relay refuses the mail"),
    };
    said(class, &shown, words)
}

fn said(class: FailureClass, code: &str, words: &str) -> Refusal {
    Refusal { class, code: code.to_owned(), detail: words.to_owned(), retry_after: None }
}

/// The enhanced code at the head of the relay's words.
fn enhanced(error: &Error) -> Option<String> {
    let words = std::error::Error::source(error)?.to_string();
    let first = words.split_whitespace().next()?;
    let parts: Vec<_> = first.split('.').collect();
    let numeric = parts.iter().all(|part| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit()));
    (parts.len() == 3 && numeric).then(|| first.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_code_stands_twice_and_every_row_has_words() {
        for (index, (code, class, words)) in ENHANCED.iter().enumerate() {
            assert!(ENHANCED[index + 1..].iter().all(|(other, ..)| other != code), "{code}");
            assert_eq!(refusal(550, Some(&format!("5.{code}"))).class, *class);
            assert!(!words.is_empty());
        }
        for (index, (code, class, words)) in BASIC.iter().enumerate() {
            assert!(BASIC[index + 1..].iter().all(|(other, ..)| other != code), "{code}");
            assert_eq!(refusal(*code, None).class, *class);
            assert!(!words.is_empty());
        }
    }

    #[test]
    fn the_enhanced_code_goes_before_the_reply_code() {
        assert_eq!(refusal(550, Some("5.7.1")).class, ParkChannel);
        assert_eq!(refusal(550, Some("5.1.1")).class, FallOver);
        assert_eq!(refusal(554, Some("5.9.9")).class, Permanent);
        assert_eq!(refusal(451, Some("4.7.1")).class, Temporary);
        assert_eq!(refusal(599, None).class, Permanent);
    }
}
