//! The plain way with RabbitMQ, for baselines, and the bus that ships, with a count of what it took.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use async_trait::async_trait;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer,
    options::{BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions, QueuePurgeOptions},
    types::FieldTable,
};
use server::bus::{
    Bus, Delivered, Queue, SharedBus, Ticket,
    rabbit::{EXCHANGE, RabbitBus},
};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::bench::until;

/// Confirms that may be open at once.
const WINDOW: usize = 1000;
/// How long a measurement waits for the broker.
const PATIENCE: Duration = Duration::from_secs(120);

/// The bus that ships, over RabbitMQ, and a count of the tickets that the broker has confirmed.
#[derive(Debug)]
pub struct CountedBus {
    inner: RabbitBus,
    confirmed: AtomicU64,
    told: Notify,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl CountedBus {
    /// Connects.
    ///
    /// # Errors
    /// When the broker is not there in a minute.
    pub async fn start(url: &str) -> anyhow::Result<Arc<Self>> {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let inner = RabbitBus::start(url, tasks.clone(), stop.clone());
        let bus = Self { inner, confirmed: AtomicU64::new(0), told: Notify::new(), stop, tasks };
        until("a connection to the broker", Duration::from_secs(60), Duration::from_millis(20), || async {
            Ok(bus.inner.healthy())
        })
        .await?;
        Ok(Arc::new(bus))
    }

    /// The same for workers.
    #[must_use]
    pub fn shared(self: &Arc<Self>) -> SharedBus {
        Arc::clone(self) as SharedBus
    }

    /// Tickets that were confirmed so far.
    pub fn confirmed(&self) -> u64 {
        self.confirmed.load(Ordering::Acquire)
    }

    /// Waits until so many were.
    ///
    /// # Errors
    /// When they are not in time.
    pub async fn reach(&self, wanted: u64) -> anyhow::Result<()> {
        let reached = async {
            loop {
                let told = self.told.notified();
                if self.confirmed() >= wanted {
                    return;
                }
                told.await;
            }
        };
        timeout(PATIENCE, reached)
            .await
            .with_context(|| format!("{} of {wanted} tickets were confirmed", self.confirmed()))
    }

    /// Closes the connections.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        let _ = timeout(Duration::from_secs(5), self.tasks.wait()).await;
    }
}

impl Drop for CountedBus {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[async_trait]
impl Bus for CountedBus {
    async fn publish(&self, queue: Queue, tickets: &[Ticket]) -> Vec<bool> {
        let taken = self.inner.publish(queue, tickets).await;
        let count = u64::try_from(taken.iter().filter(|taken| **taken).count()).unwrap_or_default();
        self.confirmed.fetch_add(count, Ordering::AcqRel);
        self.told.notify_waiters();
        taken
    }

    async fn consume(&self, queue: Queue, prefetch: u16) -> mpsc::Receiver<Delivered> {
        self.inner.consume(queue, prefetch).await
    }

    fn generation(&self) -> watch::Receiver<u64> {
        self.inner.generation()
    }

    fn healthy(&self) -> bool {
        self.inner.healthy()
    }
}

/// A plain connection with one channel.
pub struct Raw {
    connection: Connection,
    /// The channel.
    pub channel: Channel,
}

impl Raw {
    /// Connects, with confirms on.
    ///
    /// # Errors
    /// What the broker says.
    pub async fn connect(url: &str) -> anyhow::Result<Self> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Self { connection, channel })
    }

    /// Publishes persistent, mandatory messages with a sliding window of open confirms; returns when all are confirmed.
    ///
    /// # Errors
    /// What the broker says, and when it refuses one.
    pub async fn publish(&self, queue: &str, bodies: impl Iterator<Item = String>) -> anyhow::Result<()> {
        let mut open = VecDeque::with_capacity(WINDOW);
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let properties = BasicProperties::default().with_delivery_mode(2).with_content_type("application/json".into());
        for body in bodies {
            if open.len() >= WINDOW
                && let Some(oldest) = open.pop_front()
            {
                confirmed(oldest).await?;
            }
            let sent =
                self.channel.basic_publish(EXCHANGE.into(), queue.into(), options, body.as_bytes(), properties.clone());
            open.push_back(sent.await?);
        }
        for confirm in open {
            confirmed(confirm).await?;
        }
        Ok(())
    }

    /// Consumes a queue.
    ///
    /// # Errors
    /// What the broker says.
    pub async fn consume(&self, queue: &str, prefetch: u16) -> anyhow::Result<Consumer> {
        self.channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        Ok(self.channel.basic_consume(queue.into(), "".into(), options, arguments).await?)
    }

    /// Empties a queue.
    ///
    /// # Errors
    /// What the broker says.
    pub async fn purge(&self, queue: &str) -> anyhow::Result<()> {
        self.channel.queue_purge(queue.into(), QueuePurgeOptions::default()).await?;
        Ok(())
    }

    /// Closes the connection.
    pub async fn close(self) {
        let _ = self.connection.close(200, "done".into()).await;
    }
}

async fn confirmed(confirm: lapin::PublisherConfirm) -> anyhow::Result<()> {
    let confirmation = timeout(PATIENCE, confirm).await.context("a confirm did not come")??;
    anyhow::ensure!(matches!(confirmation, Confirmation::Ack(None)), "the broker refused a message");
    Ok(())
}

/// The body of a ticket.
#[must_use]
pub fn body(chunk: i64) -> String {
    format!("{{\"chunk\":{chunk}}}")
}
