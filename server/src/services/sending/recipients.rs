//! Whom a send means: contacts that exist, addresses whose contact is found or made, contacts that are written on the way.

use std::collections::{BTreeMap, HashMap, HashSet};

use domain::channel::Address;

use super::way::not_found;
use crate::{
    services::{
        Result, Violation,
        contacts::{self, Change, ContactName},
        work::Work,
    },
    storage,
};

/// Whom a send means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipient {
    /// A contact that exists.
    Contact(ContactName),
    /// An address; without a contact it gets one.
    Address(Address),
    /// A contact that is created or changed first.
    Upsert(Known),
}

/// What a send knows of its contact; all of it is added to what is known already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// The caller's own key; without one the first address says who it is.
    pub external_id: Option<String>,
    /// What the person is called.
    pub display_name: Option<String>,
    /// The language, canonical.
    pub locale: Option<String>,
    /// The time zone.
    pub time_zone: Option<String>,
    /// The addresses, the preferred ones first.
    pub addresses: Vec<Address>,
    /// The attributes.
    pub attributes: BTreeMap<String, String>,
}

/// What is wrong with recipients, by their index: contacts that do not exist. Nothing is written.
///
/// # Errors
/// What storage says.
pub async fn check(work: &mut Work, recipients: &[Option<&Recipient>]) -> Result<HashMap<usize, Violation>> {
    let (by_id, by_external) = existing(work, recipients).await?;
    let mut wrong = HashMap::new();
    for (index, recipient) in recipients.iter().enumerate() {
        let Some(Recipient::Contact(name)) = recipient else { continue };
        let known = match name {
            ContactName::Id(id) => by_id.contains(id),
            ContactName::External(external_id) => by_external.contains_key(external_id),
        };
        if !known {
            wrong.insert(index, not_found("contact", name.to_string()));
        }
    }
    Ok(wrong)
}

/// The contact of each recipient; those that do not stand yet are made.
///
/// # Errors
/// What storage says.
pub async fn ensure(work: &mut Work, recipients: &[&Recipient]) -> Result<Vec<i64>> {
    let asked: Vec<Option<&Recipient>> = recipients.iter().copied().map(Some).collect();
    let (_, by_external) = existing(work, &asked).await?;
    lock_known(work, recipients).await?;
    let mut by_address = with_contacts(work, recipients).await?;
    let mut ids = Vec::with_capacity(recipients.len());
    for recipient in recipients {
        ids.push(match recipient {
            Recipient::Contact(ContactName::Id(id)) => *id,
            Recipient::Contact(ContactName::External(key)) => by_external.get(key).copied().unwrap_or_default(),
            Recipient::Address(address) => by_address.get(address).copied().unwrap_or_default(),
            Recipient::Upsert(known) => {
                let id = upsert(work, known).await?;
                for address in &known.addresses {
                    by_address.entry(address.clone()).or_insert(id);
                }
                id
            }
        });
    }
    Ok(ids)
}

async fn existing(work: &mut Work, recipients: &[Option<&Recipient>]) -> Result<(HashSet<i64>, HashMap<String, i64>)> {
    let (mut ids, mut externals) = (Vec::new(), Vec::new());
    for recipient in recipients.iter().flatten() {
        match recipient {
            Recipient::Contact(ContactName::Id(id)) => ids.push(*id),
            Recipient::Contact(ContactName::External(key)) => externals.push(key.as_str()),
            Recipient::Address(_) | Recipient::Upsert(_) => {}
        }
    }
    let by_id = match ids.is_empty() {
        true => Vec::new(),
        false => storage::sending::existing_contacts(work.conn(), &ids).await?,
    };
    let by_external = match externals.is_empty() {
        true => HashMap::new(),
        false => storage::contacts::by_external_id(work.conn(), &externals).await?,
    };
    Ok((by_id.into_iter().collect(), by_external))
}

/// Contacts that will be changed are locked in the order of their keys, whatever the order of the requests.
async fn lock_known(work: &mut Work, recipients: &[&Recipient]) -> Result<()> {
    let (mut externals, mut addresses) = (Vec::new(), Vec::new());
    for recipient in recipients {
        match recipient {
            Recipient::Upsert(Known { external_id: Some(key), .. }) => externals.push(key.as_str()),
            Recipient::Upsert(Known { external_id: None, addresses: own, .. }) => addresses.extend(own.first()),
            Recipient::Contact(_) | Recipient::Address(_) => {}
        }
    }
    if externals.is_empty() && addresses.is_empty() {
        return Ok(());
    }
    let by_external = storage::contacts::by_external_id(work.conn(), &externals).await?;
    let by_address = storage::sending::contacts_of(work.conn(), &addresses).await?;
    let ids: Vec<i64> = by_external.into_values().chain(by_address.into_values()).collect();
    storage::contacts::lock(work.conn(), &ids).await?;
    Ok(())
}

/// The contact of each bare address. Unknown ones are locked before they are looked up again, so that of two sends at once
/// the second finds the contact that the first has made.
async fn with_contacts(work: &mut Work, recipients: &[&Recipient]) -> Result<HashMap<Address, i64>> {
    let bare = recipients.iter().filter_map(|r| match r {
        Recipient::Address(address) => Some(address),
        Recipient::Contact(_) | Recipient::Upsert(_) => None,
    });
    let mut bare: Vec<&Address> = bare.collect();
    bare.sort_unstable();
    bare.dedup();
    if bare.is_empty() {
        return Ok(HashMap::new());
    }
    let mut found = storage::sending::contacts_of(work.conn(), &bare).await?;
    bare.retain(|address| !found.contains_key(*address));
    if bare.is_empty() {
        return Ok(found);
    }
    let now = work.now();
    storage::contacts::ensure_addresses(work.conn(), &bare, now).await?;
    storage::sending::lock_addresses(work.conn(), &bare).await?;
    found.extend(storage::sending::contacts_of(work.conn(), &bare).await?);
    for address in bare {
        if !found.contains_key(address) {
            let change = Change { addresses: Some(vec![address.clone()]), ..Change::default() };
            found.insert(address.clone(), contacts::create(work, change).await?.id);
        }
    }
    Ok(found)
}

async fn upsert(work: &mut Work, known: &Known) -> Result<i64> {
    let id = match (&known.external_id, known.addresses.first()) {
        (Some(key), _) => storage::contacts::by_external_id(work.conn(), &[key]).await?.get(key).copied(),
        (None, Some(first)) => storage::sending::contacts_of(work.conn(), &[first]).await?.get(first).copied(),
        (None, None) => None,
    };
    let Some(id) = id else {
        return Ok(contacts::create(work, known.change(&[])).await?.id);
    };
    storage::contacts::lock(work.conn(), &[id]).await?;
    let before = storage::contacts::load(work.conn(), &[id]).await?.pop();
    let addresses = before.map(|c| c.addresses).unwrap_or_default();
    Ok(contacts::update(work, &ContactName::Id(id), known.change(&addresses), "").await?.id)
}

impl Known {
    /// What is written of the contact that has these addresses already.
    fn change(&self, before: &[Address]) -> Change {
        let mut addresses = before.to_vec();
        for address in &self.addresses {
            if !addresses.contains(address) {
                addresses.push(address.clone());
            }
        }
        Change {
            external_id: self.external_id.clone(),
            display_name: self.display_name.clone(),
            locale: self.locale.clone(),
            time_zone: self.time_zone.clone(),
            addresses: Some(addresses),
            keep_addresses: false,
            attributes: None,
            attribute: self.attributes.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::channel::AddressKind;

    use super::*;

    #[test]
    fn addresses_are_added_behind_those_that_are_known() {
        let phone = |value: &str| Address { kind: AddressKind::Phone, value: value.to_owned() };
        let known = Known { addresses: vec![phone("+2"), phone("+1")], ..Known::default() };
        let change = known.change(&[phone("+1")]);
        assert_eq!(change.addresses, Some(vec![phone("+1"), phone("+2")]));
        assert_eq!((change.display_name, change.attributes), (None, None));
    }
}
