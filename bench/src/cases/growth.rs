//! Whether a recipient of a large campaign costs more than one of a small one, and what memory it takes.

use futures::FutureExt;

use crate::{
    bench::Bench,
    cases::Case,
    cpu::{Meter, resident_mb},
    goal::Goal,
    report::{Entry, compared},
    world::{Workers, World, taken},
};

/// See the module.
pub const CASE: Case = Case {
    name: "growth",
    about: "CPU a recipient of a large campaign against a small one, planned and sent, and memory.",
    run: |bench| measure(bench).boxed(),
};

async fn measure(bench: &Bench) -> anyhow::Result<Vec<Entry>> {
    let (small, large) = bench.scale.of((10_000, 1_000_000), (1_000, 5_000));
    let (few, _) = campaign(bench, small).await?;
    bench.say(&format!("growth: {small} recipients are sent, {large} follow"));
    let (many, memory) = campaign(bench, large).await?;
    let base = format!("a recipient of {small}");
    Ok(vec![
        compared("growth/cpu", "us a recipient", &[many], &base, &[few]).goal(Goal::AtMostTimes(1.3)).note(format!(
            "a recipient of {large}; CPU of Postgres and of this process from the audience to the last outcome"
        )),
        Entry::new("growth/rss", "MB", &[memory])
            .goal(Goal::AtMost(200.0))
            .note("this process with all workers, the provider and the measurement in it, at the end of the large one"),
    ])
}

/// Plans and sends a campaign; says the CPU a recipient, and this process's memory at the end.
async fn campaign(bench: &Bench, count: usize) -> anyhow::Result<(f64, f64)> {
    let world = World::on(bench.database().await?).await?;
    world.channel_at_once("sms").await?;
    world.plan(&["sms"], |_, _| {}).await?;
    world.people(count).await?;
    world.everybody().await?;
    let (calls, workers) = (taken(false), Workers::all(&world.context));
    let meter = Meter::start(&world.pool).await?;
    world.start_campaign("news", "all", "sms").await?;
    calls.reach(count).await?;
    let spent = meter.stop().await?;
    let memory = resident_mb(std::process::id())?;
    workers.stop().await;
    Ok((spent.all_us(count), memory))
}
