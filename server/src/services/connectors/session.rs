//! A connected program: what it was handed, what it still may be handed, and the leases that live as long as it does.
//!
//! The owner of a session calls [`Session::step`], sends what comes back, and then waits with [`Session::wait`], which may be
//! given up at any moment; a step must not be, since it marks. Nothing is buffered: no more is claimed than may be handed over
//! at once, by the credits that the program named.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};

use tokio::time::Instant;
use uuid::Uuid;

use super::{
    AckKey, ClaimKey, Hello, Served,
    claiming::{self, Outgoing},
    served, settling,
};
use crate::{
    channels::Sent,
    services::{Context, Result, bell::Bell, outcomes::Stored},
    storage::{
        connectors::{self, Arrival},
        dispatch::Claimed,
        pulling::{self, Unsettled},
    },
    wake::Topic,
};

/// How often a session shows that it is there, at the latest.
const SHOW: Duration = Duration::from_secs(5);

/// Where settled deliveries are told: on the session itself, or past it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settles {
    /// By [`Session::settle`].
    Here,
    /// By calls of their own, perhaps of another process.
    Elsewhere,
}

/// See the module.
#[derive(Debug)]
pub struct Session {
    context: Context,
    bell: Bell,
    served: Served,
    settles: Settles,
    instance: String,
    epoch: i64,
    credits: usize,
    patience: Duration,
    /// What was claimed and not handed over yet, by claim.
    chunks: HashMap<ClaimKey, VecDeque<Claimed>>,
    /// What was handed over, and when it must be settled.
    open: HashMap<AckKey, Instant>,
    next_look: Instant,
    rang: bool,
}

/// What a step leads to.
#[derive(Debug)]
pub enum Step {
    /// These are to be sent, in this order.
    Send(Vec<Outgoing>),
    /// A newer connection of the instance took over: this one is to end.
    TakenOver,
}

impl Session {
    /// Begins a session. Says what was handed to the instance earlier and is not settled; it counts against the credits.
    ///
    /// # Errors
    /// As [`served`].
    pub async fn begin(
        context: &Context,
        bell: Bell,
        hello: &Hello,
        settles: Settles,
    ) -> Result<(Self, Vec<(AckKey, Unsettled)>)> {
        let served = served(context, &hello.channel).await?;
        let arrival = Arrival {
            provider_id: served.provider_id,
            name: &hello.instance,
            software: &hello.software,
            in_flight: i32::try_from(hello.in_flight).unwrap_or(i32::MAX),
            connected: true,
        };
        let conn = &mut *context.lists.conn().await?;
        let epoch = connectors::arrive(conn, arrival).await?;
        let unsettled = pulling::unsettled(conn, served.channel_id, &hello.instance).await?;
        let mut session = Self {
            context: context.clone(),
            bell,
            settles,
            instance: hello.instance.clone(),
            epoch,
            credits: hello.in_flight.max(1),
            patience: hello.settle_timeout,
            chunks: HashMap::new(),
            open: HashMap::new(),
            next_look: Instant::now(),
            rang: false,
            served,
        };
        let unsettled: Vec<_> = unsettled.into_iter().map(|one| (session.adopt(&one), one)).collect();
        // The channel is served from now on.
        context.directory.invalidate();
        context.wake.signal(Topic::Relay);
        Ok((session, unsettled))
    }

    fn adopt(&mut self, one: &Unsettled) -> AckKey {
        let claim = ClaimKey { provider_id: self.served.provider_id, chunk: one.chunk, token: one.token };
        let key = AckKey { claim, delivery_id: one.delivery_id, attempt: one.attempt };
        self.chunks.entry(claim).or_default();
        self.open.insert(key, Instant::now() + self.patience);
        key
    }

    /// The channel that is served.
    #[must_use]
    pub const fn served(&self) -> &Served {
        &self.served
    }

    /// The name of the instance.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Renews leases, gives up what was not settled in time, and hands over as much as the credits allow. Must be run to its
    /// end.
    ///
    /// # Errors
    /// What storage says; [`crate::services::Error::WrongState`] when the channel is no longer served from outside.
    pub async fn step(&mut self) -> Result<Step> {
        let rang = std::mem::take(&mut self.rang);
        if Instant::now() >= self.next_look {
            if !self.look().await? {
                return Ok(Step::TakenOver);
            }
        } else if rang && self.settles == Settles::Elsewhere {
            self.renew().await?;
        }
        self.give_up_late().await?;
        let mut ready = Vec::new();
        while let Some(more) = self.hand_over().await? {
            ready.extend(more);
        }
        self.end_chunks().await?;
        Ok(Step::Send(ready))
    }

    /// Waits until there may be something to do. May be given up.
    pub async fn wait(&mut self) {
        let at = self.open.values().min().map_or(self.next_look, |deadline| self.next_look.min(*deadline));
        tokio::select! {
            () = self.bell.rung() => {
                self.bell.last();
                self.rang = true;
            }
            () = tokio::time::sleep_until(at) => {}
        }
    }

    /// Stores what the program says became of deliveries, also of those of an earlier connection.
    ///
    /// # Errors
    /// What storage says; then nothing is stored, and the same may be told again.
    pub async fn settle(&mut self, ends: &[(AckKey, Sent)]) -> Result<Vec<Stored>> {
        let stored = settling::settle(&self.context, ends).await?;
        for (key, _) in ends {
            self.open.remove(key);
        }
        Ok(stored)
    }

    /// Ends the session: what was claimed and not handed over goes back. What was handed over stays with the instance for its
    /// lease.
    pub async fn end(self) {
        let gone = async {
            for claim in self.chunks.keys() {
                claiming::finish(&self.context, claim).await?;
            }
            let conn = &mut *self.context.lists.conn().await?;
            connectors::leave(conn, self.served.provider_id, &self.instance, self.epoch).await?;
            Ok::<_, crate::services::Error>(())
        };
        if let Err(error) = gone.await {
            tracing::debug!(instance = self.instance, error = %error, "what a connector held is left to its leases");
        }
    }

    /// Shows that the session is there, sees what its channel is now, and renews. False when it was taken over.
    async fn look(&mut self) -> Result<bool> {
        self.next_look = Instant::now() + (self.served.lease / 3).min(SHOW);
        let served = served(&self.context, &self.served.slug).await?;
        let conn = &mut *self.context.lists.conn().await?;
        if !connectors::stay(conn, self.served.provider_id, &self.instance, self.epoch).await? {
            return Ok(false);
        }
        self.served = served;
        self.renew().await?;
        Ok(true)
    }

    async fn renew(&mut self) -> Result<()> {
        if self.chunks.is_empty() {
            return Ok(());
        }
        let (chunks, tokens): (Vec<i64>, Vec<Uuid>) = self.chunks.keys().map(|c| (c.chunk, c.token)).unzip();
        let ids: Vec<Uuid> = self.open.keys().map(|key| key.delivery_id).collect();
        let lease = self.served.lease.as_secs_f64();
        let conn = &mut *self.context.db.conn().await?;
        let open: HashSet<Uuid> = pulling::renew(conn, &chunks, &tokens, &ids, lease).await?.into_iter().collect();
        self.open.retain(|key, _| open.contains(&key.delivery_id));
        Ok(())
    }

    async fn give_up_late(&mut self) -> Result<()> {
        let now = Instant::now();
        let late = self.open.iter().filter(|(_, deadline)| **deadline <= now).map(|(key, _)| *key);
        let detail = "the connector did not say in time what became of it".to_owned();
        let ends: Vec<_> = late.map(|key| (key, Sent::Unknown { detail: detail.clone() })).collect();
        if !ends.is_empty() {
            tracing::warn!(instance = self.instance, deliveries = ends.len(), "deliveries were not settled in time");
            self.settle(&ends).await?;
        }
        Ok(())
    }

    /// Hands over the next ones; none when the credits are used up or nothing waits.
    async fn hand_over(&mut self) -> Result<Option<Vec<Outgoing>>> {
        let room = self.credits.saturating_sub(self.open.len());
        if room == 0 {
            return Ok(None);
        }
        if let Some((claim, waiting)) = self.chunks.iter_mut().find(|(_, waiting)| !waiting.is_empty()) {
            let (claim, slice) = (*claim, waiting.drain(..room.min(waiting.len())).collect());
            let ready = claiming::hand_over(&self.context, &self.served, &claim, slice).await?;
            let deadline = Instant::now() + self.patience;
            self.open.extend(ready.iter().filter_map(|outgoing| Some((outgoing.key?, deadline))));
            return Ok(Some(ready));
        }
        let Some(claim) = claiming::claim(&self.context, &self.served, &self.instance, None).await? else {
            return Ok(None);
        };
        self.chunks.insert(claim.key, claim.deliveries.into());
        Ok(Some(Vec::new()))
    }

    async fn end_chunks(&mut self) -> Result<()> {
        let busy: HashSet<ClaimKey> = self.open.keys().map(|key| key.claim).collect();
        let over: Vec<ClaimKey> = self
            .chunks
            .iter()
            .filter(|(c, waiting)| waiting.is_empty() && !busy.contains(c))
            .map(|(c, _)| *c)
            .collect();
        for claim in over {
            claiming::finish(&self.context, &claim).await?;
            self.chunks.remove(&claim);
        }
        Ok(())
    }
}
