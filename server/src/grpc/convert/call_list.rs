//! Call lists and their entries.

use chrono::TimeDelta;
use domain::channel::{Address, AddressKind};
use proto::v1::{self, call_list::Mailing as GivenMailing};

use super::{Faults, common};
use crate::{
    grpc::mask::Mask,
    services::{
        call_lists::{CallList, Change, Definition, EntryRow, Mailing, New, Show, name_of},
        contacts::Contact,
        etag,
    },
};

const MAX_EMAILS: usize = 50;

/// A call list of the contract.
#[must_use]
pub fn message(list: CallList) -> v1::CallList {
    let (row, definition) = (list.row, list.definition);
    let mailing = match definition.mailing {
        Mailing::Schedule { cron, time_zone } => GivenMailing::Schedule(v1::CallListSchedule { cron, time_zone }),
        Mailing::AfterFirstEntry(ms) => GivenMailing::AfterFirstEntry(common::span(TimeDelta::milliseconds(ms))),
    };
    v1::CallList {
        name: name_of(&row.slug),
        display_name: row.display_name,
        emails: definition.emails,
        channel: format!("channels/{}", definition.channel),
        waiting_count: row.waiting,
        next_mail_time: list.next_mail_at.map(common::timestamp),
        last_mail_time: row.last_mailed_at.map(common::timestamp),
        create_time: Some(common::timestamp(row.created_at)),
        update_time: Some(common::timestamp(row.updated_at)),
        etag: etag::of(row.version),
        mailing: Some(mailing),
    }
}

/// An entry of the contract.
#[must_use]
pub fn entry_message(list: &str, entry: EntryRow, contact: Option<Contact>) -> v1::CallListEntry {
    let (display_name, addresses) = contact.map(|c| (c.display_name, c.addresses)).unwrap_or_default();
    v1::CallListEntry {
        name: format!("{}/entries/{}", name_of(list), entry.id),
        notification: format!("notifications/{}", entry.notification_id),
        contact: format!("contacts/{}", entry.contact_id),
        display_name,
        addresses: addresses.into_iter().map(common::of_address).collect(),
        tried: entry.tried,
        create_time: Some(common::timestamp(entry.created_at)),
        mail_time: entry.mailed_at.map(common::timestamp),
        withdraw_time: entry.withdrawn_at.map(common::timestamp),
    }
}

/// A call list to be created.
pub fn create(request: v1::CreateCallListRequest, faults: &mut Faults) -> New {
    let slug = faults.slug("call_list_id", &request.call_list_id);
    let list = faults.required("call_list", request.call_list);
    let all = Mask::all(&writable(&list));
    let change = faults.inside("call_list", |f| change(list, &all, f));
    New {
        slug,
        display_name: change.display_name.unwrap_or_default(),
        definition: Definition {
            emails: change.emails.unwrap_or_default(),
            channel: change.channel.unwrap_or_default(),
            mailing: change.mailing.unwrap_or(Mailing::AfterFirstEntry(0)),
        },
    }
}

/// Which call list changes, how, and what the caller has seen of it.
pub fn update(request: v1::UpdateCallListRequest, faults: &mut Faults) -> (String, Change, String) {
    let list = faults.required("call_list", request.call_list);
    let mask = Mask::read(request.update_mask.as_ref(), &writable(&list), &[], faults);
    let (slug, etag) = (faults.name("call_list.name", "callLists", &list.name), list.etag.clone());
    (slug, faults.inside("call_list", |f| change(list, &mask, f)), etag)
}

/// Which entries are listed.
#[must_use]
pub fn show(value: i32) -> Show {
    use v1::list_call_list_entries_request::Show as Code;
    match Code::try_from(value).unwrap_or_default() {
        Code::Unspecified => Show::All,
        Code::Waiting => Show::Waiting,
        Code::Mailed => Show::Mailed,
    }
}

fn writable(list: &v1::CallList) -> [(&'static str, bool); 5] {
    let (schedule, after) = match list.mailing {
        Some(GivenMailing::Schedule(_)) => (true, false),
        Some(GivenMailing::AfterFirstEntry(_)) => (false, true),
        None => (false, false),
    };
    [
        ("display_name", !list.display_name.is_empty()),
        ("emails", !list.emails.is_empty()),
        ("channel", !list.channel.is_empty()),
        ("schedule", schedule),
        ("after_first_entry", after),
    ]
}

fn change(list: v1::CallList, mask: &Mask, faults: &mut Faults) -> Change {
    let display_name = faults.text("display_name", list.display_name, 200);
    let written = mask.has("schedule") || mask.has("after_first_entry");
    Change {
        display_name: mask.take("display_name", display_name),
        emails: mask.take("emails", list.emails).map(|given| emails(given, faults)),
        channel: mask.take("channel", list.channel).map(|name| faults.name("channel", "channels", &name)),
        mailing: if written { mailing(list.mailing, faults) } else { None },
    }
}

fn emails(given: Vec<String>, faults: &mut Faults) -> Vec<String> {
    if !(1..=MAX_EMAILS).contains(&given.len()) {
        faults.note("emails", format!("has {} entries, must have 1 to {MAX_EMAILS}", given.len()));
    }
    let mut read: Vec<String> = Vec::with_capacity(given.len());
    for (index, text) in given.iter().enumerate() {
        match Address::parse(AddressKind::Email, text, None) {
            Ok(address) if read.contains(&address.value) => {}
            Ok(address) => read.push(address.value),
            Err(error) => faults.note(format!("emails[{index}]"), error.to_string()),
        }
    }
    read
}

fn mailing(given: Option<GivenMailing>, faults: &mut Faults) -> Option<Mailing> {
    match given {
        Some(GivenMailing::Schedule(schedule)) => {
            Some(Mailing::Schedule { cron: schedule.cron, time_zone: schedule.time_zone })
        }
        Some(GivenMailing::AfterFirstEntry(span)) => faults
            .duration("after_first_entry", Some(span), TimeDelta::zero()..=TimeDelta::days(7))
            .map(|span| Mailing::AfterFirstEntry(span.num_milliseconds())),
        None => {
            faults.note("schedule", "exactly one of schedule and after_first_entry must be set");
            None
        }
    }
}
