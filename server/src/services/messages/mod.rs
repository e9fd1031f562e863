//! Messages: as they are shown, found, redacted and handed out, with what stands beside them: notes, read marks, typing, files,
//! history from elsewhere. What one says itself is the domain's ([`domain::message`]).

pub mod courtesies;
pub mod export;
pub mod marks;
pub mod media;
pub mod past;
pub mod snapshot;
pub mod typing;
pub mod writing;

use std::collections::HashMap;

use domain::message::{ChannelSnapshot, Content, Direction, Document, Stored, restore};
use uuid::Uuid;

use super::{Context, Error, Result, archive};
pub use crate::storage::messages::{MessageRow, Wanted};
use crate::storage::{Conn, messages, messages::words::Words};

/// One message.
#[derive(Debug, Clone)]
pub struct Message {
    /// What stands in storage.
    pub row: MessageRow,
    /// Its document, in the form of today whatever it was stored in.
    pub document: Document,
    /// What was said.
    pub content: Content,
}

/// What is searched for.
#[derive(Debug, Clone)]
pub struct Search {
    /// The words.
    pub query: String,
    /// Their language; empty: any.
    pub language: String,
}

/// One message.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get(context: &Context, id: Uuid) -> Result<Message> {
    let found = load(&mut *context.lists.conn().await?, &[id]).await?.pop();
    match found {
        Some(message) => Ok(message),
        None => archive::reading::messages(context, &[id]).await?.remove(&id).ok_or_else(|| missing(id)),
    }
}

/// One message that is not in the archive, on the caller's connection.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn one(conn: &mut Conn, id: Uuid) -> Result<Message> {
    load(conn, &[id]).await?.pop().ok_or_else(|| missing(id))
}

/// A page of messages, the newest first, those in the archive among them.
///
/// # Errors
/// What storage says.
pub async fn list(context: &Context, wanted: &Wanted, limit: i64) -> Result<Vec<Message>> {
    let mut conn = context.lists.conn().await?;
    let ids = messages::page(&mut conn, wanted, limit).await?;
    let found = load(&mut conn, &ids).await?;
    drop(conn);
    if found.len() == ids.len() { Ok(found) } else { with_archived(context, &ids, found).await }
}

/// Fills a page with those of its messages that are in the archive.
async fn with_archived(context: &Context, ids: &[Uuid], found: Vec<Message>) -> Result<Vec<Message>> {
    let mut all: HashMap<Uuid, Message> = found.into_iter().map(|message| (message.row.id, message)).collect();
    let archived: Vec<Uuid> = ids.iter().copied().filter(|id| !all.contains_key(id)).collect();
    all.extend(archive::reading::messages(context, &archived).await?);
    Ok(ids.iter().filter_map(|id| all.remove(id)).collect())
}

/// A page of messages that have these words, the newest first. The archive is not searched.
///
/// # Errors
/// [`Error::Invalid`] when there is no word in the search.
pub async fn search(context: &Context, search: &Search, wanted: Wanted, limit: i64) -> Result<Vec<Message>> {
    let conn = &mut *context.lists.conn().await?;
    let words = Words::read(conn, &search.query, &search.language).await?;
    let words = words.ok_or_else(|| Error::invalid("query", "has no word to look for: give letters or digits"))?;
    let ids = messages::page(conn, &Wanted { words: Some(words), ..wanted }, limit).await?;
    load(conn, &ids).await
}

/// Messages by their ids, in this order.
///
/// # Errors
/// What storage says.
pub async fn load(conn: &mut Conn, ids: &[Uuid]) -> Result<Vec<Message>> {
    let message = |row: MessageRow| {
        let document = restore(stored(&row));
        Message { content: document.content.clone(), document, row }
    };
    Ok(messages::load(conn, ids).await?.into_iter().map(message).collect())
}

/// What the domain makes a document of. For a row of before 2.0 the channel is the one of now: the best that is known.
fn stored(row: &MessageRow) -> Stored {
    let direction = match (row.internal, row.outbound) {
        (true, _) => Direction::Internal,
        (false, true) => Direction::Outbound,
        (false, false) => Direction::Inbound,
    };
    let ours = if row.outbound { &row.sender } else { &row.receiver };
    let channel = row.channel.as_ref().map(|(name, channel_type, address)| ChannelSnapshot {
        channel_type: *channel_type,
        name: name.clone(),
        provider: None,
        service_identifier: ours.clone(),
        address: address.clone(),
    });
    Stored {
        version: row.schema_version.clone(),
        id: row.id,
        conversation: row.conversation_id,
        seq: row.seq,
        direction,
        sender: row.sender.clone(),
        receiver: row.receiver.clone(),
        channel,
        content: row.content.clone(),
        plain_text: row.plain_text.clone(),
        envelope: row.envelope.clone(),
        redaction: row.redaction.clone().and_then(|mark| serde_json::from_value(mark).ok()),
        times: (row.provider_time, row.received_at, row.stored_at),
        provider_message: row.provider_message_id.clone(),
        in_reply_to: row.in_reply_to,
        notification: row.notification_id,
        delivery: row.delivery_id.filter(|_| row.outbound),
    }
}

fn missing(id: Uuid) -> Error {
    Error::NotFound(format!("messages/{id}"))
}
