//! Notifications as they are shown, with all that became of them.

use std::collections::BTreeMap;

use domain::{
    channel::Lane,
    delivery::{Evidence, FailureClass, Work},
    notification::{Reason, State},
};
use proto::v1::{
    self, delivery::State as DeliveryState, notification::State as NotificationState, timeline_entry::Kind as EntryKind,
};

use super::{Faults, common, contact, content, policy, sending};
use crate::services::{
    contacts::ContactName,
    history::{AttemptRow, Delivery, Full, Happened, Kind, Notification, ReceiptRow, ShownStep, Skipped, Wanted},
};

/// A notification in the view BASIC.
#[must_use]
pub fn basic(notification: &Notification) -> v1::Notification {
    let row = &notification.row;
    let begun = !matches!(row.state, State::Pending | State::Skipped);
    let step = |shown: &ShownStep| policy::step_message(shown.pinned());
    v1::Notification {
        name: format!("notifications/{}", row.id),
        state: of_state(row.state).into(),
        skip_reason: if row.state == State::Skipped { skip_reason(row.reason.as_deref()).into() } else { 0 },
        contact: format!("contacts/{}", row.contact_id),
        campaign: named("campaigns", row.campaign.as_ref()),
        trigger: named("triggers", row.trigger.as_ref()),
        firing: match (&row.trigger, row.firing) {
            (Some(trigger), Some(firing)) => format!("triggers/{trigger}/firings/{firing}"),
            _ => String::new(),
        },
        policy_version: row.policy.as_ref().map(|(p, v)| format!("policies/{p}/versions/{v}")).unwrap_or_default(),
        steps: notification.steps.iter().map(step).collect(),
        step: if begun { i32::from(row.step) } else { -1 },
        purpose: row.purpose.clone(),
        lane: of_lane(row.lane).into(),
        variables: row.variables.as_object().map(common::of_object),
        attachment_count: i32::try_from(row.attachments).unwrap_or(i32::MAX),
        labels: row.labels.as_ref().map(of_labels).unwrap_or_default(),
        deliver_after: row.deliver_after.map(common::timestamp),
        valid_until: row.valid_until.map(common::timestamp),
        next_due_time: row.next_due_at.map(common::timestamp),
        reply: row.answered_by.map(|id| format!("messages/{id}")).unwrap_or_default(),
        reached_channel: named("channels", row.reached_channel.as_ref()),
        late: row.late,
        create_time: Some(common::timestamp(row.created_at)),
        update_time: Some(common::timestamp(row.changed_at)),
        end_time: row.state.is_finished().then(|| common::timestamp(row.changed_at)),
        etag: notification.etag(),
        ..v1::Notification::default()
    }
}

/// A notification in the view FULL.
#[must_use]
pub fn full(full: Full) -> v1::Notification {
    v1::Notification {
        deliveries: full.deliveries.into_iter().map(delivery).collect(),
        skipped_steps: full.skipped.into_iter().map(skipped).collect(),
        timeline: full.timeline.into_iter().map(entry).collect(),
        ..basic(&full.notification)
    }
}

/// Whether all is shown; `unsaid` is what a view that is not said means.
pub fn is_full(view: i32, unsaid: bool, faults: &mut Faults) -> bool {
    let read = |view: v1::NotificationView| match view {
        v1::NotificationView::Unspecified => None,
        v1::NotificationView::Basic => Some(false),
        v1::NotificationView::Full => Some(true),
    };
    faults.optional_code("view", view, read).unwrap_or(unsaid)
}

/// What a list asks for.
pub fn wanted(request: &v1::ListNotificationsRequest, faults: &mut Faults) -> Wanted {
    let mut states = Vec::new();
    for (index, state) in request.states.iter().enumerate() {
        states.extend(faults.optional_code(&format!("states[{index}]"), *state, state_of));
    }
    // A state that is not said means any.
    if request.states.contains(&0) {
        states.clear();
    }
    let (from, until) = (request.create_time_from, request.create_time_until);
    Wanted {
        campaign: faults.optional_name("campaign", "campaigns", &request.campaign),
        trigger: faults.optional_name("trigger", "triggers", &request.trigger),
        contact: optional_contact("contact", &request.contact, faults),
        states,
        from: faults.time("create_time_from", from),
        until: faults.time("create_time_until", until),
        before: None,
    }
}

/// A contact by its number, in a filter.
pub fn optional_contact(field: &str, value: &str, faults: &mut Faults) -> Option<i64> {
    if value.is_empty() {
        return None;
    }
    match contact::name(field, value, faults) {
        ContactName::Id(id) => Some(id),
        ContactName::External(_) => {
            faults.note(field, "must be written contacts/{number} here");
            None
        }
    }
}

/// One notification and how much of it.
pub fn get(name: &str, view: i32, faults: &mut Faults) -> (uuid::Uuid, bool) {
    (sending::uuid_name("name", "notifications", name, faults), is_full(view, true, faults))
}

/// What is known of a delivery.
#[must_use]
pub const fn of_evidence(evidence: Evidence) -> v1::Evidence {
    match evidence {
        Evidence::None => v1::Evidence::None,
        Evidence::Unknown => v1::Evidence::Unknown,
        Evidence::Sent => v1::Evidence::Sent,
        Evidence::Failed => v1::Evidence::Failed,
        Evidence::Delivered => v1::Evidence::Delivered,
        Evidence::Read => v1::Evidence::Read,
    }
}

/// A resource name, or nothing.
pub fn named(collection: &str, slug: Option<&String>) -> String {
    slug.map(|slug| format!("{collection}/{slug}")).unwrap_or_default()
}

fn delivery(delivery: Delivery) -> v1::Delivery {
    let row = delivery.row;
    let (channel, channel_type) = match row.channel {
        Some((_, slug, channel_type)) => (format!("channels/{slug}"), common::of_channel_type(channel_type)),
        None => (String::new(), v1::ChannelType::Unspecified),
    };
    let ended = delivery.attempts.iter().map(|a| a.ended_at).chain(delivery.receipts.iter().map(|r| r.received_at));
    let updated = ended.chain(row.attempt_started_at).chain([row.created_at]).max();
    let mut attempts: Vec<v1::Attempt> = delivery.attempts.into_iter().map(attempt).collect();
    if row.work == Work::Sending {
        attempts.push(v1::Attempt {
            number: i32::from(row.attempts),
            provider: row.open_provider.unwrap_or_default(),
            start_time: row.attempt_started_at.map(common::timestamp),
            ..v1::Attempt::default()
        });
    }
    v1::Delivery {
        name: format!("deliveries/{}", row.id),
        step: i32::from(row.step),
        state: delivery_state(row.work, row.evidence).into(),
        work: of_work(row.work).into(),
        evidence: of_evidence(row.evidence).into(),
        skip_reason: if row.work == Work::Skipped { skip_reason(row.reason.as_deref()).into() } else { 0 },
        failure_class: failure_class(row.failure_class.as_deref()).into(),
        failure_code: row.failure_code.unwrap_or_default(),
        channel,
        channel_type: channel_type.into(),
        address: row.address.map(|(_, address)| common::of_address(address)),
        message: row.message.map(|(id, _)| format!("messages/{id}")).unwrap_or_default(),
        content: delivery.content.map(content::message),
        attempts,
        receipts: delivery.receipts.into_iter().map(receipt).collect(),
        create_time: Some(common::timestamp(row.created_at)),
        update_time: updated.map(common::timestamp),
        retry_time: row.retry_at.map(common::timestamp),
        valid_until: row.valid_until.map(common::timestamp),
    }
}

fn attempt(row: AttemptRow) -> v1::Attempt {
    let outcome = match row.outcome.as_str() {
        "accepted" => v1::Outcome::Accepted,
        "refused" => v1::Outcome::Refused,
        "not_sent" => v1::Outcome::NotSent,
        "unknown" => v1::Outcome::Unknown,
        _ => v1::Outcome::Unspecified,
    };
    v1::Attempt {
        number: i32::from(row.n),
        provider: row.provider,
        outcome: outcome.into(),
        failure_class: failure_class(row.failure_class.as_deref()).into(),
        code: row.code.unwrap_or_default(),
        description: row.detail.unwrap_or_default(),
        provider_message_id: row.provider_message_id.unwrap_or_default(),
        start_time: Some(common::timestamp(row.started_at)),
        end_time: Some(common::timestamp(row.ended_at)),
    }
}

/// A receipt of the contract.
#[must_use]
pub fn receipt(row: ReceiptRow) -> v1::Receipt {
    v1::Receipt {
        evidence: of_evidence(row.evidence).into(),
        code: row.failure_code.unwrap_or_default(),
        attempt: i32::from(row.n),
        late: row.late,
        provider_time: row.provider_time.map(common::timestamp),
        receive_time: Some(common::timestamp(row.received_at)),
        ..v1::Receipt::default()
    }
}

fn skipped(skipped: Skipped) -> v1::SkippedStep {
    v1::SkippedStep {
        step: i32::from(skipped.step),
        reason: skipped.reason.map(common::of_skip_reason).unwrap_or_default().into(),
        description: skipped.description,
        time: Some(common::timestamp(skipped.at)),
    }
}

fn entry(entry: Happened) -> v1::TimelineEntry {
    let kind = match entry.kind {
        Kind::Created => EntryKind::Created,
        Kind::StepSkipped => EntryKind::StepSkipped,
        Kind::StepDeferred => EntryKind::StepDeferred,
        Kind::StepStarted => EntryKind::StepStarted,
        Kind::Attempted => EntryKind::Attempted,
        Kind::Receipt => EntryKind::Receipt,
        Kind::StepFailed => EntryKind::StepFailed,
        Kind::StepTimedOut => EntryKind::StepTimedOut,
        Kind::StepSucceeded => EntryKind::StepSucceeded,
        Kind::Reply => EntryKind::Reply,
        Kind::Listed => EntryKind::Listed,
        Kind::Paused => EntryKind::Paused,
        Kind::Ended => EntryKind::Ended,
    };
    v1::TimelineEntry {
        time: Some(common::timestamp(entry.at)),
        kind: kind.into(),
        step: entry.step.map_or(-1, i32::from),
        delivery: entry.delivery.map(|id| format!("deliveries/{id}")).unwrap_or_default(),
        channel_type: entry.channel_type.map(|t| common::of_channel_type(t).into()).unwrap_or_default(),
        evidence: entry.evidence.map(|e| of_evidence(e).into()).unwrap_or_default(),
        skip_reason: match entry.kind {
            Kind::StepSkipped => entry.reason.map(common::of_skip_reason).unwrap_or_default().into(),
            _ => 0,
        },
        late: entry.late,
        description: entry.description,
    }
}

const fn of_state(state: State) -> NotificationState {
    match state {
        State::Pending => NotificationState::Pending,
        State::Waiting => NotificationState::Waiting,
        State::Skipped => NotificationState::Skipped,
        State::Cancelled => NotificationState::Cancelled,
        State::Expired => NotificationState::Expired,
        State::Exhausted => NotificationState::Exhausted,
        State::Reached => NotificationState::Reached,
        State::Replied => NotificationState::Replied,
        State::Acknowledged => NotificationState::Acknowledged,
    }
}

fn state_of(state: NotificationState) -> Option<State> {
    State::ALL.iter().copied().find(|s| of_state(*s) == state)
}

/// The evidence if there is any, else the work.
const fn delivery_state(work: Work, evidence: Evidence) -> DeliveryState {
    match (work, evidence) {
        (_, Evidence::Read) => DeliveryState::Read,
        (_, Evidence::Delivered) => DeliveryState::Delivered,
        (_, Evidence::Failed) => DeliveryState::Failed,
        (_, Evidence::Sent) => DeliveryState::Sent,
        (_, Evidence::Unknown) => DeliveryState::Unknown,
        (Work::Queued, Evidence::None) => DeliveryState::Queued,
        (Work::Sending, Evidence::None) => DeliveryState::Sending,
        (Work::Skipped, Evidence::None) => DeliveryState::Skipped,
        (Work::Cancelled, Evidence::None) => DeliveryState::Cancelled,
        (Work::Expired, Evidence::None) => DeliveryState::Expired,
        // Over without any evidence: our own failure, such as a content that could not be rendered.
        (Work::Done, Evidence::None) => DeliveryState::Failed,
    }
}

const fn of_work(work: Work) -> v1::Work {
    match work {
        Work::Queued => v1::Work::Queued,
        Work::Sending => v1::Work::Sending,
        Work::Done => v1::Work::Done,
        Work::Skipped => v1::Work::Skipped,
        Work::Cancelled => v1::Work::Cancelled,
        Work::Expired => v1::Work::Expired,
    }
}

const fn of_lane(lane: Lane) -> v1::Lane {
    match lane {
        Lane::Interactive => v1::Lane::Interactive,
        Lane::Bulk => v1::Lane::Bulk,
    }
}

fn skip_reason(reason: Option<&str>) -> v1::SkipReason {
    match reason {
        // Not a word of the rulebook: contacts are deleted by their owner.
        Some("CONTACT_DELETED") => v1::SkipReason::ContactDeleted,
        Some(reason) => reason.parse::<Reason>().map(common::of_skip_reason).unwrap_or_default(),
        None => v1::SkipReason::Unspecified,
    }
}

fn failure_class(class: Option<&str>) -> v1::FailureClass {
    let class = class.and_then(|class| class.parse::<FailureClass>().ok());
    class.map_or(v1::FailureClass::Unspecified, common::of_failure_class)
}

fn of_labels(labels: &serde_json::Value) -> BTreeMap<String, String> {
    let entries = labels.as_object().into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}
