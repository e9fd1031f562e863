//! `MessageService`: one function an RPC.

mod import;
mod streams;

use proto::v1::{self, message_service_server::MessageService};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

use super::{
    convert::{self, message, notification, past, sending},
    idempotent::{write, writes},
    page::{Page, paged},
    stream::{ResponseStream, bounded},
};
use crate::services::{
    Context, Error,
    conversations::saying,
    messages::{self, marks, typing, writing},
};

paged! { ListMessagesRequest, SearchMessagesRequest, ListReadMarksRequest, ListReceiptsRequest }
writes! { SendMessageRequest, RedactMessageRequest, CreateNoteRequest, MarkReadRequest, SetTypingRequest }

/// See the module.
#[derive(Debug)]
pub struct Messages {
    /// What use cases stand on.
    pub context: Context,
    /// Ends streams when the server stops.
    pub shutdown: CancellationToken,
}

#[tonic::async_trait]
impl MessageService for Messages {
    type WatchTypingStream = ResponseStream<v1::WatchTypingResponse>;
    type GetMediaStream = ResponseStream<v1::GetMediaResponse>;
    type ExportMessagesStream = ResponseStream<v1::ExportMessagesResponse>;

    async fn get_message(&self, request: Request<v1::GetMessageRequest>) -> Result<Response<v1::Message>, Status> {
        let read = |r: v1::GetMessageRequest, f: &mut _| sending::uuid_name("name", "messages", &r.name, f);
        let id = convert::read(&self.context, request.into_inner(), read)?;
        Ok(Response::new(message::message(messages::get(&self.context, id).await?)))
    }

    async fn list_messages(
        &self,
        request: Request<v1::ListMessagesRequest>,
    ) -> Result<Response<v1::ListMessagesResponse>, Status> {
        let (page, wanted) = convert::read(&self.context, request.into_inner(), |r, f| {
            (Page::<Uuid>::open(&r, f), message::wanted(&r, f))
        })?;
        let page = page?;
        let wanted = messages::Wanted { before: page.after, ..wanted };
        let found = messages::list(&self.context, &wanted, page.limit()).await?;
        let (found, next_page_token) = page.close(found, |m| m.row.id);
        let messages = found.into_iter().map(message::message).collect();
        Ok(Response::new(v1::ListMessagesResponse { messages, next_page_token }))
    }

    async fn search_messages(
        &self,
        request: Request<v1::SearchMessagesRequest>,
    ) -> Result<Response<v1::SearchMessagesResponse>, Status> {
        let (page, (search, wanted)) = convert::read(&self.context, request.into_inner(), |r, f| {
            (Page::<Uuid>::open(&r, f), past::search(&r, f))
        })?;
        let page = page?;
        let wanted = messages::Wanted { before: page.after, ..wanted };
        let found = messages::search(&self.context, &search, wanted, page.limit()).await?;
        let (found, next_page_token) = page.close(found, |m| m.row.id);
        let messages = found.into_iter().map(message::message).collect();
        Ok(Response::new(v1::SearchMessagesResponse { messages, next_page_token }))
    }

    async fn send_message(&self, request: Request<v1::SendMessageRequest>) -> Result<Response<v1::Message>, Status> {
        write(&self.context, request, message::draft, |context, work, draft| {
            Box::pin(async move {
                let draft = draft.ok_or_else(|| Error::Invalid(Vec::new()))?;
                Ok(message::message(saying::send(context, work, draft).await?))
            })
        })
        .await
    }

    async fn redact_message(
        &self,
        request: Request<v1::RedactMessageRequest>,
    ) -> Result<Response<v1::Message>, Status> {
        write(&self.context, request, past::redact, |context, work, (id, by, reason)| {
            Box::pin(async move { Ok(message::message(writing::redact(context, work, id, by, reason).await?)) })
        })
        .await
    }

    async fn create_note(&self, request: Request<v1::CreateNoteRequest>) -> Result<Response<v1::Message>, Status> {
        write(&self.context, request, past::note, |_, work, note| {
            Box::pin(async move { Ok(message::message(writing::create_note(work, note).await?)) })
        })
        .await
    }

    async fn mark_read(&self, request: Request<v1::MarkReadRequest>) -> Result<Response<v1::ReadMark>, Status> {
        write(&self.context, request, past::mark, |context, work, (conversation, message, reader)| {
            Box::pin(async move {
                let mark = marks::mark_read(context, work, conversation, message, &reader).await?;
                Ok(past::read_mark(mark))
            })
        })
        .await
    }

    async fn list_read_marks(
        &self,
        request: Request<v1::ListReadMarksRequest>,
    ) -> Result<Response<v1::ListReadMarksResponse>, Status> {
        let (page, id) = convert::read(&self.context, request.into_inner(), |r, f| {
            (Page::<String>::open(&r, f), sending::uuid_name("parent", "conversations", &r.parent, f))
        })?;
        let page = page?;
        let found = marks::list(&self.context, id, page.after.as_deref(), page.limit()).await?;
        let (found, next_page_token) = page.close(found, |mark| mark.reader.clone());
        let read_marks = found.into_iter().map(past::read_mark).collect();
        Ok(Response::new(v1::ListReadMarksResponse { read_marks, next_page_token }))
    }

    async fn set_typing(
        &self,
        request: Request<v1::SetTypingRequest>,
    ) -> Result<Response<v1::SetTypingResponse>, Status> {
        let said = request.get_ref().clone();
        let answer = write(&self.context, request, past::typing, |context, work, sign| {
            Box::pin(async move {
                typing::set(context, work, &sign).await?;
                Ok(v1::SetTypingResponse {})
            })
        })
        .await?;
        // Read once more for those who watch: it was found right, and is told after the commit.
        let sign = convert::read(&self.context, said, past::typing)?;
        typing::tell(&self.context, sign).await?;
        Ok(answer)
    }

    async fn watch_typing(
        &self,
        request: Request<v1::WatchTypingRequest>,
    ) -> Result<Response<Self::WatchTypingStream>, Status> {
        let read = |r: v1::WatchTypingRequest, f: &mut _| {
            sending::optional_uuid_name("conversation", "conversations", &r.conversation, f)
        };
        let only = convert::read(&self.context, request.get_ref().clone(), read)?;
        let signs = streams::typing(self.context.typing.watch(), only);
        Ok(Response::new(bounded(&request, &self.shutdown, signs)))
    }

    async fn list_receipts(
        &self,
        request: Request<v1::ListReceiptsRequest>,
    ) -> Result<Response<v1::ListReceiptsResponse>, Status> {
        let (page, id) = convert::read(&self.context, request.into_inner(), |r, f| {
            (Page::<marks::AfterReceipt>::open(&r, f), sending::uuid_name("parent", "messages", &r.parent, f))
        })?;
        let page = page?;
        let found = marks::receipts(&self.context, id, page.after.as_ref(), page.limit()).await?;
        let (found, next_page_token) = page.close(found, past::after_receipt);
        let receipts = found.into_iter().map(notification::receipt).collect();
        Ok(Response::new(v1::ListReceiptsResponse { receipts, next_page_token }))
    }

    async fn get_media(&self, request: Request<v1::GetMediaRequest>) -> Result<Response<Self::GetMediaStream>, Status> {
        let read = |r: v1::GetMediaRequest, f: &mut _| sending::uuid_name("name", "messages", &r.name, f);
        let id = convert::read(&self.context, request.get_ref().clone(), read)?;
        let file = messages::media::open(&self.context, id).await?;
        Ok(Response::new(bounded(&request, &self.shutdown, streams::file(file))))
    }

    async fn export_messages(
        &self,
        request: Request<v1::ExportMessagesRequest>,
    ) -> Result<Response<Self::ExportMessagesStream>, Status> {
        let wanted = convert::read(&self.context, request.get_ref().clone(), |r, f| past::export(&r, f))?;
        let pages = messages::export::pages(self.context.clone(), wanted);
        Ok(Response::new(bounded(&request, &self.shutdown, streams::export(pages))))
    }

    async fn import_messages(
        &self,
        request: Request<Streaming<v1::ImportMessagesRequest>>,
    ) -> Result<Response<v1::ImportMessagesResponse>, Status> {
        Ok(Response::new(import::import(&self.context, request.into_inner()).await?))
    }
}
