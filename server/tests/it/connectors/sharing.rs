//! Several instances of one connector, and how much each is handed.

use std::{collections::HashSet, sync::Arc, time::Duration};

use domain::{channel::Lane, fallback::Success};
use proto::v1;
use testkit::eventually;
use tokio::sync::Mutex;

use super::{Instance, SOON, Stage, accepted};

#[tokio::test]
async fn no_more_is_handed_over_than_an_instance_takes() -> anyhow::Result<()> {
    let stage = Stage::start().await?;
    stage.outside("shop", "nothing", 60.0, 30.0).await?;
    let mut connector = Instance::attach(&stage, "shop", "one", 3).await?;
    let mut people = Vec::new();
    for n in 0..10 {
        people.push(stage.person(&format!("shop:{n}")).await?);
    }
    let plan = stage.plan(&["shop"], Success::Sent).await?;
    stage.world.begin(&plan, &people, Lane::Bulk).await?;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(connector.delivery().await?);
    }
    assert!(connector.is_quiet_for(Duration::from_millis(500)).await);
    let sending = stage.world.count("select count(*) from delivery where work = 'sending'").await?;
    assert_eq!(sending, 3, "only what is handed over is marked");
    for handed in held {
        connector.say(v1::attach_connector_request::Item::Settled(accepted(&handed.ack_id, &handed.delivery))).await?;
    }
    let (mut acks, mut deliveries) = (0, 0);
    while deliveries < 3 || acks < 3 {
        match connector.hear().await? {
            v1::attach_connector_response::Item::Delivery(_) => deliveries += 1,
            v1::attach_connector_response::Item::SettledAck(_) => acks += 1,
            other => anyhow::bail!("{other:?}"),
        }
    }
    assert!(connector.is_quiet_for(Duration::from_millis(300)).await);
    Ok(())
}

#[tokio::test]
async fn two_instances_share_a_channel_and_each_person_is_written_to_once() -> anyhow::Result<()> {
    const PEOPLE: usize = 120;
    let stage = Arc::new(Stage::start().await?);
    stage.outside("shop", "nothing", 60.0, 30.0).await?;
    let mut people = Vec::new();
    for n in 0..PEOPLE {
        people.push(stage.person(&format!("shop:{n}")).await?);
    }
    let plan = stage.plan(&["shop"], Success::Sent).await?;
    let written = Arc::new(Mutex::new(Vec::new()));
    let mut instances = Vec::new();
    for name in ["one", "two"] {
        let mut connector = Instance::attach(&stage, "shop", name, 4).await?;
        let written = Arc::clone(&written);
        instances.push(tokio::spawn(async move {
            let mut own = 0;
            while let Ok(heard) = connector.hear().await {
                let v1::attach_connector_response::Item::Delivery(handed) = heard else { continue };
                own += 1;
                written.lock().await.push((name, handed.to.clone().unwrap_or_default().value));
                let settled = accepted(&handed.ack_id, &handed.delivery);
                if connector.say(v1::attach_connector_request::Item::Settled(settled)).await.is_err() {
                    break;
                }
            }
            own
        }));
    }
    for part in people.chunks(20) {
        stage.world.begin(&plan, part, Lane::Bulk).await?;
    }
    eventually(SOON, async || {
        let reached = stage.world.count("select count(*) from notification where state = 'reached'").await?;
        anyhow::ensure!(reached == i64::try_from(PEOPLE)?, "{reached} of {PEOPLE} are reached");
        let left = stage.world.count("select count(*) from dispatch").await?;
        anyhow::ensure!(left == 0, "{left} chunks are left");
        Ok(())
    })
    .await?;
    for instance in instances {
        instance.abort();
    }
    let written = written.lock().await;
    let people: HashSet<_> = written.iter().map(|(_, to)| to.clone()).collect();
    assert_eq!((written.len(), people.len()), (PEOPLE, PEOPLE), "each once");
    let names: HashSet<_> = written.iter().map(|(name, _)| *name).collect();
    assert_eq!(names.len(), 2, "both had a share");
    Ok(())
}

#[tokio::test]
async fn a_paused_group_is_handed_to_nobody() -> anyhow::Result<()> {
    let stage = Stage::start().await?;
    stage.outside("shop", "nothing", 60.0, 30.0).await?;
    let mut connector = Instance::attach(&stage, "shop", "one", 10).await?;
    let first = stage.notify("shop:7", Success::Sent).await?;
    let handed = connector.delivery().await?;
    connector.settle(accepted(&handed.ack_id, "m-1")).await?;
    stage.ends_as(first, "reached 0").await?;
    sqlx::query("update send_group set running = false").execute(&stage.world.db.pool).await?;
    let plan = stage.plan(&["shop"], Success::Sent).await?;
    let person = stage.person("shop:8").await?;
    let second = stage.world.begin(&plan, &[person], Lane::Interactive).await?.remove(0);
    assert!(connector.is_quiet_for(Duration::from_millis(500)).await);
    sqlx::query("update send_group set running = true").execute(&stage.world.db.pool).await?;
    let handed = connector.delivery().await?;
    connector.settle(accepted(&handed.ack_id, "m-2")).await?;
    stage.ends_as(second, "reached 0").await
}

#[tokio::test]
async fn whoever_serves_a_channel_is_listed() -> anyhow::Result<()> {
    let stage = Stage::start().await?;
    stage.outside("shop", "nothing", 60.0, 30.0).await?;
    let connector = Instance::attach(&stage, "shop", "one", 7).await?;
    let health = v1::ConnectorHealth { healthy: false, detail: "the gateway is away".into() };
    connector.say(v1::attach_connector_request::Item::Health(health.clone())).await?;
    let list = || async {
        let request = v1::ListConnectorInstancesRequest { channel: "channels/shop".into(), ..Default::default() };
        Ok::<_, tonic::Status>(stage.connectors().list_connector_instances(request).await?.into_inner().instances)
    };
    eventually(SOON, async || {
        let found = list().await?;
        anyhow::ensure!(found.len() == 1 && found[0].health == Some(health.clone()), "{found:?}");
        assert!(found[0].connected && found[0].max_in_flight == 7 && found[0].software == "test/1");
        Ok(())
    })
    .await?;
    drop(connector);
    eventually(SOON, async || {
        anyhow::ensure!(!list().await?[0].connected, "it still counts as connected");
        Ok(())
    })
    .await?;
    let mut channels = v1::channel_service_client::ChannelServiceClient::new(stage.channel.clone());
    let name = "channels/shop".to_owned();
    let long_ago = "update connector_instance set seen_at = seen_at - interval '1 hour'";
    sqlx::query(long_ago).execute(&stage.world.db.pool).await?;
    stage.world.context.directory.invalidate();
    let health = channels.get_channel_health(v1::GetChannelHealthRequest { name: name.clone() }).await?.into_inner();
    assert_eq!(health.providers[0].breaker(), v1::provider_health::Breaker::Open);
    let check = channels.check_channel(v1::CheckChannelRequest { name }).await?.into_inner();
    assert!(!check.ok && check.providers[0].problems[0].description.contains("no connector"), "{check:?}");
    Ok(())
}
