//! Conversations go into the archive, a batch at a time. Nothing of a batch leaves the tables before its file is in the store, and
//! everything leaves them in the one transaction that says where it lies now.
//!
//! | a crash after | leaves | and then |
//! |---|---|---|
//! | gathering | nothing | the next pass begins anew |
//! | the announcement, or the file | an announced file; the conversations where they were | the next pass archives them; the sweep removes the file |
//! | the transaction | nothing to do | it is archived |

use chrono::{DateTime, TimeDelta, Utc};
use domain::archive::Record;
use uuid::Uuid;

use super::{
    file::{AREA, Frames, SUFFIX},
    gathering,
};
use crate::{
    services::{Context, Result},
    storage::{
        self,
        archive::{
            files,
            moving::{self as stored, Placed},
        },
    },
};

/// Conversations in one file.
pub const BATCH: i64 = 100;
/// A file ends with the conversation that makes it longer than this, in bytes as packed: so much is held in memory.
const LONG_ENOUGH: usize = 8 * 1024 * 1024;

/// A batch whose file is not written yet.
#[derive(Debug)]
pub struct Batch {
    records: Vec<Record>,
    frames: Frames,
    now: DateTime<Utc>,
}

/// A batch whose file is in the store, and which nothing refers to yet.
#[derive(Debug)]
pub struct Written {
    batch: Batch,
    file: i64,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// So many conversations are in the archive now.
    pub moved: usize,
    /// So many changed meanwhile, or are held by somebody: they stay where they were, and are tried again.
    pub changed: usize,
}

/// Moves one batch. Says whether there may be more.
///
/// # Errors
/// What storage or the file store says; nothing has left the tables then.
pub async fn pass(context: &Context) -> Result<bool> {
    let Some(after) = context.settings.archive.after else { return Ok(false) };
    let Some(batch) = gather(context, after).await? else { return Ok(false) };
    let Some(written) = batch.write(context).await? else { return Ok(false) };
    let Moved { moved, changed } = written.index(context).await?;
    tracing::info!(moved, changed, "conversations went into the archive");
    Ok(moved > 0)
}

/// Reads the conversations that were closed `after` ago and are at rest. None: there are none.
///
/// # Errors
/// What storage says.
pub async fn gather(context: &Context, after: TimeDelta) -> Result<Option<Batch>> {
    let now = context.clock.now();
    let conn = &mut *context.lists.conn().await?;
    let mut batch = Batch { records: Vec::new(), frames: Frames::default(), now };
    for id in stored::ready(conn, now - after, BATCH).await? {
        if let Some(record) = gathering::record(conn, id, now).await? {
            batch.frames.push(&record)?;
            batch.records.push(record);
        }
        if batch.frames.bytes.len() >= LONG_ENOUGH {
            break;
        }
    }
    Ok(Some(batch).filter(|batch| !batch.records.is_empty()))
}

impl Batch {
    /// Announces the file, then writes it. None: a file of this content is live or being removed; time gives the next one another.
    ///
    /// # Errors
    /// What storage or the file store says; the sweep removes what is left then.
    pub async fn write(self, context: &Context) -> Result<Option<Written>> {
        let size = i64::try_from(self.frames.bytes.len()).unwrap_or(i64::MAX);
        let announced =
            files::announce(&mut *context.lists.conn().await?, &self.frames.key().to_string(), size).await?;
        let Some(file) = announced else { return Ok(None) };
        context.blobs.put(AREA, SUFFIX, bytes::Bytes::from(self.frames.bytes.clone())).await?;
        Ok(Some(Written { batch: self, file }))
    }
}

impl Written {
    /// Writes the index and drops the rows of what is still as it was gathered. What is not stains the file, which is then written
    /// anew without it; a file of which nothing can be indexed goes.
    ///
    /// # Errors
    /// What storage says; nothing has left the tables then, unless it was said in the commit itself.
    pub async fn index(self, context: &Context) -> Result<Moved> {
        let mut tx = context.lists.begin().await?;
        let ids: Vec<Uuid> = self.batch.records.iter().map(|record| record.conversation.id).collect();
        let mut same = Vec::new();
        if files::make_live(&mut tx, self.file).await? {
            let locked = stored::lock(&mut tx, &ids).await?;
            for record in self.batch.records.iter().filter(|record| locked.contains(&record.conversation.id)) {
                let again = gathering::record(&mut tx, record.conversation.id, record.archived_at).await?;
                same.extend(again.as_ref().filter(|again| *again == record).map(|record| record.conversation.id));
            }
        }
        if same.is_empty() {
            drop(tx);
            files::drop_announced(&mut *context.lists.conn().await?, self.file).await?;
            return Ok(Moved { moved: 0, changed: ids.len() });
        }
        for (record, placed) in self.batch.records.iter().zip(&self.batch.frames.placed) {
            match same.contains(&record.conversation.id) {
                true => stored::place(&mut tx, self.file, &place(record, *placed)).await?,
                false => stored::stain(&mut tx, self.file, record.conversation.id).await?,
            }
        }
        stored::drop_rows(&mut tx, &same, self.batch.now).await?;
        tx.commit().await.map_err(storage::Error::from)?;
        Ok(Moved { moved: same.len(), changed: ids.len() - same.len() })
    }
}

fn place(record: &Record, (conversation_id, first_byte, bytes): (Uuid, i64, i64)) -> Placed {
    let activities = i64::try_from(record.activities.len()).unwrap_or(i64::MAX);
    Placed { conversation_id, first_byte, bytes, activities, parts: record.parts() }
}
