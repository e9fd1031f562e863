//! What checks found: problems with their fields, and a verdict.

use std::io;

use proto::v1::{CheckSourceResponse, Problem, ValidateControllerResponse, ValidatePolicyResponse, problem::Severity};

use super::record::pair;
use super::value::span;
use crate::error::clean;
use crate::out::{Out, Tone};

/// Writes each problem on a line: how bad, where, why, in words.
///
/// # Errors
/// What the system says.
pub fn problems(out: &mut Out, problems: &[Problem]) -> io::Result<()> {
    for problem in problems {
        let error = problem.severity() == Severity::Error;
        let tone = if error { Tone::Bad } else { Tone::Doubtful };
        let severity = out.paint(tone, if error { "error" } else { "warning" });
        let place = if problem.field.is_empty() { String::new() } else { format!(" {}", problem.field) };
        out.line(&format!("  {severity}{place}: {} ({})", clean(&problem.description), problem.reason))?;
    }
    Ok(())
}

/// One of two sentences in its colour.
pub fn verdict(out: &Out, good: bool, yes: &str, no: &str) -> String {
    if good { out.paint(Tone::Good, yes) } else { out.paint(Tone::Bad, no) }
}

/// What a check of a policy found.
///
/// # Errors
/// What the system says.
pub fn policy(out: &mut Out, answer: &ValidatePolicyResponse) -> io::Result<()> {
    problems(out, &answer.problems)?;
    let verdict = verdict(out, answer.valid, "the policy is valid", "the policy is not valid");
    out.line(&verdict)
}

/// What a check of a controller found.
///
/// # Errors
/// What the system says.
pub fn controller(out: &mut Out, answer: &ValidateControllerResponse) -> io::Result<()> {
    problems(out, &answer.problems)?;
    let verdict = verdict(out, answer.valid, "the controller is valid", "the controller is not valid");
    out.line(&verdict)
}

/// What a check of a source found.
///
/// # Errors
/// What the system says.
pub fn source(out: &mut Out, answer: &CheckSourceResponse) -> io::Result<()> {
    pair(out, "Postgres", &answer.server_version)?;
    pair(out, "round trip", &span(answer.latency.as_ref()))?;
    problems(out, &answer.problems)?;
    let verdict = verdict(out, answer.ok, "the source is in order", "the source is not in order");
    out.line(&verdict)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::out::tests::kept;

    #[test]
    fn every_problem_has_its_line() {
        let problem = |severity: Severity, field: &str| Problem {
            severity: severity.into(),
            field: field.into(),
            reason: "FIELD_INVALID".into(),
            description: "It must be longer.".into(),
        };
        let problems = vec![problem(Severity::Error, "steps[0].wait"), problem(Severity::Warning, "")];
        let (mut out, kept) = kept(false, false);
        policy(&mut out, &ValidatePolicyResponse { valid: false, problems }).unwrap();
        let lines = [
            "  error steps[0].wait: It must be longer. (FIELD_INVALID)",
            "  warning: It must be longer. (FIELD_INVALID)",
            "the policy is not valid",
            "",
        ];
        assert_eq!(kept.text(), lines.join("\n"));
    }
}
