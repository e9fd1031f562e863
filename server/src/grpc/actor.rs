//! Who acts, where a caller says so: an application that calls for its operators names the one who asked, and events and timelines
//! tell it. It is what the caller says, and gives no right to anything.

use tonic::metadata::MetadataMap;

use super::convert::Faults;

/// The name of the metadata.
pub const METADATA: &str = "switchboard-actor";
/// The longest name, in characters.
const LONGEST: usize = 200;
/// Who may be named, by the collection of its name. Controllers act by themselves, and contacts by writing.
const COLLECTIONS: [&str; 3] = ["operators", "bots", "applications"];

/// Who is named in the metadata of a request; none: nobody is. Notes what is no such name.
pub fn named(metadata: &MetadataMap, faults: &mut Faults) -> Option<String> {
    let given = metadata.get(METADATA)?;
    let name = given.to_str().ok().filter(|name| is_actor(name));
    if name.is_none() {
        let known = COLLECTIONS.map(|of| format!("{of}/{{id}}")).join(", ");
        faults.note(
            METADATA,
            format!("(metadata) must be one of {known}, with letters, digits, '.', '_', '-' and '@' in the id, {LONGEST} characters at most"),
        );
    }
    name.map(str::to_owned)
}

fn is_actor(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-@".contains(c);
    name.len() <= LONGEST
        && name
            .split_once('/')
            .is_some_and(|(of, id)| COLLECTIONS.contains(&of) && !id.is_empty() && id.chars().all(fits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whoever_can_ask_through_an_application_is_named() {
        for name in ["operators/asha", "bots/faq-2", "applications/crm", "operators/asha@example.org"] {
            assert!(is_actor(name), "{name}");
        }
        let long = format!("operators/{}", "a".repeat(LONGEST));
        let wrong = [
            "",
            "asha",
            "operators/",
            "controllers/desk",
            "contact",
            "system",
            "operators/a b",
            "operators/a/b",
            &long,
        ];
        for name in wrong {
            assert!(!is_actor(name), "{name}");
        }
    }
}
