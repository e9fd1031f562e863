//! Who comes to a channel and leaves it is there in the conversation, in the order of what was said.

use std::time::Duration;

use proto::v1::{
    self, attach_connector_request::Item as Say, attach_connector_response::Item as Heard,
    conversation_service_client::ConversationServiceClient,
};
use testkit::eventually;

use super::{Instance, SOON, Stage, external, text};
use crate::api::reason;

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
        channel_data: [("page".to_owned(), "/cart".to_owned())].into(),
        ..Default::default()
    }
}

fn leaving(session: &str) -> v1::EndWebChatSessionRequest {
    v1::EndWebChatSessionRequest { session: session.into(), reason: "closed_page".into(), ..Default::default() }
}

/// What stands of the channel sessions, the oldest first: the state of the conversation, of the session, and why it ended.
async fn is_there(stage: &Stage, wanted: &[&str]) -> anyhow::Result<()> {
    eventually(SOON, async || {
        let rows: Vec<String> = sqlx::query_scalar(
            "select v.state || ' ' || s.state || coalesce(' ' || s.end_reason, '') from channel_session s
               join conversation v on v.id = s.conversation_id order by s.started_at, s.id",
        )
        .fetch_all(&stage.world.db.pool)
        .await?;
        anyhow::ensure!(rows == wanted, "{rows:?}");
        Ok(())
    })
    .await
}

async fn says(stage: &Stage, session: &str, id: &str, words: &str) -> anyhow::Result<()> {
    let request = v1::SendWebChatMessageRequest {
        session: session.into(),
        client_message_id: id.into(),
        content: Some(text(words)),
        in_reply_to: String::new(),
    };
    stage.chats().send_message(request).await?;
    Ok(())
}

#[tokio::test]
async fn a_visitor_who_comes_is_greeted_and_is_gone_when_it_leaves() -> anyhow::Result<()> {
    let stage = chat().await?;
    let greeting = "update channel set greeting = 'Welcome', reconnect_secs = 600 where slug = 'site'";
    sqlx::query(greeting).execute(&stage.world.db.pool).await?;
    stage.world.context.directory.invalidate();
    let session = stage.chats().start_session(visit("7f3a")).await?.into_inner();
    is_there(&stage, &["CREATED active"]).await?;
    let begun: (String, serde_json::Value, bool) =
        sqlx::query_as("select direction, data, wrote from channel_session").fetch_one(&stage.world.db.pool).await?;
    assert_eq!(begun, ("inbound".to_owned(), serde_json::json!({"page": "/cart"}), false));
    // Told again with more, the same session knows more.
    let mut more = visit("7f3a");
    more.channel_data = [("form".to_owned(), "dam 7".to_owned())].into();
    stage.chats().start_session(more).await?;
    says(&stage, &session.name, "c-1", "Is the dam open?").await?;
    eventually(SOON, async || {
        let words: Vec<String> =
            sqlx::query_scalar("select plain_text from message order by seq").fetch_all(&stage.world.db.pool).await?;
        anyhow::ensure!(words == ["Welcome", "Is the dam open?"], "greeted once, and before it wrote: {words:?}");
        Ok(())
    })
    .await?;
    let knows =
        "select count(*) from channel_session where wrote and data @> '{\"page\": \"/cart\", \"form\": \"dam 7\"}'";
    assert_eq!(stage.world.count(knows).await?, 1);

    stage.chats().end_session(leaving(&session.name)).await?;
    is_there(&stage, &["CUSTOMER_LEFT ended CUSTOMER_LEFT"]).await?;
    // Back within the grace, the conversation goes on.
    stage.chats().start_session(visit("7f3a")).await?;
    is_there(&stage, &["CREATED ended CUSTOMER_LEFT", "CREATED active"]).await?;
    assert_eq!(stage.world.count("select count(*) from conversation").await?, 1);
    Ok(())
}

#[tokio::test]
async fn who_writes_and_leaves_at_once_has_left_after_its_words_were_taken_up() -> anyhow::Result<()> {
    let stage = chat().await?;
    for round in 0..5 {
        let session = stage.chats().start_session(visit("7f3a")).await?.into_inner();
        says(&stage, &session.name, &format!("c-{round}"), "Bye").await?;
        stage.chats().end_session(leaving(&session.name)).await?;
    }
    eventually(SOON, async || {
        let waiting = stage.world.count("select count(*) from inbound_inbox").await?;
        let said = stage.world.count("select count(*) from message where plain_text = 'Bye'").await?;
        anyhow::ensure!((waiting, said) == (0, 5), "{waiting} wait, {said} were said");
        Ok(())
    })
    .await?;
    let open = stage.world.count("select count(*) from channel_session where ended_at is null").await?;
    assert_eq!(open, 0, "nobody is left behind");
    let sessions = stage.world.count("select count(*) from channel_session where end_reason = 'CUSTOMER_LEFT'").await?;
    assert_eq!(sessions, 5, "one a visit");
    Ok(())
}

#[tokio::test]
async fn a_web_chat_waits_half_a_minute_for_who_left_where_its_channel_says_nothing() -> anyhow::Result<()> {
    let stage = chat().await?;
    let session = stage.chats().start_session(visit("7f3a")).await?.into_inner();
    is_there(&stage, &["CREATED active"]).await?;
    stage.chats().end_session(leaving(&session.name)).await?;
    is_there(&stage, &["CUSTOMER_LEFT ended CUSTOMER_LEFT"]).await?;
    stage.world.advance(Duration::from_secs(31));
    is_there(&stage, &["CLOSED ended CUSTOMER_LEFT"]).await
}

#[tokio::test]
async fn who_leaves_a_medium_of_a_connectors_own_is_gone_from_the_conversation() -> anyhow::Result<()> {
    let stage = Stage::start().await?;
    stage.outside("shop", "nothing", 60.0, 30.0).await?;
    let mut connector = Instance::attach(&stage, "shop", "one", 10).await?;
    let gone = |item: &str, who: &str| {
        let from = Some(external(who));
        Say::SessionEnded(v1::SessionEndedItem { item_id: item.into(), from, reason: "closed".into() })
    };
    let message = v1::InboundMessage {
        message_id: "in-1".into(),
        from: vec![external("shop:7")],
        content: Some(text("Good morning")),
        ..Default::default()
    };
    connector.say(Say::Inbound(v1::InboundItem { item_id: "i-1".into(), message: Some(message) })).await?;
    connector.say(gone("e-1", "Shop:7")).await?;
    // A person whom nobody knows leaves too, and nothing comes of it.
    connector.say(gone("e-2", "shop:8")).await?;
    for item in ["i-1", "e-1", "e-2"] {
        let Heard::ItemAck(ack) = connector.hear().await? else { panic!("no ack") };
        assert_eq!((ack.item_id.as_str(), ack.problem.as_str()), (item, ""));
    }
    is_there(&stage, &["CLOSED ended CUSTOMER_LEFT"]).await?;
    assert_eq!(stage.world.count("select count(*) from inbound_inbox").await?, 0);
    assert_eq!(stage.world.count("select count(*) from conversation").await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_visitor_who_signs_in_becomes_the_contact_that_is_named_with_what_was_said() -> anyhow::Result<()> {
    let stage = chat().await?;
    let person = stage.world.contact("+919812345678").await?;
    let before = stage.chats().start_session(visit("stranger")).await?.into_inner();
    says(&stage, &before.name, "c-1", "Is the dam open?").await?;
    eventually(SOON, async || {
        anyhow::ensure!(stage.world.count("select count(*) from message").await? == 1, "not taken up yet");
        Ok(())
    })
    .await?;
    assert_ne!(before.contact, format!("contacts/{person}"));
    let mut known = visit("stranger");
    known.contact = format!("contacts/{person}");
    let session = stage.chats().start_session(known).await?.into_inner();
    assert_eq!((&session.name, &session.contact), (&before.name, &format!("contacts/{person}")), "the same visit");
    let conversations: Vec<(i64, i64, String)> =
        sqlx::query_as("select contact_id, last_seq, phase from conversation").fetch_all(&stage.world.db.pool).await?;
    assert_eq!(conversations, [(person, 1, "open".to_owned())], "its conversation is the contact's");
    let own = "select count(*) from contact_address where contact_id <> (select contact_id from web_chat_session)";
    assert_eq!(stage.world.count(own).await?, 0);
    // Whoever is known by now is nobody else's.
    let other = stage.world.contact("+919812345679").await?;
    let mut stolen = visit("stranger");
    stolen.contact = format!("contacts/{other}");
    assert_eq!(reason(&stage.chats().start_session(stolen).await.unwrap_err()), "STATE_WRONG");
    Ok(())
}

#[tokio::test]
async fn who_signs_in_while_a_conversation_is_open_elsewhere_goes_on_with_the_older_one() -> anyhow::Result<()> {
    let stage = chat().await?;
    let person = stage.world.contact("+919812345678").await?;
    stage.channel_of("shop", v1::ChannelType::Webchat, "shop:front", "web-chat", &[]).await?;
    let mut at_shop = visit("asha");
    (at_shop.channel, at_shop.contact) = ("channels/shop".into(), format!("contacts/{person}"));
    stage.chats().start_session(at_shop).await?;
    is_there(&stage, &["CREATED active"]).await?;
    let session = stage.chats().start_session(visit("stranger")).await?.into_inner();
    says(&stage, &session.name, "c-1", "Is the dam open?").await?;
    is_there(&stage, &["CREATED active", "CREATED active"]).await?;
    eventually(SOON, async || {
        anyhow::ensure!(stage.world.count("select count(*) from message").await? == 1, "not taken up yet");
        Ok(())
    })
    .await?;
    let mut known = visit("stranger");
    known.contact = format!("contacts/{person}");
    stage.chats().start_session(known).await?;
    let one = "select count(*) from conversation v where v.phase = 'open' and v.sessions = 2 and v.last_seq = 1";
    assert_eq!(stage.world.count(one).await?, 1, "both are there, in the older one");
    let merged = stage.world.count("select count(*) from conversation where merged_into is not null").await?;
    assert_eq!(merged, 1);
    let mut client = ConversationServiceClient::new(stage.channel.clone());
    let listed = client.list_conversations(v1::ListConversationsRequest::default()).await?.into_inner().conversations;
    assert!(listed.iter().all(|it| it.contact == format!("contacts/{person}")), "{listed:?}");
    Ok(())
}
