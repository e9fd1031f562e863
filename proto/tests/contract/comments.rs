//! The comments of the contract: they are there, they are sentences, and what they name exists.

use std::collections::BTreeSet;

use super::descriptors::{below, comments, elements, enums, files};
use super::report;

/// Words with an underscore that are no values of this contract: the status codes of gRPC.
const STATUS_CODES: &[&str] = &[
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "FAILED_PRECONDITION",
    "OUT_OF_RANGE",
    "RESOURCE_EXHAUSTED",
    "DEADLINE_EXCEEDED",
];

#[test]
fn every_element_has_a_comment_of_full_sentences() {
    let (mut looked_at, mut violations) = (0, Vec::new());
    for file in files() {
        let comments = comments(&file);
        for (path, name) in elements(&file) {
            looked_at += 1;
            match comments.get(&path) {
                None => violations.push(format!("{name}: no comment")),
                Some(text) if !is_sentence(text) => violations.push(format!("{name}: not a sentence: {text}")),
                Some(_) => {}
            }
        }
    }
    assert!(looked_at > 1000, "only {looked_at} elements were found");
    report(looked_at, &violations);
}

/// Whether a comment begins like a sentence, ends like one, and has more to say than the name of its element.
fn is_sentence(text: &str) -> bool {
    let begins = text.starts_with(|c: char| c.is_uppercase() || c == '`');
    begins && text.ends_with('.') && text.split_whitespace().count() >= 4
}

#[test]
fn every_method_names_the_reasons_of_its_errors() {
    let reasons = reasons();
    let (mut looked_at, mut violations) = (0, Vec::new());
    for file in files() {
        let comments = comments(&file);
        for (i, service) in file.service.iter().enumerate() {
            for (j, method) in service.method.iter().enumerate() {
                looked_at += 1;
                let text = comments.get(&below(&below(&[], 6, i), 2, j)).map_or("", String::as_str);
                let named =
                    text.split_once("Errors:").is_some_and(|(_, after)| words(after).any(|w| reasons.contains(w)));
                if !named {
                    violations.push(format!("{}.{}: `Errors:` must name reasons", service.name(), method.name()));
                }
            }
        }
    }
    report(looked_at, &violations);
}

#[test]
fn comments_name_only_values_that_exist() {
    let mut known: BTreeSet<String> = STATUS_CODES.iter().map(|code| (*code).to_owned()).collect();
    known.extend(reasons());
    for value in enums().iter().flat_map(|one| one.values().collect::<Vec<_>>()) {
        known.insert(value.name().trim_start_matches("SKIP_REASON_").to_owned());
        known.insert(value.name().to_owned());
    }
    let (mut looked_at, mut violations) = (0, Vec::new());
    for file in files() {
        for text in comments(&file).values() {
            let unquoted = text.split('`').step_by(2).collect::<Vec<_>>().join(" ");
            for word in words(&unquoted).filter(|word| word.contains('_') && *word == word.to_ascii_uppercase()) {
                looked_at += 1;
                if !known.contains(word) {
                    violations.push(format!("{}: {word} in: {text}", file.name()));
                }
            }
        }
    }
    report(looked_at, &violations);
}

/// The names of `ErrorReason` without their prefix.
fn reasons() -> BTreeSet<String> {
    let all = enums();
    let reasons = all.iter().find(|one| one.name() == "ErrorReason").expect("errors.proto has the reasons");
    reasons.values().map(|value| value.name().trim_start_matches("ERROR_REASON_").to_owned()).collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
}
