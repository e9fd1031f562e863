//! Whole notifications, played from planning to their end: a small world in which attempts, receipts and answers come as a
//! test says, and time goes from timer to timer. It stands in for services and storage, and does only what they must do.

use super::*;
use crate::{
    channel::{Address, AddressKind, ChannelType},
    delivery::{AfterUnknown, Evidence, FailureClass, Outcome, Work, WorkEvent},
    notification::{Event, Reason, State},
};
use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;

/// What a provider does with one delivery: the outcome of each attempt, then receipts, each so many seconds later.
#[derive(Debug, Clone, Default)]
struct Script {
    attempts: Vec<(Outcome, Option<FailureClass>)>,
    receipts: Vec<(i64, Evidence)>,
}

struct Sent {
    facts: DeliveryFacts,
    attempts: u32,
    failures: u32,
    script: Script,
}

/// One notification on its way.
struct Play {
    policy: Policy,
    scripts: Vec<Script>,
    after_unknown: AfterUnknown,
    now: DateTime<Utc>,
    state: State,
    step: usize,
    generation: i32,
    timer: Option<DateTime<Utc>>,
    reason: Option<Reason>,
    call_list: Option<String>,
    sent: Vec<Sent>,
    /// Receipts that are still to come: when, of which delivery, saying what.
    coming: Vec<(DateTime<Utc>, usize, Evidence)>,
    /// How often something was put on the wire.
    calls: u32,
    log: Vec<String>,
}

impl Play {
    fn new(steps: Vec<Step>, scripts: Vec<Script>) -> Self {
        Self {
            policy: Policy { steps, at_least_once: false, purpose: "service".into() },
            scripts,
            after_unknown: AfterUnknown::Nothing,
            now: DateTime::UNIX_EPOCH,
            state: State::Pending,
            step: 0,
            generation: 0,
            timer: None,
            reason: None,
            call_list: None,
            sent: Vec::new(),
            coming: Vec::new(),
            calls: 0,
            log: Vec::new(),
        }
    }

    fn run(mut self) -> Self {
        self.enter(0, None);
        for _ in 0..2000 {
            let timer = self.timer.filter(|_| !self.state.is_finished());
            let receipt = self.coming.iter().map(|c| c.0).min();
            let Some(next) = timer.into_iter().chain(receipt).min() else { return self };
            self.now = self.now.max(next);
            if receipt == Some(next) { self.receive(next) } else { self.decide(Some(self.generation)) }
        }
        panic!("it goes on for ever: {:?}", self.log);
    }

    fn enter(&mut self, from_step: usize, because: Option<Reason>) {
        let entry = Entry {
            from_step,
            purpose: "service",
            template: None,
            valid_until: None,
            planned_at: DateTime::UNIX_EPOCH,
            because,
            now: self.now,
        };
        let then = enter(&self.policy, &recipient(), &channels(), &entry).then;
        if let Some((event, reason)) = then.ends(!self.sent.is_empty()) {
            self.apply(event, Some(reason));
        }
        match then {
            Then::Send(send) => {
                assert!(send.step >= self.step);
                self.step = send.step;
                self.log.push(format!("{} {}", self.seconds(), send.channel_type));
                self.send(send.step);
            }
            Then::CallList { call_list, .. } => self.call_list = Some(call_list),
            Then::Exhausted { .. } => {}
            Then::Defer { .. } | Then::Expired => panic!("nothing here is quiet or expires"),
        }
    }

    fn send(&mut self, step: usize) {
        let facts = DeliveryFacts {
            step,
            work: Work::Queued,
            evidence: Evidence::None,
            failure: None,
            reason: None,
            started: None,
        };
        let script = self.scripts.get(step).cloned().unwrap_or_default();
        for (after, says) in &script.receipts {
            self.coming.push((self.now + TimeDelta::seconds(*after), self.sent.len(), *says));
        }
        self.sent.push(Sent { facts, attempts: 0, failures: 0, script });
        self.attempt(self.sent.len() - 1);
    }

    /// Attempts are made at once, one after the other: what matters here is their order, not their pauses.
    fn attempt(&mut self, index: usize) {
        loop {
            let wanted = self.wanted(index);
            let delivery = &mut self.sent[index];
            let Some(marked) = delivery.facts.work.after(WorkEvent::Mark).filter(|_| wanted.is_ok()) else { return };
            assert!(!delivery.facts.evidence.forbids_repeat(), "repeated although it is known to be sent");
            delivery.facts.work = marked;
            let tried = usize::try_from(delivery.attempts).unwrap();
            let (outcome, refusal) = delivery.script.attempts.get(tried).copied().unwrap_or((Outcome::Accepted, None));
            self.calls += u32::from(outcome != Outcome::NotSent);
            let facts = OutcomeFacts {
                outcome,
                refusal,
                retry_after: None,
                token_holds: true,
                work: delivery.facts.work,
                evidence: delivery.facts.evidence,
                attempts: delivery.attempts,
                failures: delivery.failures,
                refuted: 0,
                wanted,
                after_unknown: self.after_unknown,
                at_least_once: self.policy.at_least_once,
                started: delivery.facts.started.is_some(),
                jitter: 0.5,
            };
            let got = after_outcome(&self.policy.steps[delivery.facts.step], &facts);
            delivery.attempts += 1;
            delivery.failures += u32::from(got.counts);
            delivery.facts.work = got.work;
            delivery.facts.evidence = got.evidence;
            delivery.facts.failure = got.failure.or(delivery.facts.failure);
            if got.arm_wait {
                self.start_wait(index);
            }
            if got.step_due_now {
                self.decide(None);
            }
            if got.requeue_after.is_none() {
                return;
            }
        }
    }

    fn wanted(&self, index: usize) -> Result<(), NotWanted> {
        wanted(&WantedFacts {
            state: self.state,
            current_step: self.step,
            delivery_step: self.sent[index].facts.step,
            paused: false,
            opted_out: false,
            valid_until: None,
            now: self.now,
        })
    }

    fn start_wait(&mut self, index: usize) {
        let facts = &mut self.sent[index].facts;
        if facts.step == self.step {
            facts.started = Some(self.now);
            self.timer = Some(self.now + self.policy.steps[facts.step].wait);
            self.apply(Event::StepStarted, None);
        }
    }

    fn receive(&mut self, when: DateTime<Utc>) {
        let position = self.coming.iter().position(|c| c.0 == when).unwrap();
        let (_, index, says) = self.coming.remove(position);
        let (facts, wanted) = (self.sent[index].facts, self.wanted(index));
        let (attempts, failures) = (self.sent[index].attempts, self.sent[index].failures);
        let got = after_receipt(
            &self.policy.steps[facts.step],
            &ReceiptFacts {
                says,
                failure: None,
                attempt: attempts,
                attempts,
                failures,
                refuted: 0,
                work: facts.work,
                evidence: facts.evidence,
                started: facts.started.is_some(),
                left: facts.step != self.step || self.state.is_finished(),
                wanted,
                jitter: 0.5,
            },
        );
        assert!(got.evidence >= facts.evidence);
        let facts = &mut self.sent[index].facts;
        (facts.work, facts.evidence, facts.failure) = (got.work, got.evidence, got.failure.or(facts.failure));
        if got.late {
            self.log.push(format!("{} late {says}", self.seconds()));
        }
        if got.arm_wait {
            self.start_wait(index);
        }
        if got.step_due_now {
            self.decide(None);
        }
    }

    fn decide(&mut self, timer: Option<i32>) {
        let facts = NotificationFacts {
            state: self.state,
            step: self.step,
            generation: self.generation,
            due: self.timer,
            deliveries: self.sent.iter().map(|s| s.facts).collect(),
            unmerged_since: None,
            valid_until: None,
            paused: false,
        };
        match decide(&self.policy, &facts, timer, Now { real: self.now, group: self.now }) {
            Decision::Nothing => self.timer = self.timer.filter(|at| *at > self.now),
            Decision::Hold { .. } | Decision::Enter { .. } | Decision::Expired => {
                panic!("nothing is stored or deferred")
            }
            Decision::KeepWaiting { until } => {
                assert!(until > self.now);
                self.timer = Some(until);
            }
            Decision::Succeeded { .. } => self.apply(Event::StepSucceeded, None),
            Decision::Advance { to, reason } => {
                assert!(to > self.step);
                (self.step, self.generation, self.timer) = (to, self.generation + 1, None);
                self.take_back();
                self.enter(to, Some(reason));
            }
            Decision::Exhausted { reason } => self.apply(Event::StepsUsedUp, Some(reason)),
        }
    }

    fn apply(&mut self, event: Event, reason: Option<Reason>) {
        let Some(after) = self.state.after(event) else { return };
        assert!(after >= self.state, "lowered");
        if after != self.state {
            self.log.push(format!("{} {after}", self.seconds()));
        }
        self.state = after;
        self.reason = reason.or(self.reason);
        if after.is_finished() {
            self.take_back();
        }
    }

    fn take_back(&mut self) {
        for sent in &mut self.sent {
            sent.facts.work = sent.facts.work.after(WorkEvent::Cancel).unwrap_or(sent.facts.work);
        }
    }

    fn seconds(&self) -> i64 {
        (self.now - DateTime::UNIX_EPOCH).num_seconds()
    }
}

fn recipient() -> RecipientFacts {
    let phone = Address { kind: AddressKind::Phone, value: "+919812345678".into() };
    RecipientFacts {
        time_zone: chrono_tz::Asia::Kolkata,
        locale: None,
        addresses: vec![AddressFacts::new(1, phone)],
        variables: vec![],
    }
}

fn channels() -> ChannelFacts {
    let types = [ChannelType::Whatsapp, ChannelType::Sms, ChannelType::Voice];
    let channel = |(key, channel_type): (i32, ChannelType)| ChannelFact {
        key,
        slug: format!("channel-{key}"),
        channel_type,
        scheme: None,
        enabled: true,
        parked: false,
        providers_down_until: None,
    };
    ChannelFacts { channels: (1..).zip(types).map(channel).collect(), ..ChannelFacts::default() }
}

fn to(channel_type: ChannelType, success: Success, wait: i64) -> Step {
    let mut step = Step::to(Target::ChannelType(channel_type));
    step.success = success;
    step.wait = TimeDelta::seconds(wait);
    step.read_fallback = (success == Success::Read).then(|| TimeDelta::seconds(wait / 2));
    step
}

/// WhatsApp read, then SMS delivered, then a call answered, then the office's list.
fn ladder() -> Vec<Step> {
    vec![
        to(ChannelType::Whatsapp, Success::Read, 60),
        to(ChannelType::Sms, Success::Delivered, 30),
        to(ChannelType::Voice, Success::Read, 20),
        Step::to(Target::CallList("office".into())),
    ]
}

fn silent() -> Script {
    Script::default()
}

fn receipts(receipts: &[(i64, Evidence)]) -> Script {
    Script { receipts: receipts.to_vec(), ..silent() }
}

fn refuses(class: FailureClass) -> Script {
    Script { attempts: vec![(Outcome::Refused, Some(class)); 20], ..silent() }
}

#[test]
fn moves_to_sms_when_whatsapp_is_not_read_in_time() {
    let play = Play::new(ladder(), vec![silent(), receipts(&[(5, Evidence::Delivered)])]).run();
    assert_eq!(play.log, ["0 WHATSAPP", "0 waiting", "60 SMS", "65 reached"]);
}

#[test]
fn a_message_that_is_read_in_time_stops_the_ladder() {
    let play = Play::new(ladder(), vec![receipts(&[(2, Evidence::Delivered), (9, Evidence::Read)])]).run();
    assert_eq!(play.log, ["0 WHATSAPP", "0 waiting", "9 reached"]);
}

#[test]
fn delivered_is_enough_for_those_who_hide_that_they_read() {
    let play = Play::new(ladder(), vec![receipts(&[(2, Evidence::Delivered)])]).run();
    assert_eq!(play.log, ["0 WHATSAPP", "0 waiting", "30 reached"]);
}

#[test]
fn someone_without_whatsapp_gets_an_sms_at_once() {
    let play = Play::new(ladder(), vec![refuses(FailureClass::FallOver), receipts(&[(1, Evidence::Delivered)])]).run();
    assert_eq!(play.log, ["0 WHATSAPP", "0 SMS", "0 waiting", "1 reached"]);
}

#[test]
fn who_is_never_reached_ends_on_the_call_list() {
    let play = Play::new(ladder(), vec![silent(), silent(), silent()]).run();
    assert_eq!(play.log, ["0 WHATSAPP", "0 waiting", "60 SMS", "90 VOICE", "110 exhausted"]);
    assert_eq!((play.call_list.as_deref(), play.reason), (Some("office"), Some(Reason::OnCallList)));
}

#[test]
fn a_receipt_after_falling_back_is_late_and_takes_back_what_is_queued() {
    let play = Play::new(ladder(), vec![receipts(&[(70, Evidence::Read)]), silent()]).run();
    assert_eq!(play.log, ["0 WHATSAPP", "0 waiting", "60 SMS", "70 late read", "70 reached"]);
    assert_eq!(play.sent.len(), 2);
}

#[test]
fn late_evidence_lifts_an_exhausted_notification() {
    let steps = ladder()[..2].to_vec();
    let play = Play::new(steps, vec![receipts(&[(500, Evidence::Read)])]).run();
    assert_eq!(play.log, ["0 WHATSAPP", "0 waiting", "60 SMS", "90 exhausted", "500 late read", "500 reached"]);
}

#[test]
fn without_a_key_or_at_least_once_no_provider_is_called_twice_for_one_step() {
    let lost = Script { attempts: vec![(Outcome::Unknown, None); 20], ..silent() };
    let mut play = Play::new(ladder(), vec![lost.clone(); 3]);
    play = play.run();
    assert_eq!((play.calls, play.state), (3, State::Exhausted));
    let mut twice = Play::new(ladder(), vec![lost; 3]);
    twice.policy.at_least_once = true;
    twice = twice.run();
    assert_eq!((twice.calls, twice.state), (9, State::Exhausted), "at most `attempts` copies of each");
}

fn any_step() -> impl Strategy<Value = Step> {
    let parts = (
        prop::sample::select(vec![ChannelType::Whatsapp, ChannelType::Sms, ChannelType::Voice]),
        prop::sample::select(Success::ALL),
        (1_u32..=10, 1_i64..500),
        any::<bool>(),
    );
    parts.prop_map(|(channel_type, success, (attempts, wait), patient)| Step {
        attempts,
        on_failure: if patient { OnFailure::Wait } else { OnFailure::Now },
        ..to(channel_type, success, wait)
    })
}

fn any_script() -> impl Strategy<Value = Script> {
    let attempt = (prop::sample::select(Outcome::ALL), prop::sample::select(FailureClass::ALL))
        .prop_map(|(outcome, class)| (outcome, (outcome == Outcome::Refused).then_some(class)));
    let receipt = (0_i64..1000, prop::sample::select(&Evidence::ALL[2..]));
    (prop::collection::vec(attempt, 0..50), prop::collection::vec(receipt, 0..4))
        .prop_map(|(attempts, receipts)| Script { attempts, receipts })
}

proptest! {
    #[test]
    fn every_policy_comes_to_an_end(
        steps in prop::collection::vec(any_step(), 1..6),
        scripts in prop::collection::vec(any_script(), 6),
        at_least_once in any::<bool>(),
        after_unknown in prop::sample::select(AfterUnknown::ALL),
    ) {
        let mut play = Play::new(steps, scripts);
        play.policy.at_least_once = at_least_once;
        play.after_unknown = after_unknown;
        let play = play.run();
        prop_assert!(play.state.is_finished(), "it stands still in {}: {:?}", play.state, play.log);
        prop_assert!(play.sent.iter().all(|s| !s.facts.work.is_open()), "a delivery is still open: {:?}", play.log);
        prop_assert!(play.sent.is_sorted_by(|a, b| a.facts.step < b.facts.step), "a step was entered twice");
        for sent in &play.sent {
            prop_assert!(sent.failures <= play.policy.steps[sent.facts.step].attempts);
        }
    }
}
