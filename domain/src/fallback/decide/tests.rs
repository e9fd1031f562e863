//! Decisions: each rule of falling back, and the counterexamples of the dispatch protocol that they answer.

use super::*;
use crate::fallback::policy::Target;
use proptest::prelude::*;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
}

fn now(seconds: i64) -> Now {
    Now { real: at(seconds), group: at(seconds) }
}

fn step(success: Success) -> Step {
    let mut step = Step::to(Target::Channel("any".into()));
    step.success = success;
    step.wait = TimeDelta::seconds(100);
    step.read_fallback = (success == Success::Read).then_some(TimeDelta::seconds(40));
    step
}

fn policy(successes: &[Success]) -> Policy {
    Policy { steps: successes.iter().map(|s| step(*s)).collect(), at_least_once: false, purpose: "service".into() }
}

/// A delivery whose first attempt ended at second 0.
fn delivery(step: usize, work: Work, evidence: Evidence) -> DeliveryFacts {
    let started = evidence.starts_wait().then(|| at(0));
    DeliveryFacts { step, work, evidence, failure: None, reason: None, started }
}

fn failed(step: usize, class: FailureClass) -> DeliveryFacts {
    DeliveryFacts { failure: Some(class), ..delivery(step, Work::Done, Evidence::Failed) }
}

/// A notification at the step of its last delivery, whose wait ends at second 100 where it runs.
fn waiting(deliveries: &[DeliveryFacts]) -> NotificationFacts {
    let last = deliveries.last();
    NotificationFacts {
        state: State::Waiting,
        step: last.map_or(0, |d| d.step),
        generation: 4,
        due: last.and_then(|d| d.started).map(|_| at(100)),
        deliveries: deliveries.to_vec(),
        unmerged_since: None,
        valid_until: None,
        paused: false,
    }
}

fn ask(policy: &Policy, facts: &NotificationFacts, seconds: i64) -> Decision {
    decide(policy, facts, Some(facts.generation), now(seconds))
}

const REACHED: Decision = Decision::Succeeded { state: State::Reached, step: 0, late: false };

#[test]
fn each_success_is_met_by_its_evidence_and_by_no_less() {
    use Evidence::{Delivered, Failed, Read, Sent, Unknown};
    let cases: [(Success, &[Evidence]); 5] = [
        (Success::Sent, &[Sent, Delivered, Read]),
        (Success::Delivered, &[Delivered, Read]),
        (Success::Read, &[Read]),
        (Success::Replied, &[]),
        (Success::Acknowledged, &[]),
    ];
    for (success, enough) in cases {
        for evidence in [Evidence::None, Unknown, Sent, Failed, Delivered, Read] {
            let facts = waiting(&[delivery(0, Work::Done, evidence)]);
            let met = ask(&policy(&[success, Success::Sent]), &facts, 1) == REACHED;
            assert_eq!(met, enough.contains(&evidence), "{success} by {evidence}");
        }
    }
}

#[test]
fn a_silent_step_is_left_at_the_end_of_its_wait_and_not_before() {
    use Evidence::{Delivered, Read, Sent, Unknown};
    let cases = [
        (Success::Delivered, Unknown, Reason::UnknownOutcome),
        (Success::Delivered, Sent, Reason::NotDelivered),
        (Success::Read, Sent, Reason::NotDelivered),
        (Success::Replied, Unknown, Reason::UnknownOutcome),
        (Success::Replied, Sent, Reason::NoReply),
        (Success::Replied, Delivered, Reason::NoReply),
        (Success::Replied, Read, Reason::NoReply),
        (Success::Acknowledged, Read, Reason::NoReply),
    ];
    for (success, evidence, reason) in cases {
        let policy = policy(&[success, Success::Sent]);
        let facts = waiting(&[delivery(0, Work::Done, evidence)]);
        assert_eq!(ask(&policy, &facts, 99), Decision::KeepWaiting { until: at(100) }, "{success} {evidence}");
        assert_eq!(ask(&policy, &facts, 100), Decision::Advance { to: 1, reason }, "{success} {evidence}");
    }
}

#[test]
fn delivered_counts_as_read_after_the_read_fallback() {
    let policy = policy(&[Success::Read, Success::Sent]);
    let facts = waiting(&[delivery(0, Work::Done, Evidence::Delivered)]);
    assert_eq!(ask(&policy, &facts, 10), Decision::KeepWaiting { until: at(40) });
    assert_eq!(ask(&policy, &facts, 40), REACHED);
    let mut without = policy.clone();
    without.steps[0].read_fallback = None;
    assert_eq!(ask(&without, &facts, 100), Decision::Advance { to: 1, reason: Reason::NotRead });
}

#[test]
fn a_failure_for_good_leaves_at_once_or_at_the_end_of_the_wait() {
    use FailureClass as F;
    let cases = [
        (F::FallOver, Reason::ProviderRefused),
        (F::Permanent, Reason::ProviderRefused),
        (F::Temporary, Reason::AttemptsUsedUp),
        (F::Throttled, Reason::AttemptsUsedUp),
        (F::OptOut, Reason::OptedOut),
        (F::NeedsTemplate, Reason::WindowClosed),
        (F::ParkChannel, Reason::ChannelParked),
        (F::Technical, Reason::TechnicalFailure),
    ];
    for (class, reason) in cases {
        let mut policy = policy(&[Success::Delivered, Success::Sent]);
        let mut facts = waiting(&[failed(0, class)]);
        facts.due = Some(at(100));
        assert_eq!(ask(&policy, &facts, 1), Decision::Advance { to: 1, reason }, "{class} now");
        policy.steps[0].on_failure = OnFailure::Wait;
        let early = ask(&policy, &facts, 1);
        let waits = early == Decision::KeepWaiting { until: at(100) };
        assert_eq!(waits, class != F::Technical, "{class} with WAIT: {early:?}");
        assert_eq!(ask(&policy, &facts, 100), Decision::Advance { to: 1, reason }, "{class} in the end");
    }
}

#[test]
fn what_was_given_up_before_the_wire_leaves_its_step_at_once() {
    let cases = [
        (Work::Skipped, Reason::OptedOut),
        (Work::Expired, Reason::ValidityPassed),
        (Work::Cancelled, Reason::TakenBack),
        (Work::Done, Reason::TakenBack),
    ];
    let mut policy = policy(&[Success::Delivered, Success::Sent]);
    policy.steps[0].on_failure = OnFailure::Wait;
    for (work, reason) in cases {
        let facts = waiting(&[delivery(0, work, Evidence::None)]);
        assert_eq!(ask(&policy, &facts, 1), Decision::Advance { to: 1, reason }, "{work}");
    }
    let stored = DeliveryFacts { reason: Some(Reason::Suppressed), ..delivery(0, Work::Skipped, Evidence::None) };
    assert_eq!(ask(&policy, &waiting(&[stored]), 1), Decision::Advance { to: 1, reason: Reason::Suppressed });
}

#[test]
fn after_the_last_step_the_notification_is_exhausted() {
    let policy = policy(&[Success::Replied]);
    let facts = waiting(&[delivery(0, Work::Done, Evidence::Read)]);
    assert_eq!(ask(&policy, &facts, 100), Decision::Exhausted { reason: Reason::NoReply });
}

#[test]
fn a_stale_timer_does_nothing() {
    let policy = policy(&[Success::Delivered, Success::Sent]);
    let facts = waiting(&[delivery(0, Work::Done, Evidence::Sent)]);
    assert_eq!(decide(&policy, &facts, Some(3), now(100)), Decision::Nothing);
    assert_eq!(decide(&policy, &facts, None, now(1)), Decision::KeepWaiting { until: at(100) });
}

#[test]
fn cx03_a_delivery_that_lost_its_leases_leaves_its_step_although_no_wait_ran() {
    let mut policy = policy(&[Success::Delivered, Success::Sent]);
    policy.steps[0].on_failure = OnFailure::Wait;
    let lost = DeliveryFacts { reason: Some(Reason::LeasesLost), ..failed(0, FailureClass::Technical) };
    let facts = waiting(&[lost]);
    assert_eq!(facts.due, None);
    assert_eq!(ask(&policy, &facts, 1), Decision::Advance { to: 1, reason: Reason::LeasesLost });
}

#[test]
fn cx06_stored_evidence_holds_a_step_back_for_a_minute_at_most() {
    let policy = policy(&[Success::Delivered, Success::Sent]);
    let mut facts = waiting(&[delivery(0, Work::Done, Evidence::Unknown)]);
    facts.unmerged_since = Some(at(95));
    assert_eq!(ask(&policy, &facts, 50), Decision::KeepWaiting { until: at(100) });
    assert_eq!(ask(&policy, &facts, 100), Decision::Hold { until: at(155) });
    assert_eq!(ask(&policy, &facts, 154), Decision::Hold { until: at(155) });
    assert_eq!(ask(&policy, &facts, 155), Decision::Advance { to: 1, reason: Reason::UnknownOutcome });
    facts.unmerged_since = Some(at(5000));
    assert_eq!(ask(&policy, &facts, 100), Decision::Hold { until: at(160) }, "a clock ahead of ours holds no longer");
}

#[test]
fn stored_evidence_holds_back_the_end_too_but_no_success() {
    let last = policy(&[Success::Delivered]);
    let mut facts = waiting(&[delivery(0, Work::Done, Evidence::Sent)]);
    facts.unmerged_since = Some(at(100));
    assert_eq!(ask(&last, &facts, 100), Decision::Hold { until: at(160) });
    facts.valid_until = Some(at(50));
    assert_eq!(ask(&last, &facts, 100), Decision::Hold { until: at(160) });
    facts.deliveries[0].evidence = Evidence::Delivered;
    assert_eq!(ask(&last, &facts, 100), REACHED);
}

#[test]
fn late_evidence_of_a_left_step_reaches_the_notification() {
    let policy = policy(&[Success::Read, Success::Replied]);
    let late = Decision::Succeeded { state: State::Reached, step: 0, late: true };
    for (evidence, expected) in
        [(Evidence::Read, late), (Evidence::Delivered, late), (Evidence::Sent, Decision::Nothing)]
    {
        let left = delivery(0, Work::Done, evidence);
        let facts = waiting(&[left, delivery(1, Work::Queued, Evidence::None)]);
        assert_eq!(decide(&policy, &facts, None, now(101)), expected, "{evidence}");
    }
}

#[test]
fn late_evidence_lifts_what_is_over_and_restarts_nothing() {
    let policy = policy(&[Success::Delivered, Success::Delivered]);
    for state in State::ALL.iter().filter(|s| s.is_finished()) {
        let lifts = matches!(state, State::Cancelled | State::Expired | State::Exhausted);
        let read = NotificationFacts {
            state: *state,
            ..waiting(&[delivery(0, Work::Done, Evidence::Read), delivery(1, Work::Done, Evidence::Sent)])
        };
        let expected = Decision::Succeeded { state: State::Reached, step: 0, late: true };
        assert_eq!(ask(&policy, &read, 500), if lifts { expected } else { Decision::Nothing }, "{state}");
        let silent = NotificationFacts { state: *state, ..waiting(&[delivery(0, Work::Done, Evidence::Sent)]) };
        assert_eq!(ask(&policy, &silent, 500), Decision::Nothing, "{state}");
    }
}

#[test]
fn past_its_validity_nothing_more_is_sent() {
    let policy = policy(&[Success::Delivered, Success::Sent]);
    let mut facts = waiting(&[delivery(0, Work::Queued, Evidence::None)]);
    facts.valid_until = Some(at(60));
    assert_eq!(ask(&policy, &facts, 59), Decision::KeepWaiting { until: at(60) });
    assert_eq!(ask(&policy, &facts, 60), Decision::Expired);
    facts.deliveries[0].work = Work::Sending;
    assert_eq!(ask(&policy, &facts, 60), Decision::KeepWaiting { until: at(120) }, "its outcome is awaited");
    facts.deliveries = vec![delivery(0, Work::Done, Evidence::Sent)];
    facts.due = Some(at(100));
    assert_eq!(ask(&policy, &facts, 60), Decision::KeepWaiting { until: at(100) }, "it was sent in time");
    assert_eq!(ask(&policy, &facts, 100), Decision::Expired);
}

#[test]
fn a_deferral_ends_by_entering_its_step() {
    let policy = policy(&[Success::Delivered, Success::Sent]);
    let mut facts = waiting(&[]);
    facts.state = State::Pending;
    facts.due = Some(at(30));
    assert_eq!(ask(&policy, &facts, 29), Decision::KeepWaiting { until: at(30) });
    assert_eq!(ask(&policy, &facts, 30), Decision::Enter { step: 0 });
    facts.valid_until = Some(at(30));
    assert_eq!(ask(&policy, &facts, 30), Decision::Expired);
}

#[test]
fn a_paused_group_goes_no_further_and_still_learns() {
    let policy = policy(&[Success::Delivered, Success::Sent]);
    let mut facts = waiting(&[failed(0, FailureClass::FallOver)]);
    facts.paused = true;
    assert_eq!(ask(&policy, &facts, 10), Decision::KeepWaiting { until: at(10) });
    facts.deliveries = vec![delivery(0, Work::Done, Evidence::Delivered)];
    assert_eq!(ask(&policy, &facts, 10), REACHED);
}

#[test]
fn a_wait_runs_in_the_groups_clock_and_validity_on_the_wall() {
    let policy = policy(&[Success::Delivered, Success::Sent]);
    let mut facts = waiting(&[delivery(0, Work::Done, Evidence::Sent)]);
    // The group stood still for an hour.
    let clocks = Now { real: at(3690), group: at(90) };
    assert_eq!(decide(&policy, &facts, None, clocks), Decision::KeepWaiting { until: at(100) });
    facts.unmerged_since = Some(at(3690));
    let clocks = Now { real: at(3700), group: at(100) };
    assert_eq!(decide(&policy, &facts, None, clocks), Decision::Hold { until: at(150) });
    facts.unmerged_since = None;
    facts.valid_until = Some(at(3600));
    assert_eq!(decide(&policy, &facts, None, clocks), Decision::Expired);
}

#[test]
fn a_queued_repeat_does_not_keep_its_step_beyond_the_wait() {
    let policy = policy(&[Success::Delivered, Success::Sent]);
    let facts = waiting(&[delivery(0, Work::Queued, Evidence::Unknown)]);
    assert_eq!(ask(&policy, &facts, 100), Decision::Advance { to: 1, reason: Reason::UnknownOutcome });
}

fn any<T: std::fmt::Debug + Copy + 'static>(all: &'static [T]) -> impl Strategy<Value = T> {
    prop::sample::select(all)
}

fn any_delivery(steps: usize) -> impl Strategy<Value = DeliveryFacts> {
    let parts = (0..steps, any(Work::ALL), any(Evidence::ALL), prop::option::of(any(FailureClass::ALL)), 0_i64..200);
    parts.prop_map(|(step, work, evidence, failure, started)| DeliveryFacts {
        failure: failure.filter(|_| evidence == Evidence::Failed),
        started: evidence.starts_wait().then(|| at(started)),
        ..delivery(step, work, evidence)
    })
}

proptest! {
    #[test]
    fn a_decision_goes_forward_only_and_never_moves_what_is_over(
        successes in prop::collection::vec(any(Success::ALL), 1..5),
        wait in prop::bool::ANY,
        state in any(State::ALL),
        current in 0_usize..5,
        deliveries in prop::collection::vec(any_delivery(5), 0..5),
        due in prop::option::of(0_i64..300),
        stored in prop::option::of(0_i64..300),
        valid in prop::option::of(0_i64..300),
        paused in prop::bool::ANY,
        clock in 0_i64..300,
    ) {
        let mut policy = policy(&successes);
        if wait { policy.steps.iter_mut().for_each(|s| s.on_failure = OnFailure::Wait); }
        let facts = NotificationFacts {
            state,
            step: current.min(successes.len() - 1),
            generation: 1,
            due: due.map(at),
            deliveries,
            unmerged_since: stored.map(at),
            valid_until: valid.map(at),
            paused,
        };
        let decision = decide(&policy, &facts, Some(1), now(clock));
        let ends = matches!(decision, Decision::Exhausted { .. } | Decision::Expired | Decision::Advance { .. });
        let enters = matches!(decision, Decision::Enter { .. });
        prop_assert!(!(ends || enters) || !state.is_finished(), "{state} went on");
        prop_assert!(!ends || stored.is_none_or(|since| since + 60 <= clock), "evidence is stored");
        match decision {
            Decision::Advance { to, .. } => {
                prop_assert_eq!(to, facts.step + 1);
                prop_assert!(to < policy.steps.len() && !paused);
            }
            Decision::Enter { step } => prop_assert!(step == facts.step && !paused),
            Decision::Succeeded { state: after, .. } => prop_assert!(after > state),
            Decision::Hold { until } => prop_assert!(until > at(clock) && until <= at(clock + 60)),
            Decision::KeepWaiting { until } => prop_assert!(until > at(clock) || (paused && until == at(clock))),
            Decision::Expired => prop_assert!(valid.is_some_and(|v| v <= clock)),
            Decision::Nothing | Decision::Exhausted { .. } => {}
        }
    }
}
