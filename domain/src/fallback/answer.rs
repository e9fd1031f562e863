//! Which notification an inbound message answers, and what the answer does to it.
//!
//! A message that refers to something (a reply to a message of ours, the payload of a button) answers that. Any other answers
//! the latest unfinished notification of which an attempt to the same address was marked, whether or not a wait runs. Only an
//! address that was written to can answer.

use super::policy::Success;
use crate::{
    consent::words::fold,
    notification::{Event, State},
};
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

/// How long after its last attempt a notification that is over is still answered by a message that refers to nothing.
pub const LATE_ANSWER_WINDOW: TimeDelta = TimeDelta::hours(72);

/// What counts as an acknowledgement where nothing else is configured: key 1, and words of agreement.
pub const ACKNOWLEDGEMENTS: &[&str] = &[
    "1",
    "ack",
    "ok",
    "okay",
    "yes",
    "हाँ",
    "हां",
    "ठीक है",
    "sí",
    "si",
    "oui",
    "sim",
    "نعم",
    "হ্যাঁ",
    "ஆம்",
    "అవును",
    "होय",
    "હા",
    "ಹೌದು",
    "അതെ",
    "ਹਾਂ",
    "ہاں",
    "да",
    "ja",
    "ya",
    "ndiyo",
];

/// A notification of which an attempt to the address that wrote was marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// The notification.
    pub notification: Uuid,
    /// Its state.
    pub state: State,
    /// The step that it is at, counted from 0.
    pub step: usize,
    /// The latest step of which an attempt to this address was marked.
    pub marked_step: usize,
    /// When the latest such attempt was marked.
    pub marked_at: DateTime<Utc>,
    /// The campaign that it belongs to, and which run of it; a later run has a higher number.
    pub campaign: Option<CampaignRun>,
}

/// One run of a campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CampaignRun {
    /// The campaign's key.
    pub campaign: i64,
    /// The number of the run: a later one is higher.
    pub run: i64,
}

/// Which notification is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resolution {
    /// The notification.
    pub notification: Uuid,
    /// How it was found.
    pub found_by: FoundBy,
    /// Whether the answer is for a step that was left, or a notification that is over: to be recorded as LATE.
    pub late: bool,
}

codes! {
    /// How an answered notification was found.
    pub enum FoundBy {
        /// The message refers to it.
        Reference = "reference",
        /// It is the latest that is unfinished.
        LatestUnfinished = "latest_unfinished",
        /// Nothing is unfinished; it is the latest that is over, not long ago.
        LatestFinished = "latest_finished",
    }
}

/// Which of `candidates` a message answers that arrived at `now`; `reference` is the notification that it refers to, if any.
///
/// Of a repeated campaign only the latest run is answered by a message that refers to nothing. `window` is how long
/// notifications that are over are answered so; see [`LATE_ANSWER_WINDOW`]. A reference to a notification that is not among
/// the candidates was never sent to this address, and does not count.
#[must_use]
pub fn resolve(
    candidates: &[Candidate],
    reference: Option<Uuid>,
    now: DateTime<Utc>,
    window: TimeDelta,
) -> Option<Resolution> {
    if let Some(referred) = candidates.iter().find(|c| Some(c.notification) == reference) {
        return Some(referred.found(FoundBy::Reference));
    }
    let current = || candidates.iter().filter(|c| !is_of_older_run(c, candidates));
    let latest = |c: &&Candidate| (c.marked_at, c.notification);
    if let Some(unfinished) = current().filter(|c| !c.state.is_finished()).max_by_key(latest) {
        return Some(unfinished.found(FoundBy::LatestUnfinished));
    }
    let recent = |c: &&Candidate| c.marked_at + window >= now;
    current().filter(recent).max_by_key(latest).map(|c| c.found(FoundBy::LatestFinished))
}

fn is_of_older_run(candidate: &Candidate, all: &[Candidate]) -> bool {
    let Some(own) = candidate.campaign else { return false };
    all.iter().filter_map(|c| c.campaign).any(|other| other.campaign == own.campaign && other.run > own.run)
}

impl Candidate {
    fn found(&self, found_by: FoundBy) -> Resolution {
        let late = self.state.is_finished() || self.marked_step < self.step;
        Resolution { notification: self.notification, found_by, late }
    }
}

/// What kind of answer a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// A STOP word: the person asks not to be written to.
    Stop,
    /// An acknowledging key, button or word.
    Acknowledgement,
    /// Any other answer.
    Reply,
}

/// What an answer does to the notification that it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effect {
    /// The event, where it changes the state.
    pub event: Option<Event>,
    /// The state afterwards.
    pub state: State,
    /// Whether the policy is over, so that everything queued of the notification is to be taken back.
    pub ends_policy: bool,
}

/// What `answer` does to a notification in `state`, of which the answered step asks for `success`.
///
/// Any answer ends the whole policy, from whatever channel it came. It counts as ACKNOWLEDGED only where the step asks for
/// that and the answer is an acknowledging one; a STOP skips what is unfinished and changes nothing that is over.
#[must_use]
pub fn effect(state: State, success: Success, answer: Answer) -> Effect {
    let event = match (answer, success) {
        (Answer::Stop, _) => Event::OptedOut,
        (Answer::Acknowledgement, Success::Acknowledged) => Event::Acknowledged,
        (Answer::Acknowledgement, Success::Sent | Success::Delivered | Success::Read | Success::Replied)
        | (Answer::Reply, _) => Event::Replied,
    };
    let after = state.after(event).filter(|after| *after != state);
    Effect { event: after.map(|_| event), state: after.unwrap_or(state), ends_policy: !state.is_finished() }
}

/// Whether `said` (the words of a message, the id of a button, the digits of a call) is one of the acknowledging `words`.
///
/// As with STOP words the whole message counts, and case and punctuation do not.
#[must_use]
pub fn acknowledges<S: AsRef<str>>(said: &str, words: &[S]) -> bool {
    if said.len() > 400 {
        return false;
    }
    let said = fold(said);
    !said.is_empty() && words.iter().any(|word| fold(word.as_ref()) == said)
}

#[cfg(test)]
mod tests;
