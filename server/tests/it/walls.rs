//! The walls between the rooms, held by a test: who may name whom, where SQL may stand, and the rules of the house that no
//! compiler knows. Each violation names its file, its line and the rule. `docs/ARCHITECTURE.md` says why the walls are there.
//!
//! A new room is a line in [`ROOMS`], a new crate a line in [`CRATES`].

use std::{collections::BTreeMap, path::Path};

use crate::support::source::{self, Kind, Named, Token, paths, tokens};

/// The rooms of the server, and which of the others each may name. What is in [`COMMON`] everybody may.
const ROOMS: &[(&str, &[&str])] = &[
    ("main", &["app", "doctor", "config", "grpc", "http", "workers", "services", "storage", "bus", "channels", "wake"]),
    (
        "app",
        &["doctor", "config", "grpc", "http", "workers", "services", "storage", "blobs", "bus", "channels", "wake"],
    ),
    ("doctor", &["config", "http", "services", "storage", "blobs", "bus", "channels", "wake"]),
    ("config", &[]),
    ("grpc", &["services", "storage", "channels", "wake"]),
    // Health asks whether the bus stands.
    ("http", &["config", "services", "storage", "bus", "channels", "wake"]),
    ("workers", &["config", "services", "storage", "blobs", "bus", "channels", "wake"]),
    ("services", &["storage", "blobs", "bus", "channels", "wake"]),
    ("storage", &[]),
    // Its section of the settings says where the files lie.
    ("blobs", &["config"]),
    ("bus", &[]),
    ("channels", &[]),
    // The hub of wake-ups carries them through storage; what it stands on may not call it.
    ("wake", &["storage"]),
    ("clock", &[]),
    ("telemetry", &["config"]),
];

/// The rooms that may see the whole of the settings; others that may name `config` may name a section of it.
const WHOLE_CONFIG: &[&str] = &["main", "app", "doctor"];

/// Common ground: business time, and the names of metrics.
const COMMON: &[&str] = &["clock", "telemetry"];

/// The crates of the workspace, by folder, and which of ours each may depend on: always, and in its tests.
const CRATES: &[(&str, &[&str], &[&str])] = &[
    ("proto", &[], &[]),
    ("domain", &[], &[]),
    ("triggers", &["domain"], &["domain"]),
    ("server", &["proto", "domain", "triggers"], &["testkit", "simulator", "proto", "domain", "triggers"]),
    ("testkit", &["server", "simulator", "proto", "domain", "triggers"], &["server", "simulator", "proto", "domain"]),
    ("bench", &["server", "testkit", "simulator", "proto", "domain", "triggers"], &["testkit"]),
    ("clients/cli", &["proto"], &["proto", "server", "simulator", "testkit"]),
    ("clients/demo", &["proto"], &["proto"]),
    ("clients/simulator", &[], &[]),
];

/// Crates that the domain may not have: it waits for nothing, and reaches nothing.
const NOT_IN_DOMAIN: &[&str] =
    &["tokio", "sqlx", "futures", "async-trait", "reqwest", "rand", "lapin", "axum", "tonic"];

/// Crates that belong to one room of the server alone: (crate, rooms).
const OWNED: &[(&str, &[&str])] = &[
    ("proto", &["grpc"]),
    ("lapin", &["bus"]),
    ("tonic", &["grpc", "app", "doctor"]),
    ("lettre", &["channels"]),
    ("object_store", &["blobs"]),
];

/// Who may start a task by hand, and why. Everything else is started by `app`, which supervises it and waits for its end.
/// (A lint would forbid it in tests too.)
const SPAWNS: &[(&str, &str)] = &[
    ("server/src/app.rs", "the supervisor"),
    ("server/src/storage/db.rs", "a begin must not be cancelled half way"),
    ("server/src/workers/providers.rs", "others are told of a breaker while the caller goes on"),
    ("server/src/workers/captures.rs", "a consumer for each source, supervised there"),
    ("server/src/grpc/stream.rs", "a stream outlives the call that opened it"),
    ("server/src/grpc/idempotent.rs", "a write ends although its caller has gone"),
    ("server/src/services/events/reader.rs", "one reader feeds all streams"),
    ("server/src/services/bell.rs", "one ear wakes all streams of a kind"),
];

/// Lines in a file: a wall.
const MAX_LINES: usize = 500;

/// Something that a rule forbids.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Violation {
    file: String,
    line: usize,
    rule: String,
}

/// Looks at one source file of the workspace. `file` is its path from the root.
fn look(file: &str, text: &str) -> Vec<Violation> {
    let tokens = tokens(text);
    let mut found = Vec::new();
    let mut report = |line: usize, rule: String| found.push(Violation { file: file.to_owned(), line, rule });
    if !text.starts_with("//!") {
        report(1, "a file opens with `//!`: what it is for, what it may not do, where to go next".into());
    }
    let lines = text.lines().count();
    if lines > MAX_LINES {
        report(MAX_LINES + 1, format!("a file has at most {MAX_LINES} lines, this one {lines}: cut it by its ideas"));
    }
    house_rules(&tokens, &mut report);
    let named = paths(&tokens);
    if !file.starts_with("server/src/storage/") && !file.starts_with("triggers/src/postgres/") && in_production(file) {
        sql_stays_in_storage(&named, &mut report);
    }
    let ships = file.starts_with("server/src/") || file.starts_with("triggers/src/");
    if ships
        && !file.ends_with("tests.rs")
        && !file.ends_with("testing.rs")
        && SPAWNS.iter().all(|(may, _)| *may != file)
    {
        tasks_are_supervised(&named, &mut report);
    }
    if file.starts_with("domain/src/") {
        domain_decides_only(&tokens, &named, &mut report);
    }
    if let Some(inside) = file.strip_prefix("server/src/") {
        rooms_keep_apart(inside, &named, &mut report);
    }
    found
}

fn in_production(file: &str) -> bool {
    file.contains("src/") && !file.starts_with("testkit/") && !file.starts_with("bench/")
}

fn house_rules(tokens: &[Token], report: &mut impl FnMut(usize, String)) {
    for (at, token) in tokens.iter().enumerate() {
        let next = tokens.get(at + 1);
        match token.word() {
            Some("allow") if next.is_some_and(|t| t.is('(')) && opens_attribute(tokens, at) => {
                report(token.line, "`#[expect(lint, reason = \"...\")]` instead of `#[allow]`".into());
            }
            Some(stub @ ("todo" | "unimplemented")) if next.is_some_and(|t| t.is('!')) => {
                report(token.line, format!("no stubs: `{stub}!`"));
            }
            _ => {}
        }
    }
}

/// Whether the word at `at` stands right after `#[` or `#![`.
fn opens_attribute(tokens: &[Token], at: usize) -> bool {
    let before = |n: usize, sign: char| at.checked_sub(n).is_some_and(|i| tokens[i].is(sign));
    before(1, '[') && (before(2, '#') || before(2, '!') && before(3, '#'))
}

fn sql_stays_in_storage(named: &[Named], report: &mut impl FnMut(usize, String)) {
    for path in named.iter().filter(|p| p.parts[0] == "sqlx" && p.parts[1].starts_with("query")) {
        report(
            path.line,
            "SQL stands in server/src/storage (ours) and triggers/src/postgres (a watched database's)".into(),
        );
    }
}

fn tasks_are_supervised(named: &[Named], report: &mut impl FnMut(usize, String)) {
    let spawns = |path: &&Named| {
        let parts: Vec<&str> = path.parts.iter().map(String::as_str).collect();
        matches!(parts[..], ["tokio", "spawn"] | ["tokio", "task", "spawn"] | ["task", "spawn"])
    };
    for path in named.iter().filter(spawns).filter(|path| !path.inside.iter().any(|module| module == "tests")) {
        report(
            path.line,
            "nobody waits for this task: start it from app.rs, or say in walls.rs why it may run alone".into(),
        );
    }
}

fn domain_decides_only(tokens: &[Token], named: &[Named], report: &mut impl FnMut(usize, String)) {
    for token in tokens.iter().filter(|t| matches!(t.word(), Some("async" | "await"))) {
        report(token.line, "the domain waits for nothing: no async".into());
    }
    let clocks = ["Utc", "Local", "Instant", "SystemTime"];
    let outside = ["fs", "net", "env", "thread", "process"];
    for path in named {
        let (first, last) = (path.parts[0].as_str(), path.parts[path.parts.len() - 1].as_str());
        let owner = path.parts[path.parts.len() - 2].as_str();
        if last == "now" && clocks.contains(&owner) {
            report(path.line, format!("the domain is told the time: no `{owner}::now`"));
        }
        if owner == "Uuid" && matches!(last, "now_v7" | "new_v4") {
            report(path.line, format!("the domain is told the ids: no `Uuid::{last}`"));
        }
        if NOT_IN_DOMAIN.contains(&first.replace('_', "-").as_str())
            || first == "std" && outside.contains(&path.parts[1].as_str())
        {
            report(path.line, format!("the domain reaches nothing outside: no `{}`", path.parts.join("::")));
        }
    }
}

/// `inside` is the file's path from `server/src/`.
fn rooms_keep_apart(inside: &str, named: &[Named], report: &mut impl FnMut(usize, String)) {
    let module = module_of(inside);
    let Some(own) = module.first() else { return }; // lib.rs, which only lists the rooms
    let Some((_, allowed)) = ROOMS.iter().find(|(room, _)| room == own) else {
        return report(1, format!("the room `{own}` is not in the table of walls: say in walls.rs whom it may see"));
    };
    for path in named {
        if let Some((_, rooms)) =
            OWNED.iter().find(|(owned, rooms)| path.parts[0] == *owned && !rooms.contains(&own.as_str()))
        {
            report(path.line, format!("only {rooms:?} may see `{}`", path.parts[0]));
        }
        let Some(room) = room_named(&module, path) else { continue };
        let known = ROOMS.iter().any(|(name, _)| *name == room);
        let part = path.parts.iter().skip_while(|part| *part != room).nth(1).map(String::as_str);
        let whole = room == "config"
            && !WHOLE_CONFIG.contains(&own.as_str())
            && matches!(part, None | Some("Config" | "*" | "self"));
        if known && room != own && !COMMON.contains(&room) && (whole || !allowed.contains(&room)) {
            report(path.line, format!("`{own}` may not see `{room}`: {}", why(own, room)));
        }
    }
}

/// The modules of a file: `services/contacts/mod.rs` is `services::contacts`.
fn module_of(inside: &str) -> Vec<String> {
    let mut parts: Vec<String> = inside.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if matches!(parts.last().map(String::as_str), Some("mod" | "lib")) {
        parts.pop();
    }
    parts
}

/// The room that a path of `module` leads to, where it leads to another module of the server at all.
fn room_named<'a>(module: &[String], path: &'a Named) -> Option<&'a str> {
    let up = path.parts.iter().take_while(|part| *part == "super").count();
    match path.parts[0].as_str() {
        "crate" | "server" => path.parts.get(1).map(String::as_str),
        "super" if up == module.len() + path.inside.len() => path.parts.get(up).map(String::as_str),
        _ => None,
    }
}

fn why(own: &str, room: &str) -> &'static str {
    match (own, room) {
        (_, "config") => "only main, app and doctor see the whole of the settings; rooms are given what they need",
        ("storage" | "bus" | "channels", "storage" | "bus" | "channels") => {
            "storage, bus and channels never see each other; a service brings them together"
        }
        ("storage", "wake") => "wake stands on storage",
        (_, "main" | "app" | "doctor") => "nobody looks up at the wiring",
        _ => "main -> app -> {grpc, http, workers} -> services -> {storage, bus, channels} -> domain",
    }
}

/// Looks at one manifest. `folder` is its crate's folder.
fn look_at_manifest(folder: &str, text: &str) -> Vec<Violation> {
    let file = format!("{folder}/Cargo.toml");
    let line = |name: &str| text.lines().position(|l| l.starts_with(name)).map_or(1, |n| n + 1);
    let report = |name: &str, rule: String| Violation { file: file.clone(), line: line(name), rule };
    let manifest: toml::Table = text.parse().expect("a manifest");
    let Some((_, always, in_tests)) = CRATES.iter().find(|(known, ..)| *known == folder) else {
        return vec![report(
            "[package]",
            format!("`{folder}` is not in the table of crates: say in walls.rs whom it may see"),
        )];
    };
    let ours: Vec<&str> = CRATES.iter().map(|(folder, ..)| folder.rsplit('/').next().unwrap_or_default()).collect();
    let sections = [("dependencies", always), ("build-dependencies", always), ("dev-dependencies", in_tests)];
    let mut found = Vec::new();
    for (section, allowed) in sections {
        for (name, wanted) in manifest.get(section).and_then(toml::Value::as_table).into_iter().flatten() {
            if ours.contains(&name.as_str()) && !allowed.contains(&name.as_str()) {
                found.push(report(name, format!("`{folder}` may not depend on `{name}`")));
            }
            if folder == "domain" && NOT_IN_DOMAIN.contains(&name.as_str()) {
                found.push(report(name, format!("the domain reaches nothing outside: no `{name}`")));
            }
            if wanted.get("workspace").and_then(toml::Value::as_bool) != Some(true) {
                found.push(report(
                    name,
                    "versions stand in the root's Cargo.toml alone: `name.workspace = true`".into(),
                ));
            }
        }
    }
    found
}

fn list(mut found: Vec<Violation>) -> String {
    found.sort();
    found.iter().map(|v| format!("{}:{}: {}\n", v.file, v.line, v.rule)).collect()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_source_keeps_to_its_walls() {
    let files = source::files("", ".rs");
    assert!(files.len() > 100, "the sources were not found: {} files", files.len());
    let found: Vec<Violation> = files.iter().flat_map(|path| look(&source::shown(path), &read(path))).collect();
    assert!(found.is_empty(), "walls are broken:\n{}", list(found));
}

#[test]
fn every_crate_depends_only_on_what_it_may() {
    let workspace: toml::Table = read(&source::root().join("Cargo.toml")).parse().expect("the root's manifest");
    let members = workspace["workspace"]["members"].as_array().expect("members").iter().filter_map(toml::Value::as_str);
    let found: Vec<Violation> = members
        .flat_map(|folder| look_at_manifest(folder, &read(&source::root().join(folder).join("Cargo.toml"))))
        .collect();
    assert!(found.is_empty(), "walls are broken:\n{}", list(found));
}

#[test]
fn every_room_of_the_table_that_stands_has_a_rule_and_no_room_is_forgotten() {
    let lib = read(&source::root().join("server/src/lib.rs"));
    let tokens = tokens(&lib);
    let rooms = tokens.windows(2).filter(|pair| pair[0].word() == Some("mod")).filter_map(|pair| pair[1].word());
    let missing: Vec<&str> = rooms.filter(|room| !ROOMS.iter().any(|(name, _)| name == room)).collect();
    assert!(missing.is_empty(), "rooms without a line in the table of walls: {missing:?}");
}

/// The rules that a planted source breaks, by line.
fn broken(file: &str, source: &str) -> BTreeMap<usize, String> {
    look(file, source).into_iter().map(|v| (v.line, v.rule)).collect()
}

#[test]
fn a_planted_edge_is_found_in_every_way_to_write_it() {
    let source = "//! Planted.
use crate::{
    storage::{Conn, dispatch},
    workers::relay::{self, chunk_size},
};
use super::super::workers;
fn f() { crate::config::Config::default(); }
mod tests { use super::super::super::grpc; use super::super::storage; }
// use crate::http; and \"crate::http\" are no edges
const S: &str = r#\"crate::http::x\"#;
";
    let found = broken("server/src/services/deep/planted.rs", source);
    let lines: Vec<usize> = found.keys().copied().collect();
    assert_eq!(lines, [4, 7], "{found:?}");
    let found = broken("server/src/services/planted.rs", source);
    let lines: Vec<usize> = found.keys().copied().collect();
    assert_eq!(lines, [4, 6, 7, 8], "{found:?}");
    assert!(found[&4].contains("`services` may not see `workers`"), "{found:?}");
    assert!(found[&7].contains("given what they need"), "{found:?}");
}

#[test]
fn a_room_may_be_given_a_section_of_the_settings_and_never_the_whole() {
    let source =
        "//! Planted.\nuse crate::config::Retention;\nuse crate::config::{self, Config};\nuse crate::config::*;\n";
    let worker = broken("server/src/workers/planted.rs", source);
    assert_eq!(worker.keys().copied().collect::<Vec<_>>(), [3, 4], "{worker:?}");
    assert!(broken("server/src/app.rs", source).is_empty());
    assert!(broken("server/src/storage/planted.rs", source).contains_key(&2));
}

#[test]
fn the_three_lowest_rooms_never_see_each_other() {
    for (own, others) in
        [("storage", ["bus", "channels"]), ("bus", ["storage", "channels"]), ("channels", ["storage", "bus"])]
    {
        for other in others {
            let found =
                broken(&format!("server/src/{own}/planted.rs"), &format!("//! x\nuse crate::{other}::Thing;\n"));
            assert!(
                found.get(&2).is_some_and(|rule| rule.contains("never see each other")),
                "{own} {other}: {found:?}"
            );
        }
    }
}

#[test]
fn planted_breaches_of_the_house_rules_are_found() {
    let sql = broken(
        "server/src/workers/planted.rs",
        "//! x\nfn f() { sqlx::query!(\"select 1\"); }\nuse sqlx::{Connection, query_as};\n",
    );
    assert_eq!(sql.keys().copied().collect::<Vec<_>>(), [2, 3], "{sql:?}");
    let spawn = "//! x\nfn f() { tokio::spawn(g()); }\nmod tests { fn h() { tokio::spawn(g()); } }\n";
    let spawn = broken("server/src/workers/planted.rs", spawn);
    assert_eq!(spawn.keys().copied().collect::<Vec<_>>(), [2], "{spawn:?}");
    let proto = broken("server/src/services/planted.rs", "//! x\nuse proto::v1;\n");
    assert!(proto[&2].contains("may see `proto`"), "{proto:?}");
    let domain = "//! x\nasync fn f() {}\nfn g() { chrono::Utc::now(); }\nuse std::time::Instant;\nfn h() { Instant::now(); }\nuse std::fs;\nfn i() { Uuid::now_v7(); }\n";
    let domain = broken("domain/src/planted.rs", domain);
    assert_eq!(domain.keys().copied().collect::<Vec<_>>(), [2, 3, 5, 6, 7], "{domain:?}");
    let bare = broken(
        "triggers/src/planted.rs",
        &format!("fn f() {{}}\n#[{}(dead_code)]\nfn g() {{ {}!() }}\n", "allow", "todo"),
    );
    assert_eq!(bare.keys().copied().collect::<Vec<_>>(), [1, 2, 3], "{bare:?}");
    let long = broken("domain/src/planted.rs", &format!("//! x\n{}", "\n".repeat(500)));
    assert!(long[&501].contains("at most 500 lines"), "{long:?}");
    assert!(broken("server/src/bus/planted.rs", "//! x\nuse crate::clock::Clock;\n").is_empty());
}

#[test]
fn a_planted_dependency_is_found_in_a_manifest() {
    let text =
        "[package]\nname = \"cli\"\n[dependencies]\nserver.workspace = true\nproto.workspace = true\nserde = \"1\"\n";
    let found = list(look_at_manifest("clients/cli", text));
    assert!(found.contains("clients/cli/Cargo.toml:4: `clients/cli` may not depend on `server`"), "{found}");
    assert!(found.contains("clients/cli/Cargo.toml:6: versions stand in the root"), "{found}");
    assert_eq!(found.lines().count(), 2, "{found}");
    assert!(!look_at_manifest("domain", "[dependencies]\ntokio.workspace = true\n").is_empty());
}

#[test]
fn the_reader_of_sources_knows_strings_comments_and_lifetimes() {
    let text =
        "fn a<'x>(c: char) { let b = ('\\'', '\"', 'y'); /* use crate::x; /* y */ */ z::w(r#\"crate::q \"x\" \"#); }";
    let tokens = tokens(text);
    let named: Vec<Vec<String>> = paths(&tokens).into_iter().map(|p| p.parts).collect();
    assert_eq!(named, [vec!["z".to_owned(), "w".to_owned()]]);
    assert!(tokens.iter().any(|t| t.kind == Kind::Text("crate::q \"x\" ".into())));
}
