//! Who is in an audience: how many, and some of them, without writing anything.

use std::{
    collections::{BTreeMap, HashSet},
    time::{Duration, Instant},
};

use domain::channel::Address;
use serde_json::{Map, Value};

use super::{
    Definition, name, parse,
    reading::{Fetched, Reader, identity},
};
use crate::{
    services::{Context, Error, Result},
    storage::{audiences, contacts},
};

/// Rows that are read at once.
const PAGE: usize = 1000;
/// How long counting a query's rows may take after it has run.
const COUNT_FOR: Duration = Duration::from_secs(20);

/// Whose preview is asked for.
#[expect(clippy::large_enum_variant, reason = "there is one at a time, never a list of them")]
#[derive(Debug, Clone)]
pub enum Asked {
    /// A stored audience, by its slug.
    Stored(String),
    /// One that is not stored.
    Unstored(Definition),
}

/// One person, as the audience knows them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample {
    /// The contact; none for a person who is none yet.
    pub contact_id: Option<i64>,
    /// The caller's id.
    pub external_id: String,
    /// What the person is called.
    pub display_name: String,
    /// The addresses.
    pub addresses: Vec<Address>,
    /// The language.
    pub locale: String,
    /// The time zone.
    pub time_zone: String,
    /// The variables that the audience gives.
    pub variables: Map<String, Value>,
}

/// What is in an audience.
#[derive(Debug, Clone, Default)]
pub struct Preview {
    /// How many people; of a query that takes long to read, those that were read in time.
    pub count: i64,
    /// How many rows are no person.
    pub unmappable: i64,
    /// Why, and how often.
    pub reasons: BTreeMap<String, i64>,
    /// Some people.
    pub samples: Vec<Sample>,
}

/// Looks at an audience.
///
/// # Errors
/// [`Error::NotFound`], and what is wrong with its filter or query.
pub async fn preview(context: &Context, asked: &Asked, samples: usize) -> Result<Preview> {
    let stored = match asked {
        Asked::Stored(slug) => audiences::find(&mut *context.lists.conn().await?, slug).await?,
        Asked::Unstored(_) => None,
    };
    let (definition, id) = match (asked, &stored) {
        (Asked::Unstored(definition), _) => (definition.clone(), 0),
        (Asked::Stored(_), Some(row)) => (Definition::read(row)?, row.id),
        (Asked::Stored(slug), None) => return Err(Error::NotFound(name(slug))),
    };
    match definition {
        Definition::Sql(_) => of_rows(context, &definition, samples).await,
        Definition::List => {
            let count = stored.map_or(0, |row| row.members);
            of_contacts(context, Reader::List(id, 0), count, samples).await
        }
        Definition::Filter { filter } => {
            let filter = parse(&filter)?;
            let count = contacts::count(&mut *context.lists.conn().await?, &filter).await?;
            of_contacts(context, Reader::Filter(filter, 0), count, samples).await
        }
    }
}

async fn of_contacts(context: &Context, mut reader: Reader, count: i64, samples: usize) -> Result<Preview> {
    let variables: BTreeMap<i64, Map<String, Value>> = match reader.fetch(context, samples).await? {
        Fetched::Members(members) => {
            members.into_iter().map(|m| (m.contact_id, m.variables.as_object().cloned().unwrap_or_default())).collect()
        }
        Fetched::Contacts(ids) => ids.into_iter().map(|id| (id, Map::new())).collect(),
        Fetched::Rows(_) => BTreeMap::new(),
    };
    let ids: Vec<i64> = variables.keys().copied().collect();
    let found = contacts::load(&mut *context.lists.conn().await?, &ids).await?;
    let sample = |c: contacts::ContactRow| Sample {
        contact_id: Some(c.id),
        external_id: c.external_id.unwrap_or_default(),
        display_name: c.display_name,
        addresses: c.addresses,
        locale: c.locale,
        time_zone: c.time_zone,
        variables: variables.get(&c.id).cloned().unwrap_or_default(),
    };
    Ok(Preview { count, samples: found.into_iter().map(sample).collect(), ..Preview::default() })
}

async fn of_rows(context: &Context, definition: &Definition, samples: usize) -> Result<Preview> {
    let mut reader = Reader::of_definition(context, definition).await?;
    let (mut preview, mut seen, begun) = (Preview::default(), HashSet::new(), Instant::now());
    while begun.elapsed() < COUNT_FOR {
        let Fetched::Rows(rows) = reader.fetch(context, PAGE).await? else { break };
        if rows.is_empty() {
            break;
        }
        for row in rows {
            match row {
                Ok(person) if seen.insert(identity(&person)) => {
                    preview.count += 1;
                    if preview.samples.len() < samples {
                        preview.samples.push(sample(person));
                    }
                }
                Ok(_) => {}
                Err(unmappable) => {
                    preview.unmappable += 1;
                    for reason in unmappable.reasons {
                        *preview.reasons.entry(reason.to_string()).or_default() += 1;
                    }
                }
            }
        }
    }
    known(context, &mut preview.samples).await?;
    Ok(preview)
}

fn sample(person: domain::mapping::Mapped) -> Sample {
    let of = person.contact;
    Sample {
        contact_id: None,
        external_id: of.external_id.unwrap_or_default(),
        display_name: of.display_name.unwrap_or_default(),
        addresses: of.addresses,
        locale: of.locale.map(|l| l.to_string()).unwrap_or_default(),
        time_zone: of.time_zone.map(|z| z.name().to_owned()).unwrap_or_default(),
        variables: person.variables,
    }
}

/// Notes who of the samples is a contact already.
async fn known(context: &Context, samples: &mut [Sample]) -> Result<()> {
    let conn = &mut *context.lists.conn().await?;
    let externals: Vec<&str> = samples.iter().map(|s| s.external_id.as_str()).filter(|id| !id.is_empty()).collect();
    let by_external = contacts::by_external_id(conn, &externals).await?;
    let firsts: Vec<&Address> = samples.iter().filter_map(|s| s.addresses.first()).collect();
    let by_address = contacts::by_address(conn, &firsts).await?;
    for sample in samples {
        sample.contact_id = match sample.external_id.is_empty() {
            false => by_external.get(&sample.external_id).copied(),
            true => sample.addresses.first().and_then(|address| by_address.get(address).copied()),
        };
    }
    Ok(())
}
