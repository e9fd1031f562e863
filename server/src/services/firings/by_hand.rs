//! Firing at a person's wish: rows that exist are fired as if they were written now, and a firing that came to nothing is
//! replayed after a correction.

use std::time::Duration;

use ::triggers::postgres::{self, names};
use domain::channel::Lane;
use serde_json::Value;
use uuid::Uuid;

use super::{FiringRow, State, list, mapper::op, name};
use crate::{
    services::{
        Context, Error, Result, sources,
        triggers::{self, TableWatch, TriggerRow},
        work::Work,
    },
    storage::{
        self,
        firings::{self, NewFiring},
    },
    wake::Topic,
};

/// How long reading rows for a person may take.
pub const READ_TIMEOUT: Duration = Duration::from_secs(15);
/// The most firings that are shown.
const SHOWN: usize = 1000;
/// The most rows that one read brings.
const MAX_ROWS: u32 = postgres::dry_run::MOST_ROWS;

/// Fires rows of a table trigger that exist and meet an SQL condition, at most `limit` (1 to 10,000). Says how many there are, and
/// the first thousand of them.
///
/// # Errors
/// [`Error::NotFound`], STATE_WRONG when it is disabled, [`Error::Invalid`] when the condition is wrong or more rows match.
pub async fn fire(
    context: &Context,
    work: &mut Work,
    slug: &str,
    condition: &str,
    limit: u32,
) -> Result<(usize, Vec<FiringRow>)> {
    let row = storage::triggers::find(work.conn(), slug).await?;
    let row = row.ok_or_else(|| Error::NotFound(triggers::name(slug)))?;
    if !row.enabled {
        let message = format!("{} is disabled; enable it first", triggers::name(slug));
        return Err(Error::WrongState { reason: "STATE_WRONG", message });
    }
    let watch = TableWatch::read(&row)?;
    let rows = read(context, work, &row, &watch, condition, limit).await?;
    let operation = watch.operations.first().copied().map(op).unwrap_or_default();
    let lane = if rows.len() > 10 { Lane::Bulk } else { Lane::Interactive };
    let (request, now) = (Uuid::new_v4(), work.now());
    let new: Vec<NewFiring> = rows
        .into_iter()
        .enumerate()
        .map(|(i, found)| NewFiring {
            trigger_id: row.id,
            event_key: format!("manual:{request}:{i}"),
            op: operation.to_owned(),
            row: Some(found),
            old_row: None,
            lane,
            manual: true,
            captured_at: now,
            replay_of: None,
            state: State::Pending,
            reason: None,
            reasons: list(&[]),
        })
        .collect();
    let ids = firings::insert(work.conn(), &new, now).await?;
    work.wake(Topic::Firings);
    let mut shown = Vec::with_capacity(ids.len().min(SHOWN));
    for id in ids.iter().take(SHOWN) {
        shown.extend(firings::find(work.conn(), *id).await?);
    }
    Ok((ids.len(), shown))
}

/// The rows that meet the condition; the trigger's own condition is not asked, since a person chose them.
async fn read(
    context: &Context,
    work: &mut Work,
    row: &TriggerRow,
    watch: &TableWatch,
    condition: &str,
    limit: u32,
) -> Result<Vec<Value>> {
    let source = source_of(work, row).await?;
    let (_, mut conn) = sources::connect(context, &source).await?;
    let unconditional = postgres::Watch { condition: None, ..watch.watch(row.id) };
    let asked = limit.saturating_add(1).min(MAX_ROWS);
    let found = postgres::dry_run::dry_run(&mut conn, &unconditional, Some(condition), asked, READ_TIMEOUT).await;
    let found = found.map_err(|refusal| about(&source.slug, "row_condition", refusal))?;
    if found.rows.len() > usize::try_from(limit).unwrap_or(usize::MAX) {
        let words = format!("more than {limit} rows meet the condition; narrow it or raise the limit");
        return Err(Error::invalid("row_condition", words));
    }
    Ok(found.rows)
}

/// Replays a firing that came to nothing: its captured row, or with `reread_row` the row as it is now, is mapped again.
///
/// # Errors
/// [`Error::NotFound`]; STATE_WRONG unless it is unmappable, skipped or failed, or when its row cannot be read again; what the
/// source refuses.
pub async fn replay(context: &Context, work: &mut Work, trigger: &str, id: i64, reread_row: bool) -> Result<FiringRow> {
    firings::lock(work.conn(), id).await?;
    let found = firings::find(work.conn(), id).await?.filter(|row| row.trigger == trigger);
    let firing = found.ok_or_else(|| Error::NotFound(name(trigger, id)))?;
    let wrong = |message: String| Error::WrongState { reason: "STATE_WRONG", message };
    match firing.state {
        State::Unmappable | State::Skipped | State::Failed => {}
        State::Pending | State::Fired => {
            let words =
                format!("{} is {}; only what came to nothing is replayed", name(trigger, id), firing.state.as_str());
            return Err(wrong(words));
        }
    }
    let row = storage::triggers::find(work.conn(), trigger).await?.filter(|row| row.id == firing.trigger_id);
    let row = row.ok_or_else(|| wrong(format!("{} was deleted", triggers::name(trigger))))?;
    let captured = firing.row.clone().ok_or_else(|| wrong(format!("{} has no row to map", name(trigger, id))))?;
    let data = if reread_row { reread(context, work, &row, &captured).await? } else { captured };
    if firing.reason.as_deref() == Some("ROW_TOO_LARGE") && !reread_row {
        return Err(wrong("only the primary key of this row was kept; replay it with reread_row".to_owned()));
    }
    let (times, now) = (firings::replays(work.conn(), id).await? + 1, work.now());
    let new = NewFiring {
        trigger_id: row.id,
        event_key: format!("replay:{id}:{times}"),
        op: firing.op,
        row: Some(data),
        old_row: firing.old_row,
        lane: Lane::Interactive,
        manual: true,
        captured_at: if reread_row { now } else { firing.captured_at },
        replay_of: Some(id),
        state: State::Pending,
        reason: None,
        reasons: list(&[]),
    };
    let ids = firings::insert(work.conn(), &[new], now).await?;
    work.wake(Topic::Firings);
    let gone = || storage::Error::Corrupt("a replay is gone inside its own transaction".to_owned());
    let id = *ids.first().ok_or_else(gone)?;
    Ok(firings::find(work.conn(), id).await?.ok_or_else(gone)?)
}

/// The row as it is in its table now, found by its primary key.
async fn reread(context: &Context, work: &mut Work, row: &TriggerRow, captured: &Value) -> Result<Value> {
    let wrong = |message: &str| Error::WrongState { reason: "STATE_WRONG", message: message.to_owned() };
    let (watch, source) = (TableWatch::read(row)?, source_of(work, row).await?);
    let (_, mut conn) = sources::connect(context, &source).await?;
    let refused = |refusal| sources::outside(&source.slug, refusal);
    let table = postgres::catalogue::describe(&mut conn, &watch.table_name()).await.map_err(refused)?;
    if table.primary_key.is_empty() {
        return Err(wrong("the table has no primary key, so that its row cannot be found again"));
    }
    let condition: Option<Vec<String>> = table.primary_key.iter().map(|column| equals(column, captured)).collect();
    let condition = condition.ok_or_else(|| wrong("the captured row lacks its primary key"))?.join(" and ");
    let unconditional = postgres::Watch { condition: None, ..watch.watch(row.id) };
    let found = postgres::dry_run::dry_run(&mut conn, &unconditional, Some(&condition), 1, READ_TIMEOUT).await;
    let row = found.map_err(refused)?.rows.pop();
    row.ok_or_else(|| wrong("the row does not exist any more"))
}

/// `"id" = '17'`: an untyped literal takes the column's type, so that its index serves.
fn equals(column: &str, row: &Value) -> Option<String> {
    let text = match row.get(column)? {
        Value::String(text) => text.clone(),
        Value::Null => return None,
        other => other.to_string(),
    };
    Some(format!("{} = {}", names::quote_identifier(column), names::quote_literal(&text)))
}

async fn source_of(work: &mut Work, row: &TriggerRow) -> Result<storage::sources::SourceRow> {
    let Some(slug) = row.source.as_deref().filter(|_| row.kind == "table") else {
        let message = format!("{} is a schedule", triggers::name(&row.slug));
        return Err(Error::WrongState { reason: "STATE_WRONG", message });
    };
    let missing = || storage::Error::Corrupt(format!("the source of trigger {} is gone", row.id));
    Ok(storage::sources::find(work.conn(), slug).await?.ok_or_else(missing)?)
}

/// A refusal that is about the caller's own condition.
pub fn about(slug: &str, field: &str, refusal: postgres::Error) -> Error {
    match sources::outside(slug, refusal) {
        Error::Invalid(found) => {
            let named = |v: crate::services::Violation| match v.field.as_str() {
                "condition" => crate::services::Violation { field: field.to_owned(), ..v },
                _ => v,
            };
            Error::Invalid(found.into_iter().map(named).collect())
        }
        other => other,
    }
}
