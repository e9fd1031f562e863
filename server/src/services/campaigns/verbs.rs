//! What callers and the clock do to campaigns: start, begin, pause, resume, cancel. Every verb locks the campaign, asks
//! [`domain::campaign`], and writes one state; pausing and resuming touch one row a channel, never one a recipient.

use domain::campaign::{Event, State};

use super::{Campaign, CampaignRow, load, locked, pace, spread, wrong_state};
use crate::{
    services::{Context, Error, Result, work::Work},
    storage::campaigns::{self, groups, planning},
    wake::Topic,
};

/// Why a campaign is paused whose budget is used up.
pub const BUDGET_REACHED: &str = "BUDGET_REACHED";

/// Starts a campaign, at once or at its time. Starting a started one changes nothing.
///
/// # Errors
/// [`Error::NotFound`], [`Error::EtagMismatch`], STATE_WRONG, and what is wrong with what it refers to.
pub async fn start(context: &Context, work: &mut Work, slug: &str, etag: &str) -> Result<Campaign> {
    let campaign = locked(work.conn(), slug, etag).await?;
    if campaign.row.state.stands_after(Event::Scheduled) {
        return Ok(campaign);
    }
    let Some(scheduled) = campaign.row.state.after(Event::Scheduled) else {
        return Err(wrong_state(&campaign.row, "only a campaign in DRAFT can be started"));
    };
    let now = work.now();
    match campaign.row.start_at.filter(|at| *at > now) {
        Some(_) => {
            campaign.definition.spec.pin(context, work.conn(), now).await.map_err(not_valid)?;
            set(work, &campaign.row, scheduled, None).await?;
        }
        None => begin(context, work, &campaign).await.map_err(not_valid)?,
    }
    load(work.conn(), campaign.row.id).await
}

/// Lets a locked campaign run: audience, policy and templates are pinned now. Its planning follows.
///
/// # Errors
/// What is wrong with what it refers to; then nothing was written.
pub async fn begin(context: &Context, work: &mut Work, campaign: &Campaign) -> Result<()> {
    let Some(running) = campaign.row.state.after(Event::Begun) else {
        return Err(wrong_state(&campaign.row, "it cannot begin"));
    };
    let now = work.now();
    let (_, plan_id) = campaign.definition.spec.pin(context, work.conn(), now).await?;
    campaigns::pin(work.conn(), campaign.row.id, plan_id).await?;
    set(work, &campaign.row, running, None).await
}

/// Begins the scheduled campaigns whose time has come; one that cannot begin fails with the reason. Says whether there may be
/// more.
///
/// # Errors
/// What storage says.
pub async fn begin_due(context: &Context) -> Result<bool> {
    let mut work = Work::begin(context).await?;
    let now = work.now();
    let due = planning::due(work.conn(), now, 10).await?;
    for id in &due {
        let campaign = load(work.conn(), *id).await?;
        match begin(context, &mut work, &campaign).await {
            Ok(()) => {}
            Err(Error::Storage(error)) => return Err(error.into()),
            Err(error) => fail(&mut work, &campaign.row, &error.to_string()).await?,
        }
    }
    work.commit(context).await?;
    Ok(due.len() == 10)
}

/// Ends a locked campaign that cannot begin.
pub(super) async fn fail(work: &mut Work, campaign: &CampaignRow, reason: &str) -> Result<()> {
    match campaign.state.after(Event::CannotBegin) {
        Some(failed) => {
            tracing::warn!(campaign = campaign.slug, reason, "a campaign cannot begin");
            set(work, campaign, failed, Some(reason)).await
        }
        None => Ok(()),
    }
}

/// Stops sending: what was marked goes out, waits keep the time that they had left. Pausing a paused one changes nothing.
///
/// # Errors
/// [`Error::NotFound`], [`Error::EtagMismatch`], STATE_WRONG.
pub async fn pause(work: &mut Work, slug: &str, etag: &str) -> Result<Campaign> {
    verb(work, slug, etag, Event::Paused, "only a campaign that is RUNNING can be paused").await
}

/// Stops a campaign whose budget has no room for what it would send next. One that does not run is left alone.
///
/// # Errors
/// What storage says.
pub async fn pause_at_budget(context: &Context, id: i64) -> Result<()> {
    let mut work = Work::begin(context).await?;
    let now = work.now();
    let Some(campaign) = campaigns::lock(work.conn(), id).await? else { return Ok(()) };
    let Some(paused) = campaign.state.after(Event::Paused) else { return Ok(()) };
    tracing::warn!(campaign = campaign.slug, "a campaign has reached its budget and is paused");
    set(&mut work, &campaign, paused, Some(BUDGET_REACHED)).await?;
    groups::stop(work.conn(), id, now).await?;
    work.commit(context).await
}

/// Goes on after a pause. Resuming a running one changes nothing.
///
/// # Errors
/// [`Error::NotFound`], [`Error::EtagMismatch`], STATE_WRONG.
pub async fn resume(work: &mut Work, slug: &str, etag: &str) -> Result<Campaign> {
    verb(work, slug, etag, Event::Resumed, "only a campaign that is PAUSED can be resumed").await
}

/// Takes back what was not handed to a provider yet. Cancelling a cancelled one changes nothing.
///
/// # Errors
/// [`Error::NotFound`], [`Error::EtagMismatch`], STATE_WRONG.
pub async fn cancel(work: &mut Work, slug: &str, etag: &str) -> Result<Campaign> {
    verb(work, slug, etag, Event::Cancelled, "only a campaign that was started and has not ended can be cancelled")
        .await
}

async fn verb(work: &mut Work, slug: &str, etag: &str, event: Event, otherwise: &str) -> Result<Campaign> {
    let campaign = locked(work.conn(), slug, etag).await?;
    if campaign.row.state.stands_after(event) {
        return Ok(campaign);
    }
    let Some(to) = campaign.row.state.after(event) else { return Err(wrong_state(&campaign.row, otherwise)) };
    let (id, now) = (campaign.row.id, work.now());
    set(work, &campaign.row, to, None).await?;
    match to {
        State::Paused | State::Cancelling => groups::stop(work.conn(), id, now).await?,
        State::Running => {
            groups::go_on(work.conn(), id, now).await?;
            pace(work.conn(), id, &campaign.definition.spec, now).await?;
            spread(work.conn(), id, &campaign.definition.spec, now).await?;
        }
        State::Draft | State::Scheduled | State::Completed | State::Cancelled | State::Failed => {}
    }
    load(work.conn(), id).await
}

/// Writes a state, and wakes whoever has work now.
pub(super) async fn set(work: &mut Work, campaign: &CampaignRow, to: State, reason: Option<&str>) -> Result<()> {
    let now = work.now();
    campaigns::set_state(work.conn(), campaign, to, reason, now).await?;
    for topic in [Topic::Planner, Topic::Relay, Topic::Fallback, Topic::Events] {
        work.wake(topic);
    }
    Ok(())
}

/// A draft may refer to what was deleted since: that is the state of the draft, not of the request.
fn not_valid(error: Error) -> Error {
    match error {
        Error::Invalid(found) => {
            let words: Vec<String> = found.iter().map(|v| format!("{} {}", v.field, v.description)).collect();
            Error::WrongState { reason: "NOT_VALID", message: words.join("; ") }
        }
        Error::ReferenceNotFound { field, name: missing } => Error::WrongState {
            reason: "NOT_VALID",
            message: format!("{missing}, which {field} refers to, does not exist"),
        },
        other => other,
    }
}
