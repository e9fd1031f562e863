//! The two ways in which the business touches a timeline: it writes a note, or takes the words of a message away.

use domain::message::{Content, Redaction};
use uuid::Uuid;

use super::{Message, missing, one, snapshot};
use crate::{
    services::{Context, Error, Result, archive, work::Work},
    storage::{
        self,
        archive::finding,
        messages::{notes, redaction},
    },
    wake::Topic,
};

/// A note to be written.
#[derive(Debug, Clone)]
pub struct Note {
    /// The conversation.
    pub conversation: Uuid,
    /// The words.
    pub text: String,
    /// Who writes, as it is to be shown.
    pub author: String,
    /// The language; none: the contact's.
    pub language: Option<String>,
}

/// Writes a note.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::WrongState`] for a closed conversation.
pub async fn create_note(work: &mut Work, note: Note) -> Result<Message> {
    let (id, name, now) = (Uuid::now_v7(), format!("conversations/{}", note.conversation), work.now());
    match notes::lock_conversation(work.conn(), note.conversation).await?.as_deref() {
        None => return Err(Error::NotFound(name)),
        Some("closed") => return Err(closed(&name)),
        Some(_) => {}
    }
    let row = notes::NewNote {
        id,
        conversation_id: note.conversation,
        content: Content::Note { text: note.text },
        envelope: snapshot::note(note.author, note.language),
    };
    notes::write(work.conn(), &row, now).await?;
    work.wake(Topic::Events);
    one(work.conn(), id).await
}

/// Takes the words of a message away, of one in the archive too; one whose words are gone is returned as it is.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::WrongState`] while the message is still to be sent.
pub async fn redact(context: &Context, work: &mut Work, id: Uuid, by: String, reason: String) -> Result<Message> {
    let Some(locked) = redaction::lock(work.conn(), id).await? else {
        return redact_archived(context, work, id, by, reason).await;
    };
    if locked.on_its_way && !locked.redacted {
        return Err(Error::WrongState {
            reason: "STATE_WRONG",
            message: format!("messages/{id} is still to be sent: redact it when its delivery is over"),
        });
    }
    if !locked.redacted {
        let now = work.now();
        let mark = serde_json::to_value(Redaction { by, reason, at: now }).map_err(storage::Error::from)?;
        redaction::redact(work.conn(), id, &mark, now).await?;
        work.wake(Topic::Events);
        work.wake(Topic::Media);
    }
    one(work.conn(), id).await
}

/// The same of a message in the archive: readers see the mark at once, and the file is written anew soon.
async fn redact_archived(context: &Context, work: &mut Work, id: Uuid, by: String, reason: String) -> Result<Message> {
    let mark = Redaction { by, reason, at: work.now() };
    let now = work.now();
    let written = serde_json::to_value(&mark).map_err(storage::Error::from)?;
    if !finding::redact(work.conn(), id, &written, now).await? {
        return Err(missing(id));
    }
    work.wake(Topic::Events);
    work.wake(Topic::Media);
    let mut message = archive::reading::messages(context, &[id]).await?.remove(&id).ok_or_else(|| missing(id))?;
    message.document = message.document.redacted(mark);
    message.content = message.document.content.clone();
    message.row.media = message.row.media.map(|(_, size)| ("redacted".to_owned(), size));
    Ok(message)
}

/// What is said of a conversation in the archive.
pub(super) fn archived(name: &str) -> Error {
    let message = format!("{name} is in the archive: nothing of it changes any more");
    Error::WrongState { reason: "STATE_WRONG", message }
}

/// What is said of a conversation that is over.
pub(super) fn closed(name: &str) -> Error {
    Error::WrongState { reason: "STATE_WRONG", message: format!("{name} is closed: nothing is added to it any more") }
}
