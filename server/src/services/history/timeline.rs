//! The timeline of a notification: what happened, in order, told from the facts that are stored. Facts and not events are
//! read, since events are given up after a while.

use chrono::{DateTime, Utc};
use domain::{
    channel::ChannelType,
    delivery::{Evidence, Work},
    notification::{Reason, State},
};
use uuid::Uuid;

use super::{Delivery, ListedRow, Notification, channel_type_of, step_of};
use crate::channels::Refusal;

/// What can happen to a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It was created.
    Created,
    /// A step was skipped.
    StepSkipped,
    /// A step waits for the end of quiet hours, or of an outage.
    StepDeferred,
    /// A step was begun.
    StepStarted,
    /// A provider was called.
    Attempted,
    /// A provider said something of an attempt.
    Receipt,
    /// The attempts of a step failed.
    StepFailed,
    /// The wait of a step was over without its success.
    StepTimedOut,
    /// The success of a step was reached.
    StepSucceeded,
    /// The person answered.
    Reply,
    /// The person was put on a call list.
    Listed,
    /// Its traffic was paused.
    Paused,
    /// It came to its end.
    Ended,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Happened {
    /// When.
    pub at: DateTime<Utc>,
    /// What kind of thing.
    pub kind: Kind,
    /// The step, where it concerns one.
    pub step: Option<i16>,
    /// The delivery, where it concerns one.
    pub delivery: Option<Uuid>,
    /// The medium, where it concerns one.
    pub channel_type: Option<ChannelType>,
    /// What is known of the delivery from then on.
    pub evidence: Option<Evidence>,
    /// Why a step was skipped.
    pub reason: Option<Reason>,
    /// Whether it came after its step was left.
    pub late: bool,
    /// The same in a sentence, without addresses.
    pub description: String,
}

impl Happened {
    /// What happened at one moment: first the creation, then step by step, at last what concerns the whole.
    fn place(&self) -> (DateTime<Utc>, u8, Option<i16>, Kind) {
        let part = match (self.kind, self.step) {
            (Kind::Created, _) => 0,
            (_, Some(_)) => 1,
            (_, None) => 2,
        };
        (self.at, part, self.step, self.kind)
    }
}

/// A step that could not apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The step.
    pub step: i16,
    /// Why.
    pub reason: Option<Reason>,
    /// The same in a sentence.
    pub description: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// What could not apply, and all that happened, in order.
pub fn of(
    notification: &Notification,
    deliveries: &[Delivery],
    listed: Option<&ListedRow>,
    answer: Option<(DateTime<Utc>, ChannelType)>,
) -> (Vec<Skipped>, Vec<Happened>) {
    let row = &notification.row;
    let mut told = Told { notification, entries: Vec::new(), skipped: Vec::new() };
    told.add(row.created_at, Kind::Created, "it was created");
    for (index, delivery) in deliveries.iter().enumerate() {
        // A step was left when the next one was written, or when the whole ended.
        let left = deliveries.get(index + 1).map(|next| next.row.created_at);
        let left = left.or(listed.map(|l| l.created_at)).or_else(|| row.state.is_finished().then_some(row.changed_at));
        told.delivery(delivery, left);
    }
    told.now(listed, answer);
    told.entries.sort_by_key(Happened::place);
    (told.skipped, told.entries)
}

/// The number of a step as people count it: from 1. Fields of the contract count from 0.
const fn counted(step: i16) -> i32 {
    step as i32 + 1
}

/// Whether a code is our own word: the provider was not asked.
fn is_own(code: Option<&str>) -> bool {
    code.is_some_and(|code| code.starts_with(Refusal::OWN))
}

/// A reason in a sentence.
#[must_use]
pub const fn sentence(reason: Reason) -> &'static str {
    match reason {
        Reason::OptedOut => "the person asked not to be written to",
        Reason::NoAddress => "the person has no address that this channel reaches",
        Reason::Suppressed => "the address is suppressed: it does not exist any more",
        Reason::QuietHours => "it is quiet time for this person",
        Reason::FrequencyCap => "the address has had as many messages as it may have for now",
        Reason::Duplicate => "the same message is already on its way to this person",
        Reason::ChannelDisabled => "the channel is disabled, or does not exist",
        Reason::ChannelParked => "the channel waits for a person to mend it",
        Reason::ProviderDown => "none of the channel's providers works at present",
        Reason::NoTemplateContent => "the template says nothing for this channel",
        Reason::NoTemplateLanguage => "the template has neither the person's language nor its own default one",
        Reason::TemplateVariableMissing => "a variable of the template has no value",
        Reason::WindowClosed => "the service window is closed, and the template has no approved content",
        Reason::ProviderRefused => "the provider refused the message or the address for good",
        Reason::AttemptsUsedUp => "the provider's temporary refusals used up the attempts",
        Reason::LeasesLost => "our workers lost it three times",
        Reason::TechnicalFailure => "something of ours failed before the wire",
        Reason::ValidityPassed => "it was not sent while it was valid",
        Reason::NoReply => "no answer came in time",
        Reason::NotDelivered => "nothing proved in time that it was delivered",
        Reason::NotRead => "it was not read in time",
        Reason::UnknownOutcome => "the end of a call is not known, and nothing was heard of it in time",
        Reason::TakenBack => "it was taken back before it was sent",
        Reason::OnCallList => "no channel reached the person, who now stands on a call list",
        Reason::NoStepLeft => "the policy has no step after this one",
        Reason::CancelledByOwner => "its owner cancelled it",
    }
}

struct Told<'a> {
    notification: &'a Notification,
    entries: Vec<Happened>,
    skipped: Vec<Skipped>,
}

impl Told<'_> {
    fn add(&mut self, at: DateTime<Utc>, kind: Kind, description: impl Into<String>) -> Option<&mut Happened> {
        self.entries.push(Happened {
            at,
            kind,
            step: None,
            delivery: None,
            channel_type: None,
            evidence: None,
            reason: None,
            late: false,
            description: description.into(),
        });
        self.entries.last_mut()
    }

    fn of_delivery(
        &mut self,
        delivery: &Delivery,
        at: DateTime<Utc>,
        kind: Kind,
        words: impl Into<String>,
    ) -> Option<&mut Happened> {
        let row = &delivery.row;
        let said = step_of(self.notification, row.step).and_then(|s| channel_type_of(&s.step));
        let entry = self.add(at, kind, words)?;
        entry.step = Some(row.step);
        entry.delivery = row.address.is_some().then_some(row.id);
        entry.channel_type = row.channel.as_ref().map(|(_, _, channel_type)| *channel_type).or(said);
        Some(entry)
    }

    fn delivery(&mut self, delivery: &Delivery, left: Option<DateTime<Utc>>) {
        let row = &delivery.row;
        let reason: Option<Reason> = row.reason.as_deref().and_then(|r| r.parse().ok());
        let why = reason.map(sentence).unwrap_or_default();
        if row.work == Work::Skipped {
            let description = format!("step {} was skipped: {why}", counted(row.step));
            self.skipped.push(Skipped { step: row.step, reason, description: description.clone(), at: row.created_at });
            if let Some(entry) = self.of_delivery(delivery, row.created_at, Kind::StepSkipped, description) {
                entry.reason = reason;
            }
            return;
        }
        let channel = row.channel.as_ref().map(|(_, slug, _)| slug.as_str()).unwrap_or_default();
        self.of_delivery(
            delivery,
            row.created_at,
            Kind::StepStarted,
            format!("step {} began on {channel}", counted(row.step)),
        );
        self.calls(delivery);
        for receipt in &delivery.receipts {
            let late = if receipt.late { ", after its step was left" } else { "" };
            let words = format!("the provider said {}{late}", receipt.evidence.as_str().to_uppercase());
            if let Some(entry) = self.of_delivery(delivery, receipt.received_at, Kind::Receipt, words) {
                (entry.evidence, entry.late) = (Some(receipt.evidence), receipt.late);
            }
        }
        self.end_of_step(delivery, left);
    }

    fn calls(&mut self, delivery: &Delivery) {
        for attempt in &delivery.attempts {
            let code = attempt.code.as_deref().map(|code| format!(" ({code})")).unwrap_or_default();
            let outcome = attempt.outcome.replace('_', " ").to_uppercase();
            let words = match is_own(attempt.code.as_deref()) {
                true => format!("attempt {} ended before {} was called{code}", attempt.n, attempt.provider),
                false => format!("{} was called, attempt {}: {outcome}{code}", attempt.provider, attempt.n),
            };
            let evidence = match attempt.outcome.as_str() {
                "accepted" => Some(Evidence::Sent),
                "refused" => Some(Evidence::Failed),
                "unknown" => Some(Evidence::Unknown),
                _ => None,
            };
            if let Some(entry) = self.of_delivery(delivery, attempt.started_at, Kind::Attempted, words) {
                entry.evidence = evidence;
            }
        }
        let row = &delivery.row;
        if let (Work::Sending, Some(at)) = (row.work, row.attempt_started_at) {
            let provider = row.open_provider.as_deref().unwrap_or("the provider");
            let words = format!("{provider} is being called, attempt {}", row.attempts);
            self.of_delivery(delivery, at, Kind::Attempted, words);
        }
    }

    /// How the step of a delivery ended, as far as it did.
    fn end_of_step(&mut self, delivery: &Delivery, left: Option<DateTime<Utc>>) {
        let row = &delivery.row;
        let Some(step) = step_of(self.notification, row.step) else { return };
        let asked = match step.step.success {
            domain::fallback::Success::Sent => Some(Evidence::Sent),
            domain::fallback::Success::Delivered => Some(Evidence::Delivered),
            domain::fallback::Success::Read => Some(Evidence::Read),
            domain::fallback::Success::Replied | domain::fallback::Success::Acknowledged => None,
        };
        let proves = |evidence: Evidence| asked.is_some_and(|asked| evidence >= asked && evidence != Evidence::Failed);
        if proves(row.evidence) {
            let receipt = delivery.receipts.iter().find(|r| proves(r.evidence));
            let sent = delivery.attempts.iter().find(|a| a.outcome == "accepted");
            if let Some(at) = receipt.map(|r| r.received_at).or(sent.map(|a| a.ended_at)) {
                let words = format!("step {} reached {}", counted(row.step), step.step.success);
                self.of_delivery(delivery, at, Kind::StepSucceeded, words);
            }
            return;
        }
        let answered = matches!(self.notification.row.state, State::Replied | State::Acknowledged);
        let last = row.step >= self.notification.row.step;
        let Some(at) = left.filter(|_| !(answered && last) && row.attempts > 0) else { return };
        let reason: Option<Reason> = row.reason.as_deref().and_then(|r| r.parse().ok());
        let said = |reason| match reason {
            Reason::ProviderRefused if is_own(row.failure_code.as_deref()) => "it cannot be sent as it is",
            reason => sentence(reason),
        };
        let why = reason.map(|reason| format!(": {}", said(reason))).unwrap_or_default();
        if row.evidence == Evidence::Failed || row.failure_class.is_some() {
            let code = row.failure_code.as_deref().map(|code| format!(" ({code})")).unwrap_or_default();
            self.of_delivery(delivery, at, Kind::StepFailed, format!("step {} failed{code}{why}", counted(row.step)));
        } else {
            let words = format!("step {} waited for {} in vain{why}", counted(row.step), step.step.success);
            self.of_delivery(delivery, at, Kind::StepTimedOut, words);
        }
    }

    /// What is so now, or ended it.
    fn now(&mut self, listed: Option<&ListedRow>, answer: Option<(DateTime<Utc>, ChannelType)>) {
        let notification = self.notification;
        let row = &notification.row;
        let reason: Option<Reason> = row.reason.as_deref().and_then(|r| r.parse().ok());
        if let Some((at, channel_type)) = answer {
            let late = if row.late { ", after its step was left" } else { "" };
            if let Some(entry) = self.add(at, Kind::Reply, format!("the person answered on {channel_type}{late}")) {
                (entry.channel_type, entry.late) = (Some(channel_type), row.late);
            }
        }
        if let Some(list) = listed {
            let words = format!("the person was put on the call list {}", list.call_list);
            if let Some(entry) = self.add(list.created_at, Kind::Listed, words) {
                entry.step = i16::try_from(notification.steps.len()).ok().map(|n| n - 1);
            }
            if let Some(at) = list.mailed_at {
                self.add(at, Kind::Listed, format!("the call list {} was mailed", list.call_list));
            }
            if let Some(at) = list.withdrawn_at {
                self.add(at, Kind::Listed, format!("the person was taken off the call list {}", list.call_list));
            }
        }
        if let (false, Some(at)) = (row.state.is_finished(), row.paused_at) {
            self.add(at, Kind::Paused, "it stands still, because its campaign or channel is paused");
        }
        // While a step waits for its success, the reason is that for which the one before was left.
        let deferred = reason.filter(|r| matches!(r, Reason::QuietHours | Reason::ProviderDown));
        if let (false, Some(reason), Some(until)) = (row.state.is_finished(), deferred, row.next_due_at) {
            let words = format!(
                "step {} waits until {}: {}",
                counted(row.step),
                until.format("%Y-%m-%d %H:%M:%S UTC"),
                sentence(reason)
            );
            if let Some(entry) = self.add(row.changed_at, Kind::StepDeferred, words) {
                (entry.step, entry.reason) = (Some(row.step), Some(reason));
            }
        }
        if row.state.is_finished() {
            let why = reason.map(|r| format!(": {}", sentence(r))).unwrap_or_default();
            self.add(row.changed_at, Kind::Ended, format!("it ended as {}{why}", row.state.as_str().to_uppercase()));
        }
    }
}
