//! The streams that the service hands out, each item made when it is asked for.

use std::time::Duration;

use futures::{Stream, StreamExt, TryStreamExt, stream};
use proto::v1;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tonic::Status;
use uuid::Uuid;

use crate::{
    grpc::convert::past,
    services::{
        self,
        messages::{Message, media::File, typing::Sign},
    },
};

/// How often a stream on which nothing happens says that it is alive.
const CHECKPOINT: Duration = Duration::from_secs(15);
/// The biggest part of a file.
const PART: usize = 256 * 1024;

/// Who types. A watcher that reads slowly misses the oldest signs: they were over anyway.
pub(super) fn typing(
    signs: Receiver<Sign>,
    only: Option<Uuid>,
) -> impl Stream<Item = Result<v1::WatchTypingResponse, Status>> + Send {
    stream::unfold(signs, move |mut signs| async move {
        loop {
            match tokio::time::timeout(CHECKPOINT, signs.recv()).await {
                Err(_) => return Some((Ok(v1::WatchTypingResponse::default()), signs)),
                Ok(Err(RecvError::Closed)) => return None,
                Ok(Err(RecvError::Lagged(_))) => {}
                Ok(Ok(sign)) if only.is_some_and(|only| only != sign.conversation) => {}
                Ok(Ok(sign)) => {
                    let response = v1::WatchTypingResponse {
                        conversation: format!("conversations/{}", sign.conversation),
                        author: sign.author,
                        typing: sign.typing,
                    };
                    return Some((Ok(response), signs));
                }
            }
        }
    })
}

/// What a file is, and then its bytes.
pub(super) fn file(file: File) -> impl Stream<Item = Result<v1::GetMediaResponse, Status>> + Send {
    let info = v1::get_media_response::Info {
        mime_type: file.row.mime_type,
        size_bytes: file.row.size.unwrap_or_default(),
        sha256: file.row.sha256.unwrap_or_default(),
        file_name: file.name,
    };
    let first = v1::GetMediaResponse { info: Some(info), data: Vec::new() };
    let cut = |bytes: bytes::Bytes| {
        let parts: Vec<_> = bytes.chunks(PART).map(|part| Ok(part.to_vec())).collect();
        stream::iter(parts)
    };
    let bytes = file.bytes.map_err(|error| Status::from(services::Error::from(error)));
    let parts = bytes.map_ok(cut).try_flatten().map_ok(|data| v1::GetMediaResponse { info: None, data });
    stream::iter([Ok(first)]).chain(parts)
}

/// Pages of messages with their documents.
pub(super) fn export(
    pages: impl Stream<Item = services::Result<Vec<Message>>> + Send,
) -> impl Stream<Item = Result<v1::ExportMessagesResponse, Status>> + Send {
    pages.map(|page| page.map(past::exported).map_err(Status::from))
}
