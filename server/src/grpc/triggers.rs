//! `TriggerService`: one function an RPC.

use proto::v1::{self, trigger_service_server::TriggerService};
use tonic::{Request, Response, Status};

use super::{
    convert::{self, Faults, firing, source, trigger},
    idempotent::{write, writes},
    page::{Page, paged},
};
use crate::services::{
    self, Context, Error,
    firings::{self, by_hand},
    sources,
    triggers::{self, TriggerRow},
    work::Work,
};

writes! {
    CreateSourceRequest dry,
    UpdateSourceRequest dry,
    DeleteSourceRequest,
    CreateTriggerRequest dry,
    UpdateTriggerRequest dry,
    DeleteTriggerRequest,
    EnableTriggerRequest,
    DisableTriggerRequest,
    FireTriggerRequest dry,
    ReplayFiringRequest,
}
paged! { ListSourcesRequest, ListTriggersRequest, ListFiringsRequest }

const MAX_CONDITION: usize = 4000;

/// See the module.
#[derive(Debug)]
pub struct Triggers {
    /// What use cases stand on.
    pub context: Context,
}

fn source_name(value: &str, faults: &mut Faults) -> String {
    faults.name("name", "sources", value)
}

fn name(value: &str, faults: &mut Faults) -> String {
    faults.name("name", "triggers", value)
}

/// A trigger as its transaction sees it, with how many firings it has.
async fn seen(work: &mut Work, row: TriggerRow) -> services::Result<v1::Trigger> {
    let counted = triggers::counts(work.conn(), &[row.id]).await?.remove(&row.id).unwrap_or_default();
    trigger::message(row, &counted)
}

#[tonic::async_trait]
impl TriggerService for Triggers {
    async fn create_source(&self, request: Request<v1::CreateSourceRequest>) -> Result<Response<v1::Source>, Status> {
        write(&self.context, request, source::create, |context, work, (slug, change)| {
            Box::pin(async move { source::message(sources::create(context, work, &slug, change).await?) })
        })
        .await
    }

    async fn get_source(&self, request: Request<v1::GetSourceRequest>) -> Result<Response<v1::Source>, Status> {
        let slug = convert::read(&self.context, request.into_inner(), |r, f| source_name(&r.name, f))?;
        Ok(Response::new(source::message(sources::get(&self.context, &slug).await?)?))
    }

    async fn list_sources(
        &self,
        request: Request<v1::ListSourcesRequest>,
    ) -> Result<Response<v1::ListSourcesResponse>, Status> {
        let page = convert::read(&self.context, request.into_inner(), |r, f| Page::<String>::open(&r, f))??;
        let after = page.after.clone().unwrap_or_default();
        let found = sources::list(&self.context, &after, page.limit()).await?;
        let (found, next_page_token) = page.close(found, |row| row.slug.clone());
        let sources = found.into_iter().map(source::message).collect::<services::Result<_>>()?;
        Ok(Response::new(v1::ListSourcesResponse { sources, next_page_token }))
    }

    async fn update_source(&self, request: Request<v1::UpdateSourceRequest>) -> Result<Response<v1::Source>, Status> {
        write(&self.context, request, source::update, |context, work, (slug, change, etag)| {
            Box::pin(async move { source::message(sources::update(context, work, &slug, change, &etag).await?) })
        })
        .await
    }

    async fn delete_source(&self, request: Request<v1::DeleteSourceRequest>) -> Result<Response<()>, Status> {
        write(
            &self.context,
            request,
            |r, f| (source_name(&r.name, f), r.etag),
            |context, work, (slug, etag)| Box::pin(async move { sources::delete(context, work, &slug, &etag).await }),
        )
        .await
    }

    async fn check_source(
        &self,
        request: Request<v1::CheckSourceRequest>,
    ) -> Result<Response<v1::CheckSourceResponse>, Status> {
        let slug = convert::read(&self.context, request.into_inner(), |r, f| source_name(&r.name, f))?;
        Ok(Response::new(source::checked(sources::check(&self.context, &slug).await?)))
    }

    async fn create_trigger(
        &self,
        request: Request<v1::CreateTriggerRequest>,
    ) -> Result<Response<v1::Trigger>, Status> {
        let dry = request.get_ref().validate_only;
        write(&self.context, request, trigger::create, move |context, work, new| {
            Box::pin(async move {
                let row = triggers::create(context, work, new, dry).await?;
                seen(work, row).await
            })
        })
        .await
    }

    async fn get_trigger(&self, request: Request<v1::GetTriggerRequest>) -> Result<Response<v1::Trigger>, Status> {
        let slug = convert::read(&self.context, request.into_inner(), |r, f| name(&r.name, f))?;
        let (row, counted) = triggers::get(&self.context, &slug).await?;
        Ok(Response::new(trigger::message(row, &counted)?))
    }

    async fn list_triggers(
        &self,
        request: Request<v1::ListTriggersRequest>,
    ) -> Result<Response<v1::ListTriggersResponse>, Status> {
        let (page, filter) = convert::read(&self.context, request.into_inner(), |r, f| {
            (Page::<String>::open(&r, f), trigger::list(&r, f))
        })?;
        let page = page?;
        let after = page.after.clone().unwrap_or_default();
        let found = triggers::list(&self.context, &filter, &after, page.limit()).await?;
        let (found, next_page_token) = page.close(found, |(row, _)| row.slug.clone());
        let triggers = found.into_iter().map(|(row, counted)| trigger::message(row, &counted));
        let triggers = triggers.collect::<services::Result<_>>()?;
        Ok(Response::new(v1::ListTriggersResponse { triggers, next_page_token }))
    }

    async fn update_trigger(
        &self,
        request: Request<v1::UpdateTriggerRequest>,
    ) -> Result<Response<v1::Trigger>, Status> {
        let dry = request.get_ref().validate_only;
        write(&self.context, request, trigger::update, move |context, work, (slug, change, etag)| {
            Box::pin(async move {
                let row = triggers::update(context, work, &slug, change, &etag, dry).await?;
                seen(work, row).await
            })
        })
        .await
    }

    async fn delete_trigger(&self, request: Request<v1::DeleteTriggerRequest>) -> Result<Response<()>, Status> {
        write(
            &self.context,
            request,
            |r, f| (name(&r.name, f), r.etag, r.leave_capture),
            |context, work, (slug, etag, leave)| {
                Box::pin(async move { triggers::delete(context, work, &slug, &etag, leave).await })
            },
        )
        .await
    }

    async fn enable_trigger(
        &self,
        request: Request<v1::EnableTriggerRequest>,
    ) -> Result<Response<v1::Trigger>, Status> {
        write(
            &self.context,
            request,
            |r, f| (name(&r.name, f), r.etag),
            |context, work, (slug, etag)| {
                Box::pin(async move {
                    let row = triggers::enable(context, work, &slug, &etag).await?;
                    seen(work, row).await
                })
            },
        )
        .await
    }

    async fn disable_trigger(
        &self,
        request: Request<v1::DisableTriggerRequest>,
    ) -> Result<Response<v1::Trigger>, Status> {
        write(
            &self.context,
            request,
            |r, f| (name(&r.name, f), r.etag),
            |context, work, (slug, etag)| {
                Box::pin(async move {
                    let row = triggers::disable(context, work, &slug, &etag).await?;
                    seen(work, row).await
                })
            },
        )
        .await
    }

    async fn dry_run_trigger(
        &self,
        request: Request<v1::DryRunTriggerRequest>,
    ) -> Result<Response<v1::DryRunTriggerResponse>, Status> {
        use v1::dry_run_trigger_request::Source;
        let (shown, condition, limit) = convert::read(&self.context, request.into_inner(), |r, f| {
            let (name, given) = match r.source {
                Some(Source::Name(name)) => (Some(name), None),
                Some(Source::Trigger(given)) => (None, Some(given)),
                None => (None, None),
            };
            let limit = f.number("limit", r.limit, 1..=1000).unwrap_or(20);
            (trigger::shown(name, given, f), f.text("row_condition", r.row_condition, MAX_CONDITION), limit)
        })?;
        let shown = shown.ok_or_else(|| Error::invalid("name", "is missing"))?;
        let limit = u32::try_from(limit).unwrap_or(1);
        Ok(Response::new(firing::dry_run(triggers::dry_run(&self.context, &shown, &condition, limit).await?)))
    }

    async fn fire_trigger(
        &self,
        request: Request<v1::FireTriggerRequest>,
    ) -> Result<Response<v1::FireTriggerResponse>, Status> {
        let read = |r: v1::FireTriggerRequest, f: &mut Faults| {
            let limit = f.number("limit", r.limit, 1..=10_000).unwrap_or(1);
            let condition = f.required_text("row_condition", r.row_condition, MAX_CONDITION);
            (name(&r.name, f), condition, u32::try_from(limit).unwrap_or(1))
        };
        write(&self.context, request, read, |context, work, (slug, condition, limit)| {
            Box::pin(async move {
                let (count, fired) = by_hand::fire(context, work, &slug, &condition, limit).await?;
                Ok(v1::FireTriggerResponse {
                    firing_count: i32::try_from(count).unwrap_or(i32::MAX),
                    firings: fired.into_iter().map(firing::message).collect(),
                })
            })
        })
        .await
    }

    async fn list_firings(
        &self,
        request: Request<v1::ListFiringsRequest>,
    ) -> Result<Response<v1::ListFiringsResponse>, Status> {
        let (page, (trigger, states, reasons)) =
            convert::read(&self.context, request.into_inner(), |r, f| (Page::<i64>::open(&r, f), firing::list(&r, f)))?;
        let page = page?;
        let before = page.after.unwrap_or(i64::MAX);
        let found =
            firings::list_page(&self.context, trigger.as_deref(), states, reasons, before, page.limit()).await?;
        let (found, next_page_token) = page.close(found, |row| row.id);
        let firings = found.into_iter().map(firing::message).collect();
        Ok(Response::new(v1::ListFiringsResponse { firings, next_page_token }))
    }

    async fn get_firing(&self, request: Request<v1::GetFiringRequest>) -> Result<Response<v1::Firing>, Status> {
        let (trigger, id) =
            convert::read(&self.context, request.into_inner(), |r, f| firing::name("name", &r.name, f))?;
        Ok(Response::new(firing::message(firings::get(&self.context, &trigger, id).await?)))
    }

    async fn replay_firing(&self, request: Request<v1::ReplayFiringRequest>) -> Result<Response<v1::Firing>, Status> {
        write(
            &self.context,
            request,
            |r, f| (firing::name("name", &r.name, f), r.reread_row),
            |context, work, ((trigger, id), reread)| {
                Box::pin(
                    async move { Ok(firing::message(by_hand::replay(context, work, &trigger, id, reread).await?)) },
                )
            },
        )
        .await
    }

    async fn preview_schedule(
        &self,
        _request: Request<v1::PreviewScheduleRequest>,
    ) -> Result<Response<v1::PreviewScheduleResponse>, Status> {
        // Schedules are served by a service of their own, which this RPC calls once it is there.
        Err(Status::unimplemented("schedules are not served yet"))
    }

    async fn get_trigger_sql(
        &self,
        request: Request<v1::GetTriggerSqlRequest>,
    ) -> Result<Response<v1::TriggerSql>, Status> {
        use v1::get_trigger_sql_request::Source;
        let shown = convert::read(&self.context, request.into_inner(), |r, f| match r.source {
            Some(Source::Name(name)) => trigger::shown(Some(name), None, f),
            Some(Source::Trigger(given)) => trigger::shown(None, Some(given), f),
            None => trigger::shown(None, None, f),
        })?;
        let shown = shown.ok_or_else(|| Error::invalid("name", "is missing"))?;
        let sql = triggers::sql(&self.context, &shown).await?;
        Ok(Response::new(v1::TriggerSql { install_sql: sql.install, uninstall_sql: sql.uninstall, notes: sql.notes }))
    }
}
