//! `ConversationService`: one function an RPC.

use chrono::{DateTime, Utc};
use futures::stream;
use proto::v1::{self, conversation_service_server::ConversationService};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{
    convert::{
        self, Faults, common, contact,
        conversation::{self, Asked},
        event, sending,
    },
    idempotent::{write, writes},
    page::{Page, paged},
    stream::{ResponseStream, bounded},
};
use crate::services::{
    Context, Error,
    conversations::{
        self, Span, verbs,
        watching::{Update, Watch, Watched},
        who,
    },
    events::{Feed, Start},
};

paged! { ListConversationsRequest, ListActivitiesRequest, ListParticipantsRequest, ListChannelSessionsRequest }
writes! {
    CreateConversationRequest,
    UpdateConversationRequest,
    CloseConversationRequest,
    ForceCloseConversationRequest,
    HoldConversationRequest,
    ResumeConversationRequest,
    SetActiveChannelRequest,
    MergeConversationsRequest,
    AddParticipantRequest,
    RemoveParticipantRequest,
    ChangeParticipantRoleRequest,
    EndChannelSessionRequest,
    CreateContactTokenRequest,
}

/// See the module.
#[derive(Debug)]
pub struct Conversations {
    /// What use cases stand on.
    pub context: Context,
    /// What happens.
    pub feed: Feed,
    /// When streams end.
    pub shutdown: CancellationToken,
}

fn name(value: &str, faults: &mut Faults) -> Uuid {
    sending::uuid_name("name", "conversations", value, faults)
}

/// A verb of one conversation: its name and etag, and what is done with them.
macro_rules! verb {
    ($self:ident, $request:ident, |$context:ident, $work:ident, $id:ident, $etag:ident| $done:expr) => {
        write(
            &$self.context,
            $request,
            |r, f| (name(&r.name, f), r.etag),
            |$context, $work, ($id, $etag)| Box::pin(async move { Ok(conversation::conversation($done.await?)) }),
        )
        .await
    };
}

impl Conversations {
    /// Follows conversations from a cursor, or with a snapshot.
    async fn watch<R, T: Send + 'static>(
        &self,
        request: &Request<R>,
        watched: Watched,
        start: Start,
        answer: fn(Update, DateTime<Utc>) -> T,
    ) -> Result<Response<ResponseStream<T>>, Status> {
        let watch = Watch::begin(&self.feed, &self.context, watched, start).await?;
        let clock = self.context.clock.clone();
        let items = stream::try_unfold(watch, move |mut watch| {
            let clock = clock.clone();
            async move {
                let update = watch.next().await?;
                Ok::<_, Status>(Some((answer(update, clock.now()), watch)))
            }
        });
        Ok(Response::new(bounded(request, &self.shutdown, items)))
    }
}

#[tonic::async_trait]
impl ConversationService for Conversations {
    type WatchConversationStream = ResponseStream<v1::WatchConversationResponse>;
    type WatchConversationsStream = ResponseStream<v1::WatchConversationsResponse>;

    async fn get_conversation(
        &self,
        request: Request<v1::GetConversationRequest>,
    ) -> Result<Response<v1::Conversation>, Status> {
        let id = convert::read(&self.context, request.into_inner(), |r, f| name(&r.name, f))?;
        Ok(Response::new(conversation::conversation(conversations::get(&self.context, id).await?)))
    }

    async fn list_conversations(
        &self,
        request: Request<v1::ListConversationsRequest>,
    ) -> Result<Response<v1::ListConversationsResponse>, Status> {
        let (page, wanted) = convert::read(&self.context, request.into_inner(), |r, f| {
            let page = Page::<(DateTime<Utc>, Uuid)>::open(&r, f);
            let before = page.as_ref().ok().and_then(|page| page.after);
            let asked =
                Asked { contact: &r.contact, states: &r.states, labels: &r.labels, active_channel: &r.active_channel };
            (page, conversation::wanted(&asked, before, f))
        })?;
        let page = page?;
        let found = conversations::list(&self.context, &wanted, page.limit()).await?;
        let (found, next_page_token) = page.close(found, |c| (c.changed_at, c.id));
        let conversations = found.into_iter().map(conversation::conversation).collect();
        Ok(Response::new(v1::ListConversationsResponse { conversations, next_page_token }))
    }

    async fn count_conversations(
        &self,
        request: Request<v1::CountConversationsRequest>,
    ) -> Result<Response<v1::CountConversationsResponse>, Status> {
        let wanted = convert::read(&self.context, request.into_inner(), |r, f| {
            let asked =
                Asked { contact: &r.contact, states: &r.states, labels: &r.labels, active_channel: &r.active_channel };
            conversation::wanted(&asked, None, f)
        })?;
        let count = conversations::count(&self.context, &wanted).await?;
        Ok(Response::new(v1::CountConversationsResponse { count }))
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
        let activities = found.into_iter().map(conversation::activity).collect();
        Ok(Response::new(v1::ListActivitiesResponse { activities, next_page_token }))
    }

    async fn create_conversation(
        &self,
        request: Request<v1::CreateConversationRequest>,
    ) -> Result<Response<v1::Conversation>, Status> {
        write(&self.context, request, conversation::create, |context, work, new| {
            Box::pin(async move { Ok(conversation::conversation(verbs::create(context, work, new).await?)) })
        })
        .await
    }

    async fn update_conversation(
        &self,
        request: Request<v1::UpdateConversationRequest>,
    ) -> Result<Response<v1::Conversation>, Status> {
        write(&self.context, request, conversation::update, |_, work, (id, change, etag)| {
            Box::pin(async move { Ok(conversation::conversation(verbs::update(work, id, change, &etag).await?)) })
        })
        .await
    }

    async fn close_conversation(
        &self,
        request: Request<v1::CloseConversationRequest>,
    ) -> Result<Response<v1::Conversation>, Status> {
        verb!(self, request, |_context, work, id, etag| verbs::close(work, id, &etag))
    }

    async fn force_close_conversation(
        &self,
        request: Request<v1::ForceCloseConversationRequest>,
    ) -> Result<Response<v1::Conversation>, Status> {
        verb!(self, request, |_context, work, id, etag| verbs::force_close(work, id, &etag))
    }

    async fn hold_conversation(
        &self,
        request: Request<v1::HoldConversationRequest>,
    ) -> Result<Response<v1::Conversation>, Status> {
        verb!(self, request, |_context, work, id, etag| verbs::hold(work, id, &etag))
    }

    async fn resume_conversation(
        &self,
        request: Request<v1::ResumeConversationRequest>,
    ) -> Result<Response<v1::Conversation>, Status> {
        verb!(self, request, |context, work, id, etag| verbs::resume(context, work, id, &etag))
    }

    async fn set_active_channel(
        &self,
        request: Request<v1::SetActiveChannelRequest>,
    ) -> Result<Response<v1::Conversation>, Status> {
        write(
            &self.context,
            request,
            |r, f| (name(&r.name, f), f.name("channel", "channels", &r.channel), r.etag),
            |context, work, (id, channel, etag)| {
                Box::pin(async move {
                    let set = verbs::set_active_channel(context, work, id, &channel, &etag).await?;
                    Ok(conversation::conversation(set))
                })
            },
        )
        .await
    }

    async fn merge_conversations(
        &self,
        request: Request<v1::MergeConversationsRequest>,
    ) -> Result<Response<v1::Conversation>, Status> {
        write(
            &self.context,
            request,
            |r, f| (name(&r.name, f), sending::uuid_name("other", "conversations", &r.other, f)),
            |_, work, (one, other)| {
                Box::pin(async move { Ok(conversation::conversation(verbs::merge(work, one, other).await?)) })
            },
        )
        .await
    }

    async fn add_participant(
        &self,
        request: Request<v1::AddParticipantRequest>,
    ) -> Result<Response<v1::Participant>, Status> {
        write(&self.context, request, conversation::join, |_, work, (id, who)| {
            Box::pin(async move {
                let who = who.ok_or_else(|| Error::Invalid(Vec::new()))?;
                Ok(conversation::participant(verbs::add_participant(work, id, &who).await?))
            })
        })
        .await
    }

    async fn remove_participant(
        &self,
        request: Request<v1::RemoveParticipantRequest>,
    ) -> Result<Response<v1::Participant>, Status> {
        write(
            &self.context,
            request,
            |r, f| (sending::uuid_name("name", "participants", &r.name, f), f.text("reason", r.reason, 200)),
            |context, work, (id, reason)| {
                Box::pin(async move {
                    let reason = if reason.is_empty() { "REMOVED" } else { &reason };
                    Ok(conversation::participant(verbs::remove_participant(context, work, id, reason).await?))
                })
            },
        )
        .await
    }

    async fn change_participant_role(
        &self,
        request: Request<v1::ChangeParticipantRoleRequest>,
    ) -> Result<Response<v1::Participant>, Status> {
        write(
            &self.context,
            request,
            |r, f| {
                let id = sending::uuid_name("name", "participants", &r.name, f);
                (id, f.code("role", r.role, conversation::role))
            },
            |context, work, (id, role)| {
                Box::pin(async move {
                    let role = role.ok_or_else(|| Error::Invalid(Vec::new()))?;
                    Ok(conversation::participant(verbs::change_role(context, work, id, role).await?))
                })
            },
        )
        .await
    }

    async fn list_participants(
        &self,
        request: Request<v1::ListParticipantsRequest>,
    ) -> Result<Response<v1::ListParticipantsResponse>, Status> {
        let (page, id, present) = convert::read(&self.context, request.into_inner(), |r, f| {
            (Page::<Uuid>::open(&r, f), sending::uuid_name("parent", "conversations", &r.parent, f), r.present_only)
        })?;
        let page = page?;
        let after = page.after.unwrap_or_default();
        let found = conversations::list_participants(&self.context, id, present, after, page.limit()).await?;
        let (found, next_page_token) = page.close(found, |p| p.id);
        let participants = found.into_iter().map(conversation::participant).collect();
        Ok(Response::new(v1::ListParticipantsResponse { participants, next_page_token }))
    }

    async fn get_channel_session(
        &self,
        request: Request<v1::GetChannelSessionRequest>,
    ) -> Result<Response<v1::ChannelSession>, Status> {
        let read =
            |r: v1::GetChannelSessionRequest, f: &mut _| sending::uuid_name("name", "channelSessions", &r.name, f);
        let id = convert::read(&self.context, request.into_inner(), read)?;
        let snapshot = self.context.directory.snapshot(&self.context.side).await?;
        Ok(Response::new(conversation::session(conversations::get_session(&self.context, id).await?, &snapshot)))
    }

    async fn list_channel_sessions(
        &self,
        request: Request<v1::ListChannelSessionsRequest>,
    ) -> Result<Response<v1::ListChannelSessionsResponse>, Status> {
        let (page, id, open) = convert::read(&self.context, request.into_inner(), |r, f| {
            (Page::<Uuid>::open(&r, f), sending::uuid_name("parent", "conversations", &r.parent, f), r.open_only)
        })?;
        let page = page?;
        let after = page.after.unwrap_or_default();
        let found = conversations::list_sessions(&self.context, id, open, after, page.limit()).await?;
        let (found, next_page_token) = page.close(found, |s| s.id);
        let snapshot = self.context.directory.snapshot(&self.context.side).await?;
        let channel_sessions = found.into_iter().map(|row| conversation::session(row, &snapshot)).collect();
        Ok(Response::new(v1::ListChannelSessionsResponse { channel_sessions, next_page_token }))
    }

    async fn end_channel_session(
        &self,
        request: Request<v1::EndChannelSessionRequest>,
    ) -> Result<Response<v1::ChannelSession>, Status> {
        write(&self.context, request, conversation::end_session, |context, work, (id, reason)| {
            Box::pin(async move {
                let ended = verbs::end_session(context, work, id, reason).await?;
                let snapshot = context.directory.snapshot(&context.side).await?;
                Ok(conversation::session(ended, &snapshot))
            })
        })
        .await
    }

    async fn create_contact_token(
        &self,
        request: Request<v1::CreateContactTokenRequest>,
    ) -> Result<Response<v1::ContactToken>, Status> {
        write(
            &self.context,
            request,
            |r, f| (contact::name("contact", &r.contact, f), conversation::valid_for(r.valid_for, f)),
            |_, work, (name, valid_for)| {
                Box::pin(async move {
                    let (token, expires_at) = who::token(work, &name, valid_for).await?;
                    Ok(v1::ContactToken { token, expire_time: Some(common::timestamp(expires_at)) })
                })
            },
        )
        .await
    }

    async fn watch_conversation(
        &self,
        request: Request<v1::WatchConversationRequest>,
    ) -> Result<Response<Self::WatchConversationStream>, Status> {
        let (id, start) = convert::read(&self.context, request.get_ref().clone(), |r, f| {
            (name(&r.name, f), event::start(&r.start_cursor, false, f))
        })?;
        self.watch(&request, Watched::One(id), start, conversation::update_of_one).await
    }

    async fn watch_conversations(
        &self,
        request: Request<v1::WatchConversationsRequest>,
    ) -> Result<Response<Self::WatchConversationsStream>, Status> {
        let (wanted, start) = convert::read(&self.context, request.get_ref().clone(), |r, f| {
            let asked =
                Asked { contact: &r.contact, states: &r.states, labels: &r.labels, active_channel: &r.active_channel };
            (conversation::wanted(&asked, None, f), event::start(&r.start_cursor, false, f))
        })?;
        self.watch(&request, Watched::Many(wanted), start, conversation::update_of_many).await
    }
}
