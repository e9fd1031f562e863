//! The worker: claim, mark, call, outcome, and the end of the chunk, with a provider inside the process that answers at once.
//! The baseline consumes the same messages plainly and runs the same statements, by four tasks and nothing around them.

use std::sync::Arc;

use chrono::TimeDelta;
use domain::{
    channel::{ChannelType, Lane},
    delivery::{Evidence, Outcome, Work},
};
use futures::{FutureExt, StreamExt};
use lapin::options::BasicAckOptions;
use server::{
    bus::{Hint, Queue, Ticket},
    services::Context,
    storage::{
        dispatch,
        outcomes::{self, OutcomeRow},
    },
};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::{
    bench::{Bench, until},
    cases::Case,
    cpu::{Meter, Spent},
    goal::Goal,
    rabbit::{CountedBus, Raw},
    report::{Entry, compared},
    statements::Count,
    stats::number,
    world::{Workers, World, taken},
};

/// See the module.
pub const CASE: Case = Case {
    name: "worker",
    about: "Claim, mark, call and outcome with a provider that answers at once, against the same statements alone.",
    run: |bench| measure(bench).boxed(),
};

/// Tasks of the baseline.
const TASKS: usize = 4;
/// Messages that it may hold.
const PREFETCH: u16 = 100;
/// Deliveries in a chunk.
const CHUNK: i32 = 50;

struct Ground {
    world: World,
    raw: Raw,
    broker: String,
    bus: Arc<CountedBus>,
    channel: i32,
    contacts: Vec<i64>,
    plan: Arc<server::services::plans::PinnedPlan>,
}

async fn measure(bench: &Bench) -> anyhow::Result<Vec<Entry>> {
    let (world, vhost) = (World::on(bench.database().await?).await?, bench.vhost().await?);
    let channel = world.channel_at_once("sms").await?;
    let contacts = world.people(bench.scale.of(20_000, 4_000)).await?;
    let plan = world.plan(&["sms"], |_, _| {}).await?;
    let bus = CountedBus::start(&vhost.url).await?;
    let ground =
        Ground { world, raw: Raw::connect(&vhost.url).await?, broker: vhost.url.clone(), bus, channel, contacts, plan };
    let count = ground.contacts.len();
    let (mut plain, mut ours, mut postgres, mut all) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..bench.rounds() {
        plain.push(plainly(&ground).await?.rate(count));
        let spent = by_workers(&ground).await?;
        ours.push(spent.rate(count));
        postgres.push(spent.postgres_us(count));
        all.push(spent.all_us(count));
        bench.say(&format!("worker: round {} of {}", round + 1, bench.rounds()));
    }
    let statements = number(usize::try_from(counted_by_workers(&ground).await?)?) / number(count);
    let Ground { raw, bus, .. } = ground;
    raw.close().await;
    bus.stop().await;
    let note = format!("{count} deliveries in chunks of 50, a provider in the process, RabbitMQ");
    Ok(vec![
        compared("worker/rate", "deliveries/s", &ours, "plain consume and the same statements", &plain)
            .goal(Goal::AtLeastTimes(0.8))
            .note(&note),
        Entry::new("worker/postgres", "us a delivery", &postgres).goal(Goal::AtMost(45.0)).note("CPU of Postgres"),
        Entry::new("worker/all", "us a delivery", &all)
            .goal(Goal::AtMost(100.0))
            .note("CPU of Postgres and of this process, provider included; the broker is not counted"),
        Entry::new("worker/statements", "statements a delivery", &[statements])
            .goal(Goal::AtMost(0.05))
            .note("counted in a run of its own; BEGIN and COMMIT are not counted; 50 calls may be open"),
    ])
}

/// Plans everybody and puts the chunks onto the broker as the relay would, with a lease that outlasts the measurement.
async fn publish(ground: &Ground) -> anyhow::Result<Vec<i64>> {
    let world = &ground.world;
    world
        .sql("truncate notification, notification_attachment, delivery, dispatch, timer, event_out, attempt, provider_ref cascade;
              update send_group set running = true")
        .await?;
    world.begin(&ground.plan, &ground.contacts, Lane::Bulk).await?;
    let chunks: Vec<i64> = sqlx::query_scalar(
        "update dispatch set published_at = clock_timestamp(), lease_until = clock_timestamp() + interval '1 hour' returning id",
    )
    .fetch_all(&world.pool)
    .await?;
    world.sql("analyze delivery; analyze notification; analyze dispatch").await?;
    let hint = Hint { channel: ground.channel, size: CHUNK };
    let ticket = |chunk: &i64| Ticket { chunk: *chunk, hint: Some(hint) }.body();
    ground.raw.publish(&queue().name(), chunks.iter().map(ticket)).await?;
    Ok(chunks)
}

fn queue() -> Queue {
    Queue { channel_type: ChannelType::Sms, lane: Lane::Bulk }
}

/// The statements of the workers from the first claim to the last call that was stored. Whether all is done is asked when the count
/// has ended: what asks would be counted too.
async fn counted_by_workers(ground: &Ground) -> anyhow::Result<u64> {
    publish(ground).await?;
    let (world, calls, bus) = (&ground.world, taken(false), ground.bus.shared());
    let counting = Count::start();
    let workers = Workers::none().relay(&world.context, &bus).dispatch(&world.context, &bus);
    calls.reach(ground.contacts.len()).await?;
    workers.stop().await;
    let counted = counting.stop();
    let sent = world.count("select count(*) from delivery where evidence = 'sent'").await?;
    anyhow::ensure!(usize::try_from(sent)? == ground.contacts.len(), "{sent} of {} were sent", ground.contacts.len());
    Ok(counted)
}

async fn by_workers(ground: &Ground) -> anyhow::Result<Spent> {
    publish(ground).await?;
    let world = &ground.world;
    let calls = taken(false);
    let meter = Meter::start(&world.pool).await?;
    let bus = ground.bus.shared();
    // A chunk that has to wait for a free call is given back; the relay brings it again.
    let workers = Workers::none().relay(&world.context, &bus).dispatch(&world.context, &bus);
    calls.reach(ground.contacts.len()).await?;
    let done = until(
        "the end of all chunks",
        std::time::Duration::from_secs(180),
        std::time::Duration::from_millis(5),
        || async { Ok(sqlx::query_scalar("select not exists (select from dispatch)").fetch_one(&world.pool).await?) },
    );
    done.await?;
    let spent = meter.stop().await?;
    workers.stop().await;
    let sent = world.count("select count(*) from delivery where evidence = 'sent'").await?;
    anyhow::ensure!(usize::try_from(sent)? == ground.contacts.len(), "{sent} of {} were sent", ground.contacts.len());
    Ok(spent)
}

async fn plainly(ground: &Ground) -> anyhow::Result<Spent> {
    let chunks = publish(ground).await?;
    let meter = Meter::start(&ground.world.pool).await?;
    let connection = Raw::connect(&ground.broker).await?;
    let consumer = Arc::new(Mutex::new((connection.consume(&queue().name(), PREFETCH).await?, chunks.len())));
    let provider: i32 = sqlx::query_scalar("select id from channel_provider").fetch_one(&ground.world.pool).await?;
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let (consumer, context) = (Arc::clone(&consumer), ground.world.context.clone());
            tokio::spawn(async move {
                loop {
                    let message = {
                        let mut consumer = consumer.lock().await;
                        if consumer.1 == 0 {
                            return Ok::<_, anyhow::Error>(());
                        }
                        consumer.1 -= 1;
                        consumer.0.next().await
                    };
                    let Some(message) = message else { anyhow::bail!("the broker stopped the consumer") };
                    let message = message?;
                    let ticket: Ticket = serde_json::from_slice(&message.data)?;
                    statements(&context, ticket.chunk, provider).await?;
                    message.ack(BasicAckOptions::default()).await?;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    let spent = meter.stop().await?;
    connection.close().await;
    Ok(spent)
}

/// The statements of one chunk, as the worker runs them, and nothing else.
async fn statements(context: &Context, chunk: i64, provider: i32) -> anyhow::Result<()> {
    let (token, now) = (Uuid::new_v4(), context.clock.now());
    let mut conn = context.db.conn().await?;
    let claimed = dispatch::claim(&mut conn, chunk, token, 60.0).await?;
    let ids: Vec<Uuid> = claimed.iter().map(|c| c.delivery_id).collect();
    let marked = dispatch::mark(&mut conn, chunk, token, &ids, provider, 60.0, now).await?;
    drop(conn);
    let row = |(delivery_id, attempt): &(Uuid, i16)| OutcomeRow {
        delivery_id: *delivery_id,
        attempt: *attempt,
        token,
        provider_id: provider,
        outcome: Outcome::Accepted,
        provider_message_id: Some(format!("{delivery_id}:{attempt}")),
        class: None,
        code: None,
        detail: None,
        work: Work::Done,
        evidence: Evidence::Sent,
        counts_failure: false,
        counts_throttle: false,
        wait_until: Some(now + TimeDelta::hours(1)),
        due_now: false,
        generation: 0,
        ask_at: None,
        seen: None,
        chunk: None,
        record: false,
    };
    let rows: Vec<OutcomeRow> = marked.iter().map(row).collect();
    let mut tx = context.db.begin().await?;
    outcomes::lock(&mut tx, &ids).await?;
    outcomes::store(&mut tx, &rows, now).await?;
    tx.commit().await?;
    let mut conn = context.db.conn().await?;
    dispatch::finish(&mut conn, chunk, token, 0.0, false).await?;
    Ok(())
}
