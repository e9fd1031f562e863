//! Messages as they are shown, and what is asked to be said.

use proto::v1::{self, message::Direction};

use super::{Faults, common, content, notification, sending};
use crate::services::{
    conversations::{
        held,
        saying::{Draft, To},
    },
    messages::{self, Message},
};

/// A message of the contract.
#[must_use]
pub fn message(message: Message) -> v1::Message {
    let Message { row, content: said } = message;
    let direction = if row.outbound { Direction::Outbound } else { Direction::Inbound };
    let delivery = row.delivery_id.filter(|_| row.outbound);
    v1::Message {
        name: format!("messages/{}", row.id),
        direction: direction.into(),
        contact: format!("contacts/{}", row.contact_id),
        conversation: held::name_of(row.conversation_id),
        channel: format!("channels/{}", row.channel),
        channel_type: common::of_channel_type(row.channel_type).into(),
        address: Some(common::of_address(row.address)),
        service_identifier: row.service_identifier,
        content: Some(content::message(said)),
        plain_text: row.plain_text,
        schema_version: row.schema_version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(1),
        provider_message_id: row.provider_message_id.unwrap_or_default(),
        in_reply_to: row.in_reply_to.map(|id| format!("messages/{id}")).unwrap_or_default(),
        notification: row.notification_id.map(|id| format!("notifications/{id}")).unwrap_or_default(),
        delivery: delivery.map(|id| format!("deliveries/{id}")).unwrap_or_default(),
        evidence: row.evidence.map(|e| notification::of_evidence(e).into()).unwrap_or_default(),
        template_version: row.template.map(|(t, v)| format!("templates/{t}/versions/{v}")).unwrap_or_default(),
        provider_time: row.provider_time.map(common::timestamp),
        create_time: Some(common::timestamp(row.received_at)),
    }
}

/// What a list of messages asks for.
pub fn wanted(request: &v1::ListMessagesRequest, faults: &mut Faults) -> messages::Wanted {
    let outbound = |direction: Direction| match direction {
        Direction::Unspecified => None,
        Direction::Inbound => Some(false),
        Direction::Outbound => Some(true),
    };
    messages::Wanted {
        conversation: sending::optional_uuid_name("conversation", "conversations", &request.conversation, faults),
        contact: notification::optional_contact("contact", &request.contact, faults),
        notification: sending::optional_uuid_name("notification", "notifications", &request.notification, faults),
        channel: faults.optional_name("channel", "channels", &request.channel),
        outbound: faults.optional_code("direction", request.direction, outbound),
        before: None,
    }
}

/// What is asked to be said.
pub fn draft(request: v1::SendMessageRequest, faults: &mut Faults) -> Option<Draft> {
    use v1::send_message_request::To as Named;
    let to = match request.to {
        Some(Named::Conversation(name)) => {
            Some(To::Conversation(sending::uuid_name("conversation", "conversations", &name, faults)))
        }
        Some(Named::Contact(name)) => Some(To::Contact(super::contact::name("contact", &name, faults))),
        None => {
            faults.note("to", "is missing: a conversation or a contact must be set");
            None
        }
    };
    let channel = faults.optional_name("channel", "channels", &request.channel);
    let in_reply_to = sending::optional_uuid_name("in_reply_to", "messages", &request.in_reply_to, faults);
    let content = content::said("content", request.content, faults);
    Some(Draft { to: to?, channel, content: content?, in_reply_to })
}
