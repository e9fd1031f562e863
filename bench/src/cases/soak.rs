//! The soak: one campaign after the other over the same people, with two receipts each, on one database that only grows, over
//! RabbitMQ, for some minutes. Is the last campaign as cheap as the first, and did everybody get each message once? It is no
//! case among others, since it takes as long as it is told: `make soak`.

use std::time::Duration;

use server::channels::echo;
use tokio::time::Instant;
use uuid::Uuid;

use super::way::{all, size, store};
use crate::{
    bench::Bench,
    cpu::{Meter, Spent, resident_mb},
    goal::Goal,
    rabbit::CountedBus,
    report::{Entry, compared},
    stats::number,
    world::{Taken, Workers, World, taken},
};

/// Receipts in one webhook.
const IN_A_WEBHOOK: usize = 50;
/// Laps that are needed to say anything: a third of them is compared with a third.
const LEAST_LAPS: usize = 3;

/// What one campaign cost, and how large everything was at its end.
struct Lap {
    spent: Spent,
    disk: f64,
    memory: f64,
    connections: f64,
}

/// Runs campaigns of so many people until `time` is over, at least three.
///
/// # Errors
/// When a campaign does not come to its end, or a server is not there.
pub async fn soak(bench: &Bench, time: Duration) -> anyhow::Result<Vec<Entry>> {
    let (began, count) = (Instant::now(), bench.scale.of(20_000, 2_000));
    let (world, vhost) = (World::on(bench.database().await?).await?, bench.vhost().await?);
    world.channel_at_once("sms").await?;
    world.plan(&["sms"], |_, _| {}).await?;
    world.people(count).await?;
    world.everybody().await?;
    let bus = CountedBus::start(&vhost.url).await?;
    let (calls, workers) = (taken(false), Workers::over(&world.context, &bus.shared()));
    let mut laps: Vec<Lap> = Vec::new();
    while laps.len() < LEAST_LAPS || began.elapsed() < time {
        let lap = lap(&world, &calls, laps.len(), count).await?;
        bench.say(&format!(
            "soak: lap {}: {:.0} us of Postgres a delivery, {:.0} deliveries/s, {:.0} MB here",
            laps.len() + 1,
            lap.spent.postgres_us(count),
            lap.spent.rate(count),
            lap.memory
        ));
        laps.push(lap);
    }
    workers.stop().await;
    bus.stop().await;
    let sent = laps.len() * count;
    let wrong = wrong(&world, &calls, sent).await?;
    Ok(entries(&laps, count, wrong))
}

async fn lap(world: &World, calls: &Taken, number_of_lap: usize, count: usize) -> anyhow::Result<Lap> {
    let (before, meter) = (size(world).await?, Meter::start(&world.pool).await?);
    let behind = Uuid::now_v7();
    world.start_campaign(&format!("lap-{number_of_lap}"), "all", "sms").await?;
    calls.reach((number_of_lap + 1) * count).await?;
    all(world, "sent", "select not exists (select from dispatch) and not exists (select from event_out)").await?;
    let ids: Vec<Uuid> =
        sqlx::query_scalar("select id from delivery where id > $1").bind(behind).fetch_all(&world.pool).await?;
    let provider: i32 = sqlx::query_scalar("select id from channel_provider").fetch_one(&world.pool).await?;
    for evidence in ["delivered", "read"] {
        for page in ids.chunks(IN_A_WEBHOOK) {
            let lines: Vec<String> =
                page.iter().map(|id| format!("receipt {} {evidence}", echo::token(*id, 1))).collect();
            store(&world.context, provider, lines.join("\n")).await?;
        }
        all(world, "merged", "select not exists (select from receipt_inbox) and not exists (select from event_out)")
            .await?;
    }
    let spent = meter.stop().await?;
    let connections = world.count("select count(*) from pg_stat_activity where datname = current_database()").await?;
    Ok(Lap {
        spent,
        disk: (size(world).await? - before) / number(count),
        memory: resident_mb(std::process::id())?,
        connections: number(usize::try_from(connections)?),
    })
}

/// How many deliveries did not go the whole way once.
async fn wrong(world: &World, calls: &Taken, sent: usize) -> anyhow::Result<f64> {
    let whole =
        world.count("select count(*) from delivery where evidence = 'read' and work = 'done' and attempts = 1").await?;
    let (whole, called) = (usize::try_from(whole)?, usize::try_from(calls.calls())?);
    Ok(number(sent.abs_diff(whole).max(sent.abs_diff(called))))
}

fn entries(laps: &[Lap], count: usize, wrong: f64) -> Vec<Entry> {
    let third = laps.len() / 3;
    let (first, last) = (&laps[..third], &laps[laps.len() - third..]);
    let of = |laps: &[Lap], figure: &dyn Fn(&Lap) -> f64| -> Vec<f64> { laps.iter().map(figure).collect() };
    let flat = |name: &str, unit: &str, figure: &dyn Fn(&Lap) -> f64| {
        compared(name, unit, &of(last, figure), "the first third", &of(first, figure))
    };
    let note = format!("{} campaigns of {count}, two receipts a delivery; the last third of them", laps.len());
    vec![
        flat("soak/postgres", "us a delivery", &|lap| lap.spent.postgres_us(count))
            .goal(Goal::AtMostTimes(1.2))
            .note(note),
        flat("soak/all", "us a delivery", &|lap| lap.spent.all_us(count)),
        flat("soak/wal", "bytes a delivery", &|lap| lap.spent.wal / number(count)),
        flat("soak/disk", "bytes a delivery", &|lap| lap.disk),
        flat("soak/rate", "deliveries/s", &|lap| lap.spent.rate(count)),
        flat("soak/rss", "MB", &|lap| lap.memory).goal(Goal::AtMostTimes(1.2)),
        flat("soak/connections", "connections", &|lap| lap.connections),
        Entry::new("soak/lost-or-doubled", "deliveries", &[wrong])
            .goal(Goal::AtMost(0.0))
            .note(format!("of {}", laps.len() * count)),
    ]
}
