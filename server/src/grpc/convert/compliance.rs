//! Frequency caps, suppressed addresses and erasures.

use chrono::TimeDelta;
use domain::{
    caps::{self, Cap, MOST, PERIODS},
    channel::Address,
    consent,
};
use proto::v1;

use super::{Faults, common, contact, notification};
use crate::services::{
    archive::erasing::{self, ErasureRow},
    caps::{CapRow, name},
    contacts::ContactName,
    etag,
    suppressions::SuppressionRow,
};

/// The most addresses in one request.
const MAX_ADDRESSES: usize = 10_000;

/// A cap to be set.
pub fn cap(request: v1::SetFrequencyCapRequest, faults: &mut Faults) -> Cap {
    let given = faults.required("frequency_cap", request.frequency_cap);
    faults.inside("frequency_cap", |f| {
        let period = f.duration("period", given.period, PERIODS.0..=PERIODS.1);
        if given.period.is_none() {
            f.note("period", "is missing");
        }
        if !(1..=MOST).contains(&given.messages) {
            f.note("messages", format!("must be from 1 to {MOST}"));
        }
        Cap {
            channel_type: f.optional_code("channel_type", given.channel_type, common::channel_type),
            purpose: purpose(given.purpose, f),
            messages: given.messages,
            period: period.unwrap_or(TimeDelta::days(1)),
        }
    })
}

fn purpose(value: String, faults: &mut Faults) -> String {
    let tail = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    let named = value.len() <= 32 && value.starts_with(|c: char| c.is_ascii_lowercase()) && value.bytes().all(tail);
    if caps::is_exempt(&value) {
        faults.note("purpose", "can never be capped: a person waits for what is sent for it");
    } else if !named && value != consent::ALL {
        faults.note("purpose", "must be 1 to 32 characters of a-z, 0-9, '_' and '-', a letter first, or * for all");
    }
    value
}

/// A cap of the contract.
#[must_use]
pub fn cap_message(row: CapRow) -> v1::FrequencyCap {
    v1::FrequencyCap {
        name: name(row.id),
        channel_type: row.cap.channel_type.map(common::of_channel_type).unwrap_or_default().into(),
        purpose: row.cap.purpose,
        messages: row.cap.messages,
        period: Some(common::span(row.cap.period)),
        create_time: Some(common::timestamp(row.created_at)),
        update_time: Some(common::timestamp(row.updated_at)),
        etag: etag::of(row.version),
    }
}

/// Which cap is taken away, and what the caller has seen of it.
pub fn delete(request: v1::DeleteFrequencyCapRequest, faults: &mut Faults) -> (i64, String) {
    let id = request.name.strip_prefix("frequencyCaps/").and_then(|id| id.parse().ok());
    if id.is_none() {
        faults.note("name", "must be frequencyCaps/{number}, as the server gave it");
    }
    (id.unwrap_or_default(), request.etag)
}

/// Addresses to be suppressed, with their reasons.
pub fn add(request: v1::AddSuppressionsRequest, faults: &mut Faults) -> Vec<(Address, String)> {
    bounded("suppressions", request.suppressions.len(), faults);
    let mut read = Vec::with_capacity(request.suppressions.len());
    for (index, given) in request.suppressions.into_iter().enumerate() {
        faults.inside(format!("suppressions[{index}]"), |f| {
            let reason = f.text("reason", given.reason, 200);
            read.extend(f.address("address", given.address).map(|address| (address, reason)));
        });
    }
    read
}

/// Addresses to be taken off the list.
pub fn remove(request: v1::RemoveSuppressionsRequest, faults: &mut Faults) -> Vec<Address> {
    bounded("addresses", request.addresses.len(), faults);
    let given = request.addresses.into_iter().enumerate();
    given.filter_map(|(index, address)| faults.address(&format!("addresses[{index}]"), Some(address))).collect()
}

fn bounded(field: &str, count: usize, faults: &mut Faults) {
    if !(1..=MAX_ADDRESSES).contains(&count) {
        faults.note(field, format!("has {count} entries, must have 1 to {MAX_ADDRESSES}"));
    }
}

/// The one address that is asked for, if any.
pub fn only(request: &v1::ListSuppressionsRequest, faults: &mut Faults) -> Option<Address> {
    request.address.clone().and_then(|address| faults.address("address", Some(address)))
}

/// A suppressed address of the contract.
#[must_use]
pub fn suppression(row: SuppressionRow) -> v1::Suppression {
    v1::Suppression {
        address: Some(common::of_address(row.address)),
        reason: row.reason,
        source: row.source,
        create_time: Some(common::timestamp(row.at)),
    }
}

/// Who is to be erased, and why.
pub fn erase(request: v1::EraseContactRequest, faults: &mut Faults) -> (ContactName, String) {
    let name = contact::name("contact", &request.contact, faults);
    (name, faults.required_text("reason", request.reason, 200))
}

/// What a list of erasures asks for.
pub fn wanted_erasures(request: &v1::ListErasuresRequest, faults: &mut Faults) -> erasing::Wanted {
    let contact = notification::optional_contact("contact", &request.contact, faults);
    erasing::Wanted { contact, under_way: request.under_way_only, before: None }
}

/// The receipt of an erasure.
#[must_use]
pub fn erasure(row: ErasureRow) -> v1::Erasure {
    use v1::erasure::{ArchiveFile, State};
    let state = if row.done_at.is_some() { State::Done } else { State::UnderWay };
    let counts = row.erased.as_object().into_iter().flatten();
    let file = |(file, removed): (String, Option<_>)| ArchiveFile { file, remove_time: removed.map(common::timestamp) };
    v1::Erasure {
        name: erasing::name_of(row.id),
        contact: format!("contacts/{}", row.contact_id),
        reason: row.reason,
        state: state.into(),
        create_time: Some(common::timestamp(row.asked_at)),
        done_time: row.done_at.map(common::timestamp),
        erased: counts.map(|(what, n)| (what.clone(), n.as_i64().unwrap_or_default())).collect(),
        archive_files: row.files.into_iter().map(file).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(given: v1::FrequencyCap) -> Vec<String> {
        let mut faults = Faults::default();
        cap(v1::SetFrequencyCapRequest { frequency_cap: Some(given), request_id: String::new() }, &mut faults);
        faults.into_violations().into_iter().map(|v| v.field).collect()
    }

    #[test]
    fn a_cap_says_all_that_is_wrong_with_it() {
        let day = Some(prost_types::Duration { seconds: 86_400, nanos: 0 });
        let right = v1::FrequencyCap { purpose: "marketing".into(), messages: 2, period: day, ..Default::default() };
        assert_eq!(fields(right.clone()), Vec::<String>::new());
        for exempt in ["service", "transactional", "", "A"] {
            let wrong = v1::FrequencyCap { purpose: exempt.into(), ..right.clone() };
            assert_eq!(fields(wrong), ["frequency_cap.purpose"], "{exempt}");
        }
        let wrong = v1::FrequencyCap { messages: 0, period: None, ..right };
        assert_eq!(fields(wrong), ["frequency_cap.period", "frequency_cap.messages"]);
    }
}
