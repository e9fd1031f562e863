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
pub enum Moved {
    /// So many conversations are in the archive now.
    All(usize),
    /// Something of the batch changed meanwhile: all of it stays where it was, and is tried again.
    Changed,
}

/// Moves one batch. Says whether there may be more.
///
/// # Errors
/// What storage or the file store says; nothing has left the tables then.
pub async fn pass(context: &Context) -> Result<bool> {
    let Some(after) = context.settings.archive.after else { return Ok(false) };
    let Some(batch) = gather(context, after).await? else { return Ok(false) };
    let Some(written) = batch.write(context).await? else { return Ok(false) };
    match written.index(context).await? {
        Moved::All(n) => {
            tracing::info!(conversations = n, "conversations went into the archive");
            Ok(true)
        }
        Moved::Changed => Ok(false),
    }
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
    /// Writes the index and drops the rows, if everything is still as it was gathered.
    ///
    /// # Errors
    /// What storage says; nothing has left the tables then, unless it was said in the commit itself.
    pub async fn index(self, context: &Context) -> Result<Moved> {
        let mut tx = context.lists.begin().await?;
        let ids: Vec<Uuid> = self.batch.records.iter().map(|record| record.conversation.id).collect();
        let locked = stored::lock(&mut tx, &ids).await?;
        let mut is_same = locked.len() == ids.len() && files::make_live(&mut tx, self.file).await?;
        for record in &self.batch.records {
            is_same = is_same
                && gathering::record(&mut tx, record.conversation.id, record.archived_at).await?.as_ref()
                    == Some(record);
        }
        if !is_same {
            drop(tx);
            // What nobody will ever index may go at once.
            files::drop_announced(&mut *context.lists.conn().await?, self.file).await?;
            return Ok(Moved::Changed);
        }
        for (record, placed) in self.batch.records.iter().zip(&self.batch.frames.placed) {
            let placed = Placed {
                conversation_id: record.conversation.id,
                first_byte: placed.1,
                bytes: placed.2,
                activities: i64::try_from(record.activities.len()).unwrap_or(i64::MAX),
                parts: record.parts(),
            };
            stored::place(&mut tx, self.file, &placed).await?;
        }
        stored::drop_rows(&mut tx, &ids, self.batch.now).await?;
        tx.commit().await.map_err(storage::Error::from)?;
        Ok(Moved::All(ids.len()))
    }
}
