//! How a chunk comes into hand. Where its ticket says which channel it is for and calls of that channel are free, claim and mark are
//! one statement; else it is claimed, and marked later.
//!
//! A chunk waits for free calls unclaimed, and no longer than one that is claimed would.

use std::{collections::HashMap, sync::Arc, time::Duration};

use domain::pacing::pair;
use tokio::{sync::OwnedSemaphorePermit, time::Instant};
use uuid::Uuid;

use super::{Dispatch, MAX_WAIT};
use crate::{
    bus::Ticket,
    services::directory::Snapshot,
    storage::{
        self,
        dispatch::{self, Claimed},
        outcomes::Seen,
        taking::{self, Take, Taken},
    },
    workers::providers::Chosen,
};

/// A delivery in hand.
#[derive(Debug)]
pub(super) struct Held {
    pub claimed: Claimed,
    /// What was read besides, where the chunk was taken.
    read: Option<(Seen, bool)>,
}

impl Held {
    /// As it was taken, for the short way of its outcome.
    pub(super) fn taken(self, attempt: i16) -> Option<Taken> {
        let (seen, at_send) = self.read?;
        Some(Taken { claimed: self.claimed, seen, at_send, attempt: Some(attempt) })
    }
}

/// A chunk in hand.
#[derive(Debug)]
pub(super) struct Hand {
    pub held: Vec<Held>,
    /// What was marked with the claim.
    pub marked: Option<Marked>,
    /// How long it may still wait for a free call.
    pub patience: Duration,
}

/// Deliveries that were marked with the claim of their chunk, and the calls that are taken for them: one for each of the first.
#[derive(Debug)]
pub(super) struct Marked {
    pub snapshot: Arc<Snapshot>,
    pub provider: Chosen,
    /// From before the mark.
    pub started: Instant,
    pub attempts: HashMap<Uuid, i16>,
    pub calls: Vec<OwnedSemaphorePermit>,
}

/// Free calls of a channel, before anything is claimed.
struct Free {
    snapshot: Arc<Snapshot>,
    channel_id: i32,
    provider: Chosen,
    calls: Vec<OwnedSemaphorePermit>,
}

impl Dispatch {
    /// Brings a chunk into hand; empty where it cannot be claimed.
    pub(super) async fn hand(&self, ticket: Ticket, token: Uuid) -> storage::Result<Hand> {
        let began = Instant::now();
        if let Some(free) = self.free(ticket).await
            && let Some(hand) = self.take_chunk(ticket.chunk, token, free).await?
        {
            return Ok(hand);
        }
        let patience = MAX_WAIT.saturating_sub(began.elapsed());
        let claimed = self.claim(ticket.chunk, token).await?;
        let held = claimed.into_iter().map(|claimed| Held { claimed, read: None }).collect();
        Ok(Hand { held, marked: None, patience })
    }

    /// Takes free calls for what a ticket says it carries. None where it says nothing, or where more has to be looked at than free
    /// calls: connectors outside, providers that are down or on trial, the distance between messages.
    async fn free(&self, ticket: Ticket) -> Option<Free> {
        let hint = ticket.hint?;
        let snapshot = self.context.directory.snapshot(&self.context.side).await.ok()?;
        let channel = snapshot.channel(hint.channel).filter(|c| c.row.state == "enabled")?;
        if channel.outside().is_some() || pair::applies(channel.channel_type()) {
            return None;
        }
        let provider = self.providers.choose(channel)?;
        if provider.trial {
            self.providers.spare(&provider);
            return None;
        }
        let calls = provider.calls.take(usize::try_from(hint.size).unwrap_or(1).max(1), MAX_WAIT).await;
        let channel_id = channel.row.id;
        (!calls.is_empty()).then_some(Free { snapshot, channel_id, provider, calls })
    }

    /// Claims and marks. None where nothing was got: the claim by itself waits for who holds the row, and says so if nothing is left.
    async fn take_chunk(&self, chunk: i64, token: Uuid, free: Free) -> storage::Result<Option<Hand>> {
        let Free { snapshot, channel_id, provider, calls } = free;
        let take = Take {
            chunk,
            token,
            channel_id,
            provider_id: provider.id,
            calls: i64::try_from(calls.len()).unwrap_or(1),
            lease_secs: self.lease.as_secs_f64(),
        };
        let mut conn = match self.context.db.conn().await {
            Ok(conn) => conn,
            Err(error) if error.is_transient() => return Ok(None),
            Err(error) => return Err(error),
        };
        // The lease of the marks is counted from here: before the statement, whatever it waits for.
        let started = Instant::now();
        let taken = match taking::take(&mut conn, &take, self.context.clock.now()).await {
            Ok(taken) => taken,
            // If it was done all the same, what is marked becomes UNKNOWN with its lease.
            Err(error) if error.is_transient() => return Ok(None),
            Err(error) => return Err(error),
        };
        if taken.is_empty() {
            return Ok(None);
        }
        let attempts = taken.iter().filter_map(|t| Some((t.claimed.delivery_id, t.attempt?))).collect();
        let is_other = taken.iter().any(|t| t.claimed.channel_id != channel_id);
        let held = taken.into_iter().map(|t| Held { claimed: t.claimed, read: Some((t.seen, t.at_send)) }).collect();
        // The ticket named another channel than the chunk has: nothing of it was marked.
        let marked = (!is_other).then_some(Marked { snapshot, provider, started, attempts, calls });
        Ok(Some(Hand { held, marked, patience: MAX_WAIT }))
    }

    /// Claims; while Postgres is away the message is held and the claim tried again, as long as the bus's lease would last.
    async fn claim(&self, chunk: i64, token: Uuid) -> storage::Result<Vec<Claimed>> {
        let (started, mut pause) = (Instant::now(), Duration::from_millis(50));
        loop {
            let claimed = match self.context.db.conn().await {
                Ok(mut conn) => dispatch::claim(&mut conn, chunk, token, self.lease.as_secs_f64()).await,
                Err(error) => Err(error),
            };
            match claimed {
                Err(error) if error.is_transient() && started.elapsed() < self.lease => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(1));
                }
                claimed => return claimed,
            }
        }
    }
}
