//! Outcomes: what is repeated, what is not, and the counterexamples of the dispatch protocol that speak of repeats.

use super::*;
use crate::fallback::policy::Target;
use proptest::prelude::*;

fn step() -> Step {
    let mut step = Step::to(Target::Channel("any".into()));
    step.success = Success::Delivered;
    step
}

/// The first attempt, under its token, of a delivery of which nothing is known; the connector can do nothing after UNKNOWN.
fn first(outcome: Outcome) -> OutcomeFacts {
    OutcomeFacts {
        outcome,
        refusal: None,
        retry_after: None,
        token_holds: true,
        work: Work::Sending,
        evidence: Evidence::None,
        attempts: 0,
        failures: 0,
        refuted: 0,
        wanted: Ok(()),
        after_unknown: AfterUnknown::Nothing,
        at_least_once: false,
        started: false,
        jitter: 1.0,
    }
}

fn refused(class: FailureClass) -> OutcomeFacts {
    OutcomeFacts { refusal: Some(class), ..first(Outcome::Refused) }
}

fn ask(facts: OutcomeFacts) -> OutcomeDecision {
    after_outcome(&step(), &facts)
}

#[test]
fn accepted_is_sent_and_starts_the_wait() {
    let got = ask(first(Outcome::Accepted));
    assert_eq!((got.work, got.evidence, got.arm_wait, got.step_due_now), (Work::Done, Evidence::Sent, true, false));
    let again = ask(OutcomeFacts { started: true, ..first(Outcome::Accepted) });
    assert!(!again.arm_wait, "a wait starts once");
    let mut sent = step();
    sent.success = Success::Sent;
    assert!(after_outcome(&sent, &first(Outcome::Accepted)).step_due_now);
}

#[test]
fn refusals_mean_what_their_class_says() {
    use FailureClass as F;
    // (class, is it tried again, opts out, parks the channel)
    let cases = [
        (F::Temporary, true, false, false),
        (F::Throttled, true, false, false),
        (F::FallOver, false, false, false),
        (F::Permanent, false, false, false),
        (F::NeedsTemplate, false, false, false),
        (F::Technical, false, false, false),
        (F::OptOut, false, true, false),
        (F::ParkChannel, false, false, true),
    ];
    for (class, again, opt_out, park) in cases {
        let got = ask(refused(class));
        assert_eq!(got.requeue_after.is_some(), again, "{class}");
        assert_eq!(got.work, if again { Work::Queued } else { Work::Done }, "{class}");
        assert_eq!(got.evidence, if again { Evidence::None } else { Evidence::Failed }, "{class}");
        assert_eq!(got.failure, (!again).then_some(class));
        assert_eq!((got.opt_out, got.park_channel, got.step_due_now), (opt_out, park, !again), "{class}");
        assert!(!got.arm_wait, "{class}: nothing was sent");
    }
}

#[test]
fn a_failure_that_should_wait_starts_the_wait_that_will_end_it() {
    let mut step = step();
    step.on_failure = OnFailure::Wait;
    let got = after_outcome(&step, &refused(FailureClass::FallOver));
    assert_eq!((got.arm_wait, got.step_due_now), (true, false));
    let technical = after_outcome(&step, &refused(FailureClass::Technical));
    assert_eq!((technical.arm_wait, technical.step_due_now), (false, true));
}

#[test]
fn temporary_refusals_are_retried_with_growing_pauses_until_the_attempts_are_used_up() {
    let pauses: Vec<_> = (0..3)
        .map(|failures| {
            let got = ask(OutcomeFacts { attempts: failures, failures, ..refused(FailureClass::Temporary) });
            assert!(got.counts);
            got.requeue_after.map(|p| p.num_seconds())
        })
        .collect();
    assert_eq!(pauses, [Some(10), Some(20), None]);
    let last = ask(OutcomeFacts { attempts: 2, failures: 2, ..refused(FailureClass::Temporary) });
    assert_eq!((last.evidence, last.failure), (Evidence::Failed, Some(FailureClass::Temporary)));
}

#[test]
fn throttling_costs_nothing_but_is_bounded() {
    let throttled = |attempts| ask(OutcomeFacts { attempts, ..refused(FailureClass::Throttled) });
    assert!(!throttled(0).counts);
    assert_eq!(throttled(29).work, Work::Queued);
    assert_eq!(throttled(30).failure, Some(FailureClass::Throttled));
    let counted = ask(OutcomeFacts { attempts: 31, failures: 2, ..refused(FailureClass::Throttled) });
    assert_eq!(counted.work, Work::Queued, "failures that count are no free attempts");
}

#[test]
fn the_providers_own_delay_is_obeyed_up_to_an_hour() {
    let pause = |seconds| {
        let retry_after = Some(TimeDelta::seconds(seconds));
        ask(OutcomeFacts { retry_after, ..refused(FailureClass::Throttled) }).requeue_after.unwrap().num_seconds()
    };
    assert_eq!((pause(2), pause(64), pause(86_400)), (10, 64, 3600));
}

#[test]
fn what_was_not_sent_is_queued_again_and_does_not_count() {
    let got = ask(first(Outcome::NotSent));
    assert_eq!((got.work, got.evidence, got.counts), (Work::Queued, Evidence::None, false));
    let slow = ask(OutcomeFacts { attempts: 30, ..first(Outcome::NotSent) });
    assert_eq!((slow.failure, slow.step_due_now), (Some(FailureClass::Technical), true));
}

#[test]
fn unknown_starts_the_wait_and_is_repeated_only_where_that_is_safe_or_asked_for() {
    use AfterUnknown as A;
    let cases = [
        (A::Nothing, false, false, false),
        (A::Echo, false, false, false),
        (A::Ask, false, false, true),
        (A::Key, false, true, false),
        (A::Resend, false, true, false),
        (A::Nothing, true, true, false),
        (A::Echo, true, true, false),
        (A::Ask, true, true, true),
        (A::Key, true, true, false),
    ];
    for (after_unknown, at_least_once, repeats, asks) in cases {
        let got = ask(OutcomeFacts { after_unknown, at_least_once, ..first(Outcome::Unknown) });
        assert_eq!(got.requeue_after.is_some(), repeats, "{after_unknown}, at least once: {at_least_once}");
        assert_eq!(got.work, if repeats { Work::Queued } else { Work::Done });
        assert_eq!((got.evidence, got.arm_wait, got.counts, got.ask), (Evidence::Unknown, true, true, asks));
        assert!(!got.step_due_now, "{after_unknown}: it counts as failed at the end of the wait, not before");
    }
}

#[test]
fn a_provider_is_asked_only_after_the_request_has_settled() {
    let facts = OutcomeFacts { after_unknown: AfterUnknown::Ask, at_least_once: true, ..first(Outcome::Unknown) };
    assert_eq!(ask(facts).requeue_after, Some(SETTLING));
    let queued = OutcomeFacts { work: Work::Queued, evidence: Evidence::Unknown, started: true, ..facts };
    let has = after_asked(&step(), &queued, true);
    assert_eq!((has.work, has.evidence), (Work::Done, Evidence::Sent));
    let has_not = after_asked(&step(), &queued, false);
    assert_eq!((has_not.work, has_not.evidence), (Work::Queued, Evidence::Unknown));
}

#[test]
fn cx02_a_lost_lease_leaves_the_delivery_queued() {
    let claimed = OutcomeFacts { work: Work::Queued, ..first(Outcome::NotSent) };
    for lost in 1..3 {
        assert_eq!(after_lost_lease(&step(), &claimed, lost), unchanged(&claimed));
    }
}

#[test]
fn cx03_three_lost_leases_fail_the_delivery_and_its_step_is_due_at_once() {
    let mut patient = step();
    patient.on_failure = OnFailure::Wait;
    let claimed = OutcomeFacts { work: Work::Queued, ..first(Outcome::NotSent) };
    let got = after_lost_lease(&patient, &claimed, 3);
    assert_eq!((got.work, got.failure), (Work::Done, Some(FailureClass::Technical)));
    assert!(got.step_due_now && !got.arm_wait);
}

#[test]
fn cx05_a_repeat_is_not_wanted_after_its_step_was_left() {
    let repeatable = [
        OutcomeFacts { after_unknown: AfterUnknown::Key, ..first(Outcome::Unknown) },
        refused(FailureClass::Temporary),
        refused(FailureClass::Throttled),
        first(Outcome::NotSent),
    ];
    for facts in repeatable {
        for (why, ended) in [
            (NotWanted::StepLeft, Work::Cancelled),
            (NotWanted::Finished, Work::Cancelled),
            (NotWanted::OptedOut, Work::Skipped),
            (NotWanted::Expired, Work::Expired),
        ] {
            assert_eq!(ask(facts).work, Work::Queued, "{} is repeated while it is wanted", facts.outcome);
            let got = ask(OutcomeFacts { wanted: Err(why), ..facts });
            assert_eq!(got.requeue_after, None, "{} after {why}", facts.outcome);
            let expected = if facts.outcome == Outcome::Unknown { Work::Done } else { ended };
            assert_eq!(got.work, expected, "{} after {why}", facts.outcome);
        }
    }
}

#[test]
fn cx09_an_outcome_behind_its_failure_receipt_does_not_lift_the_failure() {
    let got = ask(OutcomeFacts { evidence: Evidence::Failed, ..first(Outcome::Accepted) });
    assert_eq!((got.evidence, got.arm_wait, got.step_due_now), (Evidence::Failed, false, true));
}

#[test]
fn cx10_a_late_accepted_takes_the_queued_repeat_back() {
    let late = OutcomeFacts {
        token_holds: false,
        work: Work::Queued,
        evidence: Evidence::Unknown,
        attempts: 1,
        failures: 1,
        started: true,
        after_unknown: AfterUnknown::Key,
        ..first(Outcome::Accepted)
    };
    let got = ask(late);
    assert_eq!((got.work, got.evidence, got.requeue_after), (Work::Done, Evidence::Sent, None));
    let marked = ask(OutcomeFacts { work: Work::Sending, ..late });
    assert_eq!((marked.work, marked.evidence), (Work::Sending, Evidence::Sent), "its own outcome ends what is marked");
}

#[test]
fn cx10b_what_was_not_sent_is_not_queued_again_once_an_older_attempt_was_accepted() {
    for outcome in [first(Outcome::NotSent), refused(FailureClass::Temporary), refused(FailureClass::Throttled)] {
        let got = ask(OutcomeFacts { evidence: Evidence::Sent, attempts: 1, failures: 1, started: true, ..outcome });
        assert_eq!((got.work, got.evidence, got.requeue_after), (Work::Done, Evidence::Sent, None));
    }
    let unknown =
        OutcomeFacts { evidence: Evidence::Sent, after_unknown: AfterUnknown::Key, ..first(Outcome::Unknown) };
    let got = ask(unknown);
    assert_eq!((got.work, got.evidence, got.ask), (Work::Done, Evidence::Sent, false));
}

#[test]
fn a_refused_copy_does_not_undo_the_original() {
    let copy = OutcomeFacts { evidence: Evidence::Sent, attempts: 1, failures: 1, ..refused(FailureClass::Permanent) };
    assert_eq!((ask(copy).work, ask(copy).evidence), (Work::Done, Evidence::Sent));
    let older = OutcomeFacts {
        token_holds: false,
        work: Work::Queued,
        evidence: Evidence::Unknown,
        ..refused(FailureClass::Permanent)
    };
    assert_eq!((ask(older).work, ask(older).evidence), (Work::Queued, Evidence::Unknown), "the repeat may succeed");
    let alone = ask(OutcomeFacts { work: Work::Done, ..older });
    assert_eq!((alone.evidence, alone.step_due_now), (Evidence::Failed, true));
    let opted_out = ask(OutcomeFacts { refusal: Some(FailureClass::OptOut), ..older });
    assert!(opted_out.opt_out, "what a refusal says of the person holds, whenever it comes");
}

fn any_facts() -> impl Strategy<Value = OutcomeFacts> {
    let select = prop::sample::select::<Outcome>;
    let wanted = prop::sample::select(vec![
        Ok(()),
        Err(NotWanted::StepLeft),
        Err(NotWanted::Finished),
        Err(NotWanted::OptedOut),
        Err(NotWanted::Expired),
    ]);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (
        (select(Outcome::ALL.to_vec()), prop::option::of(prop::sample::select(FailureClass::ALL))),
        (prop::sample::select(Work::ALL), prop::sample::select(Evidence::ALL)),
        (0_u32..40, 0_u32..12, 0_u32..42),
        (wanted, prop::sample::select(AfterUnknown::ALL)),
        flags,
        0.0_f64..1.0,
    )
        .prop_map(|(end, known, counts, (wanted, after_unknown), flags, jitter)| OutcomeFacts {
            outcome: end.0,
            refusal: end.1.filter(|_| end.0 == Outcome::Refused),
            retry_after: None,
            token_holds: flags.0,
            // The open attempt's token holds only while the delivery is SENDING.
            work: if flags.0 { Work::Sending } else { known.0 },
            evidence: known.1,
            attempts: counts.0,
            failures: counts.1.min(counts.0),
            refuted: counts.2.min(counts.0 + 1),
            wanted,
            after_unknown,
            at_least_once: flags.1,
            started: flags.2,
            jitter,
        })
}

proptest! {
    #[test]
    fn nothing_is_repeated_that_is_known_to_be_sent_or_not_wanted(facts in any_facts()) {
        let got = ask(facts);
        prop_assert!(got.evidence >= facts.evidence, "evidence went down");
        if got.requeue_after.is_some() {
            prop_assert!(facts.token_holds && got.work == Work::Queued);
            prop_assert!(!facts.forbids(got.evidence));
            prop_assert_eq!(facts.wanted, Ok(()));
            prop_assert!(got.requeue_after > Some(TimeDelta::zero()));
            let failed = facts.refuted > facts.attempts;
            let excused = failed || facts.after_unknown.repeats_safely() || facts.at_least_once;
            prop_assert!(facts.outcome != Outcome::Unknown || excused);
        }
        if facts.token_holds {
            prop_assert!(got.work != Work::Sending, "the attempt is over");
            prop_assert!(got.work != Work::Queued || got.requeue_after.is_some(), "queued and never tried");
        } else {
            let closed = facts.work == Work::Queued && got.work == Work::Done;
            prop_assert!(got.work == facts.work || closed, "late news moved {} to {}", facts.work, got.work);
        }
    }

    #[test]
    fn every_delivery_comes_to_an_end(
        outcomes in prop::collection::vec((0_usize..4, 0..FailureClass::ALL.len()), 60),
        at_least_once in any::<bool>(),
    ) {
        let mut facts = OutcomeFacts { at_least_once, ..first(Outcome::NotSent) };
        for (outcome, class) in outcomes {
            facts.outcome = Outcome::ALL[outcome];
            facts.refusal = (facts.outcome == Outcome::Refused).then(|| FailureClass::ALL[class]);
            let got = ask(facts);
            if got.work != Work::Queued {
                prop_assert!(got.arm_wait || facts.started || got.step_due_now, "nothing would ever end the step");
                return Ok(());
            }
            facts.attempts += 1;
            facts.failures += u32::from(got.counts);
            facts.evidence = got.evidence;
            facts.started |= got.arm_wait;
        }
        prop_assert!(false, "it was tried {} times and goes on", facts.attempts);
    }
}

#[test]
fn a_failure_that_outran_the_outcome_repeats_the_call_inside_its_step() {
    for (outcome, evidence) in [(Outcome::Accepted, Evidence::Sent), (Outcome::Unknown, Evidence::Unknown)] {
        let got = ask(OutcomeFacts { refuted: 1, ..first(outcome) });
        assert_eq!(
            (got.work, got.evidence, got.counts, got.arm_wait),
            (Work::Queued, evidence, true, true),
            "{outcome}"
        );
        assert!(got.requeue_after.is_some());
        let left = ask(OutcomeFacts { refuted: 1, wanted: Err(NotWanted::StepLeft), ..first(outcome) });
        assert_eq!(left.work, Work::Done, "{outcome}: nothing is repeated for a step that was left");
    }
}

#[test]
fn what_was_sent_and_failed_for_the_moment_forbids_no_repeat() {
    let second =
        |outcome| OutcomeFacts { attempts: 1, failures: 1, evidence: Evidence::Sent, started: true, ..first(outcome) };
    let again = ask(OutcomeFacts { refuted: 1, ..second(Outcome::NotSent) });
    assert_eq!(again.work, Work::Queued, "the call was not made, and the one before has failed");
    assert_eq!(ask(second(Outcome::NotSent)).work, Work::Done, "the one before stands");
    let refusal = Some(FailureClass::FallOver);
    let failed = ask(OutcomeFacts { refuted: 1, refusal, ..second(Outcome::Refused) });
    assert_eq!((failed.work, failed.evidence), (Work::Done, Evidence::Failed));
    let taken = ask(OutcomeFacts { refuted: 1, ..second(Outcome::Accepted) });
    assert_eq!(
        (taken.work, taken.evidence, taken.arm_wait),
        (Work::Done, Evidence::Sent, false),
        "the wait runs already"
    );
}
