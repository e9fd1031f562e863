//! Kill anything at any moment: everyone is reached, and no attempt is repeated without a recorded UNKNOWN.

use std::{collections::HashMap, sync::Arc, time::Duration};

use domain::{channel::Lane, fallback::Success};
use server::{
    bus::{SharedBus, rabbit::RabbitBus},
    storage::db::MIGRATOR,
};
use testkit::{
    eventually,
    instances::{Private, Rabbit},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::support::{
    World,
    pipeline::{Workers, simulator},
};

const PEOPLE: usize = 300;
/// Of workers that are killed: long enough for a busy machine, short enough to wait for its end.
const LEASE: Duration = Duration::from_secs(8);
/// What the killed relay had granted to nobody comes back after a minute; a busy machine needs its time on top.
const A_LEASE_OF_THE_BUS_AND_MORE: Duration = Duration::from_secs(180);

/// Everybody of these stories, begun on one SMS channel at `base_url`.
pub async fn people(world: &World, base_url: &str) -> anyhow::Result<()> {
    world.sms_channel("sms-a", base_url).await?;
    let mut contacts = Vec::new();
    for n in 0..PEOPLE {
        contacts.push(world.contact(&format!("+91981200{n:04}")).await?);
    }
    let plan = world.plan(&["sms-a"], |_, step| step.success = Success::Sent).await?;
    world.begin(&plan, &contacts, Lane::Bulk).await?;
    Ok(())
}

/// Everyone has an attempt that was accepted or is UNKNOWN, and whoever got two messages has an UNKNOWN on record.
pub async fn everyone_is_reached_once(world: &World, sim: &simulator::Simulator) -> anyhow::Result<usize> {
    let mut received: HashMap<String, usize> = HashMap::new();
    for call in sim.calls().await {
        *received.entry(call.to).or_default() += 1;
    }
    let unknown: Vec<String> = sqlx::query_scalar(
        "select distinct a.value from attempt t join delivery d on d.id = t.delivery_id join address a on a.id = d.address_id
          where t.outcome = 'unknown'",
    )
    .fetch_all(&world.db.pool)
    .await?;
    let addresses: Vec<String> = sqlx::query_scalar("select value from address").fetch_all(&world.db.pool).await?;
    for address in addresses {
        match received.get(&address).copied().unwrap_or(0) {
            1 => {}
            0 => assert!(unknown.contains(&address), "{address} got nothing, and no UNKNOWN says so"),
            n => panic!("{address} got {n} messages"),
        }
    }
    Ok(unknown.len())
}

/// Fails while something is queued, on the wire, or in a chunk.
pub async fn nothing_is_left(world: &World) -> anyhow::Result<()> {
    let open = world.count("select count(*) from delivery where work in ('queued', 'sending')").await?;
    anyhow::ensure!(open == 0, "{open} deliveries are open");
    let chunks = world.count("select count(*) from dispatch").await?;
    anyhow::ensure!(chunks == 0, "{chunks} chunks are left");
    Ok(())
}

#[tokio::test]
async fn a_killed_process_leaves_no_one_unreached_and_repeats_nothing() -> anyhow::Result<()> {
    let (world, sim) = (World::new().await?, simulator().await?);
    people(&world, &sim.base_url).await?;
    // Slow enough to be killed in the middle, however fast or busy the machine is.
    sqlx::query("update channel set rate_per_second = 30").execute(&world.db.pool).await?;
    let workers = Workers::start_with_lease(&world.another_process()?, None, LEASE)?;
    eventually(Duration::from_secs(60), async || {
        anyhow::ensure!(sim.calls().await.len() > 20, "not yet under way");
        Ok(())
    })
    .await?;
    workers.kill().await;
    let killed_at = sim.calls().await.len();
    assert!(killed_at < PEOPLE, "it was killed in the middle: {killed_at}");
    // The rest need not be paced. The leases of the first end by themselves; another process takes over.
    sqlx::query("update channel set rate_per_second = 300").execute(&world.db.pool).await?;
    let _heirs = Workers::start_with_lease(&world.another_process()?, None, LEASE)?;
    eventually(A_LEASE_OF_THE_BUS_AND_MORE, || nothing_is_left(&world)).await?;
    let unknown = everyone_is_reached_once(&world, &sim).await?;
    assert!(unknown <= 50, "at most as many UNKNOWN as calls in flight, found {unknown}");
    Ok(())
}

#[tokio::test]
async fn a_killed_broker_loses_nothing_and_work_goes_on_by_itself() -> anyhow::Result<()> {
    let (world, sim) = (World::new().await?, simulator().await?);
    let rabbit = Private::rabbit("kill-broker").await?;
    let vhost = rabbit.vhost().await?;
    people(&world, &sim.base_url).await?;
    sqlx::query("update channel set rate_per_second = 60").execute(&world.db.pool).await?;
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let bus: SharedBus = Arc::new(RabbitBus::start(&vhost.url, tasks, stop.clone()));
    let _workers = Workers::start(&world.another_process()?, Some(bus))?;
    eventually(Duration::from_secs(60), async || {
        anyhow::ensure!(sim.calls().await.len() > 30, "not yet under way");
        Ok(())
    })
    .await?;
    rabbit.kill().await?;
    rabbit.start().await?;
    eventually(A_LEASE_OF_THE_BUS_AND_MORE, || nothing_is_left(&world)).await?;
    everyone_is_reached_once(&world, &sim).await?;
    stop.cancel();
    Ok(())
}

#[tokio::test]
async fn a_killed_database_loses_nothing_and_every_unknown_is_recorded() -> anyhow::Result<()> {
    let postgres = Private::postgres("kill-database").await?;
    let (world, sim) = (World::on(postgres.database(&MIGRATOR).await?)?, simulator().await?);
    people(&world, &sim.base_url).await?;
    sqlx::query("update channel set rate_per_second = 100, in_flight = 20").execute(&world.db.pool).await?;
    sqlx::query("update channel_provider set timeout_ms = 1000").execute(&world.db.pool).await?;
    let _workers = Workers::start_with_lease(&world.another_process()?, None, LEASE)?;
    for reached in [30, 120] {
        eventually(Duration::from_secs(60), async || {
            anyhow::ensure!(sim.calls().await.len() > reached, "not yet under way");
            Ok(())
        })
        .await?;
        postgres.kill().await?;
        postgres.start().await?;
    }
    eventually(A_LEASE_OF_THE_BUS_AND_MORE, || nothing_is_left(&world)).await?;
    let unknown = everyone_is_reached_once(&world, &sim).await?;
    assert!(unknown <= 2 * 20, "at most as many UNKNOWN as calls in flight at each kill, found {unknown}");
    Ok(())
}

#[tokio::test]
async fn a_poisoned_message_goes_to_the_dead_letter_queue_and_the_rest_goes_on() -> anyhow::Result<()> {
    let (world, sim) = (World::new().await?, simulator().await?);
    let vhost = Rabbit::shared().await?.vhost().await?;
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let bus: SharedBus = Arc::new(RabbitBus::start(&vhost.url, tasks, stop.clone()));
    let _workers = Workers::start(&world.another_process()?, Some(bus))?;
    let dead = poison(&vhost.url).await?;
    people(&world, &sim.base_url).await?;
    eventually(A_LEASE_OF_THE_BUS_AND_MORE, || nothing_is_left(&world)).await?;
    everyone_is_reached_once(&world, &sim).await?;
    eventually(Duration::from_secs(20), async || {
        let found = dead.basic_get("dispatch.sms.bulk.dead".into(), lapin::options::BasicGetOptions::default()).await?;
        let found = found.ok_or_else(|| anyhow::anyhow!("nothing was dead-lettered yet"))?;
        assert_eq!(found.delivery.data, b"this is no ticket");
        Ok(())
    })
    .await?;
    stop.cancel();
    Ok(())
}

/// Publishes a message that is no ticket, once the queue stands.
async fn poison(url: &str) -> anyhow::Result<lapin::Channel> {
    eventually(Duration::from_secs(20), async || {
        let connection = lapin::Connection::connect(url, lapin::ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let options = lapin::options::BasicPublishOptions { mandatory: true, ..Default::default() };
        channel.confirm_select(lapin::options::ConfirmSelectOptions::default()).await?;
        let published = channel.basic_publish(
            "switchboard.dispatch".into(),
            "dispatch.sms.bulk".into(),
            options,
            b"this is no ticket",
            lapin::BasicProperties::default(),
        );
        anyhow::ensure!(published.await?.await? == lapin::Confirmation::Ack(None), "the queue does not stand yet");
        Box::leak(Box::new(connection)); // it lives as long as the test
        Ok(channel)
    })
    .await
}
