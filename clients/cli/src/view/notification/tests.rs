//! What a notification looks like.

use prost_types::{Duration, Timestamp};
use proto::v1::notification::State;
use proto::v1::timeline_entry::Kind;
use proto::v1::{
    Address, AddressKind, Attempt, ChannelType, Delivery, Evidence, FailureClass, Notification, Outcome, Receipt,
    SkipReason, SkippedStep, Step, Success, TimelineEntry, delivery, step::Target,
};

use super::*;
use crate::out::tests::kept;

fn at(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds: 1_763_629_200 + seconds, nanos: 0 })
}

fn step(target: Target) -> Step {
    let wait = Some(Duration { seconds: 600, nanos: 0 });
    Step { target: Some(target), success: Success::Read.into(), wait, ..Default::default() }
}

fn notification() -> Notification {
    let whatsapp = Delivery {
        name: "deliveries/d1".into(),
        state: delivery::State::Failed.into(),
        channel: "channels/wa".into(),
        channel_type: ChannelType::Whatsapp.into(),
        address: Some(Address { kind: AddressKind::Phone.into(), value: "+919812345678".into() }),
        failure_class: FailureClass::FallOver.into(),
        failure_code: "131026".into(),
        attempts: vec![Attempt {
            number: 1,
            provider: "meta".into(),
            outcome: Outcome::Accepted.into(),
            provider_message_id: "wamid.1".into(),
            start_time: at(1),
            end_time: at(2),
            ..Default::default()
        }],
        receipts: vec![Receipt {
            evidence: Evidence::Failed.into(),
            provider_status: "failed".into(),
            code: "131026".into(),
            receive_time: at(3),
            ..Default::default()
        }],
        ..Default::default()
    };
    Notification {
        name: "notifications/n1".into(),
        state: State::Waiting.into(),
        contact: "contacts/42".into(),
        steps: vec![
            step(Target::ChannelType(ChannelType::Whatsapp.into())),
            step(Target::Channel("channels/sms".into())),
            step(Target::CallList("callLists/desk".into())),
        ],
        step: 1,
        next_due_time: at(900),
        deliveries: vec![whatsapp],
        timeline: vec![TimelineEntry {
            time: at(3),
            kind: Kind::StepFailed.into(),
            description: "WhatsApp refused: no such user.".into(),
            ..Default::default()
        }],
        create_time: at(0),
        ..Default::default()
    }
}

fn shown(notification: &Notification) -> String {
    let (mut out, kept) = kept(false, false);
    show(&mut out, notification).unwrap();
    kept.text()
}

#[test]
fn a_waiting_one_says_which_step_waits_for_what_and_until_when() {
    let text = shown(&notification());
    assert!(text.starts_with("notifications/n1  WAITING\nStep 2 of 3 (channels/sms) waits for READ until "), "{text}");
}

#[test]
fn every_step_says_what_became_of_it() {
    let mut it = notification();
    it.skipped_steps = vec![SkippedStep { step: 1, reason: SkipReason::ChannelParked.into(), ..Default::default() }];
    let text = shown(&it);
    assert!(text.contains("FAILED (FALL_OVER, code 131026)"), "{text}");
    assert!(text.contains("skipped: CHANNEL_PARKED"), "{text}");
    assert!(text.contains("not begun"), "{text}");
}

#[test]
fn attempts_receipts_and_the_timeline_are_there() {
    let text = shown(&notification());
    assert!(text.contains("Step 1: WHATSAPP by channels/wa to phone +919812345678"), "{text}");
    assert!(text.contains("attempt 1 by meta  ACCEPTED in 1s: wamid.1"), "{text}");
    assert!(text.contains("receipt  FAILED (the provider says `failed`, 131026)"), "{text}");
    assert!(text.contains("+3s        STEP_FAILED      step 1   WhatsApp refused: no such user."), "{text}");
}

#[test]
fn an_exhausted_one_names_every_step() {
    let mut it = notification();
    it.set_state(State::Exhausted);
    it.step = 2;
    let text = shown(&it);
    assert!(text.contains("No step succeeded: step 1 (WHATSAPP) FAILED (FALL_OVER, code 131026); step 2"), "{text}");
    assert!(text.contains("step 3 (callLists/desk) put on the list."), "{text}");
}

#[test]
fn a_skipped_one_says_why_in_the_words_of_the_contract() {
    let mut it = notification();
    it.set_state(State::Skipped);
    it.set_skip_reason(SkipReason::NoAddress);
    let text = shown(&it);
    assert!(text.contains("Nothing was tried: the contact has no address that this channel type can reach"), "{text}");
}

#[test]
fn a_follower_writes_what_is_new_only() {
    let (mut out, kept) = kept(false, false);
    let mut follower = Follower::default();
    let mut it = notification();
    follower.show(&mut out, &it).unwrap();
    follower.show(&mut out, &it).unwrap();
    it.set_state(State::Replied);
    it.timeline.push(TimelineEntry { kind: Kind::Reply.into(), step: 1, time: at(9), ..Default::default() });
    follower.show(&mut out, &it).unwrap();
    let text = kept.text();
    assert_eq!(text.matches("STEP_FAILED").count(), 1, "{text}");
    assert_eq!(text.matches("REPLY").count(), 1, "{text}");
    assert!(text.ends_with("REPLIED: The person answered.\n"), "{text}");
}
