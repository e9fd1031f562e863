//! The broker and the database killed while a campaign is sent: how soon work goes on, and what is left unknown. On servers of their
//! own, which are killed as a crash would.

use std::{sync::Arc, time::Duration};

use domain::{channel::Lane, fallback::Success};
use futures::FutureExt;
use server::{
    bus::{SharedBus, rabbit::RabbitBus},
    storage::db::MIGRATOR,
};
use testkit::instances::Private;
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    bench::{Bench, until},
    cases::Case,
    goal::Goal,
    report::Entry,
    stats::number,
    world::{Taken, Workers, World, taken},
};

/// See the module.
pub const CASE: Case = Case {
    name: "faults",
    about: "Broker and database killed under load: seconds to resume, UNKNOWN, lost.",
    run: |bench| measure(bench).boxed(),
};

/// Open calls of the channel.
const IN_FLIGHT: usize = 20;

async fn measure(bench: &Bench) -> anyhow::Result<Vec<Entry>> {
    let mut entries = broker(bench).await?;
    entries.extend(database(bench).await?);
    Ok(entries)
}

/// A world in which people are written to at a rate that lets a server be killed in the middle.
async fn prepare(bench: &Bench, world: &World, calls: &Taken) -> anyhow::Result<usize> {
    let (count, rate) = bench.scale.of((4_000, 200), (400, 60));
    world.channel_at_once("sms").await?;
    sqlx::query("update channel set rate_per_second = $1, in_flight = $2")
        .bind(f64::from(rate))
        .bind(i32::try_from(IN_FLIGHT)?)
        .execute(&world.pool)
        .await?;
    world.context.directory.invalidate();
    let contacts = world.people(count).await?;
    let plan = world.plan(&["sms"], |_, step| step.success = Success::Sent).await?;
    world.begin(&plan, &contacts, Lane::Bulk).await?;
    anyhow::ensure!(calls.calls() == 0, "somebody sends already");
    Ok(count)
}

async fn broker(bench: &Bench) -> anyhow::Result<Vec<Entry>> {
    let world = World::on(bench.database().await?).await?;
    let rabbit = Private::rabbit("bench-broker").await?;
    let vhost = rabbit.vhost().await?;
    let (stop, calls) = (CancellationToken::new(), taken(false));
    let count = prepare(bench, &world, &calls).await?;
    let bus: SharedBus = Arc::new(RabbitBus::start(&vhost.url, TaskTracker::new(), stop.clone()));
    let workers = Workers::none().relay(&world.context, &bus).dispatch(&world.context, &bus).sequencer(&world.context);
    calls.reach(count / 4).await?;
    rabbit.kill().await?;
    rabbit.start().await?;
    let resumed = resumed(&calls).await?;
    let entries = settled(&world, &calls, count, "broker", resumed).await;
    stop.cancel();
    workers.stop().await;
    entries
}

async fn database(bench: &Bench) -> anyhow::Result<Vec<Entry>> {
    let postgres = Private::postgres("bench-database").await?;
    let world = World::on(postgres.database(&MIGRATOR).await?).await?;
    let calls = taken(false);
    let count = prepare(bench, &world, &calls).await?;
    let workers = Workers::all(&world.context);
    calls.reach(count / 4).await?;
    postgres.kill().await?;
    postgres.start().await?;
    let resumed = resumed(&calls).await?;
    let entries = settled(&world, &calls, count, "database", resumed).await;
    workers.stop().await;
    entries
}

/// Seconds from now, when the server answers again, to the next call.
async fn resumed(calls: &Taken) -> anyhow::Result<f64> {
    let (before, began) = (calls.calls(), Instant::now());
    until("work that goes on", Duration::from_secs(120), Duration::from_millis(2), || async {
        Ok(calls.calls() > before)
    })
    .await?;
    Ok(began.elapsed().as_secs_f64())
}

/// Waits until everything has ended, and counts what went wrong.
async fn settled(world: &World, calls: &Taken, count: usize, what: &str, resumed: f64) -> anyhow::Result<Vec<Entry>> {
    until("the end of all deliveries", Duration::from_secs(240), Duration::from_millis(100), || async {
        let open = sqlx::query_scalar("select not exists (select from delivery where work in ('queued', 'sending'))");
        // While the server is away nothing can be asked.
        Ok(open.fetch_one(&world.pool).await.unwrap_or(false))
    })
    .await?;
    let unknown = world.count("select count(*) from attempt where outcome = 'unknown'").await?;
    let without = world
        .count("select count(*) from delivery d where not exists (select from attempt a where a.delivery_id = d.id)")
        .await?;
    let calls = usize::try_from(calls.calls())?;
    let entry = |name: &str, unit: &str, value: f64, goal: f64| {
        Entry::new(format!("faults/{what}-{name}"), unit, &[value]).goal(Goal::AtMost(goal))
    };
    Ok(vec![
        entry("resume", "s", resumed, 5.0).note("from the server's being back to the next call"),
        entry("unknown", "deliveries", number(usize::try_from(unknown)?), number(IN_FLIGHT))
            .note(format!("of {count}; at most the calls in flight")),
        entry("lost", "deliveries", number(usize::try_from(without)?), 0.0)
            .note(format!("{calls} calls for {count} deliveries")),
    ])
}
