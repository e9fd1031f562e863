//! Receipts: stored and merged in batches, against plain batched updates of the same deliveries; and over HTTP at a steady rate.

use std::{sync::Arc, time::Duration};

use domain::{channel::Lane, fallback::Success};
use futures::FutureExt;
use server::services::receipts;
use sqlx::PgPool;
use tokio::time::{Instant, interval, sleep_until};
use uuid::Uuid;

use super::way::store;
use crate::{
    bench::{Bench, until},
    cases::Case,
    cpu::{Meter, Spent},
    goal::Goal,
    report::{Entry, compared},
    stats::percentile,
    world::{WebServer, Workers, World, taken},
};

/// See the module.
pub const CASE: Case = Case {
    name: "receipts",
    about: "Receipts stored and merged, against plain batched updates; and their webhooks at 2,000 a second.",
    run: |bench| measure(bench).boxed(),
};

/// Rows of one plain update.
const BATCH: usize = 500;
/// Receipts in one webhook.
const IN_A_WEBHOOK: usize = 50;
/// What a webhook that was turned away counts as, in milliseconds: longer than any that is answered.
const REFUSED: f64 = 15_000.0;
/// Requests a second.
const RATE: usize = 2_000;

async fn measure(bench: &Bench) -> anyhow::Result<Vec<Entry>> {
    let count = bench.scale.of(20_000, 3_000);
    let (mut plain, mut merged, mut cpu, mut answers) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..bench.scale.of(3, 1) {
        let (world, ids, provider) = sent(bench, count).await?;
        let [stored, merge] = ours(&world, &ids, provider).await?;
        merged.push(merge.rate(2 * count));
        cpu.push(stored.postgres_us(2 * count) + merge.postgres_us(2 * count));
        plain.push(plainly(&world.pool).await?.rate(2 * count));
        if round == 0 {
            answers = over_http(&world, &ids, provider, bench.scale.of(10, 3)).await?;
        }
        bench.say(&format!("receipts: round {} of {}", round + 1, bench.scale.of(3, 1)));
    }
    let waits: Vec<f64> = answers.iter().map(|answer| *answer.as_ref().unwrap_or(&REFUSED)).collect();
    let refused: Vec<&String> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
    let example = refused.first().map(|why| format!(" (such as: {why})")).unwrap_or_default();
    Ok(vec![
        compared("receipts/merge", "receipts/s", &merged, "update .. from unnest, 500 at once", &plain)
            .goal(Goal::AtLeastTimes(0.3))
            .note(format!("{count} deliveries: delivered, then read, which ends the notification; one connection")),
        Entry::new("receipts/postgres", "us a receipt", &cpu)
            .goal(Goal::AtMost(40.0))
            .note(format!("CPU of Postgres, storing in webhooks of {IN_A_WEBHOOK} included")),
        Entry::new("receipts/http-p99", "ms", &[percentile(&waits, 0.99)])
            .goal(Goal::AtMost(20.0))
            .note(format!("{RATE} webhooks a second of one receipt each, {} in all, from when each was to be sent; {} were turned away{example}, each counted as {REFUSED} ms; the client runs in this process", waits.len(), refused.len())),
        Entry::new("receipts/http-p50", "ms", &[percentile(&waits, 0.5)]),
    ])
}

/// A world in which everybody was sent a message. Says the provider's ids of the messages, and the provider.
async fn sent(bench: &Bench, count: usize) -> anyhow::Result<(World, Vec<String>, i32)> {
    let world = World::on(bench.database().await?).await?;
    world.channel_at_once("sms").await?;
    let contacts = world.people(count).await?;
    let plan = world.plan(&["sms"], |_, step| step.success = Success::Read).await?;
    let (calls, workers) = (taken(false), Workers::all(&world.context));
    world.begin(&plan, &contacts, Lane::Bulk).await?;
    calls.reach(count).await?;
    until("all outcomes", Duration::from_secs(60), Duration::from_millis(50), || async {
        Ok(sqlx::query_scalar("select not exists (select from dispatch)").fetch_one(&world.pool).await?)
    })
    .await?;
    workers.stop().await;
    world.sql("analyze delivery; analyze notification; analyze provider_ref").await?;
    let ids = sqlx::query_scalar("select provider_message_id from provider_ref").fetch_all(&world.pool).await?;
    let provider = sqlx::query_scalar("select id from channel_provider").fetch_one(&world.pool).await?;
    Ok((world, ids, provider))
}

/// Stores and merges both receipts of every delivery. Says what storing and what merging cost.
async fn ours(world: &World, ids: &[String], provider: i32) -> anyhow::Result<[Spent; 2]> {
    let mut sums = [Spent::default(); 2];
    for evidence in ["delivered", "read"] {
        let meter = Meter::start(&world.pool).await?;
        for page in ids.chunks(IN_A_WEBHOOK) {
            let lines: Vec<String> = page.iter().map(|id| format!("receipt {id} {evidence}")).collect();
            store(&world.context, provider, lines.join("\n")).await?;
        }
        sums[0].add(&meter.stop().await?);
        let meter = Meter::start(&world.pool).await?;
        while receipts::merge(&world.context).await? {}
        sums[1].add(&meter.stop().await?);
    }
    let read = world.count("select count(*) from delivery where evidence = 'read'").await?;
    anyhow::ensure!(usize::try_from(read)? == ids.len(), "{read} of {} were read", ids.len());
    Ok(sums)
}

/// The plain way to write the same two states of the same deliveries.
async fn plainly(pool: &PgPool) -> anyhow::Result<Spent> {
    let ids: Vec<Uuid> = sqlx::query_scalar("select id from delivery order by id").fetch_all(pool).await?;
    sqlx::raw_sql("vacuum delivery").execute(pool).await?;
    let (mut conn, meter) = (pool.acquire().await?, Meter::start(pool).await?);
    for evidence in ["delivered", "read"] {
        for batch in ids.chunks(BATCH) {
            sqlx::query(
                "update delivery d set evidence = x.evidence::delivery_evidence
                   from unnest($1::uuid[], $2::text[]) as x(id, evidence) where d.id = x.id",
            )
            .bind(batch)
            .bind(vec![evidence; batch.len()])
            .execute(&mut *conn)
            .await?;
        }
    }
    meter.stop().await
}

/// Milliseconds from when it was to be sent, or why it was turned away.
type Answer = Result<f64, String>;

/// Sends webhooks at a steady rate, whatever their answers do.
async fn over_http(world: &World, ids: &[String], provider: i32, secs: usize) -> anyhow::Result<Vec<Answer>> {
    let server = WebServer::start(&world.context).await?;
    let workers = Workers::none().merging(&world.context).sequencer(&world.context);
    let (client, url) = (reqwest::Client::new(), format!("http://{}/webhooks/{provider}", server.address));
    let (client, url) = (Arc::new(client), Arc::new(url));
    let (began, mut tick, mut open) =
        (Instant::now() + Duration::from_millis(50), interval(Duration::from_millis(1)), Vec::new());
    for n in 0..RATE * secs {
        let due = began + Duration::from_secs(1) * u32::try_from(n)? / u32::try_from(RATE)?;
        while Instant::now() < due {
            tick.tick().await;
        }
        let (client, url, body) =
            (Arc::clone(&client), Arc::clone(&url), format!("receipt {} read", ids[n % ids.len()]));
        open.push(tokio::spawn(async move {
            sleep_until(due).await;
            let answered = client.post(url.as_str()).body(body).send().await;
            match answered {
                Ok(answer) if answer.status().is_success() => Ok(due.elapsed().as_secs_f64() * 1e3),
                Ok(answer) => Err(answer.status().to_string()),
                Err(error) => Err(format!("{:#}", anyhow::Error::from(error))),
            }
        }));
    }
    let mut answers = Vec::with_capacity(open.len());
    for request in open {
        answers.push(request.await?);
    }
    workers.stop().await;
    Ok(answers)
}
