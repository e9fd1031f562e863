//! Lists: pages, limits, tables, JSON lines, and a reader that goes away.

use std::process::Stdio;

use proto::v1;

use crate::{Fake, Reply, command, done, run};

fn page(from: usize, count: usize, token: &str) -> Reply {
    let contact = |id| v1::Contact { name: format!("contacts/{id}"), locale: "hi".into(), ..Default::default() };
    let contacts = (from..from + count).map(contact).collect();
    Reply::message(&v1::ListContactsResponse { contacts, next_page_token: token.into() })
}

#[test]
fn pages_are_followed_to_the_last() {
    let fake = Fake::start();
    fake.answers("ContactService.ListContacts", [page(1, 2, "t1"), page(3, 2, "t2"), page(5, 1, "")]);
    let text = done(&fake, &["contacts", "list", "--limit", "0", "--page-size", "2", "--filter", "locale = \"hi\""]);
    assert_eq!(text.lines().count(), 6, "{text}");
    assert!(text.starts_with("NAME        LOCALE\n"), "{text}");
    let asked: Vec<v1::ListContactsRequest> = fake.asked("ContactService.ListContacts");
    let tokens: Vec<_> = asked.iter().map(|it| it.page_token.as_str()).collect();
    assert_eq!(tokens, ["", "t1", "t2"]);
    assert!(asked.iter().all(|it| it.page_size == 2 && it.filter == "locale = \"hi\""));
}

#[test]
fn a_limit_stops_and_says_that_there_is_more() {
    let fake = Fake::start();
    fake.answers("ContactService.ListContacts", [page(1, 2, "t1"), page(3, 1, "t2")]);
    let ended = run(&fake, &["contacts", "list", "--limit", "3", "--page-size", "2"]);
    assert_eq!(ended.out.lines().count(), 4, "{ended:?}");
    assert!(ended.err.contains("there are more: --limit 0 shows all"), "{ended:?}");
    let asked: Vec<v1::ListContactsRequest> = fake.asked("ContactService.ListContacts");
    assert_eq!(asked.iter().map(|it| it.page_size).collect::<Vec<_>>(), [2, 1], "no more is asked for than is shown");
    assert_eq!(run(&fake, &["-q", "contacts", "list", "--limit", "1"]).err, "");
}

#[test]
fn json_lists_are_one_object_a_line() {
    let fake = Fake::start();
    fake.answers("ContactService.ListContacts", [page(1, 2, "")]);
    let text = done(&fake, &["--json", "contacts", "list"]);
    assert_eq!(text, "{\"name\":\"contacts/1\",\"locale\":\"hi\"}\n{\"name\":\"contacts/2\",\"locale\":\"hi\"}\n");
}

#[test]
fn an_empty_list_writes_nothing_but_a_note() {
    let fake = Fake::start();
    let ended = run(&fake, &["channels", "list"]);
    assert_eq!((ended.out.as_str(), ended.err.as_str(), ended.code), ("", "nothing found\n", 0));
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let fake = Fake::start();
    fake.answers("ContactService.ListContacts", [page(1, 1000, "more")]);
    for words in [&["contacts", "list", "--limit", "20000"][..], &["--json", "contacts", "list", "--limit", "20000"]] {
        let mut child = command(&fake.url, words).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), text.as_str()), (Some(0), ""), "{words:?}");
    }
}

#[test]
fn every_noun_lists() {
    let fake = Fake::start();
    for words in [
        &["channels", "list"][..],
        &["channels", "connectors"],
        &["templates", "list"],
        &["templates", "versions", "t"],
        &["policies", "list"],
        &["policies", "versions", "p"],
        &["call-lists", "list"],
        &["call-lists", "entries", "c", "--show", "waiting"],
        &["notifications", "list", "--state", "waiting"],
        &["campaigns", "list", "--state", "running"],
        &["campaigns", "recipients", "c", "--failure", "fall_over"],
        &["audiences", "list"],
        &["sources", "list"],
        &["triggers", "list"],
        &["triggers", "firings", "-", "--reason", "address_invalid"],
        &["conversations", "list"],
        &["conversations", "timeline", "c"],
        &["messages", "list", "--direction", "inbound"],
        &["contacts", "consent", "list", "--contact", "42"],
    ] {
        assert_eq!(done(&fake, words), "", "{words:?}");
    }
    let asked: Vec<v1::ListFiringsRequest> = fake.asked("TriggerService.ListFirings");
    assert_eq!(asked[0].parent, "triggers/-");
}
