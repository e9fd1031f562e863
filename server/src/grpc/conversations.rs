//! `ConversationService`: one function an RPC.

use chrono::{DateTime, Utc};
use proto::v1::{self, conversation_service_server::ConversationService};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{
    convert::{self, message, sending},
    page::{Page, paged},
};
use crate::services::{
    Context,
    conversations::{self, Span},
};

paged! { ListConversationsRequest, ListActivitiesRequest }

/// See the module.
#[derive(Debug)]
pub struct Conversations {
    /// What use cases stand on.
    pub context: Context,
}

#[tonic::async_trait]
impl ConversationService for Conversations {
    async fn get_conversation(
        &self,
        request: Request<v1::GetConversationRequest>,
    ) -> Result<Response<v1::Conversation>, Status> {
        let read = |r: v1::GetConversationRequest, f: &mut _| sending::uuid_name("name", "conversations", &r.name, f);
        let id = convert::read(&self.context, request.into_inner(), read)?;
        Ok(Response::new(message::conversation(conversations::get(&self.context, id).await?)))
    }

    async fn list_conversations(
        &self,
        request: Request<v1::ListConversationsRequest>,
    ) -> Result<Response<v1::ListConversationsResponse>, Status> {
        let (page, wanted) = convert::read(&self.context, request.into_inner(), |r, f| {
            let page = Page::<(DateTime<Utc>, Uuid)>::open(&r, f);
            let before = page.as_ref().ok().and_then(|page| page.after);
            (page, message::wanted_conversations(&r, before, f))
        })?;
        let page = page?;
        let found = conversations::list(&self.context, &wanted, page.limit()).await?;
        let (found, next_page_token) = page.close(found, |c| (c.changed_at, c.id));
        let conversations = found.into_iter().map(message::conversation).collect();
        Ok(Response::new(v1::ListConversationsResponse { conversations, next_page_token }))
    }

    async fn list_activities(
        &self,
        request: Request<v1::ListActivitiesRequest>,
    ) -> Result<Response<v1::ListActivitiesResponse>, Status> {
        let (page, id, newest_first) = convert::read(&self.context, request.into_inner(), |r, f| {
            (Page::<i64>::open(&r, f), sending::uuid_name("parent", "conversations", &r.parent, f), r.newest_first)
        })?;
        let page = page?;
        let span = Span { after: page.after, newest_first, limit: page.limit() };
        let found = conversations::timeline(&self.context, id, span).await?;
        let (found, next_page_token) = page.close(found, |activity| activity.row.number);
        let activities = found.into_iter().map(message::activity).collect();
        Ok(Response::new(v1::ListActivitiesResponse { activities, next_page_token }))
    }
}
