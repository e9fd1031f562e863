//! The relay: grants each channel only as much work as it may do in the next moments, and publishes it. It *is* the rate;
//! workers ask for nothing. The backlog waits in Postgres, where pause, budget and fairness can reach it.
//!
//! One process leads. Within a pass the interactive lane goes first; the bulk lane leaves it a share of each channel's rate.
//! Groups of one channel are served by weight. Whatever a grant uses up is kept in the grant's own transaction, so that rates
//! hold when another process takes the lead; `pace` counts.

mod pace;

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use domain::{channel::Lane, pacing::chunk_size_within, price};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::pace::{Line, Outstanding, Pace};
use crate::{
    bus::{Hint, Queue, SharedBus, Ticket},
    services::{
        Context,
        campaigns::verbs,
        directory::{Limits, Snapshot},
    },
    storage::{
        self,
        leader::{Leadership, SILENCE},
        pulling,
        queue::{self, Granted, Look, WaitingGroup, Want},
    },
    wake::Topic,
};

/// The key of the relay's leader lock.
const LEADER: i32 = 1;
/// How long a published chunk may wait to be claimed before it is given back.
const BUS_LEASE_SECS: f64 = 60.0;
/// The longest sleep without a wake-up.
const SCAN: Duration = Duration::from_secs(1);
/// The pause after a pass that granted something.
const NEXT: Duration = Duration::from_millis(5);

/// See the module.
#[derive(Debug)]
pub struct Relay {
    context: Context,
    bus: SharedBus,
}

impl Relay {
    /// A relay that publishes on `bus`.
    #[must_use]
    pub const fn new(context: Context, bus: SharedBus) -> Self {
        Self { context, bus }
    }

    /// Runs until `stop`: waits to lead, then leads.
    pub async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            match self.context.within(Leadership::try_acquire(&self.context.db, LEADER)).await.flatten() {
                Ok(Some(mut leadership)) => {
                    tracing::info!("the relay leads");
                    if let Err(error) = self.lead(&mut leadership, &stop).await {
                        tracing::warn!(error = format!("{error:#}"), "the relay lost its lead");
                    }
                }
                Ok(None) => {}
                Err(error) => tracing::debug!(error = %error, "the relay cannot lead yet"),
            }
            tokio::select! { () = stop.cancelled() => {}, () = tokio::time::sleep(SCAN) => {} }
        }
    }

    async fn lead(&self, leadership: &mut Leadership, stop: &CancellationToken) -> anyhow::Result<()> {
        leadership.end_in_silence(SILENCE).await?;
        let mut pace = Pace::load(leadership.conn()).await?;
        let mut generation = self.bus.generation();
        generation.mark_changed();
        while !stop.is_cancelled() {
            let turn = async {
                self.meet_new_connection(leadership, &mut generation).await?;
                if self.bus.healthy() {
                    return self.pass(leadership, &mut pace).await;
                }
                anyhow::ensure!(leadership.still_held().await, "the lock was lost");
                Ok(SCAN)
            };
            let sleep = self.context.within(turn).await??;
            tokio::select! {
                () = stop.cancelled() => {}
                _ = generation.changed() => generation.mark_changed(),
                () = self.context.wake.wait(Topic::Relay, sleep) => {}
            }
        }
        Ok(())
    }

    /// On a new connection to the broker what was published before may be gone: it is taken back and published again.
    async fn meet_new_connection(
        &self,
        leadership: &mut Leadership,
        generation: &mut watch::Receiver<u64>,
    ) -> anyhow::Result<()> {
        if generation.has_changed().unwrap_or(false) && *generation.borrow_and_update() > 0 {
            let taken_back = queue::take_back_unclaimed(leadership.conn()).await?;
            if taken_back > 0 {
                tracing::info!(chunks = taken_back, "published chunks that nobody claimed are published again");
            }
        }
        Ok(())
    }

    /// What was left to connectors outside that have gone since is taken back: nobody would claim it.
    async fn meet_absent_connectors(&self, leadership: &mut Leadership, pace: &mut Pace) -> anyhow::Result<()> {
        let snapshot = self.context.directory.snapshot(&self.context.side).await?;
        let outside = snapshot.channels.iter().filter(|c| c.outside().is_some()).map(|c| c.row.id);
        let now: HashSet<i32> = outside.filter(|id| snapshot.is_fetched(*id)).collect();
        for gone in pace.fetched.difference(&now) {
            pulling::take_back(leadership.conn(), *gone).await?;
        }
        pace.fetched = now;
        Ok(())
    }

    /// One pass over what waits. Says how long to sleep.
    async fn pass(&self, leadership: &mut Leadership, pace: &mut Pace) -> anyhow::Result<Duration> {
        self.meet_absent_connectors(leadership, pace).await?;
        let Look { groups, outstanding, next_secs } = queue::look(leadership.conn(), self.context.clock.now()).await?;
        let next = next_secs.map_or(SCAN, |secs| Duration::from_secs_f64(secs.clamp(0.001, SCAN.as_secs_f64())));
        if groups.is_empty() {
            return Ok(next);
        }
        let snapshot = self.context.directory.snapshot(&self.context.side).await?;
        pace.look(leadership.conn(), &snapshot).await?;
        let mut by_line: HashMap<Line, Vec<WaitingGroup>> = HashMap::new();
        for group in groups {
            by_line.entry((group.channel_id, group.lane)).or_default().push(group);
        }
        let (mut granted, mut again, mut all) = (HashMap::new(), SCAN, true);
        for (channel, lane) in pace.order(by_line.keys().copied().collect()) {
            let groups = by_line.remove(&(channel, lane)).unwrap_or_default();
            let of = |lane| outstanding.get(&(channel, lane)).copied().unwrap_or(0);
            let now_out: i64 = granted.get(&channel).copied().unwrap_or(0);
            let out = Outstanding {
                line: amount(of(lane)),
                channel: amount(of(Lane::Interactive) + of(Lane::Bulk) + now_out),
            };
            let given = self.grant(leadership, pace, &snapshot, (channel, lane), &groups, out).await?;
            *granted.entry(channel).or_default() += given.deliveries;
            again = again.min(given.again);
            all &= given.all;
        }
        // Nothing was left behind: whoever queues something more says so.
        if all {
            return Ok(next);
        }
        // Something waits that was not granted: by rate or because enough is outstanding. Soon again, by small steps.
        Ok(if granted.values().any(|n| *n > 0) { NEXT } else { again })
    }

    /// Grants one channel and lane its share, and publishes it.
    async fn grant(
        &self,
        leadership: &mut Leadership,
        pace: &mut Pace,
        snapshot: &Snapshot,
        line: Line,
        groups: &[WaitingGroup],
        out: Outstanding,
    ) -> anyhow::Result<Given> {
        let nothing = |again| Given { deliveries: 0, again, all: false };
        let limits = snapshot.limits(line.0);
        let room = pace.room(line, &limits, out);
        let Some(first) = groups.first().filter(|_| room.messages >= 1.0) else {
            return Ok(nothing(room.again));
        };
        let piece = chunk_size_within(line.1, snapshot.rate(line.0), None, limits.calls);
        let wants = pace.share(line, groups, room, amount(i64::try_from(piece)?));
        if wants.is_empty() {
            return Ok(nothing(pace.campaigns_wait(groups)));
        }
        self.cut(leadership, groups, &wants).await?;
        let queue = Queue { channel_type: first.channel_type, lane: line.1 };
        let chunks = self.lease(leadership, pace, line, &limits, groups, &wants).await?;
        self.meet_budgets(leadership, pace, groups, &wants, &chunks).await?;
        let given = Given {
            deliveries: chunks.iter().map(|c| i64::from(c.size)).sum(),
            again: room.again,
            all: groups.iter().all(|group| is_all(group, &chunks)),
        };
        if pace.fetched.contains(&line.0) {
            let granted: Vec<i64> = chunks.iter().map(|c| c.chunk).collect();
            pulling::leave_to_connectors(leadership.conn(), &granted).await?;
            self.context.wake.signal(Topic::Pulls);
            return Ok(Given { again: NEXT, ..given });
        }
        let hint = |size| Some(Hint { channel: line.0, size });
        let tickets: Vec<Ticket> = chunks.iter().map(|c| Ticket { chunk: c.chunk, hint: hint(c.size) }).collect();
        let taken = self.bus.publish(queue, &tickets).await;
        let refused: Vec<i64> =
            tickets.iter().zip(&taken).filter(|(_, taken)| !**taken).map(|(ticket, _)| ticket.chunk).collect();
        if !refused.is_empty() {
            tracing::warn!(queue = %queue.name(), chunks = refused.len(), "the bus refused chunks; they wait in Postgres");
            queue::take_back(leadership.conn(), &refused).await?;
            return Ok(nothing(room.again));
        }
        Ok(given)
    }

    /// Cuts the next chunk of a campaign with a rate of its own to what it may begin now: chunks are made before rates are known
    /// or changed, and a slow campaign goes out evenly.
    async fn cut(&self, leadership: &mut Leadership, groups: &[WaitingGroup], wants: &[Want]) -> anyhow::Result<()> {
        for want in wants {
            let group = groups.iter().find(|g| g.send_group_id == want.send_group_id);
            let Some(group) = group.filter(|g| g.campaign.is_some_and(|c| c.rate.is_some())) else { continue };
            let (medium, id) = (group.channel_type.as_str(), group.send_group_id);
            let next = queue::next_chunk(leadership.conn(), medium, group.lane, id).await?;
            if let Some(next) = next.filter(|next| i64::from(next.size) > want.messages) {
                queue::split(leadership.conn(), next.chunk, i32::try_from(want.messages)?).await?;
            }
        }
        Ok(())
    }

    /// Leases chunks to the bus, and keeps what they use up in the same transaction.
    async fn lease(
        &self,
        leadership: &mut Leadership,
        pace: &mut Pace,
        line: Line,
        limits: &Limits,
        groups: &[WaitingGroup],
        wants: &[Want],
    ) -> anyhow::Result<Vec<Granted>> {
        let Some(first) = groups.first() else { return Ok(Vec::new()) };
        let mut tx = leadership.begin().await?;
        let chunks = queue::grant(&mut tx, first.channel_type.as_str(), line.1, wants, BUS_LEASE_SECS).await?;
        pace.granted(line, limits, groups, &chunks);
        let taken = pace.taken();
        if !taken.is_empty() {
            storage::pace::keep(&mut tx, &taken).await?;
        }
        tx.commit().await.map_err(storage::Error::from)?;
        Ok(chunks)
    }

    /// Pauses the campaigns of which not one more delivery fits into what is left of their budget; of a chunk that fits in part,
    /// that part goes next.
    async fn meet_budgets(
        &self,
        leadership: &mut Leadership,
        pace: &Pace,
        groups: &[WaitingGroup],
        wants: &[Want],
        chunks: &[Granted],
    ) -> anyhow::Result<()> {
        for want in wants.iter().filter(|want| chunks.iter().all(|c| c.send_group_id != want.send_group_id)) {
            let group = groups.iter().find(|g| g.send_group_id == want.send_group_id);
            let Some((group, left)) = group.and_then(|g| Some((g, pace.budget_left(g)?))) else { continue };
            let id = group.send_group_id;
            let next = queue::next_chunk(leadership.conn(), group.channel_type.as_str(), group.lane, id).await?;
            let (Some(next), Some(campaign)) = (next.filter(|next| next.price_micros > left), group.campaign) else {
                continue;
            };
            match price::fitting(next.size, next.price_micros, left) {
                0 => verbs::pause_at_budget(&self.context, campaign.id).await?,
                n => drop(queue::split(leadership.conn(), next.chunk, n).await?),
            }
        }
        Ok(())
    }
}

/// What one line was given.
#[derive(Debug, Clone, Copy)]
struct Given {
    deliveries: i64,
    /// When to look again.
    again: Duration,
    /// Whether it was all that waited.
    all: bool,
}

/// Whether all that could go of a group was granted.
fn is_all(group: &WaitingGroup, chunks: &[Granted]) -> bool {
    let of_group = || chunks.iter().filter(|chunk| chunk.send_group_id == group.send_group_id);
    let granted = i64::try_from(of_group().count()).unwrap_or(i64::MAX);
    of_group().next().is_some_and(|chunk| chunk.found == granted)
}

fn amount(n: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a count of outstanding deliveries is far below 2^52")]
    let n = n as f64;
    n
}
