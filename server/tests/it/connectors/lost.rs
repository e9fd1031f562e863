//! Connectors that are killed with deliveries in their hands: nothing is lost, and nothing goes out twice without a record.

use std::time::Duration;

use domain::fallback::Success;
use proto::v1::{self, settled_ack::Result as Ack};
use testkit::eventually;

use super::{Instance, SOON, Stage, accepted, ended};

#[tokio::test]
async fn a_connector_that_comes_back_is_asked_what_it_knows_before_anything_is_repeated() -> anyhow::Result<()> {
    let stage = Stage::start().await?;
    stage.outside("shop", "key", 60.0, 30.0).await?;
    let notification = stage.notify("shop:7", Success::Sent).await?;
    let mut connector = Instance::attach(&stage, "shop", "one", 10).await?;
    let handed = connector.delivery().await?;
    drop(connector);
    let mut connector = Instance::attach(&stage, "shop", "one", 10).await?;
    let unsettled = connector.welcome.unsettled.clone();
    assert_eq!(unsettled.len(), 1);
    assert_eq!((&unsettled[0].ack_id, &unsettled[0].delivery), (&handed.ack_id, &handed.delivery));
    assert!(connector.is_quiet_for(Duration::from_millis(300)).await, "it is not handed over again by itself");
    let ack = connector.settle(ended(&unsettled[0].ack_id, v1::Outcome::NotSent)).await?;
    assert_eq!(ack.result(), Ack::Again);
    let again = connector.delivery().await?;
    assert_eq!((&again.delivery, again.attempt), (&handed.delivery, 2));
    assert_eq!(connector.settle(accepted(&again.ack_id, "m-1")).await?.result(), Ack::Over);
    stage.ends_as(notification, "reached 0").await?;
    assert_eq!(stage.attempts(notification).await?, ["not_sent", "accepted"]);
    Ok(())
}

#[tokio::test]
async fn what_was_sent_before_the_kill_is_settled_after_it() -> anyhow::Result<()> {
    let stage = Stage::start().await?;
    stage.outside("shop", "nothing", 60.0, 30.0).await?;
    let notification = stage.notify("shop:7", Success::Sent).await?;
    let mut connector = Instance::attach(&stage, "shop", "one", 10).await?;
    let handed = connector.delivery().await?;
    drop(connector);
    let mut connector = Instance::attach(&stage, "shop", "one", 10).await?;
    assert_eq!(connector.settle(accepted(&handed.ack_id, "m-1")).await?.result(), Ack::Over);
    stage.ends_as(notification, "reached 0").await?;
    assert_eq!(stage.attempts(notification).await?, ["accepted"]);
    Ok(())
}

#[tokio::test]
async fn with_a_key_another_instance_repeats_what_a_dead_one_left_unknown() -> anyhow::Result<()> {
    let stage = Stage::start().await?;
    stage.outside("shop", "key", 2.0, 30.0).await?;
    let notification = stage.notify("shop:7", Success::Sent).await?;
    let mut dead = Instance::attach(&stage, "shop", "dead", 10).await?;
    let handed = dead.delivery().await?;
    drop(dead);
    let mut heir = Instance::attach(&stage, "shop", "heir", 10).await?;
    assert!(heir.welcome.unsettled.is_empty(), "it is another's");
    let again = heir.delivery().await?;
    assert_eq!((&again.delivery, again.attempt), (&handed.delivery, 2));
    assert_eq!(stage.attempts(notification).await?, ["unknown"], "recorded before it was repeated");
    assert_eq!(heir.settle(accepted(&again.ack_id, "m-1")).await?.result(), Ack::Over);
    stage.ends_as(notification, "reached 0").await
}

#[tokio::test]
async fn without_an_ability_what_a_dead_connector_left_is_unknown_and_never_repeated() -> anyhow::Result<()> {
    let stage = Stage::start().await?;
    stage.outside("shop", "nothing", 2.0, 30.0).await?;
    let notification = stage.notify("shop:7", Success::Delivered).await?;
    let mut dead = Instance::attach(&stage, "shop", "dead", 10).await?;
    let handed = dead.delivery().await?;
    drop(dead);
    let mut heir = Instance::attach(&stage, "shop", "heir", 10).await?;
    stage.comes_to(notification, 0, "done unknown").await?;
    assert!(heir.is_quiet_for(Duration::from_secs(2)).await);
    // The dead one comes back late: what it knows lifts the delivery, and repeats nothing.
    assert_eq!(heir.settle(accepted(&handed.ack_id, "m-1")).await?.result(), Ack::Late);
    stage.comes_to(notification, 0, "done sent").await
}

#[tokio::test]
async fn leases_live_as_long_as_their_connector() -> anyhow::Result<()> {
    let stage = Stage::start().await?;
    stage.outside("shop", "key", 2.0, 30.0).await?;
    let notification = stage.notify("shop:7", Success::Sent).await?;
    let mut connector = Instance::attach(&stage, "shop", "one", 10).await?;
    let handed = connector.delivery().await?;
    assert!(connector.is_quiet_for(Duration::from_secs(5)).await, "two leases and a half");
    assert_eq!(stage.world.delivery(notification, 0).await?, "sending none");
    assert_eq!(connector.settle(accepted(&handed.ack_id, "m-1")).await?.result(), Ack::Over);
    assert_eq!(stage.attempts(notification).await?, ["accepted"]);
    Ok(())
}

#[tokio::test]
async fn a_newer_connection_of_an_instance_takes_over() -> anyhow::Result<()> {
    let stage = Stage::start().await?;
    stage.outside("shop", "nothing", 3.0, 30.0).await?;
    let mut old = Instance::attach(&stage, "shop", "one", 10).await?;
    let mut new = Instance::attach(&stage, "shop", "one", 10).await?;
    let ended = old.hear().await.expect_err("the old one is told");
    let status = ended.downcast::<tonic::Status>()?;
    assert_eq!((status.code(), crate::api::reason(&status).as_str()), (tonic::Code::Aborted, "INSTANCE_TAKEN_OVER"));
    let notification = stage.notify("shop:7", Success::Sent).await?;
    let handed = new.delivery().await?;
    new.settle(accepted(&handed.ack_id, "m-1")).await?;
    stage.ends_as(notification, "reached 0").await
}

#[tokio::test]
async fn while_no_connector_is_there_people_are_reached_over_the_next_step() -> anyhow::Result<()> {
    let stage = Stage::start().await?;
    stage.outside("shop", "nothing", 2.0, 0.0).await?;
    stage.outside("shop-two", "nothing", 60.0, 30.0).await?;
    let mut second = Instance::attach(&stage, "shop-two", "one", 10).await?;
    let mut first = Instance::attach(&stage, "shop", "one", 10).await?;
    let person = stage.person("shop:7").await?;
    let plan = stage.plan(&["shop", "shop-two"], Success::Sent).await?;
    let served = stage.world.begin(&plan, &[person], domain::channel::Lane::Interactive).await?.remove(0);
    let handed = first.delivery().await?;
    first.settle(accepted(&handed.ack_id, "m-1")).await?;
    stage.ends_as(served, "reached 0").await?;
    drop(first);
    nobody_serves(&stage, "shop").await?;
    let person = stage.person("shop:8").await?;
    let notification = stage.world.begin(&plan, &[person], domain::channel::Lane::Interactive).await?.remove(0);
    let handed = second.delivery().await?;
    second.settle(accepted(&handed.ack_id, "m-2")).await?;
    stage.ends_as(notification, "reached 1").await
}

/// Waits until no instance holds a connection for a channel.
async fn nobody_serves(stage: &Stage, slug: &str) -> anyhow::Result<()> {
    eventually(SOON, async || {
        let there: i64 = sqlx::query_scalar(
            "select count(*) from connector_instance i join channel_provider p on p.id = i.provider_id
               join channel c on c.id = p.channel_id where c.slug = $1 and i.connected",
        )
        .bind(slug)
        .fetch_one(&stage.world.db.pool)
        .await?;
        anyhow::ensure!(there == 0, "it still counts as there");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn where_there_is_no_next_step_it_waits_for_its_connector() -> anyhow::Result<()> {
    let stage = Stage::start().await?;
    stage.outside("shop", "nothing", 2.0, 0.0).await?;
    let plan = stage.plan(&["shop"], Success::Sent).await?;
    let people = [stage.person("shop:7").await?, stage.person("shop:8").await?];
    let first = stage.world.begin(&plan, &people[..1], domain::channel::Lane::Interactive).await?.remove(0);
    let connector = Instance::attach(&stage, "shop", "one", 1).await?;
    drop(connector);
    nobody_serves(&stage, "shop").await?;
    let second = stage.world.begin(&plan, &people[1..], domain::channel::Lane::Interactive).await?.remove(0);
    let mut connector = Instance::attach(&stage, "shop", "one", 2).await?;
    for one in connector.welcome.unsettled.clone() {
        connector.settle(ended(&one.ack_id, v1::Outcome::NotSent)).await?;
    }
    stage.world.advance(Duration::from_secs(60)); // what was deferred because nobody was there
    for handed in [connector.delivery().await?, connector.delivery().await?] {
        let settled = accepted(&handed.ack_id, &handed.delivery);
        connector.say(v1::attach_connector_request::Item::Settled(settled)).await?;
    }
    stage.ends_as(first, "reached 0").await?;
    stage.ends_as(second, "reached 0").await
}
