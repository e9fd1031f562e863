//! `CampaignService`: one function an RPC.

use std::time::Duration;

use futures::StreamExt;
use proto::v1::{self, campaign_service_server::CampaignService, watch_campaign_response::Update};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{
    convert::{self, Faults, campaign, common, progress as shown},
    idempotent::{write, writes},
    page::{Page, paged},
    stream::{ResponseStream, bounded},
};
use crate::services::{
    self, Context,
    campaigns::{self, progress, validating, verbs},
    work::Work,
};

writes! {
    CreateCampaignRequest dry,
    UpdateCampaignRequest dry,
    DeleteCampaignRequest,
    StartCampaignRequest,
    PauseCampaignRequest,
    ResumeCampaignRequest,
    CancelCampaignRequest,
}
paged! { ListCampaignsRequest, ListCampaignRecipientsRequest }

/// Progress is looked at, and sent, so often at most.
const WATCH_EVERY: Duration = Duration::from_millis(500);
/// A silent stream says so often that it is there.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(15);

/// See the module.
#[derive(Debug)]
pub struct Campaigns {
    /// What use cases stand on.
    pub context: Context,
    /// Ends streams when the server stops.
    pub shutdown: CancellationToken,
}

#[tonic::async_trait]
impl CampaignService for Campaigns {
    type ExportCampaignRecipientsStream = ResponseStream<v1::ExportCampaignRecipientsResponse>;
    type WatchCampaignStream = ResponseStream<v1::WatchCampaignResponse>;

    async fn create_campaign(
        &self,
        request: Request<v1::CreateCampaignRequest>,
    ) -> Result<Response<v1::Campaign>, Status> {
        write(&self.context, request, campaign::create, |context, work, new| {
            Box::pin(async move {
                campaigns::create(work, &new).await?;
                show(context, work, &new.slug).await
            })
        })
        .await
    }

    async fn get_campaign(&self, request: Request<v1::GetCampaignRequest>) -> Result<Response<v1::Campaign>, Status> {
        let slug = convert::read(&self.context, request.into_inner(), |r, f| name(&r.name, f))?;
        Ok(Response::new(campaign::message(progress::get(&self.context, &slug).await?)))
    }

    async fn list_campaigns(
        &self,
        request: Request<v1::ListCampaignsRequest>,
    ) -> Result<Response<v1::ListCampaignsResponse>, Status> {
        let (page, filter) = convert::read(&self.context, request.into_inner(), |r, f| {
            (Page::<i64>::open(&r, f), campaign::filter(&r.states, &r.trigger, f))
        })?;
        let page = page?;
        let found = campaigns::list(&self.context, &filter, page.after, page.limit()).await?;
        let (found, next_page_token) = page.close(found, |campaign| campaign.row.id);
        let found = progress::of(&self.context, found).await?;
        let campaigns = found.into_iter().map(campaign::message).collect();
        Ok(Response::new(v1::ListCampaignsResponse { campaigns, next_page_token }))
    }

    async fn update_campaign(
        &self,
        request: Request<v1::UpdateCampaignRequest>,
    ) -> Result<Response<v1::Campaign>, Status> {
        write(&self.context, request, campaign::update, |context, work, (slug, edit, etag)| {
            Box::pin(async move {
                let standing = campaigns::standing(work, &slug).await?;
                campaigns::update(work, &slug, edit.of(standing), &etag).await?;
                show(context, work, &slug).await
            })
        })
        .await
    }

    async fn delete_campaign(&self, request: Request<v1::DeleteCampaignRequest>) -> Result<Response<()>, Status> {
        write(
            &self.context,
            request,
            |r, f| (name(&r.name, f), r.etag),
            |_, work, (slug, etag)| Box::pin(async move { campaigns::delete(work, &slug, &etag).await }),
        )
        .await
    }

    async fn validate_campaign(
        &self,
        request: Request<v1::ValidateCampaignRequest>,
    ) -> Result<Response<v1::ValidateCampaignResponse>, Status> {
        let (asked, samples) = convert::read(&self.context, request.into_inner(), campaign::validate)?;
        let Some(asked) = asked else { return Ok(Response::new(Default::default())) };
        let foreseen = validating::validate(&self.context, &asked, samples).await?;
        Ok(Response::new(campaign::foreseen(foreseen)))
    }

    async fn start_campaign(
        &self,
        request: Request<v1::StartCampaignRequest>,
    ) -> Result<Response<v1::Campaign>, Status> {
        write(
            &self.context,
            request,
            |r, f| (name(&r.name, f), r.etag),
            |context, work, (slug, etag)| {
                Box::pin(async move {
                    verbs::start(context, work, &slug, &etag).await?;
                    show(context, work, &slug).await
                })
            },
        )
        .await
    }

    async fn pause_campaign(
        &self,
        request: Request<v1::PauseCampaignRequest>,
    ) -> Result<Response<v1::Campaign>, Status> {
        write(
            &self.context,
            request,
            |r, f| (name(&r.name, f), r.etag),
            |context, work, (slug, etag)| {
                Box::pin(async move {
                    verbs::pause(work, &slug, &etag).await?;
                    show(context, work, &slug).await
                })
            },
        )
        .await
    }

    async fn resume_campaign(
        &self,
        request: Request<v1::ResumeCampaignRequest>,
    ) -> Result<Response<v1::Campaign>, Status> {
        write(
            &self.context,
            request,
            |r, f| (name(&r.name, f), r.etag),
            |context, work, (slug, etag)| {
                Box::pin(async move {
                    verbs::resume(work, &slug, &etag).await?;
                    show(context, work, &slug).await
                })
            },
        )
        .await
    }

    async fn cancel_campaign(
        &self,
        request: Request<v1::CancelCampaignRequest>,
    ) -> Result<Response<v1::Campaign>, Status> {
        write(
            &self.context,
            request,
            |r, f| (name(&r.name, f), r.etag),
            |context, work, (slug, etag)| {
                Box::pin(async move {
                    verbs::cancel(work, &slug, &etag).await?;
                    show(context, work, &slug).await
                })
            },
        )
        .await
    }

    async fn get_campaign_progress(
        &self,
        request: Request<v1::GetCampaignProgressRequest>,
    ) -> Result<Response<v1::CampaignProgress>, Status> {
        let slug = convert::read(&self.context, request.into_inner(), |r, f| name(&r.name, f))?;
        Ok(Response::new(shown::message(progress::get(&self.context, &slug).await?)))
    }

    async fn list_campaign_recipients(
        &self,
        request: Request<v1::ListCampaignRecipientsRequest>,
    ) -> Result<Response<v1::ListCampaignRecipientsResponse>, Status> {
        let (page, slug, filter) = convert::read(&self.context, request.into_inner(), |r, f| {
            let page = Page::<Uuid>::open(&r, f);
            (page, f.name("parent", "campaigns", &r.parent), shown::filter(r.filter, f))
        })?;
        let page = page?;
        let found = campaigns::list_recipients(&self.context, &slug, &filter, page.after, page.limit()).await?;
        let (found, next_page_token) = page.close(found, |recipient| recipient.id);
        let recipients = found.into_iter().map(shown::recipient).collect();
        Ok(Response::new(v1::ListCampaignRecipientsResponse { recipients, next_page_token }))
    }

    async fn count_campaign_recipients(
        &self,
        request: Request<v1::CountCampaignRecipientsRequest>,
    ) -> Result<Response<v1::CountCampaignRecipientsResponse>, Status> {
        let (slug, filter) = convert::read(&self.context, request.into_inner(), |r, f| {
            (f.name("parent", "campaigns", &r.parent), shown::filter(r.filter, f))
        })?;
        let count = campaigns::count_recipients(&self.context, &slug, &filter).await?;
        Ok(Response::new(v1::CountCampaignRecipientsResponse { count }))
    }

    async fn export_campaign_recipients(
        &self,
        request: Request<v1::ExportCampaignRecipientsRequest>,
    ) -> Result<Response<Self::ExportCampaignRecipientsStream>, Status> {
        let (slug, filter, after) = convert::read(&self.context, request.get_ref().clone(), |r, f| {
            let after = shown::export_cursor(&r.cursor, f);
            (f.name("parent", "campaigns", &r.parent), shown::filter(r.filter, f), after)
        })?;
        // What is not there is refused before the stream begins.
        campaigns::get(&self.context, &slug).await?;
        let parts = campaigns::export::parts(self.context.clone(), slug, filter, after);
        let parts = parts.map(|part| part.map(shown::exported).map_err(Status::from));
        Ok(Response::new(bounded(&request, &self.shutdown, parts)))
    }

    async fn watch_campaign(
        &self,
        request: Request<v1::WatchCampaignRequest>,
    ) -> Result<Response<Self::WatchCampaignStream>, Status> {
        let slug = convert::read(&self.context, request.get_ref().clone(), |r, f| name(&r.name, f))?;
        progress::get(&self.context, &slug).await?;
        let watch = Watch { context: self.context.clone(), slug, last: None, sent: Instant::now(), over: false };
        let updates = futures::stream::unfold(watch, |watch| watch.next());
        Ok(Response::new(bounded(&request, &self.shutdown, updates.boxed())))
    }
}

fn name(value: &str, faults: &mut Faults) -> String {
    faults.name("name", "campaigns", value)
}

/// A campaign as it stands inside the transaction that changed it.
async fn show(context: &Context, work: &mut Work, slug: &str) -> services::Result<v1::Campaign> {
    Ok(campaign::message(progress::within(context, work, slug).await?))
}

/// A stream of progress: at once, then at each change, until the campaign has ended.
struct Watch {
    context: Context,
    slug: String,
    last: Option<v1::CampaignProgress>,
    sent: Instant,
    over: bool,
}

impl Watch {
    async fn next(mut self) -> Option<(Result<v1::WatchCampaignResponse, Status>, Self)> {
        if self.over {
            return None;
        }
        loop {
            if self.last.is_some() {
                tokio::time::sleep(WATCH_EVERY).await;
            }
            let found = match progress::get(&self.context, &self.slug).await {
                Ok(found) => found,
                Err(error) => {
                    self.over = true;
                    return Some((Err(error.into()), self));
                }
            };
            self.over = found.campaign.row.state.is_ended();
            let now = shown::message(found);
            let update = if self.is_news(&now) {
                self.last = Some(now.clone());
                Update::Progress(now)
            } else if self.sent.elapsed() >= CHECKPOINT_EVERY {
                let time = Some(common::timestamp(self.context.clock.now()));
                Update::Checkpoint(v1::Checkpoint { cursor: String::new(), time })
            } else if self.over {
                return None;
            } else {
                continue;
            };
            self.sent = Instant::now();
            return Some((Ok(v1::WatchCampaignResponse { update: Some(update) }), self));
        }
    }

    /// Events of others move the cursor, and an estimate moves with the clock: neither is news.
    fn is_news(&self, now: &v1::CampaignProgress) -> bool {
        let bare = |p: &v1::CampaignProgress| v1::CampaignProgress {
            cursor: String::new(),
            estimated_first_step_end_time: None,
            ..p.clone()
        };
        self.last.as_ref().is_none_or(|last| bare(last) != bare(now))
    }
}
