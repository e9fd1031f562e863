//! `MessageService`: one function an RPC.

use proto::v1::{self, message_service_server::MessageService};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{
    convert::{self, message, sending},
    idempotent::{write, writes},
    page::{Page, paged},
};
use crate::services::{Context, Error, conversations::saying, messages};

paged! { ListMessagesRequest }
writes! { SendMessageRequest }

/// See the module.
#[derive(Debug)]
pub struct Messages {
    /// What use cases stand on.
    pub context: Context,
}

#[tonic::async_trait]
impl MessageService for Messages {
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

    async fn send_message(&self, request: Request<v1::SendMessageRequest>) -> Result<Response<v1::Message>, Status> {
        write(&self.context, request, message::draft, |context, work, draft| {
            Box::pin(async move {
                let draft = draft.ok_or_else(|| Error::Invalid(Vec::new()))?;
                Ok(message::message(saying::send(context, work, draft).await?))
            })
        })
        .await
    }
}
