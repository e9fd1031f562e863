//! Channel sessions, participants, and the channel in use.

use proto::v1::{self, channel_session::EndReason, conversation::State, participant::Role};
use tonic::Code;

use super::{PHONE, Stage, id_of, minutes, operator, text};
use crate::reading::reason;

async fn sends(stage: &Stage, conversation: &str, channel: &str, words: &str) -> anyhow::Result<v1::Message> {
    let request = v1::SendMessageRequest {
        to: Some(v1::send_message_request::To::Conversation(conversation.into())),
        channel: channel.into(),
        content: text(words),
        ..Default::default()
    };
    Ok(stage.served.messages().send_message(request).await?.into_inner())
}

/// A first message makes a contact, a conversation and a session.
#[tokio::test]
async fn a_first_message_opens_a_conversation_with_one_session() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    stage.says(stage.whatsapp, PHONE, "Hello").await?;
    let it = stage.newest(PHONE).await?;
    assert_eq!((it.state(), it.message_count, it.open_session_count), (State::Created, 1, 1));
    assert_eq!(it.active_channel, "channels/wa-main");
    let sessions = stage.sessions(&it.name).await?;
    assert_eq!(sessions.len(), 1);
    assert_eq!(sessions[0].direction(), v1::message::Direction::Inbound);
    assert_eq!(stage.changes(&it.name).await?, ["channel_session started", "state_changed CREATED MESSAGE_RECEIVED"]);
    let intents: Vec<Option<String>> =
        sqlx::query_scalar("select data ->> 'intent' from event_out where data ? 'intent' order by id")
            .fetch_all(&stage.served.world.db.pool)
            .await?;
    assert_eq!(intents.into_iter().flatten().collect::<Vec<_>>(), ["SESSION_STARTED", "FIRST_MESSAGE"]);
    stage.is_sound().await
}

/// Cases 12 and 13: the active channel follows the contact, stays when another is named, and is always set.
#[tokio::test]
async fn the_active_channel_follows_the_contact_and_no_send_moves_it() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    stage.says(stage.whatsapp, PHONE, "Hello").await?;
    let name = stage.newest(PHONE).await?.name;
    stage.passes(minutes(1)).await?;
    stage.says(stage.sms, PHONE, "I am here too").await?;
    assert_eq!(stage.get(&name).await?.active_channel, "channels/sms-main");
    let sent = sends(&stage, &name, "channels/wa-main", "Over there").await?;
    assert_eq!(sent.channel, "channels/wa-main");
    assert_eq!(stage.get(&name).await?.active_channel, "channels/sms-main", "a send moves nothing");
    let sent = sends(&stage, &name, "", "Here").await?;
    assert_eq!(sent.channel, "channels/sms-main");

    let end = async |channel: &str| -> anyhow::Result<()> {
        let open = stage.sessions(&name).await?.into_iter().find(|s| s.channel == channel && s.end_time.is_none());
        let request = v1::EndChannelSessionRequest { name: open.expect("an open one").name, ..Default::default() };
        stage.served.conversations().end_channel_session(request.clone()).await?;
        let again = stage.served.conversations().end_channel_session(request).await?.into_inner();
        assert_eq!(again.end_reason(), EndReason::AgentClosed);
        Ok(())
    };
    end("channels/sms-main").await?;
    assert_eq!(stage.get(&name).await?.active_channel, "channels/wa-main", "the next most recent");
    // Something is owed, so that the conversation stays.
    sqlx::query(
        "insert into obligation (conversation_id, kind, subject, began_at) values ($1, 'ticket', 'tickets/1', now())",
    )
    .bind(id_of(&name))
    .execute(&stage.served.world.db.pool)
    .await?;
    end("channels/wa-main").await?;
    let it = stage.get(&name).await?;
    assert_eq!((it.active_channel.as_str(), it.state()), ("channels/wa-main", State::CustomerLeft), "the last is kept");
    stage.says(stage.sms, PHONE, "Back").await?;
    assert_eq!(stage.get(&name).await?.state(), State::Created);
    stage.is_sound().await
}

/// Case 14: who only reads along is no agent.
#[tokio::test]
async fn agents_make_it_active_and_monitors_do_not() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    stage.says(stage.whatsapp, PHONE, "Hello").await?;
    let name = stage.newest(PHONE).await?.name;
    let join = async |who, role| {
        let request =
            v1::AddParticipantRequest { parent: name.clone(), participant: operator(who, role), ..Default::default() };
        Ok::<_, tonic::Status>(stage.served.conversations().add_participant(request).await?.into_inner())
    };
    join("asha", Role::Monitor).await?;
    assert_eq!(stage.get(&name).await?.state(), State::Created);
    let ravi = join("ravi", Role::Unspecified).await?;
    assert_eq!((ravi.role(), stage.get(&name).await?.state()), (Role::Primary, State::Active));
    assert_eq!(join("ravi", Role::Primary).await?.name, ravi.name, "once");
    let wrong = join("ravi", Role::Assist).await.unwrap_err();
    assert_eq!((wrong.code(), reason(&wrong).as_str()), (Code::FailedPrecondition, "STATE_WRONG"));
    let request =
        v1::ChangeParticipantRoleRequest { name: ravi.name.clone(), role: Role::Monitor.into(), ..Default::default() };
    stage.served.conversations().change_participant_role(request).await?;
    let it = stage.get(&name).await?;
    assert_eq!((it.state(), it.agent_count), (State::Inactive, 0), "only monitors are left");
    let request = v1::RemoveParticipantRequest { name: ravi.name, ..Default::default() };
    let left = stage.served.conversations().remove_participant(request).await?.into_inner();
    assert_eq!(left.leave_reason, "REMOVED");
    let request = v1::ListParticipantsRequest { parent: name.clone(), ..Default::default() };
    let all = stage.served.conversations().list_participants(request.clone()).await?.into_inner().participants;
    let subjects: Vec<&str> = all.iter().map(|p| p.subject.split('/').next().unwrap_or_default()).collect();
    assert_eq!(subjects, ["channelSessions", "operators", "operators"]);
    let request = v1::ListParticipantsRequest { present_only: true, ..request };
    let there = stage.served.conversations().list_participants(request).await?.into_inner().participants;
    assert_eq!(there.len(), 2);
    stage.is_sound().await
}

#[tokio::test]
async fn a_channel_that_is_disabled_ends_its_sessions() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    stage.says(stage.whatsapp, PHONE, "Hello").await?;
    stage.says(stage.sms, PHONE, "Hello here").await?;
    let name = stage.newest(PHONE).await?.name;
    stage.set("update channel set state = 'disabled' where slug = 'sms-main'").await?;
    stage.due().await?;
    let sessions = stage.sessions(&name).await?;
    assert_eq!(
        sessions.iter().map(v1::ChannelSession::end_reason).collect::<Vec<_>>(),
        [EndReason::Unspecified, EndReason::ChannelDisabled]
    );
    assert_eq!(stage.get(&name).await?.active_channel, "channels/wa-main");
    stage.is_sound().await
}

#[tokio::test]
async fn the_connectors_data_and_the_channels_greeting_come_with_a_session() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    stage.set("update channel set greeting = 'Welcome!' where slug = 'wa-main'").await?;
    let hello = || domain::message::Content::Text { text: "Hello".into() };
    stage.arrives_as(stage.whatsapp, PHONE, hello(), "a", &[("locale", "hi"), ("page", "dam")]).await?;
    stage.arrives_as(stage.whatsapp, PHONE, hello(), "b", &[("page", "river")]).await?;
    stage.taken_up().await?;
    let it = stage.newest(PHONE).await?;
    assert_eq!(stage.words(&it.name).await?, ["Hello", "Welcome!", "Hello"], "greeted once");
    let data = stage.sessions(&it.name).await?.remove(0).data;
    assert_eq!((data["locale"].as_str(), data["page"].as_str()), ("hi", "river"));
    stage.is_sound().await
}

/// Case 7: while a task is queued, the last agent who leaves closes nothing, and neither does the contact who goes.
#[tokio::test]
async fn the_last_agent_may_leave_while_a_task_is_queued() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    stage.says(stage.whatsapp, PHONE, "Hello").await?;
    let name = stage.newest(PHONE).await?.name;
    let request = v1::AddParticipantRequest {
        parent: name.clone(),
        participant: operator("ravi", Role::Primary),
        ..Default::default()
    };
    let ravi = stage.served.conversations().add_participant(request).await?.into_inner();
    sqlx::query(
        "insert into obligation (conversation_id, kind, subject, began_at) values ($1, 'task', 'agentTasks/1', now())",
    )
    .bind(id_of(&name))
    .execute(&stage.served.world.db.pool)
    .await?;
    let request = v1::RemoveParticipantRequest { name: ravi.name, reason: "DONE".into(), ..Default::default() };
    stage.served.conversations().remove_participant(request).await?;
    assert_eq!(stage.get(&name).await?.state(), State::Inactive);
    let session = stage.sessions(&name).await?.remove(0).name;
    let request = v1::EndChannelSessionRequest { name: session, ..Default::default() };
    stage.served.conversations().end_channel_session(request).await?;
    stage.passes(minutes(60)).await?;
    assert_eq!(stage.get(&name).await?.state(), State::CustomerLeft, "it is looked at again, and still owed");
    stage.set("delete from obligation").await?;
    stage.passes(minutes(11)).await?;
    stage.due().await?;
    assert_eq!(stage.get(&name).await?.state(), State::Closed);
    let intents: Vec<String> = sqlx::query_scalar(
        "select data ->> 'intent' from event_out where data ->> 'intent' like '%AGENT%' order by id",
    )
    .fetch_all(&stage.served.world.db.pool)
    .await?;
    assert_eq!(intents, ["AGENT_JOINED", "AGENT_LEFT", "LAST_AGENT_LEFT"]);
    stage.is_sound().await
}

#[tokio::test]
async fn how_conversations_are_held_is_set_with_the_channel_and_every_fault_is_named() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    let update = |channel: v1::Channel| v1::UpdateChannelRequest { channel: Some(channel), ..Default::default() };
    let span = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    let right = v1::Channel {
        name: "channels/sms-main".into(),
        routing_mode: v1::channel::RoutingMode::Hybrid.into(),
        contact_inactivity_timeout: span(600),
        inactivity_warning_percent: Some(50),
        inactivity_warning: "Still there?".into(),
        greeting: "Welcome".into(),
        reconnect_grace: span(30),
        default_outbound: true,
        ..Default::default()
    };
    let it = stage.served.channels().update_channel(update(right.clone())).await?.into_inner();
    assert_eq!(it.routing_mode(), v1::channel::RoutingMode::Hybrid);
    assert_eq!((it.contact_inactivity_timeout, it.inactivity_warning_percent), (span(600), Some(50)));
    assert_eq!((it.greeting.as_str(), it.reconnect_grace, it.default_outbound), ("Welcome", span(30), true));
    let wrong = v1::Channel {
        contact_inactivity_timeout: span(-1),
        inactivity_warning_percent: Some(100),
        greeting: "x".repeat(1001),
        reconnect_grace: span(86_401),
        routing_mode: 9,
        ..right.clone()
    };
    let refused = stage.served.channels().update_channel(update(wrong)).await.unwrap_err();
    let mut fields: Vec<String> = crate::reading::violations(&refused).into_iter().map(|(field, _)| field).collect();
    fields.sort();
    assert_eq!(
        fields,
        [
            "channel.contact_inactivity_timeout",
            "channel.greeting",
            "channel.inactivity_warning_percent",
            "channel.reconnect_grace",
            "channel.routing_mode"
        ]
    );
    super::channel(&stage.served, "sms-two", "SMS", "+15550003333").await?;
    let second = v1::Channel { name: "channels/sms-two".into(), default_outbound: true, ..Default::default() };
    let refused = stage.served.channels().update_channel(update(second)).await.unwrap_err();
    assert!(refused.message().contains("channels/sms-main"), "{}", refused.message());
    stage.says(stage.sms, PHONE, "Hello").await?;
    let name = stage.newest(PHONE).await?.name;
    assert_eq!(stage.words(&name).await?, ["Hello", "Welcome"]);
    stage.passes(minutes(6)).await?;
    assert_eq!(stage.words(&name).await?.len(), 3, "warned at half of ten minutes");
    stage.passes(minutes(5)).await?;
    assert_eq!(stage.get(&name).await?.state(), State::CustomerLeft, "the grace runs");
    stage.passes(minutes(1)).await?;
    stage.due().await?;
    assert_eq!(stage.get(&name).await?.state(), State::Closed);
    stage.is_sound().await
}
