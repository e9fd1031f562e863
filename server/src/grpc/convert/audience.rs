//! Audiences, and who is in them.

use chrono::TimeDelta;
use proto::v1::{self, audience::Kind, preview_audience_request::Source as GivenSource};

use super::{Faults, common, contact, mapping};
use crate::{
    grpc::mask::Mask,
    services::{
        Result,
        audiences::{
            AudienceRow, Change, Definition, NewAudience, Query, name,
            preview::{Asked, Preview, Sample},
            sql::LONGEST_TIMEOUT,
        },
        contacts::ContactName,
        etag,
    },
};

const MAX_QUERY: usize = 20_000;
const MAX_FILTER: usize = 4096;

/// An audience of the contract.
///
/// # Errors
/// When what is stored cannot be read.
pub fn message(row: AudienceRow) -> Result<v1::Audience> {
    let kind = match Definition::read(&row)? {
        Definition::List => Kind::List(v1::ListAudience { member_count: row.members }),
        Definition::Filter { filter } => Kind::Filter(v1::FilterAudience { filter }),
        Definition::Sql(query) => Kind::Sql(v1::SqlAudience {
            source: format!("sources/{}", query.source),
            query: query.query,
            mapping: Some(mapping::message(query.mapping)),
            statement_timeout: query.timeout_ms.map(|ms| common::span(milliseconds(ms))),
        }),
    };
    Ok(v1::Audience {
        name: name(&row.slug),
        display_name: row.display_name,
        description: row.description,
        create_time: Some(common::timestamp(row.created_at)),
        update_time: Some(common::timestamp(row.updated_at)),
        etag: etag::of(row.version),
        kind: Some(kind),
    })
}

fn milliseconds(ms: u64) -> TimeDelta {
    i64::try_from(ms).ok().and_then(TimeDelta::try_milliseconds).unwrap_or(TimeDelta::MAX)
}

/// An audience to be created.
pub fn create(request: v1::CreateAudienceRequest, faults: &mut Faults) -> NewAudience {
    let slug = faults.slug("audience_id", &request.audience_id);
    let audience = faults.required("audience", request.audience);
    faults.inside("audience", |f| NewAudience {
        slug,
        display_name: f.text("display_name", audience.display_name, 200),
        description: f.text("description", audience.description, 2000),
        definition: required(audience.kind, f),
    })
}

/// Which audience changes, how, and what the caller has seen of it.
pub fn update(request: v1::UpdateAudienceRequest, faults: &mut Faults) -> (String, Change, String) {
    let audience = faults.required("audience", request.audience);
    let mask = Mask::read(request.update_mask.as_ref(), &writable(&audience), &[], faults);
    let (slug, etag) = (faults.name("audience.name", "audiences", &audience.name), audience.etag.clone());
    let change = faults.inside("audience", |f| {
        let of_kind = ["list", "filter", "sql"].into_iter().any(|kind| mask.has(kind)) && audience.kind.is_some();
        Change {
            display_name: mask.take("display_name", f.text("display_name", audience.display_name, 200)),
            description: mask.take("description", f.text("description", audience.description, 2000)),
            definition: of_kind.then(|| required(audience.kind, f)),
        }
    });
    (slug, change, etag)
}

fn writable(audience: &v1::Audience) -> [(&'static str, bool); 5] {
    let kind = audience.kind.as_ref();
    [
        ("display_name", !audience.display_name.is_empty()),
        ("description", !audience.description.is_empty()),
        ("list", matches!(kind, Some(Kind::List(_)))),
        ("filter", matches!(kind, Some(Kind::Filter(_)))),
        ("sql", matches!(kind, Some(Kind::Sql(_)))),
    ]
}

fn required(kind: Option<Kind>, faults: &mut Faults) -> Definition {
    match kind {
        Some(Kind::List(_)) => Definition::List,
        Some(Kind::Filter(given)) => {
            let filter = faults.inside("filter", |f| f.text("filter", given.filter, MAX_FILTER));
            faults.inside("filter", |f| contact::filter(&filter, f));
            Definition::Filter { filter }
        }
        Some(Kind::Sql(given)) => Definition::Sql(faults.inside("sql", |f| query(given, f))),
        None => {
            faults.note("list", "exactly one of list, filter and sql must be set");
            Definition::List
        }
    }
}

fn query(given: v1::SqlAudience, faults: &mut Faults) -> Query {
    let longest = TimeDelta::from_std(LONGEST_TIMEOUT).unwrap_or(TimeDelta::MAX);
    let timeout = faults.duration("statement_timeout", given.statement_timeout, TimeDelta::seconds(1)..=longest);
    let of_mapping = faults.required("mapping", given.mapping);
    Query {
        source: faults.name("source", "sources", &given.source),
        query: faults.required_text("query", given.query, MAX_QUERY),
        mapping: faults.inside("mapping", |f| mapping::read(of_mapping, f)),
        timeout_ms: timeout.and_then(|t| u64::try_from(t.num_milliseconds()).ok()),
    }
}

/// The contacts that are put on a list, or taken off.
pub fn members(slug: &str, contacts: &[String], faults: &mut Faults) -> (String, Vec<ContactName>) {
    let name = |(i, name): (usize, &String)| contact::name(&format!("contacts[{i}]"), name, faults);
    let names = contacts.iter().enumerate().map(name).collect();
    (faults.name("name", "audiences", slug), names)
}

/// Whose preview is asked for, and how many people are shown; none where the request was refused.
pub fn preview_of(request: v1::PreviewAudienceRequest, faults: &mut Faults) -> (Option<Asked>, usize) {
    let samples = faults.number("sample_size", request.sample_size, 1..=100).unwrap_or(10);
    let asked = match request.source {
        Some(GivenSource::Name(name)) => Some(Asked::Stored(faults.name("name", "audiences", &name))),
        Some(GivenSource::Audience(audience)) => {
            Some(Asked::Unstored(faults.inside("audience", |f| required(audience.kind, f))))
        }
        None => {
            faults.note("name", "exactly one of name and audience must be set");
            None
        }
    };
    (asked, usize::try_from(samples).unwrap_or(10))
}

/// A preview of the contract.
#[must_use]
pub fn preview(preview: Preview) -> v1::PreviewAudienceResponse {
    v1::PreviewAudienceResponse {
        count: preview.count,
        unmappable_count: preview.unmappable,
        sample: preview.samples.into_iter().map(person).collect(),
    }
}

fn person(sample: Sample) -> v1::MappedPerson {
    v1::MappedPerson {
        contact: sample.contact_id.map(|id| format!("contacts/{id}")).unwrap_or_default(),
        external_id: sample.external_id,
        display_name: sample.display_name,
        addresses: sample.addresses.into_iter().map(common::of_address).collect(),
        locale: sample.locale,
        time_zone: sample.time_zone,
        variables: Some(common::of_object(&sample.variables)),
    }
}
