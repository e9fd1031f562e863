//! What a receipt does to its delivery: the highest rank wins, late evidence lifts, nothing goes back.

use super::policy::{OnFailure, Step, Success};
use crate::delivery::{Evidence, FailureClass, Work, WorkEvent};

/// One receipt, and the delivery as it is stored when the receipt is merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiptFacts {
    /// What the receipt says: SENT, FAILED, DELIVERED or READ.
    pub says: Evidence,
    /// What its failure means, where it says FAILED.
    pub failure: Option<FailureClass>,
    /// Whether it speaks of the delivery's last attempt; where that is not known, no.
    pub of_last_attempt: bool,
    /// The delivery's work.
    pub work: Work,
    /// The delivery's evidence.
    pub evidence: Evidence,
    /// Whether the delivery's wait was started.
    pub started: bool,
    /// Whether the delivery's step was left, or its notification is over.
    pub left: bool,
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
    let counts = facts.says != Evidence::Failed || facts.of_last_attempt || !facts.work.is_open();
    let evidence = if counts { facts.evidence.merge(facts.says) } else { facts.evidence };
    let lifted = evidence > facts.evidence;
    let failed = lifted && evidence == Evidence::Failed;
    let takes_back = facts.work == Work::Queued && evidence.forbids_repeat();
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
    }
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
