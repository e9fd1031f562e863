//! Contacts and consents.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::channel::Address;
use proto::v1;

use super::{Faults, common};
use crate::{
    grpc::mask::Mask,
    services::{
        Violation,
        contacts::{
            self, Change, Contact, ContactName,
            consent::{Consent, NewConsent, Whose},
            import::Row,
        },
        etag,
    },
};

const MAX_ADDRESSES: usize = 20;
const MAX_ATTRIBUTES: usize = 100;
const MAX_VALUE: usize = 1000;

/// A contact of the contract.
#[must_use]
pub fn message(contact: Contact) -> v1::Contact {
    let attributes = contact.attributes.as_object().into_iter().flatten();
    let text = |(name, value): (&String, &serde_json::Value)| Some((name.clone(), value.as_str()?.to_owned()));
    v1::Contact {
        name: format!("contacts/{}", contact.id),
        external_id: contact.external_id.unwrap_or_default(),
        display_name: contact.display_name,
        locale: contact.locale,
        time_zone: contact.time_zone,
        attributes: attributes.filter_map(text).collect(),
        create_time: Some(common::timestamp(contact.created_at)),
        update_time: Some(common::timestamp(contact.updated_at)),
        etag: etag::of(contact.version),
        addresses: contact.addresses.into_iter().map(common::of_address).collect(),
    }
}

/// A consent of the contract.
#[must_use]
pub fn consent_message(consent: Consent) -> v1::Consent {
    let state = if consent.opted_in { v1::consent::State::OptedIn } else { v1::consent::State::OptedOut };
    v1::Consent {
        address: Some(common::of_address(consent.address)),
        channel_type: common::of_channel_type(consent.channel_type).into(),
        purpose: consent.purpose,
        state: state.into(),
        source: consent.source,
        proof: consent.proof,
        consent_time: Some(common::timestamp(consent.at)),
        create_time: Some(common::timestamp(consent.recorded_at)),
    }
}

/// `contacts/7`, or `contacts/external:{external_id}`.
pub fn name(field: &str, value: &str, faults: &mut Faults) -> ContactName {
    let id = value.strip_prefix("contacts/");
    match id.map(|id| (id.strip_prefix("external:").filter(|e| !e.is_empty()), id.parse::<i64>())) {
        Some((Some(external_id), _)) => ContactName::External(external_id.to_owned()),
        Some((None, Ok(id))) if id > 0 => ContactName::Id(id),
        _ => {
            faults.note(field, "must be written contacts/{number} or contacts/external:{external_id}");
            ContactName::Id(0)
        }
    }
}

/// All that a new contact says.
pub fn create(request: v1::CreateContactRequest, faults: &mut Faults) -> Change {
    let contact = faults.required("contact", request.contact);
    let all = Mask::all(&writable(&contact));
    faults.inside("contact", |faults| change(contact, &all, faults))
}

/// Which contact changes, how, and what the caller has seen of it.
pub fn update(request: v1::UpdateContactRequest, faults: &mut Faults) -> (ContactName, Change, String) {
    let contact = faults.required("contact", request.contact);
    let mask = Mask::read(request.update_mask.as_ref(), &writable(&contact), &["attributes"], faults);
    let (name, etag) = (name("contact.name", &contact.name, faults), contact.etag.clone());
    (name, faults.inside("contact", |faults| change(contact, &mask, faults)), etag)
}

/// The external id, and what is written of its contact.
pub fn upsert(request: v1::UpsertContactRequest, faults: &mut Faults) -> (String, Change) {
    let contact = faults.required("contact", request.contact);
    let mask = Mask::read(request.update_mask.as_ref(), &writable(&contact), &["attributes"], faults);
    faults.inside("contact", |faults| {
        let external_id = faults.required_text("external_id", contact.external_id.clone(), 200);
        (external_id, change(contact, &mask, faults))
    })
}

/// Which contact is deleted, and what the caller has seen of it.
pub fn delete(request: v1::DeleteContactRequest, faults: &mut Faults) -> (ContactName, String) {
    (name("name", &request.name, faults), request.etag)
}

/// The address whose holders are asked for.
pub fn resolve(request: v1::ResolveContactRequest, faults: &mut Faults) -> Option<Address> {
    faults.country("default_country", &request.default_country);
    faults.address("address", request.address)
}

/// The filter of a list.
pub fn filter(text: &str, faults: &mut Faults) -> domain::filter::Filter {
    contacts::filter(text).unwrap_or_else(|violation| {
        faults.add(violation);
        domain::filter::Filter::All
    })
}

/// What was said about writing to an address; `now` where it does not say when.
pub fn set_consent(request: v1::SetConsentRequest, now: DateTime<Utc>, faults: &mut Faults) -> Option<NewConsent> {
    let given = faults.required("consent", request.consent);
    faults.inside("consent", |faults| {
        let address = faults.address("address", given.address.clone());
        consent(given, address, now, faults)
    })
}

/// Whose consents are listed.
pub fn whose(request: &v1::ListConsentsRequest, faults: &mut Faults) -> Option<Whose> {
    match (request.contact.is_empty(), request.address.clone()) {
        (false, None) => Some(Whose::Contact(name("contact", &request.contact, faults))),
        (true, Some(address)) => faults.address("address", Some(address)).map(Whose::Address),
        (true, None) | (false, Some(_)) => {
            faults.note("contact", "exactly one of contact and address must be set");
            None
        }
    }
}

/// One row of an import.
pub fn row(row: v1::ImportRow, now: DateTime<Utc>, faults: &mut Faults) -> Row {
    let contact = faults.required("contact", row.contact);
    let set = Mask::read(None, &writable(&contact), &[], faults);
    let change = change(contact, &set, faults);
    if change.external_id.is_none() && change.addresses.is_none() {
        faults.note("external_id", "is missing, and so is an address: nothing says who this is");
    }
    let addresses = change.addresses.clone().unwrap_or_default();
    let mut consents = Vec::new();
    for (index, given) in row.consents.into_iter().enumerate() {
        faults.inside(format!("consents[{index}]"), |faults| {
            let address = match given.address.clone() {
                Some(address) => faults.address("address", Some(address)),
                None => only_fitting(&addresses, given.channel_type, faults),
            };
            consents.extend(consent(given, address, now, faults));
        });
    }
    Row { change, consents }
}

/// The one address of the contact that a channel type reaches.
fn only_fitting(addresses: &[Address], channel_type: i32, faults: &mut Faults) -> Option<Address> {
    let channel_type = v1::ChannelType::try_from(channel_type).ok().and_then(common::channel_type)?;
    let mut fitting = addresses.iter().filter(|a| channel_type.address_kinds().contains(&a.kind));
    match (fitting.next(), fitting.next()) {
        (Some(only), None) => Some(only.clone()),
        _ => {
            faults
                .note("address", format!("is missing, and the contact has not exactly one address for {channel_type}"));
            None
        }
    }
}

fn consent(
    given: v1::Consent,
    address: Option<Address>,
    now: DateTime<Utc>,
    faults: &mut Faults,
) -> Option<NewConsent> {
    let channel_type = faults.code("channel_type", given.channel_type, common::channel_type);
    let opted_in = faults.code("state", given.state, |state: v1::consent::State| match state {
        v1::consent::State::Unspecified => None,
        v1::consent::State::OptedIn => Some(true),
        v1::consent::State::OptedOut => Some(false),
    });
    let purpose = purpose(given.purpose, faults);
    let source = faults.required_text("source", given.source, 100);
    let proof = faults.text("proof", given.proof, 2000);
    let at = faults.time("consent_time", given.consent_time).unwrap_or(now);
    let (address, channel_type) = (address?, channel_type?);
    if !channel_type.address_kinds().contains(&address.kind) {
        faults.note("address.kind", format!("is {}, which {channel_type} does not reach", address.kind));
    }
    Some(NewConsent { address, channel_type, purpose, opted_in: opted_in?, source, proof, at })
}

fn purpose(value: String, faults: &mut Faults) -> String {
    let tail = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    let right = value.len() <= 32 && value.starts_with(|c: char| c.is_ascii_lowercase()) && value.bytes().all(tail);
    if !right && value != domain::consent::ALL {
        faults.note(
            "purpose",
            "must be * or 1 to 32 characters of a-z, 0-9, '_' and '-', a letter first, such as marketing",
        );
    }
    value
}

fn writable(contact: &v1::Contact) -> [(&'static str, bool); 6] {
    [
        ("external_id", !contact.external_id.is_empty()),
        ("display_name", !contact.display_name.is_empty()),
        ("addresses", !contact.addresses.is_empty()),
        ("locale", !contact.locale.is_empty()),
        ("time_zone", !contact.time_zone.is_empty()),
        ("attributes", !contact.attributes.is_empty()),
    ]
}

fn change(contact: v1::Contact, mask: &Mask, faults: &mut Faults) -> Change {
    let external_id = faults.text("external_id", contact.external_id, 200);
    let display_name = faults.text("display_name", contact.display_name, 200);
    let (locale, time_zone) =
        (faults.locale("locale", &contact.locale), faults.time_zone("time_zone", contact.time_zone));
    let addresses = addresses(contact.addresses, faults);
    let attributes = attributes(contact.attributes, faults);
    let mut attribute = BTreeMap::new();
    for key in mask.inside("attributes") {
        if !is_key(key) {
            faults.note("attributes", format!("{key:?} is no key: {KEY}"));
        }
        attribute.insert(key.to_owned(), attributes.get(key).cloned().unwrap_or_default());
    }
    Change {
        external_id: mask.take("external_id", external_id),
        display_name: mask.take("display_name", display_name),
        locale: mask.take("locale", locale),
        time_zone: mask.take("time_zone", time_zone),
        addresses: mask.take("addresses", addresses),
        keep_addresses: false,
        attributes: mask.take("attributes", attributes),
        attribute,
    }
}

/// The same address twice is one, at its first place.
fn addresses(given: Vec<v1::Address>, faults: &mut Faults) -> Vec<Address> {
    if given.len() > MAX_ADDRESSES {
        faults.note("addresses", format!("has {} entries, at most {MAX_ADDRESSES} are allowed", given.len()));
    }
    let mut found: Vec<Address> = Vec::new();
    for (index, address) in given.into_iter().enumerate() {
        let address = faults.address(&format!("addresses[{index}]"), Some(address));
        found.extend(address.filter(|a| !found.contains(a)));
    }
    found
}

const KEY: &str = "keys are 1 to 63 characters of a-z, 0-9 and '_', a letter first";

fn is_key(key: &str) -> bool {
    let tail = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    key.len() <= 63 && key.starts_with(|c: char| c.is_ascii_lowercase()) && key.bytes().all(tail)
}

fn attributes(given: BTreeMap<String, String>, faults: &mut Faults) -> BTreeMap<String, String> {
    if given.len() > MAX_ATTRIBUTES {
        faults.note("attributes", format!("has {} entries, at most {MAX_ATTRIBUTES} are allowed", given.len()));
    }
    for (key, value) in &given {
        let shown: String = key.chars().take(63).collect();
        if !is_key(key) {
            faults.add(Violation::new("attributes", format!("{shown:?} is no key: {KEY}")));
        }
        if value.chars().count() > MAX_VALUE {
            faults.note(format!("attributes.{shown}"), format!("is longer than {MAX_VALUE} characters"));
        }
    }
    given
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact() -> v1::Contact {
        v1::Contact {
            addresses: vec![
                v1::Address { kind: 1, value: "+91 98123 45678".into() },
                v1::Address { kind: 1, value: "+919812345678".into() },
                v1::Address { kind: 2, value: "Asha@Example.org".into() },
            ],
            locale: "hi_in".into(),
            ..v1::Contact::default()
        }
    }

    #[test]
    fn a_contact_is_read_in_canonical_form() {
        let mut faults = Faults::default();
        let change = create(v1::CreateContactRequest { contact: Some(contact()), ..Default::default() }, &mut faults);
        assert!(faults.is_empty());
        let values: Vec<String> = change.addresses.into_iter().flatten().map(|a| a.value).collect();
        assert_eq!(values, ["+919812345678", "asha@example.org"]);
        assert_eq!(change.locale.as_deref(), Some("hi-IN"));
    }

    #[test]
    fn every_violation_of_a_contact_is_found_at_once() {
        let bad = v1::Contact {
            display_name: "x".repeat(201),
            addresses: vec![v1::Address { kind: 1, value: "12".into() }, v1::Address { kind: 9, value: String::new() }],
            locale: "hindi".into(),
            time_zone: "India".into(),
            attributes: BTreeMap::from([("Ward No".to_owned(), "x".repeat(1001))]),
            ..v1::Contact::default()
        };
        let mut faults = Faults::default();
        create(v1::CreateContactRequest { contact: Some(bad), ..Default::default() }, &mut faults);
        let fields: Vec<String> = faults.into_violations().into_iter().map(|v| v.field).collect();
        assert_eq!(
            fields,
            [
                "contact.display_name",
                "contact.locale",
                "contact.time_zone",
                "contact.addresses[0].value",
                "contact.addresses[1].kind",
                "contact.attributes",
                "contact.attributes.Ward No",
            ]
        );
    }

    #[test]
    fn an_import_row_must_say_who_it_is_and_finds_the_address_of_its_consents() {
        let consent = v1::Consent {
            channel_type: 2,
            purpose: "marketing".into(),
            state: 2,
            source: "import".into(),
            ..Default::default()
        };
        let given = v1::ImportRow { line: 3, contact: Some(contact()), consents: vec![consent.clone()] };
        let mut faults = Faults::default();
        let read = row(given, DateTime::UNIX_EPOCH, &mut faults);
        assert!(faults.is_empty());
        assert_eq!(read.consents[0].address.value, "+919812345678");
        let nobody = v1::ImportRow { line: 4, contact: Some(v1::Contact::default()), consents: vec![consent] };
        row(nobody, DateTime::UNIX_EPOCH, &mut faults);
        assert_eq!(faults.len(), 2);
    }

    #[test]
    fn contacts_are_named_by_number_or_external_id() {
        let mut faults = Faults::default();
        assert_eq!(name("name", "contacts/7", &mut faults), ContactName::Id(7));
        assert_eq!(name("name", "contacts/external:a/b:c", &mut faults), ContactName::External("a/b:c".into()));
        assert!(faults.is_empty());
        for wrong in ["contacts/", "contacts/x", "contacts/0", "contacts/external:", "7", ""] {
            name("name", wrong, &mut faults);
        }
        assert_eq!(faults.len(), 6);
    }
}
