//! A file that holds what it may not hold any more is written anew without it, or dropped where nothing else is in it. What stays is
//! copied as it is packed; only what was redacted is unpacked.

use std::collections::HashMap;

use domain::message::Redaction;
use uuid::Uuid;

use super::file::{self, AREA, Frames, SUFFIX};
use crate::{
    blobs::Key,
    services::{Context, Result},
    storage::{
        self,
        archive::files::{self, Contents, FileRow},
    },
};

/// Files that are written anew in one pass.
const BATCH: i64 = 8;

/// A file that stands in the store and will take the place of another one.
#[derive(Debug)]
pub struct Anew {
    old: FileRow,
    contents: Contents,
    /// None: nothing is left, the old one only goes.
    new: Option<(i64, Frames)>,
}

/// Writes stained files anew. Says whether there may be more.
///
/// # Errors
/// What storage or the file store says; the old files stand then, and are tried again.
pub async fn pass(context: &Context) -> Result<bool> {
    let stained = files::stained(&mut *context.lists.conn().await?, BATCH).await?;
    let more = i64::try_from(stained.len()).is_ok_and(|n| n == BATCH);
    for file in stained {
        if let Some(anew) = write(context, file).await? {
            anew.replace(context).await?;
        }
    }
    Ok(more)
}

/// Writes the file that takes the place of a stained one. None: another process is doing the same.
///
/// # Errors
/// What storage or the file store says.
pub async fn write(context: &Context, old: FileRow) -> Result<Option<Anew>> {
    let contents = files::contents(&mut *context.lists.conn().await?, old.id).await?;
    if contents.conversations.is_empty() {
        return Ok(Some(Anew { old, contents, new: None }));
    }
    let frames = without(context, &old, &contents).await?;
    let size = i64::try_from(frames.bytes.len()).unwrap_or(i64::MAX);
    let announced = files::announce(&mut *context.lists.conn().await?, &frames.key().to_string(), size).await?;
    let Some(id) = announced else { return Ok(None) };
    context.blobs.put(AREA, SUFFIX, bytes::Bytes::from(frames.bytes.clone())).await?;
    Ok(Some(Anew { old, contents, new: Some((id, frames)) }))
}

/// What stays of a file.
async fn without(context: &Context, old: &FileRow, contents: &Contents) -> Result<Frames> {
    let key = Key::parse(&old.name)?;
    let mut redacted: HashMap<Uuid, Vec<(Uuid, Redaction)>> = HashMap::new();
    for (conversation, message, mark) in &contents.redacted {
        let mark = serde_json::from_str(mark).map_err(storage::Error::from)?;
        redacted.entry(*conversation).or_default().push((*message, mark));
    }
    let mut frames = Frames::default();
    for (conversation, first, bytes) in &contents.conversations {
        let (first, bytes) = (u64::try_from(*first).unwrap_or(0), u64::try_from(*bytes).unwrap_or(0));
        let packed = context.blobs.get_part(&key, first, bytes).await?;
        match redacted.remove(conversation) {
            None => frames.push_packed(*conversation, &packed),
            Some(marks) => {
                let mut record = file::unpack(&packed)?;
                for (message, mark) in &marks {
                    record.redact(*message, mark);
                }
                frames.push(&record)?;
            }
        }
    }
    Ok(frames)
}

impl Anew {
    /// Puts the new file in the place of the old one, if nothing more was taken away meanwhile. Says whether it did.
    ///
    /// # Errors
    /// What storage says; the old file stands then.
    pub async fn replace(self, context: &Context) -> Result<bool> {
        let mut tx = context.lists.begin().await?;
        let mut is_same =
            files::lock(&mut tx, self.old.id).await? && files::contents(&mut tx, self.old.id).await? == self.contents;
        if let Some((new, frames)) = &self.new {
            is_same = is_same && files::make_live(&mut tx, *new).await?;
            if is_same {
                files::move_to(&mut tx, *new, &frames.placed).await?;
            }
        }
        if is_same {
            files::drop_file(&mut tx, self.old.id).await?;
            tx.commit().await.map_err(storage::Error::from)?;
            return Ok(true);
        }
        drop(tx);
        if let Some((new, _)) = &self.new {
            files::drop_announced(&mut *context.lists.conn().await?, *new).await?;
        }
        Ok(false)
    }
}
