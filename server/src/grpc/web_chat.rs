//! `WebChatService`: one function an RPC.

use futures::stream;
use prost::Message;
use proto::v1::{self, web_chat_service_server::WebChatService};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{
    convert::{self, web_chat as convert_chat},
    idempotent::{write, writes},
    stream::{ResponseStream, bounded},
};
use crate::services::{
    Context,
    web_chat::{self, Ears, Stream},
};

writes! {
    StartWebChatSessionRequest,
    EndWebChatSessionRequest,
}

/// See the module.
#[derive(Debug)]
pub struct WebChat {
    /// What use cases stand on.
    pub context: Context,
    /// What wakes the streams.
    pub ears: Ears,
    /// When streams end.
    pub shutdown: CancellationToken,
}

#[tonic::async_trait]
impl WebChatService for WebChat {
    type StreamMessagesStream = ResponseStream<v1::StreamWebChatMessagesResponse>;

    async fn start_session(
        &self,
        request: Request<v1::StartWebChatSessionRequest>,
    ) -> Result<Response<v1::WebChatSession>, Status> {
        write(&self.context, request, convert_chat::start, |context, work, new| {
            Box::pin(async move { Ok(convert_chat::session(web_chat::start(context, work, new).await?)) })
        })
        .await
    }

    async fn send_message(
        &self,
        request: Request<v1::SendWebChatMessageRequest>,
    ) -> Result<Response<v1::SendWebChatMessageResponse>, Status> {
        let request = request.into_inner();
        let body = request.encode_to_vec();
        let words = convert::read(&self.context, request, convert_chat::say)?;
        let is_new = web_chat::say(&self.context, words, &body).await?;
        Ok(Response::new(v1::SendWebChatMessageResponse { duplicate: !is_new }))
    }

    async fn stream_messages(
        &self,
        request: Request<v1::StreamWebChatMessagesRequest>,
    ) -> Result<Response<Self::StreamMessagesStream>, Status> {
        let (session, start) = convert::read(&self.context, request.get_ref().clone(), convert_chat::stream)?;
        let shown = Stream::begin(&self.context, &self.ears, session, start).await?;
        let items = stream::try_unfold(shown, |mut shown| async move {
            let item = shown.next().await?;
            Ok::<_, Status>(item.map(|item| (convert_chat::item(item), shown)))
        });
        Ok(Response::new(bounded(&request, &self.shutdown, items)))
    }

    async fn acknowledge_messages(
        &self,
        request: Request<v1::AcknowledgeWebChatMessagesRequest>,
    ) -> Result<Response<v1::AcknowledgeWebChatMessagesResponse>, Status> {
        let (session, deliveries, evidence) =
            convert::read(&self.context, request.into_inner(), convert_chat::acknowledge)?;
        let count = web_chat::acknowledge(&self.context, session, &deliveries, evidence).await?;
        let acknowledged_count = i32::try_from(count).unwrap_or(i32::MAX);
        Ok(Response::new(v1::AcknowledgeWebChatMessagesResponse { acknowledged_count }))
    }

    async fn set_typing(
        &self,
        request: Request<v1::SetWebChatTypingRequest>,
    ) -> Result<Response<v1::SetWebChatTypingResponse>, Status> {
        let (session, duration) =
            convert::read(&self.context, request.into_inner(), |r, f| convert_chat::typing(&r, f))?;
        web_chat::typing(&self.context, session, duration).await?;
        Ok(Response::new(v1::SetWebChatTypingResponse {}))
    }

    async fn end_session(
        &self,
        request: Request<v1::EndWebChatSessionRequest>,
    ) -> Result<Response<v1::WebChatSession>, Status> {
        write(&self.context, request, convert_chat::end, |context, work, (session, reason)| {
            Box::pin(async move { Ok(convert_chat::session(web_chat::end(context, work, session, &reason).await?)) })
        })
        .await
    }
}
