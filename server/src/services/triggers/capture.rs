//! The capture of a table trigger in its source: tried, put in place, replaced, taken off, removed, and shown as SQL.

use ::triggers::{WatchId, postgres};

use super::{TableWatch, one};
use crate::{
    services::{Context, Error, Result, Violation, sources},
    storage::{self, sources::SourceRow},
};

/// The SQL of a capture.
#[derive(Debug, Clone)]
pub struct Sql {
    /// Puts it in place.
    pub install: String,
    /// Takes it away without a trace.
    pub uninstall: String,
    /// What the statements do and need.
    pub notes: Vec<String>,
}

pub(super) async fn install(context: &Context, source: &SourceRow, watch: &postgres::Watch) -> Result<()> {
    let (opened, mut conn) = sources::connect(context, source).await?;
    postgres::install(&mut conn, &opened.schema, watch).await.map_err(|e| refused(source, e))?;
    Ok(())
}

pub(super) async fn replace(context: &Context, source: &SourceRow, watch: &postgres::Watch) -> Result<()> {
    let (opened, mut conn) = sources::connect(context, source).await?;
    postgres::replace(&mut conn, &opened.schema, watch).await.map_err(|e| refused(source, e))?;
    Ok(())
}

/// Installs and rolls back.
pub(super) async fn try_out(context: &Context, source: &SourceRow, watch: &postgres::Watch) -> Result<()> {
    let (opened, mut conn) = sources::connect(context, source).await?;
    postgres::check(&mut conn, &opened.schema, watch).await.map_err(|e| refused(source, e))?;
    Ok(())
}

/// Takes it off its table; rows that wait are still taken.
pub(super) async fn detach(context: &Context, source: &SourceRow, id: i64) -> Result<()> {
    let (opened, mut conn) = sources::connect(context, source).await?;
    postgres::detach(&mut conn, &opened.schema, WatchId(id)).await.map_err(|e| refused(source, e))
}

/// Removes it, and rows that wait with it.
pub(super) async fn uninstall(context: &Context, source: &SourceRow, id: i64) -> Result<()> {
    let (opened, mut conn) = sources::connect(context, source).await?;
    postgres::uninstall(&mut conn, &opened.schema, WatchId(id)).await.map_err(|e| refused(source, e))
}

/// Which trigger's SQL is shown.
#[derive(Debug, Clone)]
pub enum Shown {
    /// A stored one.
    Stored(String),
    /// One that is not stored, with the slug of its source.
    Unstored(String, Box<TableWatch>),
}

/// The SQL of a capture, for a database administrator to review or run: exactly what an installation runs.
///
/// # Errors
/// [`Error::NotFound`], STATE_WRONG when it is a schedule, what the source refuses.
pub async fn sql(context: &Context, shown: &Shown) -> Result<Sql> {
    let (id, watch, source) = shown_table(context, shown).await?;
    let (opened, mut conn) = sources::connect(context, &source).await?;
    let watch = watch.watch(id);
    let table = postgres::catalogue::describe(&mut conn, &watch.table).await.map_err(|e| refused(&source, e))?;
    let of = |e| refused(&source, e);
    let mut notes = vec![
        format!("Everything but the triggers on {} lies in the schema {}.", watch.table, opened.schema.name),
        format!("The role needs TRIGGER on {} and CREATE on the database.", watch.table),
        "Rows are captured in the writer's transaction: a rolled-back write leaves nothing.".to_owned(),
    ];
    if matches!(shown, Shown::Unstored(..)) {
        notes.push("The trigger is not stored yet: the numbers in the names will be others.".to_owned());
    }
    Ok(Sql {
        install: postgres::ddl::render_install(&opened.schema, &watch, &table).map_err(of)?,
        uninstall: postgres::ddl::render_uninstall(&opened.schema, watch.id).map_err(of)?,
        notes,
    })
}

/// The key, the definition and the source of a trigger, stored or not.
pub(super) async fn shown_table(context: &Context, shown: &Shown) -> Result<(i64, TableWatch, SourceRow)> {
    let conn = &mut *context.lists.conn().await?;
    match shown {
        Shown::Unstored(source, watch) => Ok((1, (**watch).clone(), super::tables::source_of(conn, source).await?)),
        Shown::Stored(slug) => {
            let row = one(conn, slug).await?;
            let Some(source) = row.source.as_deref().filter(|_| row.kind == "table") else {
                let message = format!("{} is a schedule", super::name(slug));
                return Err(Error::WrongState { reason: "STATE_WRONG", message });
            };
            let missing = || storage::Error::Corrupt(format!("the source of trigger {} is gone", row.id));
            let source = storage::sources::find(conn, source).await?.ok_or_else(missing)?;
            Ok((row.id, TableWatch::read(&row)?, source))
        }
    }
}

/// Faults of the request with the path of the request.
pub(super) fn refused(source: &SourceRow, refusal: postgres::Error) -> Error {
    match sources::outside(&source.slug, refusal) {
        Error::Invalid(found) => {
            Error::Invalid(found.into_iter().map(|v: Violation| v.inside("trigger.table_watch")).collect())
        }
        other => other,
    }
}
