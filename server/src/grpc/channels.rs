//! `ChannelService`: one function an RPC.

use proto::v1::{self, channel_service_server::ChannelService};
use tonic::{Request, Response, Status};

use super::{
    convert::{self, Faults, channel, common},
    idempotent::{write, writes},
    page::{Page, paged},
};
use crate::{
    channels::registry,
    services::{
        Context,
        channels::{self, Channel, health},
    },
};

writes! {
    CreateChannelRequest dry,
    UpdateChannelRequest dry,
    DeleteChannelRequest,
    EnableChannelRequest,
    DisableChannelRequest,
}
paged! { ListChannelsRequest, ListConnectorsRequest }

/// See the module.
#[derive(Debug)]
pub struct Channels {
    /// What use cases stand on.
    pub context: Context,
}

fn name(value: &str, faults: &mut Faults) -> String {
    faults.name("name", "channels", value)
}

fn message(context: &Context, channel: Channel) -> v1::Channel {
    channel::message(channel, &context.settings.public_url)
}

#[tonic::async_trait]
impl ChannelService for Channels {
    async fn create_channel(
        &self,
        request: Request<v1::CreateChannelRequest>,
    ) -> Result<Response<v1::Channel>, Status> {
        write(&self.context, request, channel::create, |context, work, new| {
            Box::pin(async move { Ok(message(context, channels::create(context, work, new).await?)) })
        })
        .await
    }

    async fn get_channel(&self, request: Request<v1::GetChannelRequest>) -> Result<Response<v1::Channel>, Status> {
        let slug = convert::read(&self.context, request.into_inner(), |r, f| name(&r.name, f))?;
        Ok(Response::new(message(&self.context, channels::get(&self.context, &slug).await?)))
    }

    async fn list_channels(
        &self,
        request: Request<v1::ListChannelsRequest>,
    ) -> Result<Response<v1::ListChannelsResponse>, Status> {
        let (page, channel_type) = convert::read(&self.context, request.into_inner(), |r, f| {
            (Page::<String>::open(&r, f), f.optional_code("channel_type", r.channel_type, common::channel_type))
        })?;
        let page = page?;
        let after = page.after.clone().unwrap_or_default();
        let found = channels::list(&self.context, channel_type, &after, page.limit()).await?;
        let (found, next_page_token) = page.close(found, |channel| channel.row.slug.clone());
        let channels = found.into_iter().map(|channel| message(&self.context, channel)).collect();
        Ok(Response::new(v1::ListChannelsResponse { channels, next_page_token }))
    }

    async fn update_channel(
        &self,
        request: Request<v1::UpdateChannelRequest>,
    ) -> Result<Response<v1::Channel>, Status> {
        write(&self.context, request, channel::update, |context, work, (slug, change, etag)| {
            Box::pin(async move { Ok(message(context, channels::update(context, work, &slug, change, &etag).await?)) })
        })
        .await
    }

    async fn delete_channel(&self, request: Request<v1::DeleteChannelRequest>) -> Result<Response<()>, Status> {
        write(
            &self.context,
            request,
            |r, f| (name(&r.name, f), r.etag),
            |_, work, (slug, etag)| Box::pin(async move { channels::delete(work, &slug, &etag).await }),
        )
        .await
    }

    async fn enable_channel(
        &self,
        request: Request<v1::EnableChannelRequest>,
    ) -> Result<Response<v1::Channel>, Status> {
        write(
            &self.context,
            request,
            |r, f| (name(&r.name, f), r.etag),
            |context, work, (slug, etag)| {
                Box::pin(async move { Ok(message(context, channels::enable(context, work, &slug, &etag).await?)) })
            },
        )
        .await
    }

    async fn disable_channel(
        &self,
        request: Request<v1::DisableChannelRequest>,
    ) -> Result<Response<v1::Channel>, Status> {
        write(
            &self.context,
            request,
            |r, f| (name(&r.name, f), r.etag),
            |context, work, (slug, etag)| {
                Box::pin(async move { Ok(message(context, channels::disable(work, &slug, &etag).await?)) })
            },
        )
        .await
    }

    async fn list_connectors(
        &self,
        request: Request<v1::ListConnectorsRequest>,
    ) -> Result<Response<v1::ListConnectorsResponse>, Status> {
        let (page, channel_type) = convert::read(&self.context, request.into_inner(), |r, f| {
            (Page::<String>::open(&r, f), f.optional_code("channel_type", r.channel_type, common::channel_type))
        })?;
        let (page, after) = (page?, |name: &str, last: &Option<String>| last.as_deref().is_none_or(|last| name > last));
        let mut kinds: Vec<_> = registry::KINDS.iter().collect();
        kinds.retain(|k| channel_type.is_none_or(|t| k.serves(t)) && after(k.name, &page.after));
        kinds.sort_by_key(|k| k.name);
        let (kinds, next_page_token) = page.close(kinds, |kind| kind.name.to_owned());
        let connectors = kinds.into_iter().map(channel::connector).collect();
        Ok(Response::new(v1::ListConnectorsResponse { connectors, next_page_token }))
    }

    async fn check_channel(
        &self,
        request: Request<v1::CheckChannelRequest>,
    ) -> Result<Response<v1::CheckChannelResponse>, Status> {
        let slug = convert::read(&self.context, request.into_inner(), |r, f| name(&r.name, f))?;
        Ok(Response::new(channel::checked(health::check(&self.context, &slug).await?)))
    }

    async fn get_channel_health(
        &self,
        request: Request<v1::GetChannelHealthRequest>,
    ) -> Result<Response<v1::ChannelHealth>, Status> {
        let slug = convert::read(&self.context, request.into_inner(), |r, f| name(&r.name, f))?;
        Ok(Response::new(channel::health(health::health(&self.context, &slug).await?)))
    }
}
