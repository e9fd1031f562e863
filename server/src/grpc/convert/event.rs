//! Events as they are told, and what a subscriber asks for.

use chrono::{DateTime, Utc};
use proto::v1;

use super::{Faults, common, notification};
use crate::services::events::{self, Bounds, Fact, Filter, Item, Start};

const MAX_TYPES: usize = 50;
const MAX_SUBJECTS: usize = 100;
const SCHEMA_VERSION: &str = "1.0";

/// From where, and what.
pub fn subscribe(request: v1::SubscribeRequest, faults: &mut Faults) -> (Start, Filter) {
    filter(&request.types, &request.subjects, |_| false, faults);
    let filter = Filter {
        campaign: faults.optional_name("campaign", "campaigns", &request.campaign),
        contact: notification::optional_contact("contact", &request.contact, faults),
        types: request.types,
        subjects: request.subjects,
        notification: None,
    };
    (start(&request.start_cursor, request.from_oldest, faults), filter)
}

/// Types and subjects that are asked for; `is_known` are types of another form.
pub fn filter(types: &[String], subjects: &[String], is_known: impl Fn(&str) -> bool, faults: &mut Faults) {
    if types.len() > MAX_TYPES {
        faults.note("types", format!("has {} entries, at most {MAX_TYPES} are allowed", types.len()));
    }
    for (index, wanted) in types.iter().enumerate() {
        if !is_type(wanted) && !is_known(wanted) {
            faults.note(format!("types[{index}]"), "must be written like notification.reached or notification.*");
        }
    }
    if subjects.len() > MAX_SUBJECTS {
        faults.note("subjects", format!("has {} entries, at most {MAX_SUBJECTS} are allowed", subjects.len()));
    }
    for (index, subject) in subjects.iter().enumerate() {
        if !subject.split_once('/').is_some_and(|(of, id)| !of.is_empty() && !id.is_empty()) {
            faults.note(format!("subjects[{index}]"), "must be a resource name, such as notifications/{uuid}");
        }
    }
}

/// From where: a cursor, the oldest event, or now.
pub fn start(cursor: &str, from_oldest: bool, faults: &mut Faults) -> Start {
    match (cursor.is_empty(), from_oldest) {
        (true, false) => Start::Now,
        (true, true) => Start::Oldest,
        (false, _) => match events::position("start_cursor", cursor) {
            Ok(position) => Start::After(position),
            Err(violation) => {
                faults.add(violation);
                Start::Now
            }
        },
    }
}

fn is_type(text: &str) -> bool {
    let word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    text.split_once('.').is_some_and(|(noun, verb)| word(noun) && (verb == "*" || word(verb)))
}

/// One message of a stream.
#[must_use]
pub fn item(item: Item, now: DateTime<Utc>) -> v1::SubscribeResponse {
    let update = match item {
        Item::Event(fact) => v1::subscribe_response::Update::Event(event(&fact)),
        Item::Checkpoint(position) => v1::subscribe_response::Update::Checkpoint(checkpoint(position, now)),
    };
    v1::SubscribeResponse { update: Some(update) }
}

/// A sign of life.
#[must_use]
pub fn checkpoint(position: i64, now: DateTime<Utc>) -> v1::Checkpoint {
    v1::Checkpoint { cursor: events::cursor(position), time: Some(common::timestamp(now)) }
}

/// The positions of the stream.
#[must_use]
pub fn bounds(bounds: Bounds) -> v1::EventCursor {
    v1::EventCursor {
        cursor: events::cursor(bounds.newest),
        oldest_cursor: events::cursor(bounds.oldest),
        oldest_age_seconds: bounds.oldest_age_seconds,
    }
}

/// An event of the contract.
#[must_use]
pub fn event(fact: &Fact) -> v1::Event {
    v1::Event {
        id: fact.number.to_string(),
        cursor: events::cursor(fact.number),
        r#type: fact.r#type.clone(),
        schema_version: SCHEMA_VERSION.to_owned(),
        subject: fact.subject.clone(),
        campaign: notification::named("campaigns", fact.campaign.as_ref()),
        contact: fact.concern.contact.map(|id| format!("contacts/{id}")).unwrap_or_default(),
        time: Some(common::timestamp(fact.at)),
        data: Some(common::of_object(&fact.data)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_subscriber_asks_wrongly_is_all_said() {
        let request = v1::SubscribeRequest {
            types: vec!["notification.*".into(), "notification".into(), "Not.ok".into()],
            subjects: vec!["notifications/1".into(), "x".into()],
            start_cursor: "x".into(),
            contact: "contacts/external:7".into(),
            ..v1::SubscribeRequest::default()
        };
        let mut faults = Faults::default();
        subscribe(request, &mut faults);
        let fields: Vec<String> = faults.into_violations().into_iter().map(|v| v.field).collect();
        assert_eq!(fields, ["types[1]", "types[2]", "subjects[1]", "contact", "start_cursor"]);
    }
}
