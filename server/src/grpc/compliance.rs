//! `ComplianceService`: one function an RPC.

use proto::v1::{self, compliance_service_server::ComplianceService};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{
    convert::{self, compliance, sending},
    idempotent::{write, writes},
    page::{Page, paged},
};
use crate::services::{Context, archive::erasing, caps, suppressions};

writes! {
    SetFrequencyCapRequest,
    DeleteFrequencyCapRequest,
    AddSuppressionsRequest,
    RemoveSuppressionsRequest,
    EraseContactRequest,
}
paged! { ListFrequencyCapsRequest, ListSuppressionsRequest, ListErasuresRequest }

/// See the module.
#[derive(Debug)]
pub struct Compliance {
    /// What use cases stand on.
    pub context: Context,
}

#[tonic::async_trait]
impl ComplianceService for Compliance {
    async fn set_frequency_cap(
        &self,
        request: Request<v1::SetFrequencyCapRequest>,
    ) -> Result<Response<v1::FrequencyCap>, Status> {
        write(&self.context, request, compliance::cap, |_, work, cap| {
            Box::pin(async move { Ok(compliance::cap_message(caps::set(work, &cap).await?)) })
        })
        .await
    }

    async fn list_frequency_caps(
        &self,
        request: Request<v1::ListFrequencyCapsRequest>,
    ) -> Result<Response<v1::ListFrequencyCapsResponse>, Status> {
        let page = convert::read(&self.context, request.into_inner(), |r, f| Page::<i64>::open(&r, f))??;
        let found = caps::list(&self.context, page.after.unwrap_or_default(), page.limit()).await?;
        let (found, next_page_token) = page.close(found, |row| row.id);
        let frequency_caps = found.into_iter().map(compliance::cap_message).collect();
        Ok(Response::new(v1::ListFrequencyCapsResponse { frequency_caps, next_page_token }))
    }

    async fn delete_frequency_cap(
        &self,
        request: Request<v1::DeleteFrequencyCapRequest>,
    ) -> Result<Response<()>, Status> {
        write(&self.context, request, compliance::delete, |_, work, (id, etag)| {
            Box::pin(async move { caps::delete(work, id, &etag).await })
        })
        .await
    }

    async fn add_suppressions(
        &self,
        request: Request<v1::AddSuppressionsRequest>,
    ) -> Result<Response<v1::AddSuppressionsResponse>, Status> {
        write(&self.context, request, compliance::add, |_, work, given| {
            Box::pin(async move {
                let added = suppressions::add(work, given).await?;
                Ok(v1::AddSuppressionsResponse { added_count: i32::try_from(added).unwrap_or(i32::MAX) })
            })
        })
        .await
    }

    async fn remove_suppressions(
        &self,
        request: Request<v1::RemoveSuppressionsRequest>,
    ) -> Result<Response<v1::RemoveSuppressionsResponse>, Status> {
        write(&self.context, request, compliance::remove, |_, work, addresses| {
            Box::pin(async move {
                let removed = suppressions::remove(work, addresses).await?;
                Ok(v1::RemoveSuppressionsResponse { removed_count: i32::try_from(removed).unwrap_or(i32::MAX) })
            })
        })
        .await
    }

    async fn list_suppressions(
        &self,
        request: Request<v1::ListSuppressionsRequest>,
    ) -> Result<Response<v1::ListSuppressionsResponse>, Status> {
        let (page, only) = convert::read(&self.context, request.into_inner(), |r, f| {
            (Page::<i64>::open(&r, f), compliance::only(&r, f))
        })?;
        let page = page?;
        let after = page.after.unwrap_or_default();
        let found = suppressions::list(&self.context, only.as_ref(), after, page.limit()).await?;
        let (found, next_page_token) = page.close(found, |row| row.address_id);
        let suppressions = found.into_iter().map(compliance::suppression).collect();
        Ok(Response::new(v1::ListSuppressionsResponse { suppressions, next_page_token }))
    }

    async fn erase_contact(&self, request: Request<v1::EraseContactRequest>) -> Result<Response<v1::Erasure>, Status> {
        write(&self.context, request, compliance::erase, |_, work, (contact, reason)| {
            Box::pin(async move { Ok(compliance::erasure(erasing::erase(work, &contact, &reason).await?)) })
        })
        .await
    }

    async fn get_erasure(&self, request: Request<v1::GetErasureRequest>) -> Result<Response<v1::Erasure>, Status> {
        let read = |r: v1::GetErasureRequest, f: &mut _| sending::uuid_name("name", "erasures", &r.name, f);
        let id = convert::read(&self.context, request.into_inner(), read)?;
        Ok(Response::new(compliance::erasure(erasing::get(&self.context, id).await?)))
    }

    async fn list_erasures(
        &self,
        request: Request<v1::ListErasuresRequest>,
    ) -> Result<Response<v1::ListErasuresResponse>, Status> {
        let (page, wanted) = convert::read(&self.context, request.into_inner(), |r, f| {
            (Page::<Uuid>::open(&r, f), compliance::wanted_erasures(&r, f))
        })?;
        let page = page?;
        let wanted = erasing::Wanted { before: page.after, ..wanted };
        let found = erasing::list(&self.context, &wanted, page.limit()).await?;
        let (found, next_page_token) = page.close(found, |row| row.id);
        let erasures = found.into_iter().map(compliance::erasure).collect();
        Ok(Response::new(v1::ListErasuresResponse { erasures, next_page_token }))
    }
}
