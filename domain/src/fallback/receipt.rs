//! What a receipt does to its delivery: the highest rank wins, late evidence lifts, nothing goes back. A failure for the moment
//! (a busy line, a handset that is off) is tried again inside the step while attempts are left.

use super::{
    outcome::MAX_FREE_ATTEMPTS,
    policy::{OnFailure, Step, Success},
    wanted::NotWanted,
};
use crate::{
    backoff,
    delivery::{Evidence, FailureClass, Work, WorkEvent},
};
use chrono::TimeDelta;

/// One receipt, and the delivery as it is stored when the receipt is merged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReceiptFacts {
    /// What the receipt says: SENT, FAILED, DELIVERED or READ.
    pub says: Evidence,
    /// What its failure means, where it says FAILED.
    pub failure: Option<FailureClass>,
    /// The attempt that it speaks of, counted from 1.
    pub attempt: u32,
    /// The delivery's attempts so far, an open one included.
    pub attempts: u32,
    /// Of these, those that count against the step's: temporary failures and unknown outcomes.
    pub failures: u32,
    /// The last attempt of which a receipt said that it failed for the moment; 0: none.
    pub refuted: u32,
    /// The delivery's work.
    pub work: Work,
    /// The delivery's evidence.
    pub evidence: Evidence,
    /// Whether the delivery's wait was started.
    pub started: bool,
    /// Whether the delivery's step was left, or its notification is over.
    pub left: bool,
    /// The answer of [`super::wanted_later`].
    pub wanted: Result<(), NotWanted>,
    /// A random number in `[0, 1)`.
    pub jitter: f64,
}

/// What is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiptDecision {
    /// The delivery's work.
    pub work: Work,
    /// The delivery's evidence.
    pub evidence: Evidence,
    /// What the failure means, where the delivery has failed by this receipt.
    pub failure: Option<FailureClass>,
    /// Whether the attempt failed for the moment and the step has attempts left: what was known of it forbids no repeat any more.
    pub refuted: bool,
    /// Where the delivery is queued again: how long until it is tried. A failure that outruns the outcome of its own call queues
    /// nothing; the outcome will.
    pub requeue_after: Option<TimeDelta>,
    /// Whether the attempt that was queued again is one that counts: `failures` rises by one.
    pub counts: bool,
    /// Whether the evidence rose.
    pub lifted: bool,
    /// Whether it rose after its step was left: to be recorded as LATE and counted.
    pub late: bool,
    /// Whether the step's wait starts now, because the receipt outran the outcome.
    pub arm_wait: bool,
    /// Whether [`super::decide()`] is to be asked at once.
    pub step_due_now: bool,
    /// Whether the address is to be opted out of the channel type.
    pub opt_out: bool,
    /// Whether the channel is to be parked.
    pub park_channel: bool,
}

/// What a receipt leads to.
///
/// A failure counts only when it speaks of the last attempt, or when no repeat is queued or under way: a repeat may succeed
/// where an older attempt failed. What is SENDING stays so: its outcome, or the sweep of its attempt, ends it.
#[must_use]
pub fn after_receipt(step: &Step, facts: &ReceiptFacts) -> ReceiptDecision {
    if let Some(again) = failed_for_the_moment(step, facts) {
        return again;
    }
    let evidence = if facts.counts() { facts.evidence.merge(facts.says) } else { facts.evidence };
    let lifted = evidence > facts.evidence;
    let failed = lifted && evidence == Evidence::Failed;
    let takes_back = facts.work == Work::Queued && evidence.forbids_repeat_after(facts.nothing_stands());
    let said = facts.failure.filter(|_| facts.says == Evidence::Failed);
    let at_once = step.on_failure == OnFailure::Now || said == Some(FailureClass::Technical);
    ReceiptDecision {
        work: if takes_back { facts.work.after(WorkEvent::Finish).unwrap_or(facts.work) } else { facts.work },
        evidence,
        failure: if failed { Some(said.unwrap_or(FailureClass::Permanent)) } else { None },
        lifted,
        late: lifted && facts.left,
        arm_wait: lifted && !facts.left && !facts.started && (evidence.starts_wait() || (failed && !at_once)),
        step_due_now: lifted && (is_news(step.success, evidence) || (failed && at_once && !facts.left)),
        opt_out: said == Some(FailureClass::OptOut),
        park_channel: said == Some(FailureClass::ParkChannel),
        ..unchanged(facts)
    }
}

impl ReceiptFacts {
    /// Whether the receipt says anything of the delivery as a whole. A failure that was taken in already does not.
    const fn counts(&self) -> bool {
        match self.says {
            Evidence::Failed => self.attempt > self.refuted && (self.attempt == self.attempts || !self.work.is_open()),
            Evidence::None | Evidence::Unknown | Evidence::Sent | Evidence::Delivered | Evidence::Read => true,
        }
    }

    /// Whether every attempt that ended is known to have failed for the moment since.
    const fn nothing_stands(&self) -> bool {
        let open = if matches!(self.work, Work::Sending) { 1 } else { 0 };
        self.refuted > 0 && self.refuted + open >= self.attempts
    }
}

const fn unchanged(facts: &ReceiptFacts) -> ReceiptDecision {
    ReceiptDecision {
        work: facts.work,
        evidence: facts.evidence,
        failure: None,
        refuted: false,
        requeue_after: None,
        counts: false,
        lifted: false,
        late: false,
        arm_wait: false,
        step_due_now: false,
        opt_out: false,
        park_channel: false,
    }
}

/// A failure for the moment of the last attempt, while it may still be repeated: what is known stays, and the delivery is queued
/// again. `None` where the receipt is another, or ends the delivery.
fn failed_for_the_moment(step: &Step, facts: &ReceiptFacts) -> Option<ReceiptDecision> {
    let of_last = facts.attempt == facts.attempts && facts.attempt > facts.refuted;
    let standing = matches!(facts.work, Work::Done | Work::Sending) && facts.evidence <= Evidence::Sent;
    if facts.says != Evidence::Failed || !of_last || !standing || facts.wanted.is_err() {
        return None;
    }
    let free = facts.attempts.saturating_sub(facts.failures);
    let (before, counts) = match facts.failure? {
        FailureClass::Temporary if facts.failures + 1 < step.attempts => (facts.failures, true),
        FailureClass::Throttled if free < MAX_FREE_ATTEMPTS => (free.saturating_sub(1), false),
        FailureClass::Temporary
        | FailureClass::Throttled
        | FailureClass::FallOver
        | FailureClass::Permanent
        | FailureClass::ParkChannel
        | FailureClass::OptOut
        | FailureClass::NeedsTemplate
        | FailureClass::Technical => return None,
    };
    let noted = ReceiptDecision { refuted: true, ..unchanged(facts) };
    if facts.work == Work::Sending {
        return Some(noted);
    }
    let pause = backoff::delay(step.every, backoff::CAP.max(step.every), before.saturating_add(1), facts.jitter);
    Some(ReceiptDecision { work: Work::Queued, requeue_after: Some(pause), counts, ..noted })
}

/// Whether this evidence can end a step that asks for this success, or moves its timer (DELIVERED, while READ is asked for).
const fn is_news(success: Success, evidence: Evidence) -> bool {
    match (success, evidence) {
        (Success::Sent, Evidence::Sent | Evidence::Delivered | Evidence::Read)
        | (Success::Delivered | Success::Read, Evidence::Delivered | Evidence::Read) => true,
        (Success::Sent, Evidence::None | Evidence::Unknown | Evidence::Failed)
        | (
            Success::Delivered | Success::Read,
            Evidence::None | Evidence::Unknown | Evidence::Sent | Evidence::Failed,
        )
        | (Success::Replied | Success::Acknowledged, _) => false,
    }
}

#[cfg(test)]
mod tests;
