//! What providers do to us, and what we make of it: silence after accepting, throttling, a provider that is down, answers that make
//! no sense.

use std::{collections::BTreeSet, time::Duration};

use domain::{
    channel::Lane,
    fallback::{OnFailure, Success},
};
use simulator::script::{Fault, Handset, MessageScript};
use testkit::eventually;
use uuid::Uuid;

use crate::support::{
    World,
    pipeline::{Workers, simulator},
};

const PHONE: &str = "+919812345678";
const SOON: Duration = Duration::from_secs(30);

/// A world with one SMS channel to the simulator, one person, and one notification with success SENT.
async fn one_sms(world: &World, base_url: &str) -> anyhow::Result<Uuid> {
    world.sms_channel("sms-a", base_url).await?;
    sqlx::query("update channel_provider set timeout_ms = 1000").execute(&world.db.pool).await?;
    let contact = world.contact(PHONE).await?;
    let plan = world
        .plan(&["sms-a"], |_, step| {
            step.success = Success::Sent;
            step.every = chrono::Duration::seconds(1);
        })
        .await?;
    Ok(world.begin(&plan, &[contact], Lane::Interactive).await?.remove(0))
}

async fn comes_to(world: &World, notification: Uuid, wanted: &str) -> anyhow::Result<()> {
    eventually(SOON, async || {
        let found = world.delivery(notification, 0).await?;
        anyhow::ensure!(found == wanted, "the delivery is {found}, not {wanted}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_call_without_an_answer_is_unknown_until_the_provider_is_asked() -> anyhow::Result<()> {
    let (world, sim) = (World::new().await?, simulator().await?);
    sim.handset(PHONE, Handset::sms(MessageScript::silent().misbehave(Fault::Timeout, Some(1))))?;
    let notification = one_sms(&world, &sim.base_url).await?;
    let _workers = Workers::start(&world.context, None)?;
    comes_to(&world, notification, "done unknown").await?;
    world.advance(Duration::from_secs(31)); // the settling time
    comes_to(&world, notification, "done sent").await?;
    assert_eq!(sim.calls_to(PHONE).await.len(), 1, "asked, not repeated");
    eventually(SOON, async || {
        let stands = world.stands(notification).await?;
        anyhow::ensure!(stands == "reached 0", "{stands}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn throttling_delays_and_costs_the_step_nothing() -> anyhow::Result<()> {
    let (world, sim) = (World::new().await?, simulator().await?);
    let mut script = MessageScript::silent();
    script.throttle = 2;
    sim.handset(PHONE, Handset::sms(script))?;
    let notification = one_sms(&world, &sim.base_url).await?;
    let _workers = Workers::start(&world.context, None)?;
    comes_to(&world, notification, "done sent").await?;
    let row: (i16, i16, i16) =
        sqlx::query_as("select attempts, failures, throttles from delivery where notification_id = $1")
            .bind(notification)
            .fetch_one(&world.db.pool)
            .await?;
    assert_eq!(row, (3, 0, 2));
    Ok(())
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_unknown_and_never_repeated_blindly() -> anyhow::Result<()> {
    let (world, sim) = (World::new().await?, simulator().await?);
    sim.handset(PHONE, Handset::sms(MessageScript::silent().misbehave(Fault::Garbage, None)))?;
    let notification = one_sms(&world, &sim.base_url).await?;
    let _workers = Workers::start(&world.context, None)?;
    comes_to(&world, notification, "done unknown").await?;
    assert_eq!(sim.calls_to(PHONE).await.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_provider_that_is_down_is_replaced_by_the_next_before_it_costs_the_step() -> anyhow::Result<()> {
    let (world, sim) = (World::new().await?, simulator().await?);
    let channel = world.sms_channel("sms-a", "http://127.0.0.1:9").await?;
    let settings = serde_json::json!({
        "account_sid": "AC00000000000000000000000000000000", "auth_token_env": "TOKEN", "base_url": sim.base_url,
    });
    sqlx::query(
        "insert into channel_provider (channel_id, name, position, connector, settings) values ($1, 'second', 1, 'twilio-sms', $2)",
    )
    .bind(channel)
    .bind(settings)
    .execute(&world.db.pool)
    .await?;
    let mut contacts = Vec::new();
    for n in 0..20 {
        contacts.push(world.contact(&format!("+9198123400{n:02}")).await?);
    }
    let plan = world
        .plan(&["sms-a"], |_, step| {
            step.success = Success::Sent;
            step.on_failure = OnFailure::Now;
        })
        .await?;
    world.begin(&plan, &contacts, Lane::Bulk).await?;
    let _workers = Workers::start(&world.context, None)?;
    eventually(SOON, async || {
        let reached = world.count("select count(*) from notification where state = 'reached'").await?;
        anyhow::ensure!(reached == 20, "{reached} of 20 are reached");
        Ok(())
    })
    .await?;
    let reached: BTreeSet<String> = sim.calls().await.into_iter().map(|call| call.to).collect();
    assert_eq!((reached.len(), sim.calls().await.len()), (20, 20), "each over the second provider, once");
    let open =
        world.count("select count(*) from channel_provider where name = 'main' and open_until is not null").await?;
    assert_eq!(open, 1, "every process is told that the first provider is down");
    Ok(())
}

#[tokio::test]
async fn what_is_no_longer_valid_is_not_put_on_the_wire() -> anyhow::Result<()> {
    let (world, sim) = (World::new().await?, simulator().await?);
    let notification = one_sms(&world, &sim.base_url).await?;
    sqlx::query("update delivery set valid_until = $1").bind(world.now()).execute(&world.db.pool).await?;
    sqlx::query("update notification set valid_until = $1").bind(world.now()).execute(&world.db.pool).await?;
    let _workers = Workers::start(&world.context, None)?;
    eventually(SOON, async || {
        let stands = world.stands(notification).await?;
        anyhow::ensure!(stands == "expired 0", "{stands}");
        Ok(())
    })
    .await?;
    assert_eq!(world.delivery(notification, 0).await?, "expired none");
    assert!(sim.calls().await.is_empty());
    Ok(())
}
