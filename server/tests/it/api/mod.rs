//! The API over a real client, a real socket and a real Postgres: one module a story.

mod channels;
mod compliance;
mod definitions;
mod edge;
mod idempotency;
mod importing;
mod paging;
mod violations;

use proto::v1::{
    self, call_list_service_client::CallListServiceClient, channel_service_client::ChannelServiceClient,
    compliance_service_client::ComplianceServiceClient, contact_service_client::ContactServiceClient,
    policy_service_client::PolicyServiceClient, template_service_client::TemplateServiceClient,
};
use server::services::directory::Directory;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Status, transport::Channel};
use tonic_types::StatusExt;

use crate::support::World;

/// A server on a port of its own, and a connection to it. It stops with this value.
pub struct Api {
    pub world: World,
    pub channel: Channel,
    _stops: DropGuard,
}

impl Api {
    pub async fn start() -> anyhow::Result<Self> {
        Self::of(World::new().await?).await
    }

    /// A server that finds its secrets where production does: in the environment.
    pub async fn with_real_secrets() -> anyhow::Result<Self> {
        let mut world = World::new().await?;
        world.context.directory = Directory::default();
        Self::of(world).await
    }

    async fn of(world: World) -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        tokio::spawn(server::grpc::serve(listener, world.context.clone(), stop.clone()));
        let channel = Channel::from_shared(format!("http://{address}"))?.connect().await?;
        Ok(Self { world, channel, _stops: stop.drop_guard() })
    }

    pub fn contacts(&self) -> ContactServiceClient<Channel> {
        ContactServiceClient::new(self.channel.clone())
    }

    pub fn channels(&self) -> ChannelServiceClient<Channel> {
        ChannelServiceClient::new(self.channel.clone())
    }

    pub fn templates(&self) -> TemplateServiceClient<Channel> {
        TemplateServiceClient::new(self.channel.clone())
    }

    pub fn policies(&self) -> PolicyServiceClient<Channel> {
        PolicyServiceClient::new(self.channel.clone())
    }

    pub fn compliance(&self) -> ComplianceServiceClient<Channel> {
        ComplianceServiceClient::new(self.channel.clone())
    }

    pub fn call_lists(&self) -> CallListServiceClient<Channel> {
        CallListServiceClient::new(self.channel.clone())
    }

    pub async fn count(&self, table: &'static str) -> anyhow::Result<i64> {
        let query = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
        Ok(sqlx::query_scalar(query).fetch_one(&self.world.db.pool).await?)
    }

    pub async fn create(&self, contact: v1::Contact) -> Result<v1::Contact, Status> {
        let request = v1::CreateContactRequest { contact: Some(contact), ..Default::default() };
        Ok(self.contacts().create_contact(request).await?.into_inner())
    }
}

/// The reason of an error.
pub fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

/// The fields that an error complains about.
pub fn fields(status: &Status) -> Vec<String> {
    let details = status.get_error_details();
    details.bad_request().map(|b| b.field_violations.iter().map(|v| v.field.clone()).collect()).unwrap_or_default()
}

pub fn phone(value: &str) -> v1::Address {
    v1::Address { kind: v1::AddressKind::Phone.into(), value: value.into() }
}

pub fn person(external_id: &str, number: &str) -> v1::Contact {
    v1::Contact {
        external_id: external_id.into(),
        display_name: "Asha Rao".into(),
        addresses: vec![phone(number)],
        ..Default::default()
    }
}
