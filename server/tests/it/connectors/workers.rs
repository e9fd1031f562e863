//! Programs that hold no stream in both directions: a stream of deliveries with acks, and workers that claim and mark.

use std::time::Duration;

use domain::{channel::Lane, fallback::Success};
use proto::v1::{self, settled_ack::Result as Ack, stream_deliveries_response::Item};
use testkit::eventually;

use super::{SOON, Stage, accepted, ended, external, text};
use crate::api::{fields, reason};

fn claim_of(instance: &str) -> v1::ClaimDeliveriesRequest {
    v1::ClaimDeliveriesRequest { channel: "channels/shop".into(), instance: instance.into(), chunk: 0 }
}

#[tokio::test]
async fn a_stream_of_deliveries_goes_on_as_they_are_acked() -> anyhow::Result<()> {
    let stage = Stage::start().await?;
    stage.outside("shop", "nothing", 60.0, 30.0).await?;
    let hello = v1::ConnectorHello {
        channel: "channels/shop".into(),
        instance: "one".into(),
        max_in_flight: 1,
        ..Default::default()
    };
    let request = v1::StreamDeliveriesRequest { hello: Some(hello) };
    let mut stream = stage.connectors().stream_deliveries(request).await?.into_inner();
    let mut people = Vec::new();
    for n in 0..5 {
        people.push(stage.person(&format!("shop:{n}")).await?);
    }
    let plan = stage.plan(&["shop"], Success::Sent).await?;
    stage.world.begin(&plan, &people, Lane::Bulk).await?;
    let mut handed = 0;
    while handed < 5 {
        let next = tokio::time::timeout(SOON, stream.message()).await??.and_then(|m| m.item);
        let Some(Item::Delivery(delivery)) = next else { continue };
        handed += 1;
        let settled = Some(accepted(&delivery.ack_id, &delivery.delivery));
        let ack = stage.connectors().ack_delivery(v1::AckDeliveryRequest { settled }).await?.into_inner().ack;
        assert_eq!(ack.map(|a| a.result()), Some(Ack::Over));
    }
    eventually(SOON, async || {
        let reached = stage.world.count("select count(*) from notification where state = 'reached'").await?;
        anyhow::ensure!(reached == 5, "{reached} of 5 are reached");
        let left = stage.world.count("select count(*) from dispatch").await?;
        anyhow::ensure!(left == 0, "{left} chunks are left");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_worker_claims_marks_and_reports() -> anyhow::Result<()> {
    let stage = Stage::start().await?;
    stage.outside("shop", "nothing", 60.0, 30.0).await?;
    let nothing = stage.connectors().claim_deliveries(claim_of("worker")).await?.into_inner();
    assert!(nothing.claim.is_empty() && nothing.deliveries.is_empty());
    let mut people = Vec::new();
    for n in 0..3 {
        people.push(stage.person(&format!("shop:{n}")).await?);
    }
    let plan = stage.plan(&["shop"], Success::Sent).await?;
    stage.world.begin(&plan, &people, Lane::Bulk).await?;
    let claimed = eventually_claims(&stage, "worker").await?;
    assert_eq!(claimed.deliveries.len(), 3);
    assert!(claimed.deliveries.iter().all(|d| d.attempt == 0 && d.ack_id.is_empty()), "not marked yet");
    let two: Vec<String> = claimed.deliveries.iter().take(2).map(|d| d.delivery.clone()).collect();
    let request = v1::MarkAttemptsRequest { claim: claimed.claim.clone(), deliveries: two.clone() };
    let marked = stage.connectors().mark_attempts(request.clone()).await?.into_inner().attempts;
    assert_eq!(marked.len(), 2);
    let again = stage.connectors().mark_attempts(request).await?.into_inner().attempts;
    assert!(again.is_empty(), "what is marked is marked once");
    let outcomes = vec![accepted(&marked[0].ack_id, "m-0"), ended(&marked[1].ack_id, v1::Outcome::NotSent)];
    let report = v1::ReportOutcomesRequest { claim: claimed.claim.clone(), outcomes, finished: true };
    let acks = stage.connectors().report_outcomes(report).await?.into_inner().acks;
    assert_eq!(acks.iter().map(v1::SettledAck::result).collect::<Vec<_>>(), [Ack::Over, Ack::Again]);
    let rest = eventually_claims(&stage, "another").await?;
    assert_eq!(rest.deliveries.len(), 2, "what was not marked, and what was not sent");
    Ok(())
}

async fn eventually_claims(stage: &Stage, instance: &str) -> anyhow::Result<v1::ClaimDeliveriesResponse> {
    let ends = tokio::time::Instant::now() + SOON;
    loop {
        let claimed = stage.connectors().claim_deliveries(claim_of(instance)).await?.into_inner();
        if !claimed.claim.is_empty() {
            return Ok(claimed);
        }
        anyhow::ensure!(tokio::time::Instant::now() < ends, "nothing was to be claimed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_claim_that_was_lost_marks_nothing() -> anyhow::Result<()> {
    let stage = Stage::start().await?;
    stage.outside("shop", "nothing", 60.0, 30.0).await?;
    stage.connectors().claim_deliveries(claim_of("worker")).await?;
    stage.notify("shop:7", Success::Sent).await?;
    let claimed = eventually_claims(&stage, "worker").await?;
    sqlx::query("update dispatch set lease_until = clock_timestamp()").execute(&stage.world.db.pool).await?;
    let heir = eventually_claims(&stage, "heir").await?;
    assert_eq!(heir.deliveries[0].delivery, claimed.deliveries[0].delivery);
    let deliveries = vec![claimed.deliveries[0].delivery.clone()];
    let request = v1::MarkAttemptsRequest { claim: claimed.claim, deliveries };
    assert!(stage.connectors().mark_attempts(request).await?.into_inner().attempts.is_empty());
    Ok(())
}

#[tokio::test]
async fn simple_adapters_bring_messages_and_receipts_by_calls() -> anyhow::Result<()> {
    let stage = Stage::start().await?;
    stage.outside("shop", "nothing", 60.0, 30.0).await?;
    let message = |id: &str, words: &str| v1::InboundMessage {
        message_id: id.into(),
        from: vec![external("shop:7")],
        content: Some(text(words)),
        ..Default::default()
    };
    let bring = |messages| v1::IngestInboundRequest { channel: "channels/shop".into(), messages };
    let first = bring(vec![message("1", "Hello"), message("2", "again")]);
    assert_eq!(stage.connectors().ingest_inbound(first.clone()).await?.into_inner().duplicate_count, 0);
    assert_eq!(stage.connectors().ingest_inbound(first).await?.into_inner().duplicate_count, 2);
    eventually(SOON, async || {
        let taken = stage.world.count("select count(*) from message where not outbound").await?;
        anyhow::ensure!(taken == 2, "{taken} of 2 are taken up");
        Ok(())
    })
    .await?;
    let wrong = stage.connectors().ingest_inbound(bring(vec![message("", "x"), message("3", "")])).await.unwrap_err();
    assert_eq!(fields(&wrong), ["messages[0].message_id", "messages[1].content.text.text"]);
    let receipts = vec![v1::DeliveryReceipt { evidence: v1::Evidence::Unknown.into(), ..Default::default() }];
    let request = v1::ReportReceiptRequest { channel: "channels/shop".into(), receipts };
    let wrong = stage.connectors().report_receipt(request).await.unwrap_err();
    assert_eq!(reason(&wrong), "FIELD_INVALID");
    Ok(())
}
