//! What the program ends with: one table for scripts, the same as in README.md (a test compares them).

use tonic::Code;

/// It was done.
pub const OK: u8 = 0;
/// The server refused, for a reason that has no code of its own here.
pub const REFUSED: u8 = 1;
/// The command line, or a file that it names, is wrong; nothing was asked of the server.
pub const USAGE: u8 = 2;
/// The server found a field wrong (INVALID_ARGUMENT).
pub const INVALID: u8 = 64;
/// The answer says that something is wrong: rejected rows, an invalid definition, a failed check.
pub const FOUND_WRONG: u8 = 65;
/// What was named does not exist (NOT_FOUND).
pub const NOT_FOUND: u8 = 66;
/// The server, or what it needs, cannot be reached (UNAVAILABLE).
pub const UNAVAILABLE: u8 = 69;
/// A defect of the server (INTERNAL, UNKNOWN, DATA_LOSS).
pub const INTERNAL: u8 = 70;
/// It exists already (ALREADY_EXISTS).
pub const EXISTS: u8 = 73;
/// A file, or the output, could not be read or written.
pub const FILES: u8 = 74;
/// It may succeed when repeated (ABORTED, RESOURCE_EXHAUSTED).
pub const REPEAT: u8 = 75;
/// It is not allowed (PERMISSION_DENIED, UNAUTHENTICATED).
pub const FORBIDDEN: u8 = 77;
/// It took longer than allowed (DEADLINE_EXCEEDED).
pub const DEADLINE: u8 = 124;

/// The exit code of a status.
pub fn of(code: Code) -> u8 {
    match code {
        Code::Ok => OK,
        Code::InvalidArgument => INVALID,
        Code::NotFound => NOT_FOUND,
        Code::AlreadyExists => EXISTS,
        Code::Aborted | Code::ResourceExhausted => REPEAT,
        Code::PermissionDenied | Code::Unauthenticated => FORBIDDEN,
        Code::Unavailable => UNAVAILABLE,
        Code::Internal | Code::Unknown | Code::DataLoss => INTERNAL,
        Code::DeadlineExceeded => DEADLINE,
        Code::FailedPrecondition | Code::OutOfRange | Code::Unimplemented | Code::Cancelled => REFUSED,
    }
}

/// The name of a status as the contract writes it, such as `NOT_FOUND`.
pub fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of the table in README.md: an exit code and the text beside it.
    fn documented() -> Vec<(u8, String)> {
        let readme = include_str!("../README.md");
        let rows = readme.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
        rows.filter_map(|(code, text)| Some((code.trim().parse().ok()?, text.to_owned()))).collect()
    }

    #[test]
    fn the_table_of_the_readme_has_every_code_and_every_status() {
        let documented = documented();
        let codes: Vec<u8> = documented.iter().map(|(code, _)| *code).collect();
        let ours = [
            OK,
            REFUSED,
            USAGE,
            INVALID,
            FOUND_WRONG,
            NOT_FOUND,
            UNAVAILABLE,
            INTERNAL,
            EXISTS,
            FILES,
            REPEAT,
            FORBIDDEN,
            DEADLINE,
        ];
        assert_eq!(codes, ours);
        for number in 1..=16 {
            let code = Code::from_i32(number);
            let row = documented.iter().find(|(exit, _)| *exit == of(code)).unwrap();
            assert!(row.1.contains(name(code)), "{} is not in the row of {}", name(code), row.0);
        }
    }

    #[test]
    fn names_are_those_of_the_specification() {
        assert_eq!(name(Code::InvalidArgument), "INVALID_ARGUMENT");
        assert_eq!(of(Code::InvalidArgument), 64);
        assert_eq!(of(Code::FailedPrecondition), 1);
    }
}
