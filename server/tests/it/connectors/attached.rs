//! A connector that holds a stream in both directions: what it is handed, what it settles, what it brings.

use std::time::Duration;

use domain::fallback::Success;
use proto::v1::{
    self, attach_connector_request::Item as Say, attach_connector_response::Item as Heard, settled_ack::Result as Ack,
};
use testkit::eventually;

use super::{Instance, SOON, Stage, accepted, ended, external, text};
use crate::api::reason;

fn inbound(item: &str, message: &str, words: &str) -> Say {
    let message = v1::InboundMessage {
        message_id: message.into(),
        from: vec![external("Shop:7")],
        display_name: "Asha".into(),
        content: Some(text(words)),
        channel_data: [("page".to_owned(), "/cart".to_owned())].into(),
        ..Default::default()
    };
    Say::Inbound(v1::InboundItem { item_id: item.into(), message: Some(message) })
}

#[tokio::test]
async fn carries_a_message_out_and_its_receipt_and_answer_back() -> anyhow::Result<()> {
    let stage = Stage::start().await?;
    stage.outside("shop", "nothing", 60.0, 30.0).await?;
    let mut connector = Instance::attach(&stage, "shop", "one", 10).await?;
    assert!(connector.welcome.unsettled.is_empty());
    let notification = stage.notify("shop:7", Success::Replied).await?;
    let delivery = connector.delivery().await?;
    assert_eq!((delivery.to, delivery.from.as_str()), (Some(external("shop:7")), "shop:desk"));
    assert_eq!((delivery.plain_text.as_str(), delivery.attempt), ("The dam opens at noon.", 1));
    assert_eq!(stage.world.delivery(notification, 0).await?, "sending none", "marked before it was handed over");
    let ack = connector.settle(accepted(&delivery.ack_id, "m-1")).await?;
    assert_eq!((ack.result(), ack.ack_id.as_str()), (Ack::Over, delivery.ack_id.as_str()));
    assert_eq!(stage.world.delivery(notification, 0).await?, "done sent", "stored before it was acked");

    let receipt = v1::DeliveryReceipt {
        provider_message_id: "m-1".into(),
        evidence: v1::Evidence::Read.into(),
        ..Default::default()
    };
    connector.say(Say::Receipt(v1::ReceiptItem { item_id: "r-1".into(), receipt: Some(receipt) })).await?;
    let Heard::ItemAck(ack) = connector.hear().await? else { panic!("no ack") };
    assert_eq!((ack.item_id.as_str(), ack.problem.as_str()), ("r-1", ""));
    stage.comes_to(notification, 0, "done read").await?;

    for (item, duplicate) in [("i-1", false), ("i-2", true)] {
        connector.say(inbound(item, "in-1", "On my way")).await?;
        let Heard::ItemAck(ack) = connector.hear().await? else { panic!("no ack") };
        assert_eq!((ack.item_id.as_str(), ack.duplicate, ack.problem.as_str()), (item, duplicate, ""));
    }
    stage.ends_as(notification, "replied 0").await?;
    let said =
        stage.world.count("select count(*) from message where not outbound and plain_text = 'On my way'").await?;
    assert_eq!(said, 1, "brought twice, taken once");
    Ok(())
}

#[tokio::test]
async fn settling_twice_counts_once_and_refusals_mean_what_they_say() -> anyhow::Result<()> {
    let stage = Stage::start().await?;
    stage.outside("shop", "nothing", 60.0, 30.0).await?;
    let mut connector = Instance::attach(&stage, "shop", "one", 10).await?;
    let notification = stage.notify("shop:7", Success::Sent).await?;
    let first = connector.delivery().await?;
    let mut throttled = ended(&first.ack_id, v1::Outcome::Refused);
    throttled.failure_class = v1::FailureClass::Throttled.into();
    throttled.retry_after = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    assert_eq!(connector.settle(throttled).await?.result(), Ack::Again);
    let second = connector.delivery().await?;
    assert_eq!((&second.delivery, second.attempt), (&first.delivery, 2));
    assert_eq!(connector.settle(accepted(&first.ack_id, "m-0")).await?.result(), Ack::Late, "of the first attempt");
    assert_eq!(connector.settle(accepted(&second.ack_id, "m-1")).await?.result(), Ack::Over);
    assert_eq!(connector.settle(ended(&second.ack_id, v1::Outcome::Unknown)).await?.result(), Ack::Late);
    stage.ends_as(notification, "reached 0").await?;
    assert_eq!(stage.attempts(notification).await?, ["refused", "accepted"]);
    eventually(SOON, async || {
        let left = stage.world.count("select count(*) from dispatch").await?;
        anyhow::ensure!(left == 0, "{left} chunks are left");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_with_every_fault_and_the_stream_goes_on() -> anyhow::Result<()> {
    let stage = Stage::start().await?;
    stage.outside("shop", "nothing", 60.0, 30.0).await?;
    let mut connector = Instance::attach(&stage, "shop", "one", 10).await?;
    let message = v1::InboundMessage { from: vec![external("nobody")], ..Default::default() };
    connector.say(Say::Inbound(v1::InboundItem { item_id: "i-1".into(), message: Some(message) })).await?;
    let Heard::ItemAck(ack) = connector.hear().await? else { panic!("no ack") };
    for part in ["message.message_id", "message.from[0].value", "message.content"] {
        assert!(ack.problem.contains(part), "{part} is not in: {}", ack.problem);
    }
    let ack = connector.settle(ended("nonsense", v1::Outcome::Refused)).await?;
    assert_eq!(ack.result(), Ack::Invalid);
    assert!(ack.problem.contains("ack_id") && ack.problem.contains("failure_class"), "{}", ack.problem);
    connector.say(inbound("i-2", "in-1", "Hello")).await?;
    let Heard::ItemAck(ack) = connector.hear().await? else { panic!("no ack") };
    assert_eq!((ack.item_id.as_str(), ack.problem.as_str()), ("i-2", ""));
    Ok(())
}

#[tokio::test]
async fn who_comes_must_say_so_and_to_a_channel_that_is_served_from_outside() -> anyhow::Result<()> {
    let stage = Stage::start().await?;
    stage.world.sms_channel("sms-a", "http://127.0.0.1:9").await?;
    let attach = async |item: Option<Say>| {
        let requests = tokio_stream::iter([v1::AttachConnectorRequest { item }]);
        let error = stage.connectors().attach_connector(requests).await.err();
        error.map(|status| (status.code(), reason(&status)))
    };
    let hello = |channel: &str, instance: &str| {
        let (channel, instance) = (channel.to_owned(), instance.to_owned());
        Some(Say::Hello(v1::ConnectorHello { channel, instance, ..Default::default() }))
    };
    let invalid = Some((tonic::Code::InvalidArgument, "FIELD_INVALID".to_owned()));
    assert_eq!(attach(None).await, invalid);
    assert_eq!(attach(hello("channels/sms-a", "with space")).await, invalid);
    let wrong = Some((tonic::Code::FailedPrecondition, "STATE_WRONG".to_owned()));
    assert_eq!(attach(hello("channels/sms-a", "one")).await, wrong);
    assert_eq!(attach(hello("channels/none", "one")).await, Some((tonic::Code::NotFound, "NOT_FOUND".to_owned())));
    Ok(())
}

#[tokio::test]
async fn a_delivery_that_is_not_settled_in_time_is_unknown() -> anyhow::Result<()> {
    let stage = Stage::start().await?;
    stage.outside("shop", "nothing", 60.0, 30.0).await?;
    let hello = v1::ConnectorHello {
        channel: "channels/shop".into(),
        instance: "slow".into(),
        settle_timeout: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        ..Default::default()
    };
    let request = v1::StreamDeliveriesRequest { hello: Some(hello) };
    let mut stream = stage.connectors().stream_deliveries(request).await?.into_inner();
    let notification = stage.notify("shop:7", Success::Delivered).await?;
    stage.comes_to(notification, 0, "done unknown").await?;
    assert_eq!(stage.attempts(notification).await?, ["unknown"]);
    let mut handed = 0;
    while let Ok(Ok(Some(message))) = tokio::time::timeout(Duration::from_millis(300), stream.message()).await {
        handed += usize::from(matches!(message.item, Some(v1::stream_deliveries_response::Item::Delivery(_))));
    }
    assert_eq!(handed, 1, "not repeated: its owner declares nothing that would make that safe");
    Ok(())
}
