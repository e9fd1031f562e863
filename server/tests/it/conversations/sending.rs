//! Saying something: to a conversation or a contact, by which channel, and when not. And what single notifications begin.

use std::time::Duration;

use proto::v1::{self, conversation::State};
use testkit::eventually;

use super::{PHONE, Stage, text};
use crate::{
    reading::{reason, to_phone},
    support::pipeline::{Workers, simulator},
};

fn to_contact(contact: i64, channel: &str, words: &str) -> v1::SendMessageRequest {
    v1::SendMessageRequest {
        to: Some(v1::send_message_request::To::Contact(format!("contacts/{contact}"))),
        channel: channel.into(),
        content: text(words),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_message_to_a_contact_opens_a_conversation_once() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    let contact = stage.served.world.contact(PHONE).await?;
    let request = v1::SendMessageRequest {
        request_id: uuid::Uuid::new_v4().to_string(),
        ..to_contact(contact, "channels/sms-main", "Good morning")
    };
    let first = stage.served.messages().send_message(request.clone()).await?.into_inner();
    let again = stage.served.messages().send_message(request).await?.into_inner();
    assert_eq!(first.name, again.name, "the same request is one message");
    stage.served.messages().send_message(to_contact(contact, "", "How are you?")).await?;
    let it = stage.newest(PHONE).await?;
    assert_eq!((it.name.as_str(), it.message_count, it.open_session_count), (first.conversation.as_str(), 2, 1));
    assert_eq!(stage.sessions(&it.name).await?[0].direction(), v1::message::Direction::Outbound);
    stage.passes(Duration::from_secs(20 * 3600)).await?;
    assert_eq!(stage.get(&it.name).await?.state(), State::Created, "a session that only we opened expires by no clock");
    stage.passes(Duration::from_secs(5 * 3600)).await?;
    assert_eq!(stage.get(&it.name).await?.close_reason, "IDLE");
    stage.is_sound().await
}

#[tokio::test]
async fn whatsapp_takes_free_words_only_while_its_window_is_open() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    let contact = stage.served.world.contact(PHONE).await?;
    let request = to_contact(contact, "channels/wa-main", "Hello?");
    let refused = stage.served.messages().send_message(request.clone()).await.unwrap_err();
    assert_eq!(reason(&refused), "WINDOW_CLOSED");
    let template = v1::content::ProviderTemplate {
        name: "hello".into(),
        language: "en_US".into(),
        text: "Hello from us".into(),
        ..Default::default()
    };
    let approved = v1::SendMessageRequest {
        content: Some(v1::Content { body: Some(v1::content::Body::ProviderTemplate(template)) }),
        ..request.clone()
    };
    stage.served.messages().send_message(approved).await?;
    stage.says(stage.whatsapp, PHONE, "Yes?").await?;
    stage.served.messages().send_message(request).await?;
    let it = stage.newest(PHONE).await?;
    assert_eq!(stage.words(&it.name).await?, ["Hello from us", "Yes?", "Hello?"]);
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_said_is_refused_with_its_reason() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    let contact = stage.served.world.contact(PHONE).await?;
    super::channel(&stage.served, "mail-main", "EMAIL", "us@example.org").await?;
    let ask = async |request| reason(&stage.served.messages().send_message(request).await.unwrap_err());
    assert_eq!(ask(to_contact(contact, "channels/nowhere", "x")).await, "REFERENCE_NOT_FOUND");
    assert_eq!(ask(to_contact(contact, "channels/sms-main", "")).await, "FIELD_INVALID");
    assert_eq!(ask(to_contact(contact + 1, "channels/sms-main", "x")).await, "NOT_FOUND");
    let mail = v1::content::Email { subject: "s".into(), text: "t".into(), ..Default::default() };
    let by_mail = v1::SendMessageRequest {
        content: Some(v1::Content { body: Some(v1::content::Body::Email(mail)) }),
        ..to_contact(contact, "channels/mail-main", "")
    };
    assert_eq!(ask(by_mail).await, "NOT_REACHABLE");
    stage.set("update channel set state = 'disabled' where slug = 'sms-main'").await?;
    assert_eq!(ask(to_contact(contact, "channels/sms-main", "x")).await, "STATE_WRONG");
    assert_eq!(ask(v1::SendMessageRequest::default()).await, "FIELD_INVALID");
    assert_eq!(stage.count("select count(*) from conversation").await?, 0, "nothing is left behind");
    Ok(())
}

#[tokio::test]
async fn a_conversation_begins_from_our_side_and_only_once() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    let contact = stage.served.world.contact(PHONE).await?;
    let request = v1::CreateConversationRequest {
        contact: format!("contacts/{contact}"),
        channel: "channels/sms-main".into(),
        conversation: Some(v1::Conversation { priority: 3, labels: vec!["survey".into()], ..Default::default() }),
        ..Default::default()
    };
    let it = stage.served.conversations().create_conversation(request.clone()).await?.into_inner();
    assert_eq!((it.state(), it.priority, it.message_count, it.open_session_count), (State::Created, 3, 0, 1));
    let again = stage.served.conversations().create_conversation(request).await.unwrap_err();
    assert_eq!(reason(&again), "ALREADY_EXISTS");
    let set =
        v1::SetActiveChannelRequest { name: it.name.clone(), channel: "channels/wa-main".into(), ..Default::default() };
    let it = stage.served.conversations().set_active_channel(set).await?.into_inner();
    assert_eq!(it.active_channel, "channels/wa-main");
    stage.is_sound().await
}

/// AT_SEND: a single send begins the conversation when it is sent, each step enters it, and the answer finds it.
#[tokio::test]
async fn a_single_send_begins_the_conversation_that_its_answer_goes_on() -> anyhow::Result<()> {
    let (stage, sim) = (Stage::new().await?, simulator().await?);
    let settings = serde_json::json!({
        "account_sid": "AC00000000000000000000000000000000", "auth_token_env": "TOKEN", "base_url": sim.base_url,
    });
    sqlx::query("update channel_provider set settings = $1")
        .bind(settings)
        .execute(&stage.served.world.db.pool)
        .await?;
    stage.context().directory.invalidate();
    let sent = stage.served.send(to_phone(PHONE)).await?;
    assert!(stage.all(PHONE).await?.is_empty(), "nothing was sent yet");
    // On connections of their own: they end with them.
    let workers = Workers::start(&stage.served.world.another_process()?, None)?;
    eventually(Duration::from_secs(30), async || {
        let found = stage.all(PHONE).await?;
        anyhow::ensure!(found.iter().any(|c| c.message_count == 1), "{found:?}");
        Ok(())
    })
    .await?;
    drop(workers);
    let it = stage.newest(PHONE).await?;
    assert_eq!(stage.words(&it.name).await?, ["The dam opens at noon."]);
    assert_eq!(stage.sessions(&it.name).await?[0].direction(), v1::message::Direction::Outbound);
    stage.says(stage.sms, PHONE, "Thank you").await?;
    let it = stage.newest(PHONE).await?;
    assert_eq!((stage.all(PHONE).await?.len(), it.message_count, it.open_session_count), (1, 2, 1));
    assert_eq!(stage.served.get(&sent.name).await?.state(), v1::notification::State::Replied);
    stage.is_sound().await
}

/// Case 24: who says STOP leaves the channel; what is left of the notification is skipped, and services may still be answered.
#[tokio::test]
async fn stop_ends_the_session_and_skips_the_rest() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    let sent = stage.served.send(to_phone(PHONE)).await?;
    stage.set("update delivery set attempts = 1, attempt_started_at = now(), work = 'done', evidence = 'sent'").await?;
    stage.says(stage.sms, PHONE, "STOP").await?;
    assert_eq!(stage.served.get(&sent.name).await?.state(), v1::notification::State::Skipped);
    let it = stage.newest(PHONE).await?;
    let session = stage.sessions(&it.name).await?.remove(0);
    assert_eq!(session.end_reason(), v1::channel_session::EndReason::OptedOut);
    assert_eq!(it.state(), State::Closing);
    let words = stage.words(&it.name).await?;
    assert_eq!(
        (words.len(), words[1].as_str()),
        (3, "STOP"),
        "what was sent, the word, and its confirmation: {words:?}"
    );
    let contact = it.contact.trim_start_matches("contacts/").parse()?;
    let request = to_contact(contact, "channels/sms-main", "Your complaint is solved");
    let answer = stage.served.messages().send_message(request).await?.into_inner();
    assert_ne!(answer.conversation, it.name, "it is over; a service is still answered");
    stage.is_sound().await
}
