//! `TemplateService`: one function an RPC.

use proto::v1::{self, template_service_server::TemplateService};
use tonic::{Request, Response, Status};

use super::{
    convert::{self, template},
    idempotent::{write, writes},
    page::{Page, paged},
};
use crate::services::{
    Context,
    templates::{self, render},
};

writes! {
    CreateTemplateRequest dry,
    UpdateTemplateRequest dry,
    DeleteTemplateRequest,
    CreateTemplateVersionRequest dry,
}
paged! { ListTemplatesRequest, ListTemplateVersionsRequest }

/// See the module.
#[derive(Debug)]
pub struct Templates {
    /// What use cases stand on.
    pub context: Context,
}

#[tonic::async_trait]
impl TemplateService for Templates {
    async fn create_template(
        &self,
        request: Request<v1::CreateTemplateRequest>,
    ) -> Result<Response<v1::Template>, Status> {
        write(&self.context, request, template::create, |_, work, new| {
            Box::pin(async move { Ok(template::message(templates::create(work, new).await?)) })
        })
        .await
    }

    async fn get_template(&self, request: Request<v1::GetTemplateRequest>) -> Result<Response<v1::Template>, Status> {
        let slug = convert::read(&self.context, request.into_inner(), |r, f| f.name("name", "templates", &r.name))?;
        Ok(Response::new(template::message(templates::get(&self.context, &slug).await?)))
    }

    async fn list_templates(
        &self,
        request: Request<v1::ListTemplatesRequest>,
    ) -> Result<Response<v1::ListTemplatesResponse>, Status> {
        let page = convert::read(&self.context, request.into_inner(), |r, f| Page::<String>::open(&r, f))??;
        let after = page.after.clone().unwrap_or_default();
        let found = templates::list(&self.context, &after, page.limit()).await?;
        let (found, next_page_token) = page.close(found, |template| template.row.slug.clone());
        let templates = found.into_iter().map(template::message).collect();
        Ok(Response::new(v1::ListTemplatesResponse { templates, next_page_token }))
    }

    async fn update_template(
        &self,
        request: Request<v1::UpdateTemplateRequest>,
    ) -> Result<Response<v1::Template>, Status> {
        write(&self.context, request, template::update, |_, work, (slug, change, etag)| {
            Box::pin(async move { Ok(template::message(templates::update(work, &slug, change, &etag).await?)) })
        })
        .await
    }

    async fn delete_template(&self, request: Request<v1::DeleteTemplateRequest>) -> Result<Response<()>, Status> {
        write(
            &self.context,
            request,
            |r, f| (f.name("name", "templates", &r.name), r.etag),
            |_, work, (slug, etag)| Box::pin(async move { templates::delete(work, &slug, &etag).await }),
        )
        .await
    }

    async fn create_template_version(
        &self,
        request: Request<v1::CreateTemplateVersionRequest>,
    ) -> Result<Response<v1::TemplateVersion>, Status> {
        write(&self.context, request, template::add_version, |_, work, (slug, definition, etag)| {
            Box::pin(async move {
                Ok(template::version_message(templates::add_version(work, &slug, definition, &etag).await?))
            })
        })
        .await
    }

    async fn get_template_version(
        &self,
        request: Request<v1::GetTemplateVersionRequest>,
    ) -> Result<Response<v1::TemplateVersion>, Status> {
        let name = convert::read(&self.context, request.into_inner(), |r, f| template::reference("name", &r.name, f))?;
        Ok(Response::new(template::version_message(templates::get_version(&self.context, &name).await?)))
    }

    async fn list_template_versions(
        &self,
        request: Request<v1::ListTemplateVersionsRequest>,
    ) -> Result<Response<v1::ListTemplateVersionsResponse>, Status> {
        let (page, slug) = convert::read(&self.context, request.into_inner(), |r, f| {
            (Page::<i32>::open(&r, f), f.name("parent", "templates", &r.parent))
        })?;
        let page = page?;
        let below = page.after.unwrap_or(i32::MAX);
        let found = templates::list_versions(&self.context, &slug, below, page.limit()).await?;
        let (found, next_page_token) = page.close(found, |version| version.row.number);
        let template_versions = found.into_iter().map(template::version_message).collect();
        Ok(Response::new(v1::ListTemplateVersionsResponse { template_versions, next_page_token }))
    }

    async fn render_template(
        &self,
        request: Request<v1::RenderTemplateRequest>,
    ) -> Result<Response<v1::RenderTemplateResponse>, Status> {
        let question = convert::read(&self.context, request.into_inner(), template::render)?;
        let Some(question) = question else { return Ok(Response::new(Default::default())) };
        Ok(Response::new(template::preview(render::render(&self.context, question).await?)))
    }
}
