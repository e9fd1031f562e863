//! Interactive deliveries one at a time: what one costs, and how long it takes from the request to the provider.

use std::time::Duration;

use domain::channel::Lane;
use futures::FutureExt;
use tokio::time::{Instant, sleep};

use crate::{
    bench::{Bench, until},
    cases::Case,
    cpu::Meter,
    goal::Goal,
    report::{Entry, compared},
    statements::Count,
    stats::{number, percentile},
    world::{Workers, World, taken},
};

/// See the module.
pub const CASE: Case = Case {
    name: "interactive",
    about: "One interactive delivery after another, from the request to its stored outcome.",
    run: |bench| measure(bench).boxed(),
};

async fn measure(bench: &Bench) -> anyhow::Result<Vec<Entry>> {
    let world = World::on(bench.database().await?).await?;
    world.channel_at_once("sms").await?;
    let count = bench.scale.of(500, 60);
    let contacts = world.people(count * 2).await?;
    let plan = world.plan(&["sms"], |_, _| {}).await?;
    let workers = Workers::all(&world.context);
    sleep(Duration::from_secs(2)).await; // leaders lead, plans are cached
    let (warm, measured) = contacts.split_at(count);
    let commits = commits(&world, bench.scale.of(200, 40)).await?;
    one_by_one(&world, &plan, &warm[..count / 2]).await?;
    // What the workers do while nothing is there is not a delivery's.
    let meter = Meter::start(&world.pool).await?;
    sleep(bench.scale.of(Duration::from_secs(5), Duration::from_secs(1))).await;
    let idle = meter.stop().await?;
    let (meter, counting) = (Meter::start(&world.pool).await?, Count::start());
    let waits = one_by_one(&world, &plan, measured).await?;
    let (statements, spent) = (counting.stop(), meter.stop().await?);
    workers.stop().await;
    let idle_share = spent.wall.as_secs_f64() / idle.wall.as_secs_f64();
    let postgres = spent.postgres_us(count) - idle.postgres_us(count) * idle_share;
    let statements = number(usize::try_from(statements)?) / number(count);
    Ok(vec![
        Entry::new("interactive/postgres", "us a delivery", &[postgres])
            .goal(Goal::AtMost(300.0))
            .note(format!("CPU of Postgres over {count} deliveries, less what the idle workers cost in that time")),
        Entry::new("interactive/statements", "statements a delivery", &[statements])
            .goal(Goal::AtMost(5.0))
            .note("of all workers while one delivery at a time is under way, their looks for more work included"),
        Entry::new("interactive/commits", "commits a delivery", &[spent.commits / number(count)]),
        compared("interactive/p50", "ms", &[percentile(&waits, 0.5)], "a single commit", &[percentile(&commits, 0.5)])
            .note("from the request to the provider"),
        Entry::new("interactive/p99", "ms", &[percentile(&waits, 0.99)]),
    ])
}

/// Times of single commits on an idle connection, in milliseconds.
///
/// # Errors
/// What Postgres says.
pub async fn commits(world: &World, count: usize) -> anyhow::Result<Vec<f64>> {
    world.sql("create table if not exists single_commit (n bigint generated always as identity primary key, at timestamptz)").await?;
    let mut conn = world.pool.acquire().await?;
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let began = Instant::now();
        sqlx::query("insert into single_commit (at) values (now())").execute(&mut *conn).await?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}

/// Begins one notification after another, each when the one before is over. Says how long each took to reach the provider, in
/// milliseconds.
async fn one_by_one(
    world: &World,
    plan: &std::sync::Arc<server::services::plans::PinnedPlan>,
    contacts: &[i64],
) -> anyhow::Result<Vec<f64>> {
    let (calls, mut waits) = (taken(true), Vec::with_capacity(contacts.len()));
    for contact in contacts {
        let phone = format!("+9198{contact:08}");
        let began = std::time::Instant::now();
        world.begin(plan, &[*contact], Lane::Interactive).await?;
        until("a delivery", Duration::from_secs(20), Duration::from_millis(1), || async {
            Ok(calls.at(&phone).is_some())
        })
        .await?;
        waits.extend(calls.at(&phone).map(|at| (at - began).as_secs_f64() * 1e3));
        // Its outcome is stored meanwhile; asking for it would be measured too.
        sleep(Duration::from_millis(20)).await;
    }
    Ok(waits)
}
