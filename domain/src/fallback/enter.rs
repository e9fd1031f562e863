//! Which step can be sent, and how: from a given step on, those that cannot apply are skipped, each with its reason.
//!
//! Called at planning (from step 0), when a step was left ([`super::decide()`] says to which), and when a deferral is over.

use super::{
    facts::{AddressFacts, ChannelFact, ChannelFacts, RecipientFacts},
    policy::{Policy, QuietHours, Step, Target},
};
use crate::{
    channel::ChannelType,
    locale::Locale,
    notification::{Event, Reason},
};
use chrono::{DateTime, TimeDelta, Utc};

/// How long after its planning a notification is still deferred because the providers of every channel that it could use are
/// down; after that it is exhausted.
pub const MAX_OUTAGE_WAIT: TimeDelta = TimeDelta::hours(24);

/// Where and when a policy is entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The first step to try, counted from 0.
    pub from_step: usize,
    /// The purpose of the notification: consent and quiet hours are asked for it.
    pub purpose: &'a str,
    /// The template of the notification, for steps that name none. Without one the notification carries its own content.
    pub template: Option<&'a str>,
    /// Until when anything may be put on the wire.
    pub valid_until: Option<DateTime<Utc>>,
    /// When the notification was planned.
    pub planned_at: DateTime<Utc>,
    /// Why the step before was left; `None` when the policy is entered for the first time.
    pub because: Option<Reason>,
    /// The time, as on the wall: validity and quiet hours do not stand still with a paused group.
    pub now: DateTime<Utc>,
}

/// What entering a policy leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entered {
    /// What was passed over on the way, in order.
    pub skipped: Vec<Skip>,
    /// What is to be done.
    pub then: Then,
}

/// A step, or one channel of a step, that could not apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skip {
    /// The step, counted from 0.
    pub step: usize,
    /// The channel, where it is one that exists.
    pub channel: Option<i32>,
    /// Why.
    pub reason: Reason,
}

/// What is to be done after the steps that could not apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Then {
    /// Queue a delivery.
    Send(Send),
    /// Ask again at a later time, from this step on.
    Defer {
        /// The step to enter then.
        step: usize,
        /// When; always after now.
        until: DateTime<Utc>,
        /// QUIET_HOURS or PROVIDER_DOWN.
        reason: Reason,
    },
    /// Put the contact on a call list; this ends the notification as EXHAUSTED, with reason ON_CALL_LIST.
    CallList {
        /// The step.
        step: usize,
        /// The slug of the list.
        call_list: String,
    },
    /// No step is left. The notification is SKIPPED if nothing was ever sent for it, else EXHAUSTED.
    Exhausted {
        /// Why the last step that was tried was left, or, where none was, why the last was skipped.
        reason: Reason,
    },
    /// The notification is no longer valid.
    Expired,
}

impl Then {
    /// What this does to the notification's state, with the reason to store; `None` while it goes on. `ever_sent` says
    /// whether anything was ever put on the wire for it.
    ///
    /// Who stands on a call list has been given to a person: no step is left, so the notification is over, and a later answer
    /// lifts it as it does any that is EXHAUSTED.
    #[must_use]
    pub fn ends(&self, ever_sent: bool) -> Option<(Event, Reason)> {
        match self {
            Self::Send(_) | Self::Defer { .. } => None,
            Self::CallList { .. } => Some((Event::StepsUsedUp, Reason::OnCallList)),
            Self::Exhausted { reason } if ever_sent => Some((Event::StepsUsedUp, *reason)),
            Self::Exhausted { reason } => Some((Event::NothingApplies, *reason)),
            Self::Expired => Some((Event::ValidityPassed, Reason::ValidityPassed)),
        }
    }
}

/// One delivery to queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Send {
    /// The step, counted from 0.
    pub step: usize,
    /// The channel's key.
    pub channel: i32,
    /// The channel's type.
    pub channel_type: ChannelType,
    /// The address's key.
    pub address_id: i64,
    /// The template's slug; `None` where the notification carries its own content.
    pub template: Option<String>,
    /// The language to render; `None` where there is no template.
    pub language: Option<Locale>,
    /// Whether the content may be sent only while the service window is open.
    pub needs_window: bool,
    /// Until when it may be put on the wire: the earlier of the notification's and the step's validity.
    pub valid_until: Option<DateTime<Utc>>,
}

/// Walks the policy from `entry.from_step` on until something can be done.
///
/// A provider that is down costs its step only while a later step can be sent: where nothing else is left, the first such
/// step is deferred until the provider is to be tried again, for at most [`MAX_OUTAGE_WAIT`] after planning.
#[must_use]
pub fn enter(policy: &Policy, recipient: &RecipientFacts, channels: &ChannelFacts, entry: &Entry<'_>) -> Entered {
    if entry.valid_until.is_some_and(|until| until <= entry.now) {
        return Entered { skipped: Vec::new(), then: Then::Expired };
    }
    let mut walk = Walk { recipient, channels, entry, skipped: Vec::new(), down: None };
    for (index, step) in policy.steps.iter().enumerate().skip(entry.from_step) {
        if let Some(then) = walk.step(index, step) {
            return Entered { skipped: walk.skipped, then };
        }
    }
    walk.nothing_left()
}

struct Walk<'a> {
    recipient: &'a RecipientFacts,
    channels: &'a ChannelFacts,
    entry: &'a Entry<'a>,
    skipped: Vec<Skip>,
    /// The first step that only an outage stops, and when its provider is to be tried again.
    down: Option<(usize, DateTime<Utc>)>,
}

impl Walk<'_> {
    fn step(&mut self, index: usize, step: &Step) -> Option<Then> {
        let all = self.channels.channels.iter();
        let candidates: Vec<&ChannelFact> = match &step.target {
            Target::CallList(_) if self.everything_was_refused() => {
                self.skip(index, None, Reason::OptedOut);
                return None;
            }
            Target::CallList(slug) => return Some(Then::CallList { step: index, call_list: slug.clone() }),
            Target::Channel(slug) => all.filter(|c| c.slug == *slug).collect(),
            Target::ChannelType(channel_type) => all.filter(|c| c.channel_type == *channel_type).collect(),
        };
        if candidates.is_empty() {
            self.skip(index, None, Reason::ChannelDisabled);
        }
        let mut deferral: Option<DateTime<Utc>> = None;
        for channel in candidates {
            match self.try_channel(index, step, channel) {
                Ok(send) => return Some(Then::Send(send)),
                Err(Refused::Later(until)) => deferral = Some(deferral.map_or(until, |d| d.min(until))),
                Err(Refused::Not(reason)) => self.skip(index, Some(channel.key), reason),
            }
        }
        deferral.map(|until| Then::Defer { step: index, until, reason: Reason::QuietHours })
    }

    /// Whether nothing was tried because the person refused every channel: who asked not to be written to at all is not handed
    /// to a person who calls either.
    fn everything_was_refused(&self) -> bool {
        let refused = self.skipped.iter().all(|skip| skip.reason == Reason::OptedOut);
        self.entry.because.is_none() && !self.skipped.is_empty() && refused
    }

    fn skip(&mut self, step: usize, channel: Option<i32>, reason: Reason) {
        self.skipped.push(Skip { step, channel, reason });
    }

    /// The person is asked about before the line: who opted out is skipped for that, whatever the channel's health.
    fn try_channel(&mut self, index: usize, step: &Step, channel: &ChannelFact) -> Result<Send, Refused> {
        let (entry, channel_type) = (self.entry, channel.channel_type);
        let address = self.recipient.address_for(channel, entry.purpose)?;
        let template = step.template.as_deref().or(entry.template);
        let content = match template {
            Some(slug) => Some(self.channels.content_for(slug, channel_type, self.recipient, address, entry.now)?),
            None => None,
        };
        match channel.usable(entry.now) {
            Err(Reason::ProviderDown) => {
                self.note_outage(index, step, channel);
                return Err(Refused::Not(Reason::ProviderDown));
            }
            usable => usable?,
        }
        self.quiet_hours(step, channel_type)?;
        Ok(Send {
            step: index,
            channel: channel.key,
            channel_type,
            address_id: address.id,
            template: template.map(str::to_owned),
            language: content.map(|c| c.language.clone()),
            needs_window: content.is_some_and(|c| c.needs_window),
            valid_until: self.valid_until(step),
        })
    }

    fn quiet_hours(&self, step: &Step, channel_type: ChannelType) -> Result<(), Refused> {
        let now = self.entry.now;
        let until = self.channels.quiet_until(channel_type, self.entry.purpose, self.recipient.time_zone, now);
        match (step.quiet_hours, until) {
            (QuietHours::Ignore, _) => Ok(()),
            (_, Some(until)) if until <= now => Ok(()),
            (QuietHours::Skip, _) | (QuietHours::Defer, None) => Err(Refused::Not(Reason::QuietHours)),
            (QuietHours::Defer, Some(until)) if self.valid_until(step).is_some_and(|end| end <= until) => {
                Err(Refused::Not(Reason::QuietHours))
            }
            (QuietHours::Defer, Some(until)) => Err(Refused::Later(until)),
        }
    }

    fn valid_until(&self, step: &Step) -> Option<DateTime<Utc>> {
        let own = step.valid_for.and_then(|valid_for| self.entry.now.checked_add_signed(valid_for));
        own.into_iter().chain(self.entry.valid_until).min()
    }

    fn note_outage(&mut self, index: usize, step: &Step, channel: &ChannelFact) {
        let entry = self.entry;
        let still_waits = entry.now < entry.planned_at + MAX_OUTAGE_WAIT;
        let Some(until) = channel.providers_down_until.filter(|_| still_waits) else { return };
        if self.valid_until(step).is_some_and(|end| end <= until) {
            return;
        }
        match &mut self.down {
            Some((step, earlier)) if *step == index => *earlier = until.min(*earlier),
            Some(_) => {}
            None => self.down = Some((index, until)),
        }
    }

    fn nothing_left(self) -> Entered {
        let then = match (self.down, self.entry.because.or(self.skipped.last().map(|s| s.reason))) {
            (Some((step, until)), _) => Then::Defer { step, until, reason: Reason::ProviderDown },
            (None, Some(reason)) => Then::Exhausted { reason },
            (None, None) => Then::Exhausted { reason: Reason::NoStepLeft },
        };
        Entered { skipped: self.skipped, then }
    }
}

/// Why a channel is not used now.
enum Refused {
    /// It could be used from this time on.
    Later(DateTime<Utc>),
    /// It cannot be used for this step.
    Not(Reason),
}

impl From<Reason> for Refused {
    fn from(reason: Reason) -> Self {
        Self::Not(reason)
    }
}

impl AddressFacts {
    /// An address that nothing speaks against.
    #[must_use]
    pub fn new(id: i64, address: crate::channel::Address) -> Self {
        Self {
            id,
            kind: address.kind,
            value: address.value,
            suppressed: false,
            capped: Vec::new(),
            consents: Vec::new(),
            service_window_until: None,
        }
    }
}

#[cfg(test)]
mod tests;
