//! How campaigns end: completed when nothing of them is unfinished, or cancelled in batches that take back what is queued.

use domain::{
    campaign::{Event, State},
    delivery,
    notification::{self, Reason},
};

use super::{load, pace, spread, verbs};
use crate::{
    services::{Context, Result, work::Work},
    storage::{
        campaigns::{self, groups, planning},
        deciding,
        planning::{Move, cancel_queued, disarm_timers, move_notifications},
    },
    wake::Topic,
};

/// Notifications, and chunks, that one transaction takes back.
const BATCH: i64 = 1000;
/// Campaigns that one pass looks at.
const CAMPAIGNS: i64 = 50;

/// Completes the campaigns of which everything has ended. Says how many.
///
/// # Errors
/// What storage says.
pub async fn complete(context: &Context) -> Result<usize> {
    let found = planning::finished(&mut *context.lists.conn().await?, CAMPAIGNS).await?;
    for id in &found {
        let mut work = Work::begin(context).await?;
        let campaign = campaigns::lock(work.conn(), *id).await?;
        let to = campaign.as_ref().and_then(|c| c.state.after(Event::AllEnded));
        // It may have been paused or cancelled since it was found.
        if let (Some(campaign), Some(to)) = (campaign, to) {
            verbs::set(&mut work, &campaign, to, None).await?;
            work.commit(context).await?;
        }
    }
    Ok(found.len())
}

/// Takes one batch of each campaign back that is being cancelled. Says whether there may be more.
///
/// # Errors
/// What storage says.
pub async fn take_back(context: &Context) -> Result<bool> {
    let found = planning::cancelling(&mut *context.lists.conn().await?, CAMPAIGNS).await?;
    let mut more = false;
    for id in found {
        more |= take_back_batch(context, id).await?;
    }
    Ok(more)
}

/// Says whether there may be more.
async fn take_back_batch(context: &Context, id: i64) -> Result<bool> {
    let mut work = Work::begin(context).await?;
    let now = work.now();
    let ids = planning::unfinished(work.conn(), id, BATCH).await?;
    // Locked in one statement, read in the next: a CTE that waited for a lock would still see what stood before.
    let locked = deciding::lock(work.conn(), &ids, false).await?;
    let moves: Vec<Move> = locked
        .into_iter()
        .filter_map(|n| {
            Some(Move {
                id: n.id,
                campaign_id: n.campaign_id,
                from: n.state,
                to: n.state.after(notification::Event::Cancelled)?,
                step: n.step,
                reason: Some(Reason::CancelledByOwner.as_str().to_owned()),
                answered_by: None,
                late: false,
            })
        })
        .collect();
    let cancelled: Vec<_> = moves.iter().map(|m| m.id).collect();
    if !cancelled.is_empty() {
        move_notifications(work.conn(), &moves, now).await?;
        let reason = Reason::CancelledByOwner.as_str();
        cancel_queued(work.conn(), &cancelled, delivery::Work::Cancelled, reason, now).await?;
        disarm_timers(work.conn(), &cancelled).await?;
    }
    let dropped = groups::drop_chunks(work.conn(), id, BATCH).await?;
    let more = !ids.is_empty() || i64::try_from(dropped).is_ok_and(|n| n >= BATCH);
    if !more {
        end_cancelled(&mut work, id).await?;
    }
    work.wake(Topic::Events);
    work.commit(context).await?;
    Ok(more)
}

/// Nothing of it is left to send. Its groups run again, so that chunks which are under way are ended as all others are.
async fn end_cancelled(work: &mut Work, id: i64) -> Result<()> {
    let now = work.now();
    let Some(campaign) = campaigns::lock(work.conn(), id).await? else { return Ok(()) };
    if let Some(to) = campaign.state.after(Event::TakenBack) {
        verbs::set(work, &campaign, to, None).await?;
        groups::go_on(work.conn(), id, now).await?;
    }
    Ok(())
}

/// Sets the speed of campaigns that are spread over their windows: as what waits and the time that is left ask for.
///
/// # Errors
/// What storage says.
pub async fn spread_out(context: &Context) -> Result<()> {
    let mut work = Work::begin(context).await?;
    let now = work.now();
    for (id, _) in groups::windowed(work.conn()).await? {
        let campaign = load(work.conn(), id).await?;
        if campaign.row.state == State::Running {
            spread(work.conn(), id, &campaign.definition.spec, now).await?;
        }
    }
    work.commit(context).await
}

/// Keeps the groups of campaigns as their campaigns say: stopped while they are paused, held back outside of their sending
/// windows.
///
/// # Errors
/// What storage says.
pub async fn mend_groups(context: &Context) -> Result<()> {
    let mut work = Work::begin(context).await?;
    let now = work.now();
    let mut changed = groups::mend(work.conn()).await? > 0;
    for (id, _) in groups::windowed(work.conn()).await? {
        let campaign = load(work.conn(), id).await?;
        if matches!(campaign.row.state, State::Running | State::Paused) {
            changed |= pace(work.conn(), id, &campaign.definition.spec, now).await?;
        }
    }
    groups::retire(work.conn(), now).await?;
    if changed {
        work.wake(Topic::Relay);
    }
    work.commit(context).await
}
