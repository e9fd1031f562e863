//! What a controller sees when an intent occurs: the facts of conversation, contact and message, read when it is looked at.

use domain::{controller::Scene, conversation::Intent, message::Content};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::{
    services::{Context, Result, messages},
    storage::{Conn, activities, contacts},
};

/// What occurred, and where.
#[derive(Debug, Clone, Copy)]
pub(super) struct Occasion<'a> {
    /// The conversation.
    pub conversation: Uuid,
    /// What occurred.
    pub intent: Intent,
    /// To what: a message, session, participant or conversation.
    pub subject: Uuid,
    /// On which channel.
    pub channel_id: Option<i32>,
    /// Why, where there is a reason.
    pub reason: &'a str,
}

/// The scene of an occasion, and the slug of the channel where it is; none when the conversation is gone.
///
/// # Errors
/// What storage says.
pub(super) async fn of(
    context: &Context,
    conn: &mut Conn,
    occasion: Occasion<'_>,
) -> Result<Option<(Scene, Option<String>)>> {
    let Some(conversation) = activities::conversations(conn, &[occasion.conversation]).await?.pop() else {
        return Ok(None);
    };
    let contact = contacts::load(conn, &[conversation.contact_id]).await?.pop();
    let snapshot = context.directory.snapshot(&context.side).await?;
    let channel = match occasion.channel_id {
        Some(id) => snapshot.channel(id),
        None => snapshot.by_slug(&conversation.active_channel),
    };
    let mut facts = Map::new();
    let mut put = |name: &str, fact: Value| facts.insert(name.to_owned(), fact);
    put("message", message(conn, &occasion).await?);
    put("session", json!({ "reason": if occasion.intent == Intent::SessionEnded { occasion.reason } else { "" } }));
    put(
        "channel",
        json!({ "name": channel.map(|c| format!("channels/{}", c.row.slug)).unwrap_or_default(),
                "type": channel.map(|c| c.channel_type().as_str()).unwrap_or_default() }),
    );
    put(
        "conversation",
        json!({ "name": format!("conversations/{}", conversation.id), "state": conversation.state,
                "priority": conversation.priority, "labels": conversation.labels, "attributes": conversation.attributes,
                "messages": conversation.messages, "on_hold": conversation.hold }),
    );
    put(
        "contact",
        json!({ "name": format!("contacts/{}", conversation.contact_id),
                "display_name": contact.as_ref().map_or("", |c| c.display_name.as_str()),
                "external_id": contact.as_ref().and_then(|c| c.external_id.as_deref()).unwrap_or_default(),
                "locale": contact.as_ref().map_or("", |c| c.locale.as_str()),
                "time_zone": contact.as_ref().map_or("", |c| c.time_zone.as_str()),
                "attributes": contact.as_ref().map_or_else(|| json!({}), |c| c.attributes.clone()) }),
    );
    let scene = Scene { intent: occasion.intent, now: context.clock.now(), facts };
    Ok(Some((scene, channel.map(|c| c.row.slug.clone()))))
}

/// What the message says, if the occasion is one.
async fn message(conn: &mut Conn, occasion: &Occasion<'_>) -> Result<Value> {
    let found = match occasion.intent {
        Intent::FirstMessage | Intent::Message => messages::load(conn, &[occasion.subject]).await?.pop(),
        _ => None,
    };
    let Some(found) = found else { return Ok(json!({ "text": "", "type": "", "choice": "" })) };
    let kind = serde_json::to_value(&found.content).ok();
    let kind = kind.as_ref().and_then(|content| content.get("type")).and_then(Value::as_str).unwrap_or_default();
    let choice = match &found.content {
        Content::Chosen { id, .. } => id.as_str(),
        Content::Key { digits } => digits.as_str(),
        _ => "",
    };
    Ok(json!({ "text": found.row.plain_text, "type": kind, "choice": choice }))
}
