//! Messages and conversations as they are shown.

use chrono::{DateTime, Utc};
use domain::delivery::Evidence;
use proto::v1::{self, activity::Kind, conversation::State, message::Direction};
use uuid::Uuid;

use super::{Faults, common, content, notification, sending};
use crate::services::{
    conversations::{self, Activity, Conversation},
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
        conversation: format!("conversations/{}", row.conversation_id),
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

/// A conversation of the contract.
#[must_use]
pub fn conversation(conversation: Conversation) -> v1::Conversation {
    let state = state_of_phase(&conversation.phase);
    let changed = common::timestamp(conversation.changed_at);
    v1::Conversation {
        name: format!("conversations/{}", conversation.id),
        state: state.into(),
        contact: format!("contacts/{}", conversation.contact_id),
        active_channel: format!("channels/{}", conversation.active_channel),
        previous_conversation: named(conversation.previous_conversation),
        message_count: conversation.messages,
        last_activity_number: conversation.activities,
        create_time: Some(common::timestamp(conversation.created_at)),
        update_time: Some(changed),
        close_time: (state == State::Closed).then_some(changed),
    }
}

/// What a list of conversations asks for, behind the place where the page before ended.
pub fn wanted_conversations(
    request: &v1::ListConversationsRequest,
    before: Option<(DateTime<Utc>, Uuid)>,
    faults: &mut Faults,
) -> conversations::Wanted {
    let mut phases = Vec::new();
    for (index, state) in request.states.iter().enumerate() {
        phases.extend(faults.code(&format!("states[{index}]"), *state, phase_of_state).flatten().map(str::to_owned));
    }
    let any = request.states.is_empty() || request.states.contains(&0);
    conversations::Wanted {
        contact: notification::optional_contact("contact", &request.contact, faults),
        phases: if any { None } else { Some(phases) },
        before,
    }
}

/// An activity of the contract.
#[must_use]
pub fn activity(activity: Activity) -> v1::Activity {
    let row = activity.row;
    let word = row.word.to_uppercase();
    let (kind, evidence, description) = match row.kind.as_str() {
        "message" if row.word == "sent" => (Kind::Message, None, "a message was sent".to_owned()),
        "message" => (Kind::Message, None, "a message came in".to_owned()),
        "delivery" => (Kind::Delivery, row.word.parse::<Evidence>().ok(), format!("a message is known to be {word}")),
        "notification" if row.word == "created" => (Kind::Notification, None, "a notification began".to_owned()),
        "notification" => (Kind::Notification, None, format!("a notification ended as {word}")),
        "consent" => (Kind::Consent, None, format!("the contact's consent changed: {}", row.word)),
        _ => (Kind::Unspecified, None, String::new()),
    };
    v1::Activity {
        number: row.number,
        time: Some(common::timestamp(row.at)),
        kind: kind.into(),
        description,
        subject: row.subject,
        message: activity.message.map(message),
        evidence: evidence.map(|e| notification::of_evidence(e).into()).unwrap_or_default(),
        channel: notification::named("channels", row.channel.as_ref()),
    }
}

fn named(conversation: Option<Uuid>) -> String {
    conversation.map(|id| format!("conversations/{id}")).unwrap_or_default()
}

/// As long as there are no agents, an open conversation is one in which none ever was.
fn state_of_phase(phase: &str) -> State {
    match phase {
        "open" => State::Created,
        "closing" => State::Closing,
        "closed" => State::Closed,
        _ => State::Unspecified,
    }
}

/// The phase of a state; none for states that no conversation without agents can be in.
#[expect(clippy::option_option, reason = "whether the state is known, and whether any conversation can be in it")]
const fn phase_of_state(state: State) -> Option<Option<&'static str>> {
    match state {
        State::Unspecified => Some(None),
        State::Created => Some(Some("open")),
        State::Closing => Some(Some("closing")),
        State::Closed => Some(Some("closed")),
        State::Active | State::Inactive | State::WrapUp | State::CustomerLeft => Some(None),
    }
}
