//! The queue of commands: what outside systems publish for us. One consumer at a time, whatever the number of processes, so
//! that commands are taken in the order in which they came. What cannot be understood is put aside with the reason.

use std::time::Duration;

use futures::StreamExt;
use lapin::{
    BasicProperties, Channel, Confirmation, Consumer, ExchangeKind,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
        ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable},
};
use tokio::time::timeout;

use super::{
    exchange::connect,
    rabbit::{DEAD_EXCHANGE, STEP, dead_arguments},
};

/// Where outside systems publish commands: of type topic, durable; any routing key will do.
pub const EXCHANGE: &str = "switchboard.commands";
/// The queue that we consume: quorum, one active consumer.
pub const QUEUE: &str = "switchboard.commands";
/// Where commands lie that were not understood, each with its reason in the header [`REASON`].
pub const DEAD_QUEUE: &str = "switchboard.commands.dead";
/// The header of a dead letter that says why it is one.
pub const REASON: &str = "x-switchboard-reason";
/// Commands that are on their way to us at once.
const PREFETCH: u16 = 32;
/// The longest reason, in bytes: headers are for a line, not for a page.
const MAX_REASON: usize = 2000;

/// An open consumer.
#[derive(Debug)]
pub struct Commands {
    connection: lapin::Connection,
    channel: Channel,
    consumer: Consumer,
}

/// A command that came.
#[derive(Debug)]
pub struct Arrived {
    delivery: Box<lapin::message::Delivery>,
}

impl Arrived {
    /// What was published.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.delivery.data
    }
}

impl Commands {
    /// Connects, declares exchange, queue and dead letters, and begins to consume.
    ///
    /// # Errors
    /// When the broker cannot be reached within ten seconds, or refuses.
    pub async fn open(url: &str) -> anyhow::Result<Self> {
        let connection = connect(url, "switchboard-commands").await?;
        let channel = timeout(STEP, connection.create_channel()).await??;
        timeout(STEP, channel.confirm_select(ConfirmSelectOptions::default())).await??;
        timeout(STEP, declare(&channel)).await??;
        timeout(STEP, channel.basic_qos(PREFETCH, BasicQosOptions::default())).await??;
        let consuming =
            channel.basic_consume(QUEUE.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default());
        let consumer = timeout(STEP, consuming).await??;
        Ok(Self { connection, channel, consumer })
    }

    /// The next command; waits for it.
    ///
    /// # Errors
    /// When the connection is gone: what was not acknowledged comes again.
    pub async fn next(&mut self) -> anyhow::Result<Arrived> {
        let next = self.consumer.next().await.ok_or_else(|| anyhow::anyhow!("the broker closed the consumer"))?;
        Ok(Arrived { delivery: Box::new(next?) })
    }

    /// The command was obeyed, or need not be.
    ///
    /// # Errors
    /// When the connection is gone: it will come again.
    pub async fn done(&self, arrived: Arrived) -> anyhow::Result<()> {
        arrived.delivery.ack(BasicAckOptions::default()).await?;
        Ok(())
    }

    /// Puts the command aside with the reason, and acknowledges it only when the broker has it there.
    ///
    /// # Errors
    /// When the connection is gone: the command will come again.
    pub async fn put_aside(&self, arrived: Arrived, reason: &str) -> anyhow::Result<()> {
        let end = (0..=MAX_REASON.min(reason.len())).rev().find(|at| reason.is_char_boundary(*at)).unwrap_or(0);
        let mut headers = arrived.delivery.properties.headers().clone().unwrap_or_default();
        headers.insert(REASON.into(), AMQPValue::LongString(reason[..end].into()));
        let mut properties: BasicProperties = arrived.delivery.properties.clone();
        properties = properties.with_headers(headers).with_delivery_mode(2);
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let body = &arrived.delivery.data;
        let publishing = self.channel.basic_publish(DEAD_EXCHANGE.into(), QUEUE.into(), options, body, properties);
        let confirmed = timeout(STEP, timeout(STEP, publishing).await??).await??;
        anyhow::ensure!(matches!(confirmed, Confirmation::Ack(None)), "the broker did not take a dead letter");
        self.done(arrived).await
    }

    /// Closes the connection.
    pub async fn close(self) {
        let _ = timeout(Duration::from_secs(2), self.connection.close(200, "closing".into())).await;
    }
}

async fn declare(channel: &Channel) -> lapin::Result<()> {
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    channel.exchange_declare(EXCHANGE.into(), ExchangeKind::Topic, durable, FieldTable::default()).await?;
    channel.exchange_declare(DEAD_EXCHANGE.into(), ExchangeKind::Direct, durable, FieldTable::default()).await?;
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(DEAD_QUEUE.into(), options, dead_arguments()).await?;
    channel.queue_declare(QUEUE.into(), options, arguments()).await?;
    let bind = QueueBindOptions::default();
    channel.queue_bind(DEAD_QUEUE.into(), DEAD_EXCHANGE.into(), QUEUE.into(), bind, FieldTable::default()).await?;
    channel.queue_bind(QUEUE.into(), EXCHANGE.into(), "#".into(), bind, FieldTable::default()).await
}

fn arguments() -> FieldTable {
    let mut table = dead_arguments();
    table.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
    // A command that kills whoever takes it must not do so for ever.
    table.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(20));
    table.insert("x-dead-letter-exchange".into(), AMQPValue::LongString(DEAD_EXCHANGE.into()));
    table.insert("x-dead-letter-routing-key".into(), AMQPValue::LongString(QUEUE.into()));
    table
}
