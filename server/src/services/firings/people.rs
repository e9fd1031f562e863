//! The people of a batch of rows: found by their external id, else by their first address, created where they are new, changed
//! where a row says something new. A handful of statements, whatever the size of the batch.
//!
//! Addresses of a kind that a row brings replace those of that kind; other kinds stay. What a row does not say stays too.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use domain::{channel::Address, mapping::MappedContact};

use crate::{
    services::Result,
    storage::{
        Conn,
        contacts::{self, ContactRow, ContactWrite},
    },
};

/// Writes the people of rows, in the order of the rows: a later row wins. Says for each row its contact, and whether the batch
/// created it.
pub(super) async fn upsert(conn: &mut Conn, people: &[&MappedContact], now: DateTime<Utc>) -> Result<Vec<(i64, bool)>> {
    let mut people_by = Known::load(conn, people).await?;
    let unknown = people.iter().filter(|person| people_by.find(person).is_none()).count();
    let mut fresh = contacts::new_ids(conn, unknown).await?.into_iter();
    let mut ids = Vec::with_capacity(people.len());
    for person in people {
        let id = match people_by.find(person) {
            Some(id) => id,
            None => people_by.add(fresh.next().unwrap_or_default(), person, now),
        };
        people_by.merge(id, person);
        ids.push(id);
    }
    let created = people_by.write(conn, now).await?;
    Ok(ids.into_iter().map(|id| (id, created.contains(&id))).collect())
}

/// The contacts of a batch, as they stood and as they will stand.
struct Known {
    by_external: HashMap<String, i64>,
    by_address: HashMap<Address, i64>,
    before: HashMap<i64, ContactRow>,
    after: HashMap<i64, ContactRow>,
}

impl Known {
    async fn load(conn: &mut Conn, people: &[&MappedContact]) -> Result<Self> {
        let externals: Vec<&str> = people.iter().filter_map(|p| p.external_id.as_deref()).collect();
        let by_external = contacts::by_external_id(conn, &externals).await?;
        let nameless = people.iter().filter(|p| p.external_id.is_none());
        let firsts: Vec<&Address> = nameless.filter_map(|p| p.addresses.first()).collect();
        let by_address = contacts::by_address(conn, &firsts).await?;
        let ids: Vec<i64> = by_external.values().chain(by_address.values()).copied().collect();
        let locked = contacts::lock(conn, &ids).await?;
        let rows = contacts::load(conn, &locked).await?;
        let before: HashMap<i64, ContactRow> = rows.into_iter().map(|row| (row.id, row)).collect();
        // One that was deleted between the two statements is nobody any more.
        let mut known = Self { by_external, by_address, after: before.clone(), before };
        known.by_external.retain(|_, id| known.before.contains_key(id));
        known.by_address.retain(|_, id| known.before.contains_key(id));
        Ok(known)
    }

    fn find(&self, person: &MappedContact) -> Option<i64> {
        match (&person.external_id, person.addresses.first()) {
            (Some(external_id), _) => self.by_external.get(external_id).copied(),
            (None, Some(address)) => self.by_address.get(address).copied(),
            (None, None) => None,
        }
    }

    fn add(&mut self, id: i64, person: &MappedContact, now: DateTime<Utc>) -> i64 {
        let blank = ContactRow {
            id,
            external_id: person.external_id.clone(),
            display_name: String::new(),
            locale: String::new(),
            time_zone: String::new(),
            attributes: serde_json::json!({}),
            version: 1,
            created_at: now,
            updated_at: now,
            addresses: Vec::new(),
        };
        self.after.insert(id, blank);
        if let Some(external_id) = &person.external_id {
            self.by_external.insert(external_id.clone(), id);
        }
        for address in &person.addresses {
            self.by_address.entry(address.clone()).or_insert(id);
        }
        id
    }

    fn merge(&mut self, id: i64, person: &MappedContact) {
        let Some(contact) = self.after.get_mut(&id) else { return };
        if let Some(name) = &person.display_name {
            contact.display_name.clone_from(name);
        }
        if let Some(locale) = &person.locale {
            contact.locale = locale.to_string();
        }
        if let Some(zone) = person.time_zone {
            contact.time_zone = zone.name().to_owned();
        }
        let kinds: HashSet<_> = person.addresses.iter().map(|address| address.kind).collect();
        let kept = contact.addresses.iter().filter(|address| !kinds.contains(&address.kind)).cloned();
        contact.addresses = person.addresses.iter().cloned().chain(kept).collect();
    }

    /// Writes what is new and what changed; says what is new.
    async fn write(self, conn: &mut Conn, now: DateTime<Utc>) -> Result<HashSet<i64>> {
        let (mut created, mut changed, mut links) = (Vec::new(), Vec::new(), Vec::new());
        let mut after: Vec<&ContactRow> = self.after.values().collect();
        after.sort_by_key(|contact| contact.id);
        for contact in after {
            let before = self.before.get(&contact.id);
            if before.is_none_or(|before| before.addresses != contact.addresses) {
                links.push((contact.id, contact.addresses.as_slice()));
            }
            match before {
                None => created.push(write_of(contact)),
                Some(before) if before != contact => changed.push(write_of(contact)),
                Some(_) => {}
            }
        }
        if !created.is_empty() {
            contacts::insert(conn, &created, now).await?;
        }
        if !changed.is_empty() {
            contacts::update(conn, &changed, now).await?;
        }
        if !links.is_empty() {
            contacts::set_addresses(conn, &links, now).await?;
        }
        Ok(created.into_iter().map(|contact| contact.id).collect())
    }
}

fn write_of(contact: &ContactRow) -> ContactWrite {
    ContactWrite {
        id: contact.id,
        external_id: contact.external_id.clone(),
        display_name: contact.display_name.clone(),
        locale: contact.locale.clone(),
        time_zone: contact.time_zone.clone(),
        attributes: contact.attributes.clone(),
    }
}
