//! Messages and conversations as they are shown.

use chrono::{DateTime, Utc};
use domain::{
    delivery::Evidence,
    message::{Party, PartyKind},
};
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
    let is_note = activity.message.as_ref().is_some_and(|message| message.row.internal);
    let word = row.word.to_uppercase();
    let (kind, evidence, description) = match row.kind.as_str() {
        "message" if is_note => (Kind::Message, None, "a note was written".to_owned()),
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
