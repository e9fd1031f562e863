//! The relay: from chunks that wait in Postgres to confirmed messages on the broker, against a plain confirmed publish of the same
//! messages. Four channels wait at once, so that what may be outstanding on one does not bound a batch.

use std::sync::Arc;

use domain::channel::{ChannelType, Lane};
use futures::FutureExt;
use server::{bus::Queue, wake::Topic};
use tokio::time::Instant;

use crate::{
    bench::Bench,
    cases::Case,
    cpu::{Meter, of_process},
    goal::Goal,
    rabbit::{CountedBus, Raw, body},
    report::{Entry, compared},
    stats::number,
    world::{Workers, World},
};

/// See the module.
pub const CASE: Case = Case {
    name: "relay",
    about: "Chunks from Postgres onto the broker, one delivery a message and fifty, against a plain confirmed publish.",
    run: |bench| measure(bench).boxed(),
};

/// Channels at once.
const CHANNELS: usize = 4;
/// Deliveries that wait on each channel.
const AHEAD: usize = 5_000;
/// The rate of each channel: nobody takes up what is published here, and of a channel without a rate no more would be granted until
/// somebody does.
const RATE: &str = "update channel set rate_per_second = 100000";

/// How a batch is cut.
#[derive(Clone, Copy)]
struct Cut {
    lane: Lane,
    in_a_message: usize,
}

impl Cut {
    const fn messages(self) -> usize {
        CHANNELS * AHEAD / self.in_a_message
    }

    fn queue(self) -> Queue {
        Queue { channel_type: ChannelType::Sms, lane: self.lane }
    }
}

const SINGLE: Cut = Cut { lane: Lane::Interactive, in_a_message: 1 };
const CHUNKS: Cut = Cut { lane: Lane::Bulk, in_a_message: 50 };

#[derive(Default)]
struct Series {
    rates: Vec<f64>,
    cpu: Vec<f64>,
}

async fn measure(bench: &Bench) -> anyhow::Result<Vec<Entry>> {
    let (world, vhost) = (World::on(bench.database().await?).await?, bench.vhost().await?);
    for channel in 0..CHANNELS {
        let id = world.channel_at_once(&format!("sms-{channel}")).await?;
        for cut in [SINGLE, CHUNKS] {
            sqlx::query("insert into send_group (channel_id, channel_type, lane) values ($1, 'SMS', $2::text::lane)")
                .bind(id)
                .bind(cut.lane.as_str())
                .execute(&world.pool)
                .await?;
        }
    }
    world.sql(RATE).await?;
    world.context.directory.invalidate();
    let bus = CountedBus::start(&vhost.url).await?;
    let raw = Raw::connect(&vhost.url).await?;
    let workers = Workers::none().relay(&world.context, &bus.shared());
    let (mut plain, mut single, mut chunks) = (Series::default(), Series::default(), Series::default());
    for round in 0..bench.rounds() {
        publish_plainly(&raw, &mut plain).await?;
        relay(&world, &bus, &raw, SINGLE, &mut single).await?;
        relay(&world, &bus, &raw, CHUNKS, &mut chunks).await?;
        bench.say(&format!("relay: round {} of {}", round + 1, bench.rounds()));
    }
    workers.stop().await;
    raw.close().await;
    bus.stop().await;
    Ok(entries(&plain, &single, &chunks))
}

fn entries(plain: &Series, single: &Series, chunks: &Series) -> Vec<Entry> {
    let above: Vec<f64> = single.cpu.iter().zip(&plain.cpu).map(|(ours, raw)| ours - raw).collect();
    let base = "confirmed publish, window 1000";
    let note = format!("{} deliveries on {CHANNELS} channels a round; one connection", CHANNELS * AHEAD);
    vec![
        compared("relay/single", "messages/s", &single.rates, base, &plain.rates).goal(Goal::AtLeastTimes(0.6)).note(note),
        Entry::new("relay/single/cpu", "us above plain publish", &above)
            .goal(Goal::AtMost(30.0))
            .note("Postgres and this process a message, less what the plain publish costs this process; the broker is not counted"),
        compared("relay/chunks", "deliveries/s", &chunks.rates, "one delivery a message", &single.rates)
            .goal(Goal::AtLeastTimes(10.0)),
        Entry::new("relay/chunks/cpu", "us a delivery", &chunks.cpu).note("Postgres and this process"),
    ]
}

async fn publish_plainly(raw: &Raw, series: &mut Series) -> anyhow::Result<()> {
    let queue = SINGLE.queue().name();
    let (before, began) = (of_process(std::process::id())?, Instant::now());
    raw.publish(&queue, (0..SINGLE.messages()).map(|n| body(i64::try_from(n).unwrap_or_default()))).await?;
    let took = began.elapsed().as_secs_f64();
    let cpu = of_process(std::process::id())?.saturating_sub(before);
    series.rates.push(number(SINGLE.messages()) / took);
    series.cpu.push(cpu.as_secs_f64() * 1e6 / number(SINGLE.messages()));
    raw.purge(&queue).await
}

async fn relay(world: &World, bus: &Arc<CountedBus>, raw: &Raw, cut: Cut, series: &mut Series) -> anyhow::Result<()> {
    let wanted = bus.confirmed() + u64::try_from(cut.messages())?;
    // The groups are stopped while their chunks are written, so that the relay finds all of them at once.
    world.sql("update send_group set running = false").await?;
    sqlx::query(
        "insert into dispatch (channel_type, lane, send_group_id, delivery_ids)
         select 'SMS', g.lane, g.id, array(select gen_random_uuid() from generate_series(1, $1))
           from send_group g, generate_series(1, $2) x where g.lane = $3::text::lane",
    )
    .bind(i32::try_from(cut.in_a_message)?)
    .bind(i32::try_from(AHEAD / cut.in_a_message)?)
    .bind(cut.lane.as_str())
    .execute(&world.pool)
    .await?;
    world.sql("analyze dispatch; update send_group set running = true").await?;
    let meter = Meter::start(&world.pool).await?;
    world.context.wake.signal(Topic::Relay);
    bus.reach(wanted).await?;
    let spent = meter.stop().await?;
    series.rates.push(spent.rate(CHANNELS * AHEAD));
    series.cpu.push(spent.all_us(CHANNELS * AHEAD));
    world.sql("truncate dispatch").await?;
    raw.purge(&cut.queue().name()).await
}
