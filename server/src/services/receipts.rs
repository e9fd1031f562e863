//! Receipts: merged in batches. The highest rank wins, late evidence lifts, nothing goes back; what the rulebook then decides
//! about the notification happens in the same transaction.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    delivery::{Evidence, FailureClass, Work},
    fallback::{ReceiptDecision, ReceiptFacts, Step, after_receipt},
};
use uuid::Uuid;

use super::{
    Context, Result, consents,
    deciding::{Cause, decide_about},
    outcomes::{Effects, beside, step_of, wanted},
};
use crate::{
    storage::{
        self, Conn, deciding,
        outcomes::{self, OpenDelivery},
        planning::{self, TimerRow},
        receipts::{self, Kept, Lift, Requeue, Taken},
    },
    wake::Topic,
};

/// Receipts in one transaction.
const BATCH: i64 = 500;

/// Merges one batch. Says whether there may be more.
///
/// # Errors
/// What storage says; then nothing was merged and the receipts stay in the inbox.
pub async fn merge(context: &Context) -> Result<bool> {
    let now = context.clock.now();
    let mut tx = context.db.begin().await?;
    let (taken, more) = receipts::take(&mut tx, BATCH).await?;
    if taken.is_empty() {
        tx.commit().await.map_err(storage::Error::from)?;
        return Ok(more);
    }
    // Lock in the order of everyone: notifications first, then deliveries.
    let opt_out = FailureClass::OptOut.as_str();
    let opting_out = taken.iter().filter(|t| t.failure_class.as_deref() == Some(opt_out));
    let opting_out: Vec<Uuid> = opting_out.map(|t| t.delivery_id).collect();
    let beside = beside(context, &mut tx, &opting_out).await?;
    let of = notifications_of(&mut tx, &taken, &beside).await?;
    let mut ids: Vec<Uuid> = taken.iter().map(|t| t.delivery_id).chain(beside.iter().map(|b| b.1)).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut open: HashMap<Uuid, OpenDelivery> =
        outcomes::lock(&mut tx, &ids).await?.into_iter().map(|d| (d.id, d)).collect();
    let mut merged = Merged::default();
    let mut kept = Vec::with_capacity(taken.len());
    for receipt in &taken {
        let Some(delivery) = open.get_mut(&receipt.delivery_id) else { continue };
        let (step, _) = step_of(context, &mut tx, delivery).await?;
        kept.push(Kept { taken: receipt, late: merged.one(delivery, receipt, &step, of.get(&delivery.id), now) });
    }
    receipts::lift(&mut tx, &merged.lifts.into_values().collect::<Vec<_>>(), now).await?;
    if !merged.refuted.is_empty() {
        receipts::refute(&mut tx, &merged.refuted).await?;
    }
    if !merged.again.is_empty() {
        receipts::requeue(&mut tx, &merged.again.into_values().collect::<Vec<_>>()).await?;
    }
    receipts::keep(&mut tx, &kept).await?;
    merged.effects.apply(context, &mut tx, &beside, now).await?;
    arm(&mut tx, context, &merged.waits).await?;
    if !merged.decide.is_empty() {
        decide_about(context, &mut tx, &merged.decide, false).await?;
    }
    tx.commit().await.map_err(storage::Error::from)?;
    merged.effects.after_commit(context);
    for topic in [Topic::Events, Topic::Fallback, Topic::Relay] {
        context.wake.signal(topic);
    }
    Ok(more)
}

/// Locks the notifications of these deliveries and says which delivery belongs to which.
async fn notifications_of(conn: &mut Conn, taken: &[Taken], beside: &[(Uuid, Uuid)]) -> Result<HashMap<Uuid, Uuid>> {
    let deliveries: Vec<Uuid> = taken.iter().map(|t| t.delivery_id).collect();
    let of = deciding::notifications_of(conn, &deliveries).await?;
    consents::lock(conn, beside, of.values().copied()).await?;
    Ok(of)
}

/// What a batch of receipts leads to.
#[derive(Debug, Default)]
struct Merged {
    lifts: BTreeMap<Uuid, Lift>,
    refuted: Vec<Uuid>,
    again: BTreeMap<Uuid, Requeue>,
    decide: HashMap<Uuid, Cause>,
    waits: HashMap<Uuid, (Uuid, TimeDelta, i32)>,
    effects: Effects,
}

impl Merged {
    /// Merges one receipt into what is known of its delivery. Says whether it came late.
    fn one(
        &mut self,
        delivery: &mut OpenDelivery,
        receipt: &Taken,
        step: &Step,
        notification: Option<&Uuid>,
        now: DateTime<Utc>,
    ) -> bool {
        let decision = after_receipt(step, &facts(delivery, receipt, now));
        self.repeat(delivery, &decision);
        let takes_back = delivery.work == Work::Queued && decision.work != Work::Queued;
        if decision.lifted || takes_back {
            let failed = decision.evidence == Evidence::Failed;
            self.lifts.insert(
                delivery.id,
                Lift {
                    delivery_id: delivery.id,
                    evidence: decision.evidence,
                    failure_class: decision.failure.map(|f| f.as_str().to_owned()),
                    failure_code: receipt.failure_code.clone().filter(|_| failed),
                    take_back_repeat: takes_back,
                },
            );
        }
        self.effects.add(delivery.address_id, delivery.channel_id, decision.opt_out, decision.park_channel);
        if let (Some(id), Some(n)) = (notification, &delivery.notification) {
            if decision.arm_wait {
                self.waits.insert(delivery.id, (*id, step.wait, n.generation));
            }
            if decision.step_due_now {
                self.decide.insert(*id, Cause::Evidence);
            }
        }
        delivery.evidence = decision.evidence;
        delivery.work = decision.work;
        delivery.started |= decision.arm_wait;
        decision.late
    }

    /// Notes what a failure for the moment asks for. A later receipt of the same batch may end what an earlier one queued.
    fn repeat(&mut self, delivery: &mut OpenDelivery, decision: &ReceiptDecision) {
        if decision.refuted {
            delivery.refuted = delivery.attempts;
            delivery.failures += i16::from(decision.counts);
        }
        match decision.requeue_after {
            Some(after) => {
                let delay_secs = after.to_std().unwrap_or_default().as_secs_f64();
                let again = Requeue { delivery_id: delivery.id, delay_secs, counts: decision.counts };
                self.again.insert(delivery.id, again);
            }
            None if decision.refuted => self.refuted.push(delivery.id),
            None if decision.work != Work::Queued => {
                self.again.remove(&delivery.id);
            }
            None => {}
        }
    }
}

fn facts(delivery: &OpenDelivery, receipt: &Taken, now: DateTime<Utc>) -> ReceiptFacts {
    let number = |n: i16| u32::try_from(n).unwrap_or_default();
    ReceiptFacts {
        says: receipt.evidence,
        failure: receipt.failure_class.as_deref().and_then(|c| c.parse::<FailureClass>().ok()),
        attempt: number(receipt.attempt),
        attempts: number(delivery.attempts),
        failures: number(delivery.failures),
        refuted: number(delivery.refuted),
        work: delivery.work,
        evidence: delivery.evidence,
        started: delivery.started,
        left: delivery.notification.as_ref().is_some_and(|n| n.state.is_finished() || n.step != delivery.step),
        wanted: wanted(delivery, now),
        jitter: rand::random(),
    }
}

/// Starts the waits of steps whose receipt outran the outcome.
async fn arm(conn: &mut Conn, context: &Context, waits: &HashMap<Uuid, (Uuid, TimeDelta, i32)>) -> Result<()> {
    if waits.is_empty() {
        return Ok(());
    }
    let now = context.clock.now();
    let mut ids: Vec<Uuid> = waits.keys().copied().collect();
    ids.sort_unstable();
    let groups = receipts::start_waits(conn, &ids, now).await?;
    let mut timers: Vec<TimerRow> = groups
        .into_iter()
        .filter_map(|(delivery, send_group_id)| {
            let (notification_id, wait, generation) = *waits.get(&delivery)?;
            Some(TimerRow { notification_id, send_group_id, due_at: now + wait, generation })
        })
        .collect();
    timers.sort_by_key(|t| t.notification_id);
    planning::arm_timers(conn, &timers).await?;
    Ok(())
}
