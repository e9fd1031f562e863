//! Answers: what they refer to, and what they do to a notification in every state.

use super::*;
use proptest::prelude::*;

fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
}

/// A notification at step 0 whose attempt was marked at this second.
fn candidate(n: u128, state: State, marked: i64) -> Candidate {
    Candidate { notification: id(n), state, step: 0, marked_step: 0, marked_at: at(marked), campaign: None }
}

fn of_run(candidate: Candidate, run: i64) -> Candidate {
    Candidate { campaign: Some(CampaignRun { campaign: 9, run }), ..candidate }
}

fn find(candidates: &[Candidate], reference: Option<u128>) -> Option<(u128, FoundBy, bool)> {
    resolve(candidates, reference.map(id), at(1000), TimeDelta::seconds(900))
        .map(|r| (r.notification.as_u128(), r.found_by, r.late))
}

#[test]
fn a_reference_decides() {
    let candidates = [candidate(1, State::Reached, 10), candidate(2, State::Waiting, 20)];
    assert_eq!(find(&candidates, Some(1)), Some((1, FoundBy::Reference, true)));
    assert_eq!(find(&candidates, Some(2)), Some((2, FoundBy::Reference, false)));
    assert_eq!(find(&candidates, Some(3)), Some((2, FoundBy::LatestUnfinished, false)), "never sent to this address");
}

#[test]
fn without_a_reference_the_latest_unfinished_is_answered() {
    let candidates = [
        candidate(1, State::Waiting, 10),
        candidate(2, State::Pending, 20),
        candidate(3, State::Replied, 30),
        candidate(4, State::Waiting, 5),
    ];
    assert_eq!(find(&candidates, None), Some((2, FoundBy::LatestUnfinished, false)));
    assert_eq!(find(&[], None), None);
}

#[test]
fn cx07_an_answer_finds_its_notification_while_no_wait_runs() {
    // WhatsApp was marked, its step left, and SMS is queued: no wait runs, the state is WAITING all the same.
    let between = Candidate { step: 1, ..candidate(1, State::Waiting, 10) };
    assert_eq!(find(&[between], None), Some((1, FoundBy::LatestUnfinished, true)));
    let effect = effect(State::Waiting, Success::Read, Answer::Reply);
    assert!(effect.ends_policy, "so that what is queued is taken back");
}

#[test]
fn of_a_repeated_campaign_only_the_latest_run_is_answered() {
    let monday = of_run(candidate(1, State::Waiting, 10), 1);
    let tuesday = of_run(candidate(2, State::Replied, 200), 2);
    assert_eq!(find(&[monday, tuesday], None), Some((2, FoundBy::LatestFinished, true)));
    assert_eq!(find(&[monday, tuesday], Some(1)), Some((1, FoundBy::Reference, false)), "unless it is referred to");
    let sister = of_run(candidate(3, State::Waiting, 190), 2);
    assert_eq!(find(&[monday, tuesday, sister], None), Some((3, FoundBy::LatestUnfinished, false)));
    let other = Candidate { campaign: Some(CampaignRun { campaign: 8, run: 1 }), ..monday };
    assert_eq!(find(&[other, tuesday], None), Some((1, FoundBy::LatestUnfinished, false)));
}

#[test]
fn what_is_over_is_answered_within_the_window() {
    let over = |marked| find(&[candidate(1, State::Exhausted, marked)], None);
    assert_eq!(over(100), Some((1, FoundBy::LatestFinished, true)));
    assert_eq!(over(99), None);
    let thanks = [candidate(1, State::Exhausted, 200), candidate(2, State::Replied, 300)];
    assert_eq!(find(&thanks, None), Some((2, FoundBy::LatestFinished, true)), "a second word belongs to the same talk");
}

#[test]
fn answers_lift_every_state_as_the_table_says() {
    use State::{Acknowledged, Cancelled, Exhausted, Expired, Pending, Reached, Replied, Skipped, Waiting};
    // State, then after a reply, after an acknowledgement that was asked for, after a STOP.
    let table = [
        (Pending, Replied, Acknowledged, Skipped),
        (Waiting, Replied, Acknowledged, Skipped),
        (Skipped, Skipped, Skipped, Skipped),
        (Cancelled, Replied, Acknowledged, Cancelled),
        (Expired, Replied, Acknowledged, Expired),
        (Exhausted, Replied, Acknowledged, Exhausted),
        (Reached, Replied, Acknowledged, Reached),
        (Replied, Replied, Acknowledged, Replied),
        (Acknowledged, Acknowledged, Acknowledged, Acknowledged),
    ];
    assert_eq!(table.len(), State::ALL.len());
    for (state, replied, acknowledged, stopped) in table {
        let to = |success, answer| effect(state, success, answer).state;
        assert_eq!(to(Success::Read, Answer::Reply), replied, "{state}");
        assert_eq!(to(Success::Acknowledged, Answer::Acknowledgement), acknowledged, "{state}");
        assert_eq!(to(Success::Acknowledged, Answer::Reply), replied, "{state}");
        assert_eq!(to(Success::Replied, Answer::Acknowledgement), replied, "{state}: nobody asked for it");
        assert_eq!(to(Success::Read, Answer::Stop), stopped, "{state}");
        let any = effect(state, Success::Read, Answer::Reply);
        assert_eq!(any.ends_policy, !state.is_finished());
        assert_eq!(any.event.is_some(), any.state != state);
    }
}

#[test]
fn keys_buttons_and_words_acknowledge() {
    for said in ["1", " 1. ", "OK!", "Yes", "हाँ", "SÍ", "نعم"] {
        assert!(acknowledges(said, ACKNOWLEDGEMENTS), "{said:?}");
    }
    for said in ["2", "11", "yes but later", "", "?", "STOP"] {
        assert!(!acknowledges(said, ACKNOWLEDGEMENTS), "{said:?}");
    }
    assert!(acknowledges("Received.", &["received".to_owned()]));
    assert!(!acknowledges("?", &["!"]), "punctuation is no word");
}

proptest! {
    #[test]
    fn an_unfinished_candidate_is_never_passed_over_for_a_finished_one(
        states in prop::collection::vec((prop::sample::select(State::ALL), 0_i64..1000), 0..6),
    ) {
        let candidates: Vec<_> =
            (0_u128..).zip(&states).map(|(n, (state, marked))| candidate(n, *state, *marked)).collect();
        let unfinished = candidates.iter().any(|c| !c.state.is_finished());
        match find(&candidates, None) {
            Some((_, found_by, late)) => {
                prop_assert_eq!(found_by == FoundBy::LatestUnfinished, unfinished);
                prop_assert_eq!(late, !unfinished);
            }
            None => prop_assert!(!unfinished),
        }
    }
}
