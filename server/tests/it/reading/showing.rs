//! What is shown of notifications: pages that stay stable, the whole way of one, and one that is followed.

use std::time::Duration;

use domain::delivery::Evidence;
use proto::v1::{self, notification::State, timeline_entry::Kind, watch_notification_response::Update};
use server::workers::fallback;
use tonic::Code;

use super::{Served, policy, reason, to_phone};

fn list(page_size: i32, page_token: &str) -> v1::ListNotificationsRequest {
    v1::ListNotificationsRequest { page_size, page_token: page_token.into(), ..v1::ListNotificationsRequest::default() }
}

#[tokio::test]
async fn pages_hold_each_notification_once_while_new_ones_come() -> anyhow::Result<()> {
    let served = Served::new().await?;
    let mut names = Vec::new();
    for n in 0..5 {
        names.push(served.send(to_phone(&format!("+91981234567{n}"))).await?.name);
    }
    let (mut found, mut token) = (Vec::new(), String::new());
    loop {
        let page = served.notifications().list_notifications(list(2, &token)).await?.into_inner();
        found.extend(page.notifications.into_iter().map(|n| n.name));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
        served.send(to_phone("+919812345699")).await?;
    }
    names.reverse();
    assert_eq!(found, names);
    let other = v1::ListNotificationsRequest { contact: "contacts/1".into(), ..list(2, "x") };
    assert_eq!(reason(&served.notifications().list_notifications(other).await.unwrap_err()), "PAGE_TOKEN_INVALID");
    Ok(())
}

#[tokio::test]
async fn lists_show_what_their_conditions_mean() -> anyhow::Result<()> {
    let served = Served::new().await?;
    let one = served.send(to_phone("+919812345671")).await?;
    let two = served.send(to_phone("+919812345672")).await?;
    sqlx::query("update notification set state = 'replied', campaign_id = 7 where contact_id = $1")
        .bind(two.contact.trim_start_matches("contacts/").parse::<i64>()?)
        .execute(&served.world.db.pool)
        .await?;
    sqlx::query(
        "with a as (insert into audience (slug, kind, definition, created_at, updated_at) values ('all', 'list', '{}', now(), now())
                    returning id),
              p as (insert into policy (slug, created_at, updated_at) values ('p-1', now(), now()) returning id)
         insert into campaign (id, slug, audience_id, policy_id, definition, created_at, updated_at)
         overriding system value select 7, 'flood', a.id, p.id, '{}', now(), now() from a, p",
    )
    .execute(&served.world.db.pool)
    .await?;
    let names = async |request: v1::ListNotificationsRequest| -> anyhow::Result<Vec<String>> {
        let page = served.notifications().list_notifications(request).await?.into_inner();
        Ok(page.notifications.into_iter().map(|n| n.name).collect())
    };
    let all = list(0, "");
    assert_eq!(
        names(v1::ListNotificationsRequest { campaign: "campaigns/flood".into(), ..all.clone() }).await?,
        std::slice::from_ref(&two.name)
    );
    let replied = vec![State::Replied.into()];
    let of =
        v1::ListNotificationsRequest { campaign: "campaigns/flood".into(), states: replied.clone(), ..all.clone() };
    assert_eq!(names(of).await?, std::slice::from_ref(&two.name));
    assert_eq!(names(v1::ListNotificationsRequest { states: replied, ..all.clone() }).await?, [two.name]);
    let waiting = v1::ListNotificationsRequest { states: vec![State::Waiting.into()], ..all.clone() };
    assert_eq!(names(waiting).await?, std::slice::from_ref(&one.name));
    assert_eq!(names(v1::ListNotificationsRequest { contact: one.contact, ..all.clone() }).await?, [one.name]);
    let later = prost_types::Timestamp { seconds: served.world.now().timestamp() + 60, nanos: 0 };
    assert!(names(v1::ListNotificationsRequest { create_time_from: Some(later), ..all.clone() }).await?.is_empty());
    let bad = v1::ListNotificationsRequest { states: vec![77], contact: "x".into(), page_size: -1, ..all };
    let refused = served.notifications().list_notifications(bad).await.unwrap_err();
    assert_eq!(super::violations(&refused).len(), 3);
    Ok(())
}

/// Two steps over SMS; the first one is sent, proves nothing and is left after an hour.
#[tokio::test]
async fn the_whole_way_of_a_notification_is_shown_in_order() -> anyhow::Result<()> {
    let served = Served::new().await?;
    served.world.sms_channel("sms-second", "http://127.0.0.1:9").await?;
    let to = |channel: &str| serde_json::json!({"target": {"channel": channel}, "template": "dam"});
    policy(&served.world, "two-steps", serde_json::json!([to("sms-main"), to("sms-second")])).await?;
    let plan = v1::Plan { way: Some(v1::plan::Way::Policy("policies/two-steps".into())), ..v1::Plan::default() };
    let sent = served.send(v1::SendNotificationRequest { plan: Some(plan), ..to_phone("+919812345678") }).await?;
    attempted(&served, 0).await?;
    served.world.advance(Duration::from_secs(3601));
    fallback::pass(&served.world.context).await?;
    let full = served.get(&sent.name).await?;
    assert_eq!((full.state(), full.step, full.deliveries.len()), (State::Waiting, 1, 2));
    let first = &full.deliveries[0];
    assert_eq!((first.state(), first.attempts.len()), (v1::delivery::State::Sent, 1));
    assert_eq!(first.attempts[0].provider_message_id, "SM0");
    let said = first.content.as_ref().and_then(|c| c.body.clone());
    assert!(matches!(said, Some(v1::content::Body::Text(t)) if t.text == "The dam opens at noon."));
    let mut kinds: Vec<Kind> = full.timeline.iter().map(v1::TimelineEntry::kind).collect();
    // Attempts are timed by the machine's clock, which stood still while business time was moved.
    kinds.retain(|kind| *kind != Kind::Attempted);
    assert_eq!(kinds, [Kind::Created, Kind::StepStarted, Kind::StepTimedOut, Kind::StepStarted]);
    let missing = served.get("notifications/01890000-0000-7000-8000-000000000000").await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
    Ok(())
}

#[tokio::test]
async fn a_watched_notification_is_shown_at_each_change_until_its_end() -> anyhow::Result<()> {
    let served = Served::new().await?;
    let sent = served.send(to_phone("+919812345678")).await?;
    served.number().await?;
    let watch = v1::WatchNotificationRequest { name: sent.name.clone(), ..v1::WatchNotificationRequest::default() };
    let mut stream = served.notifications().watch_notification(watch).await?.into_inner();
    let mut states = Vec::new();
    for turn in 0.. {
        let next = tokio::time::timeout(Duration::from_secs(10), stream.message()).await??;
        let Some(Update::Notification(now)) = next.map(|m| m.update.expect("an update")) else { break };
        states.push(now.state());
        if turn == 0 {
            let cancel = v1::CancelNotificationRequest { name: sent.name.clone(), ..Default::default() };
            served.notifications().cancel_notification(cancel).await?;
            served.number().await?;
        }
    }
    assert_eq!(states, [State::Waiting, State::Cancelled]);
    Ok(())
}

/// The delivery of a step was called once and accepted.
async fn attempted(served: &Served, step: i16) -> anyhow::Result<()> {
    sqlx::query(
        "with d as (update delivery set work = 'done', evidence = $2::delivery_evidence, attempts = 1, attempt_started_at = now(),
                           first_sent_at = now(), provider_id = (select min(id) from channel_provider)
                     where step = $1 returning *),
              t as (insert into timer (owner, kind, send_group_id, due_at, generation)
                    select notification_id, 'step', send_group_id, now() + interval '1 hour', 0 from d)
         insert into attempt (delivery_id, n, provider_id, started_at, ended_at, outcome, provider_message_id)
         select id, 1, provider_id, now(), now(), 'accepted', 'SM0' from d",
    )
    .bind(step)
    .bind(Evidence::Sent.as_str())
    .execute(&served.world.db.pool)
    .await?;
    Ok(())
}
