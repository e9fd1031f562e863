//! Web chat: sessions, what visitors say, and what they are shown.

use chrono::TimeDelta;
use domain::{
    channel::{Address, AddressKind},
    delivery::Evidence,
    message::Content,
};
use proto::v1::{self, stream_web_chat_messages_response::Item as Shown};
use uuid::Uuid;

use super::{Faults, common, connector, contact, content, notification, sending};
use crate::services::web_chat::{
    self, New, Session, TYPING, Words,
    stream::{Item, cursor, position},
};

/// A session of the contract.
#[must_use]
pub fn session(session: Session) -> v1::WebChatSession {
    let Session { row, channel } = session;
    let address = Address { kind: AddressKind::External, value: row.address };
    v1::WebChatSession {
        name: web_chat::name_of(row.id),
        channel: format!("channels/{channel}"),
        address: Some(common::of_address(address)),
        contact: format!("contacts/{}", row.contact_id),
        display_name: row.display_name,
        locale: row.locale,
        channel_data: serde_json::from_value(row.data).unwrap_or_default(),
        start_time: Some(common::timestamp(row.started_at)),
        end_time: row.ended_at.map(common::timestamp),
        end_reason: row.end_reason.unwrap_or_default(),
    }
}

/// A session to begin.
pub fn start(request: v1::StartWebChatSessionRequest, faults: &mut Faults) -> New {
    let data = connector::channel_data("channel_data", request.channel_data, faults);
    New {
        channel: faults.name("channel", "channels", &request.channel),
        visitor_id: faults.required_text("visitor_id", request.visitor_id, 200),
        contact: match request.contact.as_str() {
            "" => None,
            name => Some(contact::name("contact", name, faults)),
        },
        display_name: faults.text("display_name", request.display_name, 200),
        locale: faults.locale("locale", &request.locale),
        data: data.into_iter().map(|(name, value)| (name, value.into())).collect::<serde_json::Map<_, _>>().into(),
    }
}

/// The key in the name of a session.
pub fn id(value: &str, faults: &mut Faults) -> Uuid {
    sending::uuid_name("session", "webChatSessions", value, faults)
}

/// What a visitor says.
pub fn say(request: v1::SendWebChatMessageRequest, faults: &mut Faults) -> Words {
    Words {
        session: id(&request.session, faults),
        client_message_id: faults.required_text("client_message_id", request.client_message_id, 100),
        content: connector::said("content", request.content, faults).unwrap_or(Content::Text { text: String::new() }),
        in_reply_to: sending::optional_uuid_name("in_reply_to", "deliveries", &request.in_reply_to, faults),
    }
}

/// Which session is shown, and from where on.
pub fn stream(request: v1::StreamWebChatMessagesRequest, faults: &mut Faults) -> (Uuid, Option<i64>) {
    let session = id(&request.session, faults);
    if request.start_cursor.is_empty() {
        return (session, None);
    }
    match position("start_cursor", &request.start_cursor) {
        Ok(position) => (session, Some(position)),
        Err(violation) => {
            faults.add(violation);
            (session, None)
        }
    }
}

/// One message of a stream.
#[must_use]
pub fn item(item: Item) -> v1::StreamWebChatMessagesResponse {
    let shown = match item {
        Item::Line(line) => {
            let said: Content =
                serde_json::from_value(line.content).unwrap_or_else(|e| Content::Unsupported { text: e.to_string() });
            Shown::Message(v1::WebChatMessage {
                delivery: connector::delivery_name(line.delivery_id),
                plain_text: said.plain_text(),
                content: Some(content::message(said)),
                evidence: notification::of_evidence(line.evidence).into(),
                send_time: Some(common::timestamp(line.stored_at)),
                cursor: cursor(line.seq),
            })
        }
        Item::Typing(duration) => Shown::Typing(v1::WebChatTyping { duration: Some(common::span(duration)) }),
        Item::Checkpoint(position) => Shown::Checkpoint(v1::WebChatCheckpoint { cursor: cursor(position) }),
    };
    v1::StreamWebChatMessagesResponse { item: Some(shown) }
}

/// What is acknowledged: the session, the deliveries, and what is known of them.
pub fn acknowledge(request: v1::AcknowledgeWebChatMessagesRequest, faults: &mut Faults) -> (Uuid, Vec<Uuid>, Evidence) {
    let deliveries = connector::all("deliveries", request.deliveries, 1..=1000, faults, |name: String, faults| {
        Some(sending::uuid_name("", "deliveries", &name, faults))
    });
    let evidence = faults.code("evidence", request.evidence, |e: v1::Evidence| match e {
        v1::Evidence::Delivered => Some(Evidence::Delivered),
        v1::Evidence::Read => Some(Evidence::Read),
        _ => None,
    });
    (id(&request.session, faults), deliveries, evidence.unwrap_or(Evidence::Delivered))
}

/// Who types, and for how long.
pub fn typing(request: &v1::SetWebChatTypingRequest, faults: &mut Faults) -> (Uuid, TimeDelta) {
    let duration = faults.duration("duration", request.duration, TimeDelta::zero()..=TimeDelta::seconds(30));
    (id(&request.session, faults), duration.unwrap_or(TYPING))
}

/// Which session ends, and why.
pub fn end(request: v1::EndWebChatSessionRequest, faults: &mut Faults) -> (Uuid, String) {
    let reason = faults.text("reason", request.reason, 100);
    (id(&request.session, faults), if reason.is_empty() { "contact".to_owned() } else { reason })
}
