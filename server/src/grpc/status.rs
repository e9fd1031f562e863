//! The one map from what can go wrong in a use case to what a caller is told.
//!
//! Every status carries an `ErrorInfo` with a reason of the contract's `ErrorReason`; invalid requests list every violation;
//! what may be repeated says when. What is our own failure is logged once, under an id, and only the id leaves the house.

use std::{collections::HashMap, error::Error as _, time::Duration};

use proto::ERROR_DOMAIN;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};
use uuid::Uuid;

use crate::{
    services::{Error, Violation, error::FIELD_INVALID},
    storage,
};

/// When a request that met another one may be repeated.
const AFTER_CONFLICT: Duration = Duration::from_millis(100);
/// When a request that found the database away may be repeated.
const AFTER_OUTAGE: Duration = Duration::from_secs(2);
/// Details travel in a header, and clients refuse long ones.
const MAX_VIOLATIONS: usize = 50;

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let words = error.to_string();
        match error {
            Error::Invalid(violations) => invalid(&violations),
            Error::NotFound(name) => because(Code::NotFound, "NOT_FOUND", &words, [("name", name)]),
            Error::ReferenceNotFound { field, name } => {
                because(Code::FailedPrecondition, "REFERENCE_NOT_FOUND", &words, [("name", name), ("field", field)])
            }
            Error::InUse { name, used_by } => {
                because(Code::FailedPrecondition, "IN_USE", &words, [("name", name), ("used_by", used_by)])
            }
            Error::AlreadyExists(name) => because(Code::AlreadyExists, "ALREADY_EXISTS", &words, [("name", name)]),
            Error::WrongState { reason, message } => because(Code::FailedPrecondition, reason, &message, []),
            Error::EtagMismatch(name) => because(Code::Aborted, "ETAG_MISMATCH", &words, [("name", name)]),
            Error::RequestIdReused => because(Code::InvalidArgument, "REQUEST_ID_REUSED", &words, []),
            Error::PageToken => because(Code::InvalidArgument, "PAGE_TOKEN_INVALID", &words, []),
            Error::BatchTooLarge { limit } => {
                because(Code::InvalidArgument, "BATCH_TOO_LARGE", &words, [("limit", limit.to_string())])
            }
            Error::Outside { reason: reason @ "SOURCE_UNAVAILABLE", message } => {
                retryable(Code::Unavailable, reason, &message, AFTER_OUTAGE)
            }
            Error::Outside { reason: reason @ "SQL_TIMEOUT", message } => {
                because(Code::DeadlineExceeded, reason, &message, [])
            }
            Error::CursorGone { oldest_cursor } => {
                because(Code::OutOfRange, "CURSOR_GONE", &words, [("oldest_cursor", oldest_cursor)])
            }
            Error::Outside { reason, message } => because(Code::FailedPrecondition, reason, &message, []),
            Error::SecretMissing { setting, message } => {
                because(Code::FailedPrecondition, "SECRET_MISSING", &message, [("setting", setting)])
            }
            Error::Storage(error) => of_storage(&error),
            Error::Files(error) => {
                let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
                tracing::warn!(error = %format!("{error}{cause}"), "a request found the file store away");
                retryable(Code::Unavailable, "FILE_STORE_UNAVAILABLE", &words, AFTER_OUTAGE)
            }
        }
    }
}

fn of_storage(error: &storage::Error) -> Status {
    match error {
        storage::Error::Unavailable(_) => {
            tracing::warn!(error = %chain(error), "a request found the database away");
            retryable(Code::Unavailable, "DATABASE_UNAVAILABLE", &error.to_string(), AFTER_OUTAGE)
        }
        // A row that a check did not see and a constraint did: another request was faster. Repeated, the check sees it.
        storage::Error::Contended(_) | storage::Error::Exists { .. } | storage::Error::Refused { .. } => {
            tracing::debug!(error = %chain(error), "two requests met");
            retryable(Code::Aborted, "CONFLICT", "another request changed the same at the same time", AFTER_CONFLICT)
        }
        storage::Error::Timeout(_) => {
            tracing::warn!(error = %chain(error), "a statement took too long");
            retryable(Code::Unavailable, "OVERLOADED", &error.to_string(), AFTER_OUTAGE)
        }
        storage::Error::Corrupt(_) | storage::Error::Defect(_) => internal(&chain(error)),
    }
}

/// Says nothing but an id; the log has the cause under it.
#[must_use]
pub fn internal(cause: &str) -> Status {
    let id = Uuid::new_v4();
    tracing::error!(error.id = %id, error = cause, "a request failed by a defect of ours");
    because(
        Code::Internal,
        "INTERNAL",
        &format!("something went wrong here; the server's log has it under {id}"),
        [("error_id", id.to_string())],
    )
}

/// A status with its reason.
#[must_use]
pub fn because<const N: usize>(
    code: Code,
    reason: &str,
    message: &str,
    metadata: [(&'static str, String); N],
) -> Status {
    let metadata: HashMap<String, String> = metadata.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
    Status::with_error_details(code, message, ErrorDetails::with_error_info(reason, ERROR_DOMAIN, metadata))
}

/// A status that says when the request may be repeated.
#[must_use]
pub fn retryable(code: Code, reason: &str, message: &str, after: Duration) -> Status {
    let mut details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, HashMap::new());
    details.set_retry_info(Some(after));
    Status::with_error_details(code, message, details)
}

/// All violations at once. The reason is theirs where they have one in common.
fn invalid(violations: &[Violation]) -> Status {
    let first = violations.first();
    let common = first.filter(|f| violations.iter().all(|v| v.reason == f.reason));
    let reason = common.map_or(FIELD_INVALID, |v| v.reason);
    let metadata = common.iter().flat_map(|v| &v.metadata).map(|(k, v)| ((*k).to_owned(), v.clone()));
    let metadata: HashMap<String, String> = metadata.collect();
    let mut details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, metadata);
    let listed = violations
        .iter()
        .take(MAX_VIOLATIONS)
        .map(|v| FieldViolation { reason: v.reason.to_owned(), ..FieldViolation::new(&v.field, &v.description) });
    details.set_bad_request(listed.collect::<Vec<_>>());
    let message = match (violations, first) {
        ([_], Some(one)) => format!("{} {}", one.field, one.description).trim().to_owned(),
        _ => format!("{} fields are not valid", violations.len()),
    };
    // What is named and does not exist may exist later: the request is right, the world is not.
    let code = if reason == "REFERENCE_NOT_FOUND" { Code::FailedPrecondition } else { Code::InvalidArgument };
    Status::with_error_details(code, message, details)
}

/// An error with its causes, in one line, for the log.
fn chain(error: &storage::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use proto::v1::ErrorReason;

    use super::*;

    fn known(reason: &str) -> bool {
        ErrorReason::from_str_name(&format!("ERROR_REASON_{reason}")).is_some()
    }

    fn every_error() -> Vec<(Error, Code)> {
        let name = || "templates/welcome".to_owned();
        let sqlx = || sqlx::Error::PoolTimedOut;
        vec![
            (Error::invalid("a", "is wrong"), Code::InvalidArgument),
            (Error::NotFound(name()), Code::NotFound),
            (Error::ReferenceNotFound { field: "steps[0].template".into(), name: name() }, Code::FailedPrecondition),
            (Error::InUse { name: name(), used_by: "policies/urgent".into() }, Code::FailedPrecondition),
            (Error::AlreadyExists(name()), Code::AlreadyExists),
            (Error::WrongState { reason: "STATE_WRONG", message: "it runs".into() }, Code::FailedPrecondition),
            (Error::EtagMismatch(name()), Code::Aborted),
            (Error::RequestIdReused, Code::InvalidArgument),
            (Error::PageToken, Code::InvalidArgument),
            (Error::BatchTooLarge { limit: 3 }, Code::InvalidArgument),
            (Error::CursorGone { oldest_cursor: "x".into() }, Code::OutOfRange),
            (Error::Outside { reason: "SECRET_MISSING", message: "not set".into() }, Code::FailedPrecondition),
            (Error::SecretMissing { setting: "token_env".into(), message: "not set".into() }, Code::FailedPrecondition),
            (Error::Storage(storage::Error::Unavailable(sqlx())), Code::Unavailable),
            (Error::Storage(storage::Error::Contended(sqlx())), Code::Aborted),
            (Error::Storage(storage::Error::Exists { constraint: "x".into() }), Code::Aborted),
            (Error::Storage(storage::Error::Refused { constraint: "x".into() }), Code::Aborted),
            (Error::Storage(storage::Error::Timeout(sqlx())), Code::Unavailable),
            (Error::Storage(storage::Error::Corrupt("secret row".into())), Code::Internal),
            (Error::Storage(storage::Error::Defect(sqlx())), Code::Internal),
        ]
    }

    #[test]
    fn every_error_has_a_code_and_a_documented_reason() {
        for (error, code) in every_error() {
            let words = format!("{error:?}");
            let status = Status::from(error);
            assert_eq!(status.code(), code, "{words}");
            let details = status.get_error_details();
            let info = details.error_info().expect("every status has a reason");
            assert_eq!(info.domain, "switchboard");
            assert!(known(&info.reason), "{} is not in the contract", info.reason);
            let retry = matches!(code, Code::Unavailable) || info.reason == "CONFLICT";
            assert_eq!(details.retry_info().is_some(), retry, "{words}");
        }
    }

    #[test]
    fn what_is_inside_stays_inside() {
        let status = Status::from(Error::Storage(storage::Error::Corrupt("secret row".into())));
        assert!(!format!("{status:?}").contains("secret row"));
        assert!(status.get_error_details().error_info().is_some_and(|i| i.metadata.contains_key("error_id")));
    }

    #[test]
    fn all_violations_are_listed_and_a_common_reason_is_the_reason() {
        let phone = |i: usize| {
            Violation::new(format!("addresses[{i}].value"), "is too short")
                .because("ADDRESS_INVALID")
                .with("kind", "phone")
        };
        let same = Status::from(Error::Invalid(vec![phone(0), phone(1)])).get_error_details();
        assert_eq!(
            same.error_info().map(|i| (i.reason.as_str(), i.metadata["kind"].as_str())),
            Some(("ADDRESS_INVALID", "phone"))
        );
        assert_eq!(same.bad_request().map(|b| b.field_violations.len()), Some(2));
        let mixed =
            Status::from(Error::Invalid(vec![phone(0), Violation::new("locale", "is none")])).get_error_details();
        assert_eq!(mixed.error_info().map(|i| i.reason.as_str()), Some(FIELD_INVALID));
    }
}
