//! Who did it: events and timelines tell whom the caller named, and nobody else.

use proto::v1;
use tonic::{Code, Request};

use super::{PHONE, Stage, id_of, text};
use crate::reading::violations;

/// A request that names who acts.
fn by<T>(actor: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("switchboard-actor", actor.parse().expect("a header"));
    request
}

fn say(conversation: &str, words: &str) -> v1::SendMessageRequest {
    v1::SendMessageRequest {
        to: Some(v1::send_message_request::To::Conversation(conversation.into())),
        channel: "channels/sms-main".into(),
        content: text(words),
        ..Default::default()
    }
}

/// Who did what, as events tell it.
async fn told(stage: &Stage, name: &str) -> anyhow::Result<Vec<(String, Option<String>)>> {
    let rows = sqlx::query_as(
        "select kind || '.' || type, data ->> 'actor' from event_out
          where data ->> 'conversation' = $1 and (kind <> 'message' or (data ->> 'outbound')::boolean) order by id",
    );
    Ok(rows.bind(id_of(name).to_string()).fetch_all(&stage.served.world.db.pool).await?)
}

#[tokio::test]
async fn events_and_the_timeline_tell_who_asked() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    stage.says(stage.sms, PHONE, "Hello").await?;
    let name = stage.newest(PHONE).await?.name;
    stage.set("delete from event_out").await?;
    let hold = v1::HoldConversationRequest { name: name.clone(), ..Default::default() };
    stage.served.conversations().hold_conversation(by("operators/asha", hold)).await?;
    stage.served.messages().send_message(by("bots/faq", say(&name, "One moment"))).await?;
    let resume = v1::ResumeConversationRequest { name: name.clone(), ..Default::default() };
    stage.served.conversations().resume_conversation(resume).await?;
    let wanted = [
        ("conversation.held", "operators/asha"),
        ("message.message_added", "bots/faq"),
        ("conversation.resumed", "api"),
    ];
    let wanted = wanted.map(|(what, who)| (what.to_owned(), Some(who.to_owned())));
    assert_eq!(told(&stage, &name).await?, wanted);
    let close = v1::CloseConversationRequest { name: name.clone(), ..Default::default() };
    stage.served.conversations().close_conversation(by("operators/asha", close)).await?;
    let request = v1::ListActivitiesRequest { parent: name.clone(), page_size: 100, ..Default::default() };
    let shown = stage.served.conversations().list_activities(request).await?.into_inner().activities;
    let of = |cause: &str| shown.iter().find(|a| a.cause == cause).map(|a| a.actor.clone()).unwrap_or_default();
    assert_eq!(of("CONVERSATION_CLOSED"), "operators/asha", "the session that ended");
    assert_eq!(of("REQUESTED"), "operators/asha", "the conversation that closes");
    let begun = shown.iter().find(|a| a.subject.starts_with("channelSessions/")).map(|a| a.actor.as_str());
    assert_eq!(begun, Some("contact"), "what the contact did stays the contact's");
    let closed_by: String =
        sqlx::query_scalar("select closed_by from conversation").fetch_one(&stage.served.world.db.pool).await?;
    assert_eq!(closed_by, "operators/asha");
    Ok(())
}

#[tokio::test]
async fn nobody_acts_as_the_contact_or_as_a_controller() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    stage.says(stage.sms, PHONE, "Hello").await?;
    let name = stage.newest(PHONE).await?.name;
    for actor in ["contact", "system", "controllers/desk", "operators/", "asha"] {
        let hold = v1::HoldConversationRequest { name: name.clone(), ..Default::default() };
        let refused = stage.served.conversations().hold_conversation(by(actor, hold)).await.expect_err(actor);
        assert_eq!(refused.code(), Code::InvalidArgument);
        let fields: Vec<_> = violations(&refused).into_iter().map(|(field, _)| field).collect();
        assert_eq!(fields, ["switchboard-actor"], "{actor}");
    }
    assert!(!stage.get(&name).await?.on_hold, "nothing was done");
    Ok(())
}
