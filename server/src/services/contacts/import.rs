//! Many contacts at once: rows are taken in waves of a thousand, each wave in one transaction and a handful of statements.
//!
//! A row with an external id creates or changes the contact that has it; one without changes the contact that has its first
//! address, else creates one. A row that repeats the key of an earlier one begins a new wave, so that the later row wins.
//! Repeating a whole import changes nothing that is the same.

use std::collections::{HashMap, HashSet};

use domain::channel::Address;

use super::{Change, Contact, blank, consent, consent::NewConsent, write_of};
use crate::{
    services::{Context, Error, Result, work::Work},
    storage::{self, contacts},
};

/// The most rows of one wave.
pub const WAVE: usize = 1000;
/// How often a wave that met another writer is tried.
const TRIES: usize = 5;

/// One row that was read without a fault.
#[derive(Debug, Clone)]
pub struct Row {
    /// What it says of the contact.
    pub change: Change,
    /// The consents that it brings; their addresses belong to the contact or exist of their own right.
    pub consents: Vec<NewConsent>,
}

/// What became of rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Contacts that were created.
    pub created: i64,
    /// Contacts that were changed.
    pub updated: i64,
    /// Rows that said what was so already.
    pub unchanged: i64,
}

impl Counts {
    /// Adds what became of more rows.
    pub const fn add(&mut self, more: Self) {
        self.created += more.created;
        self.updated += more.updated;
        self.unchanged += more.unchanged;
    }
}

/// How an import is made.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// The audience of kind list that every contact is put on.
    pub audience_id: Option<i64>,
    /// Whether everything is checked and nothing stored.
    pub validate_only: bool,
}

/// The audience that an import fills.
///
/// # Errors
/// [`Error::ReferenceNotFound`], or AUDIENCE_KIND_WRONG when it is not a list.
pub async fn audience(context: &Context, slug: &str) -> Result<i64> {
    let name = format!("audiences/{slug}");
    let found = storage::audiences::kind(&mut *context.lists.conn().await?, slug).await?;
    match found {
        None => Err(Error::ReferenceNotFound { field: "options.audience".to_owned(), name }),
        Some((id, kind)) if kind == "list" => Ok(id),
        Some((_, kind)) => Err(Error::WrongState {
            reason: "AUDIENCE_KIND_WRONG",
            message: format!("{name} is of kind {kind}; contacts can be put on audiences of kind list only"),
        }),
    }
}

/// Takes rows, wave by wave; what was taken stays when a later wave fails.
///
/// # Errors
/// What storage says.
pub async fn take(context: &Context, options: Options, rows: Vec<Row>) -> Result<Counts> {
    let mut counts = Counts::default();
    for wave in waves(rows) {
        let mut rest = wave.as_slice();
        while !rest.is_empty() {
            let (of_part, taken) = take_wave(context, options, rest).await?;
            counts.add(of_part);
            rest = rest.get(taken..).unwrap_or_default();
        }
    }
    Ok(counts)
}

/// Cuts rows into waves in which no two write the same contact.
fn waves(rows: Vec<Row>) -> Vec<Vec<Row>> {
    let mut waves: Vec<Vec<Row>> = Vec::new();
    let (mut externals, mut addresses): (HashSet<String>, HashSet<Address>) = Default::default();
    for row in rows {
        let external = row.change.external_id.clone().filter(|e| !e.is_empty());
        let first = row.change.addresses.iter().flatten().next();
        let meets = match (&external, first) {
            (Some(id), _) => externals.contains(id),
            (None, Some(address)) => addresses.contains(address),
            (None, None) => false,
        };
        if meets || waves.last().is_none_or(|wave| wave.len() >= WAVE) {
            waves.push(Vec::new());
            externals.clear();
            addresses.clear();
        }
        externals.extend(external);
        addresses.extend(row.change.addresses.iter().flatten().cloned());
        if let Some(wave) = waves.last_mut() {
            wave.push(row);
        }
    }
    waves
}

/// A wave that met another writer (the same external id created twice at once) is taken again; then it finds what stands.
/// Says how many rows were taken.
async fn take_wave(context: &Context, options: Options, rows: &[Row]) -> Result<(Counts, usize)> {
    let mut tries = 1;
    loop {
        let mut work = Work::begin(context).await?;
        match write_wave(&mut work, options, rows).await {
            Ok((counts, written)) => {
                if !options.validate_only {
                    work.commit(context).await?;
                }
                return Ok((counts, written.len()));
            }
            Err(Error::Storage(storage::Error::Exists { .. } | storage::Error::Contended(_))) if tries < TRIES => {
                tries += 1
            }
            Err(error) => return Err(error),
        }
    }
}

/// Takes rows in the caller's transaction, and says the contact of each: for audiences, whose pages are transactions of their
/// own.
///
/// # Errors
/// What storage says; the whole transaction may be tried again when it met another one.
pub async fn upsert(work: &mut Work, rows: Vec<Row>) -> Result<Vec<i64>> {
    let mut contacts = Vec::with_capacity(rows.len());
    for wave in waves(rows) {
        let mut rest = wave.as_slice();
        while !rest.is_empty() {
            let (_, written) = write_wave(work, Options::default(), rest).await?;
            rest = rest.get(written.len()..).unwrap_or_default();
            contacts.extend(written);
        }
    }
    Ok(contacts)
}

/// Writes a wave, or its beginning: says what became of the rows that were written, and the contact of each.
async fn write_wave(work: &mut Work, options: Options, rows: &[Row]) -> Result<(Counts, Vec<i64>)> {
    let known = known(work, rows).await?;
    let rows = rows.get(..known.len()).unwrap_or_default();
    let (new, now) = (rows.iter().zip(&known).filter(|(_, k)| k.is_none()).count(), work.now());
    let mut ids = contacts::new_ids(work.conn(), new).await?.into_iter();
    let (mut created, mut changed, mut links, mut members) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut counts = Counts::default();
    for (row, known) in rows.iter().zip(known) {
        let is_new = known.is_none();
        let before = known.unwrap_or_else(|| blank(ids.next().unwrap_or_default(), now));
        let after = row.change.merged(&before);
        members.push(after.id);
        if after.addresses != before.addresses {
            links.push((after.id, after.addresses.clone()));
        }
        match (is_new, after == before) {
            (true, _) => created.push(write_of(&after)),
            (false, false) => changed.push(write_of(&after)),
            (false, true) => counts.unchanged += 1,
        }
    }
    counts.created = i64::try_from(created.len()).unwrap_or(i64::MAX);
    counts.updated = i64::try_from(changed.len()).unwrap_or(i64::MAX);
    contacts::insert(work.conn(), &created, now).await?;
    contacts::update(work.conn(), &changed, now).await?;
    let links: Vec<(i64, &[Address])> = links.iter().map(|(id, addresses)| (*id, addresses.as_slice())).collect();
    contacts::set_addresses(work.conn(), &links, now).await?;
    consents(work, rows).await?;
    if let Some(audience_id) = options.audience_id {
        contacts::add_to_audience(work.conn(), audience_id, &members).await?;
    }
    Ok((counts, members))
}

/// The contact that each row changes, locked; none for rows that create one. Ends before the first row that changes a contact
/// which an earlier row changes too: two addresses may lead to one contact.
async fn known(work: &mut Work, rows: &[Row]) -> Result<Vec<Option<Contact>>> {
    let external = |row: &'_ Row| row.change.external_id.clone().filter(|e| !e.is_empty());
    let externals: Vec<String> = rows.iter().filter_map(external).collect();
    let externals: Vec<&str> = externals.iter().map(String::as_str).collect();
    let by_external = contacts::by_external_id(work.conn(), &externals).await?;
    let nameless = rows.iter().filter(|row| external(row).is_none());
    let firsts: Vec<&Address> = nameless.filter_map(|row| row.change.addresses.iter().flatten().next()).collect();
    let by_address = contacts::by_address(work.conn(), &firsts).await?;
    let ids: Vec<Option<i64>> = rows
        .iter()
        .map(|row| match external(row) {
            Some(id) => by_external.get(&id).copied(),
            None => row.change.addresses.iter().flatten().next().and_then(|a| by_address.get(a).copied()),
        })
        .collect();
    let mut seen = HashSet::new();
    let ids: Vec<Option<i64>> = ids.into_iter().take_while(|id| id.is_none_or(|id| seen.insert(id))).collect();
    let locked = contacts::lock(work.conn(), &ids.iter().flatten().copied().collect::<Vec<_>>()).await?;
    let loaded = contacts::load(work.conn(), &locked).await?;
    let mut loaded: HashMap<i64, Contact> = loaded.into_iter().map(|c| (c.id, c)).collect();
    Ok(ids.into_iter().map(|id| id.and_then(|id| loaded.remove(&id))).collect())
}

/// The last record of a wave for each address, channel type and purpose.
async fn consents(work: &mut Work, rows: &[Row]) -> Result<()> {
    let mut last: HashMap<_, &NewConsent> = HashMap::new();
    for new in rows.iter().flat_map(|row| &row.consents) {
        let key = (&new.address, new.channel_type, &new.purpose);
        let newer = last.get(&key).is_none_or(|old| old.at <= new.at);
        if newer {
            last.insert(key, new);
        }
    }
    if last.is_empty() {
        return Ok(());
    }
    let (all, now) = (last.into_values().cloned().collect::<Vec<_>>(), work.now());
    let addresses: Vec<&Address> = all.iter().map(|c| &c.address).collect();
    contacts::ensure_addresses(work.conn(), &addresses, now).await?;
    consent::record(work, &all).await
}

#[cfg(test)]
mod tests {
    use domain::channel::AddressKind;

    use super::*;

    fn row(external_id: &str, phones: &[&str]) -> Row {
        let phone = |p: &&str| Address { kind: AddressKind::Phone, value: (*p).to_owned() };
        let change = Change {
            external_id: Some(external_id.to_owned()),
            addresses: Some(phones.iter().map(phone).collect()),
            ..Change::default()
        };
        Row { change, consents: Vec::new() }
    }

    fn sizes(rows: Vec<Row>) -> Vec<usize> {
        waves(rows).iter().map(Vec::len).collect()
    }

    #[test]
    fn rows_that_write_the_same_contact_are_in_different_waves() {
        assert_eq!(sizes(vec![row("a", &["+1"]), row("b", &["+1"]), row("a", &[])]), [2, 1]);
        assert_eq!(sizes(vec![row("a", &["+1"]), row("", &["+1"])]), [1, 1]);
        assert_eq!(sizes(vec![row("", &["+1"]), row("", &["+2", "+1"]), row("", &["+1"])]), [2, 1]);
        assert_eq!(sizes(vec![row("", &[]), row("", &[])]), [2]);
    }

    #[test]
    fn a_wave_is_never_longer_than_it_may_be() {
        let rows = (0..2500).map(|n| row(&format!("e{n}"), &[])).collect();
        assert_eq!(sizes(rows), [1000, 1000, 500]);
    }
}
