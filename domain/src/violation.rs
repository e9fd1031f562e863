//! What is wrong with a definition that somebody wrote: the field, and what is right.
//!
//! Checks collect these and report all of them at once, so that a person corrects a definition in one go. A violation never
//! repeats personal data.

use serde::{Deserialize, Serialize};

/// One thing that is wrong with a definition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, thiserror::Error)]
#[error("{field}: {description}")]
pub struct Violation {
    /// The path of the field, such as `contents[2].body.text`; empty for the definition as a whole.
    pub field: String,
    /// What is wrong and what is right, one sentence without a full stop.
    pub description: String,
}

impl Violation {
    /// A violation of `field`, described by `description`.
    pub fn new(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self { field: field.into(), description: description.into() }
    }
}
