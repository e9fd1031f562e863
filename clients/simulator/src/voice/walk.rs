//! One call from dialling to its end, step by step on the stage: ringing, the answer, the TwiML, the keys, the status callbacks.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use http::Method;

use super::gather::{length, listen};
use super::order::{Detection, Document, Order};
use super::twiml::{Verb, parse};
use crate::clock::later;
use crate::core::Core;
use crate::ledger::{Provider, WebhookKind};
use crate::script::{Answer, CallScript, MachineKind};
use crate::stage::{Next, Play};
use crate::twilio::form_webhook;
use crate::webhook::{Ending, Webhook};

/// How many documents one call may ask for: an endless redirect must not occupy the simulator for ever.
const MOST_DOCUMENTS: u32 = 200;

/// A call that is under way.
pub(crate) struct Walk {
    order: Order,
    script: CallScript,
    step: Step,
    /// The document being followed.
    verbs: VecDeque<Verb>,
    /// Where that document came from: relative addresses start there.
    address: String,
    answered_at: Option<DateTime<Utc>>,
    answered_by: Option<&'static str>,
    gathers: usize,
    documents: u32,
    callbacks: usize,
    fell_back: bool,
}

enum Step {
    Dial,
    Ring,
    PickUp,
    Fetch(Box<Webhook>),
    Follow,
    End { status: &'static str, sip: &'static str },
}

impl Walk {
    /// Puts an accepted call on the stage.
    pub fn begin(core: &Core, order: Order, script: CallScript, at: DateTime<Utc>) {
        let walk = Self {
            address: order.status_callback.clone().unwrap_or_default(),
            order,
            script,
            step: Step::Dial,
            verbs: VecDeque::new(),
            answered_at: None,
            answered_by: None,
            gathers: 0,
            documents: 0,
            callbacks: 0,
            fell_back: false,
        };
        core.stage.put(at, Play::Call(Box::new(walk)));
    }

    /// Plays the next step, unless the caller ended the call meanwhile.
    pub async fn step(mut self: Box<Self>, core: &Arc<Core>, due: DateTime<Utc>) -> Next {
        let ended_by_caller = core
            .ledger
            .find(&self.order.sid)
            .is_some_and(|call| matches!(call.status.as_str(), "completed" | "canceled"));
        if ended_by_caller {
            return None;
        }
        let step = std::mem::replace(&mut self.step, Step::Follow);
        let (at, step) = match step {
            Step::Dial => self.dial(core, due).await,
            Step::Ring => self.ring(core, due).await,
            Step::PickUp => self.pick_up(core, due).await,
            Step::Fetch(webhook) => self.fetch(core, webhook, due).await,
            Step::Follow => self.follow(core, due),
            Step::End { status, sip } => {
                self.end(core, status, sip, due).await;
                return None;
            }
        };
        let hung_up =
            self.answered_at.zip(self.script.hang_up_after.span()).map(|(answered, after)| later(answered, after));
        if let Some(moment) = hung_up.filter(|moment| *moment < at) {
            return Some((moment.max(due), Play::Call(self.ending())));
        }
        self.step = step;
        Some((at, Play::Call(self)))
    }

    fn ending(mut self: Box<Self>) -> Box<Self> {
        self.step = Step::End { status: "completed", sip: "200" };
        self
    }

    async fn dial(&mut self, core: &Arc<Core>, at: DateTime<Utc>) -> (DateTime<Utc>, Step) {
        self.report(core, "initiated", "initiated", at, Vec::new()).await;
        let rings = later(at, self.script.ring_after.0);
        if self.script.answer == Answer::Failed {
            return (later(rings, self.script.answer_after.0), Step::End { status: "failed", sip: "404" });
        }
        (rings, Step::Ring)
    }

    async fn ring(&mut self, core: &Arc<Core>, at: DateTime<Utc>) -> (DateTime<Utc>, Step) {
        set_status(core, &self.order.sid, "ringing");
        self.report(core, "ringing", "ringing", at, Vec::new()).await;
        let given_up = (later(at, self.order.timeout), Step::End { status: "no-answer", sip: "487" });
        let taken = later(at, self.script.answer_after.0);
        match self.script.answer {
            Answer::Busy => (taken, Step::End { status: "busy", sip: "486" }),
            Answer::NoAnswer | Answer::Failed => given_up,
            Answer::Human | Answer::Machine if taken > given_up.0 => given_up,
            Answer::Human | Answer::Machine => (taken, Step::PickUp),
        }
    }

    async fn pick_up(&mut self, core: &Arc<Core>, at: DateTime<Utc>) -> (DateTime<Utc>, Step) {
        self.answered_at = Some(at);
        set_status(core, &self.order.sid, "in-progress");
        self.report(core, "answered", "in-progress", at, Vec::new()).await;
        let found = self.detected();
        match self.order.detection {
            Detection::Off => (),
            Detection::First { .. } => self.answered_by = Some(found),
            Detection::Meanwhile { .. } => self.report_detection(core, found).await,
        }
        match self.order.document.clone() {
            Document::Inline(document) => match parse(&document) {
                Ok(verbs) => {
                    self.verbs = verbs.into();
                    (at, Step::Follow)
                }
                Err(error) => self.broken(core, error.code(), &error.to_string(), at),
            },
            Document::At { url, get } => (at, self.ask(core, &url, get, Vec::new())),
        }
    }

    /// What machine detection finds.
    fn detected(&self) -> &'static str {
        let end = match self.order.detection {
            Detection::First { end } | Detection::Meanwhile { end } => end,
            Detection::Off => false,
        };
        let usual = if end { MachineKind::MachineEndBeep } else { MachineKind::MachineStart };
        match self.script.answer {
            Answer::Machine => self.script.machine.unwrap_or(usual).as_str(),
            Answer::Human | Answer::NoAnswer | Answer::Busy | Answer::Failed => "human",
        }
    }

    async fn report_detection(&mut self, core: &Arc<Core>, found: &'static str) {
        let Some(url) = self.order.amd_callback.clone() else { return };
        let params = vec![
            ("CallSid", self.order.sid.clone()),
            ("AccountSid", core.config.twilio.account_sid.clone()),
            ("AnsweredBy", found.to_owned()),
            ("MachineDetectionDuration", "0".to_owned()),
        ];
        let webhook = form_webhook(Provider::Voice, WebhookKind::Status, found, &self.order.sid, &url, params);
        Box::new(webhook).deliver(core).await;
    }

    /// The request for a document, to be made in the next step.
    fn ask(&mut self, core: &Core, url: &str, get: bool, more: Vec<(&'static str, String)>) -> Step {
        let mut params = self.order.params(core, "in-progress");
        params.extend(self.answered_by.map(|found| ("AnsweredBy", found.to_owned())));
        let event = more.iter().find(|(name, _)| *name == "Digits").map_or("twiml", |_| "digits");
        params.extend(more);
        let mut webhook = form_webhook(Provider::Voice, WebhookKind::Twiml, event, &self.order.sid, url, params);
        if get {
            webhook.method = Method::GET;
        }
        Step::Fetch(Box::new(webhook))
    }

    async fn fetch(&mut self, core: &Arc<Core>, mut webhook: Box<Webhook>, at: DateTime<Utc>) -> (DateTime<Utc>, Step) {
        let ending = webhook.post(core).await;
        let Ending::Answered { body, .. } = &ending else { return self.retry(core, webhook, &ending, at) };
        if !ending.is_success() {
            return self.retry(core, webhook, &ending, at);
        }
        self.documents += 1;
        if self.documents > MOST_DOCUMENTS {
            return self.broken(core, 12100, "too many documents in one call", at);
        }
        match parse(body) {
            Ok(verbs) => {
                self.verbs = verbs.into();
                self.address = webhook.url;
                (at, Step::Follow)
            }
            Err(error) => self.fall_back(core, &webhook.url, error.code(), &error.to_string(), at),
        }
    }

    fn retry(
        &mut self,
        core: &Core,
        webhook: Box<Webhook>,
        ending: &Ending,
        at: DateTime<Utc>,
    ) -> (DateTime<Utc>, Step) {
        match webhook.next_try(at, ending) {
            Some(due) => (due, Step::Fetch(webhook)),
            None => {
                core.ledger.count(|stats| stats.webhooks_given_up += 1);
                self.fall_back(core, &webhook.url, 11200, "the document could not be fetched", at)
            }
        }
    }

    /// Asks the fallback address once; without one the call ends.
    fn fall_back(&mut self, core: &Core, url: &str, code: u32, why: &str, at: DateTime<Utc>) -> (DateTime<Utc>, Step) {
        match self.order.fallback.clone().filter(|_| !self.fell_back) {
            Some(fallback) => {
                self.fell_back = true;
                let more = vec![("ErrorCode", code.to_string()), ("ErrorUrl", url.to_owned())];
                (at, self.ask(core, &fallback, false, more))
            }
            None => self.broken(core, code, why, at),
        }
    }

    /// Ends an answered call of which the program made no sense, as Twilio does with "an application error has occurred".
    fn broken(&mut self, core: &Core, code: u32, why: &str, at: DateTime<Utc>) -> (DateTime<Utc>, Step) {
        tracing::warn!(call.id = %self.order.sid, code, why, "the call ends with an application error");
        core.ledger.update(&self.order.sid, |call| call.error_code = Some(code));
        (at, Step::End { status: "completed", sip: "200" })
    }

    /// Follows the document to its next pause, question or end.
    fn follow(&mut self, core: &Core, at: DateTime<Utc>) -> (DateTime<Utc>, Step) {
        let per_character = self.script.speech_per_character.0;
        while let Some(verb) = self.verbs.pop_front() {
            match verb {
                Verb::Say { .. } | Verb::Pause(_) | Verb::Play => {
                    let takes = length(&verb, per_character);
                    if takes > Duration::ZERO {
                        return (later(at, takes), Step::Follow);
                    }
                }
                Verb::Gather(gather) => {
                    let heard = listen(&gather, self.script.keys.get(self.gathers), per_character);
                    self.gathers += 1;
                    let due = later(at, heard.after);
                    let Some(digits) = heard.digits else { return (due, Step::Follow) };
                    let url = self.absolute(gather.action.as_deref().unwrap_or_default());
                    let more =
                        vec![("Digits", digits), ("msg", "Gather End".to_owned()), ("FinishedOnKey", String::new())];
                    return (due, self.ask(core, &url, gather.get, more));
                }
                Verb::Redirect { url, get } => {
                    let url = self.absolute(&url);
                    return (at, self.ask(core, &url, get, Vec::new()));
                }
                Verb::Hangup => break,
                Verb::Other(name) => {
                    core.ledger.count(|stats| stats.unplayable += 1);
                    tracing::warn!(call.id = %self.order.sid, verb = %name, "a verb that is not simulated was passed over");
                }
            }
        }
        (at, Step::End { status: "completed", sip: "200" })
    }

    /// The address that a document means; empty means the document's own.
    fn absolute(&self, url: &str) -> String {
        if url.is_empty() {
            return self.address.clone();
        }
        // Url::join keeps the fragment of the relative address, which is where Twilio's overrides stand.
        let joined = reqwest::Url::parse(&self.address).and_then(|base| base.join(url));
        joined.map_or_else(|_| url.to_owned(), |url| url.to_string())
    }

    async fn end(&mut self, core: &Arc<Core>, status: &'static str, sip: &str, at: DateTime<Utc>) {
        set_status(core, &self.order.sid, status);
        let spoken = self.answered_at.map_or(TimeDelta::zero(), |answered| at - answered);
        let mut more = vec![
            ("CallDuration", spoken.num_seconds().to_string()),
            ("Duration", ((spoken.num_seconds() + 59) / 60).to_string()),
            ("SipResponseCode", sip.to_owned()),
        ];
        more.extend(self.answered_by.map(|found| ("AnsweredBy", found.to_owned())));
        self.report(core, "completed", status, at, more).await;
    }

    async fn report(
        &mut self,
        core: &Arc<Core>,
        event: &str,
        status: &str,
        at: DateTime<Utc>,
        more: Vec<(&'static str, String)>,
    ) {
        let Some(webhook) = self.order.callback(core, event, status, self.callbacks, at, more) else { return };
        self.callbacks += 1;
        let copies: Vec<_> = (0..self.script.duplicates).map(|_| webhook.copy()).collect();
        Box::new(webhook).deliver(core).await;
        for copy in copies {
            Box::new(copy).deliver(core).await;
        }
    }
}

fn set_status(core: &Core, sid: &str, status: &str) {
    core.ledger.update(sid, |call| call.status = status.to_owned());
}
