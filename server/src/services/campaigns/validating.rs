//! What a campaign would do: whom it would reach now and why others would be skipped, with every problem; nothing is sent and
//! nothing of it is stored.
//!
//! The audience is read in pages, and the rulebook is asked of each person as it would be at planning. People of a query become
//! contacts in a transaction that is never committed.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    channel::{ChannelType, Lane},
    fallback::{PolicyWorld, Then, WorldChannel, WorldTemplate},
    notification::Reason,
    price::Money,
};
use uuid::Uuid;

use super::{
    get,
    planning::{of_contacts, variables},
    spec::Spec,
};
use crate::{
    services::{
        Context, Error, Result, Violation,
        audiences::reading::{self, Fetched, Person, Reader, identity},
        directory::Snapshot,
        planning::{Page, Subject, parts_of},
        plans::PinnedPlan,
        work::Work,
    },
    storage::{audiences, campaigns, contacts},
};

/// How long reading the audience may take; what was read until then is counted.
const READ_FOR: Duration = Duration::from_secs(20);
/// People that are looked at in one transaction.
const PAGE: usize = 1000;

/// What is to be checked.
#[derive(Debug, Clone)]
pub enum Asked {
    /// A stored campaign, by its slug.
    Stored(String),
    /// A spec that is not stored.
    Unstored(Box<Spec>),
}

/// Something that is wrong, or worth knowing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Whether the campaign cannot work with it.
    pub forbids: bool,
    /// Where, what, and the documented reason.
    pub violation: Violation,
}

/// One person as an example.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sample {
    /// The contact; none for a person who is none yet.
    pub contact_id: Option<i64>,
    /// What the person is called.
    pub display_name: String,
    /// Why the person would be skipped.
    pub skipped: Option<Reason>,
    /// The channel type of the first step that applies.
    pub channel_type: Option<ChannelType>,
    /// What that step would say.
    pub plain_text: String,
}

/// What a campaign would do.
#[derive(Debug, Clone, Default)]
pub struct Foreseen {
    /// All problems.
    pub problems: Vec<Problem>,
    /// How many people are in the audience, each once.
    pub recipients: i64,
    /// How many of them would be sent something.
    pub reachable: i64,
    /// Why the others would be skipped.
    pub skips: BTreeMap<Reason, i64>,
    /// Rows of a query that are no person.
    pub unmappable: i64,
    /// By which channel the first step that applies would go.
    pub first_channels: BTreeMap<(i32, ChannelType), i64>,
    /// Parts of short messages that the first steps would send, by channel; for other media messages.
    pub parts: BTreeMap<i32, i64>,
    /// What the first steps would cost, by channel.
    pub costs: Vec<Cost>,
    /// How long the first steps would take; none where nothing limits them.
    pub takes: Option<TimeDelta>,
    /// Examples.
    pub samples: Vec<Sample>,
}

/// What the first steps would cost on one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cost {
    /// The slug of the channel.
    pub channel: String,
    /// Messages.
    pub messages: i64,
    /// Parts of short messages; for other media messages.
    pub parts: i64,
    /// What they cost; none where the channel has no price.
    pub cost: Option<Money>,
}

impl Foreseen {
    /// Whether it may be started.
    #[must_use]
    pub fn valid(&self) -> bool {
        self.problems.iter().all(|problem| !problem.forbids)
    }

    fn forbid(&mut self, violations: impl IntoIterator<Item = Violation>) {
        self.problems.extend(violations.into_iter().map(|violation| Problem { forbids: true, violation }));
    }
}

/// Looks what a campaign would do.
///
/// # Errors
/// [`Error::NotFound`]; what storage says. What is wrong with the campaign is in the answer.
pub async fn validate(context: &Context, asked: &Asked, samples: usize) -> Result<Foreseen> {
    let spec = match asked {
        Asked::Stored(slug) => get(context, slug).await?.definition.spec,
        Asked::Unstored(spec) => (**spec).clone(),
    };
    let mut foreseen = Foreseen::default();
    match pinned(context, &spec).await {
        Ok(plan) => {
            let snapshot = context.directory.snapshot(&context.side).await?;
            foreseen.forbid(misfits(context, &plan, &snapshot).await?);
            let mut look = Look { spec: &spec, plan, snapshot, samples, seen: HashSet::new(), foreseen };
            match look.read(context).await {
                Ok(()) => {}
                Err(error) => look.foreseen.forbid(of_error(error)?),
            }
            look.foreseen.takes = look.takes();
            look.foreseen.costs = look.costs();
            look.warn_of_budget();
            Ok(look.foreseen)
        }
        Err(error) => {
            foreseen.forbid(of_error(error)?);
            Ok(foreseen)
        }
    }
}

/// The plan as it would be pinned. A plan that nobody uses does no harm, so it is kept at once.
async fn pinned(context: &Context, spec: &Spec) -> Result<Arc<PinnedPlan>> {
    let mut work = Work::begin(context).await?;
    let now = work.now();
    let (_, id) = spec.pin(context, work.conn(), now).await?;
    work.commit(context).await?;
    context.plans.load(&mut *context.lists.conn().await?, id).await
}

/// What of the policy does not fit the channels, call lists and templates that there are.
async fn misfits(context: &Context, plan: &PinnedPlan, snapshot: &Snapshot) -> Result<Vec<Violation>> {
    let mut templates: BTreeMap<String, Vec<ChannelType>> = BTreeMap::new();
    for fact in &plan.template_facts {
        templates.entry(fact.slug.clone()).or_default().push(fact.channel_type);
    }
    let channel = |c: &super::super::directory::Channel| WorldChannel {
        slug: c.row.slug.clone(),
        channel_type: c.row.channel_type,
    };
    let world = PolicyWorld {
        channels: snapshot.channels.iter().map(channel).collect(),
        call_lists: campaigns::call_lists(&mut *context.lists.conn().await?).await?,
        templates: templates.into_iter().map(|(slug, channel_types)| WorldTemplate { slug, channel_types }).collect(),
    };
    let found = plan.policy.validate(&world).err().unwrap_or_default();
    Ok(found.into_iter().map(|v| Violation::from(v).inside("spec.plan")).collect())
}

/// What is wrong with the campaign, as problems; what is wrong with us stays an error.
fn of_error(error: Error) -> Result<Vec<Violation>> {
    match error {
        Error::Invalid(found) => Ok(found),
        Error::ReferenceNotFound { field, name } => {
            Ok(vec![Violation::new(field, format!("{name} does not exist")).because("REFERENCE_NOT_FOUND")])
        }
        Error::Outside { reason, message } => Ok(vec![Violation::new("spec.audience", message).because(reason)]),
        other => Err(other),
    }
}

/// A look at an audience.
struct Look<'a> {
    spec: &'a Spec,
    plan: Arc<PinnedPlan>,
    snapshot: Arc<Snapshot>,
    samples: usize,
    seen: HashSet<String>,
    foreseen: Foreseen,
}

impl Look<'_> {
    async fn read(&mut self, context: &Context) -> Result<()> {
        let name = &self.spec.audience;
        let audience = audiences::find(&mut *context.lists.conn().await?, name).await?;
        let missing = || Error::ReferenceNotFound { field: "spec.audience".into(), name: format!("audiences/{name}") };
        let mut reader = Reader::open(context, &audience.ok_or_else(missing)?, 0).await?;
        let begun = Instant::now();
        loop {
            let mut page = reader.fetch(context, PAGE).await?;
            if page.is_empty() {
                return Ok(());
            }
            self.once(&mut page);
            self.page(context, &page).await?;
            if begun.elapsed() > READ_FOR {
                let text = format!("is large: only its first {} people were looked at", self.foreseen.recipients);
                let violation = Violation::new("spec.audience", text);
                self.foreseen.problems.push(Problem { forbids: false, violation });
                return Ok(());
            }
        }
    }

    /// Takes rows out of a page whose people were in an earlier one: what becomes of their contacts is not kept.
    fn once(&mut self, page: &mut Fetched) {
        let Fetched::Rows(rows) = page else { return };
        let before = rows.len();
        rows.retain(|row| row.as_ref().map_or(true, |person| self.seen.insert(identity(person))));
        self.skip(Reason::Duplicate, before - rows.len());
    }

    async fn page(&mut self, context: &Context, page: &Fetched) -> Result<()> {
        let mut work = Work::begin(context).await?;
        let taken = reading::take(&mut work, page).await?;
        let (now, count) = (work.now(), |n: usize| i64::try_from(n).unwrap_or(i64::MAX));
        self.skip(Reason::Duplicate, taken.duplicates);
        self.foreseen.unmappable += count(taken.unmappable.len());
        self.foreseen.recipients += count(taken.people.len());
        let ids: Vec<i64> = taken.people.iter().map(|person| person.contact_id).collect();
        let mut facts = Page::load(context, Arc::clone(&self.snapshot), work.conn(), &ids).await?;
        let mut own = of_contacts(&mut work, &self.plan, &ids).await?;
        let mut examples = Vec::new();
        for person in &taken.people {
            let subject = self.subject(person, own.remove(&person.contact_id), now);
            let then = facts.foresee(&subject).map(|entered| entered.then);
            let sample = self.count(then, &subject, facts.locale_of(subject.contact_id));
            if self.foreseen.samples.len() + examples.len() < self.samples {
                examples.push(sample);
            }
        }
        let of_rows = matches!(page, Fetched::Rows(_));
        self.show(&mut work, examples, of_rows).await
    }

    fn subject(&self, person: &Person, contact: Option<serde_json::Value>, now: DateTime<Utc>) -> Subject {
        let purpose = if self.spec.purpose.is_empty() { &self.plan.policy.purpose } else { &self.spec.purpose };
        let valid_for = self.spec.valid_for_ms.and_then(TimeDelta::try_milliseconds).unwrap_or(self.plan.valid_for);
        Subject {
            id: Uuid::nil(),
            contact_id: person.contact_id,
            campaign_id: None,
            weight: self.spec.weight,
            lane: Lane::Bulk,
            plan: Arc::clone(&self.plan),
            from_step: 0,
            because: None,
            purpose: purpose.clone(),
            variables: serde_json::Value::Object(variables(&self.spec.variables, &person.variables, contact)),
            valid_until: Some(now + valid_for),
            planned_at: now,
            ever_sent: false,
            generation: 0,
        }
    }

    /// Counts what would happen to a person, and makes an example of it.
    fn count(&mut self, then: Option<Then>, subject: &Subject, locale: &str) -> Sample {
        let contact_id = Some(subject.contact_id);
        let skipped = match then {
            Some(Then::Send(send)) => {
                self.foreseen.reachable += 1;
                *self.foreseen.first_channels.entry((send.channel, send.channel_type)).or_default() += 1;
                let parts = match send.channel_type {
                    ChannelType::Sms => parts_of(&self.plan, send.step, locale, &subject.variables),
                    ChannelType::Whatsapp
                    | ChannelType::Voice
                    | ChannelType::Email
                    | ChannelType::Telegram
                    | ChannelType::Webchat
                    | ChannelType::Webhook => 1,
                };
                *self.foreseen.parts.entry(send.channel).or_default() += i64::from(parts);
                let plain_text = self.say(send.step, send.channel_type, subject);
                return Sample { contact_id, channel_type: Some(send.channel_type), plain_text, ..Sample::default() };
            }
            Some(Then::Defer { .. }) => {
                self.foreseen.reachable += 1;
                return Sample { contact_id, ..Sample::default() };
            }
            Some(Then::CallList { .. }) => Reason::OnCallList,
            Some(Then::Exhausted { reason }) => reason,
            Some(Then::Expired) => Reason::ValidityPassed,
            None => Reason::NoAddress,
        };
        self.skip(skipped, 1);
        Sample { contact_id, skipped: Some(skipped), ..Sample::default() }
    }

    fn skip(&mut self, reason: Reason, n: usize) {
        if n > 0 {
            *self.foreseen.skips.entry(reason).or_default() += i64::try_from(n).unwrap_or(i64::MAX);
        }
    }

    /// What a step would say; empty where it has more examples than asked, or cannot be rendered.
    fn say(&self, step: usize, channel_type: ChannelType, subject: &Subject) -> String {
        if self.foreseen.samples.len() >= self.samples {
            return String::new();
        }
        let template = self.plan.templates.get(step).and_then(Option::as_ref);
        let rendered = template.zip(subject.variables.as_object()).map(|(t, v)| t.render(channel_type, &[], v));
        rendered.and_then(std::result::Result::ok).map(|r| r.content.plain_text()).unwrap_or_default()
    }

    /// Gives the examples their names. Contacts that this look made are none.
    async fn show(&mut self, work: &mut Work, examples: Vec<Sample>, of_rows: bool) -> Result<()> {
        let (ids, now): (Vec<i64>, _) = (examples.iter().filter_map(|s| s.contact_id).collect(), work.now());
        let found = contacts::load(work.conn(), &ids).await?;
        let found: HashMap<i64, contacts::ContactRow> = found.into_iter().map(|c| (c.id, c)).collect();
        self.foreseen.samples.extend(examples.into_iter().map(|sample| {
            let contact = sample.contact_id.and_then(|id| found.get(&id));
            Sample {
                contact_id: contact.filter(|c| !of_rows || c.created_at < now).map(|c| c.id),
                display_name: contact.map(|c| c.display_name.clone()).unwrap_or_default(),
                ..sample
            }
        }));
        Ok(())
    }

    /// What the first steps cost at the prices of the channels.
    fn costs(&self) -> Vec<Cost> {
        let of = |((channel, _), messages): (&(i32, ChannelType), &i64)| {
            let channel = self.snapshot.channel(*channel)?;
            let parts = self.foreseen.parts.get(&channel.row.id).copied().unwrap_or(*messages);
            let price = channel.row.price.as_ref();
            let cost = price.map(|p| Money { currency: p.currency.clone(), micros: p.times(parts) });
            Some(Cost { channel: channel.row.slug.clone(), messages: *messages, parts, cost })
        };
        self.foreseen.first_channels.iter().filter_map(of).collect()
    }

    /// Says where the first steps alone cost more than the budget.
    fn warn_of_budget(&mut self) {
        let Some(budget) = &self.spec.budget else { return };
        let all: i64 = self.foreseen.costs.iter().filter_map(|c| c.cost.as_ref()).map(|cost| cost.micros).sum();
        if all > budget.micros {
            let text =
                "is less than the first steps are estimated to cost: the campaign will be paused when it is reached";
            let violation = Violation::new("spec.budget", text);
            self.foreseen.problems.push(Problem { forbids: false, violation });
        }
    }

    /// How long the first steps take at the rates of the channels and of the campaign.
    fn takes(&self) -> Option<TimeDelta> {
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let of_channels = self
            .foreseen
            .first_channels
            .iter()
            .filter_map(|((channel, _), n)| Some(*n as f64 / self.snapshot.rate(*channel)?));
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let own = self.spec.rate().map(|rate| self.foreseen.reachable as f64 / rate);
        let longest = of_channels.chain(own).reduce(f64::max)?;
        #[expect(clippy::cast_possible_truncation, reason = "an estimate, bounded below a century")]
        TimeDelta::try_milliseconds((longest.min(3e9) * 1000.0) as i64)
    }
}
