//! `EventService`: one function an RPC.

use futures::stream;
use proto::v1::{self, event_service_server::EventService};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{
    convert::{self, event},
    stream::{ResponseStream, bounded},
};
use crate::services::{
    Context,
    events::{self, Feed, Subscription},
};

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
}
