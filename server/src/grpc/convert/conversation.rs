//! Conversations, their sessions and participants: as they are shown, and what is asked of them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    conversation::{EndReason, Kind, Role, session},
    delivery::Evidence,
};
use proto::v1::{self, activity::Kind as Of, channel_session, conversation::State, message::Direction, participant};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Faults, common, event, message, notification, sending};
use crate::{
    grpc::mask::Mask,
    services::{
        conversations::{
            self, Activity, Conversation, held,
            participants::{Joining, Participant},
            sessions,
            verbs::{Change, New},
            watching::{Happened, Update},
        },
        directory::Snapshot,
        etag, events,
    },
    storage::sessions::SessionRow,
};

const MAX_LABELS: usize = 50;
const MAX_LABEL: usize = 63;
const MAX_ATTRIBUTES: usize = 100;
const MAX_VALUE: usize = 1000;

/// A conversation of the contract.
#[must_use]
pub fn conversation(it: Conversation) -> v1::Conversation {
    v1::Conversation {
        name: held::name_of(it.id),
        state: State::from_str_name(&it.state).unwrap_or_default().into(),
        contact: format!("contacts/{}", it.contact_id),
        active_channel: format!("channels/{}", it.active_channel),
        previous_conversation: it.previous_conversation.map(held::name_of).unwrap_or_default(),
        message_count: it.messages,
        last_activity_number: it.activities,
        create_time: Some(common::timestamp(it.created_at)),
        update_time: Some(common::timestamp(it.changed_at)),
        close_time: it.closed_at.map(common::timestamp),
        on_hold: it.hold,
        priority: it.priority.into(),
        labels: it.labels,
        attributes: texts(&it.attributes),
        open_session_count: it.sessions,
        agent_count: it.agents,
        last_message_time: it.last_message_at.map(common::timestamp),
        close_reason: it.close_reason.unwrap_or_default(),
        merged_into: it.merged_into.map(held::name_of).unwrap_or_default(),
        etag: etag::of(it.version),
        archive_time: it.archived_at.map(common::timestamp),
    }
}

fn texts(object: &Value) -> BTreeMap<String, String> {
    let entries = object.as_object().into_iter().flatten();
    entries.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}

/// Conditions of a list, a count or a watch.
#[derive(Debug, Clone, Default)]
pub struct Asked<'a> {
    /// The contact.
    pub contact: &'a str,
    /// The states.
    pub states: &'a [i32],
    /// The labels.
    pub labels: &'a [String],
    /// The channel.
    pub active_channel: &'a str,
}

/// What a list of conversations asks for, behind the place where the page before ended.
pub fn wanted(asked: &Asked<'_>, before: Option<(DateTime<Utc>, Uuid)>, faults: &mut Faults) -> conversations::Wanted {
    let mut states = Vec::new();
    let known = |state: State| Some(state.as_str_name().to_owned());
    for (index, state) in asked.states.iter().enumerate() {
        states.extend(faults.optional_code(&format!("states[{index}]"), *state, known));
    }
    let any = asked.states.is_empty() || asked.states.contains(&0);
    conversations::Wanted {
        contact: notification::optional_contact("contact", asked.contact, faults),
        states: if any { None } else { Some(states) },
        labels: labels(asked.labels.to_vec(), faults),
        active_channel: faults.optional_name("active_channel", "channels", asked.active_channel),
        before,
    }
}

/// A conversation that is to begin.
pub fn create(request: v1::CreateConversationRequest, faults: &mut Faults) -> New {
    let contact = super::contact::name("contact", &request.contact, faults);
    let channel = faults.optional_name("channel", "channels", &request.channel);
    let given = request.conversation.unwrap_or_default();
    let mask = Mask::all(&writable(&given));
    New { contact, channel, change: faults.inside("conversation", |faults| change(given, &mask, faults)) }
}

/// Which conversation changes, how, and what the caller has seen of it.
pub fn update(request: v1::UpdateConversationRequest, faults: &mut Faults) -> (Uuid, Change, String) {
    let given = faults.required("conversation", request.conversation);
    let mask = Mask::read(request.update_mask.as_ref(), &writable(&given), &["attributes"], faults);
    let id = sending::uuid_name("conversation.name", "conversations", &given.name, faults);
    let etag = given.etag.clone();
    (id, faults.inside("conversation", |faults| change(given, &mask, faults)), etag)
}

fn writable(given: &v1::Conversation) -> [(&'static str, bool); 3] {
    [
        ("priority", given.priority != 0),
        ("labels", !given.labels.is_empty()),
        ("attributes", !given.attributes.is_empty()),
    ]
}

fn change(given: v1::Conversation, mask: &Mask, faults: &mut Faults) -> Change {
    if !(0..=9).contains(&given.priority) {
        faults.note("priority", format!("is {}, must be from 0 to 9", given.priority));
    }
    let labels = labels(given.labels, faults);
    if given.attributes.len() > MAX_ATTRIBUTES {
        faults.note(
            "attributes",
            format!("has {} entries, at most {MAX_ATTRIBUTES} are allowed", given.attributes.len()),
        );
    }
    let mut attributes = Map::new();
    for (name, value) in given.attributes {
        if name.is_empty() || name.chars().count() > MAX_LABEL {
            faults.note("attributes", format!("{name:?} must have 1 to {MAX_LABEL} characters"));
        }
        let value = faults.text(&format!("attributes.{name}"), value, MAX_VALUE);
        attributes.insert(name, value.into());
    }
    let single = |name: &str| (name.to_owned(), attributes.get(name).cloned().unwrap_or(Value::Null));
    let attribute: Map<String, Value> = mask.inside("attributes").map(single).collect();
    Change {
        priority: mask.take("priority", i16::try_from(given.priority).unwrap_or_default()),
        labels: mask.take("labels", labels),
        attributes: mask.take("attributes", Value::Object(attributes)),
        attribute: Value::Object(attribute),
    }
}

fn labels(given: Vec<String>, faults: &mut Faults) -> Vec<String> {
    if given.len() > MAX_LABELS {
        faults.note("labels", format!("has {} entries, at most {MAX_LABELS} are allowed", given.len()));
    }
    let mut read = BTreeSet::new();
    for (index, label) in given.into_iter().enumerate() {
        read.insert(faults.required_text(&format!("labels[{index}]"), label, MAX_LABEL));
    }
    read.into_iter().collect()
}

/// An activity of the contract.
#[must_use]
pub fn activity(activity: Activity) -> v1::Activity {
    let row = activity.row;
    let is_note = activity.message.as_ref().is_some_and(|message| message.row.internal);
    let word = row.word.to_uppercase();
    let (kind, evidence, description) = match row.kind.as_str() {
        "message" if is_note => (Of::Message, None, "a note was written".to_owned()),
        "message" if row.word == "sent" => (Of::Message, None, "a message was sent".to_owned()),
        "message" => (Of::Message, None, "a message came in".to_owned()),
        "delivery" => (Of::Delivery, row.word.parse::<Evidence>().ok(), format!("a message is known to be {word}")),
        "notification" if row.word == "created" => (Of::Notification, None, "a notification began".to_owned()),
        "notification" => (Of::Notification, None, format!("a notification ended as {word}")),
        "consent" => (Of::Consent, None, format!("the contact's consent changed: {}", row.word)),
        "channel_session" => (Of::ChannelSession, None, format!("a channel session {}", sentence(&row.word))),
        "participant" => (Of::Participant, None, format!("{} {}", row.subject, sentence(&row.word))),
        "state_changed" => (Of::StateChanged, None, format!("the conversation is {word}")),
        _ => (Of::Unspecified, None, String::new()),
    };
    v1::Activity {
        number: row.number,
        time: Some(common::timestamp(row.at)),
        kind: kind.into(),
        description,
        subject: row.subject,
        message: activity.message.map(message::message),
        evidence: evidence.map(|e| notification::of_evidence(e).into()).unwrap_or_default(),
        channel: notification::named("channels", row.channel.as_ref()),
        cause: row.cause,
        actor: row.actor,
    }
}

fn sentence(word: &str) -> &str {
    match word {
        "started" => "began",
        "expiring" => "is about to expire",
        "role_changed" => "changed its role",
        other => other,
    }
}

/// A channel session of the contract.
#[must_use]
pub fn session(row: SessionRow, snapshot: &Snapshot) -> v1::ChannelSession {
    let state = match row.state {
        session::State::Active => channel_session::State::Active,
        session::State::Expiring => channel_session::State::Expiring,
        session::State::Ended => channel_session::State::Ended,
    };
    let reason = row.end_reason.as_deref().and_then(channel_session::EndReason::from_str_name);
    let direction = if row.direction == "inbound" { Direction::Inbound } else { Direction::Outbound };
    v1::ChannelSession {
        name: sessions::name_of(row.id),
        state: state.into(),
        conversation: held::name_of(row.conversation_id),
        channel: snapshot.channel(row.channel_id).map(|c| format!("channels/{}", c.row.slug)).unwrap_or_default(),
        direction: direction.into(),
        data: texts(&row.data),
        end_reason: reason.unwrap_or_default().into(),
        silent_since_time: row.silent_since.map(common::timestamp),
        last_message_time: Some(common::timestamp(row.last_at)),
        create_time: Some(common::timestamp(row.started_at)),
        end_time: row.ended_at.map(common::timestamp),
    }
}

/// Which session ends, and why.
pub fn end_session(request: v1::EndChannelSessionRequest, faults: &mut Faults) -> (Uuid, EndReason) {
    use channel_session::EndReason as Given;
    let id = sending::uuid_name("name", "channelSessions", &request.name, faults);
    let by_hand = |reason: Given| match reason {
        Given::CustomerLeft => Some(EndReason::CustomerLeft),
        Given::AgentClosed => Some(EndReason::AgentClosed),
        Given::ControllerClosed => Some(EndReason::ControllerClosed),
        Given::ConnectorError => Some(EndReason::ConnectorError),
        Given::Unspecified
        | Given::CustomerInactivity
        | Given::ConversationClosed
        | Given::ChannelDisabled
        | Given::OptedOut => None,
    };
    let known = Given::try_from(request.reason).ok();
    if known.is_none_or(|reason| reason != Given::Unspecified && by_hand(reason).is_none()) {
        faults.note("reason", "must be CUSTOMER_LEFT, AGENT_CLOSED, CONTROLLER_CLOSED or CONNECTOR_ERROR");
    }
    (id, known.and_then(by_hand).unwrap_or(EndReason::AgentClosed))
}

/// A participant of the contract.
#[must_use]
pub fn participant(row: Participant) -> v1::Participant {
    let kind = match row.kind {
        Kind::Session => participant::Kind::Session,
        Kind::Operator => participant::Kind::Operator,
        Kind::Bot => participant::Kind::Bot,
        Kind::Controller => participant::Kind::Controller,
        Kind::Application => participant::Kind::Application,
    };
    let name = match row.kind {
        Kind::Session => row.subject.clone(),
        Kind::Operator | Kind::Bot | Kind::Controller | Kind::Application => format!("participants/{}", row.id),
    };
    v1::Participant {
        name,
        conversation: held::name_of(row.conversation_id),
        kind: kind.into(),
        subject: row.subject,
        display_name: row.display_name,
        role: participant::Role::from_str_name(row.role.as_str()).unwrap_or_default().into(),
        join_time: Some(common::timestamp(row.joined_at)),
        leave_time: row.left_at.map(common::timestamp),
        leave_reason: row.left_reason.unwrap_or_default(),
    }
}

/// Who is to join which conversation.
pub fn join(request: v1::AddParticipantRequest, faults: &mut Faults) -> (Uuid, Option<Joining>) {
    let id = sending::uuid_name("parent", "conversations", &request.parent, faults);
    let given = faults.required("participant", request.participant);
    let who = faults.inside("participant", |faults| {
        let can_join = |kind: participant::Kind| match kind {
            participant::Kind::Unspecified | participant::Kind::Session => None,
            participant::Kind::Operator => Some(Kind::Operator),
            participant::Kind::Bot => Some(Kind::Bot),
            participant::Kind::Controller => Some(Kind::Controller),
            participant::Kind::Application => Some(Kind::Application),
        };
        let kind = faults.code("kind", given.kind, can_join)?;
        let subject = faults.required_text("subject", given.subject, 200);
        if !subject.split_once('/').is_some_and(|(of, id)| !of.is_empty() && !id.is_empty()) {
            faults.note("subject", "must be a resource name, such as operators/asha");
        }
        let display_name = faults.text("display_name", given.display_name, 200);
        let role = faults.optional_code("role", given.role, role).unwrap_or(Role::default_of(kind));
        if !role.fits(kind) {
            faults.note("role", format!("{role} is no role of a participant of this kind"));
        }
        Some(Joining { kind, subject, display_name, role })
    });
    (id, who)
}

/// A role that is said.
pub fn role(given: participant::Role) -> Option<Role> {
    given.as_str_name().parse().ok()
}

/// For how long a token holds.
pub fn valid_for(given: Option<prost_types::Duration>, faults: &mut Faults) -> TimeDelta {
    let range = TimeDelta::minutes(1)..=conversations::who::LONGEST;
    faults.duration("valid_for", given, range).unwrap_or(TimeDelta::days(7))
}

/// Something that happened in a conversation.
fn happened(it: Happened) -> v1::ConversationEvent {
    v1::ConversationEvent {
        event: Some(event::event(&it.fact)),
        message: it.message.map(message::message),
        conversation: Some(conversation(it.conversation)),
    }
}

/// One message of a stream that follows one conversation.
#[must_use]
pub fn update_of_one(update: Update, now: DateTime<Utc>) -> v1::WatchConversationResponse {
    use v1::watch_conversation_response::Update as Of;
    let update = match update {
        Update::Snapshot(it) => Of::Conversation(conversation(*it)),
        Update::Complete(position) => Of::SnapshotComplete(complete(position)),
        Update::Event(it) => Of::Event(happened(*it)),
        Update::Checkpoint(position) => Of::Checkpoint(event::checkpoint(position, now)),
    };
    v1::WatchConversationResponse { update: Some(update) }
}

/// One message of a stream that follows many.
#[must_use]
pub fn update_of_many(update: Update, now: DateTime<Utc>) -> v1::WatchConversationsResponse {
    use v1::watch_conversations_response::Update as Of;
    let update = match update {
        Update::Snapshot(it) => Of::Conversation(conversation(*it)),
        Update::Complete(position) => Of::SnapshotComplete(complete(position)),
        Update::Event(it) => Of::Event(happened(*it)),
        Update::Checkpoint(position) => Of::Checkpoint(event::checkpoint(position, now)),
    };
    v1::WatchConversationsResponse { update: Some(update) }
}

fn complete(position: i64) -> v1::SnapshotComplete {
    v1::SnapshotComplete { cursor: events::cursor(position) }
}
