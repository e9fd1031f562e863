//! `ControllerService`: one function an RPC.

use std::time::Duration;

use futures::stream;
use proto::v1::{self, controller_service_server::ControllerService};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{
    convert::{self, Faults, controller},
    idempotent::{write, writes},
    page::{Page, paged},
    stream::{ResponseStream, bounded},
};
use crate::services::{
    Context,
    controllers::{self, outside},
};

writes! {
    CreateControllerRequest dry,
    UpdateControllerRequest dry,
    DeleteControllerRequest,
    ExecuteActionsRequest,
}
paged! { ListControllersRequest, ListControllerVersionsRequest, ListControllerRunsRequest }

/// How often it is looked whether something waits.
const LOOK: Duration = Duration::from_millis(100);
/// After how many looks without anything a sign of life is given: 15 seconds.
const SILENT_LOOKS: u32 = 150;

/// See the module.
#[derive(Debug)]
pub struct Controllers {
    /// What use cases stand on.
    pub context: Context,
    /// When streams end.
    pub shutdown: CancellationToken,
}

#[tonic::async_trait]
impl ControllerService for Controllers {
    type StreamIntentsStream = ResponseStream<v1::StreamIntentsResponse>;

    async fn create_controller(
        &self,
        request: Request<v1::CreateControllerRequest>,
    ) -> Result<Response<v1::Controller>, Status> {
        write(&self.context, request, controller::create, |_, work, new| {
            Box::pin(async move { Ok(controller::message(controllers::create(work, new).await?, false)) })
        })
        .await
    }

    async fn get_controller(
        &self,
        request: Request<v1::GetControllerRequest>,
    ) -> Result<Response<v1::Controller>, Status> {
        let read = |r: v1::GetControllerRequest, f: &mut Faults| f.versioned_name("name", "controllers", &r.name);
        let (slug, number) = convert::read(&self.context, request.into_inner(), read)?;
        let stored = controllers::get(&self.context, &slug, number).await?;
        Ok(Response::new(controller::message(stored, number > 0)))
    }

    async fn list_controllers(
        &self,
        request: Request<v1::ListControllersRequest>,
    ) -> Result<Response<v1::ListControllersResponse>, Status> {
        let page = convert::read(&self.context, request.into_inner(), |r, f| Page::<String>::open(&r, f))??;
        let after = page.after.clone().unwrap_or_default();
        let found = controllers::list(&self.context, &after, page.limit()).await?;
        let (found, next_page_token) = page.close(found, |stored| stored.row.slug.clone());
        let controllers = found.into_iter().map(|stored| controller::message(stored, false)).collect();
        Ok(Response::new(v1::ListControllersResponse { controllers, next_page_token }))
    }

    async fn update_controller(
        &self,
        request: Request<v1::UpdateControllerRequest>,
    ) -> Result<Response<v1::Controller>, Status> {
        write(&self.context, request, controller::update, |_, work, (slug, change, etag)| {
            Box::pin(async move {
                let stored = controllers::update(work, &slug, change, &etag).await?;
                Ok(controller::message(stored, false))
            })
        })
        .await
    }

    async fn delete_controller(&self, request: Request<v1::DeleteControllerRequest>) -> Result<Response<()>, Status> {
        write(
            &self.context,
            request,
            |r, f| (f.name("name", "controllers", &r.name), r.etag),
            |_, work, (slug, etag)| Box::pin(async move { controllers::delete(work, &slug, &etag).await }),
        )
        .await
    }

    async fn list_controller_versions(
        &self,
        request: Request<v1::ListControllerVersionsRequest>,
    ) -> Result<Response<v1::ListControllerVersionsResponse>, Status> {
        let (page, slug) = convert::read(&self.context, request.into_inner(), |r, f| {
            (Page::<i32>::open(&r, f), f.name("parent", "controllers", &r.parent))
        })?;
        let page = page?;
        let below = page.after.unwrap_or(i32::MAX);
        let found = controllers::list_versions(&self.context, &slug, below, page.limit()).await?;
        let (found, next_page_token) = page.close(found, |stored| stored.row.number);
        let controllers = found.into_iter().map(|stored| controller::message(stored, true)).collect();
        Ok(Response::new(v1::ListControllerVersionsResponse { controllers, next_page_token }))
    }

    async fn validate_controller(
        &self,
        request: Request<v1::ValidateControllerRequest>,
    ) -> Result<Response<v1::ValidateControllerResponse>, Status> {
        let mut faults = Faults::default();
        let (channels, version) = controller::checked(request.into_inner(), &mut faults);
        if !faults.is_empty() {
            return Ok(Response::new(controller::problems(faults.into_violations())));
        }
        let found = controllers::validate(&self.context, &version, &channels).await?;
        Ok(Response::new(controller::problems(found)))
    }

    async fn list_controller_runs(
        &self,
        request: Request<v1::ListControllerRunsRequest>,
    ) -> Result<Response<v1::ListControllerRunsResponse>, Status> {
        let (page, mut wanted) = convert::read(&self.context, request.into_inner(), |r, f| {
            (Page::<i64>::open(&r, f), controller::wanted(&r, None, f))
        })?;
        let page = page?;
        wanted.below = page.after;
        let found = controllers::runs(&self.context, &wanted, page.limit()).await?;
        let (found, next_page_token) = page.close(found, |run| run.id);
        let runs = found.into_iter().map(controller::run).collect();
        Ok(Response::new(v1::ListControllerRunsResponse { runs, next_page_token }))
    }

    async fn stream_intents(
        &self,
        request: Request<v1::StreamIntentsRequest>,
    ) -> Result<Response<Self::StreamIntentsStream>, Status> {
        let read = |r: v1::StreamIntentsRequest, f: &mut Faults| f.name("controller", "controllers", &r.controller);
        let slug = convert::read(&self.context, request.get_ref().clone(), read)?;
        let id = outside::controller(&self.context, &slug).await?.row.id;
        let context = self.context.clone();
        let items = stream::try_unfold(Shown { context, id, after: 0, ready: Vec::new() }, |mut shown| async move {
            let item = shown.next().await?;
            Ok::<_, Status>(Some((item, shown)))
        });
        Ok(Response::new(bounded(&request, &self.shutdown, items)))
    }

    async fn execute_actions(
        &self,
        request: Request<v1::ExecuteActionsRequest>,
    ) -> Result<Response<v1::ExecuteActionsResponse>, Status> {
        write(&self.context, request, controller::decision, |_, work, (slug, number, actions)| {
            Box::pin(async move {
                outside::decide(work, &slug, number, actions).await?;
                Ok(v1::ExecuteActionsResponse {})
            })
        })
        .await
    }
}

/// What a stream of intents has shown.
struct Shown {
    context: Context,
    id: i64,
    /// The number of the last.
    after: i64,
    /// What was read and is not shown yet, the next at the end.
    ready: Vec<outside::Waiting>,
}

impl Shown {
    /// The next intent that waits, or a sign of life.
    async fn next(&mut self) -> Result<v1::StreamIntentsResponse, Status> {
        for _ in 0..SILENT_LOOKS {
            if self.ready.is_empty() {
                self.ready = outside::waiting(&self.context, self.id, self.after).await?;
                self.ready.reverse();
            }
            if let Some(waiting) = self.ready.pop() {
                self.after = waiting.number;
                return Ok(controller::waiting(waiting));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(controller::silence(self.context.clock.now()))
    }
}
