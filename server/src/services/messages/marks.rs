//! How far the business has read, and what providers said of what it sent.

use uuid::Uuid;

use super::{courtesies, missing, writing::archived};
pub use crate::storage::messages::marks::{AfterReceipt, MarkRow};
use crate::{
    services::{Context, Error, Result, archive, work::Work},
    storage::{archive::finding, history::ReceiptRow, messages::marks},
};

/// Moves the mark of a reader forward, and leaves a sign for the providers whose people may see that they were read.
///
/// # Errors
/// [`Error::NotFound`] when there is no such conversation, or no such message in it; STATE_WRONG when it is in the archive.
pub async fn mark_read(
    context: &Context,
    work: &mut Work,
    conversation: Uuid,
    message: Option<Uuid>,
    reader: &str,
) -> Result<MarkRow> {
    let now = work.now();
    let place = marks::place(work.conn(), conversation, message).await?;
    if place.is_none() && finding::place(work.conn(), conversation).await?.is_some() {
        return Err(archived(&format!("conversations/{conversation}")));
    }
    let place = place.ok_or_else(|| match message {
        Some(message) => missing(message),
        None => Error::NotFound(format!("conversations/{conversation} with a message")),
    })?;
    let before = marks::mark(work.conn(), conversation, reader, place, now).await?;
    if before < place.1 {
        let seen = marks::last_inbound(work.conn(), conversation, before, place.1).await?;
        courtesies::leave(context, work, seen, false).await?;
    }
    let found = marks::marks(work.conn(), conversation, (Some(reader), None), 1).await?.pop();
    found.ok_or_else(|| Error::NotFound(format!("conversations/{conversation}")))
}

/// The marks of a conversation behind that of the reader `after`.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn list(context: &Context, conversation: Uuid, after: Option<&str>, limit: i64) -> Result<Vec<MarkRow>> {
    let mut conn = context.lists.conn().await?;
    let found = marks::marks(&mut conn, conversation, (None, after), limit).await?;
    if found.is_empty() && marks::active(&mut conn, conversation).await?.is_none() {
        return Err(Error::NotFound(format!("conversations/{conversation}")));
    }
    drop(conn);
    if !found.is_empty() {
        return Ok(found);
    }
    let record = archive::reading::open(context, conversation).await?;
    let all = record.map(|record| record.marks()).unwrap_or_default();
    Ok(page(all.into_iter().filter(|mark| after.is_none_or(|after| mark.reader.as_str() > after)), limit))
}

/// The receipts of a message behind `after`.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn receipts(
    context: &Context,
    message: Uuid,
    after: Option<&AfterReceipt>,
    limit: i64,
) -> Result<Vec<ReceiptRow>> {
    let found = marks::receipts(&mut *context.lists.conn().await?, message, after, limit).await?;
    if let Some(found) = found {
        return Ok(found);
    }
    let all = archive::reading::receipts(context, message).await?.ok_or_else(|| missing(message))?;
    let behind = |row: &ReceiptRow| {
        after.is_none_or(|(at, n, evidence)| {
            (row.received_at, row.n, row.evidence.as_str()) > (*at, *n, evidence.as_str())
        })
    };
    let mut all: Vec<ReceiptRow> = all.into_iter().filter(behind).collect();
    all.sort_by(|a, b| (a.received_at, a.n, a.evidence.as_str()).cmp(&(b.received_at, b.n, b.evidence.as_str())));
    Ok(page(all.into_iter(), limit))
}

fn page<T>(all: impl Iterator<Item = T>, limit: i64) -> Vec<T> {
    all.take(usize::try_from(limit).unwrap_or_default()).collect()
}
