//! Channels that need no third party: connectors outside the process, web chat, signed webhooks. The API over a real socket, all
//! workers, a real Postgres.

mod attached;
mod lost;
mod presence;
mod sharing;
mod signed;
mod visitors;
mod workers;

use std::{sync::Arc, time::Duration};

use domain::{
    channel::Lane,
    fallback::{Step, Success},
};
use proto::v1::{
    self, attach_connector_request::Item as Say, attach_connector_response::Item as Heard,
    channel_service_client::ChannelServiceClient, connector_service_client::ConnectorServiceClient,
    web_chat_service_client::WebChatServiceClient,
};
use server::services::plans::PinnedPlan;
use testkit::eventually;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Status, Streaming, transport::Channel};
use uuid::Uuid;

use crate::support::{World, pipeline::Workers};

pub const SOON: Duration = Duration::from_secs(30);

/// A server, all workers, and a connection to it.
pub struct Stage {
    pub world: World,
    pub channel: Channel,
    _workers: Workers,
    _stops: DropGuard,
}

impl Stage {
    pub async fn start() -> anyhow::Result<Self> {
        Self::of(World::new().await?).await
    }

    pub async fn of(world: World) -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        tokio::spawn(server::grpc::serve(listener, world.context.clone(), stop.clone()));
        let channel = Channel::from_shared(format!("http://{address}"))?.connect().await?;
        let workers = Workers::start(&world.context, None)?;
        let stage = Self { world, channel, _workers: workers, _stops: stop.drop_guard() };
        stage.template().await?;
        Ok(stage)
    }

    pub fn connectors(&self) -> ConnectorServiceClient<Channel> {
        ConnectorServiceClient::new(self.channel.clone())
    }

    pub fn chats(&self) -> WebChatServiceClient<Channel> {
        WebChatServiceClient::new(self.channel.clone())
    }

    /// The template of the world's plans, for the media of these stories.
    async fn template(&self) -> anyhow::Result<()> {
        let content = |channel_type: &str| {
            let body = serde_json::json!({"type": "text", "text": "The dam opens at noon."});
            serde_json::json!({"channel_type": channel_type, "language": "en", "body": body})
        };
        let contents: Vec<_> = ["SMS", "WEBHOOK", "WEBCHAT"].map(content).into();
        let template =
            serde_json::json!({"version": {"default_language": "en", "variables": [], "contents": contents}});
        sqlx::query(
            "with t as (insert into template (slug, latest, created_at, updated_at) values ('dam', 1, now(), now()) returning id)
             insert into template_version (template_id, number, definition, created_at) select id, 1, $1, now() from t",
        )
        .bind(template)
        .execute(&self.world.db.pool)
        .await?;
        Ok(())
    }

    /// Creates a channel with one provider, as an administrator does.
    pub async fn channel_of(
        &self,
        slug: &str,
        channel_type: v1::ChannelType,
        ours: &str,
        connector: &str,
        settings: &[(&str, prost_types::value::Kind)],
    ) -> Result<v1::Channel, Status> {
        let value = |kind: &prost_types::value::Kind| prost_types::Value { kind: Some(kind.clone()) };
        let fields = settings.iter().map(|(name, kind)| ((*name).to_owned(), value(kind))).collect();
        let provider = v1::Provider {
            id: "main".into(),
            connector: connector.into(),
            settings: Some(prost_types::Struct { fields }),
            ..Default::default()
        };
        let channel = v1::Channel {
            channel_type: channel_type.into(),
            service_identifier: ours.into(),
            providers: vec![provider],
            ..Default::default()
        };
        let request =
            v1::CreateChannelRequest { channel_id: slug.into(), channel: Some(channel), ..Default::default() };
        Ok(ChannelServiceClient::new(self.channel.clone()).create_channel(request).await?.into_inner())
    }

    /// A channel of the medium `shop` that connectors outside serve.
    pub async fn outside(&self, slug: &str, after_unknown: &str, lease: f64, grace: f64) -> anyhow::Result<()> {
        use prost_types::value::Kind::{NumberValue, StringValue};
        let settings = [
            ("after_unknown", StringValue(after_unknown.into())),
            ("lease_seconds", NumberValue(lease)),
            ("grace_seconds", NumberValue(grace)),
        ];
        self.channel_of(slug, v1::ChannelType::Webhook, "shop:desk", "external", &settings).await?;
        Ok(())
    }

    /// A person of the medium `shop`.
    pub async fn person(&self, address: &str) -> anyhow::Result<i64> {
        let id = sqlx::query_scalar(
            "with c as (insert into contact (display_name, locale, created_at, updated_at) values ('A', 'en', now(), now())
                        returning id),
                  a as (insert into address (kind, value, created_at) values ('external', $1, now()) returning id)
             insert into contact_address (contact_id, address_id) select c.id, a.id from c, a returning contact_id",
        )
        .bind(address)
        .fetch_one(&self.world.db.pool)
        .await?;
        Ok(id)
    }

    pub async fn plan(&self, channels: &[&str], success: Success) -> anyhow::Result<Arc<PinnedPlan>> {
        self.world
            .plan(channels, |_, step: &mut Step| {
                step.success = success;
                step.every = chrono::Duration::seconds(1);
            })
            .await
    }

    /// One notification for one person of the shop, over the channel `shop`.
    pub async fn notify(&self, address: &str, success: Success) -> anyhow::Result<Uuid> {
        let (person, plan) = (self.person(address).await?, self.plan(&["shop"], success).await?);
        Ok(self.world.begin(&plan, &[person], Lane::Interactive).await?.remove(0))
    }

    pub async fn comes_to(&self, notification: Uuid, step: i16, wanted: &str) -> anyhow::Result<()> {
        eventually(SOON, async || {
            let found = self.world.delivery(notification, step).await?;
            anyhow::ensure!(found == wanted, "the delivery is {found}, not {wanted}");
            Ok(())
        })
        .await
    }

    pub async fn ends_as(&self, notification: Uuid, wanted: &str) -> anyhow::Result<()> {
        eventually(SOON, async || {
            let found = self.world.stands(notification).await?;
            anyhow::ensure!(found == wanted, "the notification is {found}, not {wanted}");
            Ok(())
        })
        .await
    }

    /// How the attempts of a notification's first delivery ended, in order.
    pub async fn attempts(&self, notification: Uuid) -> anyhow::Result<Vec<String>> {
        let ended = sqlx::query_scalar(
            "select a.outcome::text from delivery d join attempt a on a.delivery_id = d.id
              where d.notification_id = $1 and d.step = 0 order by a.n",
        )
        .bind(notification)
        .fetch_all(&self.world.db.pool)
        .await?;
        Ok(ended)
    }
}

/// An instance that is attached, as a program outside would be. Dropped, it is gone as if killed.
pub struct Instance {
    say: mpsc::Sender<v1::AttachConnectorRequest>,
    hears: Streaming<v1::AttachConnectorResponse>,
    pub welcome: v1::ConnectorWelcome,
}

impl Instance {
    pub async fn attach(stage: &Stage, channel: &str, name: &str, credits: i32) -> anyhow::Result<Self> {
        let (say, said) = mpsc::channel(1000);
        let hello = v1::ConnectorHello {
            channel: format!("channels/{channel}"),
            instance: name.into(),
            software: "test/1".into(),
            max_in_flight: credits,
            settle_timeout: None,
        };
        say.send(v1::AttachConnectorRequest { item: Some(Say::Hello(hello)) }).await?;
        let requests = tokio_stream::wrappers::ReceiverStream::new(said);
        let mut hears = stage.connectors().attach_connector(requests).await?.into_inner();
        let first = hears.message().await?.and_then(|m| m.item);
        let Some(Heard::Welcome(welcome)) = first else { anyhow::bail!("no welcome: {first:?}") };
        Ok(Self { say, hears, welcome })
    }

    pub async fn say(&self, item: Say) -> anyhow::Result<()> {
        Ok(self.say.send(v1::AttachConnectorRequest { item: Some(item) }).await?)
    }

    /// What comes next, checkpoints aside.
    pub async fn hear(&mut self) -> anyhow::Result<Heard> {
        let ends = tokio::time::Instant::now() + SOON;
        loop {
            let next = tokio::time::timeout_at(ends, self.hears.message()).await??;
            match next.and_then(|m| m.item) {
                Some(Heard::Checkpoint(_)) => {}
                Some(item) => return Ok(item),
                None => anyhow::bail!("the stream has ended"),
            }
        }
    }

    pub async fn delivery(&mut self) -> anyhow::Result<v1::OutboundDelivery> {
        match self.hear().await? {
            Heard::Delivery(delivery) => Ok(delivery),
            other => anyhow::bail!("not a delivery: {other:?}"),
        }
    }

    /// Whether nothing comes for a while.
    pub async fn is_quiet_for(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.hear()).await.is_err()
    }

    /// Settles, and hears what became of it.
    pub async fn settle(&mut self, settled: v1::DeliverySettled) -> anyhow::Result<v1::SettledAck> {
        self.say(Say::Settled(settled)).await?;
        match self.hear().await? {
            Heard::SettledAck(ack) => Ok(ack),
            other => anyhow::bail!("not an ack: {other:?}"),
        }
    }
}

pub fn accepted(ack_id: &str, id: &str) -> v1::DeliverySettled {
    v1::DeliverySettled {
        ack_id: ack_id.into(),
        outcome: v1::Outcome::Accepted.into(),
        provider_message_id: id.into(),
        ..Default::default()
    }
}

pub fn ended(ack_id: &str, outcome: v1::Outcome) -> v1::DeliverySettled {
    v1::DeliverySettled { ack_id: ack_id.into(), outcome: outcome.into(), ..Default::default() }
}

pub fn external(value: &str) -> v1::Address {
    v1::Address { kind: v1::AddressKind::External.into(), value: value.into() }
}

pub fn text(words: &str) -> v1::Content {
    v1::Content { body: Some(v1::content::Body::Text(v1::content::Text { text: words.into() })) }
}
