//! Makes the captures in a source what our triggers say: at start, each minute, and when a consumer sees that one is missing or
//! disabled. What is put right is said; what cannot be is kept with its trigger until it can.

use std::collections::{BTreeSet, HashMap};

use ::triggers::{WatchId, postgres};
use sqlx::postgres::PgConnection;

use super::{TableWatch, TriggerRow, say};
use crate::{
    services::{Context, Result, sources, work::Work},
    storage::{
        sources as stored_sources,
        sources::SourceRow,
        triggers::{self, of_source},
    },
};

/// A source that needs a consumer, and what it depends on.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// The source.
    pub source: SourceRow,
    /// Its triggers that have something to capture or to drain, with their versions.
    pub triggers: Vec<(i64, i32)>,
    /// Whether one of them was disabled and is still being drained.
    pub drains: bool,
}

/// Every source that has something to capture or to drain.
///
/// # Errors
/// What storage says.
pub async fn wanted(context: &Context) -> Result<Vec<Wanted>> {
    let conn = &mut *context.lists.conn().await?;
    let mut wanted = Vec::new();
    for source in stored_sources::list(conn, "", i64::MAX).await? {
        let rows = of_source(conn, source.id).await?;
        let busy: Vec<_> = rows.iter().filter(|t| t.enabled || t.draining).map(|t| (t.id, t.version)).collect();
        if !busy.is_empty() {
            let drains = rows.iter().any(|t| t.draining);
            wanted.push(Wanted { source, triggers: busy, drains });
        }
    }
    Ok(wanted)
}

/// Puts right what is missing in a source; `broken` are the triggers whose capture was seen not to do its work.
///
/// # Errors
/// What the source refuses as a whole, and what storage says. What one trigger cannot get is kept with it.
pub async fn reconcile(context: &Context, source: &SourceRow, broken: &BTreeSet<i64>) -> Result<()> {
    let mut work = Work::begin(context).await?;
    stored_sources::lock_captures(work.conn(), source.id).await?;
    let (opened, mut conn) = sources::connect(context, source).await?;
    let of = |error| sources::outside(&source.slug, error);
    let installed = postgres::installed(&mut conn, &opened.schema).await.map_err(of)?;
    let mut installed: HashMap<i64, Option<postgres::Watch>> = installed.into_iter().map(|(id, w)| (id.0, w)).collect();
    let rows = of_source(work.conn(), source.id).await?;
    for row in rows {
        let found = installed.remove(&row.id);
        if row.enabled {
            enabled(&mut work, &mut conn, &opened.schema, &row, found, broken.contains(&row.id)).await?;
        } else if row.draining || found.is_some() {
            disabled(&mut work, &mut conn, &opened.schema, &row, found.is_some()).await.map_err(|e| e.told(source))?;
        }
    }
    for id in installed.into_keys() {
        tracing::info!(source = source.slug, watch.id = id, "a capture of no trigger is removed");
        postgres::uninstall(&mut conn, &opened.schema, WatchId(id)).await.map_err(of)?;
    }
    work.commit(context).await
}

async fn enabled(
    work: &mut Work,
    conn: &mut PgConnection,
    schema: &postgres::CaptureSchema,
    row: &TriggerRow,
    found: Option<Option<postgres::Watch>>,
    broken: bool,
) -> Result<()> {
    let watch = TableWatch::read(row)?.watch(row.id);
    let in_place = found == Some(Some(watch.clone())) && !broken;
    let done = if in_place { Ok(()) } else { postgres::replace(conn, schema, &watch).await.map(drop) };
    match done {
        Ok(()) => {
            if !in_place {
                tracing::warn!(trigger = row.slug, "a capture was missing or disabled and is in place again");
                say(work, &row.slug, "broken").await?;
            }
            if triggers::set_failure(work.conn(), row.id, None).await? || !in_place {
                say(work, &row.slug, "enabled").await?;
            }
        }
        Err(error) => {
            tracing::warn!(trigger = row.slug, %error, "a capture cannot be put in place");
            if triggers::set_failure(work.conn(), row.id, Some(&error.to_string())).await? {
                say(work, &row.slug, "broken").await?;
            }
        }
    }
    Ok(())
}

/// What a source refused while a disabled trigger was being taken away.
enum Refused {
    Source(postgres::Error),
    Ours(crate::services::Error),
}

impl Refused {
    fn told(self, source: &SourceRow) -> crate::services::Error {
        match self {
            Self::Source(error) => sources::outside(&source.slug, error),
            Self::Ours(error) => error,
        }
    }
}

async fn disabled(
    work: &mut Work,
    conn: &mut PgConnection,
    schema: &postgres::CaptureSchema,
    row: &TriggerRow,
    attached: bool,
) -> std::result::Result<(), Refused> {
    let watch = WatchId(row.id);
    if attached {
        postgres::detach(conn, schema, watch).await.map_err(Refused::Source)?;
    }
    if !postgres::has_rows(conn, schema, watch).await.map_err(Refused::Source)? {
        postgres::uninstall(conn, schema, watch).await.map_err(Refused::Source)?;
        triggers::drained(work.conn(), row.id).await.map_err(|e| Refused::Ours(e.into()))?;
    }
    Ok(())
}
