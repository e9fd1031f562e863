//! The dispatch worker: claims a chunk, marks the few deliveries whose call starts now, calls, and has the outcomes stored.
//!
//! Mark, then the clock, then the wire, adjacent: no call begins unless the lease, counted from before the mark, outlasts the
//! call's timeout. A chunk that has to wait for a free call for more than a second is given back, never held. The message of
//! the bus is acked when everything is stored: flow control, not safety.
//!
//! Where calls of its channel are free a chunk is taken (`ready`): claim and mark are one statement. Calls that end together
//! are stored together (`ends`).

mod ends;
mod ready;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use domain::{delivery::FailureClass, message::Content, notification::Reason, pacing::pair};
use futures::{StreamExt, stream::FuturesUnordered};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use self::{
    ends::{Called, gather},
    ready::{Hand, Held, Marked},
};
use super::{
    providers::{Chosen, Providers},
    writer::Writer,
};
use crate::{
    bus::{Delivered, Queue, SharedBus, Ticket},
    channels::{Outbound, Outlet, Sent},
    services::{
        Context, accepting, consents,
        directory::Channel,
        distances, notifications,
        outcomes::{Ended, Stored},
        parameters, rendering, web_chat,
    },
    storage::{
        dispatch::{self, Claimed, Finished},
        outcomes,
    },
    wake::Topic,
};

/// How long a claim, and each mark, is leased.
pub const LEASE: Duration = Duration::from_secs(60);
/// How long a chunk may wait for a free call before it is given back.
const MAX_WAIT: Duration = Duration::from_secs(1);
/// How soon it is looked again whether a connector outside is there, in seconds.
const ABSENT_SECS: f64 = 2.0;
/// Chunks at once in one process for each queue, where nothing else is set.
const PREFETCH: u16 = 100;
/// How soon a chunk that was given back untried may be granted again.
const UNTRIED_SECS: f64 = 1.0;
/// The longest that a chunk waits for the distance to a person, before it is looked at again.
const LONGEST_PAIR_WAIT_SECS: f64 = 900.0;

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Dispatch {
    context: Context,
    providers: Providers,
    outcomes: mpsc::Sender<Writer>,
    lease: Duration,
    prefetch: u16,
}

/// What is left to do with a chunk when its calls are over.
#[derive(Debug, Default)]
struct Rest {
    /// Deliveries that the mark refused.
    refused: Vec<Uuid>,
    /// The longest back-off of what is queued again, in seconds.
    delay_secs: f64,
    /// Something is still queued.
    queued: bool,
    /// Nothing of it was tried: the channel has more than it takes.
    untried: bool,
    /// It has ended with its last outcome: nothing is left to be done.
    gone: bool,
}

/// A chunk whose deliveries are sent.
#[derive(Debug, Clone, Copy)]
struct Sending<'a> {
    chunk: i64,
    token: Uuid,
    channel: &'a Channel,
    /// How long it may still wait for its first free call.
    patience: Duration,
}

impl Dispatch {
    /// A worker that hands its outcomes to `outcomes`.
    #[must_use]
    pub fn new(context: Context, providers: Providers, outcomes: mpsc::Sender<Writer>) -> Self {
        Self { context, providers, outcomes, lease: LEASE, prefetch: PREFETCH }
    }

    /// The same worker with another lease: for tests that let leases end.
    #[must_use]
    pub fn with_lease(self, lease: Duration) -> Self {
        Self { lease, ..self }
    }

    /// The same worker with another number of chunks at once for each queue.
    #[must_use]
    pub fn with_prefetch(self, prefetch: u16) -> Self {
        Self { prefetch, ..self }
    }

    /// Consumes one queue until `stop`; then lets what is claimed end.
    pub async fn run(self, bus: SharedBus, queue: Queue, stop: CancellationToken) {
        let mut tickets = bus.consume(queue, self.prefetch).await;
        let (slots, tasks) = (Arc::new(Semaphore::new(usize::from(self.prefetch))), TaskTracker::new());
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { break };
            let next = tokio::select! { () = stop.cancelled() => None, next = tickets.recv() => next };
            let Some(delivered) = next else { break };
            let worker = self.clone();
            tasks.spawn(async move {
                worker.take(delivered).await;
                drop(slot);
            });
        }
        tasks.close();
        tasks.wait().await;
    }

    async fn take(&self, delivered: Delivered) {
        let ticket = match &delivered.ticket {
            Ok(ticket) => *ticket,
            Err(error) => {
                tracing::warn!(error, "a message on the bus is no ticket; it goes to the dead-letter queue");
                return delivered.reject().await;
            }
        };
        // Its leases are over by then, whatever was under way: it waits for a connection that the network has lost.
        let ended = self.context.within_for(self.lease * 3, self.chunk(ticket)).await;
        if let Err(error) = ended.unwrap_or_else(|lost| Err(lost.into())) {
            // Its lease brings it back; what was marked without an outcome becomes UNKNOWN.
            tracing::warn!(chunk = ticket.chunk, error = format!("{error:#}"), "a chunk was left to its lease");
        }
        delivered.ack().await;
    }

    /// Claims one chunk and does what is in it.
    ///
    /// # Errors
    /// What storage says; then the chunk's lease brings it back.
    pub async fn chunk(&self, ticket: Ticket) -> anyhow::Result<()> {
        let (chunk, token) = (ticket.chunk, Uuid::new_v4());
        let Hand { held, marked, patience } = self.hand(ticket, token).await?;
        // All of it was taken back, or the claim found nothing: what is ours to end is ended at once, not with its lease.
        let Some(channel_id) = held.first().map(|first| first.claimed.channel_id) else {
            self.end(chunk, token, &[], Rest::default()).await?;
            return Ok(());
        };
        let of_conversation = held.iter().filter(|h| h.claimed.notification_id.is_none());
        let messages: Vec<Uuid> = of_conversation.map(|h| h.claimed.delivery_id).collect();
        let snapshot = match &marked {
            // What was marked by this snapshot is sent by it.
            Some(marked) => Arc::clone(&marked.snapshot),
            None => self.context.directory.snapshot(&self.context.side).await?,
        };
        let claimed = |held: Vec<Held>| held.into_iter().map(|held| held.claimed).collect::<Vec<Claimed>>();
        let rest = match snapshot.channel(channel_id) {
            Some(channel) if channel.row.state == "enabled" && channel.outside().is_some() => {
                self.leave(channel, claimed(held), snapshot.is_fetched(channel.row.id)).await?
            }
            Some(channel) if channel.row.state == "enabled" => {
                self.send(Sending { chunk, token, channel, patience }, held, marked).await?
            }
            Some(channel) if channel.row.state == "parked" => {
                self.give_up(&claimed(held), Reason::ChannelParked).await?
            }
            _ => self.give_up(&claimed(held), Reason::ChannelDisabled).await?,
        };
        let gone = self.end(chunk, token, &messages, rest).await?;
        // Where calls are counted over all processes, the next chunk may go now.
        if gone && snapshot.limits(channel_id).calls.is_some() {
            self.context.wake.signal(Topic::Relay);
        }
        Ok(())
    }

    async fn send(&self, of: Sending<'_>, held: Vec<Held>, marked: Option<Marked>) -> anyhow::Result<Rest> {
        let Sending { chunk, token, channel, mut patience } = of;
        let (mut rest, mut waiting) = (Rest::default(), held.into_iter());
        let (mut calls, mut storing) = (FuturesUnordered::new(), FuturesUnordered::new());
        // What was marked goes on the wire before anything else is looked at.
        let mut goes_first = marked.is_some();
        if let Some(Marked { provider, started, attempts, calls: free, .. }) = marked {
            for (held, permit) in waiting.by_ref().take(free.len()).zip(free) {
                match attempts.get(&held.claimed.delivery_id) {
                    Some(attempt) => {
                        calls.push(self.call(of, started, provider.clone(), held, *attempt, permit));
                    }
                    None => rest.refused.push(held.claimed.delivery_id),
                }
            }
        }
        loop {
            let is_idle = calls.is_empty() && storing.is_empty();
            if waiting.len() == 0 && is_idle {
                return Ok(rest);
            }
            if waiting.len() > 0 && (is_idle || !std::mem::take(&mut goes_first)) {
                let Some(provider) = self.providers.choose(channel) else {
                    let left = waiting.by_ref().map(|held| held.claimed).collect();
                    self.provider_down(channel, left, &mut rest).await?;
                    continue;
                };
                let wanted = if provider.trial { 1 } else { waiting.len() };
                // Waits only when nothing of ours is under way that will free a call.
                let free = match is_idle {
                    true => provider.calls.take(wanted, std::mem::replace(&mut patience, MAX_WAIT)).await,
                    false => provider.calls.take_free(wanted),
                };
                if free.is_empty() && provider.trial {
                    self.providers.spare(&provider);
                }
                if free.is_empty() && is_idle {
                    // Given back, for a moment: a slow provider stops nobody else.
                    (rest.queued, rest.untried) = (true, true);
                    rest.delay_secs = rest.delay_secs.max(UNTRIED_SECS);
                    return Ok(rest);
                }
                let mut slice: Vec<(Held, OwnedSemaphorePermit)> =
                    waiting.by_ref().take(free.len()).zip(free).collect();
                if pair::applies(channel.channel_type()) && !slice.is_empty() {
                    slice = self.keep_distance(channel, slice, &mut rest).await?;
                    if slice.is_empty() {
                        self.providers.spare(&provider);
                    }
                }
                if !slice.is_empty() {
                    let started = Instant::now();
                    let marked = self.mark(chunk, token, &provider, &slice).await?;
                    for (held, permit) in slice {
                        match marked.iter().find(|(id, _)| *id == held.claimed.delivery_id) {
                            Some((_, attempt)) => {
                                calls.push(self.call(of, started, provider.clone(), held, *attempt, permit));
                            }
                            None => rest.refused.push(held.claimed.delivery_id),
                        }
                    }
                }
            }
            tokio::select! {
                // What ended together is stored together, and frees its calls together.
                Some(called) = calls.next() => storing.push(self.store(gather(called, &mut calls))),
                Some(written) = storing.next() => rest.note(&written?),
                else => {}
            }
        }
    }

    /// Takes those out of a slice who would be written to too soon after the last message, or beyond the channel's day: they
    /// wait in their chunk.
    async fn keep_distance(
        &self,
        channel: &Channel,
        slice: Vec<(Held, OwnedSemaphorePermit)>,
        rest: &mut Rest,
    ) -> anyhow::Result<Vec<(Held, OwnedSemaphorePermit)>> {
        let claimed: Vec<&Claimed> = slice.iter().map(|(held, _)| &held.claimed).collect();
        let (mut admitted, wait_secs) = distances::admit(&self.context, channel, &claimed).await?;
        let (go, wait): (Vec<_>, Vec<_>) =
            slice.into_iter().partition(|(held, _)| admitted.remove(&held.claimed.delivery_id));
        if !wait.is_empty() {
            rest.queued = true;
            rest.delay_secs = rest.delay_secs.max(wait_secs.clamp(0.1, LONGEST_PAIR_WAIT_SECS));
        }
        Ok(go)
    }

    async fn mark(
        &self,
        chunk: i64,
        token: Uuid,
        provider: &Chosen,
        slice: &[(Held, OwnedSemaphorePermit)],
    ) -> anyhow::Result<Vec<(Uuid, i16)>> {
        let ids: Vec<Uuid> = slice.iter().map(|(held, _)| held.claimed.delivery_id).collect();
        let (lease, now) = (self.lease.as_secs_f64(), self.context.clock.now());
        let mut conn = self.context.db.conn().await?;
        Ok(dispatch::mark(&mut conn, chunk, token, &ids, provider.id, lease, now).await?)
    }

    /// One call: render, look at the clock, go on the wire.
    async fn call(
        &self,
        of: Sending<'_>,
        marked_at: Instant,
        provider: Chosen,
        held: Held,
        attempt: i16,
        permit: OwnedSemaphorePermit,
    ) -> Called {
        let Sending { chunk, token, channel, .. } = of;
        let (patience, claimed) = (self.patience(&provider), &held.claimed);
        let rendered = rendering::content(&self.context, claimed, channel.channel_type()).await;
        let sent = match rendered.and_then(|said| parameters::of(channel, said)) {
            Ok(_) if marked_at.elapsed() + patience >= self.lease => {
                self.providers.spare(&provider);
                Sent::NotSent { detail: "the lease would not outlast the call".into() }
            }
            Ok((content, told)) => {
                let outbound = self.outbound(channel, &provider, claimed, attempt, content, told);
                let sent = match provider.connector.outlet() {
                    Outlet::WebChat => web_chat::put(&self.context, claimed, &outbound).await,
                    Outlet::Wire | Outlet::Outside { .. } => self.wire(&provider, &outbound, patience).await,
                };
                match &sent {
                    // Nothing was asked of it: that proves neither that it works nor that it does not.
                    Sent::Refused(refusal) if refusal.is_own() => self.providers.spare(&provider),
                    sent => self.providers.learn(&provider, sent),
                }
                sent
            }
            Err(refusal) => {
                self.providers.spare(&provider);
                match refusal.class {
                    // Postgres is away: nothing went out, and nothing is wrong with the message.
                    FailureClass::Temporary => Sent::NotSent { detail: refusal.detail },
                    _ => Sent::Refused(refusal),
                }
            }
        };
        let ended = Ended {
            delivery_id: claimed.delivery_id,
            attempt,
            token,
            provider_id: provider.id,
            after_unknown: provider.after_unknown,
            sent,
        };
        let known = held.taken(attempt).map(|taken| accepting::known(&taken, token, attempt));
        Called { went: accepting::Went { ended, known, chunk }, permit }
    }

    /// How long a call may take: as its provider says, and at most three quarters of the lease. A call that might take the whole
    /// lease could never be made, since there would never be so much of it left.
    fn patience(&self, provider: &Chosen) -> Duration {
        provider.timeout.min(self.lease * 3 / 4)
    }

    async fn wire(&self, provider: &Chosen, outbound: &Outbound, patience: Duration) -> Sent {
        let started = Instant::now();
        let sent = timeout(patience, provider.connector.send(outbound)).await;
        crate::telemetry::call(provider.id, started.elapsed());
        sent.unwrap_or_else(|_| Sent::Unknown { detail: "no answer in time".into() })
    }

    fn outbound(
        &self,
        channel: &Channel,
        provider: &Chosen,
        claimed: &Claimed,
        attempt: i16,
        content: Content,
        parameters: BTreeMap<String, String>,
    ) -> Outbound {
        let window = chrono::Duration::hours(24);
        Outbound {
            delivery_id: claimed.delivery_id,
            attempt,
            to: claimed.to.clone(),
            from: channel.row.service_identifier.clone(),
            content,
            window_open: claimed.last_inbound_at.is_some_and(|at| at + window > self.context.clock.now()),
            public_url: self.context.settings.public_url.clone(),
            provider_id: provider.id,
            in_reply_to: None,
            unsubscribe_url: crate::services::unsubscribe::url(
                &self.context,
                claimed.address_id,
                channel.channel_type(),
                &claimed.purpose,
            ),
            parameters,
        }
    }

    /// A chunk that connectors outside are to fetch: it goes back for them. While none of them is there, the provider is down.
    async fn leave(&self, channel: &Channel, claimed: Vec<Claimed>, is_fetched: bool) -> anyhow::Result<Rest> {
        let mut rest = Rest::default();
        if is_fetched {
            rest.queued = true;
        } else {
            self.provider_down(channel, claimed, &mut rest).await?;
            rest.delay_secs = rest.delay_secs.min(ABSENT_SECS);
        }
        Ok(rest)
    }

    /// No provider may be called. Where the policy has another step the delivery is given up for it, else it waits.
    async fn provider_down(&self, channel: &Channel, left: Vec<Claimed>, rest: &mut Rest) -> anyhow::Result<()> {
        let (mut elsewhere, mut here) = (Vec::new(), false);
        for claimed in left {
            match rendering::has_later_step(&self.context, &claimed).await? {
                true => elsewhere.push(claimed),
                false => here = true,
            }
        }
        if !elsewhere.is_empty() {
            self.give_up(&elsewhere, Reason::ProviderDown).await?;
        }
        if here {
            rest.queued = true;
            rest.delay_secs = rest.delay_secs.max(self.providers.retry_secs(channel));
        }
        Ok(())
    }

    async fn give_up(&self, claimed: &[Claimed], reason: Reason) -> anyhow::Result<Rest> {
        let ids: Vec<Uuid> = claimed.iter().map(|c| c.delivery_id).collect();
        outcomes::give_up(&mut *self.context.db.conn().await?, &ids, reason, self.context.clock.now()).await?;
        self.context.wake.signal(Topic::Fallback);
        Ok(Rest::default())
    }

    /// Ends the chunk or gives it back, in a statement that sees the outcomes. `messages` are those of conversations in it: the
    /// next of each conversation may go now. Says whether it has ended.
    async fn end(&self, chunk: i64, token: Uuid, messages: &[Uuid], mut rest: Rest) -> anyhow::Result<bool> {
        if !rest.refused.is_empty() {
            consents::skip_unwanted(&self.context, &rest.refused).await?;
        }
        if rest.gone && messages.is_empty() {
            return Ok(true);
        }
        let mut conn = self.context.db.conn().await?;
        if !rest.refused.is_empty() {
            let now = self.context.clock.now();
            dispatch::cancel_unwanted(&mut conn, &rest.refused, now).await?;
            outcomes::make_due_if_invalid(&mut conn, &rest.refused, now).await?;
            // What it waited behind may have ended between its mark and now, and will not wake it again.
            let turn = !messages.is_empty() && dispatch::their_turn(&mut conn, &rest.refused).await?;
            rest.delay_secs = rest.delay_secs.max(if turn { 0.0 } else { 1.0 });
            notifications::wake(&self.context);
        }
        if !messages.is_empty() && dispatch::wake_followers(&mut conn, messages).await? > 0 {
            self.context.wake.signal(Topic::Relay);
        }
        if rest.gone {
            return Ok(true);
        }
        let finished = dispatch::finish(&mut conn, chunk, token, rest.delay_secs, rest.untried).await?;
        if finished == Finished::GivenBack {
            self.context.wake.signal(Topic::Relay);
        }
        Ok(finished == Finished::Gone)
    }
}

impl Rest {
    fn note(&mut self, written: &[accepting::Written]) {
        for one in written {
            self.gone |= one.chunk_gone;
            if let Stored::Again(after) = one.stored {
                self.queued = true;
                let secs = after.to_std().unwrap_or_default().as_secs_f64();
                self.delay_secs = self.delay_secs.max(secs);
            }
        }
    }
}
