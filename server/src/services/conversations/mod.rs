//! Conversations: opened by the first message to or from a contact, held while anybody is there or anything is owed, closed and put
//! away. What their facts make of them is decided in `domain::conversation`.
//!
//! [`opening`] finds or begins the one of a contact; [`sessions`], [`participants`] and [`obligations`] change its facts; [`closing`]
//! ends it; [`timers`] is what happens by itself. All of them work on a [`held::Held`], in the caller's transaction. Requests
//! come through [`verbs`] and [`saying`]; what is shown stands here. **Controllers** hear of it by the `intent` of events, which
//! all are written by `storage::conversation_state::note` and `storage::conversations::append`; **the archive**
//! ([`super::archive`]) takes what has been closed for long, and `archived` shows it.

mod archived;
pub mod closing;
pub mod held;
mod inactivity;
pub mod merging;
pub mod obligations;
pub mod opening;
pub mod participants;
mod recording;
pub mod saying;
pub mod sessions;
pub mod timers;
pub mod verbs;
pub mod watching;
pub mod who;

use std::collections::HashMap;

use uuid::Uuid;

use super::{
    Context, Error, Result,
    messages::{self, Message},
};
pub use crate::storage::activities::{ActivityRow, ConversationRow as Conversation, Wanted};
use crate::storage::{Conn, activities, participants as stored_participants, sessions as stored_sessions};

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
    get_in(&mut *context.lists.conn().await?, id).await
}

/// The same inside a transaction.
async fn get_in(conn: &mut Conn, id: Uuid) -> Result<Conversation> {
    let found = activities::conversations(conn, &[id]).await?.pop();
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

/// How many conversations there are.
///
/// # Errors
/// What storage says.
pub async fn count(context: &Context, wanted: &Wanted) -> Result<i64> {
    Ok(activities::count(&mut *context.lists.conn().await?, wanted).await?)
}

/// A page of what happened in a conversation.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn timeline(context: &Context, id: Uuid, span: Span) -> Result<Vec<Activity>> {
    let mut conn = context.lists.conn().await?;
    let known = activities::conversations(&mut conn, &[id]).await?.pop().ok_or_else(|| missing(id))?;
    if known.archived_at.is_some() {
        drop(conn);
        return archived::timeline(context, id, span).await;
    }
    let conn = &mut *conn;
    let rows = activities::activities(conn, id, span.after, span.newest_first, span.limit).await?;
    let ids: Vec<Uuid> = rows.iter().filter_map(|row| row.message_id).collect();
    let messages = messages::load(conn, &ids).await?;
    let mut messages: HashMap<Uuid, Message> = messages.into_iter().map(|m| (m.row.id, m)).collect();
    let activity = |row: ActivityRow| Activity { message: row.message_id.and_then(|id| messages.remove(&id)), row };
    Ok(rows.into_iter().map(activity).collect())
}

/// A page of the channel sessions of a conversation, by id.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn list_sessions(
    context: &Context,
    id: Uuid,
    open: bool,
    after: Uuid,
    limit: i64,
) -> Result<Vec<stored_sessions::SessionRow>> {
    let mut conn = context.lists.conn().await?;
    if get_in(&mut conn, id).await?.archived_at.is_some() {
        drop(conn);
        return archived::sessions(context, id, open, after, limit).await;
    }
    Ok(stored_sessions::list(&mut conn, id, open, after, limit).await?)
}

/// One channel session.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get_session(context: &Context, id: Uuid) -> Result<stored_sessions::SessionRow> {
    let found = stored_sessions::find(&mut *context.lists.conn().await?, id).await?;
    match found {
        Some(found) => Ok(found),
        None => archived::session(context, id).await?.ok_or_else(|| Error::NotFound(sessions::name_of(id))),
    }
}

/// A page of the participants of a conversation, by id.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn list_participants(
    context: &Context,
    id: Uuid,
    present: bool,
    after: Uuid,
    limit: i64,
) -> Result<Vec<participants::Participant>> {
    let mut conn = context.lists.conn().await?;
    if get_in(&mut conn, id).await?.archived_at.is_some() {
        drop(conn);
        return archived::participants(context, id, present, after, limit).await;
    }
    Ok(stored_participants::list(&mut conn, id, present, after, limit).await?)
}

fn missing(id: Uuid) -> Error {
    Error::NotFound(held::name_of(id))
}
