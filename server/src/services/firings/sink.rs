//! Where consumers put what they captured: firings and cursor in one transaction, the cursor only by compare-and-set.

use std::collections::HashMap;

use ::triggers::{Batch, CapturedEvent, Cursor, Gap, Sink, SinkError, SourceId, WatchId};
use async_trait::async_trait;
use domain::channel::Lane;

use super::{State, Why, list, mapper::op};
use crate::{
    services::Context,
    storage::{
        self,
        firings::{self, NewFiring},
        sources,
    },
    wake::Topic,
};

/// Rows of one trigger that come together in greater number than this are bulk.
const INTERACTIVE_ROWS: usize = 10;

/// See the module.
#[derive(Debug, Clone)]
pub struct FiringSink {
    /// What it stands on.
    pub context: Context,
}

#[async_trait]
impl Sink for FiringSink {
    async fn load_cursor(&self, source: SourceId) -> Result<Option<Cursor>, SinkError> {
        let mut conn = self.context.lists.conn().await.map_err(SinkError::failed)?;
        let stored = sources::cursor(&mut conn, key(source)?).await.map_err(SinkError::failed)?;
        let cursor = stored.ok_or(SinkError::UnknownSource(source))?;
        cursor.map(serde_json::from_value).transpose().map_err(SinkError::failed)
    }

    async fn accept(&self, source: SourceId, batch: Batch) -> Result<(), SinkError> {
        let previous = batch.previous.as_ref().map(serde_json::to_value).transpose().map_err(SinkError::failed)?;
        let cursor = serde_json::to_value(&batch.cursor).map_err(SinkError::failed)?;
        let new = new_firings(batch.events);
        let (id, now) = (key(source)?, self.context.clock.now());
        let mut tx = self.context.lists.begin().await.map_err(SinkError::failed)?;
        if !sources::move_cursor(&mut tx, id, previous.as_ref(), &cursor).await.map_err(SinkError::failed)? {
            let known = sources::cursor(&mut tx, id).await.map_err(SinkError::failed)?;
            return Err(known.map_or(SinkError::UnknownSource(source), |_| SinkError::CursorMoved));
        }
        if !new.is_empty() {
            firings::insert(&mut tx, &new, now).await.map_err(SinkError::failed)?;
        }
        tx.commit().await.map_err(SinkError::failed)?;
        self.context.wake.signal(Topic::Firings);
        Ok(())
    }

    async fn note_gaps(&self, source: SourceId, gaps: &[Gap]) -> Result<(), SinkError> {
        let new: Vec<NewFiring> = gaps.iter().map(gap).collect();
        let now = self.context.clock.now();
        let mut tx = self.context.lists.begin().await.map_err(SinkError::failed)?;
        let written = firings::insert(&mut tx, &new, now).await.map_err(SinkError::failed)?;
        if !written.is_empty() {
            tracing::warn!(source.id = %source, gaps = written.len(), "rows of a source may not have been captured");
            say_gaps(&mut tx, &written, now).await.map_err(SinkError::failed)?;
        }
        tx.commit().await.map_err(SinkError::failed)?;
        self.context.wake.signal(Topic::Events);
        Ok(())
    }
}

async fn say_gaps(
    conn: &mut storage::Conn,
    written: &[i64],
    now: chrono::DateTime<chrono::Utc>,
) -> storage::Result<()> {
    for id in written {
        let Some(row) = firings::find(conn, *id).await? else { continue };
        let subject = super::name(&row.trigger, row.id);
        storage::events::say(conn, "trigger", "failed", &subject, Some("failed"), Some("CAPTURE_GAP"), now).await?;
    }
    Ok(())
}

fn key(source: SourceId) -> Result<i32, SinkError> {
    i32::try_from(source.0).map_err(|_| SinkError::UnknownSource(source))
}

/// A few rows together are people who wait; many are a bulk write.
fn new_firings(events: Vec<CapturedEvent>) -> Vec<NewFiring> {
    let mut counts: HashMap<WatchId, usize> = HashMap::new();
    for event in &events {
        *counts.entry(event.watch).or_default() += 1;
    }
    let lane = |watch: &WatchId| match counts.get(watch) {
        Some(count) if *count > INTERACTIVE_ROWS => Lane::Bulk,
        _ => Lane::Interactive,
    };
    events.into_iter().map(|event| new_firing(lane(&event.watch), event)).collect()
}

fn new_firing(lane: Lane, event: CapturedEvent) -> NewFiring {
    let operation = op(event.operation).to_owned();
    let whys: Vec<Why> = match event.fault {
        None => Vec::new(),
        Some(fault) => {
            let words = "the columns in use are larger than 64 KiB; only the primary key was kept";
            vec![Why::plain(fault.as_str(), words)]
        }
    };
    // The row that is mapped stands first: of a deleted row, the old one.
    let (row, old_row) = match event.new {
        Some(new) => (Some(new), event.old),
        None => (event.old, None),
    };
    NewFiring {
        trigger_id: event.watch.0,
        event_key: event.id.to_string(),
        op: operation,
        row,
        old_row,
        lane,
        manual: false,
        captured_at: event.captured_at,
        replay_of: None,
        state: if whys.is_empty() { State::Pending } else { State::Unmappable },
        reason: whys.first().map(|why| why.fault.clone()),
        reasons: list(&whys),
    }
}

/// A gap is a firing that says that others may be missing. It has no row and cannot be replayed.
fn gap(gap: &Gap) -> NewFiring {
    let detail = gap.detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
    let words = format!("rows that were written from {} on may be missing ({}{detail})", gap.since, gap.reason);
    let why = Why::plain("CAPTURE_GAP", words);
    NewFiring {
        trigger_id: gap.watch.0,
        event_key: format!("gap:{}", gap.id),
        op: String::new(),
        row: None,
        old_row: None,
        lane: Lane::Bulk,
        manual: false,
        captured_at: gap.since,
        replay_of: None,
        state: State::Failed,
        reason: Some(why.fault.clone()),
        reasons: why.as_json(),
    }
}
