//! The papers name only what exists: every path in backticks leads to a file or folder, every link to a heading or a file.

use crate::support::source::{self, shown};

/// Folders from which a paper may name a path.
const BASES: &[&str] = &["", "server/src", "server/src/channels", "server/src/storage"];
/// The tops of the workspace: what begins with one of them is a path.
const TOPS: &[&str] =
    &["proto/", "domain/", "triggers/", "server/", "clients/", "migrations/", "testkit/", "docs/", "scripts/"];

fn papers() -> Vec<(String, String)> {
    let root = source::root();
    let mut found = vec![root.join("README.md"), root.join("CONTRIBUTING.md"), root.join("migrations/README.md")];
    found.extend(source::files("docs", ".md"));
    found.iter().map(|path| (shown(path), std::fs::read_to_string(path).expect("a paper"))).collect()
}

/// What stands in backticks and is a path.
fn named_paths(text: &str) -> Vec<&str> {
    let quoted = text.split("```").step_by(2).flat_map(|prose| prose.split('`').skip(1).step_by(2));
    let plain = |path: &&str| path.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    quoted
        .filter(plain)
        .filter(|path| TOPS.iter().any(|top| path.starts_with(top)) || path.contains('/') && path.ends_with(".rs"))
        .collect()
}

/// The anchors of a paper's headings, as they are linked.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let anchor = |heading: &str| {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    headings.map(anchor).collect()
}

fn broken(paper: &str, text: &str) -> Vec<String> {
    let exists = |path: &&str| BASES.iter().any(|base| source::root().join(base).join(path).exists());
    let missing = named_paths(text).into_iter().filter(|path| !exists(path));
    let mut found: Vec<String> = missing.map(|path| format!("{paper}: `{path}` does not exist")).collect();
    let known = anchors(text);
    let links = text.split("](#").skip(1).filter_map(|rest| rest.split(')').next());
    found.extend(
        links.filter(|link| !known.iter().any(|a| a == link)).map(|link| format!("{paper}: no heading #{link}")),
    );
    found
}

#[test]
fn every_path_and_heading_that_a_paper_names_exists() {
    let found: Vec<String> = papers().iter().flat_map(|(paper, text)| broken(paper, text)).collect();
    assert!(found.is_empty(), "papers name what does not exist:\n{}", found.join("\n"));
}

#[test]
fn a_planted_path_and_a_planted_link_are_found() {
    let text = "# One\nsee `server/src/nowhere.rs`, `workers/relay.rs`, [one](#one) and [two](#two)\n";
    let found = broken("planted", text);
    assert_eq!(found, ["planted: `server/src/nowhere.rs` does not exist", "planted: no heading #two"]);
}
