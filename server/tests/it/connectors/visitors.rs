//! Visitors of a web chat: what they say, what they are shown, and what becomes of it.

use std::time::Duration;

use domain::{channel::Lane, fallback::Success};
use proto::v1::{self, stream_web_chat_messages_response::Item};
use testkit::eventually;
use tonic::Streaming;

use super::{SOON, Stage, external, text};
use crate::api::{fields, reason};

type Shown = Streaming<v1::StreamWebChatMessagesResponse>;

async fn chat() -> anyhow::Result<Stage> {
    let stage = Stage::start().await?;
    stage.channel_of("site", v1::ChannelType::Webchat, "site:front", "web-chat", &[]).await?;
    Ok(stage)
}

fn visit(visitor: &str) -> v1::StartWebChatSessionRequest {
    v1::StartWebChatSessionRequest {
        channel: "channels/site".into(),
        visitor_id: visitor.into(),
        display_name: "Asha".into(),
        locale: "hi-IN".into(),
        channel_data: [("browser".to_owned(), "Firefox".to_owned())].into(),
        ..Default::default()
    }
}

async fn show(stage: &Stage, session: &str, cursor: &str) -> anyhow::Result<Shown> {
    let request = v1::StreamWebChatMessagesRequest { session: session.into(), start_cursor: cursor.into() };
    Ok(stage.chats().stream_messages(request).await?.into_inner())
}

async fn shown(stream: &mut Shown) -> anyhow::Result<v1::WebChatMessage> {
    let ends = tokio::time::Instant::now() + SOON;
    loop {
        match tokio::time::timeout_at(ends, stream.message()).await??.and_then(|m| m.item) {
            Some(Item::Message(message)) => return Ok(message),
            Some(_) => {}
            None => anyhow::bail!("the stream has ended"),
        }
    }
}

async fn say(stage: &Stage, session: &str, id: &str, words: &str) -> anyhow::Result<bool> {
    let request = v1::SendWebChatMessageRequest {
        session: session.into(),
        client_message_id: id.into(),
        content: Some(text(words)),
        in_reply_to: String::new(),
    };
    Ok(stage.chats().send_message(request).await?.into_inner().duplicate)
}

/// A notification to a visitor who has a session.
async fn write(stage: &Stage, session: &v1::WebChatSession, success: Success) -> anyhow::Result<uuid::Uuid> {
    let contact: i64 = session.contact.trim_start_matches("contacts/").parse()?;
    let plan = stage.plan(&["site"], success).await?;
    Ok(stage.world.begin(&plan, &[contact], Lane::Interactive).await?.remove(0))
}

#[tokio::test]
async fn a_visitor_is_shown_what_is_said_and_its_acknowledgements_are_receipts() -> anyhow::Result<()> {
    let stage = chat().await?;
    let session = stage.chats().start_session(visit("7f3a")).await?.into_inner();
    assert_eq!(session.address, Some(external("site:7f3a")));
    let mut stream = show(&stage, &session.name, "").await?;
    let notification = write(&stage, &session, Success::Read).await?;
    let message = shown(&mut stream).await?;
    assert_eq!((message.plain_text.as_str(), message.evidence()), ("The dam opens at noon.", v1::Evidence::Sent));
    stage.comes_to(notification, 0, "done sent").await?;
    for (evidence, stands) in [(v1::Evidence::Delivered, "done delivered"), (v1::Evidence::Read, "done read")] {
        let request = v1::AcknowledgeWebChatMessagesRequest {
            session: session.name.clone(),
            deliveries: vec![message.delivery.clone(), "deliveries/01930000-0000-7000-8000-000000000001".into()],
            evidence: evidence.into(),
        };
        let count = stage.chats().acknowledge_messages(request.clone()).await?.into_inner().acknowledged_count;
        assert_eq!(count, 1, "those of others are left out");
        let again = stage.chats().acknowledge_messages(request).await?.into_inner().acknowledged_count;
        assert_eq!(again, 0);
        stage.comes_to(notification, 0, stands).await?;
    }
    stage.ends_as(notification, "reached 0").await
}

#[tokio::test]
async fn what_a_visitor_says_is_taken_once_and_answers_a_notification() -> anyhow::Result<()> {
    let stage = chat().await?;
    let session = stage.chats().start_session(visit("7f3a")).await?.into_inner();
    let notification = write(&stage, &session, Success::Replied).await?;
    stage.comes_to(notification, 0, "done sent").await?;
    assert!(!say(&stage, &session.name, "c-1", "I am on my way").await?);
    assert!(say(&stage, &session.name, "c-1", "I am on my way").await?, "the same message again");
    stage.ends_as(notification, "replied 0").await?;
    let said = stage.world.count("select count(*) from message where not outbound").await?;
    assert_eq!(said, 1);
    // Another visitor may use the same id.
    let other = stage.chats().start_session(visit("other")).await?.into_inner();
    assert!(!say(&stage, &other.name, "c-1", "Hello").await?);
    Ok(())
}

#[tokio::test]
async fn a_stream_goes_on_where_it_was_and_shows_again_what_nobody_acknowledged() -> anyhow::Result<()> {
    let stage = chat().await?;
    let session = stage.chats().start_session(visit("7f3a")).await?.into_inner();
    for _ in 0..3 {
        let notification = write(&stage, &session, Success::Sent).await?;
        stage.ends_as(notification, "reached 0").await?; // nobody looks, and nothing is lost
    }
    let mut stream = show(&stage, &session.name, "").await?;
    let all = [shown(&mut stream).await?, shown(&mut stream).await?, shown(&mut stream).await?];
    drop(stream);
    let mut stream = show(&stage, &session.name, &all[1].cursor).await?;
    assert_eq!(shown(&mut stream).await?.delivery, all[2].delivery, "behind the cursor, nothing twice");
    let request = v1::AcknowledgeWebChatMessagesRequest {
        session: session.name.clone(),
        deliveries: vec![all[0].delivery.clone()],
        evidence: v1::Evidence::Delivered.into(),
    };
    stage.chats().acknowledge_messages(request).await?;
    let mut stream = show(&stage, &session.name, "").await?;
    assert_eq!(shown(&mut stream).await?.delivery, all[1].delivery, "the first that was not acknowledged");
    let request = v1::StreamWebChatMessagesRequest { session: session.name, start_cursor: "nonsense".into() };
    let wrong = stage.chats().stream_messages(request).await.unwrap_err();
    assert_eq!(reason(&wrong), "CURSOR_INVALID");
    Ok(())
}

#[tokio::test]
async fn writers_that_meet_leave_no_gap_in_what_a_visitor_is_shown() -> anyhow::Result<()> {
    const LINES: usize = 60;
    let stage = chat().await?;
    let session = stage.chats().start_session(visit("7f3a")).await?.into_inner();
    let mut stream = show(&stage, &session.name, "").await?;
    let contact: i64 = session.contact.trim_start_matches("contacts/").parse()?;
    let plan = stage.plan(&["site"], Success::Sent).await?;
    stage.world.begin(&plan, &vec![contact; LINES], Lane::Bulk).await?;
    let mut seen = std::collections::HashSet::new();
    for _ in 0..LINES {
        assert!(seen.insert(shown(&mut stream).await?.delivery), "shown twice");
    }
    let gapless = stage.world.count("select max(seq) from web_chat_line").await?;
    assert_eq!(gapless, i64::try_from(LINES)?);
    Ok(())
}

#[tokio::test]
async fn a_session_is_gone_on_with_until_it_is_ended_and_then_takes_nothing() -> anyhow::Result<()> {
    let stage = chat().await?;
    let session = stage.chats().start_session(visit("7f3a")).await?.into_inner();
    let mut more = visit("7f3a");
    more.channel_data = [("page".to_owned(), "/cart".to_owned())].into();
    let same = stage.chats().start_session(more).await?.into_inner();
    assert_eq!((&same.name, same.channel_data.len()), (&session.name, 2), "laid over what was known");
    let mut stream = show(&stage, &session.name, "").await?;
    let request = v1::EndWebChatSessionRequest {
        session: session.name.clone(),
        reason: "closed_page".into(),
        ..Default::default()
    };
    let ended = stage.chats().end_session(request.clone()).await?.into_inner();
    assert_eq!(ended.end_reason, "closed_page");
    assert_eq!(stage.chats().end_session(request).await?.into_inner().end_time, ended.end_time, "the first end holds");
    let end = tokio::time::timeout(SOON, stream.message()).await??;
    assert!(end.is_none(), "its stream ends: {end:?}");
    let refused = say(&stage, &session.name, "c-1", "Hello?").await.unwrap_err().downcast::<tonic::Status>()?;
    assert_eq!(reason(&refused), "STATE_WRONG");
    let next = stage.chats().start_session(visit("7f3a")).await?.into_inner();
    assert_ne!(next.name, session.name);
    assert_eq!(next.contact, session.contact, "the same person");
    let all = "select (select count(*) from event where kind = 'session') + (select count(*) from event_out where kind = 'session')";
    let events = stage.world.count(all).await?;
    assert_eq!(events, 3, "two beginnings and one end");
    Ok(())
}

#[tokio::test]
async fn typing_is_shown_for_a_while() -> anyhow::Result<()> {
    let stage = chat().await?;
    let session = stage.chats().start_session(visit("7f3a")).await?.into_inner();
    let mut stream = show(&stage, &session.name, "").await?;
    let (channel, address): (i32, i64) =
        sqlx::query_as("select channel_id, address_id from web_chat_visitor").fetch_one(&stage.world.db.pool).await?;
    let context = &stage.world.context;
    let until = stage.world.now() + chrono::Duration::seconds(5);
    server::services::web_chat::business_typing(context, channel, address, Some(until)).await?;
    let next = tokio::time::timeout(SOON, stream.message()).await??.and_then(|m| m.item);
    assert!(matches!(next, Some(Item::Typing(t)) if t.duration.is_some_and(|d| d.seconds >= 3)), "{next:?}");
    let request = v1::SetWebChatTypingRequest { session: session.name, duration: None };
    stage.chats().set_typing(request).await?;
    assert!(server::services::web_chat::is_typing_until(context, channel, address).await?.is_some());
    stage.world.advance(Duration::from_secs(7));
    assert_eq!(server::services::web_chat::is_typing_until(context, channel, address).await?, None);
    Ok(())
}

#[tokio::test]
async fn a_visitor_who_signs_in_is_the_contact_that_is_named_and_nobody_elses() -> anyhow::Result<()> {
    let stage = chat().await?;
    let person = stage.world.contact("+919812345678").await?;
    let mut known = visit("user-42");
    known.contact = format!("contacts/{person}");
    let session = stage.chats().start_session(known).await?.into_inner();
    assert_eq!(session.contact, format!("contacts/{person}"));
    let other = stage.world.contact("+919812345679").await?;
    let mut stolen = visit("user-42");
    stolen.contact = format!("contacts/{other}");
    assert_eq!(reason(&stage.chats().start_session(stolen).await.unwrap_err()), "STATE_WRONG");
    let mut nobody = visit("new");
    nobody.contact = "contacts/external:none".into();
    assert_eq!(reason(&stage.chats().start_session(nobody).await.unwrap_err()), "REFERENCE_NOT_FOUND");
    let mut wrong = visit("with space");
    wrong.channel = "channels/site".into();
    assert_eq!(fields(&stage.chats().start_session(wrong).await.unwrap_err()), ["visitor_id"]);
    Ok(())
}

#[tokio::test]
async fn two_chats_with_one_visitor_id_are_two_people() -> anyhow::Result<()> {
    let stage = chat().await?;
    stage.channel_of("app", v1::ChannelType::Webchat, "app:front", "web-chat", &[]).await?;
    let here = stage.chats().start_session(visit("1")).await?.into_inner();
    let mut there = visit("1");
    there.channel = "channels/app".into();
    let there = stage.chats().start_session(there).await?.into_inner();
    assert_ne!(here.contact, there.contact);
    // A step over one chat never takes the address of the other.
    let contact: i64 = there.contact.trim_start_matches("contacts/").parse()?;
    let plan = stage.plan(&["site"], Success::Sent).await?;
    let notification = stage.world.begin(&plan, &[contact], Lane::Interactive).await?.remove(0);
    eventually(SOON, async || {
        let stands = stage.world.stands(notification).await?;
        anyhow::ensure!(stands == "skipped 0", "{stands}");
        Ok(())
    })
    .await
}
