//! Conversations and their timelines, as they are shown.

use std::collections::HashMap;

use uuid::Uuid;

use super::{
    Context, Error, Result,
    messages::{self, Message},
};
use crate::storage::activities;
pub use crate::storage::activities::{ActivityRow, ConversationRow as Conversation, Wanted};

/// One thing that happened in a conversation, with the message where it is one.
#[derive(Debug, Clone)]
pub struct Activity {
    /// What happened.
    pub row: ActivityRow,
    /// The message.
    pub message: Option<Message>,
}

/// Which page of a timeline is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// The number that the page before ended with.
    pub after: Option<i64>,
    /// Whether the newest come first.
    pub newest_first: bool,
    /// The most entries.
    pub limit: i64,
}

/// One conversation.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get(context: &Context, id: Uuid) -> Result<Conversation> {
    let found = activities::conversations(&mut *context.lists.conn().await?, &[id]).await?.pop();
    found.ok_or_else(|| missing(id))
}

/// A page of conversations, the most recently active first.
///
/// # Errors
/// What storage says.
pub async fn list(context: &Context, wanted: &Wanted, limit: i64) -> Result<Vec<Conversation>> {
    let conn = &mut *context.lists.conn().await?;
    let ids = activities::page(conn, wanted, limit).await?;
    Ok(activities::conversations(conn, &ids).await?)
}

/// A page of what happened in a conversation.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn timeline(context: &Context, id: Uuid, span: Span) -> Result<Vec<Activity>> {
    let conn = &mut *context.lists.conn().await?;
    let rows = activities::activities(conn, id, span.after, span.newest_first, span.limit).await?;
    if rows.is_empty() && activities::conversations(conn, &[id]).await?.is_empty() {
        return Err(missing(id));
    }
    let ids: Vec<Uuid> = rows.iter().filter_map(|row| row.message_id).collect();
    let messages = messages::load(conn, &ids).await?;
    let mut messages: HashMap<Uuid, Message> = messages.into_iter().map(|m| (m.row.id, m)).collect();
    let activity = |row: ActivityRow| Activity { message: row.message_id.and_then(|id| messages.remove(&id)), row };
    Ok(rows.into_iter().map(activity).collect())
}

fn missing(id: Uuid) -> Error {
    Error::NotFound(format!("conversations/{id}"))
}
