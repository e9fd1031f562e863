//! Messages as they are shown, and what is asked to be said.

use domain::message::{Party, PartyKind};
use proto::v1::{self, message::Direction};

use super::{Faults, common, content, notification, sending};
use crate::services::{
    conversations::saying::{Draft, To},
    messages::{self, Message},
};

/// A message of the contract.
#[must_use]
pub fn message(message: Message) -> v1::Message {
    let Message { row, document, content: said } = message;
    let (schema, references) = (document.schema, document.references);
    let template = references.template.map(|t| (t.name, t.version)).or(row.template);
    v1::Message {
        name: format!("messages/{}", document.id),
        direction: of_direction(document.direction).into(),
        contact: format!("contacts/{}", row.contact_id),
        conversation: format!("conversations/{}", document.conversation),
        channel: document.channel.as_ref().map(|c| format!("channels/{}", c.name)).unwrap_or_default(),
        channel_type: document
            .channel
            .as_ref()
            .map(|c| common::of_channel_type(c.channel_type).into())
            .unwrap_or_default(),
        address: document.channel.as_ref().map(|c| common::of_address(c.address.clone())),
        service_identifier: document.channel.map(|c| c.service_identifier).unwrap_or_default(),
        content: Some(content::message(said)),
        plain_text: document.plain_text,
        schema_version: schema.major.into(),
        provider_message_id: references.provider_message.unwrap_or_default(),
        in_reply_to: references.in_reply_to.map(|id| format!("messages/{id}")).unwrap_or_default(),
        notification: references.notification.map(|id| format!("notifications/{id}")).unwrap_or_default(),
        delivery: references.delivery.map(|id| format!("deliveries/{id}")).unwrap_or_default(),
        evidence: row.evidence.map(|e| notification::of_evidence(e).into()).unwrap_or_default(),
        template_version: template.map(|(t, v)| format!("templates/{t}/versions/{v}")).unwrap_or_default(),
        provider_time: document.times.provider.map(common::timestamp),
        create_time: Some(common::timestamp(document.times.received)),
        sender: Some(party(document.sender)),
        receiver: document.receiver.map(party),
        sequence: document.seq,
        language: document.language.unwrap_or_default(),
        redaction: document.redaction.map(|mark| v1::message::Redaction {
            by: mark.by,
            reason: mark.reason,
            time: Some(common::timestamp(mark.at)),
        }),
        media_copy: row.media.map(media_copy),
        store_time: Some(common::timestamp(document.times.stored)),
    }
}

const fn of_direction(direction: domain::message::Direction) -> Direction {
    match direction {
        domain::message::Direction::Inbound => Direction::Inbound,
        domain::message::Direction::Outbound => Direction::Outbound,
        domain::message::Direction::Internal => Direction::Internal,
    }
}

fn party(party: Party) -> v1::message::Party {
    let kind = match party.kind {
        PartyKind::Contact => v1::message::party::Kind::Contact,
        PartyKind::Business => v1::message::party::Kind::Business,
        PartyKind::Operator => v1::message::party::Kind::Operator,
        PartyKind::Bot => v1::message::party::Kind::Bot,
        PartyKind::Application => v1::message::party::Kind::Application,
        PartyKind::System => v1::message::party::Kind::System,
    };
    v1::message::Party { kind: kind.into(), display: party.display }
}

fn media_copy((state, size): (String, Option<i64>)) -> v1::message::MediaCopy {
    use v1::message::media_copy::State;
    let state = match state.as_str() {
        "waiting" => State::Waiting,
        "stored" => State::Stored,
        "refused" => State::Refused,
        "lost" => State::Lost,
        "redacted" => State::Redacted,
        _ => State::Unspecified,
    };
    v1::message::MediaCopy { state: state.into(), size_bytes: size.unwrap_or_default() }
}

/// What a list of messages asks for.
pub fn wanted(request: &v1::ListMessagesRequest, faults: &mut Faults) -> messages::Wanted {
    let mut wanted = messages::Wanted {
        conversation: sending::optional_uuid_name("conversation", "conversations", &request.conversation, faults),
        contact: notification::optional_contact("contact", &request.contact, faults),
        notification: sending::optional_uuid_name("notification", "notifications", &request.notification, faults),
        channel: faults.optional_name("channel", "channels", &request.channel),
        ..messages::Wanted::default()
    };
    directed(request.direction, &mut wanted, faults);
    wanted
}

/// Which way messages went.
pub(super) fn directed(direction: i32, wanted: &mut messages::Wanted, faults: &mut Faults) {
    let read = |direction: Direction| match direction {
        Direction::Unspecified => None,
        Direction::Inbound => Some((Some(false), None)),
        Direction::Outbound => Some((Some(true), None)),
        Direction::Internal => Some((None, Some(true))),
    };
    (wanted.outbound, wanted.internal) = faults.optional_code("direction", direction, read).unwrap_or_default();
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
