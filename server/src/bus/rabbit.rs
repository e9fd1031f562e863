//! The bus over RabbitMQ: quorum queues, pipelined confirms, and connections that are rebuilt for ever.
//!
//! Publishing and consuming use separate connections, so that flow control of one never holds back the other. The client
//! library's own recovery is not used: it does not reopen a channel that an error closed. A supervisor rebuilds the
//! connection, its channels and the topology instead, with a timeout on every step.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures::{StreamExt, future::join_all};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, ExchangeKind,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, BasicRejectOptions,
        ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable},
};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Ack, Bus, Delivered, Queue, Ticket};

/// Where dispatch tickets are published; routing key = queue name.
pub const EXCHANGE: &str = "switchboard.dispatch";
/// Where poisoned and endlessly returned messages go; routing key = queue name.
pub const DEAD_EXCHANGE: &str = "switchboard.dead";
/// A connection, a declaration, a confirm: each must be over within this.
pub(super) const STEP: Duration = Duration::from_secs(10);
/// A confirm that takes longer is treated as refused, and the connection as broken.
const CONFIRM: Duration = Duration::from_secs(5);
/// Messages that may wait in one queue before the broker refuses more.
const MAX_LENGTH: i64 = 200_000;
/// Deliveries of one message before the broker gives it to the dead-letter queue.
const DELIVERY_LIMIT: i64 = 20;

/// See the module.
#[derive(Debug)]
pub struct RabbitBus {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    url: String,
    publisher: Mutex<Option<Channel>>,
    generation: watch::Sender<u64>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// Acknowledges one message on the channel that delivered it.
#[derive(Debug)]
pub struct Acker(Box<lapin::message::Delivery>);

impl Acker {
    /// Acks; an error means that the channel is gone and the broker will repeat, which is harmless.
    pub(super) async fn ack(self) {
        let _ = self.0.ack(BasicAckOptions::default()).await;
    }

    /// Rejects without requeue: the broker dead-letters it.
    pub(super) async fn reject(self) {
        let _ = self.0.reject(BasicRejectOptions { requeue: false }).await;
    }
}

impl RabbitBus {
    /// Begins to keep a connection to the broker at `url`. Returns at once; [`Bus::healthy`] says when it stands.
    #[must_use]
    pub fn start(url: &str, tasks: TaskTracker, stop: CancellationToken) -> Self {
        let separator = if url.contains('?') { '&' } else { '?' };
        let url = if url.contains("heartbeat=") { url.to_owned() } else { format!("{url}{separator}heartbeat=10") };
        let shared =
            Arc::new(Shared { url, publisher: Mutex::new(None), generation: watch::Sender::new(0), tasks, stop });
        let keeper = Arc::clone(&shared);
        shared.tasks.spawn(async move { keeper.keep_publisher().await });
        Self { shared }
    }
}

impl Shared {
    async fn connect(&self, name: &str) -> anyhow::Result<Connection> {
        let properties = ConnectionProperties::default().with_connection_name(name.to_owned().into());
        Ok(timeout(STEP, Connection::connect(&self.url, properties)).await??)
    }

    async fn keep_publisher(&self) {
        let mut pause = Backoff::default();
        while !self.stop.is_cancelled() {
            match self.open_publisher().await {
                Ok((connection, channel)) => {
                    pause = Backoff::default();
                    *self.publisher.lock().unwrap_or_else(PoisonError::into_inner) = Some(channel.clone());
                    self.generation.send_modify(|n| *n += 1);
                    tracing::info!("connected to the broker");
                    while connection.status().connected() && channel.status().connected() && self.has_publisher() {
                        tokio::select! {
                            () = self.stop.cancelled() => break,
                            () = tokio::time::sleep(Duration::from_millis(250)) => {}
                        }
                    }
                    self.publisher.lock().unwrap_or_else(PoisonError::into_inner).take();
                    let _ = timeout(Duration::from_secs(2), connection.close(200, "closing".into())).await;
                }
                Err(error) => tracing::warn!(error = %error, "the broker cannot be reached"),
            }
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = tokio::time::sleep(pause.next()) => {}
            }
        }
    }

    fn has_publisher(&self) -> bool {
        self.publisher.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    async fn open_publisher(&self) -> anyhow::Result<(Connection, Channel)> {
        let connection = self.connect("switchboard-publish").await?;
        let channel = timeout(STEP, connection.create_channel()).await??;
        timeout(STEP, channel.confirm_select(ConfirmSelectOptions::default())).await??;
        timeout(STEP, declare(&channel)).await??;
        Ok((connection, channel))
    }

    async fn keep_consumer(&self, queue: Queue, prefetch: u16, out: mpsc::Sender<Delivered>) {
        let mut pause = Backoff::default();
        while !self.stop.is_cancelled() && !out.is_closed() {
            match self.consume_once(queue, prefetch, &out).await {
                Ok(()) => pause = Backoff::default(),
                Err(error) => tracing::debug!(queue = %queue.name(), error = %error, "the consumer must be rebuilt"),
            }
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = tokio::time::sleep(pause.next()) => {}
            }
        }
    }

    async fn consume_once(&self, queue: Queue, prefetch: u16, out: &mpsc::Sender<Delivered>) -> anyhow::Result<()> {
        let connection = self.connect(&format!("switchboard-{}", queue.name())).await?;
        let channel = timeout(STEP, connection.create_channel()).await??;
        timeout(STEP, declare(&channel)).await??;
        timeout(STEP, channel.basic_qos(prefetch, BasicQosOptions::default())).await??;
        let consuming = channel.basic_consume(
            queue.name().into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        );
        let mut consumer = timeout(STEP, consuming).await??;
        loop {
            let next = tokio::select! {
                () = self.stop.cancelled() => break,
                () = out.closed() => break,
                next = consumer.next() => next,
            };
            let Some(message) = next else { break };
            let message = message?;
            let ticket = serde_json::from_slice(&message.data).map_err(|error| error.to_string());
            let delivered = Delivered { ticket, ack: Ack::Rabbit(Acker(Box::new(message))) };
            if out.send(delivered).await.is_err() {
                break;
            }
        }
        let _ = timeout(Duration::from_secs(2), connection.close(200, "closing".into())).await;
        Ok(())
    }
}

/// Declares exchanges and queues; the same names and arguments always, so that it may be repeated by every process.
async fn declare(channel: &Channel) -> lapin::Result<()> {
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    for exchange in [EXCHANGE, DEAD_EXCHANGE] {
        channel.exchange_declare(exchange.into(), ExchangeKind::Direct, durable, FieldTable::default()).await?;
    }
    for queue in Queue::all() {
        let name = queue.name();
        let dead = format!("{name}.dead");
        for (queue_name, exchange, arguments) in
            [(&dead, DEAD_EXCHANGE, dead_arguments()), (&name, EXCHANGE, arguments(&name))]
        {
            let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
            channel.queue_declare(queue_name.as_str().into(), options, arguments).await?;
            let bind = QueueBindOptions::default();
            channel
                .queue_bind(
                    queue_name.as_str().into(),
                    exchange.into(),
                    name.as_str().into(),
                    bind,
                    FieldTable::default(),
                )
                .await?;
        }
    }
    Ok(())
}

fn arguments(name: &str) -> FieldTable {
    let mut table = FieldTable::default();
    table.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    table.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    table.insert("x-max-length".into(), AMQPValue::LongLongInt(MAX_LENGTH));
    table.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(DELIVERY_LIMIT));
    table.insert("x-dead-letter-exchange".into(), AMQPValue::LongString(DEAD_EXCHANGE.into()));
    table.insert("x-dead-letter-routing-key".into(), AMQPValue::LongString(name.into()));
    table.insert("x-dead-letter-strategy".into(), AMQPValue::LongString("at-least-once".into()));
    table
}

pub(super) fn dead_arguments() -> FieldTable {
    let mut table = FieldTable::default();
    table.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    table
}

#[async_trait]
impl Bus for RabbitBus {
    async fn publish(&self, queue: Queue, tickets: &[Ticket]) -> Vec<bool> {
        let channel = self.shared.publisher.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(channel) = channel else { return vec![false; tickets.len()] };
        let name = queue.name();
        let sending = async {
            let mut confirms = Vec::with_capacity(tickets.len());
            for ticket in tickets {
                confirms.push(publish_one(&channel, &name, *ticket).await.ok());
            }
            join_all(confirms.into_iter().map(|confirm| async {
                match confirm {
                    Some(confirm) => matches!(confirm.await, Ok(Confirmation::Ack(None))),
                    None => false,
                }
            }))
            .await
        };
        match timeout(CONFIRM, sending).await {
            Ok(results) => results,
            Err(_) => {
                tracing::warn!(queue = %name, "the broker did not confirm in time: the connection is rebuilt");
                self.shared.publisher.lock().unwrap_or_else(PoisonError::into_inner).take();
                vec![false; tickets.len()]
            }
        }
    }

    async fn consume(&self, queue: Queue, prefetch: u16) -> mpsc::Receiver<Delivered> {
        let (sender, receiver) = mpsc::channel(usize::from(prefetch.max(1)));
        let shared = Arc::clone(&self.shared);
        self.shared.tasks.spawn(async move { shared.keep_consumer(queue, prefetch, sender).await });
        receiver
    }

    fn generation(&self) -> watch::Receiver<u64> {
        self.shared.generation.subscribe()
    }

    fn healthy(&self) -> bool {
        self.shared.has_publisher()
    }
}

async fn publish_one(channel: &Channel, name: &str, ticket: Ticket) -> lapin::Result<lapin::PublisherConfirm> {
    let body = ticket.body();
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let properties = BasicProperties::default().with_delivery_mode(2).with_content_type("application/json".into());
    channel.basic_publish(EXCHANGE.into(), name.into(), options, body.as_bytes(), properties).await
}

/// Capped exponential pauses with jitter and no last try.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    tries: u32,
}

impl Backoff {
    pub(super) fn next(&mut self) -> Duration {
        let base = 100u64.saturating_mul(1 << self.tries.min(6));
        self.tries += 1;
        Duration::from_millis(base / 2 + rand::random_range(0..=base / 2))
    }
}

/// How many messages lie in each dead-letter queue; declares the topology where it is not there yet.
///
/// # Errors
/// When the broker cannot be reached or refuses.
pub async fn dead_letters(url: &str) -> anyhow::Result<Vec<(String, u32)>> {
    let properties = ConnectionProperties::default().with_connection_name("switchboard-doctor".into());
    let connection = timeout(STEP, Connection::connect(url, properties)).await??;
    let channel = timeout(STEP, connection.create_channel()).await??;
    timeout(STEP, declare(&channel)).await??;
    let mut counted = Vec::new();
    for queue in Queue::all() {
        let name = format!("{}.dead", queue.name());
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let declared = channel.queue_declare(name.as_str().into(), options, FieldTable::default()).await?;
        counted.push((name, declared.message_count()));
    }
    let _ = timeout(STEP, connection.close(200, "done".into())).await;
    Ok(counted)
}
