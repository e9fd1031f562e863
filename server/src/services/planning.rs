//! Entering policies: from "this person, this plan, from this step on" to the rows that carry it out. Used where notifications
//! begin (a send, a page of a campaign, a batch of firings) and where they fall back. A page costs a handful of statements,
//! whatever its size.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use chrono::{DateTime, Duration, Utc};
use chrono_tz::Tz;
use domain::{
    channel::{ChannelType, Lane},
    consent::{self, Consent},
    fallback::{
        AddressFacts, ChannelFacts, Entered, Entry, QuietRule, RecipientFacts, Then, enter,
        policy::{Policy, Target},
    },
    locale::Locale,
    notification::{Reason, State},
    pacing::chunk_size_within,
    quiet_hours::Window,
    sms::segments,
};
use uuid::Uuid;

use super::{Context, Result, caps::Caps, directory::Snapshot, plans::PinnedPlan};
use crate::storage::{
    Conn, beginning,
    campaigns::groups,
    planning::{self, CallListEntryRow, DeliveryRow, NotificationRow, TimerRow},
    queue::{self, NewChunk},
    recipients::{self, RecipientRow},
};

/// How long a person's message keeps the provider's service window open.
const SERVICE_WINDOW: Duration = Duration::hours(24);

/// A notification that enters its policy, or the next step of it.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The notification.
    pub id: Uuid,
    /// The person.
    pub contact_id: i64,
    /// The campaign.
    pub campaign_id: Option<i64>,
    /// The share of the campaign in its channels, 1 to 1000.
    pub weight: i32,
    /// The lane of its deliveries.
    pub lane: Lane,
    /// The plan.
    pub plan: Arc<PinnedPlan>,
    /// The first step to try.
    pub from_step: i16,
    /// Why the step before was left; none at the beginning.
    pub because: Option<Reason>,
    /// Why one writes.
    pub purpose: String,
    /// The variables of its templates.
    pub variables: serde_json::Value,
    /// Past this nothing is sent.
    pub valid_until: Option<DateTime<Utc>>,
    /// When it was planned.
    pub planned_at: DateTime<Utc>,
    /// Whether anything was ever sent for it.
    pub ever_sent: bool,
    /// The generation that its timers will have.
    pub generation: i32,
}

/// Where a notification stands after entering.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The state.
    pub state: State,
    /// The step.
    pub step: i16,
    /// Why, where it ended or waits.
    pub reason: Option<Reason>,
}

/// A page that is being placed: first every subject, then [`Page::flush`] after the notifications themselves were written.
#[derive(Debug)]
pub struct Page {
    now: DateTime<Utc>,
    zone: Tz,
    context: Context,
    snapshot: Arc<Snapshot>,
    recipients: HashMap<i64, RecipientRow>,
    facts: HashMap<i64, ChannelFacts>,
    groups: HashMap<(Option<i64>, i32, Lane), i64>,
    deliveries: Vec<DeliveryRow>,
    timers: Vec<TimerRow>,
    call_lists: Vec<CallListEntryRow>,
    queued: BTreeMap<(ChannelType, Lane, i64, i32), Vec<Queued>>,
    /// The campaigns of groups, with the rate that each may begin.
    rates: HashMap<i64, Option<f64>>,
    caps: Caps,
}

/// A delivery that is about to be queued.
#[derive(Debug, Clone, Copy)]
struct Queued {
    id: Uuid,
    /// Parts of a short message; 1 where nobody counts them.
    parts: i32,
    /// What it costs, in millionths.
    micros: i64,
}

impl Page {
    /// Loads the facts of the contacts of a page.
    ///
    /// # Errors
    /// What storage says.
    pub async fn load(context: &Context, snapshot: Arc<Snapshot>, conn: &mut Conn, contacts: &[i64]) -> Result<Self> {
        let (recipients, caps) = recipients::load_with_caps(conn, contacts).await?;
        let now = context.clock.now();
        let addresses = recipients.values().flat_map(|r| &r.addresses).map(|a| a.id).collect();
        let caps = Caps::load(conn, caps, addresses, now).await?;
        Ok(Self {
            now,
            zone: context.settings.time_zone,
            context: context.clone(),
            snapshot,
            recipients,
            facts: HashMap::new(),
            groups: HashMap::new(),
            deliveries: Vec::new(),
            timers: Vec::new(),
            call_lists: Vec::new(),
            queued: BTreeMap::new(),
            rates: HashMap::new(),
            caps,
        })
    }

    /// The time of this page: one for all its rows.
    #[must_use]
    pub const fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// The zone of a contact, or the deployment's.
    #[must_use]
    pub fn zone_of(&self, contact_id: i64) -> Tz {
        self.recipients.get(&contact_id).and_then(|r| r.time_zone.parse().ok()).unwrap_or(self.zone)
    }

    /// The language of a contact; empty where it is not known.
    #[must_use]
    pub fn locale_of(&self, contact_id: i64) -> &str {
        self.recipients.get(&contact_id).map_or("", |r| r.locale.as_str())
    }

    /// Asks the rulebook where a subject stands, and notes what is to be written for it.
    ///
    /// # Errors
    /// What storage says (a send group may have to be made).
    pub async fn place(&mut self, conn: &mut Conn, subject: &Subject) -> Result<Placed> {
        match self.foresee(subject) {
            Some(entered) => self.note(conn, subject, entered).await,
            None => Ok(ended(State::Skipped, subject.from_step, Reason::NoAddress)),
        }
    }

    /// What would happen to a subject now; nothing is noted. None for a contact that does not exist.
    pub fn foresee(&mut self, subject: &Subject) -> Option<Entered> {
        let recipient = self.recipients.get(&subject.contact_id)?;
        let mut recipient = recipient_facts(recipient, self.zone, &self.snapshot, &subject.variables);
        for address in &mut recipient.addresses {
            address.capped = self.caps.capped(address.id, &subject.purpose);
        }
        let now = self.now;
        let facts = self.channel_facts(&subject.plan);
        let entry = Entry {
            from_step: usize::try_from(subject.from_step).unwrap_or_default(),
            purpose: &subject.purpose,
            template: None,
            valid_until: subject.valid_until,
            planned_at: subject.planned_at,
            because: subject.because,
            now,
        };
        Some(enter(&subject.plan.policy, &recipient, facts, &entry))
    }

    /// Lets a notification begin later: pending, with a timer in the clock of its first step's group.
    ///
    /// # Errors
    /// What storage says.
    pub async fn defer(&mut self, conn: &mut Conn, subject: &Subject, until: DateTime<Utc>) -> Result<Placed> {
        self.arm(conn, subject, subject.from_step, until).await?;
        Ok(Placed { state: State::Pending, step: subject.from_step, reason: None })
    }

    /// Writes notifications that begin with what was noted for them: deliveries, chunks, timers, call lists.
    ///
    /// # Errors
    /// What storage says.
    pub async fn begin(self, conn: &mut Conn, notifications: &[NotificationRow]) -> Result<()> {
        let chunks = self.chunks(|_| true);
        beginning::begin(conn, notifications, &self.deliveries, &chunks, self.now).await?;
        self.write_rest(conn).await
    }

    /// Writes what was noted for notifications that stand: deliveries, chunks, timers, call lists. Says whether something waits
    /// for the relay.
    ///
    /// # Errors
    /// What storage says.
    pub async fn flush(self, conn: &mut Conn) -> Result<bool> {
        let inserted: HashSet<Uuid> = match self.deliveries.is_empty() {
            true => HashSet::new(),
            false => planning::insert_deliveries(conn, &self.deliveries, self.now).await?.into_iter().collect(),
        };
        let chunks = self.chunks(|id| inserted.contains(&id));
        if !chunks.is_empty() {
            queue::enqueue(conn, &chunks).await?;
        }
        self.write_rest(conn).await?;
        Ok(!chunks.is_empty())
    }

    /// The chunks of those queued deliveries that are written.
    fn chunks(&self, is_written: impl Fn(Uuid) -> bool) -> Vec<NewChunk> {
        let mut chunks = Vec::new();
        for ((channel_type, lane, send_group_id, channel_id), queued) in &self.queued {
            let queued: Vec<Queued> = queued.iter().copied().filter(|q| is_written(q.id)).collect();
            let campaign = self.rates.get(send_group_id).copied().flatten();
            let calls = self.snapshot.limits(*channel_id).calls;
            let size = chunk_size_within(*lane, self.snapshot.rate(*channel_id), campaign, calls);
            chunks.extend(queued.chunks(size).map(|part| NewChunk {
                channel_type: channel_type.as_str().to_owned(),
                lane: *lane,
                send_group_id: *send_group_id,
                delivery_ids: part.iter().map(|q| q.id).collect(),
                delay_secs: 0.0,
                parts: part.iter().map(|q| q.parts).fold(0, i32::saturating_add),
                price_micros: part.iter().map(|q| q.micros).fold(0, i64::saturating_add),
            }));
        }
        chunks
    }

    async fn write_rest(&self, conn: &mut Conn) -> Result<()> {
        if !self.timers.is_empty() {
            planning::arm_timers(conn, &self.timers).await?;
        }
        if !self.call_lists.is_empty() {
            planning::enter_call_lists(conn, &self.call_lists, self.now).await?;
        }
        Ok(())
    }

    fn channel_facts(&mut self, plan: &PinnedPlan) -> &ChannelFacts {
        let (snapshot, quiet_hours, now) = (&self.snapshot, &self.context.settings.quiet_hours, self.now);
        self.facts.entry(plan.id).or_insert_with(|| {
            let own = plan.quiet_hours.map(quiet_rules);
            let templates = plan.template_facts.clone();
            ChannelFacts { templates, ..snapshot.facts(own.as_deref().unwrap_or(quiet_hours), now) }
        })
    }

    async fn note(&mut self, conn: &mut Conn, subject: &Subject, entered: Entered) -> Result<Placed> {
        self.note_skipped(subject, &entered);
        match entered.then {
            Then::Send(send) => {
                let step = index(send.step);
                let group = self.group(conn, subject, send.channel, send.channel_type).await?;
                let id = Uuid::now_v7();
                self.deliveries.push(DeliveryRow {
                    id,
                    notification_id: subject.id,
                    step,
                    send_group_id: Some(group),
                    channel_id: Some(send.channel),
                    address_id: Some(send.address_id),
                    skipped: None,
                    valid_until: send.valid_until,
                });
                self.caps.note(send.address_id, send.channel_type, &subject.purpose);
                let queued = self.weigh(id, subject, send.step, send.channel);
                self.queued.entry((send.channel_type, subject.lane, group, send.channel)).or_default().push(queued);
                Ok(Placed { state: State::Waiting, step, reason: None })
            }
            Then::Defer { step, until, reason } => {
                self.arm(conn, subject, index(step), until).await?;
                let state = if subject.ever_sent { State::Waiting } else { State::Pending };
                Ok(Placed { state, step: index(step), reason: Some(reason) })
            }
            Then::CallList { step, call_list } => {
                self.call_lists.push(CallListEntryRow {
                    call_list,
                    notification_id: subject.id,
                    contact_id: subject.contact_id,
                });
                Ok(ended(State::Exhausted, index(step), Reason::OnCallList))
            }
            Then::Exhausted { reason } => {
                let state = if subject.ever_sent { State::Exhausted } else { State::Skipped };
                let last = index(subject.plan.policy.steps.len().saturating_sub(1));
                Ok(ended(state, last, reason))
            }
            Then::Expired => Ok(ended(State::Expired, subject.from_step, Reason::ValidityPassed)),
        }
    }

    /// What a delivery counts against rates in parts, and against a budget. Its words are rendered only where parts count.
    fn weigh(&self, id: Uuid, subject: &Subject, step: usize, channel: i32) -> Queued {
        let Some(channel) = self.snapshot.channel(channel) else { return Queued { id, parts: 1, micros: 0 } };
        let locale = self.locale_of(subject.contact_id);
        let parts = match channel.counts_parts() {
            true => parts_of(&subject.plan, step, locale, &subject.variables),
            false => 1,
        };
        let micros = channel.row.price.as_ref().map_or(0, |price| price.times(parts.into()));
        Queued { id, parts, micros }
    }

    /// A step that is skipped gets a delivery that says why; of a step with several channels the last one speaks.
    fn note_skipped(&mut self, subject: &Subject, entered: &Entered) {
        let sent = match &entered.then {
            Then::Send(send) => Some(send.step),
            Then::Defer { step, .. } => Some(*step),
            Then::CallList { .. } | Then::Exhausted { .. } | Then::Expired => None,
        };
        let last: BTreeMap<usize, _> = entered.skipped.iter().map(|skip| (skip.step, skip)).collect();
        for skip in last.into_values().filter(|skip| Some(skip.step) != sent) {
            self.deliveries.push(DeliveryRow {
                id: Uuid::now_v7(),
                notification_id: subject.id,
                step: index(skip.step),
                send_group_id: None,
                channel_id: skip.channel,
                address_id: None,
                skipped: Some(skip.reason.as_str().to_owned()),
                valid_until: None,
            });
        }
    }

    async fn arm(&mut self, conn: &mut Conn, subject: &Subject, step: i16, due_at: DateTime<Utc>) -> Result<()> {
        // A timer runs in the clock of the group that its step will use; any group of the notification serves.
        let Some((channel_id, channel_type)) = self.channel_of(&subject.plan.policy, step) else { return Ok(()) };
        let send_group_id = self.group(conn, subject, channel_id, channel_type).await?;
        self.timers.push(TimerRow {
            notification_id: subject.id,
            send_group_id,
            due_at,
            generation: subject.generation,
        });
        Ok(())
    }

    fn channel_of(&self, policy: &Policy, step: i16) -> Option<(i32, ChannelType)> {
        let channels = &self.snapshot.channels;
        let of_step = policy.steps.get(usize::try_from(step).ok()?).and_then(|step| match &step.target {
            Target::Channel(slug) => channels.iter().find(|c| c.row.slug == *slug),
            Target::ChannelType(channel_type) => channels.iter().find(|c| c.row.channel_type == *channel_type),
            Target::CallList(_) => None,
        });
        of_step.or_else(|| channels.first()).map(|c| (c.row.id, c.row.channel_type))
    }

    async fn group(
        &mut self,
        conn: &mut Conn,
        subject: &Subject,
        channel_id: i32,
        channel_type: ChannelType,
    ) -> Result<i64> {
        let key = (subject.campaign_id, channel_id, subject.lane);
        if let Some(id) = self.groups.get(&key) {
            return Ok(*id);
        }
        let known = match subject.campaign_id {
            None => self.context.directory.direct_group(&self.context.side, channel_id, subject.lane).await?,
            Some(_) => None,
        };
        let id = match known {
            Some(id) => id,
            None => {
                let (campaign, weight) = (subject.campaign_id, subject.weight);
                planning::send_group(conn, campaign, channel_id, channel_type, subject.lane, weight).await?
            }
        };
        self.groups.insert(key, id);
        if let Some(campaign) = subject.campaign_id {
            self.rates.insert(id, groups::rate(conn, campaign).await?);
        }
        Ok(id)
    }
}

/// The parts of a short message that a step says to a person; 1 where it says nothing that can be counted.
pub(super) fn parts_of(plan: &PinnedPlan, step: usize, locale: &str, variables: &serde_json::Value) -> i32 {
    let template = plan.templates.get(step).and_then(Option::as_ref);
    let locales: Vec<&str> = Some(locale).filter(|l| !l.is_empty()).into_iter().collect();
    let rendered = template.zip(variables.as_object()).map(|(t, v)| t.render(ChannelType::Sms, &locales, v));
    let said = rendered.and_then(std::result::Result::ok).map(|said| said.content.plain_text());
    said.map_or(1, |words| i32::from(segments(&words).parts.min(i16::MAX.unsigned_abs())))
}

fn ended(state: State, step: i16, reason: Reason) -> Placed {
    Placed { state, step, reason: Some(reason) }
}

/// A policy's own quiet hours hold on every channel type, for every purpose.
pub(super) fn quiet_rules(window: Window) -> Vec<QuietRule> {
    let rule = |&channel_type| QuietRule { channel_type, purpose: consent::ALL.to_owned(), window };
    ChannelType::ALL.iter().map(rule).collect()
}

/// Steps are at most 20.
fn index(step: usize) -> i16 {
    i16::try_from(step).unwrap_or(i16::MAX)
}

/// What steps ask of a contact.
pub(super) fn recipient_facts(
    row: &RecipientRow,
    zone: Tz,
    snapshot: &Snapshot,
    variables: &serde_json::Value,
) -> RecipientFacts {
    let whatsapp =
        |channel: i32| snapshot.channel(channel).is_some_and(|c| c.row.channel_type == ChannelType::Whatsapp);
    RecipientFacts {
        time_zone: row.time_zone.parse().unwrap_or(zone),
        locale: Locale::parse(&row.locale).ok(),
        addresses: row
            .addresses
            .iter()
            .map(|address| AddressFacts {
                id: address.id,
                kind: address.kind,
                value: address.value.clone(),
                suppressed: address.suppressed,
                capped: Vec::new(),
                consents: address
                    .consents
                    .iter()
                    .filter_map(|(channel_type, purpose, opted_in)| {
                        Some(Consent {
                            channel_type: channel_type.parse().ok()?,
                            purpose: purpose.clone(),
                            opted_out: !opted_in,
                        })
                    })
                    .collect(),
                service_window_until: address
                    .last_inbound
                    .iter()
                    .filter(|(channel, _)| whatsapp(*channel))
                    .map(|(_, at)| *at + SERVICE_WINDOW)
                    .max(),
            })
            .collect(),
        variables: variables.as_object().map(|v| v.keys().cloned().collect()).unwrap_or_default(),
    }
}
