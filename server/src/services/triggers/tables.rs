//! Triggers of tables: created, changed, enabled, disabled, deleted, each with its capture.

use super::{New, TableWatch, TriggerRow, capture, check, name, one, say};
use crate::{
    services::{Context, Error, Result, etag, firings::Why, work::Work},
    storage::{
        Conn, firings,
        sources::{self, SourceRow},
        triggers::{self, NewTableTrigger},
    },
    wake::Topic,
};

/// Creates a table trigger: everything that is wrong with it is found first, then its capture is put in place. With
/// `validate_only` the capture is only tried, and the caller does not commit.
///
/// # Errors
/// [`Error::AlreadyExists`], [`Error::ReferenceNotFound`], [`Error::Invalid`] with every fault, what the source refuses.
pub(super) async fn create(context: &Context, work: &mut Work, new: New, validate_only: bool) -> Result<TriggerRow> {
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
        plan_id: checked.plan.id,
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

/// Changes a table trigger. Rows that were captured before are mapped by the new definition.
///
/// # Errors
/// As [`create`], and [`Error::NotFound`], [`Error::EtagMismatch`].
pub(super) async fn update(
    context: &Context,
    work: &mut Work,
    slug: &str,
    change: super::Change,
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
        (row.definition, row.plan_id) = (watch.write()?, Some(checked.plan.id));
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
pub(super) async fn enable(context: &Context, work: &mut Work, slug: &str, etag: &str) -> Result<TriggerRow> {
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
pub(super) async fn disable(context: &Context, work: &mut Work, slug: &str, etag: &str) -> Result<TriggerRow> {
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
pub(super) async fn delete(
    context: &Context,
    work: &mut Work,
    slug: &str,
    etag: &str,
    leave_capture: bool,
) -> Result<()> {
    let (row, source) = locked_table(work, slug, etag).await?;
    match capture::uninstall(context, &source, row.id).await {
        Err(Error::Outside { reason, message }) if leave_capture => {
            tracing::warn!(trigger = slug, reason, message, "a capture is left in its source");
        }
        done => done?,
    }
    let now = work.now();
    let why = Why::plain("TARGET_INVALID", "the trigger was deleted before this was mapped");
    firings::skip_pending(work.conn(), row.id, &why.as_json(), now).await?;
    triggers::delete(work.conn(), row.id, now).await?;
    say(work, slug, "disabled").await
}

pub(super) async fn source_of(conn: &mut Conn, slug: &str) -> Result<SourceRow> {
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
