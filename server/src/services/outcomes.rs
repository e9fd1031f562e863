//! How calls ended: locks the deliveries of a batch, asks the rulebook what each outcome means, and writes it all at once.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    delivery::{AfterUnknown, Evidence, FailureClass, Outcome, Work},
    fallback::{
        NotWanted, OutcomeDecision, OutcomeFacts, Step, Target, WantedFacts, after_outcome, outcome::SETTLING,
        wanted_later,
    },
};
use uuid::Uuid;

use super::{Context, Result, consents, directory::Snapshot, plans::PinnedPlan, suppressions};
use crate::{
    channels::Sent,
    storage::{
        Conn,
        outcomes::{self, OpenDelivery, OutcomeRow},
    },
    wake::Topic,
};

/// The end of one call.
#[derive(Debug, Clone)]
pub struct Ended {
    /// The delivery.
    pub delivery_id: Uuid,
    /// The attempt.
    pub attempt: i16,
    /// The token under which it was marked.
    pub token: Uuid,
    /// The provider that was called.
    pub provider_id: i32,
    /// What that provider can do after an outcome that is not known.
    pub after_unknown: AfterUnknown,
    /// How it ended.
    pub sent: Sent,
}

/// What became of the delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// Its work is over.
    Over,
    /// It is queued again, to be tried after this long.
    Again(TimeDelta),
    /// The token was not the current one any more: what was learnt is kept as evidence.
    Late,
}

/// Writes the ends of calls, in one transaction. Comes back in the order of `ended`.
///
/// # Errors
/// What storage says; then nothing was written, and the same batch may be tried again.
pub async fn store(context: &Context, ended: &[Ended]) -> Result<Vec<Stored>> {
    let now = context.clock.now();
    let mut tx = context.db.begin().await?;
    let mut ids: Vec<Uuid> = ended.iter().map(|e| e.delivery_id).collect();
    let opting_out = ended.iter().filter(|e| matches!(read(&e.sent).1, Some(FailureClass::OptOut)));
    let opting_out: Vec<Uuid> = opting_out.map(|e| e.delivery_id).collect();
    let beside = beside(context, &mut tx, &opting_out).await?;
    // Notifications before deliveries, as everyone locks.
    consents::lock(&mut tx, &beside, None).await?;
    ids.extend(beside.iter().map(|(_, delivery)| *delivery));
    ids.sort_unstable();
    let open: HashMap<Uuid, OpenDelivery> =
        outcomes::lock(&mut tx, &ids).await?.into_iter().map(|d| (d.id, d)).collect();
    let (mut rows, mut late, mut results) = (Vec::new(), Vec::new(), Vec::with_capacity(ended.len()));
    let mut effects = Effects::default();
    let snapshot = context.directory.snapshot(&context.side).await?;
    for end in ended {
        let delivery = open.get(&end.delivery_id).filter(|d| d.token == Some(end.token) && d.work == Work::Sending);
        let Some(delivery) = delivery else {
            late.push(row(end, None, now));
            results.push(Stored::Late);
            continue;
        };
        let (step, at_least_once) = step_of(context, &mut tx, delivery).await?;
        let decision = decide(&step, at_least_once, delivery, end, now);
        effects.note(delivery, &decision);
        effects.note_gone(&snapshot, delivery, end);
        results.push(match (decision.work, decision.requeue_after) {
            (Work::Queued, Some(after)) => Stored::Again(after),
            _ => Stored::Over,
        });
        rows.push(row(end, Some((&decision, &step, delivery)), now));
    }
    outcomes::store(&mut tx, &rows, now).await?;
    if !late.is_empty() {
        outcomes::keep_as_evidence(&mut tx, &late.iter().collect::<Vec<_>>()).await?;
        context.wake.signal(Topic::Receipts);
    }
    effects.apply(context, &mut tx, &beside, now).await?;
    tx.commit().await.map_err(crate::storage::Error::from)?;
    wake(context, &rows, now);
    effects.after_commit(context);
    effects.suppress(context, now).await;
    Ok(results)
}

/// Wakes who has work after these outcomes were committed. A wait that is long enough needs nobody now.
pub(super) fn wake(context: &Context, rows: &[OutcomeRow], now: DateTime<Utc>) {
    let waits = rows.iter().flat_map(|r| [r.wait_until, r.ask_at]).flatten();
    let earliest = waits.chain(rows.iter().filter(|r| r.due_now).map(|_| now)).min();
    context.wake.signal_for(Topic::Fallback, earliest, now);
    if rows.iter().any(|r| r.record) {
        context.wake.signal(Topic::Conversations);
    }
    context.wake.signal(Topic::Events);
}

/// The step that a delivery carries out, and whether its policy repeats calls whose end is not known; a conversation's message has
/// the rules of a step by itself.
///
/// # Errors
/// What storage says.
pub async fn step_of(context: &Context, conn: &mut Conn, delivery: &OpenDelivery) -> Result<(Step, bool)> {
    let plan = match &delivery.notification {
        Some(n) => Some(context.plans.load(conn, n.plan_id).await?),
        None => None,
    };
    Ok(step_in(plan.as_deref(), delivery))
}

/// The same without asking the database; none where the plan was not loaded yet.
pub(super) fn known_step(context: &Context, delivery: &OpenDelivery) -> Option<(Step, bool)> {
    let plan = match &delivery.notification {
        Some(n) => Some(context.plans.known(n.plan_id)?),
        None => None,
    };
    Some(step_in(plan.as_deref(), delivery))
}

fn step_in(plan: Option<&PinnedPlan>, delivery: &OpenDelivery) -> (Step, bool) {
    let index = usize::try_from(delivery.step).unwrap_or_default();
    let found = plan.and_then(|plan| Some((plan.policy.steps.get(index)?.clone(), plan.policy.at_least_once)));
    found.unwrap_or_else(|| (Step::to(Target::ChannelType(domain::channel::ChannelType::Sms)), false))
}

pub(super) fn decide(
    step: &Step,
    at_least_once: bool,
    delivery: &OpenDelivery,
    end: &Ended,
    now: DateTime<Utc>,
) -> OutcomeDecision {
    let (outcome, refusal, retry_after) = read(&end.sent);
    after_outcome(
        step,
        &OutcomeFacts {
            outcome,
            refusal,
            retry_after,
            token_holds: true,
            work: delivery.work,
            evidence: delivery.evidence,
            attempts: u32::try_from(delivery.attempts - 1).unwrap_or_default(),
            failures: u32::try_from(delivery.failures).unwrap_or_default(),
            refuted: u32::try_from(delivery.refuted).unwrap_or_default(),
            wanted: wanted(delivery, now),
            after_unknown: end.after_unknown,
            at_least_once,
            started: delivery.started,
            jitter: rand::random(),
        },
    )
}

/// Whether a repeat of a delivery is wanted.
pub(super) fn wanted(delivery: &OpenDelivery, now: DateTime<Utc>) -> std::result::Result<(), NotWanted> {
    delivery.notification.as_ref().map_or(Ok(()), |n| {
        wanted_later(&WantedFacts {
            state: n.state,
            current_step: usize::try_from(n.step).unwrap_or_default(),
            delivery_step: usize::try_from(delivery.step).unwrap_or_default(),
            paused: false,
            opted_out: false, // the mark asks consent itself
            valid_until: delivery.valid_until,
            now,
        })
    })
}

fn read(sent: &Sent) -> (Outcome, Option<FailureClass>, Option<TimeDelta>) {
    match sent {
        Sent::Accepted { .. } => (Outcome::Accepted, None, None),
        Sent::Refused(refusal) => {
            let after = refusal.retry_after.and_then(|after| TimeDelta::from_std(after).ok());
            (Outcome::Refused, Some(refusal.class), after)
        }
        Sent::NotSent { .. } => (Outcome::NotSent, None, None),
        Sent::Unknown { .. } => (Outcome::Unknown, None, None),
    }
}

/// What an outcome was decided to mean, by which step, and for what delivery.
type Decided<'a> = (&'a OutcomeDecision, &'a Step, &'a OpenDelivery);

/// The row of an outcome. Without a decision it is late: kept as evidence only.
pub(super) fn row(end: &Ended, decided: Option<Decided<'_>>, now: DateTime<Utc>) -> OutcomeRow {
    let (outcome, class, _) = read(&end.sent);
    let (provider_message_id, code, detail) = match &end.sent {
        Sent::Accepted { provider_message_id } => (Some(provider_message_id.clone()), None, None),
        Sent::Refused(refusal) => (None, Some(refusal.code.clone()), Some(refusal.detail.clone())),
        Sent::NotSent { detail } | Sent::Unknown { detail } => (None, None, Some(detail.clone())),
    };
    let decision = decided.map(|(decision, ..)| decision);
    let notification = decided.and_then(|(.., delivery)| delivery.notification.as_ref());
    OutcomeRow {
        delivery_id: end.delivery_id,
        attempt: end.attempt,
        token: end.token,
        provider_id: end.provider_id,
        outcome,
        provider_message_id,
        class,
        code,
        detail,
        work: decision.map_or(Work::Done, |d| d.work),
        evidence: decision.map_or(Evidence::None, |d| d.evidence),
        counts_failure: decision.is_some_and(|d| d.counts),
        counts_throttle: class == Some(FailureClass::Throttled),
        wait_until: decided.filter(|(d, ..)| d.arm_wait).map(|(_, step, _)| now + step.wait),
        due_now: decision.is_some_and(|d| d.step_due_now),
        generation: notification.map_or(0, |n| n.generation),
        ask_at: decision.filter(|d| d.ask).map(|_| now + SETTLING),
        seen: None,
        chunk: None,
        // What single notifications have put on the wire, their conversations are to hold.
        record: matches!(outcome, Outcome::Accepted | Outcome::Unknown) && notification.is_some_and(|n| n.at_send),
    }
}

/// What else is queued to the addresses of these deliveries, whose people opted out: (notification, delivery). Asked before
/// anything is locked, since the notifications have to be locked first.
///
/// # Errors
/// What storage says.
pub async fn beside(context: &Context, conn: &mut Conn, opting_out: &[Uuid]) -> Result<Vec<(Uuid, Uuid)>> {
    if opting_out.is_empty() {
        return Ok(Vec::new());
    }
    let snapshot = context.directory.snapshot(&context.side).await?;
    let addresses = outcomes::addresses(conn, opting_out).await?;
    let of_type = |(address, channel): (i64, i32)| Some((address, snapshot.channel(channel)?.channel_type()));
    let addresses: Vec<_> = addresses.into_iter().filter_map(of_type).collect();
    consents::queued_beside(conn, &addresses).await
}

/// What outcomes and receipts do beyond their delivery.
#[derive(Debug, Default)]
pub struct Effects {
    opt_outs: Vec<(i64, i32)>,
    parked: Vec<i32>,
    gone: Vec<(i64, String)>,
}

impl Effects {
    fn note(&mut self, delivery: &OpenDelivery, decision: &OutcomeDecision) {
        self.add(delivery.address_id, delivery.channel_id, decision.opt_out, decision.park_channel);
    }

    /// Notes an address of which its provider says that it does not exist.
    fn note_gone(&mut self, snapshot: &Snapshot, delivery: &OpenDelivery, end: &Ended) {
        let (Sent::Refused(refusal), Some(address)) = (&end.sent, delivery.address_id) else { return };
        let provider = snapshot.provider(end.provider_id).and_then(|(_, provider)| provider.connector.as_ref().ok());
        if provider.is_some_and(|connector| connector.address_is_gone(&refusal.code)) {
            self.gone.push((address, format!("{}: {}", refusal.code, refusal.detail)));
        }
    }

    /// Notes what one outcome or receipt asks for.
    pub fn add(&mut self, address_id: Option<i64>, channel_id: Option<i32>, opt_out: bool, park: bool) {
        if let (true, Some(address), Some(channel)) = (opt_out, address_id, channel_id) {
            self.opt_outs.push((address, channel));
        }
        self.parked.extend(channel_id.filter(|_| park));
    }

    /// Records opt-outs and parks channels, in the caller's transaction. `beside` is what [`beside`] said, locked since.
    ///
    /// # Errors
    /// What storage says.
    pub async fn apply(
        &self,
        context: &Context,
        conn: &mut Conn,
        beside: &[(Uuid, Uuid)],
        now: DateTime<Utc>,
    ) -> Result<()> {
        let snapshot = context.directory.snapshot(&context.side).await?;
        let of_type = |(address, channel): &(i64, i32)| Some((*address, snapshot.channel(*channel)?.channel_type()));
        let opted_out: Vec<_> = self.opt_outs.iter().filter_map(of_type).collect();
        consents::providers_say_opted_out(conn, &opted_out, beside, now).await?;
        for channel in &self.parked {
            // A channel with another provider goes on over that one: only the breaker of the refusing provider opens.
            if snapshot.channel(*channel).is_some_and(|c| c.providers.len() <= 1) {
                crate::storage::breakers::park(conn, *channel, "PROVIDER_REFUSED_CHANNEL", now).await?;
            }
        }
        Ok(())
    }

    /// Suppresses addresses that do not exist, in a transaction of its own: who plans locks addresses before deliveries, and
    /// outcomes have locked deliveries. What could not be written is learnt from the next refusal.
    async fn suppress(&self, context: &Context, now: DateTime<Utc>) {
        if self.gone.is_empty() {
            return;
        }
        let written = match context.side.conn().await {
            Ok(mut conn) => suppressions::provider_refused(&mut conn, &self.gone, now).await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = written {
            tracing::warn!(addresses = self.gone.len(), error = %error, "addresses that do not exist were not suppressed");
        }
    }

    /// What is to be done when all is committed.
    pub fn after_commit(&self, context: &Context) {
        if !self.parked.is_empty() {
            tracing::error!(channels = ?self.parked, "a provider refused a channel itself: see its health");
            context.directory.invalidate();
        }
    }
}
