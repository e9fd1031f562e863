//! What an operator may write, and what is said when it is wrong.

use super::*;

const DATABASE: (&str, &str) = ("DATABASE_URL", "postgres://switchboard@localhost/switchboard");

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn problems(file: &str, pairs: &[(&str, &str)]) -> Vec<String> {
    let loaded = Config::load(Some(("switchboard.toml", file)), env(pairs));
    loaded.expect_err("problems").iter().map(ToString::to_string).collect()
}

#[test]
fn the_defaults_are_right_but_for_the_database() {
    let config = Config::load(None, env(&[DATABASE])).expect("right");
    assert_eq!(config.grpc_listen.port(), 7440);
    assert_eq!(config.http.max_body_bytes, 3 * 1024 * 1024);
    assert!(config.broker_url.is_none());
    let said: Vec<String> = Config::load(None, []).expect_err("no database").iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with("database.url: is missing") && said[0].contains("DATABASE_URL"), "{said:?}");
}

#[test]
fn every_key_is_documented_and_every_documented_key_is_read() {
    let mut layers = Layers::new(DEFAULTS);
    layers.environment(env(&[DATABASE]), CONVENTIONAL);
    assert!(read(&mut layers).is_some());
    assert_eq!(layers.never_asked(), Vec::<&str>::new(), "these settings do nothing");
    // A key that is read but does not stand in the file has no value to read: it would be a problem here.
    layers.finish().expect("every key that is read stands in the file");
    let mut before = "";
    for line in DEFAULTS.lines() {
        let is_key = line.contains(" = ") && !line.starts_with('#');
        assert!(!is_key || before.starts_with('#'), "{line} has no comment above it");
        before = line;
    }
}

#[test]
fn later_layers_win_and_the_most_particular_variable_last() {
    let file = "[database]\nurl = \"postgres://in-the-file/x\"\nhot_connections = 5\nside_connections = 3";
    let config = Config::load(
        Some(("f", file)),
        env(&[DATABASE, ("SWITCHBOARD__DATABASE__HOT_CONNECTIONS", "7"), ("AMQP_URL", ""), ("SWITCHBOARD_OTHER", "1")]),
    )
    .expect("right");
    assert_eq!((config.database.hot_connections, config.database.side_connections), (7, 3));
    assert_eq!(config.database.url.expose_secret(), DATABASE.1);
    let over = ("SWITCHBOARD__DATABASE__URL", "postgres://particular/x");
    let config = Config::load(Some(("f", file)), env(&[DATABASE, over])).expect("right");
    assert_eq!(config.database.url.expose_secret(), over.1);
}

#[test]
fn lists_and_tables_come_from_the_environment_as_toml() {
    let rules = r#"[{ channel_type = "SMS", purpose = "*", window = "21:00-09:00" }]"#;
    let config = Config::load(
        None,
        env(&[
            DATABASE,
            ("SWITCHBOARD__QUIET_HOURS__RULES", rules),
            ("SWITCHBOARD__WORDS__STOP", r#"{ hi = ["बस"] }"#),
            ("SWITCHBOARD__WORDS__STOP_TEXT", r#"{ hi = "ठीक है" }"#),
        ]),
    )
    .expect("right");
    assert_eq!(config.quiet_hours.len(), 1);
    assert_eq!(domain::consent::classify("बस", &config.words), Some(Intent::Stop));
    assert_eq!(domain::consent::classify("stop", &config.words), Some(Intent::Stop), "other languages stay");
    let hindi = domain::locale::Locale::parse("hi").expect("a language");
    assert_eq!(config.confirmations.text(Intent::Stop, Some(&hindi)), Some("ठीक है"));
}

#[test]
fn every_problem_is_said_at_once_with_key_value_and_what_is_right() {
    let file = r#"
        colour = "red"
        [grpc]
        listen = "0.0.0.0:7440"
        [http]
        listen = "here"
        max_body_bytes = 12
        port = 80
        [defaults]
        time_zone = "Mars/Olympus"
        default_country = "Indien"
        [quiet_hours]
        rules = [{ channel_type = "FAX", purpose = "*", window = "9-5" }]
        [words.stop]
        "?" = ["x"]
        [telemetry]
        log_format = "xml"
    "#;
    let said = problems(file, &[("SWITCHBOARD__WORKERS__LEASE_SECONDS", "soon"), ("SWITCHBOARD__HTTP__PROT", "1")]);
    for expected in [
        "colour (in switchboard.toml): is not a section; known are",
        "grpc.listen (in switchboard.toml) is \"0.0.0.0:7440\": must be a loopback address",
        "http.listen (in switchboard.toml) is \"here\": must be an address and a port",
        "http.max_body_bytes (in switchboard.toml) is 12: must be a whole number from 1024 to 16777216",
        "http.port (in switchboard.toml): is not a setting; known in [http] are listen",
        "http.prot (in SWITCHBOARD__HTTP__PROT): is not a setting",
        "defaults.time_zone (in switchboard.toml) is \"Mars/Olympus\": must be an IANA time zone",
        "defaults.default_country (in switchboard.toml) is \"Indien\": must be a country code",
        "channel_type \"FAX\" must be WHATSAPP, SMS, VOICE or EMAIL",
        "\"9-5\" is not a window",
        "\"?\" is not a language",
        "telemetry.log_format (in switchboard.toml) is \"xml\": must be one of text, json",
        "workers.lease_seconds (in SWITCHBOARD__WORKERS__LEASE_SECONDS) is soon: cannot be read",
        "database.url: is missing",
    ] {
        assert!(said.iter().any(|problem| problem.contains(expected)), "{expected}\nis not in\n{}", said.join("\n"));
    }
    assert_eq!(said.len(), 14, "{}", said.join("\n"));
}

#[test]
fn a_secret_is_never_shown() {
    let file = "[database]\nurl = \"mysql://root:hunter2@db/x\"\n[http]\nunsubscribe_secret = \"hunter2\"";
    let said = problems(file, &[("AMQP_URL", "hunter2")]).join("\n");
    assert!(
        said.contains("database.url (in switchboard.toml): must be an address that begins with postgres://"),
        "{said}"
    );
    assert!(said.contains("broker.url (in AMQP_URL)") && said.contains("at least 32 characters"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
    let broken = problems("[database]\nurl = \"postgres://hunter2", &[DATABASE]).join("\n");
    assert!(broken.contains("line 2") && !broken.contains("hunter2"), "{broken}");
}

#[test]
fn the_archive_waits_for_late_answers_and_keeps_longer_than_it_waits() {
    let archive = |file: &str| Config::load(Some(("f", file)), env(&[DATABASE])).expect("right").archive;
    assert_eq!(archive(""), Archive { after: Some(35), keep: None });
    assert_eq!(archive("[archive]\nafter_days = 0\nkeep_days = 10"), Archive { after: None, keep: Some(10) });
    let wrong = problems("[archive]\nafter_days = 3\nkeep_days = 3", &[DATABASE]);
    assert!(wrong.len() == 2 && wrong[0].contains("at least 4") && wrong[1].contains("keep_days"), "{wrong:?}");
}
