//! The command line holds together: every example of the help and of README.md parses, and every command explains itself.

use clap::error::ErrorKind;
use clap::{Command, CommandFactory, Parser};

use super::Cli;

/// The words of a line as a shell reads them: quotes, and what comes after `|`, `>`, `<`, `&&` or `#` left out.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    let end = words.iter().position(|it| ["|", ">", "<", "&&", "#"].contains(&it.as_str()));
    words.truncate(end.unwrap_or(words.len()));
    words
}

/// Lines that begin with the name of the program, with lines that end in `\` joined.
fn examples(text: &str) -> Vec<String> {
    let joined = text.replace("\\\n", " ");
    let lines = joined.lines().map(str::trim).map(|it| it.strip_prefix("$ ").unwrap_or(it));
    lines.filter(|it| it.starts_with("switchboard-cli ")).map(str::to_owned).collect()
}

fn check(examples: &[String]) {
    for example in examples {
        match Cli::try_parse_from(words(example)) {
            Err(error) if error.kind() != ErrorKind::DisplayHelp => panic!("{example}\n{error}"),
            _ => {}
        }
    }
}

fn commands(command: &Command, found: &mut Vec<Command>) {
    found.push(command.clone());
    for sub in command.get_subcommands().filter(|it| it.get_name() != "help") {
        commands(sub, found);
    }
}

fn all_commands() -> Vec<Command> {
    let mut found = Vec::new();
    commands(&Cli::command(), &mut found);
    found
}

#[test]
fn the_definition_holds_together() {
    Cli::command().debug_assert();
}

#[test]
fn every_example_of_the_help_parses() {
    let mut count = 0;
    for command in all_commands() {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples = examples(&help);
        count += examples.len();
        check(&examples);
    }
    assert!(count > 60, "only {count} examples");
}

#[test]
fn every_example_of_the_readme_parses() {
    let examples = examples(include_str!("../../README.md"));
    assert!(examples.len() > 30, "only {} examples", examples.len());
    check(&examples);
}

#[test]
fn every_command_and_every_argument_explains_itself() {
    for command in all_commands() {
        assert!(command.get_about().is_some(), "{}", command.get_name());
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
        }
    }
}

#[test]
fn a_noun_with_verbs_shows_examples() {
    for command in Cli::command().get_subcommands().filter(|it| it.has_subcommands() && it.get_name() != "help") {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.contains("Examples:"), "{}", command.get_name());
    }
}

#[test]
fn contradictions_are_refused() {
    for line in [
        "switchboard-cli notifications send --contact 1 --address +91",
        "switchboard-cli contacts consent set +91 --channel-type sms",
        "switchboard-cli triggers preview x --cron '* * * * * *' --at 2026-11-20T09:00:00",
        "switchboard-cli campaigns create x --window 09:00-20:00",
        "switchboard-cli channels list --channel-type fax",
    ] {
        assert!(Cli::try_parse_from(words(line)).is_err(), "{line}");
    }
}

#[test]
fn completion_scripts_know_the_nouns() {
    for shell in [clap_complete::Shell::Bash, clap_complete::Shell::Zsh, clap_complete::Shell::Fish] {
        let script = String::from_utf8(super::completions(shell)).unwrap();
        assert!(script.contains("notifications") && script.contains("call-lists"), "{shell}");
    }
}
