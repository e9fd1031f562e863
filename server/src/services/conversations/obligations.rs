//! What is owed to a contact: while a flow runs, a ticket is open or a task waits for an agent, its conversation stays open.
//!
//! Whoever runs flows, tickets or tasks calls [`begin`] and [`end`] in its own transaction; notifications that were sent in a
//! conversation count by their own state.

use domain::conversation::closing::{Cause, Obligation};
use serde_json::json;

use super::{
    closing,
    held::{By, Held},
    sessions,
};
use crate::{
    services::{Context, Result},
    storage::{
        Conn,
        conversation_state::{self, Note},
        participants,
    },
};

/// Something is owed from now on: a flow, a ticket or a task, by its resource name. Said twice, it is owed once.
///
/// # Errors
/// What storage says.
pub async fn begin(conn: &mut Conn, held: &Held, kind: Obligation, subject: &str, by: By<'_>) -> Result<()> {
    if participants::owe(conn, held.id(), kind.as_str(), subject, by.at).await? {
        say(conn, held, "obligation_began", kind, subject, by).await?;
    }
    Ok(())
}

/// It is owed no longer. With a cause, the conversation is closed if nothing stands in the way; in any case it is, if contact
/// and agents are gone. Said twice, nothing happens the second time.
///
/// # Errors
/// What storage says.
pub async fn end(
    context: &Context,
    conn: &mut Conn,
    held: &mut Held,
    (kind, subject): (Obligation, &str),
    close: Option<Cause>,
    by: By<'_>,
) -> Result<()> {
    if !participants::settle(conn, held.id(), kind.as_str(), subject).await? {
        return Ok(());
    }
    say(conn, held, "obligation_ended", kind, subject, by).await?;
    if kind == Obligation::Task {
        sessions::run_again(context, conn, held, by.at).await?;
    }
    if let Some(cause) = close {
        closing::close_if_free(conn, held, cause, by).await?;
    }
    closing::if_gone(context, conn, held, "OBLIGATION_ENDED", by).await
}

pub(super) async fn say(
    conn: &mut Conn,
    held: &Held,
    word: &str,
    kind: Obligation,
    subject: &str,
    by: By<'_>,
) -> Result<()> {
    let note = Note {
        conversation_id: held.id(),
        kind: "conversation",
        id: held.id(),
        r#type: word,
        from: None,
        to: None,
        cause: "",
        actor: by.actor,
        channel_id: None,
        intent: None,
        data: json!({"obligation": subject, "kind": kind.as_str().to_uppercase()}),
        shown: None,
        at: by.at,
    };
    Ok(conversation_state::note(conn, &note).await?)
}
