//! Closing: by request, by force, by rule, and what comes after.

use domain::conversation::closing::{Cause, Obligation};
use proto::v1::{self, conversation::State};
use server::services::conversations::{
    held::{By, Held},
    obligations,
};
use tonic::Code;

use super::{PHONE, Stage, id_of, minutes};
use crate::reading::reason;

async fn opened(stage: &Stage) -> anyhow::Result<String> {
    stage.says(stage.whatsapp, PHONE, "Hello").await?;
    Ok(stage.newest(PHONE).await?.name)
}

fn close(name: &str) -> v1::CloseConversationRequest {
    v1::CloseConversationRequest { name: name.into(), ..Default::default() }
}

/// Case 2: who writes while a conversation is being closed opens another one, linked to it.
#[tokio::test]
async fn a_message_in_closing_opens_a_conversation_that_follows_it() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    let name = opened(&stage).await?;
    let closing = stage.served.conversations().close_conversation(close(&name)).await?.into_inner();
    assert_eq!(closing.state(), State::Closing);
    stage.says(stage.sms, PHONE, "One more thing").await?;
    let all = stage.all(PHONE).await?;
    assert_eq!(all.len(), 2);
    assert_eq!((all[1].previous_conversation.as_str(), all[1].state()), (name.as_str(), State::Created));
    stage.due().await?;
    let it = stage.get(&name).await?;
    assert_eq!((it.state(), it.close_reason.as_str()), (State::Closed, "REQUESTED"));
    assert!(it.close_time.is_some());
    let again = stage.served.conversations().close_conversation(close(&name)).await?.into_inner();
    assert_eq!(again.state(), State::Closed, "closing what is closed changes nothing");
    let late = v1::HoldConversationRequest { name: name.clone(), ..Default::default() };
    assert_eq!(reason(&stage.served.conversations().hold_conversation(late).await.unwrap_err()), "STATE_WRONG");
    stage.is_sound().await
}

/// Cases 10 and 11: a flow that ends and has ordered a ticket leaves it open, until the ticket is closed; said twice, once.
#[tokio::test]
async fn a_ticket_keeps_a_conversation_until_it_is_closed() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    let name = opened(&stage).await?;
    let by = By::system(stage.served.world.now());
    let (flow, ticket) = ((Obligation::Flow, "flowRuns/1"), (Obligation::Ticket, "tickets/1"));
    let mut tx = stage.context().db.begin().await?;
    let mut held = Held::of(&mut tx, id_of(&name)).await?;
    obligations::begin(&mut tx, &held, flow.0, flow.1, by).await?;
    obligations::begin(&mut tx, &held, ticket.0, ticket.1, by).await?;
    obligations::begin(&mut tx, &held, ticket.0, ticket.1, by).await?;
    obligations::end(stage.context(), &mut tx, &mut held, flow, Some(Cause::FlowEnded), by).await?;
    tx.commit().await?;
    assert_eq!(stage.get(&name).await?.state(), State::Created);
    let refused = stage.served.conversations().close_conversation(close(&name)).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "OBLIGATIONS_OPEN"));
    assert!(refused.message().contains("tickets/1"), "{}", refused.message());
    for _ in 0..2 {
        let mut tx = stage.context().db.begin().await?;
        let mut held = Held::of(&mut tx, id_of(&name)).await?;
        obligations::end(stage.context(), &mut tx, &mut held, ticket, Some(Cause::TicketClosed), by).await?;
        tx.commit().await?;
    }
    stage.due().await?;
    assert_eq!(stage.get(&name).await?.close_reason, "TICKET_CLOSED");
    assert_eq!(stage.count("select count(*) from event_out where type = 'obligation_ended'").await?, 2);
    stage.is_sound().await
}

#[tokio::test]
async fn force_cancels_what_is_owed() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    let name = opened(&stage).await?;
    let sent = stage.served.send(crate::reading::to_phone(PHONE)).await?;
    sqlx::query("update notification set conversation_id = $1")
        .bind(id_of(&name))
        .execute(&stage.served.world.db.pool)
        .await?;
    let refused = stage.served.conversations().close_conversation(close(&name)).await.unwrap_err();
    assert!(refused.message().contains(&sent.name), "{}", refused.message());
    let force = v1::ForceCloseConversationRequest { name: name.clone(), ..Default::default() };
    let closing = stage.served.conversations().force_close_conversation(force).await?.into_inner();
    assert_eq!(closing.state(), State::Closing);
    assert_eq!(stage.served.get(&sent.name).await?.state(), v1::notification::State::Cancelled);
    stage.due().await?;
    assert_eq!(stage.get(&name).await?.close_reason, "FORCED");
    assert_eq!(stage.count("select count(*) from event_out where type = 'obligation_cancelled'").await?, 1);
    stage.is_sound().await
}

#[tokio::test]
async fn who_comes_back_in_the_grace_finds_the_conversation() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    stage.set("update channel set reconnect_secs = 30 where slug = 'wa-main'").await?;
    let name = opened(&stage).await?;
    let leaves = async || -> anyhow::Result<()> {
        let session = stage.sessions(&name).await?.into_iter().find(|s| s.end_time.is_none()).expect("an open one");
        let request = v1::EndChannelSessionRequest {
            name: session.name,
            reason: v1::channel_session::EndReason::CustomerLeft.into(),
            ..Default::default()
        };
        stage.served.conversations().end_channel_session(request).await?;
        Ok(())
    };
    leaves().await?;
    stage.passes(std::time::Duration::from_secs(20)).await?;
    assert_eq!(stage.get(&name).await?.state(), State::CustomerLeft);
    stage.says(stage.whatsapp, PHONE, "The line broke").await?;
    stage.passes(minutes(5)).await?;
    assert_eq!(stage.get(&name).await?.state(), State::Created);
    leaves().await?;
    stage.passes(std::time::Duration::from_secs(31)).await?;
    stage.due().await?;
    assert_eq!(stage.get(&name).await?.state(), State::Closed);
    stage.is_sound().await
}

#[tokio::test]
async fn a_housekeeping_that_failed_is_taken_up_again() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    let name = opened(&stage).await?;
    stage.served.conversations().close_conversation(close(&name)).await?;
    stage
        .set(
            "create function refuses() returns trigger language plpgsql as
             $$ begin if new.phase = 'closed' then raise exception 'no room'; end if; return new; end $$",
        )
        .await?;
    stage.set("create trigger refuses before update on conversation for each row execute function refuses()").await?;
    stage.due().await?;
    assert_eq!(stage.get(&name).await?.state(), State::Closing);
    stage.set("drop trigger refuses on conversation").await?;
    stage.due().await?;
    assert_eq!(stage.get(&name).await?.state(), State::Closing, "not before the watchdog");
    stage.passes(minutes(5)).await?;
    assert_eq!(stage.get(&name).await?.state(), State::Closed);
    Ok(())
}

#[tokio::test]
async fn labels_priority_and_attributes_change_under_an_etag() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    let name = opened(&stage).await?;
    let before = stage.get(&name).await?;
    let update = |conversation: v1::Conversation, paths: &[&str]| v1::UpdateConversationRequest {
        conversation: Some(conversation),
        update_mask: (!paths.is_empty())
            .then(|| prost_types::FieldMask { paths: paths.iter().map(|p| (*p).to_owned()).collect() }),
        ..Default::default()
    };
    let given = v1::Conversation {
        name: name.clone(),
        priority: 5,
        labels: vec!["dam".into(), "urgent".into()],
        attributes: [("topic".to_owned(), "light".to_owned()), ("ward".to_owned(), "7".to_owned())].into(),
        etag: before.etag.clone(),
        ..Default::default()
    };
    let it = stage.served.conversations().update_conversation(update(given.clone(), &[])).await?.into_inner();
    assert_eq!((it.priority, it.labels.len(), it.attributes.len()), (5, 2, 2));
    let stale = stage.served.conversations().update_conversation(update(given, &[])).await.unwrap_err();
    assert_eq!(reason(&stale), "ETAG_MISMATCH");
    let one = v1::Conversation { name: name.clone(), ..Default::default() };
    let it = stage.served.conversations().update_conversation(update(one, &["attributes.ward"])).await?.into_inner();
    assert_eq!(it.attributes.keys().collect::<Vec<_>>(), ["topic"]);
    let wrong = v1::Conversation { name, priority: 11, labels: vec![String::new()], ..Default::default() };
    let wrong = stage.served.conversations().update_conversation(update(wrong, &[])).await.unwrap_err();
    let fields: Vec<String> = crate::reading::violations(&wrong).into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, ["conversation.priority", "conversation.labels[0]"]);
    let found = v1::ListConversationsRequest { labels: vec!["dam".into()], ..Default::default() };
    assert_eq!(stage.served.conversations().list_conversations(found).await?.into_inner().conversations.len(), 1);
    let none = v1::CountConversationsRequest { labels: vec!["fire".into()], ..Default::default() };
    assert_eq!(stage.served.conversations().count_conversations(none).await?.into_inner().count, 0);
    Ok(())
}
