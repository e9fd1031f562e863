//! Following conversations: a snapshot, then every event in order, and on from a cursor.

use std::time::Duration;

use proto::v1::{self, watch_conversation_response::Update, watch_conversations_response::Update as Many};
use tokio::time::timeout;
use tonic::{Code, Streaming};

use super::{PHONE, Stage};
use crate::{reading::reason, support::statements::Statements};

const SOON: Duration = Duration::from_secs(20);

async fn next(stream: &mut Streaming<v1::WatchConversationResponse>) -> anyhow::Result<Update> {
    let update = timeout(SOON, stream.message()).await??;
    update.and_then(|u| u.update).ok_or_else(|| anyhow::anyhow!("the stream ended"))
}

/// The next events, by type, and the cursor of the last.
async fn events(
    stream: &mut Streaming<v1::WatchConversationResponse>,
    n: usize,
) -> anyhow::Result<(Vec<String>, String)> {
    let (mut types, mut cursor) = (Vec::new(), String::new());
    while types.len() < n {
        if let Update::Event(it) = next(stream).await? {
            let event = it.event.unwrap_or_default();
            types.push(event.r#type);
            cursor = event.cursor;
        }
    }
    Ok((types, cursor))
}

#[tokio::test]
async fn one_conversation_is_followed_from_its_snapshot_and_from_a_cursor() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    stage.says(stage.whatsapp, PHONE, "Hello").await?;
    stage.says(stage.whatsapp, "+919800000001", "Somebody else").await?;
    stage.served.number().await?;
    let name = stage.newest(PHONE).await?.name;
    let ask = |cursor: &str| v1::WatchConversationRequest { name: name.clone(), start_cursor: cursor.into() };
    let mut stream = stage.served.conversations().watch_conversation(ask("")).await?.into_inner();
    let Update::Conversation(first) = next(&mut stream).await? else { anyhow::bail!("no snapshot") };
    assert_eq!((first.name.as_str(), first.message_count), (name.as_str(), 1));
    let Update::SnapshotComplete(complete) = next(&mut stream).await? else { anyhow::bail!("not complete") };
    stage.says(stage.sms, PHONE, "Here too").await?;
    stage.says(stage.sms, "+919800000001", "Not for us").await?;
    stage.served.number().await?;
    let (types, cursor) = events(&mut stream, 2).await?;
    assert_eq!(types, ["channel_session.started", "message.received"]);
    let close = v1::CloseConversationRequest { name: name.clone(), ..Default::default() };
    stage.served.conversations().close_conversation(close).await?;
    stage.served.number().await?;
    let (rest, _) = events(&mut stream, 3).await?;
    assert_eq!(rest, ["channel_session.ended", "channel_session.ended", "conversation.state_changed"]);
    let mut again = stage.served.conversations().watch_conversation(ask(&cursor)).await?.into_inner();
    assert!(matches!(next(&mut again).await?, Update::SnapshotComplete(_)), "a cursor needs no snapshot");
    assert_eq!(events(&mut again, 3).await?.0, rest);
    let mut all = stage.served.conversations().watch_conversation(ask(&complete.cursor)).await?.into_inner();
    assert_eq!(events(&mut all, 5).await?.0, [types, rest].concat());
    Ok(())
}

#[tokio::test]
async fn a_watch_carries_the_words_and_the_state() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    let request = v1::WatchConversationsRequest { labels: vec!["dam".into()], ..Default::default() };
    stage.says(stage.whatsapp, PHONE, "Hello").await?;
    let name = stage.newest(PHONE).await?.name;
    stage.set("update conversation set labels = array['dam']").await?;
    stage.says(stage.whatsapp, "+919800000001", "Without a label").await?;
    let mut stream = stage.served.conversations().watch_conversations(request).await?.into_inner();
    let mut seen = Vec::new();
    let mut ask = async || -> anyhow::Result<Many> {
        let update = timeout(SOON, stream.message()).await??;
        update.and_then(|u| u.update).ok_or_else(|| anyhow::anyhow!("the stream ended"))
    };
    loop {
        match ask().await? {
            Many::Conversation(it) => seen.push(it.name),
            Many::SnapshotComplete(_) => break,
            other => anyhow::bail!("{other:?}"),
        }
    }
    assert_eq!(seen, [name.as_str()]);
    stage.says(stage.whatsapp, "+919800000001", "Not this one").await?;
    stage.says(stage.whatsapp, PHONE, "This one").await?;
    stage.served.number().await?;
    let found = loop {
        if let Many::Event(it) = ask().await?
            && it.event.as_ref().is_some_and(|e| e.r#type == "message.received")
            && it.message.as_ref().is_some_and(|m| m.plain_text != "Hello")
        {
            break it;
        }
    };
    assert_eq!(found.message.map(|m| m.plain_text).as_deref(), Some("This one"));
    assert_eq!(found.conversation.map(|c| (c.name, c.message_count)), Some((name, 2)));
    Ok(())
}

#[tokio::test]
async fn a_cursor_that_is_gone_or_foreign_is_an_error() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    stage.says(stage.whatsapp, PHONE, "Hello").await?;
    stage.served.number().await?;
    let name = stage.newest(PHONE).await?.name;
    let begin = stage.served.events().get_event_cursor(v1::GetEventCursorRequest {}).await?.into_inner().oldest_cursor;
    stage.says(stage.whatsapp, PHONE, "More").await?;
    stage.served.number().await?;
    stage.set("delete from event where number < (select max(number) from event)").await?;
    let ask = |cursor: &str| v1::WatchConversationRequest { name: name.clone(), start_cursor: cursor.into() };
    let gone = stage.served.conversations().watch_conversation(ask(&begin)).await.unwrap_err();
    assert_eq!((gone.code(), reason(&gone).as_str()), (Code::OutOfRange, "CURSOR_GONE"));
    let foreign = stage.served.conversations().watch_conversation(ask("x")).await.unwrap_err();
    assert_eq!(reason(&foreign), "CURSOR_INVALID");
    let nobody =
        v1::WatchConversationRequest { name: format!("conversations/{}", uuid::Uuid::nil()), ..Default::default() };
    assert_eq!(stage.served.conversations().watch_conversation(nobody).await.unwrap_err().code(), Code::NotFound);
    Ok(())
}

#[tokio::test]
async fn of_a_conversation_that_is_not_meant_nothing_is_loaded() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    stage.says(stage.whatsapp, PHONE, "Hello").await?;
    stage.says(stage.whatsapp, "+919800000001", "Without a label").await?;
    stage
        .set("update conversation set labels = array['dam'] where id = (select min(id::text)::uuid from conversation)")
        .await?;
    stage.served.number().await?;
    let request = v1::WatchConversationsRequest { labels: vec!["dam".into()], ..Default::default() };
    let mut stream = stage.served.conversations().watch_conversations(request).await?.into_inner();
    loop {
        let update = timeout(SOON, stream.message()).await??.and_then(|u| u.update);
        if matches!(update, Some(Many::SnapshotComplete(_))) {
            break;
        }
    }
    let statements = Statements::listen();
    for n in 0..5 {
        stage.says(stage.whatsapp, "+919800000001", &format!("Not for us {n}")).await?;
    }
    stage.says(stage.whatsapp, PHONE, "For us").await?;
    stage.served.number().await?;
    let found = loop {
        if let Some(Many::Event(it)) = timeout(SOON, stream.message()).await??.and_then(|u| u.update) {
            break it;
        }
    };
    assert_eq!(found.message.map(|m| m.plain_text).as_deref(), Some("For us"));
    let seen = statements.taken();
    let of = |words: &str| seen.iter().filter(|sql| sql.contains(words)).count();
    assert_eq!(
        of("conversation_activity"),
        1,
        "what is shown of a conversation is read for the one that is meant: {seen:#?}"
    );
    assert!(of("select 1 from conversation v where v.id") >= 6, "each was asked about: {seen:#?}");
    Ok(())
}
