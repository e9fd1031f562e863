//! What was kept in the archive as long as it should be goes: the conversations, and the copies of their files. Their file is dropped
//! with the last of them, which were closed at about the same time.

use crate::{
    services::{Context, Result},
    storage::{
        self,
        archive::{erasing as stored, files, moving},
    },
    wake::Topic,
};

/// Conversations that go in one transaction.
const BATCH: i64 = 200;

/// Ends a batch. Says whether there may be more.
///
/// # Errors
/// What storage says.
pub async fn pass(context: &Context) -> Result<bool> {
    let Some(keep) = context.settings.archive.keep else { return Ok(false) };
    let mut tx = context.lists.begin().await?;
    let found = stored::expired(&mut tx, context.clock.now() - keep, BATCH).await?;
    let more = i64::try_from(found.len()).is_ok_and(|n| n == BATCH);
    let ids = stored::lock_archived(&mut tx, &found).await?;
    if ids.is_empty() {
        return Ok(false);
    }
    files::lock_of(&mut tx, &ids).await?;
    stored::expire_media(&mut tx, &ids).await?;
    stored::unplace(&mut tx, &ids, "expired", None).await?;
    // An import that came late may have left rows of its own.
    moving::drop_parts(&mut tx, &ids).await?;
    stored::remove_conversations(&mut tx, &ids).await?;
    tx.commit().await.map_err(storage::Error::from)?;
    tracing::info!(conversations = ids.len(), "conversations were kept in the archive long enough");
    context.wake.signal(Topic::Media);
    Ok(more)
}
