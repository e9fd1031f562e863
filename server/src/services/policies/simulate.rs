//! A policy played through without sending: who would get what and when, if nobody answers, if it is read, if it is answered.
//!
//! The rulebook itself plays ([`enter`], [`decide`]); only what the person does is made up. Providers are taken to answer at
//! once.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use domain::{
    channel::{Address, AddressKind, ChannelType},
    delivery::{Evidence, FailureClass, Work},
    fallback::{
        AddressFacts, ChannelFacts, Decision, DeliveryFacts, Entry, NotificationFacts, Now, Policy, RecipientFacts,
        Send, Success, Then, decide, enter,
    },
    notification::{Reason, State},
};

use super::Definition;
use crate::{
    services::{
        Context, Error, Result,
        contacts::ContactName,
        planning::{quiet_rules, recipient_facts},
        plans::template_facts,
        templates::{self, Reference},
    },
    storage::{self, Conn},
};

/// No policy of twenty steps has more moments.
const MAX_MOMENTS: usize = 500;

/// What the person does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// Everything is accepted, and nothing more is ever heard.
    Silent,
    /// Everything is delivered, and nothing is read.
    Delivered,
    /// The first message is read, and nobody answers.
    Read,
    /// The first message is answered.
    Replied,
    /// Every provider refuses for good.
    Failed,
}

impl Scenario {
    const ALL: [Self; 5] = [Self::Silent, Self::Delivered, Self::Read, Self::Replied, Self::Failed];
}

/// What happens at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A message of a step is sent over a channel.
    Sent(String, ChannelType),
    /// A step is skipped, perhaps for one channel only.
    Skipped(Option<String>, Reason),
    /// A step waits until it may be sent.
    Deferred(Reason),
    /// The success of a step is reached.
    Succeeded,
    /// A step failed.
    Failed(Reason),
    /// The wait of a step is over without its success.
    WaitOver(Reason),
    /// The person answers.
    Answered,
    /// The person is put on a call list.
    Listed(String),
    /// The notification ends.
    Ended(State),
}

/// One moment of a timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// When.
    pub at: DateTime<Utc>,
    /// The step; none when it concerns none.
    pub step: Option<usize>,
    /// What happens.
    pub what: What,
}

/// How a policy goes if the person behaves in one way.
#[derive(Debug, Clone)]
pub struct Timeline {
    /// What the person does.
    pub scenario: Scenario,
    /// What happens, in order of time.
    pub moments: Vec<Moment>,
    /// Where it ends.
    pub end: State,
}

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question {
    /// The policy.
    pub definition: Definition,
    /// Whose addresses, consents and zone are used; none means somebody with every kind of address.
    pub contact: Option<ContactName>,
    /// The purpose for which consent is asked.
    pub purpose: String,
    /// When it begins; none means now.
    pub start: Option<DateTime<Utc>>,
    /// The zone when no contact is named; none means the deployment's.
    pub time_zone: Option<Tz>,
}

/// Plays a policy through, once for each thing that a person may do.
///
/// # Errors
/// [`Error::NotFound`] for the contact; NOT_VALID when the policy cannot be played as it stands.
pub async fn simulate(context: &Context, mut question: Question) -> Result<Vec<Timeline>> {
    let found = super::validate(context, &mut question.definition, None).await?;
    if let Some(first) = found.first() {
        let message =
            format!("the policy cannot be played: {} {}; validate it to see all", first.field, first.description);
        return Err(Error::WrongState { reason: "NOT_VALID", message });
    }
    let start = question.start.unwrap_or_else(|| context.clock.now());
    let mut channels = channel_facts(context, &question.definition, start).await?;
    let conn = &mut *context.lists.conn().await?;
    channels.templates = templates(conn, &question.definition).await?;
    let recipient = recipient(context, conn, &question, &channels).await?;
    let world = World { policy: &question.definition.policy, recipient: &recipient, channels: &channels };
    let valid_until = start + question.definition.valid_for();
    Ok(Scenario::ALL.iter().map(|s| world.play(*s, &question.purpose, start, valid_until)).collect())
}

async fn channel_facts(context: &Context, definition: &Definition, now: DateTime<Utc>) -> Result<ChannelFacts> {
    let own = definition.quiet_hours.map(quiet_rules);
    let rules = own.as_deref().unwrap_or(&context.settings.quiet_hours);
    Ok(context.directory.snapshot(&context.lists).await?.facts(rules, now))
}

async fn templates(conn: &mut Conn, definition: &Definition) -> Result<Vec<domain::fallback::TemplateFact>> {
    let mut facts = Vec::new();
    for name in definition.policy.steps.iter().filter_map(|step| step.template.as_deref()) {
        let Reference { slug, number } = Reference::parse(name);
        let Some((_, _, row)) = storage::templates::resolve(conn, &[&slug], &[number]).await?.pop() else { continue };
        let template: templates::Definition = serde_json::from_value(row.definition).map_err(storage::Error::from)?;
        facts.extend(template_facts(name, &template.compile()?, &template));
    }
    Ok(facts)
}

/// The contact, or somebody with every kind of address who has just written to us; every variable is taken to be given.
async fn recipient(
    context: &Context,
    conn: &mut Conn,
    question: &Question,
    channels: &ChannelFacts,
) -> Result<RecipientFacts> {
    let contents = channels.templates.iter().flat_map(|t| &t.contents);
    let variables: Vec<String> = contents.flat_map(|c| c.variables.iter().cloned()).collect();
    let Some(name) = &question.contact else {
        let kinds = AddressKind::ALL.iter().filter(|kind| **kind != AddressKind::External);
        let media = channels.channels.iter().filter_map(|channel| channel.scheme.as_ref());
        let known = kinds.map(|kind| Address { kind: *kind, value: String::new() });
        let known = known.chain(media.map(|m| Address { kind: AddressKind::External, value: format!("{m}:somebody") }));
        let address = |(id, address): (i64, Address)| AddressFacts {
            service_window_until: Some(DateTime::<Utc>::MAX_UTC),
            ..AddressFacts::new(id, address)
        };
        return Ok(RecipientFacts {
            time_zone: question.time_zone.unwrap_or(context.settings.time_zone),
            locale: None,
            addresses: (1..).zip(known).map(address).collect(),
            variables,
        });
    };
    let contact = crate::services::contacts::get(context, name).await?;
    let row = storage::recipients::load(conn, &[contact.id]).await?.remove(&contact.id);
    let row = row.ok_or_else(|| Error::NotFound(name.to_string()))?;
    let snapshot = context.directory.snapshot(&context.lists).await?;
    let facts = recipient_facts(&row, context.settings.time_zone, &snapshot, &serde_json::json!({}));
    Ok(RecipientFacts { variables, ..facts })
}

struct World<'a> {
    policy: &'a Policy,
    recipient: &'a RecipientFacts,
    channels: &'a ChannelFacts,
}

/// One timeline while it is played.
struct Play<'a> {
    world: &'a World<'a>,
    scenario: Scenario,
    valid_until: DateTime<Utc>,
    now: DateTime<Utc>,
    sent: usize,
    moments: Vec<Moment>,
}

impl World<'_> {
    fn play(&self, scenario: Scenario, purpose: &str, start: DateTime<Utc>, valid_until: DateTime<Utc>) -> Timeline {
        let mut play = Play { world: self, scenario, valid_until, now: start, sent: 0, moments: Vec::new() };
        let (mut from_step, mut because) = (0, None);
        let end = loop {
            let entry = Entry {
                from_step,
                purpose,
                template: None,
                valid_until: Some(valid_until),
                planned_at: start,
                because,
                now: play.now,
            };
            match play.enter(&entry) {
                Next::Enter { step, reason } => (from_step, because) = (step, reason.or(because)),
                Next::End(state) => break state,
            }
            if play.moments.len() > MAX_MOMENTS {
                break State::Exhausted;
            }
        };
        play.note(None, What::Ended(end));
        Timeline { scenario, moments: play.moments, end }
    }
}

enum Next {
    Enter { step: usize, reason: Option<Reason> },
    End(State),
}

impl Play<'_> {
    fn note(&mut self, step: Option<usize>, what: What) {
        self.moments.push(Moment { at: self.now, step, what });
    }

    fn slug(&self, channel: i32) -> String {
        self.world.channels.channels.iter().find(|c| c.key == channel).map(|c| c.slug.clone()).unwrap_or_default()
    }

    fn enter(&mut self, entry: &Entry<'_>) -> Next {
        let entered = enter(self.world.policy, self.world.recipient, self.world.channels, entry);
        for skip in entered.skipped {
            let channel = skip.channel.map(|key| self.slug(key));
            self.note(Some(skip.step), What::Skipped(channel, skip.reason));
        }
        match entered.then {
            Then::Send(send) => self.send(&send),
            Then::Defer { step, until, reason } => {
                self.note(Some(step), What::Deferred(reason));
                self.now = until;
                Next::Enter { step, reason: None }
            }
            Then::CallList { step, call_list } => {
                self.note(Some(step), What::Listed(call_list));
                Next::End(State::Exhausted)
            }
            Then::Exhausted { .. } => Next::End(if self.sent == 0 { State::Skipped } else { State::Exhausted }),
            Then::Expired => Next::End(State::Expired),
        }
    }

    fn send(&mut self, send: &Send) -> Next {
        self.note(Some(send.step), What::Sent(self.slug(send.channel), send.channel_type));
        self.sent += 1;
        let first = self.sent == 1;
        if first && self.scenario == Scenario::Replied {
            self.note(Some(send.step), What::Answered);
            return Next::End(State::Replied);
        }
        let delivery = self.delivery(send, first);
        self.wait(send.step, delivery)
    }

    /// What becomes of a message, as far as its channel type can prove it.
    fn delivery(&self, send: &Send, first: bool) -> DeliveryFacts {
        let provable =
            |evidence, success: Success| if success.provable_by(send.channel_type) { evidence } else { Evidence::Sent };
        let evidence = match self.scenario {
            Scenario::Silent | Scenario::Replied => Evidence::Sent,
            Scenario::Delivered => provable(Evidence::Delivered, Success::Delivered),
            Scenario::Read if first => provable(Evidence::Read, Success::Read),
            Scenario::Read => Evidence::Sent,
            Scenario::Failed => Evidence::Failed,
        };
        let failed = evidence == Evidence::Failed;
        DeliveryFacts {
            step: send.step,
            work: Work::Done,
            evidence,
            failure: failed.then_some(FailureClass::Permanent),
            reason: None,
            started: (!failed).then_some(self.now),
        }
    }

    /// Asks the rulebook until it leaves the step.
    fn wait(&mut self, step: usize, delivery: DeliveryFacts) -> Next {
        let failed = delivery.evidence == Evidence::Failed;
        let wait = self.world.policy.steps.get(step).map_or(TimeDelta::zero(), |s| s.wait);
        let facts = NotificationFacts {
            state: State::Waiting,
            step,
            generation: 0,
            due: Some(self.now + wait),
            deliveries: vec![delivery],
            unmerged_since: None,
            valid_until: Some(self.valid_until),
            paused: false,
        };
        loop {
            let now = Now { real: self.now, group: self.now };
            let left = |reason| if failed { What::Failed(reason) } else { What::WaitOver(reason) };
            match decide(self.world.policy, &facts, None, now) {
                Decision::Succeeded { state, .. } => {
                    self.note(Some(step), What::Succeeded);
                    return Next::End(state);
                }
                Decision::KeepWaiting { until } | Decision::Hold { until } if until > self.now => self.now = until,
                Decision::Advance { to, reason } => {
                    self.note(Some(step), left(reason));
                    return Next::Enter { step: to, reason: Some(reason) };
                }
                Decision::Exhausted { reason } => {
                    self.note(Some(step), left(reason));
                    return Next::End(State::Exhausted);
                }
                Decision::Expired => return Next::End(State::Expired),
                Decision::Enter { .. } | Decision::Nothing | Decision::KeepWaiting { .. } | Decision::Hold { .. } => {
                    return Next::End(State::Exhausted);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::fallback::{ChannelFact, Step, Target};

    use super::*;

    fn channels() -> ChannelFacts {
        let fact = |key, slug: &str, channel_type| ChannelFact {
            key,
            slug: slug.into(),
            channel_type,
            scheme: None,
            enabled: true,
            parked: false,
            providers_down_until: None,
        };
        let channels = vec![fact(1, "wa", ChannelType::Whatsapp), fact(2, "sms", ChannelType::Sms)];
        ChannelFacts { channels, ..ChannelFacts::default() }
    }

    fn play(scenario: Scenario) -> Timeline {
        let mut whatsapp = Step::to(Target::ChannelType(ChannelType::Whatsapp));
        (whatsapp.success, whatsapp.read_fallback) = (Success::Read, Some(TimeDelta::minutes(30)));
        let steps =
            vec![whatsapp, Step::to(Target::Channel("sms".into())), Step::to(Target::CallList("office".into()))];
        let policy = Policy { steps, at_least_once: false, purpose: "service".into() };
        let phone = Address { kind: AddressKind::Phone, value: "+919812345678".into() };
        let recipient = RecipientFacts {
            time_zone: Tz::UTC,
            locale: None,
            addresses: vec![AddressFacts::new(1, phone)],
            variables: Vec::new(),
        };
        let start = DateTime::UNIX_EPOCH;
        let world = World { policy: &policy, recipient: &recipient, channels: &channels() };
        world.play(scenario, "service", start, start + TimeDelta::days(30))
    }

    fn minutes(timeline: &Timeline) -> Vec<i64> {
        timeline.moments.iter().map(|m| (m.at - DateTime::UNIX_EPOCH).num_minutes()).collect()
    }

    #[test]
    fn silence_leads_through_every_step_to_the_call_list() {
        let timeline = play(Scenario::Silent);
        assert_eq!((minutes(&timeline), timeline.end), (vec![0, 60, 60, 120, 120, 120], State::Exhausted));
        assert!(matches!(timeline.moments[4].what, What::Listed(ref list) if list == "office"));
    }

    #[test]
    fn delivery_counts_as_read_after_a_while() {
        let timeline = play(Scenario::Delivered);
        assert_eq!((minutes(&timeline), timeline.end), (vec![0, 30, 30], State::Reached));
    }

    #[test]
    fn a_read_or_answered_message_ends_it_at_once_and_refusals_go_through_at_once() {
        assert_eq!((minutes(&play(Scenario::Read)), play(Scenario::Read).end), (vec![0, 0, 0], State::Reached));
        assert_eq!(play(Scenario::Replied).end, State::Replied);
        let failed = play(Scenario::Failed);
        assert_eq!(minutes(&failed).last(), Some(&0));
        assert_eq!(failed.end, State::Exhausted);
    }
}
