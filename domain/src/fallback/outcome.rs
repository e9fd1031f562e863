//! What the outcome of one attempt does to its delivery: what is known now, whether it is tried again, what the step learns.
//!
//! No attempt is repeated while evidence of SENT or more is known, and none without a reason: a refusal for the moment, a call
//! that was not made, a receipt that says that it failed for the moment (which is all that makes SENT forbid no repeat), or a
//! recorded UNKNOWN where a second copy is harmless or asked for.

use super::{
    policy::{OnFailure, Step, Success},
    wanted::NotWanted,
};
use crate::{
    backoff,
    delivery::{AfterUnknown, Evidence, FailureClass, Outcome, Work, WorkEvent},
};
use chrono::TimeDelta;

/// How many attempts that cost the step nothing (throttled, not sent) are made before the delivery fails all the same.
pub const MAX_FREE_ATTEMPTS: u32 = 30;
/// How many leases may be lost before the delivery fails.
pub const MAX_LOST_LEASES: u32 = 3;
/// How long after an unknown outcome a provider may be asked: by then a request in transit has arrived or is lost.
pub const SETTLING: TimeDelta = TimeDelta::seconds(30);
/// The longest pause that a provider may ask for; one that asks for more is tried earlier.
pub const MAX_RETRY_AFTER: TimeDelta = TimeDelta::hours(1);
/// The pause before a call that was not made is tried again.
const AFTER_NOT_SENT: TimeDelta = TimeDelta::seconds(1);

/// One outcome, and the delivery as it is stored when the outcome is written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OutcomeFacts {
    /// How the attempt ended.
    pub outcome: Outcome,
    /// What the refusal means, where it was refused.
    pub refusal: Option<FailureClass>,
    /// How long the provider asked to wait, where it did.
    pub retry_after: Option<TimeDelta>,
    /// Whether the attempt is still the delivery's open one. If not, its lease was lost and the outcome is evidence only.
    pub token_holds: bool,
    /// The delivery's work.
    pub work: Work,
    /// The delivery's evidence: receipts may have outrun the outcome.
    pub evidence: Evidence,
    /// Attempts that ended before this one, whatever came of them.
    pub attempts: u32,
    /// Of these, those that count: temporary refusals and unknown outcomes.
    pub failures: u32,
    /// The last attempt of which a receipt said that it failed for the moment, counted from 1; 0: none. It may be this one.
    pub refuted: u32,
    /// The answer of [`super::wanted_later`].
    pub wanted: Result<(), NotWanted>,
    /// What the connector can do after an unknown outcome.
    pub after_unknown: AfterUnknown,
    /// The policy's [`super::Policy::at_least_once`].
    pub at_least_once: bool,
    /// Whether the step's wait runs already.
    pub started: bool,
    /// A random number in `[0, 1)`.
    pub jitter: f64,
}

/// What is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutcomeDecision {
    /// The delivery's work.
    pub work: Work,
    /// The delivery's evidence.
    pub evidence: Evidence,
    /// What the failure means, where the delivery failed for good now.
    pub failure: Option<FailureClass>,
    /// Where the delivery was queued again: how long until it is tried.
    pub requeue_after: Option<TimeDelta>,
    /// Whether the provider is to be asked what became of the call: before a repeat, else before the step is left.
    pub ask: bool,
    /// Whether the attempt is one that counts: `failures` rises by one.
    pub counts: bool,
    /// Whether the step's wait starts now.
    pub arm_wait: bool,
    /// Whether [`super::decide()`] is to be asked at once: the step succeeded, or it failed for good.
    pub step_due_now: bool,
    /// Whether the address is to be opted out of the channel type.
    pub opt_out: bool,
    /// Whether the channel is to be parked.
    pub park_channel: bool,
}

/// What the outcome of an attempt leads to.
#[must_use]
pub fn after_outcome(step: &Step, facts: &OutcomeFacts) -> OutcomeDecision {
    if !facts.token_holds {
        return late_outcome(step, facts);
    }
    match facts.outcome {
        Outcome::Accepted | Outcome::Unknown if facts.refuted > facts.attempts => failed_since(step, facts),
        Outcome::Accepted => learn(step, facts, Evidence::Sent, Work::Done),
        Outcome::Refused => refused(step, facts, facts.refusal.unwrap_or(FailureClass::Permanent)),
        Outcome::NotSent if facts.free_attempts() < MAX_FREE_ATTEMPTS => {
            again_or_end(step, facts, facts.pause(AFTER_NOT_SENT, facts.free_attempts()))
        }
        Outcome::NotSent => fail(step, facts, FailureClass::Technical),
        Outcome::Unknown => unknown(step, facts),
    }
}

/// What the provider's answer to our question leads to: `has` says whether it has the message.
///
/// "Has not" lets a queued repeat go; it queues none, because the request may still be on its way.
#[must_use]
pub fn after_asked(step: &Step, facts: &OutcomeFacts, has: bool) -> OutcomeDecision {
    if has { late_evidence(step, facts, Evidence::Sent) } else { unchanged(facts) }
}

/// What a lease that ended before the delivery was marked leads to; `lost` counts this one. The third fails the delivery, and
/// its step is due at once: nothing was SENT or UNKNOWN, so no wait would ever end it.
#[must_use]
pub fn after_lost_lease(step: &Step, facts: &OutcomeFacts, lost: u32) -> OutcomeDecision {
    if lost < MAX_LOST_LEASES || facts.work != Work::Queued {
        return unchanged(facts);
    }
    fail(step, facts, FailureClass::Technical)
}

impl OutcomeFacts {
    fn free_attempts(&self) -> u32 {
        self.attempts.saturating_sub(self.failures)
    }

    /// Whether `evidence` forbids a repeat: not where every attempt before this one is known to have failed for the moment.
    fn forbids(&self, evidence: Evidence) -> bool {
        evidence.forbids_repeat_after(self.refuted > 0 && self.refuted >= self.attempts)
    }

    /// The back-off after `before` failures and this one, or the provider's own wish if that is longer.
    fn pause(&self, first: TimeDelta, before: u32) -> TimeDelta {
        let own = backoff::delay(first, backoff::CAP.max(first), before.saturating_add(1), self.jitter);
        self.retry_after.map_or(own, |asked| asked.min(MAX_RETRY_AFTER).max(own))
    }
}

fn unchanged(facts: &OutcomeFacts) -> OutcomeDecision {
    OutcomeDecision {
        work: facts.work,
        evidence: facts.evidence,
        failure: None,
        requeue_after: None,
        ask: false,
        counts: false,
        arm_wait: false,
        step_due_now: false,
        opt_out: false,
        park_channel: false,
    }
}

/// The attempt is over and `new` was learnt.
fn learn(step: &Step, facts: &OutcomeFacts, new: Evidence, work: Work) -> OutcomeDecision {
    let evidence = facts.evidence.merge(new);
    let sent = evidence >= Evidence::Sent && evidence != Evidence::Failed;
    OutcomeDecision {
        work,
        evidence,
        arm_wait: !facts.started && evidence.starts_wait(),
        step_due_now: (sent && step.success == Success::Sent)
            || (evidence == Evidence::Failed && step.on_failure == OnFailure::Now),
        ..unchanged(facts)
    }
}

/// The call was taken, or may have been, and a receipt that outran its outcome said that it failed for the moment.
fn failed_since(step: &Step, facts: &OutcomeFacts) -> OutcomeDecision {
    let new = if facts.outcome == Outcome::Accepted { Evidence::Sent } else { Evidence::Unknown };
    let known = OutcomeDecision { counts: true, ..learn(step, facts, new, Work::Done) };
    match facts.wanted {
        Ok(()) if known.evidence <= Evidence::Sent && facts.failures + 1 < step.attempts => {
            let pause = facts.pause(step.every, facts.failures);
            OutcomeDecision { work: Work::Queued, requeue_after: Some(pause), ..known }
        }
        Ok(()) | Err(_) => known,
    }
}

fn refused(step: &Step, facts: &OutcomeFacts, class: FailureClass) -> OutcomeDecision {
    match class {
        FailureClass::Throttled if facts.free_attempts() < MAX_FREE_ATTEMPTS => {
            again_or_end(step, facts, facts.pause(step.every, facts.free_attempts()))
        }
        FailureClass::Temporary if facts.failures + 1 < step.attempts => {
            let decision = again_or_end(step, facts, facts.pause(step.every, facts.failures));
            OutcomeDecision { counts: true, ..decision }
        }
        FailureClass::Temporary => OutcomeDecision { counts: true, ..fail(step, facts, class) },
        FailureClass::OptOut => OutcomeDecision { opt_out: true, ..fail(step, facts, class) },
        FailureClass::ParkChannel => OutcomeDecision { park_channel: true, ..fail(step, facts, class) },
        FailureClass::Throttled
        | FailureClass::FallOver
        | FailureClass::Permanent
        | FailureClass::NeedsTemplate
        | FailureClass::Technical => fail(step, facts, class),
    }
}

/// The call was made and its end is not known: that starts the wait, as SENT would.
fn unknown(step: &Step, facts: &OutcomeFacts) -> OutcomeDecision {
    let ask = facts.after_unknown == AfterUnknown::Ask && !facts.forbids(facts.evidence);
    let known = OutcomeDecision { counts: true, ask, ..learn(step, facts, Evidence::Unknown, Work::Done) };
    let may_repeat = facts.after_unknown.repeats_safely() || facts.at_least_once;
    if may_repeat && facts.failures + 1 < step.attempts && facts.wanted.is_ok() && !facts.forbids(known.evidence) {
        let pause = facts.pause(step.every, facts.failures);
        let settled = match facts.after_unknown {
            AfterUnknown::Ask | AfterUnknown::Echo => pause.max(SETTLING),
            AfterUnknown::Nothing | AfterUnknown::Key | AfterUnknown::Resend => pause,
        };
        return OutcomeDecision { work: Work::Queued, requeue_after: Some(settled), ..known };
    }
    known
}

/// Queues the delivery again if it is wanted and nothing is known that forbids it; else its work ends here.
fn again_or_end(step: &Step, facts: &OutcomeFacts, pause: TimeDelta) -> OutcomeDecision {
    if facts.forbids(facts.evidence) {
        return learn(step, facts, facts.evidence, Work::Done);
    }
    match facts.wanted {
        Ok(()) | Err(NotWanted::Paused) => {
            OutcomeDecision { work: Work::Queued, requeue_after: Some(pause), ..unchanged(facts) }
        }
        Err(why) => {
            // As if it had been taken back a moment earlier, while it was queued.
            let ended = why.event().and_then(|event| Work::Queued.after(event)).unwrap_or(Work::Done);
            OutcomeDecision { work: ended, step_due_now: true, ..unchanged(facts) }
        }
    }
}

/// The delivery failed for good, unless another attempt of it was taken: refusing a copy does not undo the original.
fn fail(step: &Step, facts: &OutcomeFacts, class: FailureClass) -> OutcomeDecision {
    if facts.forbids(facts.evidence) {
        return learn(step, facts, facts.evidence, Work::Done);
    }
    let at_once = class == FailureClass::Technical || step.on_failure == OnFailure::Now;
    OutcomeDecision {
        work: Work::Done,
        evidence: Evidence::Failed,
        failure: Some(class),
        arm_wait: !facts.started && !at_once,
        step_due_now: at_once,
        ..unchanged(facts)
    }
}

/// An outcome whose lease was lost: the sweep has recorded UNKNOWN, and a repeat may be queued or under way.
fn late_outcome(step: &Step, facts: &OutcomeFacts) -> OutcomeDecision {
    let decision = match (facts.outcome, facts.refusal) {
        (Outcome::Accepted, _) => late_evidence(step, facts, Evidence::Sent),
        (Outcome::Refused, Some(FailureClass::Temporary | FailureClass::Throttled))
        | (Outcome::NotSent | Outcome::Unknown, _) => unchanged(facts),
        // A refusal of an older attempt says nothing of the repeat that is under way.
        (Outcome::Refused, _) if facts.work.is_open() => unchanged(facts),
        (Outcome::Refused, class) => fail(step, facts, class.unwrap_or(FailureClass::Permanent)),
    };
    let refusal = facts.refusal.filter(|_| facts.outcome == Outcome::Refused);
    OutcomeDecision {
        work: if facts.work.is_open() { decision.work } else { facts.work },
        opt_out: refusal == Some(FailureClass::OptOut),
        park_channel: refusal == Some(FailureClass::ParkChannel),
        ..decision
    }
}

/// Evidence that did not come with the open attempt: it takes a queued repeat back and leaves one under way alone.
fn late_evidence(step: &Step, facts: &OutcomeFacts, new: Evidence) -> OutcomeDecision {
    let takes_back = facts.work == Work::Queued && facts.forbids(facts.evidence.merge(new));
    let work = if takes_back { facts.work.after(WorkEvent::Finish).unwrap_or(facts.work) } else { facts.work };
    learn(step, facts, new, work)
}

#[cfg(test)]
mod tests;
