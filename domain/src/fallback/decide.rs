//! What a timer that fires, or evidence that changed, leads to. Read with section "When to fall back" of the architecture.
//!
//! The caller has locked the notification and reads in a statement of its own: a decision on an earlier read could push a
//! notification that was reached back to a later step. [`super::enter()`] says what the step advanced to becomes.

use super::policy::{OnFailure, Policy, Step, Success};
use crate::{
    delivery::{Evidence, FailureClass, Work},
    notification::{Event, Reason, State},
};
use chrono::{DateTime, TimeDelta, Utc};

/// How long evidence that is stored and not yet merged holds a step back, at most.
pub const HOLD: TimeDelta = TimeDelta::seconds(60);

/// The time, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// On the wall: for `valid_until` and stored evidence.
    pub real: DateTime<Utc>,
    /// In the send group, whose clock stands still while it is paused: for starts, waits and every timer.
    pub group: DateTime<Utc>,
}

/// A notification, as far as the decision asks. Times of waits are in the group's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotificationFacts {
    /// Its state.
    pub state: State,
    /// The step that it is at, counted from 0.
    pub step: usize,
    /// The generation of its timer: raised whenever it goes to another step.
    pub generation: i32,
    /// When the step's timer stands, if it has one. In the group's clock. A wait does not end before the step's `wait` is over
    /// since its start, even where the timer stands earlier (DELIVERED counts from then on); a timer that stands later, after a
    /// catch-up, is obeyed.
    pub due: Option<DateTime<Utc>>,
    /// Every delivery of it, of steps that were left too.
    pub deliveries: Vec<DeliveryFacts>,
    /// Since when a receipt of it is stored and not merged, or an inbound message of its contact not processed. Real time.
    pub unmerged_since: Option<DateTime<Utc>>,
    /// Until when it may be sent. Real time.
    pub valid_until: Option<DateTime<Utc>>,
    /// Whether its group stands still.
    pub paused: bool,
}

/// One delivery of a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliveryFacts {
    /// Its step, counted from 0.
    pub step: usize,
    /// Where the work stands.
    pub work: Work,
    /// What is known.
    pub evidence: Evidence,
    /// What its failure means, where the evidence is FAILED.
    pub failure: Option<FailureClass>,
    /// Why it was skipped or given up, where that is stored.
    pub reason: Option<Reason>,
    /// When its first attempt was SENT or UNKNOWN. In the group's clock.
    pub started: Option<DateTime<Utc>>,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Nothing: the timer is stale, or the notification is over and nothing lifts it.
    Nothing,
    /// Ask again then, because what is stored and not merged may change the answer. In the group's clock.
    Hold {
        /// When; at most [`HOLD`] from now.
        until: DateTime<Utc>,
    },
    /// The step goes on: the timer stands at this time. In the group's clock.
    KeepWaiting {
        /// When to ask again.
        until: DateTime<Utc>,
    },
    /// Set this state; take back what is queued.
    Succeeded {
        /// The state: REACHED.
        state: State,
        /// The step that succeeded.
        step: usize,
        /// Whether the step had been left, or the notification was over: to be recorded as LATE.
        late: bool,
    },
    /// The deferral is over: enter this step.
    Enter {
        /// The step.
        step: usize,
    },
    /// Leave the step, take back what it has queued, raise the generation, and enter from this step on.
    Advance {
        /// The next step; always beyond the current one, and one that exists.
        to: usize,
        /// Why the current step was left.
        reason: Reason,
    },
    /// The last step was left: the notification is EXHAUSTED.
    Exhausted {
        /// Why it was left.
        reason: Reason,
    },
    /// The notification is EXPIRED.
    Expired,
}

/// Decides what becomes of a notification. `timer` is the generation of the timer that fired, or `None` when evidence changed.
///
/// In this order: a stale timer does nothing; success counts, also late and after the end; a failure for good, the end of the
/// wait or of the validity leaves the step, unless stored evidence holds it back or its group stands still.
#[must_use]
pub fn decide(policy: &Policy, facts: &NotificationFacts, timer: Option<i32>, now: Now) -> Decision {
    if timer.is_some_and(|generation| generation != facts.generation) {
        return Decision::Nothing;
    }
    if let Some(succeeded) = success(policy, facts, now) {
        return succeeded;
    }
    if facts.state.is_finished() {
        return Decision::Nothing;
    }
    restrain(facts, current_step(policy, facts, now), now)
}

/// The latest step whose success is met, if that changes the state.
fn success(policy: &Policy, facts: &NotificationFacts, now: Now) -> Option<Decision> {
    let state = facts.state.after(Event::StepSucceeded).filter(|state| *state != facts.state)?;
    let met = |d: &&DeliveryFacts| policy.steps.get(d.step).is_some_and(|step| step.is_met_by(d, now.group));
    let step = facts.deliveries.iter().filter(met).map(|d| d.step).max()?;
    Some(Decision::Succeeded { state, step, late: step != facts.step || facts.state.is_finished() })
}

impl Step {
    /// Whether what is known of a delivery of this step meets the step's success. An answer is no evidence: a step that asks
    /// for one is ended by [`super::answer`].
    #[must_use]
    pub fn is_met_by(&self, delivery: &DeliveryFacts, now: DateTime<Utc>) -> bool {
        let evidence = delivery.evidence;
        match self.success {
            Success::Sent => evidence >= Evidence::Sent && evidence != Evidence::Failed,
            Success::Delivered => evidence >= Evidence::Delivered,
            Success::Read => match evidence {
                Evidence::Read => true,
                Evidence::Delivered => self.delivered_counts_from(delivery).is_some_and(|from| from <= now),
                Evidence::None | Evidence::Unknown | Evidence::Sent | Evidence::Failed => false,
            },
            Success::Replied | Success::Acknowledged => false,
        }
    }

    /// From when on DELIVERED counts as READ.
    fn delivered_counts_from(&self, delivery: &DeliveryFacts) -> Option<DateTime<Utc>> {
        delivery.started?.checked_add_signed(self.read_fallback?)
    }
}

/// What the current step asks for, before anything restrains it.
fn current_step(policy: &Policy, facts: &NotificationFacts, now: Now) -> Decision {
    let expired = facts.valid_until.is_some_and(|until| until <= now.real);
    let Some(step) = policy.steps.get(facts.step) else {
        return Decision::Exhausted { reason: Reason::NoStepLeft };
    };
    let of_step = facts.deliveries.iter().filter(|d| d.step == facts.step);
    let Some(delivery) = of_step.max_by_key(|d| (d.work.is_open(), d.evidence)) else {
        return deferred(facts, expired, now);
    };
    match stand(step, delivery) {
        Stand::Failed { reason, at_once: true } => leave(policy, facts, expired, reason),
        Stand::Failed { reason, at_once: false } | Stand::Waits { reason } => {
            match wait_end(step, facts, delivery) {
                Some(due) if due <= now.group => leave(policy, facts, expired, reason),
                Some(due) => Decision::KeepWaiting { until: next_look(step, delivery, due, now) },
                // A failure that should wait, of which no wait was armed: nothing would ever end it.
                None if matches!(stand(step, delivery), Stand::Failed { .. }) => leave(policy, facts, expired, reason),
                None => not_started(facts, delivery, expired, now),
            }
        }
    }
}

/// When the wait of the current step ends, if it runs.
fn wait_end(step: &Step, facts: &NotificationFacts, delivery: &DeliveryFacts) -> Option<DateTime<Utc>> {
    delivery.started.and_then(|started| started.checked_add_signed(step.wait)).max(facts.due)
}

/// How the current step's delivery stands.
enum Stand {
    /// It failed for good.
    Failed { reason: Reason, at_once: bool },
    /// It may still succeed; the reason is the one for which it is left at the end of the wait.
    Waits { reason: Reason },
}

fn stand(step: &Step, delivery: &DeliveryFacts) -> Stand {
    let given_up = |reason| Stand::Failed { reason: delivery.reason.unwrap_or(reason), at_once: true };
    match (delivery.work, delivery.evidence) {
        (Work::Skipped, Evidence::None) => given_up(Reason::OptedOut),
        (Work::Expired, Evidence::None) => given_up(Reason::ValidityPassed),
        (Work::Cancelled | Work::Done, Evidence::None) => given_up(Reason::TakenBack),
        (Work::Done | Work::Skipped | Work::Cancelled | Work::Expired, Evidence::Failed) => {
            let reason = delivery.reason.unwrap_or(failure_reason(delivery.failure));
            let technical = delivery.failure == Some(FailureClass::Technical);
            Stand::Failed { reason, at_once: technical || step.on_failure == OnFailure::Now }
        }
        (Work::Queued | Work::Sending, Evidence::None) => Stand::Waits { reason: Reason::ValidityPassed },
        (Work::Queued | Work::Sending, Evidence::Failed) => Stand::Waits { reason: failure_reason(delivery.failure) },
        (_, Evidence::Unknown) => Stand::Waits { reason: Reason::UnknownOutcome },
        (_, Evidence::Sent) => Stand::Waits { reason: silence(step.success, Reason::NotDelivered) },
        (_, Evidence::Delivered | Evidence::Read) => Stand::Waits { reason: silence(step.success, Reason::NotRead) },
    }
}

/// Why a step that waits is left: a step that asks for an answer misses that, any other what its receipts did not say.
const fn silence(success: Success, receipts: Reason) -> Reason {
    match success {
        Success::Replied | Success::Acknowledged => Reason::NoReply,
        Success::Sent | Success::Delivered | Success::Read => receipts,
    }
}

/// Why a delivery failed, in the words of the notification.
const fn failure_reason(failure: Option<FailureClass>) -> Reason {
    match failure {
        Some(FailureClass::Temporary | FailureClass::Throttled) => Reason::AttemptsUsedUp,
        Some(FailureClass::ParkChannel) => Reason::ChannelParked,
        Some(FailureClass::OptOut) => Reason::OptedOut,
        Some(FailureClass::NeedsTemplate) => Reason::WindowClosed,
        Some(FailureClass::Technical) => Reason::TechnicalFailure,
        Some(FailureClass::FallOver | FailureClass::Permanent) | None => Reason::ProviderRefused,
    }
}

/// A step without a delivery was put off; when its time has come it is entered.
fn deferred(facts: &NotificationFacts, expired: bool, now: Now) -> Decision {
    match facts.due {
        _ if expired => Decision::Expired,
        Some(due) if due > now.group => Decision::KeepWaiting { until: due },
        Some(_) | None => Decision::Enter { step: facts.step },
    }
}

/// Nothing of the step is known to be on the wire: its wait has not begun, and only its validity can end it.
fn not_started(facts: &NotificationFacts, delivery: &DeliveryFacts, expired: bool, now: Now) -> Decision {
    match (expired, facts.valid_until) {
        (true, _) if delivery.work == Work::Queued => Decision::Expired,
        // Its call is under way; the outcome starts the wait, or makes the step due.
        (true, _) => Decision::KeepWaiting { until: now.group + HOLD },
        (false, Some(until)) => Decision::KeepWaiting { until: now.group + (until - now.real) },
        (false, None) => Decision::Nothing,
    }
}

fn leave(policy: &Policy, facts: &NotificationFacts, expired: bool, reason: Reason) -> Decision {
    let to = facts.step + 1;
    if expired {
        Decision::Expired
    } else if to < policy.steps.len() {
        Decision::Advance { to, reason }
    } else {
        Decision::Exhausted { reason }
    }
}

/// The end of the wait, or the time from which DELIVERED counts, whichever is asked for first.
fn next_look(step: &Step, delivery: &DeliveryFacts, due: DateTime<Utc>, now: Now) -> DateTime<Utc> {
    let counts = match (step.success, delivery.evidence) {
        (Success::Read, Evidence::Delivered) => step.delivered_counts_from(delivery),
        _ => None,
    };
    counts.filter(|at| *at > now.group).map_or(due, |at| at.min(due))
}

/// Holds back what cannot be undone while evidence is stored, and what would send while the group stands still.
fn restrain(facts: &NotificationFacts, decision: Decision, now: Now) -> Decision {
    let (ends_step, sends) = match decision {
        Decision::Nothing | Decision::Hold { .. } | Decision::KeepWaiting { .. } | Decision::Succeeded { .. } => {
            (false, false)
        }
        Decision::Enter { step } => (step > 0, true),
        Decision::Advance { .. } => (true, true),
        Decision::Exhausted { .. } | Decision::Expired => (true, false),
    };
    let left_of_hold = facts.unmerged_since.map(|since| (since + HOLD - now.real).min(HOLD));
    match left_of_hold {
        Some(left) if ends_step && left > TimeDelta::zero() => Decision::Hold { until: now.group + left },
        // The group's clock stands still: this timer fires when the group goes on, and not before.
        _ if sends && facts.paused => Decision::KeepWaiting { until: now.group },
        _ => decision,
    }
}

#[cfg(test)]
mod tests;
