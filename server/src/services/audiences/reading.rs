//! Reading an audience page by page, of whatever kind it is. A page is fetched first and written later, so that whoever
//! writes it can put the people of a query, who become contacts, into the transaction of what is done with them.

use std::collections::HashSet;

use domain::{
    filter::Filter,
    mapping::{Mapped, Unmappable},
};
use serde_json::{Map, Value};

use super::{Definition, parse, sql};
use crate::{
    services::{
        Context, Result,
        contacts::{self, import},
        work::Work,
    },
    storage::{
        audiences::{self, AudienceRow, MemberRow},
        contacts as rows,
    },
};

/// An audience that is being read.
#[expect(clippy::large_enum_variant, reason = "there is one at a time, never a list of them")]
#[derive(Debug)]
pub enum Reader {
    /// A list, by its key, after a contact.
    List(i64, i64),
    /// A filter, after a contact.
    Filter(Filter, i64),
    /// A query that was run.
    Query(sql::Reader),
}

/// A page as it was fetched.
#[derive(Debug)]
pub enum Fetched {
    /// Members of a list.
    Members(Vec<MemberRow>),
    /// Contacts that a filter lets through.
    Contacts(Vec<i64>),
    /// Rows of a query.
    Rows(Vec<sql::Row>),
}

/// A person of an audience.
#[derive(Debug, Clone, PartialEq)]
pub struct Person {
    /// The contact.
    pub contact_id: i64,
    /// The variables that the audience gives for this person.
    pub variables: Map<String, Value>,
}

/// What a page came to.
#[derive(Debug, Default)]
pub struct Taken {
    /// Its people, each once.
    pub people: Vec<Person>,
    /// How often a person of it came again.
    pub duplicates: usize,
    /// Rows that are no person, by their place in the page.
    pub unmappable: Vec<(usize, Unmappable)>,
}

impl Reader {
    /// Begins to read an audience, after a contact where it is read in the order of contacts. A query is run here.
    ///
    /// # Errors
    /// What [`sql::Reader::open`] says.
    pub async fn open(context: &Context, audience: &AudienceRow, after: i64) -> Result<Self> {
        Ok(match Definition::read(audience)? {
            Definition::List => Self::List(audience.id, after),
            Definition::Filter { filter } => Self::Filter(parse(&filter)?, after),
            Definition::Sql(query) => Self::Query(sql::Reader::open(context, &query).await?),
        })
    }

    /// The same for an audience that is not stored; a list of that kind is empty.
    ///
    /// # Errors
    /// What [`sql::Reader::open`] says.
    pub async fn of_definition(context: &Context, definition: &Definition) -> Result<Self> {
        Ok(match definition {
            Definition::List => Self::List(0, i64::MAX),
            Definition::Filter { filter } => Self::Filter(parse(filter)?, 0),
            Definition::Sql(query) => Self::Query(sql::Reader::open(context, query).await?),
        })
    }

    /// Whether it can be read on from where it was left, by another process too.
    #[must_use]
    pub const fn resumes(&self) -> bool {
        match self {
            Self::List(..) | Self::Filter(..) => true,
            Self::Query(_) => false,
        }
    }

    /// The next page, of at most `count`; an empty one is the end.
    ///
    /// # Errors
    /// What storage or the source says.
    pub async fn fetch(&mut self, context: &Context, count: usize) -> Result<Fetched> {
        let limit = i64::try_from(count).unwrap_or(i64::MAX);
        Ok(match self {
            Self::List(id, after) => {
                let members = audiences::members(&mut *context.lists.conn().await?, *id, *after, limit).await?;
                *after = members.last().map_or(*after, |m| m.contact_id);
                Fetched::Members(members)
            }
            Self::Filter(filter, after) => {
                let ids = rows::list(&mut *context.lists.conn().await?, filter, *after, limit).await?;
                *after = ids.last().copied().unwrap_or(*after);
                Fetched::Contacts(ids)
            }
            Self::Query(reader) => Fetched::Rows(reader.next(count).await?),
        })
    }
}

impl Fetched {
    /// How many rows it has.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Members(members) => members.len(),
            Self::Contacts(ids) => ids.len(),
            Self::Rows(rows) => rows.len(),
        }
    }

    /// Whether it is the end.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The contact after which the next page begins, where that is the order.
    #[must_use]
    pub fn last_contact(&self) -> Option<i64> {
        match self {
            Self::Members(members) => members.last().map(|m| m.contact_id),
            Self::Contacts(ids) => ids.last().copied(),
            Self::Rows(_) => None,
        }
    }
}

/// Makes people of a page: rows of a query become contacts, in the caller's transaction.
///
/// # Errors
/// What storage says.
pub async fn take(work: &mut Work, page: &Fetched) -> Result<Taken> {
    match page {
        Fetched::Members(members) => {
            let person = |m: &MemberRow| Person {
                contact_id: m.contact_id,
                variables: m.variables.as_object().cloned().unwrap_or_default(),
            };
            Ok(Taken { people: members.iter().map(person).collect(), ..Taken::default() })
        }
        Fetched::Contacts(ids) => {
            let person = |id: &i64| Person { contact_id: *id, variables: Map::new() };
            Ok(Taken { people: ids.iter().map(person).collect(), ..Taken::default() })
        }
        Fetched::Rows(rows) => of_rows(work, rows).await,
    }
}

async fn of_rows(work: &mut Work, rows: &[sql::Row]) -> Result<Taken> {
    let (mut taken, mut seen, mut mapped) = (Taken::default(), HashSet::new(), Vec::new());
    for (place, row) in rows.iter().enumerate() {
        match row {
            Err(unmappable) => taken.unmappable.push((place, unmappable.clone())),
            Ok(person) if seen.insert(identity(person)) => mapped.push(person),
            Ok(_) => taken.duplicates += 1,
        }
    }
    let contacts = import::upsert(work, mapped.iter().map(|person| contact(person)).collect()).await?;
    // Two rows of different words can still be one person: two addresses of one contact.
    let mut once = HashSet::new();
    for (contact_id, person) in contacts.into_iter().zip(mapped) {
        match once.insert(contact_id) {
            true => taken.people.push(Person { contact_id, variables: person.variables.clone() }),
            false => taken.duplicates += 1,
        }
    }
    Ok(taken)
}

/// What tells people of a query apart: their id, else their first address.
#[must_use]
pub fn identity(person: &Mapped) -> String {
    match (&person.contact.external_id, person.contact.addresses.first()) {
        (Some(id), _) => format!("id {id}"),
        (None, Some(address)) => format!("{} {}", address.kind, address.value),
        (None, None) => String::new(),
    }
}

/// What a row says of its contact. What it does not name stays as it is.
fn contact(person: &Mapped) -> import::Row {
    let of = &person.contact;
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let change = contacts::Change {
        external_id: of.external_id.clone(),
        display_name: of.display_name.clone(),
        locale: of.locale.as_ref().map(ToString::to_string),
        time_zone: of.time_zone.map(|zone| zone.name().to_owned()),
        addresses: Some(of.addresses.clone()),
        keep_addresses: true,
        attribute: of.attributes.iter().map(|(name, value)| (name.clone(), text(value))).collect(),
        ..contacts::Change::default()
    };
    import::Row { change, consents: Vec::new() }
}
