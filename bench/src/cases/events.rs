//! The lag of events: from the moment that is written in an event to its arrival at each of a hundred subscribers, while deliveries
//! are planned and sent.

use std::time::Duration;

use chrono::Utc;
use domain::channel::Lane;
use futures::FutureExt;
use server::services::events::{Feed, Filter, Item, Start, Subscription};
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    bench::Bench,
    cases::Case,
    goal::Goal,
    report::Entry,
    stats::percentile,
    world::{Workers, World, taken},
};

/// See the module.
pub const CASE: Case = Case {
    name: "events",
    about: "From an event's moment to its arrival at each of 100 subscribers.",
    run: |bench| measure(bench).boxed(),
};

const SUBSCRIBERS: usize = 100;

async fn measure(bench: &Bench) -> anyhow::Result<Vec<Entry>> {
    let world = World::on(bench.database().await?).await?;
    world.channel_at_once("sms").await?;
    let plan = world.plan(&["sms"], |_, _| {}).await?;
    let contacts = world.people(bench.scale.of(600, 80)).await?;
    let stop = CancellationToken::new();
    let feed = Feed::start(world.context.clone(), stop.clone());
    let mut subscribers = JoinSet::new();
    for _ in 0..SUBSCRIBERS {
        let subscription = Subscription::begin(&feed, Start::Now, Filter::default()).await?;
        subscribers.spawn(lags(subscription, stop.clone()));
    }
    let (calls, workers) = (taken(false), Workers::all(&world.context));
    sleep(Duration::from_secs(2)).await;
    for contact in &contacts {
        world.begin(&plan, &[*contact], Lane::Interactive).await?;
        sleep(Duration::from_millis(20)).await;
    }
    calls.reach(contacts.len()).await?;
    sleep(Duration::from_secs(1)).await;
    stop.cancel();
    workers.stop().await;
    let (mut all, mut fewest) = (Vec::new(), usize::MAX);
    while let Some(lags) = subscribers.join_next().await {
        let lags = lags??;
        fewest = fewest.min(lags.len());
        all.extend(lags);
    }
    anyhow::ensure!(fewest >= contacts.len() * 3, "a subscriber heard of {fewest} events only");
    let note = format!(
        "{SUBSCRIBERS} subscribers, {fewest} events each, one notification each 20 ms; from the event's own time, which is before its commit"
    );
    Ok(vec![
        Entry::new("events/lag-p99", "ms", &[percentile(&all, 0.99)]).goal(Goal::AtMost(100.0)).note(note),
        Entry::new("events/lag-p50", "ms", &[percentile(&all, 0.5)]),
    ])
}

/// How late each event came, in milliseconds, until `stop`.
async fn lags(mut subscription: Subscription, stop: CancellationToken) -> anyhow::Result<Vec<f64>> {
    let mut lags = Vec::new();
    loop {
        let item = tokio::select! {
            () = stop.cancelled() => return Ok(lags),
            item = subscription.next() => item?,
        };
        if let Item::Event(fact) = item {
            let micros = (Utc::now() - fact.at).num_microseconds().unwrap_or(i64::MAX);
            #[expect(clippy::cast_precision_loss, reason = "microseconds of some seconds")]
            lags.push(micros as f64 / 1e3);
        }
    }
}
