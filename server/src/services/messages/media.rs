//! The files of messages: fetched from their provider soon after the message is stored, since its links are short-lived, and kept
//! in the file store by their content. What cannot be had now is tried again; [`domain::message::media`] says when and how long.

use std::sync::Arc;

pub use domain::message::media::Rules;
use domain::message::{Content, media as rules};
use futures::stream::BoxStream;
use uuid::Uuid;

use super::missing;
use crate::{
    blobs::{self, Key},
    channels::{Connector, FetchError, Fetched},
    services::{Context, Error, Result},
    storage::{
        Conn,
        messages::media::{self, MediaRow, Waiting},
    },
};

/// The area of the file store in which the files of messages lie.
pub const AREA: &str = "media";
/// How many files are fetched at once: so many are held in memory.
const AT_ONCE: i64 = 4;
/// How long a file is held by the one who fetches it, in seconds: longer than two calls take.
const LEASE_SECS: f64 = 180.0;
/// How many contents are removed in one pass.
const REMOVED_AT_ONCE: i64 = 100;

/// Notes that the file of a message that came in is to be fetched, where it has one. Says whether it has.
///
/// # Errors
/// What storage says.
pub async fn want(conn: &mut Conn, message: Uuid, brought_by: (i32, Option<i32>), content: &Content) -> Result<bool> {
    let (reference, mime_type) = match content {
        Content::Media { reference, mime_type, .. } => (reference.as_str(), mime_type.as_str()),
        Content::CallEvent { recording: Some(recording), .. } => (recording.as_str(), "audio/mpeg"),
        _ => return Ok(false),
    };
    media::want(conn, message, brought_by, (reference, mime_type)).await?;
    Ok(true)
}

/// Fetches what is due, and removes what was redacted. Says whether there may be more.
///
/// # Errors
/// What storage or the file store says; what was taken is tried again when its lease is over.
pub async fn pass(context: &Context) -> Result<bool> {
    remove_redacted(context).await?;
    let due = media::take(&mut *context.side.conn().await?, AT_ONCE, LEASE_SECS).await?;
    let more = i64::try_from(due.len()).is_ok_and(|taken| taken == AT_ONCE);
    let fetched = futures::future::join_all(due.iter().map(|file| one(context, file))).await;
    fetched.into_iter().collect::<Result<Vec<()>>>()?;
    Ok(more)
}

async fn one(context: &Context, file: &Waiting) -> Result<()> {
    match fetch(context, file).await {
        Ok(fetched) => keep(context, file, fetched).await,
        Err(error) => give_up_or_wait(context, file, &error).await,
    }
}

async fn fetch(context: &Context, file: &Waiting) -> std::result::Result<Fetched, FetchError> {
    let rules = &context.settings.media;
    // What is declared may be empty; what is fetched is looked at again.
    if !file.mime_type.is_empty() && !rules.allows(&file.mime_type) {
        return Err(refused(&file.mime_type));
    }
    let connector = connector(context, file).await?;
    let fetched = connector.fetch_media(&file.reference, rules.max_bytes).await?;
    let is_vague = matches!(rules::essence(&fetched.mime_type).as_str(), "" | "application/octet-stream");
    let mime_type = if is_vague { file.mime_type.clone() } else { fetched.mime_type };
    match rules.allows(&mime_type) {
        true => Ok(Fetched { mime_type: rules::essence(&mime_type), ..fetched }),
        false => Err(refused(&mime_type)),
    }
}

fn refused(mime_type: &str) -> FetchError {
    FetchError::Never(format!("files of type {:?} are not copied", rules::essence(mime_type)))
}

/// The connector of the provider that brought the message; where that is gone or not known, the first of its channel.
async fn connector(context: &Context, file: &Waiting) -> std::result::Result<Arc<dyn Connector>, FetchError> {
    let later = |words: &str| FetchError::Later(words.to_owned());
    let snapshot = context.directory.snapshot(&context.side).await;
    let snapshot = snapshot.map_err(|_| later("the channels cannot be read"))?;
    let channel = snapshot.channel(file.channel_id).ok_or_else(|| later("the channel is gone"))?;
    let brought = channel.providers.iter().filter(|p| Some(p.row.id) == file.provider_id);
    let usable = brought.chain(&channel.providers).find_map(|p| p.connector.as_ref().ok());
    usable.map(Arc::clone).ok_or_else(|| later("the channel's provider cannot be used as it is set up"))
}

/// First the file, then the row that refers to it; nobody removes the content meanwhile.
async fn keep(context: &Context, file: &Waiting, fetched: Fetched) -> Result<()> {
    let (sha256, size) = (blobs::sha256(&fetched.bytes), i64::try_from(fetched.bytes.len()).unwrap_or(i64::MAX));
    let mut tx = context.lists.begin().await?;
    media::lock_content(&mut tx, &sha256).await?;
    let key = match context.blobs.put(AREA, "", fetched.bytes).await {
        Ok(key) => key,
        Err(error) => {
            drop(tx);
            tracing::warn!(error = %error, "a file could not be stored; it is tried again");
            return give_up_or_wait(context, file, &FetchError::Later(error.to_string())).await;
        }
    };
    let wanted = media::stored(&mut tx, file.message_id, &sha256, size, &fetched.mime_type).await?;
    if !wanted && !media::is_used(&mut tx, &sha256).await? {
        context.blobs.delete(&key).await?;
    }
    tx.commit().await.map_err(crate::storage::Error::from)?;
    Ok(())
}

async fn give_up_or_wait(context: &Context, file: &Waiting, error: &FetchError) -> Result<()> {
    let tries = u32::try_from(file.tries).unwrap_or(u32::MAX);
    let (state, again) = match (error, rules::pause_after(tries)) {
        (FetchError::Never(_), _) => ("refused", 0.0),
        (FetchError::Lost(_), _) | (FetchError::Later(_), None) => ("lost", 0.0),
        (FetchError::Later(_), Some(pause)) => ("waiting", pause.as_seconds_f64()),
    };
    if state != "waiting" {
        tracing::warn!(message.id = %file.message_id, state, problem = %error, "a file of a message was not copied");
    }
    let conn = &mut *context.side.conn().await?;
    media::not_stored(conn, file.message_id, state, &error.to_string(), again).await?;
    Ok(())
}

/// Removes the files of redacted messages that no other message has.
async fn remove_redacted(context: &Context) -> Result<()> {
    let contents = media::to_remove(&mut *context.side.conn().await?, REMOVED_AT_ONCE).await?;
    for sha256 in contents {
        let mut tx = context.lists.begin().await?;
        media::lock_content(&mut tx, &sha256).await?;
        if !media::is_used(&mut tx, &sha256).await? {
            context.blobs.delete(&Key::of(AREA, &sha256, "")).await?;
        }
        media::removed(&mut tx, &sha256).await?;
        tx.commit().await.map_err(crate::storage::Error::from)?;
    }
    Ok(())
}

/// A file that is handed out.
pub struct File {
    /// What it is.
    pub row: MediaRow,
    /// The name that its sender gave it.
    pub name: String,
    /// Its bytes.
    pub bytes: BoxStream<'static, blobs::Result<bytes::Bytes>>,
}

/// Opens the file of a message.
///
/// # Errors
/// [`Error::NotFound`] when the message has none; [`Error::WrongState`] while it is not stored, with the reason.
pub async fn open(context: &Context, message: Uuid) -> Result<File> {
    let found = super::get(context, message).await?;
    let row = media::of(&mut *context.lists.conn().await?, message).await?;
    let row = row.ok_or_else(|| Error::NotFound(format!("the file of messages/{message}")))?;
    let wrong = |why: String| Error::WrongState { reason: "STATE_WRONG", message: why };
    let sha256 = match (row.state.as_str(), &row.sha256) {
        ("stored", Some(sha256)) => sha256.clone(),
        ("waiting", _) => {
            let why = row.problem.as_deref().map(|problem| format!(" ({problem})")).unwrap_or_default();
            return Err(wrong(format!("the file of messages/{message} is not fetched yet{why}: ask again later")));
        }
        (state, _) => {
            let why = row.problem.as_deref().unwrap_or("its words were taken away, and the file with them");
            return Err(wrong(format!("the file of messages/{message} is not kept: {state}, {why}")));
        }
    };
    let name = match found.content {
        Content::Media { file_name, .. } => file_name.unwrap_or_default(),
        _ => String::new(),
    };
    match context.blobs.get(&Key::of(AREA, &sha256, "")).await {
        Ok(bytes) => Ok(File { row, name, bytes }),
        Err(blobs::Error::NotFound(_)) => {
            tracing::error!(message.id = %message, "a file that was stored is not in the file store");
            Err(missing(message))
        }
        Err(error) => Err(error.into()),
    }
}
