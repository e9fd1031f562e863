//! `AudienceService`: one function an RPC.

use proto::v1::{self, audience_service_server::AudienceService};
use tonic::{Request, Response, Status};

use super::{
    convert::{self, audience},
    idempotent::{write, writes},
    page::{Page, paged},
};
use crate::services::{Context, audiences};

writes! {
    CreateAudienceRequest dry,
    UpdateAudienceRequest dry,
    DeleteAudienceRequest,
    AddAudienceMembersRequest,
    RemoveAudienceMembersRequest,
}
paged! { ListAudiencesRequest }

/// See the module.
#[derive(Debug)]
pub struct Audiences {
    /// What use cases stand on.
    pub context: Context,
}

#[tonic::async_trait]
impl AudienceService for Audiences {
    async fn create_audience(
        &self,
        request: Request<v1::CreateAudienceRequest>,
    ) -> Result<Response<v1::Audience>, Status> {
        write(&self.context, request, audience::create, |context, work, new| {
            Box::pin(async move { audience::message(audiences::create(context, work, &new).await?) })
        })
        .await
    }

    async fn get_audience(&self, request: Request<v1::GetAudienceRequest>) -> Result<Response<v1::Audience>, Status> {
        let slug = convert::read(&self.context, request.into_inner(), |r, f| f.name("name", "audiences", &r.name))?;
        Ok(Response::new(audience::message(audiences::get(&self.context, &slug).await?)?))
    }

    async fn list_audiences(
        &self,
        request: Request<v1::ListAudiencesRequest>,
    ) -> Result<Response<v1::ListAudiencesResponse>, Status> {
        let page = convert::read(&self.context, request.into_inner(), |r, f| Page::<String>::open(&r, f))??;
        let found = audiences::list(&self.context, page.after.as_deref(), page.limit()).await?;
        let (found, next_page_token) = page.close(found, |row| row.slug.clone());
        let audiences = found.into_iter().map(audience::message).collect::<Result<_, _>>()?;
        Ok(Response::new(v1::ListAudiencesResponse { audiences, next_page_token }))
    }

    async fn update_audience(
        &self,
        request: Request<v1::UpdateAudienceRequest>,
    ) -> Result<Response<v1::Audience>, Status> {
        write(&self.context, request, audience::update, |context, work, (slug, change, etag)| {
            Box::pin(async move { audience::message(audiences::update(context, work, &slug, change, &etag).await?) })
        })
        .await
    }

    async fn delete_audience(&self, request: Request<v1::DeleteAudienceRequest>) -> Result<Response<()>, Status> {
        write(
            &self.context,
            request,
            |r, f| (f.name("name", "audiences", &r.name), r.etag),
            |_, work, (slug, etag)| Box::pin(async move { audiences::delete(work, &slug, &etag).await }),
        )
        .await
    }

    async fn add_audience_members(
        &self,
        request: Request<v1::AddAudienceMembersRequest>,
    ) -> Result<Response<v1::AddAudienceMembersResponse>, Status> {
        write(
            &self.context,
            request,
            |r, f| audience::members(&r.name, &r.contacts, f),
            |_, work, (slug, names)| {
                Box::pin(async move {
                    let (added, member_count) = audiences::add(work, &slug, &names).await?;
                    let added_count = i32::try_from(added).unwrap_or(i32::MAX);
                    Ok(v1::AddAudienceMembersResponse { added_count, member_count })
                })
            },
        )
        .await
    }

    async fn remove_audience_members(
        &self,
        request: Request<v1::RemoveAudienceMembersRequest>,
    ) -> Result<Response<v1::RemoveAudienceMembersResponse>, Status> {
        write(
            &self.context,
            request,
            |r, f| audience::members(&r.name, &r.contacts, f),
            |_, work, (slug, names)| {
                Box::pin(async move {
                    let (removed, member_count) = audiences::remove(work, &slug, &names).await?;
                    let removed_count = i32::try_from(removed).unwrap_or(i32::MAX);
                    Ok(v1::RemoveAudienceMembersResponse { removed_count, member_count })
                })
            },
        )
        .await
    }

    async fn preview_audience(
        &self,
        request: Request<v1::PreviewAudienceRequest>,
    ) -> Result<Response<v1::PreviewAudienceResponse>, Status> {
        let (asked, samples) = convert::read(&self.context, request.into_inner(), audience::preview_of)?;
        let Some(asked) = asked else { return Ok(Response::new(Default::default())) };
        let found = audiences::preview::preview(&self.context, &asked, samples).await?;
        Ok(Response::new(audience::preview(found)))
    }
}
