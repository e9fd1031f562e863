//! `CallListService`: one function an RPC.

use proto::v1::{self, call_list_service_server::CallListService};
use tonic::{Request, Response, Status};

use super::{
    convert::{self, call_list},
    idempotent::{write, writes},
    page::{Page, paged},
};
use crate::services::{Context, call_lists};

writes! {
    CreateCallListRequest dry,
    UpdateCallListRequest dry,
    DeleteCallListRequest,
}
paged! { ListCallListsRequest, ListCallListEntriesRequest }

/// See the module.
#[derive(Debug)]
pub struct CallLists {
    /// What use cases stand on.
    pub context: Context,
}

#[tonic::async_trait]
impl CallListService for CallLists {
    async fn create_call_list(
        &self,
        request: Request<v1::CreateCallListRequest>,
    ) -> Result<Response<v1::CallList>, Status> {
        write(&self.context, request, call_list::create, |_, work, new| {
            Box::pin(async move { Ok(call_list::message(call_lists::create(work, new).await?)) })
        })
        .await
    }

    async fn get_call_list(&self, request: Request<v1::GetCallListRequest>) -> Result<Response<v1::CallList>, Status> {
        let slug = convert::read(&self.context, request.into_inner(), |r, f| f.name("name", "callLists", &r.name))?;
        Ok(Response::new(call_list::message(call_lists::get(&self.context, &slug).await?)))
    }

    async fn list_call_lists(
        &self,
        request: Request<v1::ListCallListsRequest>,
    ) -> Result<Response<v1::ListCallListsResponse>, Status> {
        let page = convert::read(&self.context, request.into_inner(), |r, f| Page::<String>::open(&r, f))??;
        let after = page.after.clone().unwrap_or_default();
        let found = call_lists::list(&self.context, &after, page.limit()).await?;
        let (found, next_page_token) = page.close(found, |list| list.row.slug.clone());
        let call_lists = found.into_iter().map(call_list::message).collect();
        Ok(Response::new(v1::ListCallListsResponse { call_lists, next_page_token }))
    }

    async fn update_call_list(
        &self,
        request: Request<v1::UpdateCallListRequest>,
    ) -> Result<Response<v1::CallList>, Status> {
        write(&self.context, request, call_list::update, |_, work, (slug, change, etag)| {
            Box::pin(async move { Ok(call_list::message(call_lists::update(work, &slug, change, &etag).await?)) })
        })
        .await
    }

    async fn delete_call_list(&self, request: Request<v1::DeleteCallListRequest>) -> Result<Response<()>, Status> {
        write(
            &self.context,
            request,
            |r, f| (f.name("name", "callLists", &r.name), r.etag),
            |_, work, (slug, etag)| Box::pin(async move { call_lists::delete(work, &slug, &etag).await }),
        )
        .await
    }

    async fn list_call_list_entries(
        &self,
        request: Request<v1::ListCallListEntriesRequest>,
    ) -> Result<Response<v1::ListCallListEntriesResponse>, Status> {
        let (page, slug, show) = convert::read(&self.context, request.into_inner(), |r, f| {
            (Page::<i64>::open(&r, f), f.name("parent", "callLists", &r.parent), call_list::show(r.show))
        })?;
        let page = page?;
        let below = page.after.unwrap_or(i64::MAX);
        let found = call_lists::entries(&self.context, &slug, show, below, page.limit()).await?;
        let (found, next_page_token) = page.close(found, |(entry, _)| entry.id);
        let message = |(entry, contact)| call_list::entry_message(&slug, entry, contact);
        let entries = found.into_iter().map(message).collect();
        Ok(Response::new(v1::ListCallListEntriesResponse { entries, next_page_token }))
    }
}
