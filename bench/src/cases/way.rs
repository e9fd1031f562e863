//! The whole way of a delivery: planned by a campaign, relayed over RabbitMQ, sent by a provider that answers at once, and two
//! receipts (delivered, read) stored and merged, events numbered. What it costs Postgres, in CPU, WAL and disk, a delivery.

use std::time::Duration;

use futures::FutureExt;
use http::{HeaderMap, Method};
use server::{
    channels::WebhookRequest,
    services::{Context, webhooks},
    workers::planner::Planner,
};

use crate::{
    bench::{Bench, until},
    cases::Case,
    cpu::{Meter, Spent},
    goal::Goal,
    rabbit::CountedBus,
    report::Entry,
    stats::number,
    world::{Workers, World, taken},
};

/// See the module.
pub const CASE: Case = Case {
    name: "way",
    about: "From the audience to the second receipt: what a delivery costs Postgres.",
    run: |bench| measure(bench).boxed(),
};

/// Receipts in one webhook.
const IN_A_WEBHOOK: usize = 50;
const PATIENCE: Duration = Duration::from_secs(300);

/// The parts of the way.
const PARTS: [&str; 4] = ["plan", "send", "delivered", "read"];

async fn measure(bench: &Bench) -> anyhow::Result<Vec<Entry>> {
    let count = bench.scale.of(20_000, 3_000);
    let (mut parts, mut disk) = (Vec::new(), Vec::new());
    for round in 0..bench.scale.of(3, 1) {
        let (spent, grown) = walk(bench, count).await?;
        parts.push(spent);
        disk.push(grown);
        bench.say(&format!("way: round {} of {}", round + 1, bench.scale.of(3, 1)));
    }
    let each = |of: &dyn Fn(&Spent) -> f64| -> Vec<f64> { parts.iter().map(|p| p.iter().map(of).sum()).collect() };
    let postgres = each(&|s| s.postgres_us(count));
    let note =
        format!("{count} deliveries, two receipts each, {IN_A_WEBHOOK} receipts a webhook, a provider in the process");
    let rates: Vec<f64> =
        parts.iter().map(|p| number(count) / p.iter().map(|s| s.wall.as_secs_f64()).sum::<f64>()).collect();
    let mut entries = vec![
        Entry::new("way/postgres", "us a delivery", &postgres).goal(Goal::AtMost(120.0)).note(note),
        Entry::new("way/wal", "bytes a delivery", &each(&|s| s.wal / number(count))).goal(Goal::AtMost(6000.0)),
        Entry::new("way/disk", "bytes a delivery", &disk)
            .goal(Goal::AtMost(2500.0))
            .note("growth of all tables and indexes, dead versions before a vacuum included"),
        Entry::new("way/all", "us a delivery", &each(&|s| s.all_us(count))).note("CPU of Postgres and of this process"),
        Entry::new("way/rate", "deliveries/s", &rates).note("one part after the other"),
    ];
    for (place, part) in PARTS.iter().enumerate() {
        let of = |figure: &dyn Fn(&Spent) -> f64| -> Vec<f64> { parts.iter().map(|p| figure(&p[place])).collect() };
        entries.push(Entry::new(format!("way/postgres/{part}"), "us a delivery", &of(&|s| s.postgres_us(count))));
    }
    Ok(entries)
}

async fn walk(bench: &Bench, count: usize) -> anyhow::Result<([Spent; 4], f64)> {
    let (world, vhost) = (World::on(bench.database().await?).await?, bench.vhost().await?);
    world.channel_at_once("sms").await?;
    world.plan(&["sms"], |_, _| {}).await?;
    world.people(count).await?;
    world.everybody().await?;
    let bus = CountedBus::start(&vhost.url).await?;
    world.start_campaign("news", "all", "sms").await?;
    let size = size(&world).await?;
    let meter = Meter::start(&world.pool).await?;
    let mut planner = Planner::new(world.context.clone());
    while planner.pass().await? {}
    let planned = meter.stop().await?;
    let (meter, calls) = (Meter::start(&world.pool).await?, taken(false));
    let shared = bus.shared();
    let workers =
        Workers::none().relay(&world.context, &shared).dispatch(&world.context, &shared).sequencer(&world.context);
    calls.reach(count).await?;
    all(&world, "sent", "select not exists (select from dispatch) and not exists (select from event_out)").await?;
    let sent = meter.stop().await?;
    workers.stop().await;
    let workers = Workers::none().merging(&world.context).sequencer(&world.context);
    let delivered = receipts(&world, "delivered").await?;
    let read = receipts(&world, "read").await?;
    workers.stop().await;
    bus.stop().await;
    let read_all = world.count("select count(*) from delivery where evidence = 'read'").await?;
    anyhow::ensure!(usize::try_from(read_all)? == count, "{read_all} of {count} went the whole way");
    let grown = (self::size(&world).await? - size) / number(count);
    Ok(([planned, sent, delivered, read], grown))
}

/// Waits until a condition of the database holds.
///
/// # Errors
/// When it does not in five minutes.
pub async fn all(world: &World, what: &str, holds: &'static str) -> anyhow::Result<()> {
    until(what, PATIENCE, Duration::from_millis(50), || async {
        Ok(sqlx::query_scalar(holds).fetch_one(&world.pool).await?)
    })
    .await
}

/// Bytes of all tables with their indexes.
///
/// # Errors
/// What Postgres says.
pub async fn size(world: &World) -> anyhow::Result<f64> {
    let size = sqlx::query_scalar(
        "select sum(pg_total_relation_size(oid))::float8 from pg_class
          where relkind in ('r', 'p') and relnamespace = 'public'::regnamespace",
    );
    Ok(size.fetch_one(&world.pool).await?)
}

/// Stores a receipt of every delivery, as webhooks bring them, and waits until all are merged.
async fn receipts(world: &World, evidence: &str) -> anyhow::Result<Spent> {
    let ids: Vec<String> =
        sqlx::query_scalar("select provider_message_id from provider_ref").fetch_all(&world.pool).await?;
    let provider: i32 = sqlx::query_scalar("select id from channel_provider").fetch_one(&world.pool).await?;
    let meter = Meter::start(&world.pool).await?;
    for page in ids.chunks(IN_A_WEBHOOK) {
        let lines: Vec<String> = page.iter().map(|id| format!("receipt {id} {evidence}")).collect();
        store(&world.context, provider, lines.join("\n")).await?;
    }
    all(world, "merged", "select not exists (select from receipt_inbox) and not exists (select from event_out)")
        .await?;
    meter.stop().await
}

/// Takes a webhook as the web server does.
///
/// # Errors
/// What the use case says.
pub async fn store(context: &Context, provider: i32, body: String) -> anyhow::Result<()> {
    let request = WebhookRequest {
        method: Method::POST,
        url: String::new(),
        path: String::new(),
        query: String::new(),
        headers: HeaderMap::new(),
        body: body.into(),
        received_at: chrono::Utc::now(),
    };
    let checked = webhooks::check(context, provider, &request).await?;
    Ok(webhooks::store(context, &checked, context.clock.now()).await?)
}
