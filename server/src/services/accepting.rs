//! The short way of an outcome. Nearly every call ends accepted, and what that means was known when its delivery was taken: the
//! rulebook is asked with what was read then, and one statement writes what it says where all of that still stands, and ends
//! the chunks of which these were the last. Everything else goes the way of [`outcomes::store`], which locks, reads and decides.
//!
//! Nothing is weaker for it: the token is asked as ever, and a receipt, a repeat or an answer that came since changes what was
//! read, so that the statement leaves the delivery alone.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use domain::delivery::Work;
use uuid::Uuid;

use super::{
    Context, Result,
    outcomes::{self, Ended, Stored},
};
use crate::{
    channels::Sent,
    storage::{
        outcomes::{self as stored, OfNotification, OpenDelivery, OutcomeRow, Seen},
        taking::Taken,
    },
};

/// The end of one call, with what was known of its delivery when it was marked.
#[derive(Debug, Clone)]
pub struct Went {
    /// How it ended.
    pub ended: Ended,
    /// The delivery as it was marked; none where it was not read then.
    pub known: Option<OpenDelivery>,
    /// The chunk that carries it.
    pub chunk: i64,
}

/// What became of the delivery, and of its chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// What became of the delivery.
    pub stored: Stored,
    /// Whether its chunk has ended with it: nothing is left to be done with that.
    pub chunk_gone: bool,
}

/// A delivery as it stands after its mark, from what was read with it.
#[must_use]
pub fn known(taken: &Taken, token: Uuid, attempt: i16) -> OpenDelivery {
    let (claimed, seen) = (&taken.claimed, &taken.seen);
    let of_plan = |plan_id| OfNotification {
        // The mark has asked for both.
        state: domain::notification::State::Waiting,
        step: claimed.step,
        plan_id,
        generation: claimed.generation,
        at_send: taken.at_send,
    };
    OpenDelivery {
        id: claimed.delivery_id,
        token: Some(token),
        work: Work::Sending,
        evidence: seen.evidence,
        attempts: attempt,
        failures: seen.failures,
        refuted: seen.refuted,
        started: seen.started,
        step: claimed.step,
        address_id: Some(claimed.address_id),
        channel_id: Some(claimed.channel_id),
        valid_until: claimed.valid_until,
        notification: claimed.plan_id.map(of_plan),
    }
}

/// Writes the ends of calls. Comes back in the order of `went`.
///
/// # Errors
/// What storage says; the same batch may be tried again: what was written already is evidence then, and changes nothing.
pub async fn store(context: &Context, went: &[Went]) -> Result<Vec<Written>> {
    let now = context.clock.now();
    let rows: Vec<OutcomeRow> = went.iter().filter_map(|went| accepted(context, went, now)).collect();
    let (mut written, mut gone) = (HashSet::new(), HashSet::new());
    if !rows.is_empty() {
        let found = stored::store(&mut *context.db.conn().await?, &rows, now).await?;
        written.extend(found.deliveries);
        gone.extend(found.gone);
        outcomes::wake(context, &rows, now);
    }
    let others: Vec<Ended> =
        went.iter().filter(|w| !written.contains(&w.ended.delivery_id)).map(|w| w.ended.clone()).collect();
    let mut others = match others.is_empty() {
        true => Vec::new(),
        false => outcomes::store(context, &others).await?,
    }
    .into_iter();
    let of = |went: &Went| {
        let stored = match written.contains(&went.ended.delivery_id) {
            true => Stored::Over,
            // As many come back as were given.
            false => others.next().unwrap_or(Stored::Late),
        };
        Written { stored, chunk_gone: gone.contains(&went.chunk) }
    };
    Ok(went.iter().map(of).collect())
}

/// The row of a call that was accepted, where that ends the work and asks for nothing else.
fn accepted(context: &Context, went: &Went, now: DateTime<Utc>) -> Option<OutcomeRow> {
    let (Sent::Accepted { .. }, Some(delivery)) = (&went.ended.sent, &went.known) else { return None };
    let (step, at_least_once) = outcomes::known_step(context, delivery)?;
    let decision = outcomes::decide(&step, at_least_once, delivery, &went.ended, now);
    if decision.work != Work::Done || decision.ask || decision.counts || decision.opt_out || decision.park_channel {
        return None;
    }
    let row = outcomes::row(&went.ended, Some((&decision, &step, delivery)), now);
    let seen = Seen {
        evidence: delivery.evidence,
        failures: delivery.failures,
        refuted: delivery.refuted,
        started: delivery.started,
    };
    Some(OutcomeRow { seen: Some(seen), chunk: Some(went.chunk), ..row })
}
