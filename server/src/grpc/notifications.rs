//! `NotificationService`: one function an RPC.

use futures::stream;
use proto::v1::{
    self, batch_send_notifications_result::Result as BatchResult, notification_service_server::NotificationService,
    watch_notification_response::Update as Said,
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};
use uuid::Uuid;

use super::{
    convert::{self, event, notification, sending as asked},
    idempotent::{write, writes},
    page::{Page, paged},
    stream::{ResponseStream, bounded},
};
use crate::services::{
    Context, Error, Violation,
    events::Feed,
    history::{
        self,
        watch::{Update, Watch},
    },
    sending,
};

writes! {
    SendNotificationRequest dry,
    BatchSendNotificationsRequest dry,
    CancelNotificationRequest,
}
paged! { ListNotificationsRequest }

/// The most notifications of a batch.
const MAX_BATCH: usize = 1000;

/// See the module.
#[derive(Debug)]
pub struct Notifications {
    /// What use cases stand on.
    pub context: Context,
    /// What happens, for who watches.
    pub feed: Feed,
    /// When streams end.
    pub shutdown: CancellationToken,
}

#[tonic::async_trait]
impl NotificationService for Notifications {
    type WatchNotificationStream = ResponseStream<v1::WatchNotificationResponse>;

    async fn send_notification(
        &self,
        request: Request<v1::SendNotificationRequest>,
    ) -> Result<Response<v1::Notification>, Status> {
        let now = self.context.clock.now();
        let read = move |r, f: &mut _| asked::draft(r, domain::channel::Lane::Interactive, now, f);
        write(&self.context, request, read, |context, work, draft| {
            Box::pin(async move { Ok(notification::basic(&sending::send(context, work, draft).await?)) })
        })
        .await
    }

    async fn batch_send_notifications(
        &self,
        request: Request<v1::BatchSendNotificationsRequest>,
    ) -> Result<Response<v1::BatchSendNotificationsResponse>, Status> {
        if request.get_ref().requests.len() > MAX_BATCH {
            return Err(Error::BatchTooLarge { limit: MAX_BATCH }.into());
        }
        let now = self.context.clock.now();
        write(
            &self.context,
            request,
            move |r, f| asked::drafts(r, now, f),
            |context, work, (drafts, allow_partial)| {
                Box::pin(async move {
                    let sent = sending::send_batch(context, work, drafts, allow_partial).await?;
                    Ok(v1::BatchSendNotificationsResponse { results: sent.into_iter().map(result).collect() })
                })
            },
        )
        .await
    }

    async fn get_notification(
        &self,
        request: Request<v1::GetNotificationRequest>,
    ) -> Result<Response<v1::Notification>, Status> {
        let (id, full) =
            convert::read(&self.context, request.into_inner(), |r, f| notification::get(&r.name, r.view, f))?;
        Ok(Response::new(match full {
            true => notification::full(history::get_full(&self.context, id).await?),
            false => notification::basic(&history::get(&self.context, id).await?),
        }))
    }

    async fn list_notifications(
        &self,
        request: Request<v1::ListNotificationsRequest>,
    ) -> Result<Response<v1::ListNotificationsResponse>, Status> {
        let (page, wanted) = convert::read(&self.context, request.into_inner(), |r, f| {
            (Page::<Uuid>::open(&r, f), notification::wanted(&r, f))
        })?;
        let page = page?;
        let wanted = history::Wanted { before: page.after, ..wanted };
        let found = history::list(&self.context, &wanted, page.limit()).await?;
        let (found, next_page_token) = page.close(found, |n| n.row.id);
        let notifications = found.iter().map(notification::basic).collect();
        Ok(Response::new(v1::ListNotificationsResponse { notifications, next_page_token }))
    }

    async fn cancel_notification(
        &self,
        request: Request<v1::CancelNotificationRequest>,
    ) -> Result<Response<v1::Notification>, Status> {
        write(&self.context, request, asked::cancel, |context, work, (id, etag)| {
            Box::pin(async move { Ok(notification::basic(&sending::cancel(context, work, id, &etag).await?)) })
        })
        .await
    }

    async fn watch_notification(
        &self,
        request: Request<v1::WatchNotificationRequest>,
    ) -> Result<Response<Self::WatchNotificationStream>, Status> {
        let (id, full) = convert::read(&self.context, request.get_ref(), |r, f| notification::get(&r.name, r.view, f))?;
        history::get(&self.context, id).await?;
        let watch = Watch::begin(&self.feed, &self.context, id, request.get_ref().keep_open).await?;
        let clock = self.context.clock.clone();
        let updates = stream::try_unfold(watch, move |mut watch| {
            let clock = clock.clone();
            async move {
                let Some(update) = watch.next().await? else { return Ok::<_, Status>(None) };
                let said = match update {
                    Update::Notification(now) if full => Said::Notification(notification::full(*now)),
                    Update::Notification(now) => Said::Notification(notification::basic(&now.notification)),
                    Update::Checkpoint(position) => Said::Checkpoint(event::checkpoint(position, clock.now())),
                };
                Ok(Some((v1::WatchNotificationResponse { update: Some(said) }, watch)))
            }
        });
        Ok(Response::new(bounded(&request, &self.shutdown, updates)))
    }
}

fn result(sent: sending::Sent) -> v1::BatchSendNotificationsResult {
    let result = match sent {
        Ok(sent) => BatchResult::Notification(notification::basic(&sent)),
        Err(violations) => BatchResult::Error(refused(violations)),
    };
    v1::BatchSendNotificationsResult { result: Some(result) }
}

/// The same reason and code that the entry alone would have had.
fn refused(violations: Vec<Violation>) -> v1::BatchError {
    let first = violations.first().map_or(crate::services::error::FIELD_INVALID, |v| v.reason);
    let common = violations.iter().all(|v| v.reason == first);
    let reason = if common { first } else { crate::services::error::FIELD_INVALID };
    let precondition = violations.len() == 1 && reason == sending::way::REFERENCE_NOT_FOUND;
    let code = if precondition { Code::FailedPrecondition } else { Code::InvalidArgument };
    let problem = |violation: Violation| v1::Problem {
        severity: v1::problem::Severity::Error.into(),
        field: violation.field,
        reason: violation.reason.to_owned(),
        description: violation.description,
    };
    v1::BatchError {
        code: code.into(),
        reason: reason.to_owned(),
        problems: violations.into_iter().map(problem).collect(),
    }
}
