//! Etags: what a caller has seen of a resource, so that two who change it at once do not undo each other's work.

use super::{Error, Result};

/// The etag of a version.
#[must_use]
pub fn of(version: i32) -> String {
    format!("v{version}")
}

/// Refuses a write whose caller has seen another version; an empty etag asks for nothing.
///
/// # Errors
/// [`Error::EtagMismatch`].
pub fn check(name: &str, given: &str, version: i32) -> Result<()> {
    if given.is_empty() || given == of(version) { Ok(()) } else { Err(Error::EtagMismatch(name.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_version_that_was_seen_may_be_changed() {
        assert!(check("contacts/1", "", 3).is_ok());
        assert!(check("contacts/1", &of(3), 3).is_ok());
        for other in [of(2), "3".to_owned(), "x".to_owned()] {
            assert!(matches!(check("contacts/1", &other, 3), Err(Error::EtagMismatch(n)) if n == "contacts/1"));
        }
    }
}
