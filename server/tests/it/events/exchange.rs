//! The exchange: every event, in order, through a broker that is killed and a publisher that is replaced.

use futures::StreamExt;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, ExchangeDeclareOptions, QueueBindOptions,
        QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable},
};
use serde_json::Value;
use server::bus::{commands, exchange};
use testkit::{
    eventually,
    instances::{Private, Rabbit},
};

use super::{Outward, SOON, say};
use crate::support::World;

/// A consumer of the exchange, as somebody outside would write it.
pub struct Outside {
    channel: Channel,
    queue: String,
    _connection: Connection,
}

impl Outside {
    /// Binds a durable queue of this name to events by these routing keys.
    pub async fn listen(url: &str, queue: &str, keys: &[&str]) -> anyhow::Result<Self> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
        for name in [exchange::EXCHANGE, commands::EXCHANGE] {
            channel.exchange_declare(name.into(), ExchangeKind::Topic, durable, FieldTable::default()).await?;
        }
        let mut quorum = FieldTable::default();
        quorum.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        let options = QueueDeclareOptions { durable: true, ..Default::default() };
        // Who declares the dead letters with the server's arguments may look into them before the server has begun.
        for name in [queue, commands::DEAD_QUEUE] {
            channel.queue_declare(name.into(), options, quorum.clone()).await?;
        }
        for key in keys {
            let bind = QueueBindOptions::default();
            channel
                .queue_bind(queue.into(), exchange::EXCHANGE.into(), (*key).into(), bind, FieldTable::default())
                .await?;
        }
        Ok(Self { channel, queue: queue.into(), _connection: connection })
    }

    /// Takes events until `enough` says so.
    pub async fn take(&self, mut enough: impl FnMut(&[Value]) -> bool) -> anyhow::Result<Vec<Value>> {
        let consuming = self.channel.basic_consume(
            self.queue.as_str().into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        );
        let mut consumer = consuming.await?;
        let mut taken: Vec<Value> = Vec::new();
        while !enough(&taken) {
            let next = tokio::time::timeout(SOON, consumer.next()).await;
            let next = next.map_err(|_| anyhow::anyhow!("only {} came: {taken:#?}", taken.len()))?;
            let message = next.ok_or_else(|| anyhow::anyhow!("the broker is gone"))??;
            let event: Value = serde_json::from_slice(&message.data)?;
            assert_eq!(message.properties.message_id().as_ref().map(|id| id.as_str()), event["id"].as_str());
            message.ack(BasicAckOptions::default()).await?;
            taken.push(event);
        }
        self.channel.basic_cancel(consumer.tag(), Default::default()).await?;
        Ok(taken)
    }

    /// Publishes a command.
    pub async fn command(&self, body: &str) -> anyhow::Result<()> {
        let properties = BasicProperties::default().with_content_type("application/cloudevents+json".into());
        let options = BasicPublishOptions::default();
        let name = commands::EXCHANGE.into();
        self.channel.basic_publish(name, "".into(), options, body.as_bytes(), properties).await?.await?;
        Ok(())
    }

    /// A command that was put aside, if there is one.
    pub async fn dead(&self) -> anyhow::Result<lapin::message::BasicGetMessage> {
        let options = lapin::options::BasicGetOptions { no_ack: true };
        let found = self.channel.basic_get(commands::DEAD_QUEUE.into(), options).await?;
        found.ok_or_else(|| anyhow::anyhow!("no dead letter yet"))
    }
}

fn number(event: &Value) -> i64 {
    event["sequence"].as_str().and_then(|n| n.parse().ok()).expect("a number")
}

/// The numbers in the order in which each came first.
fn first_seen(events: &[Value]) -> Vec<i64> {
    let mut seen = Vec::new();
    for event in events {
        if !seen.contains(&number(event)) {
            seen.push(number(event));
        }
    }
    seen
}

#[tokio::test]
async fn events_survive_a_kill_of_the_broker_and_a_restart_of_the_publisher() -> anyhow::Result<()> {
    let world = World::new().await?;
    let broker = Private::rabbit("events-survive").await?;
    let outside = Outside::listen(broker.url(), "outside", &["#"]).await?;
    let first = Outward::start(&world.context, broker.url());
    let sink = "select count(*) from event_cursor";
    eventually(SOON, async || {
        anyhow::ensure!(world.count(sink).await? == 1, "nobody publishes yet");
        Ok(())
    })
    .await?;
    // Rows that stand for more than one page.
    say(&world, 700).await?;
    say(&world, 1).await?;
    let mut all = outside.take(|taken| taken.len() >= 701).await?;
    drop(outside);
    broker.kill().await?;
    say(&world, 40).await?;
    let held = "select count(*) from event_cursor where position >= 741";
    broker.start().await?;
    let outside = Outside::listen(broker.url(), "outside", &["#"]).await?;
    all.extend(outside.take(|taken| first_seen(taken).contains(&741)).await?);
    assert_eq!(first_seen(&all), (1..=741).collect::<Vec<_>>(), "each once and in order, whatever was repeated");
    eventually(SOON, async || {
        anyhow::ensure!(world.count(held).await? == 1, "the position is behind");
        Ok(())
    })
    .await?;
    drop(first);
    say(&world, 3).await?;
    let _second = Outward::start(&world.another_process()?, broker.url());
    let rest = outside.take(|taken| taken.len() >= 3).await?;
    assert_eq!(rest.iter().map(number).collect::<Vec<_>>(), [742, 743, 744], "nothing again, nothing left out");
    Ok(())
}

#[tokio::test]
async fn a_queue_gets_what_it_is_bound_to() -> anyhow::Result<()> {
    let world = World::new().await?;
    let vhost = Rabbit::shared().await?.vhost().await?;
    let outside = Outside::listen(&vhost.url, "sessions", &["session.*"]).await?;
    let _outward = Outward::start(&world.context, &vhost.url);
    eventually(SOON, async || {
        anyhow::ensure!(world.count("select count(*) from event_cursor").await? == 1, "nobody publishes yet");
        Ok(())
    })
    .await?;
    say(&world, 5).await?;
    // A kind that this code has never heard of.
    let (conversation, session) = (uuid::Uuid::now_v7(), uuid::Uuid::now_v7());
    sqlx::query(
        "insert into event_out (kind, from_state, to_state, reason, ids, data, at)
         values ('session', 'active', 'ended', 'INACTIVITY', array[$1], jsonb_build_object('conversation', $2), now())",
    )
    .bind(session)
    .bind(conversation)
    .execute(&world.db.pool)
    .await?;
    let event = outside.take(|taken| !taken.is_empty()).await?.remove(0);
    assert_eq!(event["type"], "org.switchboard.session.ended");
    assert_eq!(event["subject"], format!("sessions/{session}"));
    assert_eq!(event["partitionkey"], format!("conversations/{conversation}"));
    assert_eq!(event["data"]["to"], "ENDED");
    assert_eq!(super::schema::faults(&event), Vec::<String>::new());
    Ok(())
}
