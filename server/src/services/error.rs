//! What can go wrong in a use case, by what the caller can do about it. `grpc::status` maps it, exhaustively, to gRPC.

use crate::{blobs, storage};

/// The result of every use case.
pub type Result<T> = std::result::Result<T, Error>;

/// The reason of a violation that has none of its own.
pub const FIELD_INVALID: &str = "FIELD_INVALID";

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The path of the field, as the contract spells it: `policy.steps[1].channel`.
    pub field: String,
    /// What is wrong, and what would be right.
    pub description: String,
    /// The documented reason (`ErrorReason` of the contract), such as `ADDRESS_INVALID`.
    pub reason: &'static str,
    /// What the reason documents as its metadata.
    pub metadata: Vec<(&'static str, String)>,
}

impl Violation {
    /// A violation of `field`, for the reason [`FIELD_INVALID`].
    pub fn new(field: impl Into<String>, description: impl Into<String>) -> Self {
        let (field, description) = (field.into(), description.into());
        Self { field, description, reason: FIELD_INVALID, metadata: Vec::new() }
    }

    /// The same violation for another reason.
    #[must_use]
    pub fn because(self, reason: &'static str) -> Self {
        Self { reason, ..self }
    }

    /// The same violation with one more entry of metadata.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.metadata.push((key, value.into()));
        self
    }

    /// The same violation of a field inside `path`.
    #[must_use]
    pub fn inside(mut self, path: &str) -> Self {
        self.field = match (path.is_empty(), self.field.is_empty()) {
            (true, _) => self.field,
            (false, true) => path.to_owned(),
            (false, false) => format!("{path}.{}", self.field),
        };
        self
    }
}

impl From<domain::violation::Violation> for Violation {
    fn from(found: domain::violation::Violation) -> Self {
        Self::new(found.field, found.description)
    }
}

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request is wrong in itself; everything that is wrong is listed.
    #[error("the request is not valid")]
    Invalid(Vec<Violation>),
    /// The resource does not exist.
    #[error("{0} does not exist")]
    NotFound(String),
    /// Something that the request refers to does not exist.
    #[error("{name}, which {field} refers to, does not exist")]
    ReferenceNotFound {
        /// The field that refers to it.
        field: String,
        /// What does not exist.
        name: String,
    },
    /// The resource is in use and cannot be deleted.
    #[error("{name} is used by {used_by}")]
    InUse {
        /// The resource.
        name: String,
        /// One that uses it.
        used_by: String,
    },
    /// The resource exists already.
    #[error("{0} exists already")]
    AlreadyExists(String),
    /// The resource is not in a state in which this may be done.
    #[error("{message}")]
    WrongState {
        /// The documented reason (`ErrorReason` of the contract), such as `CAMPAIGN_NOT_RUNNING`.
        reason: &'static str,
        /// What stands in the way, and what to do.
        message: String,
    },
    /// The etag that was given is not the current one: read again.
    #[error("{0} was changed since it was read")]
    EtagMismatch(String),
    /// The same request id was used before with other content.
    #[error("this request id was used with other content")]
    RequestIdReused,
    /// The page token is not one of ours, or the request was changed since it was given.
    #[error("the page token is not one of this list, or other fields of the request were changed since it was given")]
    PageToken,
    /// A batch has more entries than it may.
    #[error("the batch has more than {limit} entries")]
    BatchTooLarge {
        /// The most entries that are allowed.
        limit: usize,
    },
    /// The cursor lies before what is kept.
    #[error("the cursor is older than what is kept")]
    CursorGone {
        /// The oldest position that one can follow from.
        oldest_cursor: String,
    },
    /// Something outside ours (a source database, a provider) refused; the words say what to mend.
    #[error("{message}")]
    Outside {
        /// The documented reason.
        reason: &'static str,
        /// What it said.
        message: String,
    },
    /// An environment variable or file that settings name is not there.
    #[error("{message}")]
    SecretMissing {
        /// The settings, separated by commas.
        setting: String,
        /// What is not there.
        message: String,
    },
    /// Storage failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
    /// The file store failed.
    #[error(transparent)]
    Files(#[from] blobs::Error),
}

impl Error {
    /// One violation.
    pub fn invalid(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self::Invalid(vec![Violation::new(field, description)])
    }
}

/// `Ok` when nothing was found, else all of it.
///
/// # Errors
/// [`Error::Invalid`] with every violation.
pub fn all_right(found: Vec<Violation>) -> Result<()> {
    if found.is_empty() { Ok(()) } else { Err(Error::Invalid(found)) }
}
