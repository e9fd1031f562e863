//! Messages that we say in a conversation, and the record there of what notifications said.

use chrono::{DateTime, Utc};
use domain::{
    channel::{ChannelType, Lane},
    message::Content,
};
use uuid::Uuid;

use super::{Context, Result, messages::snapshot as envelopes, rendering};
use crate::storage::{
    self, Conn,
    conversations::{self, NewMessage},
    planning,
    queue::{self, NewChunk},
};

/// One message to be said in a conversation.
#[derive(Debug, Clone)]
pub struct Line {
    /// The conversation, locked by the caller.
    pub conversation_id: Uuid,
    /// The channel.
    pub channel_id: i32,
    /// Its type.
    pub channel_type: ChannelType,
    /// The contact's address.
    pub address_id: i64,
    /// What to say.
    pub content: Content,
    /// The lane.
    pub lane: Lane,
    /// The message that it answers.
    pub in_reply_to: Option<Uuid>,
    /// Who says it: see `conversations::held::By`.
    pub actor: String,
}

/// Appends a message to its conversation and queues it, in the caller's transaction. Says its id.
///
/// # Errors
/// What storage says.
pub async fn say(context: &Context, conn: &mut Conn, line: &Line, now: DateTime<Utc>) -> Result<Uuid> {
    let (message_id, delivery_id) = (Uuid::now_v7(), Uuid::now_v7());
    let snapshot = context.directory.snapshot(&context.side).await?;
    let channel = snapshot.channel(line.channel_id);
    let ours = channel.map(|c| c.row.service_identifier.clone()).unwrap_or_default();
    let receiver = conversations::address(conn, line.address_id).await?;
    let envelope = channel.map(|channel| envelopes::outbound(envelopes::of_channel(channel, None, &receiver)));
    let message = NewMessage {
        id: message_id,
        conversation_id: line.conversation_id,
        outbound: true,
        channel_id: line.channel_id,
        address_id: line.address_id,
        sender: ours,
        receiver: receiver.value,
        content: serde_json::to_value(&line.content).map_err(storage::Error::from)?,
        plain_text: line.content.plain_text(),
        provider_message_id: None,
        in_reply_to: line.in_reply_to,
        notification_id: None,
        delivery_id: Some(delivery_id),
        provider_time: None,
        received_at: now,
        envelope,
        actor: Some(line.actor.clone()),
    };
    conversations::append(conn, &message, now).await?;
    let group = planning::send_group(conn, None, line.channel_id, line.channel_type, line.lane, 1).await?;
    conversations::deliver(conn, delivery_id, message_id, group, line.channel_id, line.address_id, now).await?;
    let chunk = NewChunk {
        channel_type: line.channel_type.as_str().to_owned(),
        lane: line.lane,
        send_group_id: group,
        delivery_ids: vec![delivery_id],
        delay_secs: 0.0,
        parts: 1,
        price_micros: 0,
    };
    queue::enqueue(conn, &[chunk]).await?;
    Ok(message_id)
}

/// Appends what a notification's delivery said, so that the conversation that its answer opens begins with it. Rendered again
/// from the pinned template: the same words. What stands already is left. Says whether it was appended.
///
/// # Errors
/// What storage says.
pub async fn append_sent(
    context: &Context,
    conn: &mut Conn,
    conversation_id: Uuid,
    delivery_id: Uuid,
    now: DateTime<Utc>,
) -> Result<bool> {
    let Some(sent) = conversations::sent(conn, delivery_id).await? else { return Ok(false) };
    let snapshot = context.directory.snapshot(&context.side).await?;
    let Some(channel) = snapshot.channel(sent.claimed.channel_id) else { return Ok(false) };
    let (content, template) = match rendering::rendered(context, conn, &sent.claimed, channel.channel_type()).await {
        Ok((content, template)) => (content, Some(template)),
        Err(refusal) => (Content::Unsupported { text: refusal.detail }, None),
    };
    let at = envelopes::of_channel(channel, sent.provider_id, &sent.claimed.to);
    let envelope = envelopes::rendered(envelopes::outbound(at), template, sent.campaign_id);
    let message = NewMessage {
        id: Uuid::now_v7(),
        conversation_id,
        outbound: true,
        channel_id: sent.claimed.channel_id,
        address_id: sent.claimed.address_id,
        sender: channel.row.service_identifier.clone(),
        receiver: sent.claimed.to.value.clone(),
        content: serde_json::to_value(&content).map_err(storage::Error::from)?,
        plain_text: content.plain_text(),
        provider_message_id: sent.provider_message_id,
        in_reply_to: None,
        notification_id: sent.claimed.notification_id,
        delivery_id: Some(delivery_id),
        provider_time: None,
        received_at: sent.started_at.unwrap_or(now),
        envelope: Some(envelope),
        actor: None,
    };
    Ok(conversations::append(conn, &message, now).await?)
}
