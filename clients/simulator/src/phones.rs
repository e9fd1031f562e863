//! The handsets at work: which script a number has, what it has been through, and the receipts and answers that follow a message.
//!
//! Knows no HTTP and no provider; what a status or an answer looks like on the wire is decided by the subject it belongs to.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use chrono::{DateTime, TimeDelta, Utc};

use crate::clock::later;
use crate::core::Core;
use crate::ledger::Provider;
use crate::meta::WhatsappMessage;
use crate::script::{CallScript, Defaults, Failure, Fault, Handset, MessageScript, Misbehaviour, Reply, Roster};
use crate::stage::{Next, Play};
use crate::twilio::SmsMessage;

/// How long Meta's customer service window stays open after a person's message.
const SERVICE_WINDOW: TimeDelta = TimeDelta::hours(24);

/// All handsets of one simulator.
pub(crate) struct Phones {
    handsets: RwLock<HashMap<String, Arc<Handset>>>,
    defaults: RwLock<Arc<Defaults>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    past: HashMap<(Provider, String), Past>,
    /// When each person last wrote to the business on WhatsApp.
    last_inbound: HashMap<String, DateTime<Utc>>,
    /// Pairs of person and sender of which the person wrote STOP.
    opted_out: HashSet<(String, String)>,
}

/// What a number has been through on one channel. Kept only where a script counts.
#[derive(Default)]
struct Past {
    throttled: u32,
    failed: u32,
    faults: u32,
    messages: u32,
}

/// What is to happen with one request.
pub(crate) struct Plan<S> {
    pub script: S,
    pub verdict: Verdict,
    /// Which message to this number on this channel it is, counted from 1.
    pub ordinal: u32,
}

/// How the provider takes a request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verdict {
    /// Refuse as too many.
    Throttle,
    /// Refuse with this code.
    Refuse(u32),
    /// Close the connection.
    Drop,
    /// Accept; the message may fail later, and the HTTP answer may go wrong.
    Accept { failure: Option<Failure>, fault: Option<Fault> },
}

struct Hurdles<'a> {
    throttle: u32,
    fail: Option<&'a Failure>,
    misbehave: Option<Misbehaviour>,
}

impl Phones {
    /// The handsets of a roster.
    pub fn new(roster: Roster) -> Self {
        Self {
            handsets: RwLock::new(roster.handsets.into_iter().map(|(n, h)| (n, Arc::new(h))).collect()),
            defaults: RwLock::new(Arc::new(roster.defaults)),
            state: Mutex::default(),
        }
    }

    /// Gives a number a script and forgets what the number has been through.
    pub fn set(&self, number: &str, handset: Handset) {
        self.handsets.write().unwrap_or_else(PoisonError::into_inner).insert(number.to_owned(), Arc::new(handset));
        self.state().past.retain(|(_, known), _| known != number);
    }

    /// Takes a number's script away; says whether there was one.
    pub fn remove(&self, number: &str) -> bool {
        self.state().past.retain(|(_, known), _| known != number);
        self.handsets.write().unwrap_or_else(PoisonError::into_inner).remove(number).is_some()
    }

    /// The script of a number, when it has its own.
    pub fn get(&self, number: &str) -> Option<Arc<Handset>> {
        self.handsets.read().unwrap_or_else(PoisonError::into_inner).get(number).cloned()
    }

    /// The number of the handset with this WhatsApp user id.
    pub fn number_of_user(&self, user_id: &str) -> Option<String> {
        let handsets = self.handsets.read().unwrap_or_else(PoisonError::into_inner);
        handsets.iter().find(|(_, h)| h.user_id.as_deref() == Some(user_id)).map(|(number, _)| number.clone())
    }

    /// The scripts of numbers that have none of their own.
    pub fn defaults(&self) -> Arc<Defaults> {
        self.defaults.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the scripts of numbers that have none of their own.
    pub fn set_defaults(&self, defaults: Defaults) {
        *self.defaults.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(defaults);
    }

    /// Everything as at the start with this roster.
    pub fn reset(&self, roster: Roster) {
        let fresh = Self::new(roster);
        let handsets = fresh.handsets.into_inner().unwrap_or_else(PoisonError::into_inner);
        *self.handsets.write().unwrap_or_else(PoisonError::into_inner) = handsets;
        *self.defaults.write().unwrap_or_else(PoisonError::into_inner) =
            fresh.defaults.into_inner().unwrap_or_else(PoisonError::into_inner);
        *self.state() = State::default();
    }

    /// Decides what happens with a message to this number.
    pub fn plan_message(&self, channel: Provider, number: &str) -> Plan<MessageScript> {
        let (own, defaults) = (self.get(number), self.defaults());
        let script = match channel {
            Provider::Whatsapp => own.as_ref().and_then(|h| h.whatsapp.as_ref()).unwrap_or(&defaults.whatsapp),
            Provider::Sms | Provider::Voice => own.as_ref().and_then(|h| h.sms.as_ref()).unwrap_or(&defaults.sms),
        };
        let hurdles = Hurdles { throttle: script.throttle, fail: script.fail.as_ref(), misbehave: script.misbehave };
        let counts = script.replies.iter().any(|reply| reply.message.is_some());
        let (verdict, ordinal) = self.judge(channel, number, &hurdles, counts);
        Plan { script: script.clone(), verdict, ordinal }
    }

    /// Decides what happens with a call to this number.
    pub fn plan_call(&self, number: &str) -> Plan<CallScript> {
        let (own, defaults) = (self.get(number), self.defaults());
        let script = own.as_ref().and_then(|h| h.voice.as_ref()).unwrap_or(&defaults.voice);
        let hurdles = Hurdles { throttle: script.throttle, fail: script.fail.as_ref(), misbehave: script.misbehave };
        let (verdict, ordinal) = self.judge(Provider::Voice, number, &hurdles, false);
        Plan { script: script.clone(), verdict, ordinal }
    }

    fn judge(&self, channel: Provider, number: &str, hurdles: &Hurdles<'_>, counts: bool) -> (Verdict, u32) {
        if hurdles.throttle == 0 && hurdles.fail.is_none() && hurdles.misbehave.is_none() && !counts {
            return (Verdict::Accept { failure: None, fault: None }, 0);
        }
        let mut state = self.state();
        let past = state.past.entry((channel, number.to_owned())).or_default();
        if past.throttled < hurdles.throttle {
            past.throttled += 1;
            return (Verdict::Throttle, past.messages);
        }
        let fault = hurdles.misbehave.filter(|m| m.times.is_none_or(|n| past.faults < n)).map(|m| m.how);
        past.faults += u32::from(fault.is_some());
        if fault == Some(Fault::Drop) {
            return (Verdict::Drop, past.messages);
        }
        let failure = hurdles.fail.filter(|f| f.times.is_none_or(|n| past.failed < n)).cloned();
        past.failed += u32::from(failure.is_some());
        if let Some(refused) = failure.as_ref().filter(|f| f.sync) {
            return (Verdict::Refuse(refused.code), past.messages);
        }
        past.messages += 1;
        (Verdict::Accept { failure, fault }, past.messages)
    }

    /// Notes that a person wrote to the business on WhatsApp.
    pub fn person_wrote(&self, number: &str, at: DateTime<Utc>) {
        self.state().last_inbound.insert(number.to_owned(), at);
    }

    /// Whether the business may write freely to this person.
    pub fn window_open(&self, number: &str, at: DateTime<Utc>) -> bool {
        self.state().last_inbound.get(number).is_some_and(|last| at - last < SERVICE_WINDOW)
    }

    /// Notes that a person opted out of a sender's SMS, or in again.
    pub fn opt_out(&self, person: &str, sender: &str, out: bool) {
        let pair = (person.to_owned(), sender.to_owned());
        let mut state = self.state();
        if out {
            state.opted_out.insert(pair)
        } else {
            state.opted_out.remove(&pair)
        };
    }

    /// Whether a person opted out of a sender's SMS.
    pub fn opted_out(&self, person: &str, sender: &str) -> bool {
        let state = self.state();
        !state.opted_out.is_empty() && state.opted_out.contains(&(person.to_owned(), sender.to_owned()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The message that a timeline is about.
pub(crate) enum Subject {
    Whatsapp(WhatsappMessage),
    Sms(SmsMessage),
}

/// Something that happens to a message after it was accepted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Happening {
    /// A status in the provider's word, with the error code of a failure.
    Status(&'static str, Option<u32>),
    /// The person answers.
    Reply(Reply),
}

/// The receipts and answers that follow one message, in the order of their times.
pub(crate) struct Timeline {
    subject: Subject,
    events: VecDeque<(DateTime<Utc>, Happening)>,
    /// How many times each is posted.
    copies: u32,
}

impl Timeline {
    /// Puts a message's future on the stage.
    pub fn begin(core: &Core, subject: Subject, events: Vec<(DateTime<Utc>, Happening)>, copies: u32) {
        let mut events = events;
        events.sort_by_key(|(at, _)| *at);
        if let Some(first) = events.first().map(|(at, _)| *at) {
            core.stage.put(first, Play::Timeline(Box::new(Self { subject, events: events.into(), copies })));
        }
    }

    /// Lets the next thing happen.
    pub async fn step(mut self: Box<Self>, core: &Arc<Core>, _due: DateTime<Utc>) -> Next {
        let (at, happening) = self.events.pop_front()?;
        let webhook = || match &self.subject {
            Subject::Whatsapp(message) => message.webhook(core, &happening, at),
            Subject::Sms(message) => message.webhook(core, &happening),
        };
        if let Some(first) = webhook() {
            // A repeated webhook carries the same ids: the copies are made of the first, not anew.
            let copies: Vec<_> = (1..self.copies).map(|_| first.copy()).collect();
            Box::new(first).deliver(core).await;
            for copy in copies {
                Box::new(copy).deliver(core).await;
            }
        }
        let due = self.events.front()?.0;
        Some((due, Play::Timeline(self)))
    }
}

/// The moments of a script that goes well, counted from acceptance.
pub(crate) fn good_course(script: &MessageScript, accepted: DateTime<Utc>) -> Vec<(DateTime<Utc>, Happening)> {
    [("sent", script.sent_after), ("delivered", script.deliver_after), ("read", script.read_after)]
        .into_iter()
        .filter_map(|(status, when)| Some((later(accepted, when.span()?), Happening::Status(status, None))))
        .collect()
}

/// The answers that a script gives to this message.
pub(crate) fn answers(
    plan: &Plan<MessageScript>,
    body: &str,
    accepted: DateTime<Utc>,
) -> impl Iterator<Item = (DateTime<Utc>, Happening)> {
    plan.script
        .replies
        .iter()
        .filter(|reply| reply.message.is_none_or(|n| n == plan.ordinal))
        .filter(|reply| reply.if_contains.as_deref().is_none_or(|part| body.contains(part)))
        .map(move |reply| (later(accepted, reply.after.0), Happening::Reply(reply.clone())))
}
