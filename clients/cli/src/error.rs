//! What can go wrong, and how it is said: the status code, the reason, every field violation on its own line, and when
//! to repeat. Exit codes are in `exit`.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::{exit, input};

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line, or a file that it names, is wrong.
    #[error("{0}")]
    Usage(String),
    /// The server refused.
    #[error("{}", .0.message())]
    Refused(#[from] Box<Status>),
    /// The answer says that something is wrong; it was shown already. The number is the exit code.
    #[error("{0}")]
    FoundWrong(String, u8),
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The output cannot be written; a closed pipe is no failure.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

impl Error {
    /// What the program ends with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => exit::USAGE,
            Self::Refused(status) => exit::of(status.code()),
            Self::FoundWrong(_, code) => *code,
            Self::File { .. } => exit::FILES,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => exit::OK,
            Self::Output(_) => exit::FILES,
        }
    }

    /// The lines that are written for people; none for a closed pipe.
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Refused(status) => refusal(status),
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Vec::new(),
            other => vec![format!("error: {other}")],
        }
    }

    /// The same for programs, as one JSON object.
    pub fn json(&self) -> Value {
        let Self::Refused(status) = self else {
            return json!({"error": {"exitCode": self.exit_code(), "message": self.to_string()}});
        };
        let info = status.get_details_error_info();
        let violations = violations(status);
        let fields: Vec<_> =
            violations.iter().map(|(field, text)| json!({"field": field, "description": text})).collect();
        json!({"error": {
            "exitCode": self.exit_code(),
            "code": exit::name(status.code()),
            "message": status.message(),
            "reason": info.as_ref().map(|it| &it.reason),
            "metadata": info.as_ref().map(|it| &it.metadata),
            "fieldViolations": fields,
            "retryDelaySeconds": retry_delay(status).map(|it| it.as_secs_f64()),
        }})
    }
}

fn refusal(status: &Status) -> Vec<String> {
    let mut lines = vec![format!("error: {}: {}", exit::name(status.code()), clean(status.message()))];
    if let Some(info) = status.get_details_error_info() {
        let mut metadata: Vec<_> = info.metadata.iter().map(|(key, value)| format!("{key}={}", clean(value))).collect();
        metadata.sort();
        let metadata = if metadata.is_empty() { String::new() } else { format!(" ({})", metadata.join(", ")) };
        lines.push(format!("  reason: {}{metadata}", info.reason));
    }
    for (field, description) in violations(status) {
        lines.push(format!("  field {field}: {}", clean(&description)));
    }
    if let Some(delay) = retry_delay(status) {
        lines.push(format!("  repeat after {}", input::duration::words(delay)));
    }
    if status.code() == Code::Unavailable && status.get_details_error_info().is_none() {
        lines.push("  is the server running, and is --server (SWITCHBOARD_SERVER) its address?".into());
    }
    lines
}

/// Every wrong field with what would be right.
fn violations(status: &Status) -> Vec<(String, String)> {
    let found = status.get_details_bad_request().map(|it| it.field_violations).unwrap_or_default();
    found.into_iter().map(|it| (it.field, it.description)).collect()
}

/// How long the server asks to wait before a repeat.
pub fn retry_delay(status: &Status) -> Option<Duration> {
    status.get_details_retry_info()?.retry_delay
}

/// Text from elsewhere without what a terminal would obey.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::{ErrorDetails, FieldViolation};

    use super::*;

    fn refused() -> Error {
        let mut details = ErrorDetails::new();
        details.set_error_info("FIELD_INVALID", "switchboard", HashMap::from([("name".to_owned(), "x".to_owned())]));
        details.set_bad_request(vec![
            FieldViolation::new("steps[0].wait", "must be from 1 second to 30 days"),
            FieldViolation::new("steps[1].channel", "`channels/nope` does not exist"),
        ]);
        details.set_retry_info(Some(Duration::from_millis(1500)));
        Status::with_error_details(Code::InvalidArgument, "2 fields are wrong", details).into()
    }

    #[test]
    fn a_refusal_is_shown_with_reason_every_field_and_the_delay() {
        assert_eq!(
            refused().lines(),
            [
                "error: INVALID_ARGUMENT: 2 fields are wrong",
                "  reason: FIELD_INVALID (name=x)",
                "  field steps[0].wait: must be from 1 second to 30 days",
                "  field steps[1].channel: `channels/nope` does not exist",
                "  repeat after 1.5s",
            ]
        );
        assert_eq!(refused().exit_code(), 64);
    }

    #[test]
    fn a_refusal_has_the_same_in_json() {
        let error = &refused().json()["error"];
        assert_eq!(error["code"], "INVALID_ARGUMENT");
        assert_eq!(error["reason"], "FIELD_INVALID");
        assert_eq!(error["fieldViolations"][1]["field"], "steps[1].channel");
        assert_eq!(error["retryDelaySeconds"], 1.5);
    }

    #[test]
    fn a_closed_pipe_is_silent_and_no_failure() {
        let error = Error::Output(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((error.exit_code(), error.lines()), (0, vec![]));
    }

    #[test]
    fn what_a_terminal_would_obey_is_taken_out() {
        assert_eq!(clean("a\u{1b}[31mb"), "a\u{fffd}[31mb");
    }
}
