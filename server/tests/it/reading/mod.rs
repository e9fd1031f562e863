//! What is sent by RPC and shown again: through a real server and a real client, on a real Postgres.

mod batches;
mod conversations;
mod events;
mod refusals;
mod sends;
mod showing;

use proto::v1::{
    self, conversation_service_client::ConversationServiceClient, event_service_client::EventServiceClient,
    message_service_client::MessageServiceClient, notification_service_client::NotificationServiceClient,
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Status, transport::Channel};
use tonic_types::StatusExt;

use crate::support::World;

/// A world with a server in front of it, an SMS channel `sms-main` and a template `dam` with words for SMS in English.
pub struct Served {
    pub world: World,
    pub channel: Channel,
    pub stop: CancellationToken,
    _guard: DropGuard,
}

impl Served {
    pub async fn new() -> anyhow::Result<Self> {
        let world = World::new().await?;
        world.sms_channel("sms-main", "http://127.0.0.1:9").await?;
        template(&world, "dam", "SMS", "en", "The dam opens at {{ hour }}.", &["hour"]).await?;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("http://{}", listener.local_addr()?);
        let stop = CancellationToken::new();
        tokio::spawn(server::grpc::serve(listener, world.context.clone(), stop.clone()));
        let channel = Channel::from_shared(address)?.connect().await?;
        Ok(Self { world, channel, _guard: stop.clone().drop_guard(), stop })
    }

    pub fn notifications(&self) -> NotificationServiceClient<Channel> {
        NotificationServiceClient::new(self.channel.clone()).max_encoding_message_size(32 * 1024 * 1024)
    }

    pub fn events(&self) -> EventServiceClient<Channel> {
        EventServiceClient::new(self.channel.clone())
    }

    pub fn conversations(&self) -> ConversationServiceClient<Channel> {
        ConversationServiceClient::new(self.channel.clone())
    }

    pub fn channels(&self) -> v1::channel_service_client::ChannelServiceClient<Channel> {
        v1::channel_service_client::ChannelServiceClient::new(self.channel.clone())
    }

    pub fn messages(&self) -> MessageServiceClient<Channel> {
        MessageServiceClient::new(self.channel.clone())
    }

    pub async fn send(&self, request: v1::SendNotificationRequest) -> Result<v1::Notification, Status> {
        Ok(self.notifications().send_notification(request).await?.into_inner())
    }

    pub async fn get(&self, name: &str) -> Result<v1::Notification, Status> {
        let request = v1::GetNotificationRequest { name: name.to_owned(), view: 0 };
        Ok(self.notifications().get_notification(request).await?.into_inner())
    }

    /// Gives every event that was written its number, as the sequencer does.
    pub async fn number(&self) -> anyhow::Result<i64> {
        let mut tx = self.world.context.db.begin().await?;
        let numbered = server::storage::events::sequence(&mut tx, 1000).await?;
        tx.commit().await?;
        self.world.context.wake.signal(server::wake::Topic::Numbered);
        Ok(numbered)
    }
}

/// A template with one content.
pub async fn template(
    world: &World,
    slug: &str,
    channel_type: &str,
    language: &str,
    text: &str,
    variables: &[&str],
) -> anyhow::Result<()> {
    let variables: Vec<_> = variables.iter().map(|v| serde_json::json!({"name": v, "required": true})).collect();
    let definition = serde_json::json!({"version": {"default_language": language, "variables": variables, "contents": [
        {"channel_type": channel_type, "language": language, "body": {"type": "text", "text": text}}]}});
    stored(world, "template", slug, definition).await
}

/// A policy of these steps.
pub async fn policy(world: &World, slug: &str, steps: serde_json::Value) -> anyhow::Result<()> {
    stored(world, "policy", slug, serde_json::json!({"policy": {"steps": steps}})).await
}

async fn stored(world: &World, table: &str, slug: &str, definition: serde_json::Value) -> anyhow::Result<()> {
    let sql = format!(
        "with t as (insert into {table} (slug, latest, created_at, updated_at) values ($1, 1, now(), now()) returning id)
         insert into {table}_version ({table}_id, number, definition, created_at) select id, 1, $2, now() from t"
    );
    sqlx::query(sqlx::AssertSqlSafe(sql)).bind(slug).bind(definition).execute(&world.db.pool).await?;
    Ok(())
}

/// One step over `sms-main` with the template `dam`.
pub fn step() -> v1::Step {
    v1::Step {
        target: Some(v1::step::Target::Channel("channels/sms-main".into())),
        template: "templates/dam".into(),
        ..v1::Step::default()
    }
}

pub fn by_step(step: v1::Step) -> Option<v1::Plan> {
    Some(v1::Plan { way: Some(v1::plan::Way::Step(step)), ..v1::Plan::default() })
}

/// The values that `dam` needs.
pub fn variables() -> Option<prost_types::Struct> {
    Some(text("hour", "noon"))
}

pub fn text(name: &str, value: &str) -> prost_types::Struct {
    let value = prost_types::Value { kind: Some(prost_types::value::Kind::StringValue(value.to_owned())) };
    prost_types::Struct { fields: [(name.to_owned(), value)].into() }
}

/// A right request to a phone.
pub fn to_phone(phone: &str) -> v1::SendNotificationRequest {
    let address = v1::Address { kind: v1::AddressKind::Phone.into(), value: phone.to_owned() };
    v1::SendNotificationRequest {
        recipient: Some(v1::send_notification_request::Recipient::Address(address)),
        plan: by_step(step()),
        variables: variables(),
        ..v1::SendNotificationRequest::default()
    }
}

/// The reason of a status.
pub fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

/// The fields that a status names, each with its reason.
pub fn violations(status: &Status) -> Vec<(String, String)> {
    let details = status.get_error_details();
    let found = details.bad_request().map(|b| b.field_violations.clone()).unwrap_or_default();
    found.into_iter().map(|v| (v.field, v.reason)).collect()
}
