//! Receipts in every order: doubled, overtaking, late, and of older attempts.

use super::*;
use crate::fallback::policy::Target;
use proptest::prelude::*;

fn step(success: Success) -> Step {
    let mut step = Step::to(Target::Channel("any".into()));
    step.success = success;
    step
}

/// A receipt of the last attempt of a delivery that was sent and is waited for.
fn receipt(says: Evidence) -> ReceiptFacts {
    ReceiptFacts {
        says,
        failure: None,
        attempt: 1,
        attempts: 1,
        failures: 0,
        refuted: 0,
        work: Work::Done,
        evidence: Evidence::Sent,
        started: true,
        left: false,
        wanted: Ok(()),
        jitter: 1.0,
    }
}

fn ask(facts: ReceiptFacts) -> ReceiptDecision {
    after_receipt(&step(Success::Delivered), &facts)
}

#[test]
fn a_receipt_lifts_and_a_second_copy_changes_nothing() {
    let first = ask(receipt(Evidence::Delivered));
    assert_eq!((first.evidence, first.lifted, first.step_due_now), (Evidence::Delivered, true, true));
    let copy = ask(ReceiptFacts { evidence: Evidence::Delivered, ..receipt(Evidence::Delivered) });
    assert_eq!((copy.evidence, copy.lifted, copy.step_due_now), (Evidence::Delivered, false, false));
    let behind = ask(ReceiptFacts { evidence: Evidence::Read, ..receipt(Evidence::Delivered) });
    assert_eq!((behind.evidence, behind.lifted), (Evidence::Read, false));
}

/// Case 15 of the edge cases of conversations: read without delivered, delivered after failed.
#[test]
fn delivered_overrides_failed_and_failed_does_not_override_delivered() {
    let lifted = ask(ReceiptFacts { evidence: Evidence::Failed, ..receipt(Evidence::Delivered) });
    assert_eq!(lifted.evidence, Evidence::Delivered);
    let kept = ask(ReceiptFacts { evidence: Evidence::Delivered, ..receipt(Evidence::Failed) });
    assert_eq!((kept.evidence, kept.failure, kept.step_due_now), (Evidence::Delivered, None, false));
}

#[test]
fn fallback_is_asked_when_a_receipt_can_end_its_step() {
    use Evidence::{Delivered, Failed, Read};
    let cases = [
        (Success::Sent, Delivered, true),
        (Success::Delivered, Delivered, true),
        (Success::Read, Delivered, true),
        (Success::Read, Read, true),
        (Success::Replied, Read, false),
        (Success::Acknowledged, Delivered, false),
        (Success::Replied, Failed, true),
    ];
    for (success, says, due) in cases {
        assert_eq!(after_receipt(&step(success), &receipt(says)).step_due_now, due, "{success} by {says}");
    }
    let mut patient = step(Success::Delivered);
    patient.on_failure = OnFailure::Wait;
    assert!(!after_receipt(&patient, &receipt(Failed)).step_due_now);
}

#[test]
fn a_receipt_that_outruns_the_outcome_starts_the_wait() {
    let early =
        ReceiptFacts { work: Work::Sending, evidence: Evidence::None, started: false, ..receipt(Evidence::Sent) };
    assert!(ask(early).arm_wait);
    assert!(!ask(ReceiptFacts { left: true, ..early }).arm_wait);
    let failed = ask(ReceiptFacts { says: Evidence::Failed, ..early });
    assert_eq!((failed.arm_wait, failed.step_due_now), (false, true));
    let mut patient = step(Success::Delivered);
    patient.on_failure = OnFailure::Wait;
    assert!(after_receipt(&patient, &ReceiptFacts { says: Evidence::Failed, ..early }).arm_wait);
}

#[test]
fn cx08_a_receipt_leaves_the_work_of_a_marked_delivery_alone() {
    for says in [Evidence::Sent, Evidence::Failed, Evidence::Delivered, Evidence::Read] {
        let marked = ReceiptFacts { work: Work::Sending, evidence: Evidence::None, started: false, ..receipt(says) };
        let got = ask(marked);
        assert_eq!((got.work, got.evidence), (Work::Sending, says), "the sweep still finds its attempt");
    }
}

#[test]
fn cx10_evidence_that_lifts_unknown_takes_the_queued_repeat_back() {
    let queued = ReceiptFacts { work: Work::Queued, evidence: Evidence::Unknown, ..receipt(Evidence::Sent) };
    for says in [Evidence::Sent, Evidence::Delivered, Evidence::Read] {
        assert_eq!(ask(ReceiptFacts { says, ..queued }).work, Work::Done, "{says}");
    }
}

#[test]
fn a_failure_of_an_older_attempt_does_not_fail_the_repeat() {
    for work in [Work::Queued, Work::Sending] {
        let older = ReceiptFacts {
            attempts: 2,
            work,
            evidence: Evidence::Unknown,
            failure: Some(FailureClass::Permanent),
            ..receipt(Evidence::Failed)
        };
        let got = ask(older);
        assert_eq!((got.work, got.evidence, got.failure), (work, Evidence::Unknown, None));
        let lifts = ask(ReceiptFacts { says: Evidence::Delivered, ..older });
        assert_eq!(lifts.evidence, Evidence::Delivered);
    }
    let alone = ReceiptFacts { attempts: 2, ..receipt(Evidence::Failed) };
    assert_eq!(ask(alone).failure, Some(FailureClass::Permanent), "no repeat is under way");
}

/// Case 16 of the edge cases of conversations: both are kept, the late one is marked.
#[test]
fn late_receipts_are_marked_and_may_still_reach() {
    let late = ask(ReceiptFacts { left: true, ..receipt(Evidence::Delivered) });
    assert!(late.late && late.step_due_now);
    let failed = ask(ReceiptFacts { left: true, ..receipt(Evidence::Failed) });
    assert!(failed.late && !failed.step_due_now, "a step that was left cannot be left again");
}

#[test]
fn what_a_failure_says_of_person_or_channel_is_passed_on() {
    let opted_out = ask(ReceiptFacts { failure: Some(FailureClass::OptOut), ..receipt(Evidence::Failed) });
    assert_eq!((opted_out.opt_out, opted_out.park_channel), (true, false));
    let parked = ask(ReceiptFacts { failure: Some(FailureClass::ParkChannel), ..receipt(Evidence::Failed) });
    assert_eq!((parked.opt_out, parked.park_channel), (false, true));
}

fn for_the_moment(class: FailureClass) -> ReceiptFacts {
    ReceiptFacts { failure: Some(class), ..receipt(Evidence::Failed) }
}

#[test]
fn a_busy_line_is_called_again_inside_its_step_while_attempts_are_left() {
    let mut step = step(Success::Acknowledged);
    (step.attempts, step.every) = (2, TimeDelta::minutes(5));
    let busy = for_the_moment(FailureClass::Temporary);
    for evidence in [Evidence::Unknown, Evidence::Sent] {
        let got = after_receipt(&step, &ReceiptFacts { evidence, ..busy });
        assert_eq!((got.work, got.evidence, got.lifted), (Work::Queued, evidence, false), "what is known stays");
        assert_eq!((got.requeue_after, got.counts, got.refuted), (Some(TimeDelta::minutes(5)), true, true));
        assert!(!got.step_due_now && !got.arm_wait);
    }
    let second = ReceiptFacts { attempt: 2, attempts: 2, failures: 1, refuted: 1, ..busy };
    let last = after_receipt(&step, &second);
    assert_eq!((last.work, last.evidence, last.step_due_now), (Work::Done, Evidence::Failed, true), "none is left");
    assert_eq!(last.failure, Some(FailureClass::Temporary));
}

#[test]
fn only_a_failure_for_the_moment_of_what_is_wanted_is_repeated() {
    for class in FailureClass::ALL {
        let again = matches!(class, FailureClass::Temporary | FailureClass::Throttled);
        let got = ask(for_the_moment(*class));
        assert_eq!((got.work == Work::Queued, got.lifted), (again, !again), "{class}");
        assert_eq!(got.counts, *class == FailureClass::Temporary, "{class}: throttling costs the step nothing");
    }
    let busy = for_the_moment(FailureClass::Temporary);
    for why in [NotWanted::Finished, NotWanted::StepLeft, NotWanted::OptedOut, NotWanted::Expired] {
        assert_eq!(ask(ReceiptFacts { wanted: Err(why), ..busy }).work, Work::Done, "{why}");
    }
    for evidence in [Evidence::Failed, Evidence::Delivered, Evidence::Read] {
        let got = ask(ReceiptFacts { evidence, ..busy });
        assert_eq!((got.work, got.evidence), (Work::Done, evidence));
    }
    for work in [Work::Skipped, Work::Cancelled, Work::Expired] {
        assert_eq!(ask(ReceiptFacts { work, ..busy }).work, work);
    }
}

#[test]
fn a_queued_repeat_survives_what_is_said_of_the_attempt_that_failed() {
    let queued = ReceiptFacts { work: Work::Queued, failures: 1, refuted: 1, ..receipt(Evidence::Sent) };
    assert_eq!(ask(queued).work, Work::Queued, "a status that was overtaken");
    let copy = ReceiptFacts { failure: Some(FailureClass::Temporary), says: Evidence::Failed, ..queued };
    assert_eq!((ask(copy).work, ask(copy).evidence), (Work::Queued, Evidence::Sent), "the same failure, twice");
    for says in [Evidence::Delivered, Evidence::Read] {
        let got = ask(ReceiptFacts { says, ..queued });
        assert_eq!((got.work, got.evidence), (Work::Done, says), "it arrived all the same");
    }
    let under_way = ReceiptFacts { work: Work::Sending, attempts: 2, ..copy };
    assert_eq!((ask(under_way).work, ask(under_way).evidence), (Work::Sending, Evidence::Sent));
}

#[test]
fn a_failure_for_the_moment_that_outruns_the_outcome_is_noted_for_it() {
    let early = ReceiptFacts {
        work: Work::Sending,
        evidence: Evidence::None,
        started: false,
        ..for_the_moment(FailureClass::Temporary)
    };
    let got = ask(early);
    assert_eq!((got.work, got.evidence, got.refuted, got.requeue_after), (Work::Sending, Evidence::None, true, None));
}

proptest! {
    #[test]
    fn receipts_of_one_attempt_lead_to_the_same_end_in_any_order(
        mut says in prop::collection::vec(prop::sample::select(&Evidence::ALL[2..]), 1..6), by in any::<prop::sample::Index>(),
    ) {
        let end = |says: &[Evidence]| {
            says.iter().fold(receipt(Evidence::Sent), |facts, new| {
                let got = ask(ReceiptFacts { says: *new, ..facts });
                assert!(got.evidence >= facts.evidence);
                ReceiptFacts { evidence: got.evidence, work: got.work, ..facts }
            })
        };
        let straight = end(&says);
        let by = by.index(says.len());
        says.rotate_left(by);
        prop_assert_eq!(end(&says), straight);
    }
}
