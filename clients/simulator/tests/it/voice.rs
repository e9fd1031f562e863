//! Telephones behind Twilio's Calls.

use serde_json::Value;
use simulator::script::{Answer, CallScript, Handset, KeyPress, Span, When};

use crate::receiver::{Arrived, Stand};

const MEENA: &str = "+919800000003";
const US: &str = "+15550001111";

const MENU: &str = r#"<Response><Gather action="/menu?step=1" numDigits="1" timeout="5"><Say>Press 1</Say></Gather>
    <Redirect>/call?again=1</Redirect></Response>"#;
const GOODBYE: &str = "<Response><Say>Goodbye</Say><Hangup/></Response>";

async fn place(stand: &Stand, more: &[(&str, &str)]) -> Value {
    let (url, callback) = (format!("{}/call#rc=3&rp=all", stand.base), format!("{}/progress", stand.base));
    let mut form = vec![("To", MEENA), ("From", US), ("StatusCallback", callback.as_str())];
    if !more.iter().any(|(name, _)| matches!(*name, "Url" | "Twiml")) {
        form.push(("Url", &url));
    }
    if !more.iter().any(|(name, _)| *name == "StatusCallbackEvent") {
        for event in ["initiated", "ringing", "answered", "completed"] {
            form.push(("StatusCallbackEvent", event));
        }
    }
    form.extend(more);
    let answer = stand.twilio("Calls.json", &form).send().await.unwrap();
    assert_eq!(answer.status(), 201);
    answer.json().await.unwrap()
}

fn at<'a>(arrived: &'a [Arrived], path: &str) -> Vec<&'a Arrived> {
    arrived.iter().filter(|a| a.path == path).collect()
}

#[tokio::test]
async fn a_person_answers_and_presses_a_key() {
    let stand = Stand::start().await;
    stand.document("/call", MENU);
    stand.document("/menu", GOODBYE);
    stand.simulator.handset(MEENA, Handset::voice(CallScript::presses(&["1"]))).unwrap();
    let call = place(&stand, &[("MachineDetection", "Enable")]).await;
    stand.settle().await;
    assert_eq!(stand.statuses(), ["initiated"]);
    stand.advance(1).await;
    assert_eq!(stand.statuses(), ["initiated", "ringing"]);
    stand.advance(60).await;
    assert_eq!(stand.statuses(), ["initiated", "ringing", "in-progress", "completed"]);
    let arrived = stand.arrived();
    let asked = at(&arrived, "/call");
    assert_eq!((&*asked[0].form["AnsweredBy"], &*asked[0].form["CallStatus"]), ("human", "in-progress"));
    let pressed = at(&arrived, "/menu");
    assert_eq!((&*pressed[0].form["Digits"], &*pressed[0].query), ("1", "step=1"));
    let end = at(&arrived, "/progress").pop().unwrap();
    assert_eq!(
        (&*end.form["AnsweredBy"], &*end.form["CallDuration"], &*end.form["SequenceNumber"]),
        ("human", "1", "3")
    );
    assert_eq!(stand.simulator.calls().await[0].id, call["sid"]);
    assert_eq!(stand.simulator.calls().await[0].status, "completed");
    stand.simulator.idle().await;
}

#[tokio::test]
async fn silence_follows_the_next_verb_and_a_later_key_is_heard() {
    let stand = Stand::start().await;
    stand.document("/call", MENU);
    stand.document("/menu", GOODBYE);
    stand.simulator.handset(MEENA, Handset::voice(CallScript::presses(&["", "2"]))).unwrap();
    place(&stand, &[]).await;
    stand.advance(60).await;
    let arrived = stand.arrived();
    let asked = at(&arrived, "/call");
    assert_eq!(asked.len(), 2, "the menu was asked for again");
    assert_eq!(asked[1].query, "again=1");
    assert_eq!(at(&arrived, "/menu")[0].form["Digits"], "2");
}

#[tokio::test]
async fn calls_that_nobody_takes_end_in_their_own_ways() {
    for (answer, seconds, statuses, sip) in [
        (Answer::Busy, 3, vec!["initiated", "ringing", "busy"], "486"),
        (Answer::NoAnswer, 21, vec!["initiated", "ringing", "no-answer"], "487"),
        (Answer::Failed, 3, vec!["initiated", "failed"], "404"),
    ] {
        let stand = Stand::start().await;
        stand.simulator.handset(MEENA, Handset::voice(CallScript::answered(answer))).unwrap();
        place(&stand, &[("Timeout", "20")]).await;
        stand.advance(seconds).await;
        assert_eq!(stand.statuses(), statuses, "{answer:?}");
        assert_eq!(stand.arrived().last().unwrap().form["SipResponseCode"], sip);
        assert_eq!(at(&stand.arrived(), "/call").len(), 0);
        stand.simulator.idle().await;
    }
}

#[tokio::test]
async fn a_machine_is_told_apart_first_or_meanwhile() {
    let stand = Stand::start().await;
    stand.document("/call", GOODBYE);
    stand.simulator.handset(MEENA, Handset::voice(CallScript::answered(Answer::Machine))).unwrap();
    place(&stand, &[("MachineDetection", "DetectMessageEnd")]).await;
    stand.advance(10).await;
    assert_eq!(at(&stand.arrived(), "/call")[0].form["AnsweredBy"], "machine_end_beep");
    let amd = format!("{}/amd", stand.base);
    place(&stand, &[("MachineDetection", "Enable"), ("AsyncAmd", "true"), ("AsyncAmdStatusCallback", &amd)]).await;
    stand.advance(10).await;
    let arrived = stand.arrived();
    assert_eq!(at(&arrived, "/amd")[0].form["AnsweredBy"], "machine_start");
    assert!(!at(&arrived, "/call")[1].form.contains_key("AnsweredBy"));
}

#[tokio::test]
async fn a_person_hangs_up_in_the_middle_of_the_menu() {
    let stand = Stand::start().await;
    stand.document("/call", MENU);
    let script = CallScript { hang_up_after: When::seconds(3), ..CallScript::default() };
    stand.simulator.handset(MEENA, Handset::voice(script)).unwrap();
    place(&stand, &[]).await;
    stand.advance(60).await;
    assert_eq!(stand.arrived().last().unwrap().form["CallDuration"], "3");
    assert_eq!(at(&stand.arrived(), "/call").len(), 1);
}

#[tokio::test]
async fn inline_twiml_is_followed_and_speech_takes_its_time() {
    let stand = Stand::start().await;
    let script = CallScript { speech_per_character: Span::seconds(1), ..CallScript::default() };
    stand.simulator.handset(MEENA, Handset::voice(script)).unwrap();
    let document = r#"<Response><Say loop="2">four</Say><Pause length="10"/></Response>"#;
    place(&stand, &[("Twiml", document), ("StatusCallbackEvent", "completed")]).await;
    stand.advance(60).await;
    assert_eq!(stand.statuses(), ["completed"], "only what was asked for");
    assert_eq!(stand.arrived()[0].form["CallDuration"], "18");
}

#[tokio::test]
async fn a_document_that_fails_is_repeated_then_the_fallback_is_asked() {
    let stand = Stand::start().await;
    stand.document("/call", GOODBYE);
    stand.answer_next(&[200, 200, 200, 500]);
    place(&stand, &[]).await;
    stand.advance(60).await;
    assert_eq!(at(&stand.arrived(), "/call").len(), 2, "rc=3 repeats it");
    assert_eq!(stand.simulator.calls().await[0].error_code, None);
    stand.document("/bad", "<Response><Nonsense/></Response>");
    let (bad, fallback) = (format!("{}/bad", stand.base), format!("{}/fallback", stand.base));
    stand.document("/fallback", GOODBYE);
    place(&stand, &[("Url", &bad), ("FallbackUrl", &fallback)]).await;
    stand.advance(60).await;
    assert_eq!(at(&stand.arrived(), "/fallback")[0].form["ErrorCode"], "12200");
    place(&stand, &[("Url", &bad)]).await;
    stand.advance(60).await;
    let last = stand.simulator.calls().await.pop().unwrap();
    assert_eq!((last.error_code, last.status.as_str()), (Some(12200), "completed"));
}

#[tokio::test]
async fn documents_and_keys_can_be_asked_for_with_get() {
    let stand = Stand::start().await;
    stand.document("/call", r#"<Response><Gather action="/menu" method="GET" numDigits="1"/></Response>"#);
    stand.document("/menu", GOODBYE);
    stand.simulator.handset(MEENA, Handset::voice(CallScript::presses(&["7"]))).unwrap();
    place(&stand, &[("Method", "GET")]).await;
    stand.advance(60).await;
    let arrived = stand.arrived();
    assert_eq!(at(&arrived, "/call")[0].method, http::Method::GET);
    assert_eq!(
        (&at(&arrived, "/menu")[0].method, &*at(&arrived, "/menu")[0].form["Digits"]),
        (&http::Method::GET, "7")
    );
}

#[tokio::test]
async fn the_caller_can_look_at_a_call_and_end_it() {
    let stand = Stand::start().await;
    stand.simulator.handset(MEENA, Handset::voice(CallScript::answered(Answer::NoAnswer))).unwrap();
    let call = place(&stand, &[]).await;
    stand.advance(2).await;
    let resource = format!("Calls/{}.json", call["sid"].as_str().unwrap());
    let seen: Value = stand.twilio_get(&resource).await.json().await.unwrap();
    assert_eq!(seen["status"], "ringing");
    let ended = stand.twilio(&resource, &[("Status", "canceled")]).send().await.unwrap();
    assert_eq!(ended.json::<Value>().await.unwrap()["status"], "canceled");
    stand.settle().await;
    assert_eq!(stand.statuses(), ["initiated", "ringing", "canceled"]);
    stand.advance(600).await;
    assert_eq!(stand.statuses().len(), 3, "an ended call says no more");
    let again = stand.twilio(&resource, &[("Status", "completed")]).send().await.unwrap();
    assert_eq!(again.json::<Value>().await.unwrap()["code"], 21220);
}

#[tokio::test]
async fn calls_are_refused_with_twilios_codes() {
    let stand = Stand::start().await;
    for (form, code) in [
        (vec![("From", US), ("Url", "http://127.0.0.1/")], 21201),
        (vec![("To", MEENA), ("Url", "http://127.0.0.1/")], 21213),
        (vec![("To", "1"), ("From", US), ("Url", "http://127.0.0.1/")], 21211),
        (vec![("To", MEENA), ("From", US)], 21205),
        (vec![("To", MEENA), ("From", US), ("Url", "/relative")], 21205),
        (vec![("To", MEENA), ("From", US), ("Twiml", "<Response>")], 12100),
        (vec![("To", MEENA), ("From", US), ("Url", "http://127.0.0.1/"), ("StatusCallbackEvent", "sung")], 21609),
    ] {
        let answer = stand.twilio("Calls.json", &form).send().await.unwrap();
        assert_eq!(answer.json::<Value>().await.unwrap()["code"], code, "{form:?}");
    }
    let late = KeyPress { digits: "1".into(), after: Span::seconds(1) };
    let wrong = CallScript { keys: vec![KeyPress { digits: "x".into(), ..late }], ..CallScript::default() };
    assert!(stand.simulator.handset(MEENA, Handset::voice(wrong)).is_err());
}
