//! Bad input: each kind with a clear answer that names the field, all of them at once, and nothing stored.

use proto::v1::{self, notification::State, send_notification_request::Recipient};
use tonic::Code;

use super::{Served, by_step, policy, reason, step, template, text, to_phone, variables, violations};

#[tokio::test]
async fn everything_that_is_wrong_is_said_at_once() -> anyhow::Result<()> {
    let served = Served::new().await?;
    let request = v1::SendNotificationRequest {
        recipient: Some(Recipient::Contact("contacts/4711".into())),
        plan: by_step(v1::Step { template: "templates/none".into(), ..step() }),
        purpose: "NOT OK".into(),
        ..to_phone("")
    };
    let refused = served.send(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let found = violations(&refused);
    let fields: Vec<&str> = found.iter().map(|(field, _)| field.as_str()).collect();
    assert_eq!(fields, ["purpose", "contact", "plan.step.template"], "{found:?}");
    assert_eq!(served.world.count("select count(*) from notification").await?, 0);
    assert_eq!(served.world.count("select count(*) from contact").await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_number_that_is_none_is_refused() -> anyhow::Result<()> {
    let served = Served::new().await?;
    let refused = served.send(to_phone("12")).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, "ADDRESS_INVALID"));
    assert_eq!(violations(&refused)[0].0, "address.value");
    Ok(())
}

#[tokio::test]
async fn a_variable_that_is_missing_is_named() -> anyhow::Result<()> {
    let served = Served::new().await?;
    let request = v1::SendNotificationRequest { variables: Some(text("hours", "noon")), ..to_phone("+919812345678") };
    let refused = served.send(request).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, "VARIABLE_MISSING"));
    assert!(refused.message().contains("hour,") || refused.message().contains("hour "), "{}", refused.message());
    Ok(())
}

#[tokio::test]
async fn a_channel_that_does_not_exist_is_a_missing_reference() -> anyhow::Result<()> {
    let served = Served::new().await?;
    let target = Some(v1::step::Target::Channel("channels/none".into()));
    let request =
        v1::SendNotificationRequest { plan: by_step(v1::Step { target, ..step() }), ..to_phone("+919812345678") };
    let refused = served.send(request).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "REFERENCE_NOT_FOUND"));
    assert!(refused.message().contains("channels/none") && refused.message().contains("plan.step.channel"));
    Ok(())
}

#[tokio::test]
async fn a_policy_whose_channel_has_gone_skips_that_step_and_says_why() -> anyhow::Result<()> {
    let served = Served::new().await?;
    let to = |channel: &str| serde_json::json!({"target": {"channel": channel}, "template": "dam"});
    policy(&served.world, "two-steps", serde_json::json!([to("gone"), to("sms-main")])).await?;
    let plan = v1::Plan { way: Some(v1::plan::Way::Policy("policies/two-steps".into())), ..v1::Plan::default() };
    let sent = served.send(v1::SendNotificationRequest { plan: Some(plan), ..to_phone("+919812345678") }).await?;
    assert_eq!(
        (sent.state(), sent.step, sent.policy_version.as_str()),
        (State::Waiting, 1, "policies/two-steps/versions/1")
    );
    assert_eq!(sent.steps[1].template, "templates/dam/versions/1");
    let full = served.get(&sent.name).await?;
    assert_eq!(full.skipped_steps[0].reason(), v1::SkipReason::ChannelDisabled);
    assert_eq!(full.deliveries.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_template_without_words_for_the_channel_is_refused() -> anyhow::Result<()> {
    let served = Served::new().await?;
    template(&served.world, "for-whatsapp", "WHATSAPP", "en", "Hello", &[]).await?;
    let given = v1::Step { template: "templates/for-whatsapp".into(), ..step() };
    let refused = served.send(v1::SendNotificationRequest { plan: by_step(given), ..to_phone("+919812345678") }).await;
    let refused = refused.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, "CONTENT_MISSING"));
    let none = v1::Step { template: String::new(), ..step() };
    let refused = served.send(v1::SendNotificationRequest { plan: by_step(none), ..to_phone("+919812345678") }).await;
    assert_eq!(reason(&refused.unwrap_err()), "TEMPLATE_MISSING");
    Ok(())
}

#[tokio::test]
async fn a_template_without_the_persons_language_speaks_its_default_and_without_that_the_step_is_skipped()
-> anyhow::Result<()> {
    let served = Served::new().await?;
    let tamil = v1::RecipientContact {
        addresses: vec![v1::Address { kind: 1, value: "+919812345678".into() }],
        locale: "ta".into(),
        ..v1::RecipientContact::default()
    };
    let request = v1::SendNotificationRequest { recipient: Some(Recipient::Upsert(tamil)), ..to_phone("") };
    assert_eq!(served.send(request.clone()).await?.state(), State::Waiting);
    // Its default language is Hindi, and it says nothing in it.
    let definition = serde_json::json!({"version": {"default_language": "hi", "variables": [], "contents": [
        {"channel_type": "SMS", "language": "mr", "body": {"type": "text", "text": "x"}}]}});
    super::stored(&served.world, "template", "marathi", definition).await?;
    let plan = by_step(v1::Step { template: "templates/marathi".into(), ..step() });
    let sent = served.send(v1::SendNotificationRequest { plan, ..request }).await?;
    assert_eq!((sent.state(), sent.skip_reason()), (State::Skipped, v1::SkipReason::NoContent));
    Ok(())
}

#[tokio::test]
async fn a_payload_of_a_megabyte_is_refused_with_the_limit() -> anyhow::Result<()> {
    let served = Served::new().await?;
    let big = Some(text("hour", &"x".repeat(1 << 20)));
    let refused = served.send(v1::SendNotificationRequest { variables: big, ..to_phone("+919812345678") }).await;
    let refused = refused.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, "PAYLOAD_TOO_LARGE"));
    let file = v1::Attachment { file_name: "a".into(), mime_type: "a/b".into(), data: vec![0; 9 << 20] };
    let huge =
        v1::SendNotificationRequest { attachments: vec![file], variables: variables(), ..to_phone("+919812345678") };
    assert_eq!(reason(&served.send(huge).await.unwrap_err()), "PAYLOAD_TOO_LARGE");
    Ok(())
}
