//! Deciding about notifications: lock, read, ask the rulebook, write. The one place through which a timer, a receipt, an
//! outcome and a lost lease move a notification, so that all of them mean the same.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    delivery::Work,
    fallback::{Decision, DeliveryFacts, NotificationFacts, Now, decide},
    notification::{Reason, State},
};
use uuid::Uuid;

use super::{
    Context, Result,
    planning::{Page, Subject},
};
use crate::storage::{
    Conn,
    deciding::{self, DueTimer, GroupClock, Locked},
    planning::{self, Move, TimerRow},
};

/// Why the rulebook is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// A timer of this generation fired.
    Timer(i32),
    /// Evidence changed.
    Evidence,
}

/// Decides about notifications in the caller's transaction. Those that another decider holds are left out when `skip` says so;
/// their timers stay and fire again.
///
/// # Errors
/// What storage says.
pub async fn decide_about(
    context: &Context,
    conn: &mut Conn,
    causes: &HashMap<Uuid, Cause>,
    skip: bool,
) -> Result<usize> {
    let mut ids: Vec<Uuid> = causes.keys().copied().collect();
    ids.sort_unstable();
    let locked = deciding::lock(conn, &ids, skip).await?;
    if locked.is_empty() {
        return Ok(0);
    }
    let ids: Vec<Uuid> = locked.iter().map(|n| n.id).collect();
    let deliveries = deciding::deliveries(conn, &ids).await?;
    let unmerged = deciding::unmerged_for(conn, &ids).await?;
    let contacts: Vec<i64> = locked.iter().map(|n| n.contact_id).collect();
    let snapshot = context.directory.snapshot(&context.side).await?;
    let page = Page::load(context, snapshot, conn, &contacts).await?;
    // One time for all that a decision writes: who is listed is not listed after the end of their notification.
    let now = page.now();
    let clocks = deciding::clocks(conn, &ids, now).await?;
    let mut batch = Batch {
        context,
        page,
        now,
        moves: Vec::new(),
        timers: Vec::new(),
        fired: Vec::new(),
        disarmed: Vec::new(),
        taken_back: HashMap::new(),
        off_call_lists: Vec::new(),
    };
    for notification in &locked {
        let cause = causes.get(&notification.id).copied().unwrap_or(Cause::Evidence);
        let none = Vec::new();
        let facts = Facts {
            deliveries: deliveries.get(&notification.id).unwrap_or(&none),
            unmerged_for: unmerged.get(&notification.id).copied(),
            clock: clocks.get(&notification.id),
        };
        batch.one(conn, notification, &facts, cause).await?;
    }
    batch.write(conn).await?;
    Ok(locked.len())
}

struct Facts<'a> {
    deliveries: &'a [deciding::DeliveryFacts],
    unmerged_for: Option<f64>,
    clock: Option<&'a GroupClock>,
}

/// What a batch of decisions is going to write.
struct Batch<'a> {
    context: &'a Context,
    page: Page,
    now: DateTime<Utc>,
    moves: Vec<Move>,
    timers: Vec<TimerRow>,
    fired: Vec<DueTimer>,
    disarmed: Vec<Uuid>,
    taken_back: HashMap<(Work, Reason), Vec<Uuid>>,
    off_call_lists: Vec<Uuid>,
}

impl Batch<'_> {
    async fn one(&mut self, conn: &mut Conn, n: &Locked, facts: &Facts<'_>, cause: Cause) -> Result<()> {
        let plan = self.context.plans.load(conn, n.plan_id).await?;
        let group_now = facts.clock.map_or(self.now, |c| c.group_now);
        let now = Now { real: self.now, group: group_now };
        let timer = match cause {
            Cause::Timer(generation) => Some(generation),
            Cause::Evidence => None,
        };
        let decision = decide(&plan.policy, &notification_facts(n, facts, self.now), timer, now);
        if let Cause::Timer(generation) = cause {
            self.fired.push(DueTimer { owner: n.id, generation });
        }
        match decision {
            Decision::Nothing => {}
            Decision::Hold { until } | Decision::KeepWaiting { until } => {
                self.keep_timer(n, facts, until, group_now);
            }
            Decision::Succeeded { state, step: _, late } => {
                self.finish(n, state, None, late);
                self.take_back(n, Work::Cancelled, Reason::TakenBack);
                self.off_call_lists.push(n.id);
            }
            Decision::Enter { step } => self.enter(conn, n, facts, step, None).await?,
            Decision::Advance { to, reason } => {
                self.take_back(n, Work::Cancelled, reason);
                self.enter(conn, n, facts, to, Some(reason)).await?;
            }
            Decision::Exhausted { reason } => {
                self.take_back(n, Work::Cancelled, reason);
                let sent = ever_sent(facts.deliveries);
                self.finish(n, if sent { State::Exhausted } else { State::Skipped }, Some(reason), false);
            }
            Decision::Expired => {
                self.take_back(n, Work::Expired, Reason::ValidityPassed);
                self.finish(n, State::Expired, Some(Reason::ValidityPassed), false);
            }
        }
        Ok(())
    }

    /// The timer stands where the rulebook says. Its generation stays; a fired one is put back later.
    fn keep_timer(&mut self, n: &Locked, facts: &Facts<'_>, until: DateTime<Utc>, group_now: DateTime<Utc>) {
        self.fired.retain(|timer| timer.owner != n.id);
        if facts.clock.and_then(|c| c.due_at) == Some(until) {
            return; // it stands there already
        }
        let group = facts.deliveries.iter().rev().find_map(|d| d.send_group_id);
        if let Some(send_group_id) = group {
            // `arm_timers` takes real time and shifts it into the group's clock.
            let due_at = self.now + (until - group_now);
            self.timers.push(TimerRow { notification_id: n.id, send_group_id, due_at, generation: n.generation });
        }
    }

    async fn enter(
        &mut self,
        conn: &mut Conn,
        n: &Locked,
        facts: &Facts<'_>,
        step: usize,
        because: Option<Reason>,
    ) -> Result<()> {
        let subject = Subject {
            id: n.id,
            contact_id: n.contact_id,
            campaign_id: n.campaign_id,
            weight: 1,
            lane: n.lane,
            plan: self.context.plans.load(conn, n.plan_id).await?,
            from_step: i16::try_from(step).unwrap_or(i16::MAX),
            because,
            purpose: n.purpose.clone(),
            variables: n.variables.clone(),
            valid_until: n.valid_until,
            planned_at: n.created_at,
            ever_sent: ever_sent(facts.deliveries),
            generation: n.generation + 1,
        };
        let placed = self.page.place(conn, &subject).await?;
        let to = n.state.max(placed.state);
        if to.is_finished() || placed.state == State::Waiting && placed.reason.is_none() {
            self.disarmed.push(n.id);
        }
        self.moves.push(Move {
            id: n.id,
            campaign_id: n.campaign_id,
            from: n.state,
            to,
            step: placed.step,
            reason: placed.reason.or(because).map(|r| r.as_str().to_owned()),
            answered_by: None,
            late: false,
        });
        Ok(())
    }

    fn finish(&mut self, n: &Locked, to: State, reason: Option<Reason>, late: bool) {
        self.disarmed.push(n.id);
        self.moves.push(Move {
            id: n.id,
            campaign_id: n.campaign_id,
            from: n.state,
            to,
            step: n.step,
            reason: reason.map(|r| r.as_str().to_owned()),
            answered_by: None,
            late,
        });
    }

    fn take_back(&mut self, n: &Locked, work: Work, reason: Reason) {
        self.taken_back.entry((work, reason)).or_default().push(n.id);
    }

    /// Deliveries before timers, as every writer does: the order of locks.
    async fn write(mut self, conn: &mut Conn) -> Result<()> {
        for ((work, reason), ids) in &self.taken_back {
            planning::cancel_queued(conn, ids, *work, reason.as_str(), self.now).await?;
        }
        if !self.moves.is_empty() {
            planning::move_notifications(conn, &self.moves, self.now).await?;
        }
        if !self.off_call_lists.is_empty() {
            planning::leave_call_lists(conn, &self.off_call_lists, self.now).await?;
        }
        deciding::remove_timers(conn, "step", &self.fired).await?;
        self.disarmed.sort_unstable();
        planning::disarm_timers(conn, &self.disarmed).await?;
        if !self.timers.is_empty() {
            planning::arm_timers(conn, &self.timers).await?;
        }
        self.page.flush(conn).await?;
        Ok(())
    }
}

/// Whether anything may have gone out for a notification.
#[must_use]
pub fn ever_sent(deliveries: &[deciding::DeliveryFacts]) -> bool {
    deliveries.iter().any(|d| d.attempts > 0)
}

fn notification_facts(n: &Locked, facts: &Facts<'_>, now: DateTime<Utc>) -> NotificationFacts {
    #[expect(clippy::cast_possible_truncation, reason = "seconds since a receipt was stored")]
    let unmerged_since = facts.unmerged_for.map(|secs| now - TimeDelta::milliseconds((secs * 1000.0) as i64));
    NotificationFacts {
        state: n.state,
        step: usize::try_from(n.step).unwrap_or_default(),
        generation: n.generation,
        due: facts.clock.and_then(|c| c.due_at),
        deliveries: facts.deliveries.iter().map(delivery_facts).collect(),
        unmerged_since,
        valid_until: n.valid_until,
        paused: facts.clock.is_some_and(|c| c.paused),
    }
}

fn delivery_facts(d: &deciding::DeliveryFacts) -> DeliveryFacts {
    DeliveryFacts {
        step: usize::try_from(d.step).unwrap_or_default(),
        work: d.work,
        evidence: d.evidence,
        failure: d.failure_class.as_deref().and_then(|c| c.parse().ok()),
        reason: d.reason.as_deref().and_then(|r| r.parse().ok()),
        started: d.first_sent_at,
    }
}
