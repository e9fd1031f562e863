//! Requests to send and to take back.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use domain::channel::Lane;
use proto::v1::{self, send_notification_request::Recipient as Named};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Faults, common, contact, plan};
use crate::services::{
    Violation,
    sending::{
        Attachment, Draft,
        recipients::{Known, Recipient},
    },
};

const MAX_VARIABLES_BYTES: usize = 64 * 1024;
const MAX_ATTACHMENTS: usize = 10;
const MAX_ATTACHED_BYTES: usize = 5 * 1024 * 1024;
const MAX_LABELS: usize = 20;
const MAX_ADDRESSES: usize = 20;
const MAX_ATTRIBUTES: usize = 100;
/// The furthest that a first step may be put off.
const FURTHEST: TimeDelta = TimeDelta::days(365);

/// One notification, with all that its request alone shows to be wrong: what it refers to is looked up later, so that both come
/// in one answer. `lane` is that of a request that names none.
pub fn draft(request: v1::SendNotificationRequest, lane: Lane, now: DateTime<Utc>, faults: &mut Faults) -> Draft {
    let recipient = recipient(request.recipient, faults);
    let given = faults.required("plan", request.plan);
    let way = faults.inside("plan", |faults| plan::way(given, faults));
    let variables = variables(request.variables, faults);
    let purpose = match request.purpose.is_empty() {
        true => String::new(),
        false => purpose(request.purpose, faults),
    };
    let lane = faults.optional_code("lane", request.lane, common::lane).unwrap_or(lane);
    let (deliver_after, valid_until) = times(request.deliver_after, request.valid_until, now, faults);
    let attachments = attachments(request.attachments, faults);
    let labels = labels(request.labels, faults);
    let violations = faults.take();
    Draft { recipient, way, variables, purpose, lane, deliver_after, valid_until, attachments, labels, violations }
}

/// The notifications of a batch; their violations have paths inside each.
pub fn drafts(
    request: v1::BatchSendNotificationsRequest,
    now: DateTime<Utc>,
    faults: &mut Faults,
) -> (Vec<Draft>, bool) {
    let lane = if request.requests.len() > 1 { Lane::Bulk } else { Lane::Interactive };
    if request.requests.is_empty() {
        faults.note("requests", "is empty, must have 1 to 1000 entries");
    }
    let mut drafts = Vec::with_capacity(request.requests.len());
    let around = faults.take();
    for one in request.requests {
        if !one.request_id.is_empty() {
            faults.note("request_id", "must be empty in a batch, which has one of its own");
        }
        drafts.push(draft(one, lane, now, faults));
    }
    around.into_iter().for_each(|violation| faults.add(violation));
    (drafts, request.allow_partial)
}

/// `notifications/{uuid}`, `messages/{uuid}` and the like.
pub fn uuid_name(field: &str, collection: &str, value: &str, faults: &mut Faults) -> Uuid {
    let id = value.strip_prefix(collection).and_then(|rest| Uuid::try_parse(rest.strip_prefix('/')?).ok());
    if id.is_none() {
        faults.note(field, format!("must be written {collection}/{{uuid}}"));
    }
    id.unwrap_or_default()
}

/// The same where it may be empty.
pub fn optional_uuid_name(field: &str, collection: &str, value: &str, faults: &mut Faults) -> Option<Uuid> {
    if value.is_empty() { None } else { Some(uuid_name(field, collection, value, faults)) }
}

/// The notification to take back, and what the caller has seen of it.
pub fn cancel(request: v1::CancelNotificationRequest, faults: &mut Faults) -> (Uuid, String) {
    (uuid_name("name", "notifications", &request.name, faults), request.etag)
}

fn recipient(named: Option<Named>, faults: &mut Faults) -> Option<Recipient> {
    match named {
        None => {
            faults.note("contact", "is missing, and so are an address and an upsert: exactly one of them must be set");
            None
        }
        Some(Named::Contact(name)) => Some(Recipient::Contact(contact::name("contact", &name, faults))),
        Some(Named::Address(address)) => faults.address("address", Some(address)).map(Recipient::Address),
        Some(Named::Upsert(known)) => {
            Some(Recipient::Upsert(faults.inside("upsert", |faults| self::known(known, faults))))
        }
    }
}

fn known(given: v1::RecipientContact, faults: &mut Faults) -> Known {
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    if given.addresses.is_empty() || given.addresses.len() > MAX_ADDRESSES {
        faults.note("addresses", format!("has {} entries, must have 1 to {MAX_ADDRESSES}", given.addresses.len()));
    }
    let addresses = given.addresses.into_iter().enumerate();
    let addresses = addresses.filter_map(|(i, a)| faults.address(&format!("addresses[{i}]"), Some(a))).collect();
    Known {
        external_id: some(faults.text("external_id", given.external_id, 200)),
        display_name: some(faults.text("display_name", given.display_name, 200)),
        locale: some(faults.locale("locale", &given.locale)),
        time_zone: some(faults.time_zone("time_zone", given.time_zone)),
        addresses,
        attributes: attributes(given.attributes, faults),
    }
}

fn attributes(given: BTreeMap<String, String>, faults: &mut Faults) -> BTreeMap<String, String> {
    if given.len() > MAX_ATTRIBUTES {
        faults.note("attributes", format!("has {} entries, at most {MAX_ATTRIBUTES} are allowed", given.len()));
    }
    faults.inside("attributes", |faults| {
        for (name, value) in &given {
            if !is_key(name) {
                faults.note(name, "must be named with a-z, 0-9 and _, a letter first, at most 63 characters");
            }
            faults.text(name, value.clone(), 1000);
        }
    });
    given
}

fn variables(given: Option<prost_types::Struct>, faults: &mut Faults) -> Map<String, Value> {
    let variables = common::object(given.unwrap_or_default());
    let bytes = serde_json::to_vec(&variables).map_or(usize::MAX, |text| text.len());
    if bytes > MAX_VARIABLES_BYTES {
        let text = format!("has {bytes} bytes as JSON, at most {MAX_VARIABLES_BYTES} are allowed");
        faults.add(too_large("variables", text, MAX_VARIABLES_BYTES));
    }
    variables
}

fn purpose(value: String, faults: &mut Faults) -> String {
    let tail = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    if value.len() > 32 || !value.starts_with(|c: char| c.is_ascii_lowercase()) || !value.bytes().all(tail) {
        faults.note("purpose", "must be 1 to 32 characters of a-z, 0-9, - and _, a letter first, such as service");
    }
    value
}

fn times(
    after: Option<prost_types::Timestamp>,
    until: Option<prost_types::Timestamp>,
    now: DateTime<Utc>,
    faults: &mut Faults,
) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
    let after = faults.time("deliver_after", after);
    let until = faults.time("valid_until", until);
    if after.is_some_and(|after| after > now + FURTHEST) {
        faults.note("deliver_after", "is more than a year ahead");
    }
    if until.is_some_and(|until| until <= now) {
        faults.note("valid_until", "has passed already");
    } else if after.zip(until).is_some_and(|(after, until)| until <= after) {
        faults.note("valid_until", "is not after deliver_after: nothing could be sent");
    }
    (after, until)
}

fn attachments(given: Vec<v1::Attachment>, faults: &mut Faults) -> Vec<Attachment> {
    if given.len() > MAX_ATTACHMENTS {
        faults.note("attachments", format!("has {} entries, at most {MAX_ATTACHMENTS} are allowed", given.len()));
    }
    let bytes: usize = given.iter().map(|file| file.data.len()).sum();
    if bytes > MAX_ATTACHED_BYTES {
        let text = format!("has {bytes} bytes in all, at most {MAX_ATTACHED_BYTES} are allowed");
        faults.add(too_large("attachments", text, MAX_ATTACHED_BYTES));
    }
    let read = given.into_iter().enumerate().map(|(index, file)| {
        faults.inside(format!("attachments[{index}]"), |faults| {
            let file_name = faults.required_text("file_name", file.file_name, 255);
            if file_name.contains(['/', '\\', '\r', '\n']) {
                faults.note("file_name", "must be a name without a path");
            }
            if !is_mime(&file.mime_type) {
                faults.note("mime_type", "must be a MIME type such as application/pdf");
            }
            if file.data.is_empty() {
                faults.note("data", "is missing");
            }
            Attachment { file_name, mime_type: file.mime_type, data: file.data }
        })
    });
    read.collect()
}

fn labels(given: BTreeMap<String, String>, faults: &mut Faults) -> BTreeMap<String, String> {
    if given.len() > MAX_LABELS {
        faults.note("labels", format!("has {} entries, at most {MAX_LABELS} are allowed", given.len()));
    }
    faults.inside("labels", |faults| {
        for (key, value) in &given {
            if !is_key(key) {
                faults.note(key, "must be named with a-z, 0-9 and _, a letter first, at most 63 characters");
            }
            faults.text(key, value.clone(), 200);
        }
    });
    given
}

fn too_large(field: &'static str, text: String, limit: usize) -> Violation {
    let violation = Violation::new(field, text).because("PAYLOAD_TOO_LARGE");
    violation.with("field", field).with("limit_bytes", limit.to_string())
}

fn is_key(name: &str) -> bool {
    let tail = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    name.len() <= 63 && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.bytes().all(tail)
}

fn is_mime(text: &str) -> bool {
    let token =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b));
    text.len() <= 127 && text.split_once('/').is_some_and(|(kind, subtype)| token(kind) && token(subtype))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(request: v1::SendNotificationRequest) -> Vec<String> {
        let draft = draft(request, Lane::Interactive, DateTime::UNIX_EPOCH, &mut Faults::default());
        draft.violations.into_iter().map(|v| v.field).collect()
    }

    #[test]
    fn everything_that_is_wrong_is_found_at_once() {
        let text = |text: &str| prost_types::Value { kind: Some(prost_types::value::Kind::StringValue(text.into())) };
        let big = prost_types::Struct { fields: [("a".to_owned(), text(&"x".repeat(1_000_000)))].into() };
        let file = v1::Attachment { file_name: "a/b".into(), mime_type: "pdf".into(), data: Vec::new() };
        let request = v1::SendNotificationRequest {
            variables: Some(big),
            purpose: "All of it".into(),
            lane: 9,
            valid_until: Some(prost_types::Timestamp { seconds: -5, nanos: 0 }),
            deliver_after: Some(prost_types::Timestamp { seconds: 40_000_000, nanos: 0 }),
            attachments: vec![file],
            labels: [("Not ok".to_owned(), "x".to_owned())].into(),
            ..v1::SendNotificationRequest::default()
        };
        let expected = [
            "contact",
            "plan",
            "plan.policy",
            "variables",
            "purpose",
            "lane",
            "deliver_after",
            "valid_until",
            "attachments[0].file_name",
            "attachments[0].mime_type",
            "attachments[0].data",
            "labels.Not ok",
        ];
        assert_eq!(fields(request), expected);
    }

    #[test]
    fn a_plan_has_one_way_and_one_template_for_a_step() {
        let of = |step, template: &str| v1::StepTemplate { step, template: template.into() };
        let plan = v1::Plan {
            way: Some(v1::plan::Way::Policy("policies/urgent/versions/0".into())),
            step_templates: vec![of(0, "templates/t-1"), of(0, "templates/t-2"), of(-1, "templates/t-1"), of(1, "")],
            ..v1::Plan::default()
        };
        let mut faults = Faults::default();
        plan::way(plan, &mut faults);
        let found: Vec<String> = faults.into_violations().into_iter().map(|v| v.field).collect();
        let expected = ["policy", "step_templates[1].step", "step_templates[2].step", "step_templates[3].template"];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_expires_before_it_may_begin_is_refused() {
        let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let step = v1::Step {
            target: Some(v1::step::Target::ChannelType(2)),
            template: "templates/dam-1".into(),
            ..v1::Step::default()
        };
        let request = v1::SendNotificationRequest {
            recipient: Some(Named::Contact("contacts/1".into())),
            plan: Some(v1::Plan { way: Some(v1::plan::Way::Step(step)), ..v1::Plan::default() }),
            deliver_after: at(100),
            valid_until: at(100),
            ..v1::SendNotificationRequest::default()
        };
        assert_eq!(fields(request), ["valid_until"]);
    }
}
