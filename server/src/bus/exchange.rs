//! The topic exchange on which events leave: a connection of its own, pipelined confirms, and no state but the connection. Who
//! publishes keeps the position, and begins again from it when anything fails.

use std::{sync::Arc, time::Duration};

use futures::future::try_join_all;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, ExchangeKind,
    options::{BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions},
    types::FieldTable,
};
use tokio::time::timeout;

use super::rabbit::STEP;

/// The exchange, of type topic, durable.
pub const EXCHANGE: &str = "switchboard.events";
/// What the body of a message is: one event in the JSON format of CloudEvents.
pub const CONTENT_TYPE: &str = "application/cloudevents+json";
/// A page that is not confirmed by then counts as refused.
const CONFIRM: Duration = Duration::from_secs(30);

/// One event on its way.
#[derive(Debug, Clone)]
pub struct Message {
    /// The id of the event, by which consumers recognise repetitions.
    pub id: String,
    /// The routing key.
    pub routing_key: String,
    /// The type of the event.
    pub r#type: String,
    /// When it happened, in seconds since 1970.
    pub seconds: u64,
    /// The event as JSON.
    pub body: Arc<[u8]>,
}

/// An open connection to the exchange.
#[derive(Debug)]
pub struct Exchange {
    connection: Connection,
    channel: Channel,
}

impl Exchange {
    /// Connects and declares the exchange.
    ///
    /// # Errors
    /// When the broker cannot be reached within ten seconds, or refuses.
    pub async fn open(url: &str) -> anyhow::Result<Self> {
        let connection = connect(url, "switchboard-events").await?;
        let channel = timeout(STEP, connection.create_channel()).await??;
        timeout(STEP, channel.confirm_select(ConfirmSelectOptions::default())).await??;
        timeout(STEP, declare(&channel)).await??;
        Ok(Self { connection, channel })
    }

    /// Publishes in order and waits until the broker has all of it: confirmed, it stands in every queue that is bound to it.
    ///
    /// # Errors
    /// When one was not confirmed within half a minute; then any part of it may have arrived.
    pub async fn publish(&self, messages: &[Message]) -> anyhow::Result<()> {
        let sending = async {
            let mut confirms = Vec::with_capacity(messages.len());
            for message in messages {
                confirms.push(self.send(message).await?);
            }
            let confirmed = try_join_all(confirms).await?;
            let refused = confirmed.iter().filter(|c| !matches!(c, Confirmation::Ack(_))).count();
            anyhow::ensure!(refused == 0, "the broker refused {refused} of {} events", messages.len());
            Ok(())
        };
        timeout(CONFIRM, sending).await.map_err(|_| anyhow::anyhow!("the broker did not confirm in time"))?
    }

    async fn send(&self, message: &Message) -> lapin::Result<lapin::PublisherConfirm> {
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_content_type(CONTENT_TYPE.into())
            .with_message_id(message.id.as_str().into())
            .with_type(message.r#type.as_str().into())
            .with_timestamp(message.seconds)
            .with_app_id("switchboard".into());
        // Not mandatory: an event that no queue wants is no fault.
        let options = BasicPublishOptions::default();
        let key = message.routing_key.as_str().into();
        self.channel.basic_publish(EXCHANGE.into(), key, options, &message.body, properties).await
    }

    /// Closes the connection.
    pub async fn close(self) {
        let _ = timeout(Duration::from_secs(2), self.connection.close(200, "closing".into())).await;
    }
}

/// A connection with a heartbeat of ten seconds.
pub(super) async fn connect(url: &str, name: &str) -> anyhow::Result<Connection> {
    let separator = if url.contains('?') { '&' } else { '?' };
    let url = if url.contains("heartbeat=") { url.to_owned() } else { format!("{url}{separator}heartbeat=10") };
    let properties = ConnectionProperties::default().with_connection_name(name.to_owned().into());
    Ok(timeout(STEP, Connection::connect(&url, properties)).await??)
}

/// Declares the exchange; the same arguments always, so that everybody may.
pub(super) async fn declare(channel: &Channel) -> lapin::Result<()> {
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    channel.exchange_declare(EXCHANGE.into(), ExchangeKind::Topic, durable, FieldTable::default()).await
}
