//! The network fails: between a process and Postgres, between a process and RabbitMQ, cut, silent, or with every connection
//! forgotten. Everyone is reached, nothing is repeated, and work goes on by itself.

use std::{sync::Arc, time::Duration};

use server::{
    bus::{SharedBus, rabbit::RabbitBus},
    services::Context,
};
use simulator::Simulator;
use testkit::{Proxy, eventually, instances::Rabbit};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    killing::{everyone_is_reached_once, nothing_is_left, people},
    support::{
        World,
        pipeline::{Workers, simulator},
    },
};

/// Long enough for leases, for the locks of what was cut off, and for a slow machine; an idle one needs a part of it.
const RECOVERED: Duration = Duration::from_secs(150);
/// Short, so that what was claimed comes back soon.
const LEASE: Duration = Duration::from_secs(8);
/// How long a piece of work may take in these tests before its connection is taken for lost.
const PATIENCE: Duration = Duration::from_secs(6);
/// Open calls of the channel.
const IN_FLIGHT: usize = 20;

/// People who wait for a message on a channel that takes its time.
async fn world() -> anyhow::Result<(World, Simulator)> {
    let (world, sim) = (World::new().await?, simulator().await?);
    people(&world, &sim.base_url).await?;
    sqlx::query("update channel set rate_per_second = 100, in_flight = $1")
        .bind(i32::try_from(IN_FLIGHT)?)
        .execute(&world.db.pool)
        .await?;
    sqlx::query("update channel_provider set timeout_ms = 2000").execute(&world.db.pool).await?;
    Ok((world, sim))
}

/// A process of the world that reaches Postgres by way of the proxy.
fn behind(world: &World, proxy: &Proxy) -> anyhow::Result<Context> {
    let mut context = World::context(proxy.url(), world.context.clock.clone())?;
    context.db = context.db.with_patience(PATIENCE);
    Ok(context)
}

async fn under_way(sim: &Simulator, calls: usize) -> anyhow::Result<()> {
    eventually(Duration::from_secs(60), async || {
        let made = sim.calls().await.len();
        anyhow::ensure!(made >= calls, "{made} calls so far");
        Ok(())
    })
    .await
}

/// Nothing is open any more, nobody was left out or written to twice, and no more is UNKNOWN than what was open when it happened.
async fn all_is_well(world: &World, sim: &Simulator, troubles: usize) -> anyhow::Result<()> {
    eventually(RECOVERED, || nothing_is_left(world)).await?;
    let unknown = everyone_is_reached_once(world, sim).await?;
    assert!(unknown <= troubles * IN_FLIGHT, "at most as many UNKNOWN as calls in flight each time, found {unknown}");
    Ok(())
}

#[tokio::test]
async fn a_cut_between_a_process_and_postgres_loses_nothing() -> anyhow::Result<()> {
    let (world, sim) = world().await?;
    let proxy = Proxy::before_postgres(&world.db.url).await?;
    let _workers = Workers::start_with_lease(&behind(&world, &proxy)?, None, LEASE)?;
    for calls in [30, 100] {
        under_way(&sim, calls).await?;
        proxy.cut();
        tokio::time::sleep(Duration::from_secs(1)).await; // the length of the cut is what this is about
        proxy.heal();
    }
    all_is_well(&world, &sim, 2).await
}

#[tokio::test]
async fn a_postgres_that_is_silent_and_then_hears_everything_late_is_told_nothing_wrong() -> anyhow::Result<()> {
    let (world, sim) = world().await?;
    let proxy = Proxy::before_postgres(&world.db.url).await?;
    let _workers = Workers::start_with_lease(&behind(&world, &proxy)?, None, LEASE)?;
    under_way(&sim, 60).await?;
    proxy.silence();
    tokio::time::sleep(PATIENCE + LEASE).await; // longer than patience and lease is what this is about
    proxy.heal();
    all_is_well(&world, &sim, 1).await
}

#[tokio::test]
async fn connections_to_postgres_that_the_network_forgot_are_replaced_by_themselves() -> anyhow::Result<()> {
    let (world, sim) = world().await?;
    let proxy = Proxy::before_postgres(&world.db.url).await?;
    let _workers = Workers::start_with_lease(&behind(&world, &proxy)?, None, LEASE)?;
    under_way(&sim, 60).await?;
    proxy.forget();
    all_is_well(&world, &sim, 1).await
}

#[tokio::test]
async fn a_process_that_is_cut_off_from_postgres_in_silence_leaves_its_work_and_its_lead_to_another()
-> anyhow::Result<()> {
    let (world, sim) = world().await?;
    let proxy = Proxy::before_postgres(&world.db.url).await?;
    let _cut_off = Workers::start_with_lease(&behind(&world, &proxy)?, None, LEASE)?;
    under_way(&sim, 60).await?;
    proxy.silence();
    let _heir = Workers::start_with_lease(&world.another_process()?, None, LEASE)?;
    all_is_well(&world, &sim, 1).await?;
    proxy.heal();
    // What it said into the silence arrives now, and must not send anybody a second message.
    eventually(Duration::from_secs(60), || nothing_is_left(&world)).await?;
    everyone_is_reached_once(&world, &sim).await?;
    Ok(())
}

/// Workers that reach RabbitMQ by way of a proxy.
struct OverRabbit {
    proxy: Proxy,
    stop: CancellationToken,
    _workers: Workers,
    _vhost: testkit::instances::TestVhost,
}

impl OverRabbit {
    async fn start(world: &World) -> anyhow::Result<Self> {
        let vhost = Rabbit::shared().await?.vhost().await?;
        let proxy = Proxy::before_rabbit(&vhost.url).await?;
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let bus: SharedBus = Arc::new(RabbitBus::start(proxy.url(), tasks, stop.clone()));
        let workers = Workers::start(&world.another_process()?, Some(bus))?;
        Ok(Self { proxy, stop, _workers: workers, _vhost: vhost })
    }
}

impl Drop for OverRabbit {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[tokio::test]
async fn a_cut_between_a_process_and_rabbitmq_loses_nothing() -> anyhow::Result<()> {
    let (world, sim) = world().await?;
    let over = OverRabbit::start(&world).await?;
    for calls in [30, 100] {
        under_way(&sim, calls).await?;
        over.proxy.cut();
        tokio::time::sleep(Duration::from_secs(1)).await; // the length of the cut is what this is about
        over.proxy.heal();
    }
    all_is_well(&world, &sim, 0).await
}

#[tokio::test]
async fn a_rabbitmq_that_is_silent_longer_than_a_confirm_may_take_loses_nothing() -> anyhow::Result<()> {
    let (world, sim) = world().await?;
    let over = OverRabbit::start(&world).await?;
    under_way(&sim, 60).await?;
    over.proxy.silence();
    tokio::time::sleep(Duration::from_secs(8)).await; // longer than a confirm may take is what this is about
    over.proxy.heal();
    all_is_well(&world, &sim, 0).await
}

#[tokio::test]
async fn connections_to_rabbitmq_that_the_network_forgot_are_replaced_by_themselves() -> anyhow::Result<()> {
    let (world, sim) = world().await?;
    let over = OverRabbit::start(&world).await?;
    under_way(&sim, 60).await?;
    over.proxy.forget();
    all_is_well(&world, &sim, 0).await
}
