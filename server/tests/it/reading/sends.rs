//! One send: idempotent, to whoever is named, now or later, and taken back.

use proto::v1::{self, notification::State, send_notification_request::Recipient};
use tonic::Code;

use super::{Served, reason, to_phone};

const ID: &str = "5b1c2f3e-7a64-4c0e-9d55-1d2f0f6a7b11";

#[tokio::test]
async fn a_repeated_request_answers_the_same_and_sends_once() -> anyhow::Result<()> {
    let served = Served::new().await?;
    let request = v1::SendNotificationRequest { request_id: ID.into(), ..to_phone("+919812345678") };
    let first = served.send(request.clone()).await?;
    let again = served.send(request.clone()).await?;
    assert_eq!(first, again);
    assert_eq!(served.world.count("select count(*) from notification").await?, 1);
    assert_eq!(served.world.count("select count(*) from dispatch").await?, 1);
    let other = v1::SendNotificationRequest { purpose: "marketing".into(), ..request };
    let refused = served.send(other).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, "REQUEST_ID_REUSED"));
    Ok(())
}

#[tokio::test]
async fn two_equal_requests_at_once_send_once() -> anyhow::Result<()> {
    let served = Served::new().await?;
    let request = v1::SendNotificationRequest { request_id: ID.into(), ..to_phone("+919812345678") };
    let (one, two) = tokio::join!(served.send(request.clone()), served.send(request));
    assert_eq!(one?.name, two?.name);
    assert_eq!(served.world.count("select count(*) from notification").await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_bare_address_gets_a_contact_once() -> anyhow::Result<()> {
    let served = Served::new().await?;
    // The country of the settings stands for numbers that name none.
    let (one, two) = tokio::join!(served.send(to_phone("98123 45678")), served.send(to_phone("+919812345678")));
    let (one, two) = (one?, two?);
    assert_eq!(one.contact, two.contact);
    assert_ne!(one.name, two.name);
    assert_eq!(served.world.count("select count(*) from contact").await?, 1);
    assert_eq!(one.state(), State::Waiting);
    Ok(())
}

#[tokio::test]
async fn a_contact_that_comes_along_is_made_and_then_added_to() -> anyhow::Result<()> {
    let served = Served::new().await?;
    let known = |phone: &str, name: &str| v1::RecipientContact {
        external_id: "citizen-7".into(),
        display_name: name.into(),
        addresses: vec![v1::Address { kind: 1, value: phone.into() }],
        attributes: [("ward".to_owned(), "7".to_owned())].into(),
        ..v1::RecipientContact::default()
    };
    let to = |known| v1::SendNotificationRequest { recipient: Some(Recipient::Upsert(known)), ..to_phone("") };
    let first = served.send(to(known("+919812345678", "Asha"))).await?;
    let second = served.send(to(known("+919812345679", ""))).await?;
    assert_eq!(first.contact, second.contact);
    assert_eq!(served.world.count("select count(*) from contact where display_name = 'Asha'").await?, 1);
    assert_eq!(served.world.count("select count(*) from contact_address").await?, 2);
    let by_key = Recipient::Contact("contacts/external:citizen-7".into());
    let third = served.send(v1::SendNotificationRequest { recipient: Some(by_key), ..to_phone("") }).await?;
    assert_eq!(third.contact, first.contact);
    Ok(())
}

#[tokio::test]
async fn what_is_only_checked_is_shown_and_not_stored() -> anyhow::Result<()> {
    let served = Served::new().await?;
    let shown = served.send(v1::SendNotificationRequest { validate_only: true, ..to_phone("+919812345678") }).await?;
    assert_eq!(shown.state(), State::Waiting);
    assert_eq!(served.world.count("select count(*) from notification").await?, 0);
    assert_eq!(served.world.count("select count(*) from contact").await?, 0);
    Ok(())
}

#[tokio::test]
async fn what_is_delivered_later_is_pending_until_then() -> anyhow::Result<()> {
    let served = Served::new().await?;
    let at = served.world.now() + chrono::TimeDelta::hours(5);
    let time = prost_types::Timestamp { seconds: at.timestamp(), nanos: 0 };
    let sent =
        served.send(v1::SendNotificationRequest { deliver_after: Some(time), ..to_phone("+919812345678") }).await?;
    assert_eq!((sent.state(), sent.step, sent.next_due_time), (State::Pending, -1, Some(time)));
    assert_eq!(served.world.count("select count(*) from dispatch").await?, 0);
    served.world.advance(std::time::Duration::from_secs(5 * 3600 + 1));
    server::workers::fallback::pass(&served.world.context).await?;
    let begun = served.get(&sent.name).await?;
    assert_eq!((begun.state(), begun.step), (State::Waiting, 0));
    assert_eq!(served.world.count("select count(*) from dispatch").await?, 1);
    Ok(())
}

#[tokio::test]
async fn who_cannot_be_reached_is_skipped_and_not_refused() -> anyhow::Result<()> {
    let served = Served::new().await?;
    let mail = v1::Address { kind: v1::AddressKind::Email.into(), value: "asha@example.org".into() };
    let request = v1::SendNotificationRequest { recipient: Some(Recipient::Address(mail)), ..to_phone("") };
    let sent = served.send(request).await?;
    assert_eq!((sent.state(), sent.skip_reason()), (State::Skipped, v1::SkipReason::NoAddress));
    let full = served.get(&sent.name).await?;
    assert_eq!(full.skipped_steps.len(), 1);
    assert_eq!(full.skipped_steps[0].reason(), v1::SkipReason::NoAddress);
    assert!(full.deliveries.is_empty());
    Ok(())
}

#[tokio::test]
async fn labels_and_files_are_kept_with_it() -> anyhow::Result<()> {
    let served = Served::new().await?;
    let file =
        v1::Attachment { file_name: "map.pdf".into(), mime_type: "application/pdf".into(), data: vec![7; 5 << 20] };
    let request = v1::SendNotificationRequest {
        attachments: vec![file],
        labels: [("desk".to_owned(), "flood".to_owned())].into(),
        ..to_phone("+919812345678")
    };
    let sent = served.send(request).await?;
    assert_eq!((sent.attachment_count, sent.labels["desk"].as_str()), (1, "flood"));
    Ok(())
}

#[tokio::test]
async fn what_is_cancelled_is_not_sent_and_stays_cancelled() -> anyhow::Result<()> {
    let served = Served::new().await?;
    let sent = served.send(to_phone("+919812345678")).await?;
    let cancel = |etag: &str| v1::CancelNotificationRequest {
        name: sent.name.clone(),
        etag: etag.into(),
        request_id: String::new(),
    };
    let stale = served.notifications().cancel_notification(cancel("0-0")).await.unwrap_err();
    assert_eq!((stale.code(), reason(&stale).as_str()), (Code::Aborted, "ETAG_MISMATCH"));
    let cancelled = served.notifications().cancel_notification(cancel(&sent.etag)).await?.into_inner();
    assert_eq!(cancelled.state(), State::Cancelled);
    assert_ne!(cancelled.etag, sent.etag);
    let again = served.notifications().cancel_notification(cancel("")).await?.into_inner();
    assert_eq!(again, cancelled);
    let full = served.get(&sent.name).await?;
    assert_eq!(full.deliveries[0].state(), v1::delivery::State::Cancelled);
    assert_eq!(served.world.count("select count(*) from timer").await?, 0);
    assert_eq!(full.timeline.last().map(v1::TimelineEntry::kind), Some(v1::timeline_entry::Kind::Ended));
    Ok(())
}

#[tokio::test]
async fn what_has_ended_otherwise_cannot_be_cancelled() -> anyhow::Result<()> {
    let served = Served::new().await?;
    let sent = served.send(to_phone("+919812345678")).await?;
    sqlx::query("update notification set state = 'replied'").execute(&served.world.db.pool).await?;
    let cancel = v1::CancelNotificationRequest { name: sent.name, ..v1::CancelNotificationRequest::default() };
    let refused = served.notifications().cancel_notification(cancel).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "STATE_WRONG"));
    Ok(())
}

#[tokio::test]
async fn a_template_that_says_who_is_written_to_is_told() -> anyhow::Result<()> {
    let served = Served::new().await?;
    let definition = serde_json::json!({"version": {"default_language": "en",
        "variables": [{"name": "contact", "required": false}], "contents": [
        {"channel_type": "SMS", "language": "en", "body": {"type": "text", "text": "Dear {{ contact.name }}"}}]}});
    super::stored(&served.world, "template", "dear", definition).await?;
    let asha = v1::RecipientContact {
        display_name: "Asha".into(),
        addresses: vec![v1::Address { kind: 1, value: "+919812345678".into() }],
        ..v1::RecipientContact::default()
    };
    let plan = super::by_step(v1::Step { template: "templates/dear".into(), ..super::step() });
    let request = v1::SendNotificationRequest { recipient: Some(Recipient::Upsert(asha)), plan, ..to_phone("") };
    let sent = served.send(v1::SendNotificationRequest { variables: None, ..request }).await?;
    let name: String = sqlx::query_scalar("select variables->'contact'->>'name' from notification")
        .fetch_one(&served.world.db.pool)
        .await?;
    assert_eq!((sent.state(), name.as_str()), (State::Waiting, "Asha"));
    Ok(())
}
