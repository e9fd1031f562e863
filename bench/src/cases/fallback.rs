//! Falling back: how punctual it is, what a storm of due timers costs and does to interactive traffic, what waiting costs, and what
//! pause and resume cost.

mod alone;

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    channel::Lane,
    fallback::{Step, Success},
};
use futures::FutureExt;
use server::{
    services::{campaigns::verbs, plans::PinnedPlan, work::Work},
    wake::Topic,
    workers::{fallback, planner::Planner},
};
use tokio::time::sleep;

use crate::{
    bench::{Bench, until},
    cases::Case,
    cpu::{Meter, Spent},
    goal::Goal,
    report::{Entry, compared},
    stats::{number, percentile},
    world::{Workers, World, taken},
};

/// See the module.
pub const CASE: Case = Case {
    name: "fallback",
    about: "From due to handed over, a storm of due timers, a million that wait, and pause and resume.",
    run: |bench| measure(bench).boxed(),
};

async fn measure(bench: &Bench) -> anyhow::Result<Vec<Entry>> {
    let mut entries = punctual(bench).await?;
    bench.say("fallback: a storm of due timers");
    entries.extend(storm(bench).await?);
    bench.say("fallback: timers that wait");
    entries.push(waiting(bench).await?);
    bench.say("fallback: pause and resume");
    entries.extend(pause(bench).await?);
    Ok(entries)
}

/// Two steps over two channels, the second after `wait`.
async fn two_steps(bench: &Bench, wait: TimeDelta) -> anyhow::Result<(World, Arc<PinnedPlan>)> {
    let world = World::on(bench.database().await?).await?;
    for slug in ["first", "second"] {
        world.channel_at_once(slug).await?;
    }
    let change = |_: usize, step: &mut Step| {
        step.success = Success::Read;
        step.wait = wait;
    };
    let plan = world.plan(&["first", "second"], change).await?;
    Ok((world, plan))
}

/// Notifications whose first step is not read within a second: how late is the call of the second?
async fn punctual(bench: &Bench) -> anyhow::Result<Vec<Entry>> {
    let (world, plan) = two_steps(bench, TimeDelta::seconds(1)).await?;
    let contacts = world.people(bench.scale.of(500, 60)).await?;
    let (calls, workers) = (taken(true), Workers::all(&world.context));
    sleep(Duration::from_secs(2)).await;
    for contact in &contacts {
        world.begin(&plan, &[*contact], Lane::Interactive).await?;
        sleep(Duration::from_millis(10)).await;
    }
    calls.reach(contacts.len() * 2).await?;
    workers.stop().await;
    let sent: Vec<(i64, DateTime<Utc>)> = sqlx::query_as(
        "select n.contact_id, d.first_sent_at from delivery d join notification n on n.id = d.notification_id where d.step = 0",
    )
    .fetch_all(&world.pool)
    .await?;
    let (here, now) = (std::time::Instant::now(), Utc::now());
    let late = |(contact, first): &(i64, DateTime<Utc>)| {
        let called = calls.at(&format!("+9198{contact:08}"))?;
        let called = now - TimeDelta::from_std(here.saturating_duration_since(called)).ok()?;
        (called - (*first + TimeDelta::seconds(1))).num_microseconds()
    };
    #[expect(clippy::cast_precision_loss, reason = "microseconds of some seconds")]
    let waits: Vec<f64> = sent.iter().filter_map(late).map(|micros| micros as f64 / 1e3).collect();
    anyhow::ensure!(waits.len() == contacts.len(), "{} of {} were handed over", waits.len(), contacts.len());
    let note = format!("{} notifications, one each 10 ms, from due to the call of the second channel", waits.len());
    Ok(vec![
        Entry::new("fallback/late-p99", "ms", &[percentile(&waits, 0.99)]).goal(Goal::AtMost(50.0)).note(note),
        Entry::new("fallback/late-p50", "ms", &[percentile(&waits, 0.5)]),
    ])
}

/// Everybody waits for the second step, and everybody's wait is over at once.
async fn storm(bench: &Bench) -> anyhow::Result<Vec<Entry>> {
    let (world, plan) = two_steps(bench, TimeDelta::hours(1)).await?;
    let contacts = world.people(bench.scale.of(100_000, 4_000)).await?;
    let (crowd, singles) = contacts.split_at(contacts.len() - bench.scale.of(500, 60));
    let (calls, workers) = (taken(true), Workers::all(&world.context));
    world.begin(&plan, crowd, Lane::Bulk).await?;
    calls.reach(crowd.len()).await?;
    until("all waits", Duration::from_secs(120), Duration::from_millis(100), || async {
        let waiting: i64 = sqlx::query_scalar("select count(*) from timer").fetch_one(&world.pool).await?;
        Ok(usize::try_from(waiting)? == crowd.len())
    })
    .await?;
    workers.stop().await;
    world.sql("analyze").await?;
    // The storm by itself: what is decided and written, without the sending. First the same statements alone.
    let count = crowd.len() / 3;
    due_now(&world, count).await?;
    let meter = Meter::start(&world.pool).await?;
    while alone::pass(&world.context).await? {}
    let plain = meter.stop().await?;
    due_now(&world, count).await?;
    let meter = Meter::start(&world.pool).await?;
    while fallback::pass(&world.context).await? {}
    let spent = meter.stop().await?;
    let moved = world.count("select count(*) from delivery where step = 1").await?;
    anyhow::ensure!(usize::try_from(moved)? == 2 * count, "{moved} of {} went to the second step", 2 * count);
    let mut entries = storm_entries(&spent, &plain, count);
    // The rest is due while people are written to one by one.
    let workers = Workers::all(&world.context);
    sleep(Duration::from_secs(3)).await;
    let (quiet, busy) = singles.split_at(singles.len() / 2);
    let quiet = one_by_one(&world, &plan, quiet).await?;
    due_now(&world, crowd.len()).await?;
    world.context.wake.signal(Topic::Fallback);
    let busy = one_by_one(&world, &plan, busy).await?;
    workers.stop().await;
    entries.push(
        compared(
            "fallback/storm-interactive-p99",
            "ms",
            &[percentile(&busy, 0.99)],
            "idle",
            &[percentile(&quiet, 0.99)],
        )
        .goal(Goal::AtMostTimes(3.0))
        .note(format!("{} interactive sends while {count} more are due and sent", busy.len())),
    );
    Ok(entries)
}

/// Ends the wait of so many at once, of those that still wait for their first step: the message went out a day ago.
async fn due_now(world: &World, count: usize) -> anyhow::Result<()> {
    sqlx::query(
        "with t as (select t.owner from timer t
                     where not exists (select from delivery d where d.notification_id = t.owner and d.step = 1)
                     order by t.owner limit $1),
              d as (update delivery d set first_sent_at = first_sent_at - interval '1 day' from t where d.notification_id = t.owner)
         update timer set due_at = 'epoch' from t where timer.owner = t.owner",
    )
    .bind(i64::try_from(count)?)
    .execute(&world.pool)
    .await?;
    world.sql("analyze timer").await
}

fn storm_entries(spent: &Spent, plain: &Spent, count: usize) -> Vec<Entry> {
    let secs = spent.wall.as_secs_f64() * 100_000.0 / number(count);
    let rates = ([spent.rate(count)], [plain.rate(count)]);
    vec![
        compared("fallback/storm-rate", "notifications/s", &rates.0, "the same statements alone", &rates.1)
            .goal(Goal::AtLeastTimes(0.5)),
        Entry::new("fallback/storm", "s for 100,000", &[secs])
            .goal(Goal::AtMost(5.0))
            .note(format!("{count} due at once, decided and the next step queued; one worker")),
        Entry::new("fallback/storm/postgres", "us a notification", &[spent.postgres_us(count)]).note("CPU of Postgres"),
        Entry::new("fallback/storm/all", "us a notification", &[spent.all_us(count)]),
    ]
}

/// Begins one notification after another; says how long each took to reach the provider, in milliseconds.
async fn one_by_one(world: &World, plan: &Arc<PinnedPlan>, contacts: &[i64]) -> anyhow::Result<Vec<f64>> {
    let (calls, mut waits) = (taken(true), Vec::with_capacity(contacts.len()));
    for contact in contacts {
        let (phone, began) = (format!("+9198{contact:08}"), std::time::Instant::now());
        world.begin(plan, &[*contact], Lane::Interactive).await?;
        until("a call", Duration::from_secs(60), Duration::from_millis(1), || async { Ok(calls.at(&phone).is_some()) })
            .await?;
        waits.extend(calls.at(&phone).map(|at| (at - began).as_secs_f64() * 1e3));
        sleep(Duration::from_millis(10)).await;
    }
    Ok(waits)
}

/// What the workers cost while nothing is due, with many timers and without.
async fn waiting(bench: &Bench) -> anyhow::Result<Entry> {
    let (world, _) = two_steps(bench, TimeDelta::hours(1)).await?;
    let (count, secs) = (bench.scale.of(1_000_000, 50_000), bench.scale.of(20, 3));
    let workers = Workers::all(&world.context);
    sleep(Duration::from_secs(3)).await;
    let idle = share(&world, secs).await?;
    sqlx::query(
        "with g as (insert into send_group (channel_id, channel_type, lane) select id, 'SMS', 'bulk' from channel returning id)
         insert into timer (owner, kind, send_group_id, due_at, generation)
         select gen_random_uuid(), 'step', (select min(id) from g), now() + interval '1 hour' + x * interval '1 ms', 0
           from generate_series(1, $1) x",
    )
    .bind(count)
    .execute(&world.pool)
    .await?;
    world.sql("analyze timer").await?;
    world.sql("checkpoint").await?;
    sleep(Duration::from_secs(2)).await;
    let waiting = share(&world, secs).await?;
    workers.stop().await;
    Ok(Entry::new("fallback/waiting", "% of a core above idle", &[waiting - idle])
        .goal(Goal::AtMost(0.1))
        .note(format!("{count} timers that are not due, over {secs} s; idle was {idle:.2} %, Postgres included")))
}

/// The share of a core that Postgres and this process use, in percent.
async fn share(world: &World, secs: u64) -> anyhow::Result<f64> {
    let meter = Meter::start(&world.pool).await?;
    sleep(Duration::from_secs(secs)).await;
    let spent = meter.stop().await?;
    Ok((spent.postgres + spent.own).as_secs_f64() / spent.wall.as_secs_f64() * 100.0)
}

/// How many transactions that write a pause and a resume of a campaign are, whatever its size.
async fn pause(bench: &Bench) -> anyhow::Result<Vec<Entry>> {
    let (world, count) = (World::on(bench.database().await?).await?, bench.scale.of(100_000, 4_000));
    world.channel_at_once("first").await?;
    world.plan(&["first"], |_, _| {}).await?;
    world.people(count).await?;
    world.everybody().await?;
    world.start_campaign("news", "all", "first").await?;
    let mut planner = Planner::new(world.context.clone());
    while planner.pass().await? {}
    let mut entries = Vec::new();
    for name in ["pause", "resume"] {
        let (before, began) = (next_transaction(&world).await?, std::time::Instant::now());
        let mut work = Work::begin(&world.context).await?;
        match name {
            "pause" => verbs::pause(&mut work, "news", "").await.map(drop)?,
            _ => verbs::resume(&mut work, "news", "").await.map(drop)?,
        }
        work.commit(&world.context).await?;
        let took = began.elapsed().as_secs_f64() * 1e3;
        let commits = next_transaction(&world).await? - before;
        entries.push(
            Entry::new(format!("fallback/{name}"), "commits", &[number(usize::try_from(commits)?)])
                .goal(Goal::AtMost(2.0))
                .note(format!("of a campaign with {count} deliveries that wait; it took {took:.1} ms")),
        );
    }
    Ok(entries)
}

async fn next_transaction(world: &World) -> anyhow::Result<i64> {
    world.count("select pg_snapshot_xmax(pg_current_snapshot())::text::bigint").await
}
