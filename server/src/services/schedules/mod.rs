//! Schedules: times at which a campaign begins. What a schedule is and how it is written stands here; how its times fire, in
//! [`firing`]; when a time is due is decided in [`domain::schedule`].
//!
//! For whoever serves triggers: [`create`], [`update`], [`enable`], [`disable`], [`preview`], [`fire_now`](firing::fire_now)
//! and [`replay`](firing::replay). A schedule is a trigger of kind `schedule`; its [`Definition`] stands in the trigger's row.

pub mod firing;

use chrono::{DateTime, TimeDelta, Utc};
use domain::schedule::{Preview, Schedule, Spec};
use serde::{Deserialize, Serialize};

use super::{Context, Error, Result, Violation, campaigns::spec, error::all_right, etag, work::Work};
pub use crate::storage::schedules::ScheduleRow;
use crate::{
    storage::{
        self, Conn, events,
        schedules::{self, ScheduleWrite},
    },
    wake::Topic,
};
pub use firing::{fire_due, run_failed};

/// The most fire times that are shown at once.
pub const MAX_PREVIEW: usize = 100;

/// When a schedule fires, and what each run sends to whom; stored as the definition of its trigger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// When.
    pub schedule: Spec,
    /// Fire times before it do not count.
    #[serde(default)]
    pub start_at: Option<DateTime<Utc>>,
    /// Fire times at it or after do not count.
    #[serde(default)]
    pub end_at: Option<DateTime<Utc>>,
    /// What each run sends to whom.
    pub campaign: spec::Spec,
}

impl Definition {
    /// Reads what was stored.
    ///
    /// # Errors
    /// [`Error::Storage`] when another version of ours wrote it.
    pub fn read(stored: &serde_json::Value) -> Result<Self> {
        Ok(serde_json::from_value(stored.clone()).map_err(storage::Error::from)?)
    }

    fn stored(&self) -> Result<serde_json::Value> {
        Ok(serde_json::to_value(self).map_err(storage::Error::from)?)
    }

    /// The first fire time from `now` on, within its start and end.
    fn next(&self, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>> {
        let schedule = compile(&self.schedule)?;
        let after = self.start_at.map_or(now, |start| (start - TimeDelta::microseconds(1)).max(now));
        Ok(self.within(schedule.next_after(after)))
    }

    /// A fire time, unless it lies beyond the end.
    fn within(&self, at: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
        at.filter(|at| self.end_at.is_none_or(|end| *at < end))
    }
}

/// The name of a trigger.
#[must_use]
pub fn name(slug: &str) -> String {
    format!("triggers/{slug}")
}

/// Checks a schedule: its times, and what its runs refer to. The plan is pinned by each run anew.
///
/// # Errors
/// [`Error::Invalid`] with every violation beneath `schedule`; [`Error::ReferenceNotFound`].
pub async fn validate(context: &Context, work: &mut Work, definition: &Definition) -> Result<()> {
    let now = work.now();
    let mut found: Vec<Violation> = definition.schedule.validate(now).into_iter().map(violation).collect();
    if found.is_empty() && definition.next(now)?.is_none() {
        found.push(Violation::new("schedule.end_time", "lies before the first fire time: it would never fire"));
    }
    found.extend(definition.campaign.check().into_iter().map(|v| v.inside("schedule.campaign")));
    all_right(found)?;
    let pinned = definition.campaign.pin(context, work.conn(), now).await;
    pinned.map(drop).map_err(|error| inside(error, "schedule.campaign"))
}

/// A schedule to be written.
#[derive(Debug, Clone)]
pub struct NewSchedule<'a> {
    /// Its slug.
    pub slug: &'a str,
    /// What people call it.
    pub display_name: &'a str,
    /// What it is for.
    pub description: &'a str,
    /// When, and what.
    pub definition: &'a Definition,
    /// Whether it is armed only later.
    pub disabled: bool,
}

/// What is written of a schedule; what is `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct Change<'a> {
    /// What people call it.
    pub display_name: Option<&'a str>,
    /// What it is for.
    pub description: Option<&'a str>,
    /// When, and what.
    pub definition: Option<&'a Definition>,
}

/// Creates a schedule, armed unless it is to be disabled. Says its key.
///
/// # Errors
/// [`Error::AlreadyExists`], and as [`validate`].
pub async fn create(context: &Context, work: &mut Work, new: &NewSchedule<'_>) -> Result<i64> {
    validate(context, work, new.definition).await?;
    if schedules::is_taken(work.conn(), new.slug).await? {
        return Err(Error::AlreadyExists(name(new.slug)));
    }
    let (now, stored) = (work.now(), new.definition.stored()?);
    let write = ScheduleWrite {
        display_name: new.display_name,
        description: new.description,
        definition: &stored,
        enabled: !new.disabled,
        next_fire_at: if new.disabled { None } else { new.definition.next(now)? },
    };
    let id = schedules::insert(work.conn(), new.slug, &write, now).await?;
    say(work, new.slug, "created").await?;
    Ok(id)
}

/// Changes a schedule. Other times are armed from now on; the same times go on as they stand.
///
/// # Errors
/// [`Error::NotFound`], [`Error::EtagMismatch`], and as [`validate`].
pub async fn update(context: &Context, work: &mut Work, slug: &str, change: &Change<'_>, etag: &str) -> Result<()> {
    let before = locked(work.conn(), slug, etag).await?;
    let standing = Definition::read(&before.definition)?;
    let definition = change.definition.unwrap_or(&standing);
    validate(context, work, definition).await?;
    let (now, stored) = (work.now(), definition.stored()?);
    // What is due and not fired yet is not lost by a change of the words.
    let same = standing.schedule == definition.schedule && standing.start_at == definition.start_at;
    let next_fire_at = match (before.enabled, same) {
        (false, _) => None,
        (true, true) => definition.within(before.next_fire_at).or(definition.next(now)?),
        (true, false) => definition.next(now)?,
    };
    let write = ScheduleWrite {
        display_name: change.display_name.unwrap_or(&before.display_name),
        description: change.description.unwrap_or(&before.description),
        definition: &stored,
        enabled: before.enabled,
        next_fire_at,
    };
    schedules::update(work.conn(), before.id, &write, now).await?;
    say(work, slug, "updated").await
}

/// Arms a schedule from now on: what passed while it was disabled does not fire. Enabling an enabled one changes nothing.
///
/// # Errors
/// [`Error::NotFound`], [`Error::EtagMismatch`], NOT_VALID when it would never fire.
pub async fn enable(work: &mut Work, slug: &str, etag: &str) -> Result<()> {
    let before = locked(work.conn(), slug, etag).await?;
    if before.enabled {
        return Ok(());
    }
    let definition = Definition::read(&before.definition)?;
    let now = work.now();
    let over =
        || Error::WrongState { reason: "NOT_VALID", message: format!("{} has no fire time any more", name(slug)) };
    let next = definition.next(now)?.ok_or_else(over)?;
    arm(work, &before, true, Some(next)).await
}

/// Disarms a schedule. Disabling a disabled one changes nothing.
///
/// # Errors
/// [`Error::NotFound`], [`Error::EtagMismatch`].
pub async fn disable(work: &mut Work, slug: &str, etag: &str) -> Result<()> {
    let before = locked(work.conn(), slug, etag).await?;
    if before.enabled { arm(work, &before, false, None).await } else { Ok(()) }
}

async fn arm(work: &mut Work, before: &ScheduleRow, enabled: bool, next: Option<DateTime<Utc>>) -> Result<()> {
    let now = work.now();
    let write = ScheduleWrite {
        display_name: &before.display_name,
        description: &before.description,
        definition: &before.definition,
        enabled,
        next_fire_at: next,
    };
    schedules::update(work.conn(), before.id, &write, now).await?;
    say(work, &before.slug, if enabled { "enabled" } else { "disabled" }).await
}

/// The next fire times of a schedule, stored or not, with notes on daylight saving; at most [`MAX_PREVIEW`].
///
/// # Errors
/// [`Error::Invalid`] when it is not one.
pub fn preview(definition: &Spec, after: DateTime<Utc>, count: usize) -> Result<Vec<Preview>> {
    Ok(compile(definition)?.preview(after, count.min(MAX_PREVIEW)))
}

/// The same from `from` on, between the start and the end of the schedule.
///
/// # Errors
/// As [`preview`].
pub fn preview_between(
    definition: &Spec,
    from: DateTime<Utc>,
    (start, end): (Option<DateTime<Utc>>, Option<DateTime<Utc>>),
) -> Result<Vec<Preview>> {
    let after = start.map_or(from, |start| (start - TimeDelta::microseconds(1)).max(from));
    let mut foreseen = preview(definition, after, MAX_PREVIEW)?;
    if foreseen.is_empty() && matches!(definition.when, domain::schedule::When::Cron { .. }) {
        let text = "never fires after this time: no such moment is ahead";
        return Err(Error::Invalid(vec![Violation::new("schedule.cron", text).because("CRON_INVALID")]));
    }
    foreseen.retain(|fire| end.is_none_or(|end| fire.at < end));
    Ok(foreseen)
}

fn compile(definition: &Spec) -> Result<Schedule> {
    Schedule::new(definition).map_err(|found| Error::Invalid(found.into_iter().map(violation).collect()))
}

/// A violation of the rulebook, by the names of the contract.
fn violation(found: domain::violation::Violation) -> Violation {
    let (field, reason) = match found.field.as_str() {
        "when.zone" => ("schedule.time_zone", "TIME_ZONE_UNKNOWN"),
        "when.expression" => ("schedule.cron", "CRON_INVALID"),
        "when.at" => ("schedule.at", super::error::FIELD_INVALID),
        "misfire.horizon_seconds" | "misfire.grace_seconds" => {
            ("schedule.misfire_horizon", super::error::FIELD_INVALID)
        }
        _ => ("schedule", super::error::FIELD_INVALID),
    };
    Violation::new(field, found.description).because(reason)
}

/// The same error of a part of the request.
fn inside(error: Error, path: &str) -> Error {
    let of = |field: &str| format!("{path}.{}", field.trim_start_matches("spec."));
    match error {
        Error::Invalid(found) => {
            Error::Invalid(found.into_iter().map(|v| Violation { field: of(&v.field), ..v }).collect())
        }
        Error::ReferenceNotFound { field, name } => Error::ReferenceNotFound { field: of(&field), name },
        other => other,
    }
}

async fn locked(conn: &mut Conn, slug: &str, etag: &str) -> Result<ScheduleRow> {
    let row = schedules::lock(conn, slug).await?.ok_or_else(|| Error::NotFound(name(slug)))?;
    etag::check(&name(slug), etag, row.version)?;
    Ok(row)
}

async fn say(work: &mut Work, slug: &str, what: &str) -> Result<()> {
    let now = work.now();
    events::say(work.conn(), "trigger", what, &name(slug), None, None, now).await?;
    work.wake(Topic::Triggers);
    work.wake(Topic::Events);
    Ok(())
}
