//! What can go wrong in a use case, by what the caller can do about it. `grpc::status` maps it, exhaustively, to gRPC.

use crate::storage;

/// The result of every use case.
pub type Result<T> = std::result::Result<T, Error>;

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The path of the field, as the contract spells it: `policy.steps[1].channel`.
    pub field: String,
    /// What is wrong, and what would be right.
    pub description: String,
}

impl Violation {
    /// A violation of `field`.
    pub fn new(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self { field: field.into(), description: description.into() }
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
    /// The cursor lies before what is kept.
    #[error("the cursor is older than what is kept")]
    CursorGone,
    /// Something outside ours (a source database, a provider) refused; the words say what to mend.
    #[error("{message}")]
    Outside {
        /// The documented reason.
        reason: &'static str,
        /// What it said.
        message: String,
    },
    /// Storage failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

impl Error {
    /// One violation.
    pub fn invalid(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self::Invalid(vec![Violation::new(field, description)])
    }
}
