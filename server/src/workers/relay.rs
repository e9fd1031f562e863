//! The relay: grants each channel only as much work as it may do in the next moments, and publishes it. It *is* the rate;
//! workers ask for nothing. The backlog waits in Postgres, where pause, budget and fairness can reach it.
//!
//! One process leads. Within a pass the interactive lane goes first; the bulk lane leaves it a share of each channel's rate.
//! Groups of one channel get their share by weight, and take turns where there is less than a chunk for each.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use domain::{
    channel::Lane,
    pacing::{AHEAD_SECS, chunk_size},
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    bus::{Queue, SharedBus, Ticket},
    services::Context,
    storage::{
        leader::Leadership,
        pulling,
        queue::{self, WaitingGroup},
    },
    wake::Topic,
};

/// The key of the relay's leader lock.
const LEADER: i32 = 1;
/// How long a published chunk may wait to be claimed before it is given back.
const BUS_LEASE_SECS: f64 = 60.0;
/// Deliveries that may be outstanding on a channel without a rate, by lane.
const AHEAD_FREE: f64 = 5_000.0;
/// The share of a channel's rate that bulk leaves to interactive.
const INTERACTIVE_SHARE: f64 = 0.2;
/// The longest sleep without a wake-up.
const SCAN: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub struct Relay {
    context: Context,
    bus: SharedBus,
    buckets: HashMap<i32, Bucket>,
    turn: i64,
    /// Channels whose chunks are left to connectors outside, as of the last pass.
    fetched: HashSet<i32>,
}

/// What a channel may still send: fills with its rate, never above a second's worth; a chunk may leave a debt.
#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    fn fill(&mut self, rate: f64, now: Instant) -> f64 {
        let burst = rate.max(1.0);
        self.tokens = (self.tokens + now.duration_since(self.filled).as_secs_f64() * rate).min(burst);
        self.filled = now;
        self.tokens
    }
}

impl Relay {
    /// A relay that publishes on `bus`.
    #[must_use]
    pub fn new(context: Context, bus: SharedBus) -> Self {
        Self { context, bus, buckets: HashMap::new(), turn: 0, fetched: HashSet::new() }
    }

    /// Runs until `stop`: waits to lead, then leads.
    pub async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            match Leadership::try_acquire(&self.context.db, LEADER).await {
                Ok(Some(mut leadership)) => {
                    tracing::info!("the relay leads");
                    self.buckets.clear();
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

    async fn lead(&mut self, leadership: &mut Leadership, stop: &CancellationToken) -> anyhow::Result<()> {
        let mut generation = self.bus.generation();
        generation.mark_changed();
        while !stop.is_cancelled() {
            self.meet_new_connection(leadership, &mut generation).await?;
            let sleep = if self.bus.healthy() { self.pass(leadership).await? } else { SCAN };
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
    async fn meet_absent_connectors(&mut self, leadership: &mut Leadership) -> anyhow::Result<()> {
        let snapshot = self.context.directory.snapshot(&self.context.side).await?;
        let outside = snapshot.channels.iter().filter(|c| c.outside().is_some()).map(|c| c.row.id);
        let now: HashSet<i32> = outside.filter(|id| snapshot.is_fetched(*id)).collect();
        for gone in self.fetched.difference(&now) {
            pulling::take_back(leadership.conn(), *gone).await?;
        }
        self.fetched = now;
        Ok(())
    }

    /// One pass over what waits. Says how long to sleep.
    async fn pass(&mut self, leadership: &mut Leadership) -> anyhow::Result<Duration> {
        self.meet_absent_connectors(leadership).await?;
        let groups = queue::waiting_groups(leadership.conn(), self.context.clock.now()).await?;
        if groups.is_empty() {
            let next = queue::next_waiting_secs(leadership.conn()).await?;
            return Ok(next.map_or(SCAN, |secs| Duration::from_secs_f64(secs.clamp(0.001, SCAN.as_secs_f64()))));
        }
        let outstanding = queue::outstanding(leadership.conn()).await?;
        let mut by_queue: HashMap<(Lane, i32), Vec<WaitingGroup>> = HashMap::new();
        for group in groups {
            by_queue.entry((group.lane, group.channel_id)).or_default().push(group);
        }
        let mut keys: Vec<(Lane, i32)> = by_queue.keys().copied().collect();
        keys.sort_unstable(); // interactive sorts before bulk
        let mut granted = 0;
        for key in keys {
            let groups = by_queue.remove(&key).unwrap_or_default();
            let ahead = outstanding.get(&(key.1, key.0)).copied().unwrap_or(0);
            granted += self.grant(leadership, key.0, key.1, groups, ahead).await?;
        }
        self.turn = self.turn.wrapping_add(1);
        // Something waits that was not granted: by rate or because enough is outstanding. Soon again, by small steps.
        Ok(Duration::from_millis(if granted > 0 { 5 } else { 50 }))
    }

    /// Grants one channel and lane its share, and publishes it. Says how many deliveries.
    async fn grant(
        &mut self,
        leadership: &mut Leadership,
        lane: Lane,
        channel_id: i32,
        mut groups: Vec<WaitingGroup>,
        outstanding: i64,
    ) -> anyhow::Result<i64> {
        let rate = self.context.directory.snapshot(&self.context.side).await?.rate(channel_id);
        let allowance = self.allowance(lane, channel_id, rate, outstanding);
        let Some(first) = groups.first() else { return Ok(0) };
        if allowance < 1.0 {
            return Ok(0);
        }
        let queue = Queue { channel_type: first.channel_type, lane };
        let turn = usize::try_from(self.turn.rem_euclid(i64::try_from(groups.len())?))?;
        groups.rotate_left(turn);
        let (ids, counts) = shares(&groups, allowance, chunk_size(lane, rate));
        let chunks =
            queue::grant(leadership.conn(), queue.channel_type.as_str(), lane, &ids, &counts, BUS_LEASE_SECS).await?;
        let deliveries: i64 = chunks.iter().map(|c| i64::from(c.size)).sum();
        let outside = self.fetched.contains(&channel_id);
        if let Some(bucket) = self.buckets.get_mut(&channel_id) {
            bucket.tokens -= f64::from(i32::try_from(deliveries).unwrap_or(i32::MAX));
        }
        if outside {
            let granted: Vec<i64> = chunks.iter().map(|c| c.chunk).collect();
            pulling::leave_to_connectors(leadership.conn(), &granted).await?;
            self.context.wake.signal(Topic::Pulls);
            return Ok(deliveries);
        }
        let tickets: Vec<Ticket> = chunks.iter().map(|c| Ticket { chunk: c.chunk }).collect();
        let taken = self.bus.publish(queue, &tickets).await;
        let refused: Vec<i64> =
            tickets.iter().zip(&taken).filter(|(_, taken)| !**taken).map(|(ticket, _)| ticket.chunk).collect();
        if !refused.is_empty() {
            tracing::warn!(queue = %queue.name(), chunks = refused.len(), "the bus refused chunks; they wait in Postgres");
            queue::take_back(leadership.conn(), &refused).await?;
            return Ok(0);
        }
        Ok(deliveries)
    }

    fn allowance(&mut self, lane: Lane, channel_id: i32, rate: Option<f64>, outstanding: i64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a count of outstanding deliveries is far below 2^52")]
        let outstanding = outstanding as f64;
        let Some(rate) = rate else { return AHEAD_FREE - outstanding };
        let now = Instant::now();
        let bucket = self.buckets.entry(channel_id).or_insert(Bucket { tokens: rate.clamp(1.0, 10.0), filled: now });
        let tokens = bucket.fill(rate, now);
        let kept = match lane {
            Lane::Interactive => 0.0,
            Lane::Bulk => (rate * INTERACTIVE_SHARE).min(tokens * INTERACTIVE_SHARE),
        };
        (tokens - kept).min((rate * AHEAD_SECS).max(1.0) - outstanding)
    }
}

/// Shares an allowance among groups by weight, in chunks. Where there is less than a chunk for each, those whose turn it is
/// get one.
fn shares(groups: &[WaitingGroup], allowance: f64, chunk: usize) -> (Vec<i64>, Vec<i32>) {
    #[expect(clippy::cast_precision_loss, reason = "chunk sizes are at most 100")]
    let chunks = (allowance / chunk as f64).max(1.0);
    let weight: f64 = groups.iter().map(|g| f64::from(g.weight)).sum();
    let (mut ids, mut counts, mut left) = (Vec::new(), Vec::new(), chunks);
    for group in groups {
        if left < 1.0 {
            break;
        }
        let share = (chunks * f64::from(group.weight) / weight).max(1.0).min(left).floor();
        left -= share;
        ids.push(group.send_group_id);
        #[expect(clippy::cast_possible_truncation, reason = "at most the allowance, a few thousand")]
        counts.push(share as i32);
    }
    (ids, counts)
}

#[cfg(test)]
mod tests {
    use domain::channel::ChannelType;

    use super::*;

    fn group(id: i64, weight: i32) -> WaitingGroup {
        WaitingGroup { send_group_id: id, channel_id: 1, channel_type: ChannelType::Sms, lane: Lane::Bulk, weight }
    }

    #[test]
    fn groups_share_a_channel_by_weight() {
        let (ids, counts) = shares(&[group(1, 3), group(2, 1)], 400.0, 10);
        assert_eq!((ids, counts), (vec![1, 2], vec![30, 10]));
    }

    #[test]
    fn with_less_than_a_chunk_for_each_only_those_whose_turn_it_is_get_one() {
        let (ids, counts) = shares(&[group(7, 1), group(8, 1), group(9, 1)], 12.0, 10);
        assert_eq!((ids, counts), (vec![7], vec![1]));
    }

    #[test]
    fn a_bucket_never_holds_more_than_a_second_of_rate() {
        let began = Instant::now();
        let mut bucket = Bucket { tokens: 0.0, filled: began };
        assert!((bucket.fill(10.0, began + Duration::from_secs(60)) - 10.0).abs() < f64::EPSILON);
    }
}
