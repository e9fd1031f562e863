//! A person's message: from its webhook to our answer at the provider, idle and while a large campaign drains over the same
//! channel. The word is STOP: it is stored, routed, changes consent, and is confirmed.

use std::time::Duration;

use domain::channel::Lane;
use futures::FutureExt;
use tokio::time::{Instant, sleep};

use super::interactive::commits;
use crate::{
    bench::{Bench, until},
    cases::Case,
    goal::Goal,
    report::{Entry, compared},
    stats::{number, percentile},
    world::{Taken, WebServer, Workers, World, taken},
};

/// See the module.
pub const CASE: Case = Case {
    name: "inbound",
    about: "From a message's webhook to our answer at the provider, idle and while a campaign drains.",
    run: |bench| measure(bench).boxed(),
};

struct Line {
    client: reqwest::Client,
    url: String,
    calls: Taken,
    said: usize,
}

async fn measure(bench: &Bench) -> anyhow::Result<Vec<Entry>> {
    let world = World::on(bench.database().await?).await?;
    world.channel_at_once("sms").await?;
    let plan = world.plan(&["sms"], |_, _| {}).await?;
    let contacts = world.people(bench.scale.of(100_000, 5_000)).await?;
    let provider: i32 = sqlx::query_scalar("select id from channel_provider").fetch_one(&world.pool).await?;
    let (server, workers) = (WebServer::start(&world.context).await?, Workers::all(&world.context));
    let mut line = Line {
        client: reqwest::Client::new(),
        url: format!("http://{}/webhooks/{provider}", server.address),
        calls: taken(true),
        said: 0,
    };
    sleep(Duration::from_secs(2)).await; // leaders lead
    for _ in 0..20 {
        line.say().await?; // plans are cached
    }
    let (mut idle, mut commit) = (Vec::new(), Vec::new());
    for _ in 0..bench.scale.of(300, 30) {
        idle.push(line.say().await?);
        commit.extend(commits(&world, 1).await?);
    }
    let before = line.calls.calls();
    world.begin(&plan, &contacts, Lane::Bulk).await?;
    let mut busy = Vec::new();
    while number(usize::try_from(line.calls.calls() - before)?) < number(contacts.len()) * 0.95 + number(busy.len()) {
        busy.push(line.say().await?);
    }
    workers.stop().await;
    Ok(entries(&idle, &busy, &commit, contacts.len()))
}

fn entries(idle: &[f64], busy: &[f64], commit: &[f64], deliveries: usize) -> Vec<Entry> {
    let (p50, p99) = (percentile(idle, 0.5), percentile(idle, 0.99));
    let commit = percentile(commit, 0.5);
    vec![
        compared("inbound/p50", "ms", &[p50], "a single commit of the same run", &[commit])
            .goal(Goal::AtMostTimes(8.0))
            .note(format!("{} messages one after another, each from a new person", idle.len())),
        compared("inbound/p99", "ms", &[p99], "its p50", &[p50]).goal(Goal::AtMostTimes(5.0)),
        compared("inbound/draining-p99", "ms", &[percentile(busy, 0.99)], "idle p99", &[p99])
            .goal(Goal::AtMostTimes(3.0))
            .note(format!("{} messages while {deliveries} deliveries drain over the same channel", busy.len())),
        compared("inbound/draining-p50", "ms", &[percentile(busy, 0.5)], "idle p50", &[p50]),
    ]
}

impl Line {
    /// Says STOP as somebody new. Says how long the answer took to reach the provider, in milliseconds.
    async fn say(&mut self) -> anyhow::Result<f64> {
        self.said += 1;
        let phone = format!("+9177{:08}", self.said);
        let body = format!("message m-{} {phone} STOP", self.said);
        let (began, at) = (Instant::now(), std::time::Instant::now());
        let answer = self.client.post(&self.url).body(body).send().await?;
        anyhow::ensure!(answer.status().is_success(), "the webhook was answered with {}", answer.status());
        until("an answer", Duration::from_secs(60), Duration::from_millis(1), || async {
            Ok(self.calls.at(&phone).is_some())
        })
        .await?;
        let waited = self.calls.at(&phone).map(|answered| answered.saturating_duration_since(at));
        Ok(waited.unwrap_or_else(|| began.elapsed()).as_secs_f64() * 1e3)
    }
}
