//! What the relay knows of every limit: allowances of channels, providers and campaigns, what providers said about our speed,
//! turns, budgets, and how much a channel proves to take. It counts; [`super::Relay`] grants.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    channel::Lane,
    pacing::{
        AHEAD_SECS,
        adaptive::Meter,
        ahead::Ahead,
        allowance::{Allowance, burst},
        calls_of_lane,
        fair::{Claimant, Turns},
        of_lane, pair,
    },
};
use tokio::time::{Duration, Instant};

use crate::{
    services::directory::{Limits, Snapshot},
    storage::{
        Conn, Result, pace, pairs,
        queue::{Granted, WaitingGroup, Want},
    },
};

/// How often is looked at what other processes learnt.
const LOOK: Duration = Duration::from_millis(500);
/// When a channel that is full of calls, or of outstanding work, is looked at again.
const SOON: Duration = Duration::from_millis(50);

/// One channel and lane.
pub type Line = (i32, Lane);

/// How much one line may be granted now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Room {
    /// Deliveries; below 1: nothing.
    pub messages: f64,
    /// Parts of short messages.
    pub parts: f64,
    /// When it is worth to look again.
    pub again: Duration,
}

/// What is outstanding: deliveries on the bus or at a worker.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outstanding {
    /// Of the line.
    pub line: f64,
    /// Of its channel, both lanes.
    pub channel: f64,
}

/// See the module.
#[derive(Debug)]
pub struct Pace {
    clock: (DateTime<Utc>, Instant),
    looked: Option<Instant>,
    allowances: HashMap<String, Allowance>,
    taken: BTreeMap<String, Allowance>,
    providers: HashMap<i32, pace::ProviderPace>,
    meters: HashMap<i32, Meter>,
    turns: HashMap<Line, Turns>,
    ahead: HashMap<Line, (Ahead, bool)>,
    left_today: HashMap<i32, i64>,
    spent: HashMap<i64, i64>,
    turn: usize,
    /// Channels whose chunks are left to connectors outside, as of the last pass.
    pub fetched: HashSet<i32>,
}

impl Pace {
    /// What is known when a process begins to lead.
    ///
    /// # Errors
    /// What storage says.
    pub async fn load(conn: &mut Conn) -> Result<Self> {
        Ok(Self {
            clock: (pace::now(conn).await?, Instant::now()),
            looked: None,
            allowances: pace::load(conn).await?,
            taken: BTreeMap::new(),
            providers: pace::providers(conn).await?,
            meters: HashMap::new(),
            turns: HashMap::new(),
            ahead: HashMap::new(),
            left_today: HashMap::new(),
            spent: HashMap::new(),
            turn: 0,
            fetched: HashSet::new(),
        })
    }

    /// The database's clock, carried on by our own: a clock that is set does not move a rate.
    fn now(&self) -> DateTime<Utc> {
        self.clock.0 + TimeDelta::from_std(self.clock.1.elapsed()).unwrap_or_default()
    }

    /// Begins a pass; now and then looks what providers said, and how much of their day channels have left.
    ///
    /// # Errors
    /// What storage says.
    pub async fn look(&mut self, conn: &mut Conn, snapshot: &Snapshot) -> Result<()> {
        self.spent.clear();
        if self.looked.is_some_and(|at| at.elapsed() < LOOK) {
            return Ok(());
        }
        self.looked = Some(Instant::now());
        self.clock = (pace::now(conn).await?, Instant::now());
        let now = self.now();
        for (id, mut said) in pace::providers(conn).await? {
            let before = self.providers.get(&id).map_or(0, |known| known.throttled);
            if let Some((channel, provider)) = snapshot.provider(id).filter(|_| said.throttled > before) {
                let observed = self.meters.get(&channel.row.id).copied().unwrap_or_default().rate(now);
                let slower = said.speed.throttled(provider.row.rate_per_second, observed, now);
                if slower != said.speed {
                    pace::slow_down(conn, id, slower).await?;
                    tracing::warn!(provider.id = id, rate = slower.limit, "a provider says that we are too fast");
                    said.speed = slower;
                }
            }
            self.providers.insert(id, said);
        }
        let limited = |c: &&crate::services::directory::Channel| c.row.recipients_per_day.is_some();
        let days: Vec<_> =
            snapshot.channels.iter().filter(limited).map(|c| (c.row.id, c.row.recipients_per_day)).collect();
        self.left_today.clear();
        if !days.is_empty() {
            let ids: Vec<i32> = days.iter().map(|(id, _)| *id).collect();
            let today = pairs::today(conn, &ids, now).await?;
            let left = |(id, limit): (i32, Option<i32>)| {
                Some((id, pair::left_today(limit, today.get(&id).copied().unwrap_or_default().n)?))
            };
            self.left_today = days.into_iter().filter_map(left).collect();
        }
        Ok(())
    }

    /// The order in which lines are served: interactive ones first, those of bulk in turn, since a campaign's own rate is taken by
    /// whichever of its channels comes first.
    #[must_use]
    pub fn order(&self, mut lines: Vec<Line>) -> Vec<Line> {
        lines.sort_unstable_by_key(|(channel, lane)| (*lane, *channel));
        let bulk = lines.partition_point(|(_, lane)| *lane == Lane::Interactive);
        let bulk = lines.get_mut(bulk..).unwrap_or_default();
        if !bulk.is_empty() {
            bulk.rotate_left(self.turn % bulk.len());
        }
        lines
    }

    /// How much a line may be granted now.
    #[must_use]
    pub fn room(&mut self, line: Line, limits: &Limits, out: Outstanding) -> Room {
        let (channel, lane) = line;
        let now = self.now();
        let rates = self.message_rates(channel, limits, now);
        let (mut messages, mut again) = (f64::INFINITY, SOON);
        for (subject, rate) in &rates {
            let allowance = self.allowance(subject);
            messages = messages.min(of_lane(lane, allowance.left(*rate, burst(*rate), now), burst(*rate)));
            again = again.max(wait(allowance, *rate, now));
        }
        let slowest = rates.iter().map(|(_, rate)| *rate).reduce(f64::min);
        messages = messages.min(match slowest {
            Some(rate) => (rate * AHEAD_SECS).max(1.0) - out.line,
            None => self.ahead(line, out.line) - out.line,
        });
        if let Some(calls) = limits.calls {
            messages = messages.min(calls_of_lane(lane, calls) - out.line).min(calls - out.channel);
        }
        if let (Lane::Bulk, Some(left)) = (lane, self.left_today.get(&channel)) {
            #[expect(clippy::cast_precision_loss, reason = "a number of people in a day")]
            let left = *left as f64 - out.line;
            messages = messages.min(left);
        }
        let mut parts = f64::INFINITY;
        for (subject, rate) in part_rates(channel, limits) {
            let allowance = self.allowance(&subject);
            parts = parts.min(of_lane(lane, allowance.left(rate, burst(rate), now), burst(rate)));
            again = again.max(wait(allowance, rate, now));
        }
        if parts < 1.0 {
            messages = 0.0;
        }
        Room { messages, parts, again }
    }

    /// Shares the room of a line among its groups, in chunks of `piece`, by weight and by what their campaigns may.
    #[must_use]
    pub fn share(&mut self, line: Line, groups: &[WaitingGroup], room: Room, piece: f64) -> Vec<Want> {
        let now = self.now();
        let claimants: Vec<Claimant> = groups
            .iter()
            .map(|g| Claimant { id: g.send_group_id, weight: g.weight, at_most: self.of_campaign(g, now) })
            .collect();
        let shares = self.turns.entry(line).or_default().share(&claimants, room.messages, piece);
        let total: f64 = shares.iter().map(|share| share.amount).sum();
        let want = |share: &domain::pacing::fair::Share| {
            let group = groups.iter().find(|g| g.send_group_id == share.id);
            Want {
                send_group_id: share.id,
                messages: count(share.amount.floor()),
                parts: count(room.parts * share.amount / total),
                micros: group.and_then(|g| self.budget_left(g)).unwrap_or(i64::MAX),
            }
        };
        shares.iter().map(want).collect()
    }

    /// When one of these groups may go on as far as its campaign's rate says; not at once, and at most in a second.
    #[must_use]
    pub fn campaigns_wait(&self, groups: &[WaitingGroup]) -> Duration {
        let now = self.now();
        let waits = groups.iter().filter_map(|g| {
            let (campaign, rate) = g.campaign.and_then(|c| Some((c, c.rate?)))?;
            Some(wait(self.allowance(&format!("campaign:{}", campaign.id)), rate, now))
        });
        waits.min().unwrap_or(SOON).max(SOON)
    }

    /// What is left of the budget of a group's campaign; none: it has none.
    #[must_use]
    pub fn budget_left(&self, group: &WaitingGroup) -> Option<i64> {
        let campaign = group.campaign?;
        let spent = self.spent.get(&campaign.id).copied().unwrap_or_default();
        campaign.budget_left.map(|left| left.saturating_sub(spent).max(0))
    }

    /// Takes what was granted out of every allowance that it counts against.
    pub fn granted(&mut self, line: Line, limits: &Limits, groups: &[WaitingGroup], chunks: &[Granted]) {
        let now = self.now();
        self.turn = self.turn.wrapping_add(1);
        let (mut messages, mut parts) = (0.0, 0.0);
        for chunk in chunks {
            messages += f64::from(chunk.size);
            parts += f64::from(chunk.parts);
            let Some(group) = groups.iter().find(|g| g.send_group_id == chunk.send_group_id) else { continue };
            self.turns.entry(line).or_default().used(group.send_group_id, group.weight, f64::from(chunk.size));
            if let Some(campaign) = group.campaign {
                *self.spent.entry(campaign.id).or_default() += chunk.price_micros;
                if let Some(rate) = campaign.rate {
                    self.take(format!("campaign:{}", campaign.id), f64::from(chunk.size), rate, now);
                }
            }
        }
        for (subject, rate) in self.message_rates(line.0, limits, now) {
            self.take(subject, messages, rate, now);
        }
        for (subject, rate) in part_rates(line.0, limits) {
            self.take(subject, parts, rate, now);
        }
        let meter = self.meters.entry(line.0).or_default();
        *meter = meter.add(messages, now);
        let came_back = chunks.iter().any(|chunk| chunk.returned);
        self.ahead.entry(line).or_default().1 |= came_back;
    }

    /// What was taken since the last call, to be kept with what was granted.
    pub fn taken(&mut self) -> Vec<(String, Allowance)> {
        std::mem::take(&mut self.taken).into_iter().collect()
    }

    /// The rates in messages that hold for a channel: its own, and what its provider is granted.
    fn message_rates(&self, channel: i32, limits: &Limits, now: DateTime<Utc>) -> Vec<(String, f64)> {
        let own = limits.messages.map(|rate| (format!("channel:{channel}"), rate));
        let granted = limits.provider.and_then(|id| {
            let speed = self.providers.get(&id).copied().unwrap_or_default().speed;
            Some((format!("provider:{id}"), speed.granted(limits.provider_messages, now)?))
        });
        own.into_iter().chain(granted).collect()
    }

    fn ahead(&mut self, line: Line, outstanding: f64) -> f64 {
        let (ahead, came_back) = self.ahead.entry(line).or_default();
        *ahead = ahead.after(outstanding, std::mem::take(came_back));
        ahead.limit()
    }

    fn of_campaign(&self, group: &WaitingGroup, now: DateTime<Utc>) -> f64 {
        let Some(campaign) = group.campaign else { return f64::INFINITY };
        let Some(rate) = campaign.rate else { return f64::INFINITY };
        self.allowance(&format!("campaign:{}", campaign.id)).left(rate, burst(rate), now)
    }

    fn allowance(&self, subject: &str) -> Allowance {
        self.allowances.get(subject).copied().unwrap_or_else(Allowance::whole)
    }

    fn take(&mut self, subject: String, amount: f64, rate: f64, now: DateTime<Utc>) {
        let after = self.allowance(&subject).take(amount, rate, now);
        self.allowances.insert(subject.clone(), after);
        self.taken.insert(subject, after);
    }
}

fn part_rates(channel: i32, limits: &Limits) -> Vec<(String, f64)> {
    let own = limits.parts.map(|rate| (format!("channel:{channel}:parts"), rate));
    let provider = limits.provider.zip(limits.provider_parts).map(|(id, rate)| (format!("provider:{id}:parts"), rate));
    own.into_iter().chain(provider).collect()
}

/// How long until one may go; at most a second, since limits may be changed meanwhile.
fn wait(allowance: Allowance, rate: f64, now: DateTime<Utc>) -> Duration {
    allowance.wait(1.0, rate, burst(rate), now).to_std().unwrap_or_default().min(Duration::from_secs(1))
}

fn count(amount: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "at most some thousands; infinite becomes the most")]
    let count = amount.ceil() as i64;
    count.max(1)
}
