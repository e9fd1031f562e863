//! What nobody needs goes from the file store: files that were dropped at once; what a crash left behind once it is old enough that
//! nobody can be writing it any more. A file in the store that no row knows is taken by a row first, so that nobody begins to
//! use it while it is removed.

use chrono::TimeDelta;
use futures::TryStreamExt;

use super::file::AREA;
use crate::{
    blobs::{Key, Listed},
    services::{Context, Result, messages::media},
    storage::{
        self,
        archive::{erasing, files},
        messages::media as copies,
        receiving,
    },
};

/// Files that are removed at once.
const BATCH: i64 = 100;
/// How old a file must be that nobody knows: no upload takes so long.
pub const AGE: TimeDelta = TimeDelta::days(1);

/// Removes the files that were dropped, and ends the erasures of which nothing is left. Says whether there may be more.
///
/// # Errors
/// What storage or the file store says; what is left is tried again.
pub async fn remove_dropped(context: &Context) -> Result<bool> {
    let dropped = files::dropped(&mut *context.lists.conn().await?, BATCH).await?;
    let more = i64::try_from(dropped.len()).is_ok_and(|n| n == BATCH);
    for file in dropped {
        context.blobs.delete(&Key::parse(&file.name)?).await?;
        files::forget(&mut *context.lists.conn().await?, file.id, context.clock.now()).await?;
    }
    let done = erasing::end_done(&mut *context.lists.conn().await?, context.clock.now()).await?;
    for (id, contact) in done {
        tracing::info!(erasure.id = %id, contact.id = contact, "nothing of an erased contact is left");
    }
    Ok(more)
}

/// Removes what was left behind and is older than `age`. Says how many files it was.
///
/// # Errors
/// What storage or the file store says.
pub async fn sweep(context: &Context, age: TimeDelta) -> Result<u64> {
    let mut conn = context.lists.conn().await?;
    let before = receiving::machine_now(&mut conn).await? - age;
    let mut swept = files::drop_left_behind(&mut conn, before).await?;
    drop(conn);
    let mut listed = context.blobs.list(AREA);
    while let Some(file) = listed.try_next().await? {
        if file.written_at < before {
            let size = i64::try_from(file.size).unwrap_or(i64::MAX);
            let taken = files::take_unknown(&mut *context.lists.conn().await?, &file.key.to_string(), size).await?;
            swept += u64::from(taken);
        }
    }
    let mut listed = context.blobs.list(media::AREA);
    while let Some(file) = listed.try_next().await? {
        if file.written_at < before && sweep_copy(context, &file).await? {
            swept += 1;
        }
    }
    if swept > 0 {
        tracing::info!(files = swept, "files that nobody knows were swept");
    }
    Ok(swept)
}

/// Removes the file of a message where no message has it. Says whether it did.
async fn sweep_copy(context: &Context, file: &Listed) -> Result<bool> {
    let name = file.key.to_string();
    let digits = name.rsplit('/').next().unwrap_or_default();
    // What is named otherwise is not ours.
    let Ok(sha256) = hex::decode(digits) else { return Ok(false) };
    if files::is_known_media(&mut *context.lists.conn().await?, &sha256).await? {
        return Ok(false);
    }
    let mut tx = context.lists.begin().await?;
    copies::lock_content(&mut tx, &sha256).await?;
    let unknown = !files::is_known_media(&mut tx, &sha256).await?;
    if unknown {
        context.blobs.delete(&file.key).await?;
    }
    tx.commit().await.map_err(storage::Error::from)?;
    Ok(unknown)
}
