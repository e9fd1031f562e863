//! Streams: watches that end by themselves, by Ctrl-C, by a timeout; connections that break and go on from the cursor.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use proto::v1::{self, notification::State, subscribe_response, watch_campaign_response, watch_notification_response};
use tonic::Status;

use crate::{Fake, Reply, command, done, run};

fn event(number: u32) -> v1::SubscribeResponse {
    let event = v1::Event {
        id: format!("e{number}"),
        cursor: format!("c{number}"),
        r#type: "notification.reached".into(),
        ..Default::default()
    };
    v1::SubscribeResponse { update: Some(subscribe_response::Update::Event(event)) }
}

fn checkpoint(cursor: &str) -> v1::SubscribeResponse {
    let checkpoint = v1::Checkpoint { cursor: cursor.into(), time: None };
    v1::SubscribeResponse { update: Some(subscribe_response::Update::Checkpoint(checkpoint)) }
}

#[test]
fn events_are_json_lines_without_checkpoints() {
    let fake = Fake::start();
    fake.answers("EventService.Subscribe", [Reply::messages(&[checkpoint("c0"), event(1), event(2)])]);
    let text = done(&fake, &["--json", "events", "subscribe", "--cursor", "c0", "--type", "notification.*"]);
    let lines = [
        r#"{"id":"e1","cursor":"c1","type":"notification.reached"}"#,
        r#"{"id":"e2","cursor":"c2","type":"notification.reached"}"#,
        "",
    ];
    assert_eq!(text, lines.join("\n"));
}

#[test]
fn a_broken_stream_goes_on_from_the_last_cursor() {
    let fake = Fake::start();
    let first = Reply::messages(&[event(1), checkpoint("c7")]).then(Status::unavailable("restarting"));
    let second = Reply::messages(&[event(8)]).then(Status::resource_exhausted("too slow"));
    fake.answers("EventService.Subscribe", [first, second, Reply::messages(&[event(9)])]);
    let text = done(&fake, &["--json", "events", "subscribe", "--from-oldest"]);
    assert_eq!(text.lines().count(), 3, "{text}");
    let asked: Vec<v1::SubscribeRequest> = fake.asked("EventService.Subscribe");
    let from: Vec<_> = asked.iter().map(|it| (it.start_cursor.as_str(), it.from_oldest)).collect();
    assert_eq!(from, [("", true), ("c7", false), ("c8", false)]);
}

#[test]
fn a_count_ends_the_stream() {
    let fake = Fake::start();
    fake.answers("EventService.Subscribe", [Reply::messages(&[event(1), event(2), event(3)]).hanging()]);
    let text = done(&fake, &["events", "subscribe", "--count", "2"]);
    assert_eq!(text.lines().count(), 2, "{text}");
}

#[test]
fn a_cursor_that_is_gone_is_refused() {
    let fake = Fake::start();
    fake.answers("EventService.Subscribe", [Reply::refusal(Status::out_of_range("the cursor is gone"))]);
    assert_eq!(run(&fake, &["events", "subscribe", "--cursor", "c1"]).code, 1);
    assert_eq!(fake.count("EventService.Subscribe"), 1);
}

fn seen(state: State) -> v1::WatchNotificationResponse {
    let notification = v1::Notification { name: "notifications/n".into(), state: state.into(), ..Default::default() };
    v1::WatchNotificationResponse { update: Some(watch_notification_response::Update::Notification(notification)) }
}

#[test]
fn a_notification_is_watched_to_its_end() {
    let fake = Fake::start();
    fake.answers(
        "NotificationService.WatchNotification",
        [Reply::messages(&[seen(State::Waiting), seen(State::Replied)])],
    );
    let text = done(&fake, &["notifications", "watch", "n"]);
    assert!(text.contains("WAITING: ") && text.ends_with("REPLIED: The person answered.\n"), "{text}");
    let asked: v1::WatchNotificationRequest = fake.asked("NotificationService.WatchNotification").remove(0);
    assert_eq!(asked.name, "notifications/n");
}

#[test]
fn sending_can_go_on_to_watch() {
    let fake = Fake::start();
    let sent = v1::Notification { name: "notifications/n".into(), ..Default::default() };
    fake.answers("NotificationService.SendNotification", [Reply::message(&sent)]);
    fake.answers("NotificationService.WatchNotification", [Reply::messages(&[seen(State::Acknowledged)])]);
    let words = ["notifications", "send", "--address", "+919812345678", "--channel-type", "sms", "--watch"];
    assert!(done(&fake, &words).contains("ACKNOWLEDGED: The person acknowledged."));
}

#[test]
fn a_campaign_is_watched_in_lines_where_there_is_no_terminal() {
    let fake = Fake::start();
    let at = |state: v1::campaign::State, count| {
        let states = vec![v1::NotificationStateCount { state: State::Replied.into(), count }];
        let progress = v1::CampaignProgress { state: state.into(), recipient_count: 4, states, ..Default::default() };
        v1::WatchCampaignResponse { update: Some(watch_campaign_response::Update::Progress(progress)) }
    };
    let updates = [at(v1::campaign::State::Running, 1), at(v1::campaign::State::Completed, 4)];
    fake.answers("CampaignService.WatchCampaign", [Reply::messages(&updates)]);
    let ended = run(&fake, &["campaigns", "watch", "monsoon"]);
    assert!(ended.out.starts_with("RUNNING  1 (25.0 %) of 4 ended"), "{ended:?}");
    assert!(ended.out.contains("COMPLETED  4 (100.0 %) of 4 ended"), "{ended:?}");
    assert!(!ended.out.contains('\u{1b}') && ended.err.is_empty(), "{ended:?}");
    assert_eq!(done(&fake, &["--json", "campaigns", "watch", "monsoon"]).lines().count(), 2);
}

#[test]
fn a_watch_with_a_timeout_ends_with_124() {
    let fake = Fake::start();
    fake.answers("NotificationService.WatchNotification", [Reply::messages(&[seen(State::Waiting)]).hanging()]);
    assert_eq!(run(&fake, &["notifications", "watch", "n", "--timeout", "300ms"]).code, 124);
}

#[test]
fn ctrl_c_ends_a_watch_cleanly() {
    let fake = Fake::start();
    fake.answers("EventService.Subscribe", [Reply::messages(&[event(1)]).hanging()]);
    let mut child = command(&fake.url, &["events", "subscribe"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("notification.reached"), "{line}");
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

fn exported(number: usize, name: &str) -> v1::ExportCampaignRecipientsResponse {
    let recipient = v1::CampaignRecipient {
        contact: format!("contacts/{number}"),
        display_name: name.into(),
        state: State::Replied.into(),
        ..Default::default()
    };
    let cursor = format!("c{number}");
    v1::ExportCampaignRecipientsResponse { recipients: vec![recipient], cursor, read_time: None }
}

#[test]
fn an_export_that_breaks_goes_on_and_writes_everyone_once() {
    let fake = Fake::start();
    let first = Reply::messages(&[exported(1, "Asha, of Pune")]).then(Status::unavailable("restarting"));
    fake.answers("CampaignService.ExportCampaignRecipients", [first, Reply::messages(&[exported(2, "=1+1")])]);
    let text = done(&fake, &["campaigns", "export", "monsoon", "--state", "replied"]);
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("contact,called,state,"), "{text}");
    assert!(lines[1].starts_with("contacts/1,\"Asha, of Pune\",REPLIED,"), "{text}");
    assert!(lines[2].starts_with("contacts/2,'=1+1,REPLIED,"), "{text}");
    assert_eq!(lines.len(), 3);
    let asked: Vec<v1::ExportCampaignRecipientsRequest> = fake.asked("CampaignService.ExportCampaignRecipients");
    let from: Vec<_> = asked.iter().map(|it| (it.parent.as_str(), it.cursor.as_str())).collect();
    assert_eq!(from, [("campaigns/monsoon", ""), ("campaigns/monsoon", "c1")]);
}

#[test]
fn an_export_that_is_given_up_says_where_to_go_on() {
    let fake = Fake::start();
    let broken = Reply::messages(&[exported(1, "A")]).then(Status::internal("no"));
    fake.answers("CampaignService.ExportCampaignRecipients", [broken]);
    let ended = run(&fake, &["campaigns", "export", "monsoon", "--format", "json"]);
    assert_eq!(ended.out.lines().count(), 1, "{ended:?}");
    assert!(ended.out.contains("\"contact\":\"contacts/1\"") && ended.err.contains("--cursor c1"), "{ended:?}");
    assert_eq!(ended.code, 70);
}
