//! `ContactService`: one function an RPC.

mod import;

use chrono::{DateTime, Utc};
use proto::v1::{self, contact_service_server::ContactService};
use tonic::{Request, Response, Status, Streaming};

use super::{
    convert::{self, contact},
    idempotent::{write, writes},
    page::{Page, paged},
};
use crate::services::{Context, contacts};

writes! {
    CreateContactRequest dry,
    UpdateContactRequest dry,
    UpsertContactRequest dry,
    DeleteContactRequest,
    SetConsentRequest,
}
paged! { ListContactsRequest, ListConsentsRequest }

/// See the module.
#[derive(Debug)]
pub struct Contacts {
    /// What use cases stand on.
    pub context: Context,
}

#[tonic::async_trait]
impl ContactService for Contacts {
    async fn create_contact(
        &self,
        request: Request<v1::CreateContactRequest>,
    ) -> Result<Response<v1::Contact>, Status> {
        write(&self.context, request, contact::create, |_, work, change| {
            Box::pin(async move { Ok(contact::message(contacts::create(work, change).await?)) })
        })
        .await
    }

    async fn get_contact(&self, request: Request<v1::GetContactRequest>) -> Result<Response<v1::Contact>, Status> {
        let name = convert::read(&self.context, request.into_inner(), |r, f| contact::name("name", &r.name, f))?;
        Ok(Response::new(contact::message(contacts::get(&self.context, &name).await?)))
    }

    async fn list_contacts(
        &self,
        request: Request<v1::ListContactsRequest>,
    ) -> Result<Response<v1::ListContactsResponse>, Status> {
        let (page, filter) = convert::read(&self.context, request.into_inner(), |r, f| {
            (Page::<i64>::open(&r, f), contact::filter(&r.filter, f))
        })?;
        let page = page?;
        let found = contacts::list(&self.context, &filter, page.after.unwrap_or(0), page.limit()).await?;
        let (found, next_page_token) = page.close(found, |contact| contact.id);
        let contacts = found.into_iter().map(contact::message).collect();
        Ok(Response::new(v1::ListContactsResponse { contacts, next_page_token }))
    }

    async fn update_contact(
        &self,
        request: Request<v1::UpdateContactRequest>,
    ) -> Result<Response<v1::Contact>, Status> {
        write(&self.context, request, contact::update, |_, work, (name, change, etag)| {
            Box::pin(async move { Ok(contact::message(contacts::update(work, &name, change, &etag).await?)) })
        })
        .await
    }

    async fn upsert_contact(
        &self,
        request: Request<v1::UpsertContactRequest>,
    ) -> Result<Response<v1::UpsertContactResponse>, Status> {
        write(&self.context, request, contact::upsert, |_, work, (external_id, change)| {
            Box::pin(async move {
                let (contact, created) = contacts::upsert(work, external_id, change).await?;
                Ok(v1::UpsertContactResponse { contact: Some(contact::message(contact)), created })
            })
        })
        .await
    }

    async fn delete_contact(&self, request: Request<v1::DeleteContactRequest>) -> Result<Response<()>, Status> {
        write(&self.context, request, contact::delete, |_, work, (name, etag)| {
            Box::pin(async move { contacts::delete(work, &name, &etag).await })
        })
        .await
    }

    async fn resolve_contact(
        &self,
        request: Request<v1::ResolveContactRequest>,
    ) -> Result<Response<v1::ResolveContactResponse>, Status> {
        let address = convert::read(&self.context, request.into_inner(), contact::resolve)?;
        let contacts = match &address {
            Some(address) => contacts::resolve(&self.context, address).await?,
            None => Vec::new(),
        };
        Ok(Response::new(v1::ResolveContactResponse {
            address: address.map(convert::common::of_address),
            contacts: contacts.into_iter().map(contact::message).collect(),
        }))
    }

    async fn import_contacts(
        &self,
        request: Request<Streaming<v1::ImportContactsRequest>>,
    ) -> Result<Response<v1::ImportContactsResponse>, Status> {
        import::import(&self.context, request.into_inner()).await.map(Response::new)
    }

    async fn set_consent(&self, request: Request<v1::SetConsentRequest>) -> Result<Response<v1::Consent>, Status> {
        let now = self.context.clock.now();
        write(
            &self.context,
            request,
            |r, f| contact::set_consent(r, now, f),
            |_, work, consent| {
                Box::pin(async move {
                    match consent {
                        Some(new) => Ok(contact::consent_message(contacts::consent::set(work, new).await?)),
                        None => Ok(v1::Consent::default()),
                    }
                })
            },
        )
        .await
    }

    async fn list_consents(
        &self,
        request: Request<v1::ListConsentsRequest>,
    ) -> Result<Response<v1::ListConsentsResponse>, Status> {
        let (page, whose, history) = convert::read(&self.context, request.into_inner(), |r, f| {
            (Page::<(DateTime<Utc>, i64)>::open(&r, f), contact::whose(&r, f), r.history)
        })?;
        let (page, Some(whose)) = (page?, whose) else { return Ok(Response::new(Default::default())) };
        let found = contacts::consent::list(&self.context, &whose, history, page.after, page.limit()).await?;
        let (found, next_page_token) = page.close(found, |consent| (consent.at, consent.id));
        let consents = found.into_iter().map(contact::consent_message).collect();
        Ok(Response::new(v1::ListConsentsResponse { consents, next_page_token }))
    }
}
