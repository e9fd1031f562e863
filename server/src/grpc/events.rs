//! `EventService`: one function an RPC.

use futures::stream;
use proto::v1::{self, event_service_server::EventService};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{
    convert::{self, Faults, event, webhook},
    idempotent::{write, writes},
    page::{Page, paged},
    stream::{ResponseStream, bounded},
};
use crate::services::{
    Context,
    events::{self, Feed, Subscription},
    hooks,
};

writes! {
    CreateWebhookRequest dry,
    UpdateWebhookRequest dry,
    DeleteWebhookRequest,
    EnableWebhookRequest,
    DisableWebhookRequest,
    ReplayEventsRequest,
}
paged! { ListWebhooksRequest, ListDeadLettersRequest }

/// See the module.
#[derive(Debug)]
pub struct Events {
    /// What use cases stand on.
    pub context: Context,
    /// What happens.
    pub feed: Feed,
    /// When streams end.
    pub shutdown: CancellationToken,
}

fn name(value: &str, faults: &mut Faults) -> String {
    faults.name("name", "webhooks", value)
}

#[tonic::async_trait]
impl EventService for Events {
    type SubscribeStream = ResponseStream<v1::SubscribeResponse>;

    async fn subscribe(
        &self,
        request: Request<v1::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let (start, filter) = convert::read(&self.context, request.get_ref().clone(), event::subscribe)?;
        let subscription = Subscription::begin(&self.feed, start, filter).await?;
        let clock = self.context.clock.clone();
        let items = stream::try_unfold(subscription, move |mut subscription| {
            let clock = clock.clone();
            async move {
                let item = subscription.next().await?;
                Ok::<_, Status>(Some((event::item(item, clock.now()), subscription)))
            }
        });
        Ok(Response::new(bounded(&request, &self.shutdown, items)))
    }

    async fn get_event_cursor(
        &self,
        _request: Request<v1::GetEventCursorRequest>,
    ) -> Result<Response<v1::EventCursor>, Status> {
        Ok(Response::new(event::bounds(events::bounds(&self.context).await?)))
    }

    async fn create_webhook(
        &self,
        request: Request<v1::CreateWebhookRequest>,
    ) -> Result<Response<v1::Webhook>, Status> {
        write(&self.context, request, webhook::create, |context, work, new| {
            Box::pin(async move { Ok(webhook::message(hooks::create(context, work, new).await?)) })
        })
        .await
    }

    async fn get_webhook(&self, request: Request<v1::GetWebhookRequest>) -> Result<Response<v1::Webhook>, Status> {
        let slug = convert::read(&self.context, request.into_inner(), |r, f| name(&r.name, f))?;
        Ok(Response::new(webhook::message(hooks::get(&self.context, &slug).await?)))
    }

    async fn list_webhooks(
        &self,
        request: Request<v1::ListWebhooksRequest>,
    ) -> Result<Response<v1::ListWebhooksResponse>, Status> {
        let page = convert::read(&self.context, request.into_inner(), |r, f| Page::<String>::open(&r, f))??;
        let after = page.after.clone().unwrap_or_default();
        let found = hooks::list(&self.context, &after, page.limit()).await?;
        let (found, next_page_token) = page.close(found, |hook| hook.row.slug.clone());
        let webhooks = found.into_iter().map(webhook::message).collect();
        Ok(Response::new(v1::ListWebhooksResponse { webhooks, next_page_token }))
    }

    async fn update_webhook(
        &self,
        request: Request<v1::UpdateWebhookRequest>,
    ) -> Result<Response<v1::Webhook>, Status> {
        write(&self.context, request, webhook::update, |context, work, (slug, change, etag)| {
            Box::pin(async move { Ok(webhook::message(hooks::update(context, work, &slug, change, &etag).await?)) })
        })
        .await
    }

    async fn delete_webhook(&self, request: Request<v1::DeleteWebhookRequest>) -> Result<Response<()>, Status> {
        write(
            &self.context,
            request,
            |r, f| (name(&r.name, f), r.etag),
            |_, work, (slug, etag)| Box::pin(async move { hooks::delete(work, &slug, &etag).await }),
        )
        .await
    }

    async fn enable_webhook(
        &self,
        request: Request<v1::EnableWebhookRequest>,
    ) -> Result<Response<v1::Webhook>, Status> {
        write(
            &self.context,
            request,
            |r, f| (name(&r.name, f), r.etag),
            |_, work, (slug, etag)| {
                Box::pin(async move { Ok(webhook::message(hooks::enable(work, &slug, &etag).await?)) })
            },
        )
        .await
    }

    async fn disable_webhook(
        &self,
        request: Request<v1::DisableWebhookRequest>,
    ) -> Result<Response<v1::Webhook>, Status> {
        write(
            &self.context,
            request,
            |r, f| (name(&r.name, f), r.etag),
            |_, work, (slug, etag)| {
                Box::pin(async move { Ok(webhook::message(hooks::disable(work, &slug, &etag).await?)) })
            },
        )
        .await
    }

    async fn list_dead_letters(
        &self,
        request: Request<v1::ListDeadLettersRequest>,
    ) -> Result<Response<v1::ListDeadLettersResponse>, Status> {
        let (page, slug) = convert::read(&self.context, request.into_inner(), |r, f| {
            (Page::<i64>::open(&r, f), f.name("parent", "webhooks", &r.parent))
        })?;
        let page = page?;
        let below = page.after.unwrap_or(i64::MAX);
        let found = hooks::dead_letters(&self.context, &slug, below, page.limit()).await?;
        let (found, next_page_token) = page.close(found, |letter| letter.id);
        let dead_letters = found.into_iter().map(|letter| webhook::letter(&slug, letter)).collect();
        Ok(Response::new(v1::ListDeadLettersResponse { dead_letters, next_page_token }))
    }

    async fn replay_events(
        &self,
        request: Request<v1::ReplayEventsRequest>,
    ) -> Result<Response<v1::ReplayEventsResponse>, Status> {
        write(&self.context, request, webhook::replay, |_, work, (slug, replay)| {
            Box::pin(async move {
                let (hook, dead_letter_count) = hooks::replay(work, &slug, replay).await?;
                let dead_letter_count = i64::try_from(dead_letter_count).unwrap_or(i64::MAX);
                Ok(v1::ReplayEventsResponse { webhook: Some(webhook::message(hook)), dead_letter_count })
            })
        })
        .await
    }
}
