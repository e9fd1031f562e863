//! `PolicyService`: one function an RPC.

use proto::v1::{self, policy_service_server::PolicyService};
use tonic::{Request, Response, Status};

use super::{
    convert::{self, Faults, policy, template},
    idempotent::{write, writes},
    page::{Page, paged},
};
use crate::services::{
    self, Context, Error,
    policies::{self, Definition, simulate},
};

writes! {
    CreatePolicyRequest dry,
    UpdatePolicyRequest dry,
    DeletePolicyRequest,
}
paged! { ListPoliciesRequest, ListPolicyVersionsRequest }

/// See the module.
#[derive(Debug)]
pub struct Policies {
    /// What use cases stand on.
    pub context: Context,
}

impl Policies {
    /// The definition of a stored policy.
    async fn stored(&self, name: &str) -> services::Result<Definition> {
        let (slug, number) = convert::read(&self.context, (), |(), f| f.versioned_name("name", "policies", name))?;
        Ok(policies::get(&self.context, &slug, number).await?.definition)
    }
}

#[tonic::async_trait]
impl PolicyService for Policies {
    async fn create_policy(
        &self,
        request: Request<v1::CreatePolicyRequest>,
    ) -> Result<Response<v1::FallbackPolicy>, Status> {
        write(&self.context, request, policy::create, |_, work, new| {
            Box::pin(async move { Ok(policy::message(policies::create(work, new).await?, false)) })
        })
        .await
    }

    async fn get_policy(&self, request: Request<v1::GetPolicyRequest>) -> Result<Response<v1::FallbackPolicy>, Status> {
        let (slug, number) =
            convert::read(&self.context, request.into_inner(), |r, f| f.versioned_name("name", "policies", &r.name))?;
        let stored = policies::get(&self.context, &slug, number).await?;
        Ok(Response::new(policy::message(stored, number > 0)))
    }

    async fn list_policies(
        &self,
        request: Request<v1::ListPoliciesRequest>,
    ) -> Result<Response<v1::ListPoliciesResponse>, Status> {
        let page = convert::read(&self.context, request.into_inner(), |r, f| Page::<String>::open(&r, f))??;
        let after = page.after.clone().unwrap_or_default();
        let found = policies::list(&self.context, &after, page.limit()).await?;
        let (found, next_page_token) = page.close(found, |stored| stored.row.slug.clone());
        let policies = found.into_iter().map(|stored| policy::message(stored, false)).collect();
        Ok(Response::new(v1::ListPoliciesResponse { policies, next_page_token }))
    }

    async fn update_policy(
        &self,
        request: Request<v1::UpdatePolicyRequest>,
    ) -> Result<Response<v1::FallbackPolicy>, Status> {
        write(&self.context, request, policy::update, |_, work, (slug, change, etag)| {
            Box::pin(async move { Ok(policy::message(policies::update(work, &slug, change, &etag).await?, false)) })
        })
        .await
    }

    async fn delete_policy(&self, request: Request<v1::DeletePolicyRequest>) -> Result<Response<()>, Status> {
        write(
            &self.context,
            request,
            |r, f| (f.name("name", "policies", &r.name), r.etag),
            |_, work, (slug, etag)| Box::pin(async move { policies::delete(work, &slug, &etag).await }),
        )
        .await
    }

    async fn list_policy_versions(
        &self,
        request: Request<v1::ListPolicyVersionsRequest>,
    ) -> Result<Response<v1::ListPolicyVersionsResponse>, Status> {
        let (page, slug) = convert::read(&self.context, request.into_inner(), |r, f| {
            (Page::<i32>::open(&r, f), f.name("parent", "policies", &r.parent))
        })?;
        let page = page?;
        let below = page.after.unwrap_or(i32::MAX);
        let found = policies::list_versions(&self.context, &slug, below, page.limit()).await?;
        let (found, next_page_token) = page.close(found, |stored| stored.row.number);
        let policies = found.into_iter().map(|stored| policy::message(stored, true)).collect();
        Ok(Response::new(v1::ListPolicyVersionsResponse { policies, next_page_token }))
    }

    async fn validate_policy(
        &self,
        request: Request<v1::ValidatePolicyRequest>,
    ) -> Result<Response<v1::ValidatePolicyResponse>, Status> {
        use v1::validate_policy_request::Source;
        let request = request.into_inner();
        let template = convert::read(&self.context, request.template, |name, f| {
            (!name.is_empty()).then(|| template::reference("template", &name, f).to_string())
        })?;
        let mut definition = match request.source {
            Some(Source::Name(name)) => self.stored(&name).await?,
            Some(Source::Policy(given)) => {
                let mut faults = Faults::default();
                let definition = policy::definition(given, &mut faults);
                if !faults.is_empty() {
                    return Ok(Response::new(policy::problems(faults.into_violations())));
                }
                definition
            }
            None => return Err(no_source().into()),
        };
        let found = policies::validate(&self.context, &mut definition, template).await?;
        Ok(Response::new(policy::problems(found)))
    }

    async fn simulate_policy(
        &self,
        request: Request<v1::SimulatePolicyRequest>,
    ) -> Result<Response<v1::SimulatePolicyResponse>, Status> {
        use v1::simulate_policy_request::Source;
        let mut request = request.into_inner();
        let definition = match request.source.take() {
            Some(Source::Name(name)) => self.stored(&name).await?,
            Some(Source::Policy(given)) => {
                convert::read(&self.context, given, |given, f| f.inside("policy", |f| policy::definition(given, f)))?
            }
            None => return Err(no_source().into()),
        };
        let question = convert::read(&self.context, request, |r, f| policy::simulate(r, definition, f))?;
        let timelines = simulate::simulate(&self.context, question).await?;
        let timelines = timelines.into_iter().map(policy::timeline).collect();
        Ok(Response::new(v1::SimulatePolicyResponse { timelines }))
    }
}

fn no_source() -> Error {
    Error::invalid("name", "exactly one of name and policy must be set")
}
