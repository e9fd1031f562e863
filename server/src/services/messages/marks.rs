//! How far the business has read, and what providers said of what it sent.

use uuid::Uuid;

use super::{courtesies, missing};
pub use crate::storage::messages::marks::{AfterReceipt, MarkRow};
use crate::{
    services::{Context, Error, Result, work::Work},
    storage::{history::ReceiptRow, messages::marks},
};

/// Moves the mark of a reader forward, and leaves a sign for the providers whose people may see that they were read.
///
/// # Errors
/// [`Error::NotFound`] when there is no such conversation, or no such message in it.
pub async fn mark_read(
    context: &Context,
    work: &mut Work,
    conversation: Uuid,
    message: Option<Uuid>,
    reader: &str,
) -> Result<MarkRow> {
    let now = work.now();
    let place = marks::place(work.conn(), conversation, message).await?;
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
    let conn = &mut *context.lists.conn().await?;
    let found = marks::marks(conn, conversation, (None, after), limit).await?;
    if found.is_empty() && marks::active(conn, conversation).await?.is_none() {
        return Err(Error::NotFound(format!("conversations/{conversation}")));
    }
    Ok(found)
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
    found.ok_or_else(|| missing(message))
}
