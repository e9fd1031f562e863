//! Triggers: what wakes the system without a caller. Here are the watched tables and what both kinds share; schedules have a
//! service of their own.
//!
//! The trigger in our tables says what should be, the capture in the source follows it. Both are changed under one lock for
//! each source, the capture before the commit: what a crash leaves between the two, [`reconcile`] puts right.

mod capture;
mod check;
mod definition;
mod dry_run;
mod reconcile;
mod tables;

use std::collections::HashMap;

pub use super::sending::way::{Way, required};
pub use capture::{Shown, Sql, sql};
pub use definition::{DEFAULT_PURPOSE, RowMapping, TableWatch, VariableSource};
pub use dry_run::{DryRow, DryRun, dry_run};
pub use reconcile::{Wanted, reconcile, wanted};

use super::{Context, Error, Result, etag, schedules, work::Work};
pub use crate::storage::{
    firings::Counted,
    triggers::{ListFilter, TriggerRow},
};
use crate::{
    storage::{
        Conn, events,
        firings::{self, State},
        triggers,
    },
    wake::Topic,
};

/// A table trigger to be created.
#[derive(Debug, Clone)]
pub struct New {
    /// Its slug.
    pub slug: String,
    /// What people call it.
    pub display_name: String,
    /// What it is for.
    pub description: String,
    /// The slug of the source.
    pub source: String,
    /// What it does.
    pub watch: TableWatch,
    /// Whether it is created without being put in place.
    pub disabled: bool,
}

/// What a caller changes of a trigger; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// What people call it.
    pub display_name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// The slug of the source, where it is said, and what it does; source and table must be those that stand.
    pub watch: Option<(Option<String>, TableWatch)>,
    /// The parts of what it does that are written ([`TableWatch::PARTS`]); empty means the whole.
    pub parts: Vec<String>,
    /// When a schedule fires, and what.
    pub times: Option<schedules::Definition>,
}

/// A trigger of either kind to be created.
#[derive(Debug, Clone)]
pub enum Created {
    /// A table whose rows become notifications.
    Table(Box<New>),
    /// Times at which a campaign begins.
    Schedule(Box<NewTimes>),
}

/// A schedule to be created.
#[derive(Debug, Clone)]
pub struct NewTimes {
    /// Its slug.
    pub slug: String,
    /// What people call it.
    pub display_name: String,
    /// What it is for.
    pub description: String,
    /// When, and what.
    pub definition: schedules::Definition,
    /// Whether it is armed only later.
    pub disabled: bool,
}

/// Creates a trigger. Everything that is wrong with it is found first. With `validate_only` a capture is only tried, and the
/// caller does not commit.
///
/// # Errors
/// [`Error::AlreadyExists`], [`Error::ReferenceNotFound`], [`Error::Invalid`] with every fault, what the source refuses.
pub async fn create(context: &Context, work: &mut Work, new: Created, validate_only: bool) -> Result<TriggerRow> {
    match new {
        Created::Table(new) => tables::create(context, work, *new, validate_only).await,
        Created::Schedule(new) => {
            let NewTimes { slug, display_name, description, definition, disabled } = &*new;
            let new = schedules::NewSchedule { slug, display_name, description, definition, disabled: *disabled };
            schedules::create(context, work, &new).await.map_err(|error| inside(error, "trigger"))?;
            one(work.conn(), slug).await
        }
    }
}

/// A trigger, and how many firings it has.
pub type Counting = (TriggerRow, Vec<Counted>);

/// One trigger of either kind.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get(context: &Context, slug: &str) -> Result<Counting> {
    let conn = &mut *context.lists.conn().await?;
    let row = one(conn, slug).await?;
    let counted = counts(conn, &[row.id]).await?.remove(&row.id).unwrap_or_default();
    Ok((row, counted))
}

/// A page of triggers by slug.
///
/// # Errors
/// What storage says.
pub async fn list(context: &Context, filter: &ListFilter, after: &str, limit: i64) -> Result<Vec<Counting>> {
    let conn = &mut *context.lists.conn().await?;
    let rows = triggers::list(conn, filter, after, limit).await?;
    let mut counted = counts(conn, &rows.iter().map(|row| row.id).collect::<Vec<_>>()).await?;
    let of = |row: TriggerRow| {
        let counts = counted.remove(&row.id).unwrap_or_default();
        (row, counts)
    };
    Ok(rows.into_iter().map(of).collect())
}

/// When a stored schedule fires.
///
/// # Errors
/// [`Error::NotFound`], STATE_WRONG when it is a table watch.
pub async fn times(context: &Context, slug: &str) -> Result<schedules::Definition> {
    let row = one(&mut *context.lists.conn().await?, slug).await?;
    if row.kind != "schedule" {
        let message = format!("{} watches a table and has no fire times", name(slug));
        return Err(Error::WrongState { reason: "STATE_WRONG", message });
    }
    schedules::Definition::read(&row.definition)
}

/// How many firings triggers have, by trigger and state.
///
/// # Errors
/// What storage says.
pub async fn counts(conn: &mut Conn, ids: &[i64]) -> Result<HashMap<i64, Vec<Counted>>> {
    let mut by_trigger: HashMap<i64, Vec<Counted>> = HashMap::new();
    for counted in firings::counts(conn, ids).await? {
        by_trigger.entry(counted.trigger_id).or_default().push(counted);
    }
    Ok(by_trigger)
}

/// Changes a trigger; its kind and its table cannot change. Rows that were captured before are mapped by the new definition.
///
/// # Errors
/// As [`create`], and [`Error::NotFound`], [`Error::EtagMismatch`].
pub async fn update(
    context: &Context,
    work: &mut Work,
    slug: &str,
    change: Change,
    etag: &str,
    validate_only: bool,
) -> Result<TriggerRow> {
    let is_schedule = kind(work.conn(), slug).await? == Kind::Schedule;
    if (is_schedule && change.watch.is_some()) || (!is_schedule && change.times.is_some()) {
        return Err(Error::invalid("trigger", "its kind cannot change: create another trigger"));
    }
    if !is_schedule {
        return tables::update(context, work, slug, change, etag, validate_only).await;
    }
    let change = schedules::Change {
        display_name: change.display_name.as_deref(),
        description: change.description.as_deref(),
        definition: change.times.as_ref(),
    };
    schedules::update(context, work, slug, &change, etag).await.map_err(|error| inside(error, "trigger"))?;
    one(work.conn(), slug).await
}

/// Puts the capture of a table in place (of an enabled one, what is missing of it), or arms a schedule from now on.
///
/// # Errors
/// [`Error::NotFound`], [`Error::EtagMismatch`], NOT_VALID when its definition does not fit any more, what the source refuses.
pub async fn enable(context: &Context, work: &mut Work, slug: &str, etag: &str) -> Result<TriggerRow> {
    match kind(work.conn(), slug).await? {
        Kind::Table => tables::enable(context, work, slug, etag).await,
        Kind::Schedule => {
            schedules::enable(work, slug, etag).await?;
            one(work.conn(), slug).await
        }
    }
}

/// Takes the capture of a table away, or disarms a schedule; what was captured before still fires.
///
/// # Errors
/// [`Error::NotFound`], [`Error::EtagMismatch`], what the source refuses.
pub async fn disable(context: &Context, work: &mut Work, slug: &str, etag: &str) -> Result<TriggerRow> {
    match kind(work.conn(), slug).await? {
        Kind::Table => tables::disable(context, work, slug, etag).await,
        Kind::Schedule => {
            schedules::disable(work, slug, etag).await?;
            one(work.conn(), slug).await
        }
    }
}

/// Deletes a trigger; its firings stay, and nothing of it stays in a source. With `leave_capture` a source that cannot be
/// reached is let be.
///
/// # Errors
/// [`Error::NotFound`], [`Error::EtagMismatch`], what the source refuses.
pub async fn delete(context: &Context, work: &mut Work, slug: &str, etag: &str, leave_capture: bool) -> Result<()> {
    if kind(work.conn(), slug).await? == Kind::Table {
        return tables::delete(context, work, slug, etag, leave_capture).await;
    }
    let row = triggers::lock(work.conn(), slug).await?.ok_or_else(|| Error::NotFound(name(slug)))?;
    etag::check(&name(slug), etag, row.version)?;
    let now = work.now();
    triggers::delete(work.conn(), row.id, now).await?;
    say(work, slug, "disabled").await
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Table,
    Schedule,
}

async fn kind(conn: &mut Conn, slug: &str) -> Result<Kind> {
    Ok(if one(conn, slug).await?.kind == "schedule" { Kind::Schedule } else { Kind::Table })
}

/// Faults of a part of a request, with the path of the whole.
fn inside(error: Error, path: &str) -> Error {
    match error {
        Error::Invalid(found) => Error::Invalid(found.into_iter().map(|v| v.inside(path)).collect()),
        Error::ReferenceNotFound { field, name } => Error::ReferenceNotFound { field: format!("{path}.{field}"), name },
        other => other,
    }
}

/// The resource name.
#[must_use]
pub fn name(slug: &str) -> String {
    format!("triggers/{slug}")
}

/// The states of firings that show when a trigger last fired.
#[must_use]
pub fn last_fired(counted: &[Counted]) -> Option<chrono::DateTime<chrono::Utc>> {
    counted.iter().find(|c| c.state == State::Fired).and_then(|c| c.last_at)
}

async fn one(conn: &mut Conn, slug: &str) -> Result<TriggerRow> {
    triggers::find(conn, slug).await?.ok_or_else(|| Error::NotFound(name(slug)))
}

async fn say(work: &mut Work, slug: &str, what: &str) -> Result<()> {
    let now = work.now();
    events::say(work.conn(), "trigger", what, &name(slug), Some(what), None, now).await?;
    work.wake(Topic::Events);
    work.wake(Topic::Triggers);
    Ok(())
}
