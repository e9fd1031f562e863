//! Contacts: created, changed, found, deleted. Many at once come through [`import`]; what they agreed to stands in
//! [`consent`].

pub mod consent;
pub mod import;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::{
    channel::Address,
    filter::Filter,
    notification::{Event, Reason},
};

use super::{Context, Error, Result, Violation, etag, work::Work};
pub use crate::storage::contacts::ContactRow as Contact;
use crate::{
    storage::{
        self, Conn,
        contacts::{self, ContactWrite},
        deciding, events, planning,
    },
    wake::Topic,
};

/// The most contacts that are shown for one address.
const MAX_SHARED: i64 = 100;

/// How a request names a contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContactName {
    /// By our key.
    Id(i64),
    /// By the caller's own key.
    External(String),
}

/// What is to be written of a contact; what is `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// The caller's own key; empty takes it away.
    pub external_id: Option<String>,
    /// What the person is called.
    pub display_name: Option<String>,
    /// The language, canonical; empty takes it away.
    pub locale: Option<String>,
    /// The time zone; empty takes it away.
    pub time_zone: Option<String>,
    /// The addresses, the preferred ones first; they replace all others.
    pub addresses: Option<Vec<Address>>,
    /// Whether the addresses of other kinds are kept behind these: what a row of a query has no column for is not gone.
    pub keep_addresses: bool,
    /// The attributes; they replace all others.
    pub attributes: Option<BTreeMap<String, String>>,
    /// Single attributes; an empty text takes one away.
    pub attribute: BTreeMap<String, String>,
}

/// A contact that does not exist by this name.
fn missing(name: &ContactName) -> Error {
    Error::NotFound(name.to_string())
}

impl std::fmt::Display for ContactName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Id(id) => write!(f, "contacts/{id}"),
            Self::External(id) => write!(f, "contacts/external:{id}"),
        }
    }
}

/// Creates a contact.
///
/// # Errors
/// [`Error::AlreadyExists`] when the external id is taken.
pub async fn create(work: &mut Work, change: Change) -> Result<Contact> {
    let id = *contacts::new_ids(work.conn(), 1).await?.first().unwrap_or(&0);
    if let Some(external_id) = change.external_id.as_deref().filter(|e| !e.is_empty()) {
        free(work.conn(), external_id, id).await?;
    }
    let now = work.now();
    let write = write_of(&change.merged(&blank(id, now)));
    contacts::insert(work.conn(), &[write], now).await?;
    let addresses = change.addresses.unwrap_or_default();
    contacts::set_addresses(work.conn(), &[(id, &addresses)], now).await?;
    say(work, id, "created").await?;
    one(work.conn(), id).await
}

/// One contact.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get(context: &Context, name: &ContactName) -> Result<Contact> {
    let conn = &mut *context.lists.conn().await?;
    let id = key(conn, name).await?;
    contacts::load(conn, &[id]).await?.pop().ok_or_else(|| missing(name))
}

/// A page of the contacts that a filter means, by key.
///
/// # Errors
/// What storage says.
pub async fn list(context: &Context, filter: &Filter, after: i64, limit: i64) -> Result<Vec<Contact>> {
    let conn = &mut *context.lists.conn().await?;
    let ids = contacts::list(conn, filter, after, limit).await?;
    Ok(contacts::load(conn, &ids).await?)
}

/// Changes a contact.
///
/// # Errors
/// [`Error::NotFound`], [`Error::EtagMismatch`], [`Error::AlreadyExists`] when the new external id is taken.
pub async fn update(work: &mut Work, name: &ContactName, change: Change, etag: &str) -> Result<Contact> {
    let id = key(work.conn(), name).await?;
    let before = locked(work.conn(), id).await?.ok_or_else(|| missing(name))?;
    etag::check(&name.to_string(), etag, before.version)?;
    if let Some(external_id) = change.external_id.as_deref().filter(|e| !e.is_empty()) {
        free(work.conn(), external_id, id).await?;
    }
    if change.changes(&before) {
        apply(work, &before, &change).await?;
    }
    one(work.conn(), id).await
}

/// Creates the contact with this external id, or changes the one that has it. Says whether it was created.
///
/// # Errors
/// What storage says.
pub async fn upsert(work: &mut Work, external_id: String, change: Change) -> Result<(Contact, bool)> {
    let change = Change { external_id: Some(external_id.clone()), ..change };
    match contacts::by_external_id(work.conn(), &[&external_id]).await?.get(&external_id) {
        Some(id) => Ok((update(work, &ContactName::Id(*id), change, "").await?, false)),
        None => Ok((create(work, change).await?, true)),
    }
}

/// Deletes a contact: nothing more is sent to it, what was said stays.
///
/// # Errors
/// [`Error::NotFound`], [`Error::EtagMismatch`].
pub async fn delete(work: &mut Work, name: &ContactName, etag: &str) -> Result<()> {
    let id = key(work.conn(), name).await?;
    let before = locked(work.conn(), id).await?.ok_or_else(|| missing(name))?;
    etag::check(&name.to_string(), etag, before.version)?;
    let now = work.now();
    contacts::delete(work.conn(), id, now).await?;
    end_notifications(work.conn(), id, now).await?;
    say(work, id, "deleted").await?;
    work.wake(Topic::Fallback);
    Ok(())
}

/// The contacts that have an address, the most recently active first.
///
/// # Errors
/// What storage says.
pub async fn resolve(context: &Context, address: &Address) -> Result<Vec<Contact>> {
    let conn = &mut *context.lists.conn().await?;
    let ids = contacts::all_by_address(conn, address, MAX_SHARED).await?;
    let mut found = contacts::load(conn, &ids).await?;
    found.sort_by_key(|c| ids.iter().position(|id| *id == c.id));
    Ok(found)
}

/// Skips what is unfinished, in the one order of locks: the contact is locked, its notifications follow by id.
async fn end_notifications(conn: &mut Conn, contact: i64, now: DateTime<Utc>) -> Result<()> {
    let ids = contacts::unfinished_notifications(conn, contact).await?;
    let locked = deciding::lock(conn, &ids, false).await?;
    let ended: Vec<planning::Move> = locked
        .into_iter()
        .filter_map(|n| {
            Some(planning::Move {
                id: n.id,
                campaign_id: n.campaign_id,
                from: n.state,
                to: n.state.after(Event::NothingApplies)?,
                step: n.step,
                reason: Some(CONTACT_DELETED.to_owned()),
                answered_by: None,
                late: false,
            })
        })
        .collect();
    let ids: Vec<_> = ended.iter().map(|m| m.id).collect();
    planning::move_notifications(conn, &ended, now).await?;
    planning::cancel_queued(conn, &ids, domain::delivery::Work::Cancelled, Reason::TakenBack.as_str(), now).await?;
    planning::disarm_timers(conn, &ids).await?;
    planning::leave_call_lists(conn, &ids, now).await?;
    Ok(())
}

/// Why the notifications of a deleted contact end.
const CONTACT_DELETED: &str = "CONTACT_DELETED";

async fn key(conn: &mut Conn, name: &ContactName) -> Result<i64> {
    match name {
        ContactName::Id(id) => Ok(*id),
        ContactName::External(external_id) => {
            let found = contacts::by_external_id(conn, &[external_id]).await?;
            found.get(external_id).copied().ok_or_else(|| missing(name))
        }
    }
}

/// The keys of contacts by name, locked; none for those that do not exist.
///
/// # Errors
/// What storage says.
pub async fn keys(conn: &mut Conn, names: &[ContactName]) -> Result<Vec<Option<i64>>> {
    let externals: Vec<&str> = names
        .iter()
        .filter_map(|name| match name {
            ContactName::External(id) => Some(id.as_str()),
            ContactName::Id(_) => None,
        })
        .collect();
    let by_external = contacts::by_external_id(conn, &externals).await?;
    let ids: Vec<Option<i64>> = names
        .iter()
        .map(|name| match name {
            ContactName::Id(id) => Some(*id),
            ContactName::External(id) => by_external.get(id).copied(),
        })
        .collect();
    let exist = contacts::lock(conn, &ids.iter().flatten().copied().collect::<Vec<_>>()).await?;
    Ok(ids.into_iter().map(|id| id.filter(|id| exist.binary_search(id).is_ok())).collect())
}

/// Locks first and reads in the next statement, which sees what the lock waited for.
async fn locked(conn: &mut Conn, id: i64) -> Result<Option<Contact>> {
    contacts::lock(conn, &[id]).await?;
    Ok(contacts::load(conn, &[id]).await?.pop())
}

async fn free(conn: &mut Conn, external_id: &str, id: i64) -> Result<()> {
    match contacts::by_external_id(conn, &[external_id]).await?.get(external_id) {
        Some(other) if *other != id => Err(Error::AlreadyExists(format!("contacts/external:{external_id}"))),
        _ => Ok(()),
    }
}

async fn apply(work: &mut Work, before: &Contact, change: &Change) -> Result<()> {
    let (after, now) = (change.merged(before), work.now());
    contacts::update(work.conn(), &[write_of(&after)], now).await?;
    if after.addresses != before.addresses {
        contacts::set_addresses(work.conn(), &[(before.id, &after.addresses)], now).await?;
    }
    say(work, before.id, "updated").await
}

async fn one(conn: &mut Conn, id: i64) -> Result<Contact> {
    let gone = || storage::Error::Corrupt(format!("contact {id} is gone inside its own transaction"));
    Ok(contacts::load(conn, &[id]).await?.pop().ok_or_else(gone)?)
}

async fn say(work: &mut Work, id: i64, what: &str) -> Result<()> {
    let now = work.now();
    events::say(work.conn(), "contact", what, &format!("contacts/{id}"), None, None, now).await?;
    work.wake(Topic::Events);
    Ok(())
}

fn write_of(contact: &Contact) -> ContactWrite {
    ContactWrite {
        id: contact.id,
        external_id: contact.external_id.clone(),
        display_name: contact.display_name.clone(),
        locale: contact.locale.clone(),
        time_zone: contact.time_zone.clone(),
        attributes: contact.attributes.clone(),
    }
}

fn blank(id: i64, now: DateTime<Utc>) -> Contact {
    Contact {
        id,
        external_id: None,
        display_name: String::new(),
        locale: String::new(),
        time_zone: String::new(),
        attributes: serde_json::json!({}),
        version: 1,
        created_at: now,
        updated_at: now,
        addresses: Vec::new(),
    }
}

impl Change {
    /// The contact as it will be.
    fn merged(&self, before: &Contact) -> Contact {
        let text = |new: &Option<String>, old: &String| new.clone().unwrap_or_else(|| old.clone());
        Contact {
            external_id: match &self.external_id {
                Some(new) => Some(new.clone()).filter(|e| !e.is_empty()),
                None => before.external_id.clone(),
            },
            display_name: text(&self.display_name, &before.display_name),
            locale: text(&self.locale, &before.locale),
            time_zone: text(&self.time_zone, &before.time_zone),
            attributes: self.attributes_over(&before.attributes),
            addresses: self.addresses_over(&before.addresses),
            ..before.clone()
        }
    }

    fn addresses_over(&self, before: &[Address]) -> Vec<Address> {
        match &self.addresses {
            None => before.to_vec(),
            Some(new) if self.keep_addresses => {
                let other = |old: &&Address| new.iter().all(|address| address.kind != old.kind);
                new.iter().chain(before.iter().filter(other)).cloned().collect()
            }
            Some(new) => new.clone(),
        }
    }

    fn attributes_over(&self, before: &serde_json::Value) -> serde_json::Value {
        let mut after = match &self.attributes {
            Some(all) => serde_json::json!(all),
            None => before.clone(),
        };
        if let Some(object) = after.as_object_mut() {
            for (name, value) in &self.attribute {
                match value.is_empty() {
                    true => drop(object.remove(name)),
                    false => drop(object.insert(name.clone(), value.clone().into())),
                }
            }
        }
        after
    }

    /// Whether it says anything that is not so already.
    fn changes(&self, before: &Contact) -> bool {
        self.merged(before) != *before
    }
}

/// A filter, or where it is wrong.
///
/// # Errors
/// [`Error::Invalid`] for the reason FILTER_INVALID, with the position in bytes.
pub fn filter(text: &str) -> std::result::Result<Filter, Violation> {
    Filter::parse(text).map_err(|error| {
        let position: usize = text.chars().take(error.column.saturating_sub(1)).map(char::len_utf8).sum();
        Violation::new("filter", error.to_string()).because("FILTER_INVALID").with("position", position.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn before() -> Contact {
        let attributes = serde_json::json!({"ward": "7", "zone": "west"});
        Contact {
            external_id: Some("e1".into()),
            display_name: "Asha".into(),
            attributes,
            ..blank(1, DateTime::UNIX_EPOCH)
        }
    }

    #[test]
    fn what_is_not_written_stays_and_what_is_empty_goes() {
        let change = Change {
            external_id: Some(String::new()),
            locale: Some("hi".into()),
            attribute: BTreeMap::from([("ward".into(), "8".into()), ("zone".into(), String::new())]),
            ..Change::default()
        };
        let after = change.merged(&before());
        assert_eq!((after.external_id, after.display_name.as_str(), after.locale.as_str()), (None, "Asha", "hi"));
        assert_eq!(after.attributes, serde_json::json!({"ward": "8"}));
    }

    #[test]
    fn addresses_replace_all_others_or_those_of_their_kinds() {
        let address = |kind: domain::channel::AddressKind, value: &str| Address { kind, value: value.to_owned() };
        let phone = |value: &str| address(domain::channel::AddressKind::Phone, value);
        let email = address(domain::channel::AddressKind::Email, "a@b.in");
        let contact = Contact { addresses: vec![phone("+1"), email.clone()], ..before() };
        let given = Change { addresses: Some(vec![phone("+3")]), ..Change::default() };
        assert_eq!(given.merged(&contact).addresses, [phone("+3")]);
        let kept = Change { keep_addresses: true, ..given };
        assert_eq!(kept.merged(&contact).addresses, [phone("+3"), email]);
    }

    #[test]
    fn a_change_that_says_what_is_so_changes_nothing() {
        let same = Change { display_name: Some("Asha".into()), ..Change::default() };
        assert!(!same.changes(&before()));
        assert!(!Change::default().changes(&before()));
        assert!(Change { display_name: Some("Asha Rao".into()), ..Change::default() }.changes(&before()));
    }

    #[test]
    fn a_wrong_filter_is_placed_by_its_bytes() {
        let violation = filter("locale = \"hi\" AND (").unwrap_err();
        assert_eq!(violation.reason, "FILTER_INVALID");
        assert!(violation.metadata.iter().any(|(key, _)| *key == "position"));
        assert_eq!(filter("").unwrap(), Filter::All);
    }
}
