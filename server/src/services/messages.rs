//! Messages, as they are shown.

use domain::message::Content;
use uuid::Uuid;

use super::{Context, Error, Result};
pub use crate::storage::messages::{MessageRow, Wanted};
use crate::storage::{self, Conn, messages};

/// One message.
#[derive(Debug, Clone)]
pub struct Message {
    /// What stands in storage.
    pub row: MessageRow,
    /// What was said.
    pub content: Content,
}

/// One message.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get(context: &Context, id: Uuid) -> Result<Message> {
    let found = load(&mut *context.lists.conn().await?, &[id]).await?.pop();
    found.ok_or_else(|| Error::NotFound(format!("messages/{id}")))
}

/// A page of messages, the newest first.
///
/// # Errors
/// What storage says.
pub async fn list(context: &Context, wanted: &Wanted, limit: i64) -> Result<Vec<Message>> {
    let conn = &mut *context.lists.conn().await?;
    let ids = messages::page(conn, wanted, limit).await?;
    load(conn, &ids).await
}

/// Messages by their ids, in this order.
///
/// # Errors
/// What storage says.
pub async fn load(conn: &mut Conn, ids: &[Uuid]) -> Result<Vec<Message>> {
    let rows = messages::load(conn, ids).await?;
    let message = |row: MessageRow| {
        let content = serde_json::from_value(row.content.clone()).map_err(storage::Error::from)?;
        Ok(Message { row, content })
    };
    rows.into_iter().map(message).collect()
}
