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
mod way;

use std::collections::HashMap;

pub use capture::{Shown, Sql, sql};
pub use definition::{DEFAULT_PURPOSE, RowMapping, TableWatch, VariableSource};
pub use dry_run::{DryRow, DryRun, dry_run};
pub use reconcile::{Wanted, reconcile, wanted};
pub use way::{Way, lacks};

use super::{Context, Error, Result, etag, work::Work};
pub use crate::storage::{
    firings::Counted,
    triggers::{ListFilter, TriggerRow},
};
use crate::{
    storage::{
        Conn, events,
        firings::{self, State},
        sources::{self, SourceRow},
        triggers::{self, NewTableTrigger},
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

/// What a caller changes of a table trigger; what is `None` stays.
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
}

/// Creates a table trigger: everything that is wrong with it is found first, then its capture is put in place. With
/// `validate_only` the capture is only tried, and the caller does not commit.
///
/// # Errors
/// [`Error::AlreadyExists`], [`Error::ReferenceNotFound`], [`Error::Invalid`] with every fault, what the source refuses.
pub async fn create(context: &Context, work: &mut Work, new: New, validate_only: bool) -> Result<TriggerRow> {
    if triggers::find(work.conn(), &new.slug).await?.is_some() {
        return Err(Error::AlreadyExists(name(&new.slug)));
    }
    let source = source_of(work.conn(), &new.source).await?;
    sources::lock_captures(work.conn(), source.id).await?;
    let checked = check::check(context, work, &source, &new.watch).await?;
    let (definition, now) = (new.watch.write()?, work.now());
    let write = NewTableTrigger {
        slug: &new.slug,
        display_name: &new.display_name,
        description: &new.description,
        enabled: !new.disabled,
        source_id: source.id,
        definition: &definition,
        plan_id: checked.plan_id,
    };
    let id = triggers::insert_table(work.conn(), write, now).await?;
    if new.disabled || validate_only {
        capture::try_out(context, &source, &new.watch.watch(id)).await?;
    } else {
        capture::install(context, &source, &new.watch.watch(id)).await?;
    }
    say(work, &new.slug, if new.disabled { "disabled" } else { "enabled" }).await?;
    one(work.conn(), &new.slug).await
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

/// Changes a table trigger. Rows that were captured before are mapped by the new definition.
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
    let (mut row, source) = locked_table(work, slug, etag).await?;
    row.display_name = change.display_name.unwrap_or(row.display_name);
    row.description = change.description.unwrap_or(row.description);
    if let Some((of, given)) = change.watch {
        let before = TableWatch::read(&row)?;
        let watch = if change.parts.is_empty() { given } else { before.clone().with(&change.parts, given) };
        if of.is_some_and(|of| of != source.slug) || watch.table_name() != before.table_name() {
            let words = "source, schema and table cannot change; create another trigger for another table";
            return Err(Error::invalid("trigger.table_watch", words));
        }
        let checked = check::check(context, work, &source, &watch).await?;
        (row.definition, row.plan_id) = (watch.write()?, Some(checked.plan_id));
        if row.enabled && !validate_only {
            capture::replace(context, &source, &watch.watch(row.id)).await?;
        } else {
            capture::try_out(context, &source, &watch.watch(row.id)).await?;
        }
    }
    let now = work.now();
    triggers::update_table(work.conn(), &row, now).await?;
    work.wake(Topic::Triggers);
    one(work.conn(), slug).await
}

/// Puts the capture of a table trigger in place; of an enabled one, what is missing of it.
///
/// # Errors
/// [`Error::NotFound`], [`Error::EtagMismatch`], NOT_VALID when its definition does not fit any more, what the source refuses.
pub async fn enable(context: &Context, work: &mut Work, slug: &str, etag: &str) -> Result<TriggerRow> {
    let (row, source) = locked_table(work, slug, etag).await?;
    let watch = TableWatch::read(&row)?;
    capture::replace(context, &source, &watch.watch(row.id)).await.map_err(not_valid)?;
    if !row.enabled || row.failure.is_some() {
        let now = work.now();
        triggers::set_enabled(work.conn(), row.id, true, now).await?;
        say(work, slug, "enabled").await?;
    }
    one(work.conn(), slug).await
}

/// Takes the capture of a table trigger away; what was captured before still fires.
///
/// # Errors
/// [`Error::NotFound`], [`Error::EtagMismatch`], what the source refuses.
pub async fn disable(context: &Context, work: &mut Work, slug: &str, etag: &str) -> Result<TriggerRow> {
    let (row, source) = locked_table(work, slug, etag).await?;
    if row.enabled {
        capture::detach(context, &source, row.id).await?;
        let now = work.now();
        triggers::set_enabled(work.conn(), row.id, false, now).await?;
        say(work, slug, "disabled").await?;
    }
    one(work.conn(), slug).await
}

/// Deletes a table trigger; nothing of it stays in the source. With `leave_capture` a source that cannot be reached is let be.
///
/// # Errors
/// [`Error::NotFound`], [`Error::EtagMismatch`], what the source refuses.
pub async fn delete(context: &Context, work: &mut Work, slug: &str, etag: &str, leave_capture: bool) -> Result<()> {
    let (row, source) = locked_table(work, slug, etag).await?;
    match capture::uninstall(context, &source, row.id).await {
        Err(Error::Outside { reason, message }) if leave_capture => {
            tracing::warn!(trigger = slug, reason, message, "a capture is left in its source");
        }
        done => done?,
    }
    let now = work.now();
    let why = super::firings::Why::plain("TARGET_INVALID", "the trigger was deleted before this was mapped");
    firings::skip_pending(work.conn(), row.id, &why.as_json(), now).await?;
    triggers::delete(work.conn(), row.id, now).await?;
    say(work, slug, "disabled").await
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

async fn source_of(conn: &mut Conn, slug: &str) -> Result<SourceRow> {
    let field = "trigger.table_watch.source".to_owned();
    let missing = || Error::ReferenceNotFound { field, name: format!("sources/{slug}") };
    sources::find(conn, slug).await?.ok_or_else(missing)
}

/// A table trigger and its source, under the lock of its captures.
async fn locked_table(work: &mut Work, slug: &str, etag: &str) -> Result<(TriggerRow, SourceRow)> {
    let row = one(work.conn(), slug).await?;
    let Some(source) = row.source.as_deref().filter(|_| row.kind == "table") else {
        let message = format!("{} is a schedule", name(slug));
        return Err(Error::WrongState { reason: "STATE_WRONG", message });
    };
    let source = source_of(work.conn(), source).await?;
    // In this order everywhere: the captures of the source, then the trigger.
    sources::lock_captures(work.conn(), source.id).await?;
    let row = triggers::lock(work.conn(), slug).await?.ok_or_else(|| Error::NotFound(name(slug)))?;
    etag::check(&name(slug), etag, row.version)?;
    Ok((row, source))
}

/// A definition that was right once is no fault of the request that enables it.
fn not_valid(error: Error) -> Error {
    match error {
        Error::Invalid(found) => {
            let words: Vec<String> = found.iter().map(|v| format!("{} {}", v.field, v.description)).collect();
            Error::WrongState { reason: "NOT_VALID", message: words.join("; ") }
        }
        other => other,
    }
}

async fn say(work: &mut Work, slug: &str, what: &str) -> Result<()> {
    let now = work.now();
    events::say(work.conn(), "trigger", what, &name(slug), Some(what), None, now).await?;
    work.wake(Topic::Events);
    work.wake(Topic::Triggers);
    Ok(())
}
