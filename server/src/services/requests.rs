//! Requests that may be repeated: the same id with the same content answers as the first time, for seven days.
//!
//! The record is written in the transaction of the write itself, so that there is never one without the other. Of two equal
//! requests at once the second waits for the first one's commit and then answers the same.

use uuid::Uuid;

use super::{Context, Error, Result, work::Work};
use crate::storage;

/// Who writes, as long as there are no API keys.
pub const ANONYMOUS: &str = "anonymous";

/// What identifies a request.
#[derive(Debug, Clone, Copy)]
pub struct RequestKey<'a> {
    /// Chosen by the caller.
    pub id: Uuid,
    /// What was called.
    pub method: &'static str,
    /// Of the whole content.
    pub fingerprint: &'a [u8],
}

/// Takes the id for this request, or says what was answered before.
///
/// # Errors
/// [`Error::RequestIdReused`] when the id was used for something else.
pub async fn begin(work: &mut Work, key: RequestKey<'_>) -> Result<Option<Vec<u8>>> {
    if storage::requests::take(work.conn(), ANONYMOUS, key.id, key.method, key.fingerprint).await? {
        return Ok(None);
    }
    match storage::requests::find(work.conn(), ANONYMOUS, key.id).await? {
        Some(stored) if stored.method == key.method && stored.fingerprint == key.fingerprint => {
            Ok(Some(stored.response))
        }
        Some(_) => Err(Error::RequestIdReused),
        // It was forgotten between the two statements, which happens once in seven days at most: the caller repeats.
        None => Err(Error::Storage(storage::Error::Exists { constraint: "request".to_owned() })),
    }
}

/// Keeps what is answered.
///
/// # Errors
/// What storage says.
pub async fn finish(work: &mut Work, id: Uuid, response: &[u8]) -> Result<()> {
    Ok(storage::requests::finish(work.conn(), ANONYMOUS, id, response).await?)
}

/// Whether an id was answered before: for work that is done in more than one transaction and must know beforehand.
///
/// # Errors
/// What storage says.
pub async fn is_known(context: &Context, id: Uuid) -> Result<bool> {
    Ok(storage::requests::find(&mut *context.lists.conn().await?, ANONYMOUS, id).await?.is_some())
}
