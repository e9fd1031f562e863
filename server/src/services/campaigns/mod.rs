//! Campaigns: written, started, paused, cancelled, looked at. How their audience becomes notifications stands in
//! [`planning`], how they end in [`ending`], what they would do in [`validating`].

pub mod ending;
pub mod export;
pub mod planning;
pub mod progress;
pub mod spec;
pub mod validating;
pub mod verbs;

use chrono::{DateTime, Utc};
use domain::{
    campaign::{Editable, State},
    pacing::spread,
};
use uuid::Uuid;

use super::{Context, Error, Result, etag, work::Work};
pub use crate::storage::campaigns::{
    CampaignRow, Filter,
    recipients::{Filter as RecipientFilter, RecipientRow},
};
use crate::{
    storage::{
        Conn,
        campaigns::{self, CampaignWrite, groups, recipients},
    },
    wake::Topic,
};
use spec::{Definition, Resolved, Spec};

/// A campaign with its definition read.
#[derive(Debug, Clone)]
pub struct Campaign {
    /// What stands in storage.
    pub row: CampaignRow,
    /// What it sends to whom.
    pub definition: Definition,
}

/// A campaign to be written.
#[derive(Debug, Clone)]
pub struct NewCampaign {
    /// Its slug.
    pub slug: String,
    /// What people call it.
    pub display_name: String,
    /// What it sends to whom.
    pub definition: Definition,
    /// When it begins after it was started; none: at once.
    pub start_at: Option<DateTime<Utc>>,
}

/// What is written of a campaign; what is `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// What people call it.
    pub display_name: Option<String>,
    /// What it sends to whom.
    pub spec: Option<Spec>,
    /// When it begins; `Some(None)`: at once.
    pub start_at: Option<Option<DateTime<Utc>>>,
}

/// The name of a campaign.
#[must_use]
pub fn name(slug: &str) -> String {
    format!("campaigns/{slug}")
}

/// Creates a campaign in DRAFT.
///
/// # Errors
/// [`Error::AlreadyExists`], [`Error::Invalid`], [`Error::ReferenceNotFound`].
pub async fn create(work: &mut Work, new: &NewCampaign) -> Result<Campaign> {
    let resolved = new.definition.spec.resolve(work.conn()).await?;
    let id = insert(work, new, &resolved, None).await?;
    load(work.conn(), id).await
}

/// Writes a campaign whose references were found; with a trigger, the run of its fire time.
pub(super) async fn insert(
    work: &mut Work,
    new: &NewCampaign,
    resolved: &Resolved,
    run_of: Option<(i64, DateTime<Utc>)>,
) -> Result<i64> {
    if campaigns::key(work.conn(), &new.slug).await?.is_some() {
        return Err(Error::AlreadyExists(name(&new.slug)));
    }
    let (now, stored) = (work.now(), new.definition.stored()?);
    let write = write_of(&new.display_name, &new.definition, &stored, resolved, new.start_at);
    Ok(campaigns::insert(work.conn(), &new.slug, &write, run_of, now).await?)
}

/// One campaign.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get(context: &Context, slug: &str) -> Result<Campaign> {
    let conn = &mut *context.lists.conn().await?;
    let id = key(conn, slug).await?;
    load(conn, id).await
}

/// A page of campaigns, the newest first.
///
/// # Errors
/// What storage says.
pub async fn list(context: &Context, filter: &Filter, before: Option<i64>, limit: i64) -> Result<Vec<Campaign>> {
    let rows = campaigns::page(&mut *context.lists.conn().await?, filter, before, limit).await?;
    rows.into_iter().map(read).collect()
}

/// Changes a campaign: everything before it runs, its name and pace while it does.
///
/// # Errors
/// [`Error::NotFound`], [`Error::EtagMismatch`], STATE_WRONG for what may not change any more.
pub async fn update(work: &mut Work, slug: &str, change: Change, etag: &str) -> Result<Campaign> {
    let before = locked(work.conn(), slug, etag).await?;
    let display_name = change.display_name.unwrap_or_else(|| before.row.display_name.clone());
    let start_at = change.start_at.unwrap_or(before.row.start_at);
    let spec = change.spec.unwrap_or_else(|| before.definition.spec.clone());
    let only_pace = spec == paced(&before.definition.spec, &spec) && start_at == before.row.start_at;
    match before.row.state.editable() {
        Editable::Everything => {}
        Editable::Pace if only_pace => {}
        Editable::Pace | Editable::Nothing => {
            let what = "only display_name, rates, weight, sending_window and budget of a campaign that runs may change";
            return Err(wrong_state(&before.row, what));
        }
    }
    let resolved = spec.resolve(work.conn()).await?;
    let definition = Definition { spec, local: before.definition.local };
    let (now, stored, id) = (work.now(), definition.stored()?, before.row.id);
    let write = write_of(&display_name, &definition, &stored, &resolved, start_at);
    campaigns::update(work.conn(), id, &write, now).await?;
    groups::weigh(work.conn(), id, definition.spec.weight).await?;
    pace(work.conn(), id, &definition.spec, now).await?;
    spread(work.conn(), id, &definition.spec, now).await?;
    work.wake(Topic::Planner);
    work.wake(Topic::Relay);
    load(work.conn(), id).await
}

/// What a campaign sends to whom, as it stands for the one who changes it.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn standing(work: &mut Work, slug: &str) -> Result<Spec> {
    Ok(locked(work.conn(), slug, "").await?.definition.spec)
}

/// Deletes a campaign that does not run, with what is known of its run.
///
/// # Errors
/// [`Error::NotFound`], [`Error::EtagMismatch`], STATE_WRONG while it runs.
pub async fn delete(work: &mut Work, slug: &str, etag: &str) -> Result<()> {
    let campaign = locked(work.conn(), slug, etag).await?.row;
    match campaign.state {
        State::Running | State::Paused | State::Cancelling => {
            Err(wrong_state(&campaign, "cancel it first, and delete it when it has ended"))
        }
        State::Draft | State::Scheduled | State::Completed | State::Cancelled | State::Failed => {
            Ok(campaigns::delete(work.conn(), campaign.id).await?)
        }
    }
}

/// A page of the recipients of a campaign, in the order of their creation.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn list_recipients(
    context: &Context,
    slug: &str,
    filter: &RecipientFilter,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<RecipientRow>> {
    let conn = &mut *context.lists.conn().await?;
    let id = key(conn, slug).await?;
    Ok(recipients::list(conn, id, filter, after, limit).await?)
}

/// How many recipients of a campaign are meant.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn count_recipients(context: &Context, slug: &str, filter: &RecipientFilter) -> Result<i64> {
    let conn = &mut *context.lists.conn().await?;
    let id = key(conn, slug).await?;
    Ok(recipients::count(conn, id, filter).await?)
}

/// Sets how fast a campaign is begun that is spread over its window: what waits now, evenly until the window ends.
async fn spread(conn: &mut Conn, id: i64, spec: &Spec, now: DateTime<Utc>) -> Result<()> {
    let rate = match spec.window.as_ref().filter(|window| window.spread).and_then(|window| window.closes(now)) {
        Some(closes) => Some(groups::waiting(conn, id).await?)
            .filter(|waiting| *waiting > 0)
            .map(|waiting| spread::rate(waiting, closes - now)),
        None => None,
    };
    Ok(groups::spread(conn, id, rate).await?)
}

/// Holds the groups of a campaign back until its sending window opens. Says whether that changed anything.
async fn pace(conn: &mut Conn, id: i64, spec: &Spec, now: DateTime<Utc>) -> Result<bool> {
    let opens = match &spec.window {
        Some(window) => window.opens(now).unwrap_or(now),
        None => now,
    };
    // What is open already is written as open since ever, so that a pass that finds it so writes nothing.
    let not_before = if opens > now { opens } else { DateTime::UNIX_EPOCH };
    Ok(groups::hold_until(conn, id, not_before).await? > 0)
}

/// The spec as it was, with the pace of another.
fn paced(before: &Spec, pace: &Spec) -> Spec {
    Spec {
        rate_per_second: pace.rate_per_second,
        rate_per_hour: pace.rate_per_hour,
        weight: pace.weight,
        window: pace.window.clone(),
        budget: pace.budget.clone(),
        ..before.clone()
    }
}

fn write_of<'a>(
    display_name: &'a str,
    definition: &'a Definition,
    stored: &'a serde_json::Value,
    resolved: &Resolved,
    start_at: Option<DateTime<Utc>>,
) -> CampaignWrite<'a> {
    CampaignWrite {
        display_name,
        audience_id: resolved.audience_id,
        policy_id: resolved.policy_id,
        definition: stored,
        rate_per_second: definition.spec.rate(),
        budget: definition.spec.budget.as_ref(),
        start_at,
    }
}

fn wrong_state(campaign: &CampaignRow, what: &str) -> Error {
    let message = format!("{} is {}: {what}", name(&campaign.slug), campaign.state.as_str().to_uppercase());
    Error::WrongState { reason: "STATE_WRONG", message }
}

fn read(row: CampaignRow) -> Result<Campaign> {
    Ok(Campaign { definition: Definition::read(row.definition.clone())?, row })
}

async fn key(conn: &mut Conn, slug: &str) -> Result<i64> {
    campaigns::key(conn, slug).await?.ok_or_else(|| Error::NotFound(name(slug)))
}

/// A campaign by its key.
pub(super) async fn load(conn: &mut Conn, id: i64) -> Result<Campaign> {
    let row = campaigns::load(conn, id).await?;
    read(row.ok_or_else(|| Error::NotFound(format!("campaign {id}")))?)
}

/// Locks a campaign that the caller has seen in this version.
async fn locked(conn: &mut Conn, slug: &str, etag: &str) -> Result<Campaign> {
    let id = key(conn, slug).await?;
    let row = campaigns::lock(conn, id).await?.ok_or_else(|| Error::NotFound(name(slug)))?;
    etag::check(&name(slug), etag, row.version)?;
    read(row)
}
