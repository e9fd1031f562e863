//! Bulk short messages over a gateway that answers 202 on this machine, from the plan to the last outcome, against the same with a
//! provider inside the process: what HTTP costs.

use std::time::Duration;

use domain::channel::Lane;
use futures::FutureExt;

use crate::{
    bench::{Bench, until},
    cases::Case,
    cpu::{Meter, Spent},
    goal::Goal,
    report::{Entry, compared},
    world::{Workers, World, gateway},
};

/// See the module.
pub const CASE: Case = Case {
    name: "sms",
    about: "Bulk SMS end to end over a local HTTP gateway, against a provider inside the process.",
    run: |bench| measure(bench).boxed(),
};

async fn measure(bench: &Bench) -> anyhow::Result<Vec<Entry>> {
    let (world, gateway) = (World::on(bench.database().await?).await?, gateway().await?);
    world.channel_at_once("inside").await?;
    let settings = serde_json::json!({
        "base_url": format!("http://{}", gateway.address), "username": "bench", "password_env": "PASSWORD",
        "webhook_token_env": "TOKEN",
    });
    world.channel("over-http", "kannel", settings).await?;
    world.sql("update channel set in_flight = 50").await?;
    let contacts = world.people(bench.scale.of(20_000, 2_000)).await?;
    let workers = Workers::all(&world.context);
    let (mut inside, mut over, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..bench.scale.of(3, 1) {
        inside.push(send(&world, "inside", &contacts).await?.rate(contacts.len()));
        let spent = send(&world, "over-http", &contacts).await?;
        over.push(spent.rate(contacts.len()));
        cpu.push(spent.all_us(contacts.len()));
        bench.say(&format!("sms: round {} of {}", round + 1, bench.scale.of(3, 1)));
    }
    workers.stop().await;
    let note =
        format!("{} messages, 50 open calls, connections kept alive; the gateway runs in this process", contacts.len());
    Ok(vec![
        compared("sms/rate", "deliveries/s", &over, "a provider inside the process", &inside)
            .goal(Goal::AtLeastTimes(0.5))
            .note(note),
        Entry::new("sms/all", "us a delivery", &cpu).note("CPU of Postgres and of this process, the gateway included"),
    ])
}

async fn send(world: &World, channel: &str, contacts: &[i64]) -> anyhow::Result<Spent> {
    let plan = world.plan(&[channel], |_, _| {}).await?;
    let meter = Meter::start(&world.pool).await?;
    world.begin(&plan, contacts, Lane::Bulk).await?;
    until("all outcomes", Duration::from_secs(300), Duration::from_millis(50), || async {
        Ok(sqlx::query_scalar("select not exists (select from dispatch)").fetch_one(&world.pool).await?)
    })
    .await?;
    let spent = meter.stop().await?;
    let open = world.count("select count(*) from delivery where evidence <> 'sent'").await?;
    anyhow::ensure!(open == 0, "{open} were not sent");
    Ok(spent)
}
