//! Connectors outside: who comes, what they are handed, what became of it, what they bring.

use std::{collections::BTreeMap, time::Duration};

use chrono::TimeDelta;
use domain::{
    channel::Address,
    delivery::{Evidence, FailureClass},
    message::Content,
};
use proto::v1::{self, content as c, settled_ack};
use uuid::Uuid;

use super::{Faults, common, content, sending};
use crate::{
    channels::{InboundFact, ReceiptFact, Refusal, Sent, echo},
    services::{
        connectors::{AckKey, ClaimKey, Hello, Served, claiming::Outgoing},
        outcomes::Stored,
    },
    storage::{connectors::InstanceRow, pulling::Unsettled},
};

/// Deliveries that are not settled, where the caller names no number.
const IN_FLIGHT: i32 = 10;
/// How long settling may take, where the caller says nothing.
const SETTLE: Duration = Duration::from_secs(30);
/// Entries of the data of a channel.
const MAX_DATA: usize = 100;

/// Who comes.
pub fn hello(given: v1::ConnectorHello, faults: &mut Faults) -> Hello {
    let timeout =
        faults.duration("settle_timeout", given.settle_timeout, TimeDelta::seconds(1)..=TimeDelta::minutes(10));
    let in_flight = faults.number("max_in_flight", given.max_in_flight, 1..=1000).unwrap_or(IN_FLIGHT);
    Hello {
        channel: faults.name("channel", "channels", &given.channel),
        instance: instance("instance", given.instance, faults),
        software: faults.text("software", given.software, 100),
        in_flight: usize::try_from(in_flight).unwrap_or(1),
        settle_timeout: timeout.and_then(|t| t.to_std().ok()).unwrap_or(SETTLE),
    }
}

/// The name of an instance.
pub fn instance(field: &str, value: String, faults: &mut Faults) -> String {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if !(1..=100).contains(&value.len()) || !value.bytes().all(allowed) {
        faults.note(field, "must have 1 to 100 letters, digits, '.', '_' and '-', and be kept over restarts");
    }
    value
}

/// The first message of a session.
#[must_use]
pub fn welcome(served: &Served, unsettled: Vec<(AckKey, Unsettled)>) -> v1::ConnectorWelcome {
    let one = |(key, one): (AckKey, Unsettled)| v1::UnsettledDelivery {
        ack_id: key.encode(),
        delivery: delivery_name(one.delivery_id),
        attempt: one.attempt.into(),
        to: Some(common::of_address(one.to)),
    };
    v1::ConnectorWelcome {
        lease: TimeDelta::from_std(served.lease).ok().map(common::span),
        after_unknown: common::of_after_unknown(served.after_unknown).into(),
        unsettled: unsettled.into_iter().map(one).collect(),
    }
}

/// The name of a delivery.
#[must_use]
pub fn delivery_name(id: Uuid) -> String {
    format!("deliveries/{id}")
}

/// A delivery on its way out.
#[must_use]
pub fn outgoing(outgoing: Outgoing) -> v1::OutboundDelivery {
    v1::OutboundDelivery {
        ack_id: outgoing.key.map(|key| key.encode()).unwrap_or_default(),
        delivery: delivery_name(outgoing.delivery_id),
        attempt: outgoing.key.map_or(0, |key| key.attempt.into()),
        to: Some(common::of_address(outgoing.to)),
        from: outgoing.from,
        plain_text: outgoing.content.plain_text(),
        content: Some(content::message(outgoing.content)),
        window_open: outgoing.window_open,
        unsubscribe_url: outgoing.unsubscribe_url.unwrap_or_default(),
        provider_parameters: outgoing.parameters,
    }
}

/// What became of a delivery.
pub fn settled(given: v1::DeliverySettled, faults: &mut Faults) -> Option<(AckKey, Sent)> {
    let key = AckKey::decode(&given.ack_id);
    if key.is_none() {
        faults.note("ack_id", "is none that this server gave");
    }
    let id = faults.text("provider_message_id", given.provider_message_id, 200);
    let code = faults.text("code", given.code, 100);
    let detail = faults.text("detail", given.detail, 500);
    let range = TimeDelta::zero()..=TimeDelta::hours(24);
    let retry_after = faults.duration("retry_after", given.retry_after, range).and_then(|d| d.to_std().ok());
    let outcome =
        faults.code("outcome", given.outcome, |o: v1::Outcome| Some(o).filter(|o| *o != v1::Outcome::Unspecified));
    let class = faults.optional_code("failure_class", given.failure_class, failure_class);
    if outcome == Some(v1::Outcome::Refused) && class.is_none() && given.failure_class == 0 {
        faults.note("failure_class", "is missing: what does the refusal mean?");
    }
    let key = key?;
    let sent = match outcome? {
        v1::Outcome::Unspecified => return None,
        v1::Outcome::Accepted => {
            let ours = || echo::token(key.delivery_id, key.attempt);
            Sent::Accepted { provider_message_id: if id.is_empty() { ours() } else { id } }
        }
        v1::Outcome::Refused => {
            let class = class?;
            let code = if code.is_empty() { class.to_string() } else { code };
            Sent::Refused(Refusal { class, code, detail, retry_after })
        }
        v1::Outcome::NotSent => Sent::NotSent { detail },
        v1::Outcome::Unknown => Sent::Unknown { detail },
    };
    Some((key, sent))
}

/// What a refusal means; what only this server can fail in is none of a connector's.
const fn failure_class(value: v1::FailureClass) -> Option<FailureClass> {
    match value {
        v1::FailureClass::Unspecified | v1::FailureClass::Technical => None,
        v1::FailureClass::Temporary => Some(FailureClass::Temporary),
        v1::FailureClass::Throttled => Some(FailureClass::Throttled),
        v1::FailureClass::FallOver => Some(FailureClass::FallOver),
        v1::FailureClass::Permanent => Some(FailureClass::Permanent),
        v1::FailureClass::ParkChannel => Some(FailureClass::ParkChannel),
        v1::FailureClass::OptOut => Some(FailureClass::OptOut),
        v1::FailureClass::NeedsTemplate => Some(FailureClass::NeedsTemplate),
    }
}

/// What became of an end that was told.
#[must_use]
pub fn settled_ack(ack_id: String, stored: Stored) -> v1::SettledAck {
    let result = match stored {
        Stored::Over => settled_ack::Result::Over,
        Stored::Again(_) => settled_ack::Result::Again,
        Stored::Late => settled_ack::Result::Late,
    };
    v1::SettledAck { ack_id, result: result.into(), problem: String::new() }
}

/// An end that cannot be read.
#[must_use]
pub fn invalid_ack(ack_id: String, faults: Faults) -> v1::SettledAck {
    v1::SettledAck { ack_id, result: settled_ack::Result::Invalid.into(), problem: words(faults) }
}

/// Every fault in one sentence.
#[must_use]
pub fn words(faults: Faults) -> String {
    let all = faults.into_violations().into_iter().map(|v| format!("{} {}", v.field, v.description));
    all.collect::<Vec<_>>().join("; ")
}

/// A message of a person.
pub fn inbound(given: v1::InboundMessage, faults: &mut Faults) -> Option<InboundFact> {
    let id = faults.required_text("message_id", given.message_id, 200);
    if !(1..=10).contains(&given.from.len()) {
        faults.note("from", "must have 1 to 10 addresses, the one to answer to first");
    }
    let from: Vec<Address> = given
        .from
        .into_iter()
        .enumerate()
        .filter_map(|(index, address)| faults.address(&format!("from[{index}]"), Some(address)))
        .collect();
    let content = said("content", given.content, faults);
    let display_name = faults.text("display_name", given.display_name, 200);
    let in_reply_to = faults.text("in_reply_to", given.in_reply_to, 200);
    Some(InboundFact {
        provider_message_id: id,
        from,
        to: String::new(),
        display_name: Some(display_name).filter(|name| !name.is_empty()),
        in_reply_to: Some(in_reply_to).filter(|id| !id.is_empty()),
        delivery_id: sending::optional_uuid_name("delivery", "deliveries", &given.delivery, faults),
        provider_opt: None,
        provider_time: faults.time("provider_time", given.provider_time),
        channel_data: channel_data("channel_data", given.channel_data, faults),
        content: content?,
    })
}

/// What a channel knows of a person's presence.
pub fn channel_data(field: &str, given: BTreeMap<String, String>, faults: &mut Faults) -> BTreeMap<String, String> {
    if given.len() > MAX_DATA {
        faults.note(field, format!("has {} entries, at most {MAX_DATA} are allowed", given.len()));
    }
    for (name, value) in &given {
        if !(1..=100).contains(&name.chars().count()) || value.chars().count() > 1000 {
            faults.note(field, "must have names of 1 to 100 and values of up to 1000 characters");
            break;
        }
    }
    given
}

/// What people say. Kinds that only the business sends are refused.
pub fn said(field: &str, given: Option<v1::Content>, faults: &mut Faults) -> Option<Content> {
    use c::Body;
    match given.as_ref().and_then(|content| content.body.as_ref()) {
        Some(
            Body::Email(_)
            | Body::Choices(_)
            | Body::ProviderTemplate(_)
            | Body::Voice(_)
            | Body::Note(_)
            | Body::System(_)
            | Body::Redacted(_),
        ) => {
            faults.note(field, "is of a kind that only the business sends");
            None
        }
        _ => super::said::content(field, given, faults),
    }
}

/// What the medium says of a message.
pub fn receipt(given: v1::DeliveryReceipt, faults: &mut Faults) -> Option<ReceiptFact> {
    let delivery = sending::optional_uuid_name("delivery", "deliveries", &given.delivery, faults);
    let attempt = faults.number("attempt", given.attempt, 1..=i32::from(i16::MAX));
    let echoed = delivery.zip(attempt.and_then(|n| i16::try_from(n).ok()));
    if delivery.is_some() != attempt.is_some() {
        faults.note("attempt", "belongs together with delivery, from 1");
    }
    let id = faults.text("provider_message_id", given.provider_message_id, 200);
    if id.is_empty() && delivery.is_none() {
        faults.note("provider_message_id", "is missing: it, or delivery with attempt, must say which message it is");
    }
    let evidence = faults.code("evidence", given.evidence, |e: v1::Evidence| match e {
        v1::Evidence::Sent => Some(Evidence::Sent),
        v1::Evidence::Failed => Some(Evidence::Failed),
        v1::Evidence::Delivered => Some(Evidence::Delivered),
        v1::Evidence::Read => Some(Evidence::Read),
        v1::Evidence::Unspecified | v1::Evidence::None | v1::Evidence::Unknown => None,
    });
    let class = faults.optional_code("failure_class", given.failure_class, failure_class);
    let code = faults.text("code", given.code, 100);
    let provider_time = faults.time("provider_time", given.provider_time);
    let evidence = evidence?;
    let failure = (evidence == Evidence::Failed).then(|| Refusal {
        class: class.unwrap_or(FailureClass::FallOver),
        code: if code.is_empty() { "failed".to_owned() } else { code },
        detail: String::new(),
        retry_after: None,
    });
    let ours = || echoed.map(|(delivery, attempt)| echo::token(delivery, attempt)).unwrap_or_default();
    Some(ReceiptFact {
        provider_message_id: if id.is_empty() { ours() } else { id },
        echo: echoed,
        evidence,
        failure,
        provider_time,
    })
}

/// Entries of a batch, each read in its place.
pub fn all<R, T>(
    field: &str,
    given: Vec<R>,
    range: std::ops::RangeInclusive<usize>,
    faults: &mut Faults,
    read: impl Fn(R, &mut Faults) -> Option<T>,
) -> Vec<T> {
    if !range.contains(&given.len()) {
        faults.note(field, format!("has {} entries, must have {} to {}", given.len(), range.start(), range.end()));
        return Vec::new();
    }
    let entries = given.into_iter().enumerate();
    entries.filter_map(|(i, entry)| faults.inside(format!("{field}[{i}]"), |faults| read(entry, faults))).collect()
}

/// A claim that this server gave.
pub fn claim(field: &str, value: &str, faults: &mut Faults) -> ClaimKey {
    let key = ClaimKey::decode(value);
    if key.is_none() {
        faults.note(field, "is none that this server gave");
    }
    key.unwrap_or(ClaimKey { provider_id: 0, chunk: 0, token: Uuid::nil() })
}

/// An instance of the contract.
#[must_use]
pub fn of_instance(row: InstanceRow) -> v1::ConnectorInstance {
    v1::ConnectorInstance {
        instance: row.name,
        provider: row.provider,
        connected: row.connected,
        software: row.software,
        max_in_flight: row.in_flight,
        health: Some(v1::ConnectorHealth { healthy: row.healthy, detail: row.detail }),
        start_time: Some(common::timestamp(row.started_at)),
        last_seen_time: Some(common::timestamp(row.seen_at)),
    }
}
