//! How it ends when something is wrong: exit codes, what is shown, what is repeated.

use std::collections::HashMap;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use proto::v1;
use serde_json::Value;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use crate::{Ended, Fake, Reply, command, done, run};

#[test]
fn every_status_has_its_exit_code() {
    let fake = Fake::start();
    let table = [
        (Code::InvalidArgument, 64),
        (Code::NotFound, 66),
        (Code::AlreadyExists, 73),
        (Code::Aborted, 75),
        (Code::ResourceExhausted, 75),
        (Code::PermissionDenied, 77),
        (Code::Unauthenticated, 77),
        (Code::Internal, 70),
        (Code::FailedPrecondition, 1),
        (Code::OutOfRange, 1),
        (Code::Unimplemented, 1),
        (Code::DeadlineExceeded, 124),
    ];
    for (code, exit) in table {
        fake.answers("ContactService.GetContact", [Reply::refusal(Status::new(code, "no"))]);
        assert_eq!(run(&fake, &["contacts", "get", "1"]).code, exit, "{code:?}");
    }
}

fn wrong_fields() -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info("FIELD_INVALID", "switchboard", HashMap::new());
    details.set_bad_request(vec![
        FieldViolation::new("contact.locale", "`xx-yy-zz` is not a language"),
        FieldViolation::new("contact.time_zone", "`Asia/Nowhere` is not a time zone"),
    ]);
    details.set_retry_info(Some(Duration::from_secs(2)));
    Status::with_error_details(Code::InvalidArgument, "2 fields are wrong", details)
}

#[test]
fn every_wrong_field_is_shown_on_its_own_line() {
    let fake = Fake::start();
    fake.answers("ContactService.CreateContact", [Reply::refusal(wrong_fields())]);
    let ended = run(&fake, &["contacts", "create", "--name", "Asha"]);
    let lines = [
        "error: INVALID_ARGUMENT: 2 fields are wrong",
        "  reason: FIELD_INVALID",
        "  field contact.locale: `xx-yy-zz` is not a language",
        "  field contact.time_zone: `Asia/Nowhere` is not a time zone",
        "  repeat after 2s",
        "",
    ];
    assert_eq!(ended.err, lines.join("\n"));
    assert_eq!(ended.out, "");
}

#[test]
fn errors_are_json_for_programs() {
    let fake = Fake::start();
    fake.answers("ContactService.CreateContact", [Reply::refusal(wrong_fields())]);
    let ended = run(&fake, &["--json", "contacts", "create", "--name", "Asha"]);
    let error: Value = serde_json::from_str(&ended.err).unwrap();
    assert_eq!(error["error"]["reason"], "FIELD_INVALID");
    assert_eq!(error["error"]["fieldViolations"].as_array().unwrap().len(), 2);
    assert_eq!(error["error"]["exitCode"], 64);
}

#[test]
fn a_wrong_command_line_ends_with_2_before_anything_is_asked() {
    let fake = Fake::start();
    for words in [
        &["contacts", "frobnicate"][..],
        &["channels", "list", "--channel-type", "fax"],
        &["call", "ContactService.GetContract"],
        &["call", "ContactService.GetContact", "{\"nmae\": 1}"],
        &["call", "ContactService.GetContact", "{"],
        &["--server", "https://example.org", "health"],
        &["notifications", "send", "--template", "t"],
        &["describe", "Nothing"],
    ] {
        assert_eq!(run(&fake, words).code, 2, "{words:?}");
    }
    assert_eq!(fake.count("ContactService.GetContact"), 0);
}

#[test]
fn a_file_that_is_not_there_ends_with_74() {
    let fake = Fake::start();
    let ended = run(&fake, &["policies", "create", "urgent", "--file", "nowhere.toml"]);
    assert_eq!(ended.code, 74);
    assert!(ended.err.contains("nowhere.toml"), "{ended:?}");
}

#[test]
fn a_file_that_is_wrong_is_refused_with_every_place() {
    let fake = Fake::start();
    let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    std::fs::write(file.path(), "[[steps]]\nchannel_type = \"fax\"\n[[steps]]\nwiat = \"10m\"\n").unwrap();
    let ended = run(&fake, &["policies", "create", "urgent", "--file", file.path().to_str().unwrap()]);
    assert_eq!(ended.code, 2);
    assert!(ended.err.contains("steps[0].channel_type: `fax` must be one of WHATSAPP, SMS, VOICE, EMAIL"), "{ended:?}");
    assert!(ended.err.contains("steps[1].wiat: Step has no such field; did you mean `wait`?"), "{ended:?}");
}

#[test]
fn an_unavailable_server_is_asked_again_with_the_same_request_id() {
    let fake = Fake::start();
    let down = || Reply::refusal(Status::unavailable("starting"));
    fake.answers("CampaignService.StartCampaign", [down(), down(), Reply::message(&v1::Campaign::default())]);
    done(&fake, &["campaigns", "start", "monsoon"]);
    let asked: Vec<v1::StartCampaignRequest> = fake.asked("CampaignService.StartCampaign");
    assert_eq!(asked.len(), 3);
    assert!(!asked[0].request_id.is_empty() && asked.iter().all(|it| it.request_id == asked[0].request_id));
}

#[test]
fn repeats_are_bounded() {
    let fake = Fake::start();
    fake.answers("ContactService.GetContact", [Reply::refusal(Status::unavailable("down"))]);
    assert_eq!(run(&fake, &["--retries", "2", "contacts", "get", "1"]).code, 69);
    assert_eq!(fake.count("ContactService.GetContact"), 3);
}

#[test]
fn what_is_refused_is_not_asked_again() {
    let fake = Fake::start();
    fake.answers("ContactService.GetContact", [Reply::refusal(Status::not_found("contacts/1"))]);
    run(&fake, &["contacts", "get", "1"]);
    assert_eq!(fake.count("ContactService.GetContact"), 1);
}

#[test]
fn a_server_that_is_not_there_ends_with_69_and_a_hint() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let output = command(&url, &["--retries", "1", "contacts", "list"]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(69), "{text}");
    assert!(text.contains("is the server running"), "{text}");
}

#[test]
fn a_call_that_takes_too_long_ends_with_124() {
    let fake = Fake::start();
    fake.answers("ContactService.GetContact", [Reply::default().hanging()]);
    let begun = Instant::now();
    let Ended { code, err, .. } = run(&fake, &["--timeout", "300ms", "contacts", "get", "1"]);
    assert_eq!(code, 124, "{err}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}
