//! The files of messages: which are taken, and when a fetch that failed is tried again.

use chrono::TimeDelta;

/// The pauses between tries, in seconds. Links of Meta's API live five minutes, but its ids live for weeks and give fresh
/// links; so what fails is tried for about two days before the file counts as lost.
const PAUSES: &[i64] = &[5, 15, 60, 300, 1_200, 3_600, 3 * 3_600, 12 * 3_600, 24 * 3_600];

/// Which files are copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The biggest file, in bytes.
    pub max_bytes: usize,
    /// The MIME types that are taken, such as `application/pdf` or `image/*`.
    pub allowed_types: Vec<String>,
}

/// A MIME type without its parameters, in lower case: `text/plain` of `Text/Plain; charset=utf-8`.
#[must_use]
pub fn essence(mime_type: &str) -> String {
    mime_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

impl Rules {
    /// Whether files of this type are taken.
    #[must_use]
    pub fn allows(&self, mime_type: &str) -> bool {
        let essence = essence(mime_type);
        let fits = |allowed: &String| match allowed.strip_suffix("/*") {
            Some(group) => essence.split_once('/').is_some_and(|(of, _)| of == group),
            None => *allowed == essence,
        };
        !essence.is_empty() && self.allowed_types.iter().any(fits)
    }
}

/// How long to wait after the try of this number (from 1) failed; none: it is given up.
#[must_use]
pub fn pause_after(tries: u32) -> Option<TimeDelta> {
    let index = usize::try_from(tries.saturating_sub(1)).unwrap_or(usize::MAX);
    PAUSES.get(index).map(|seconds| TimeDelta::seconds(*seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_taken_by_name_or_by_group() {
        let rules = Rules { max_bytes: 1, allowed_types: vec!["image/*".into(), "application/pdf".into()] };
        for taken in ["image/jpeg", "IMAGE/png; q=1", "application/pdf"] {
            assert!(rules.allows(taken), "{taken}");
        }
        for refused in ["", "image", "imagex/png", "application/x-sh", "application/pdfx"] {
            assert!(!rules.allows(refused), "{refused}");
        }
    }

    #[test]
    fn pauses_grow_and_end() {
        let pauses: Vec<_> = (1..).map_while(pause_after).collect();
        assert!(pauses.is_sorted() && pauses.len() == 9);
        assert_eq!(pause_after(1), Some(TimeDelta::seconds(5)));
        assert_eq!(pause_after(10), None);
    }
}
