//! Sources: where a watched or queried Postgres is, and how it is.

use proto::v1::{self, source::Connection as Given};

use super::{Faults, common};
use crate::{
    grpc::mask::Mask,
    services::{
        self, etag,
        sources::{self, Change, Checked, Connection, SourceRow},
    },
};

const OUTBOX_LIMITS: std::ops::RangeInclusive<i64> = 1_000..=100_000_000;

/// A source of the contract.
///
/// # Errors
/// When what is stored cannot be read.
pub fn message(row: SourceRow) -> services::Result<v1::Source> {
    let (settings, health) = (sources::settings(&row)?, sources::health(&row));
    let connection = match (row.own, settings.url_env, settings.url_file) {
        (true, _, _) => Some(Given::OwnDatabase(true)),
        (false, Some(variable), _) => Some(Given::UrlEnv(variable)),
        (false, None, path) => path.map(Given::UrlFile),
    };
    // Without a consumer there is nothing to be disconnected: nothing is captured there.
    let state = match &health {
        Some(health) if !health.connected => v1::source::State::Disconnected,
        Some(health) if !health.last_error.is_empty() => v1::source::State::Degraded,
        Some(_) | None => v1::source::State::Connected,
    };
    let health = health.unwrap_or_default();
    Ok(v1::Source {
        name: sources::name(&row.slug),
        display_name: row.display_name,
        connection,
        query_role: settings.query_role.unwrap_or_default(),
        outbox_limit: i64::try_from(settings.outbox_limit.unwrap_or(sources::DEFAULT_OUTBOX_LIMIT)).unwrap_or(i64::MAX),
        state: state.into(),
        last_error: health.last_error,
        waiting_count: i64::try_from(health.waiting).unwrap_or(i64::MAX),
        last_capture_time: health.last_capture_at.map(common::timestamp),
        create_time: Some(common::timestamp(row.created_at)),
        update_time: Some(common::timestamp(row.updated_at)),
        etag: etag::of(row.version),
    })
}

/// A source to be created.
pub fn create(request: v1::CreateSourceRequest, faults: &mut Faults) -> (String, Change) {
    let slug = faults.slug("source_id", &request.source_id);
    let source = faults.required("source", request.source);
    let change = faults.inside("source", |f| {
        if source.connection.is_none() {
            f.note("connection", "is missing: exactly one of own_database, url_env and url_file must be set");
        }
        change(source, &Mask::all(&WRITABLE), f)
    });
    (slug, change)
}

const WRITABLE: [(&str, bool); 6] = [
    ("display_name", true),
    ("own_database", true),
    ("url_env", true),
    ("url_file", true),
    ("query_role", true),
    ("outbox_limit", true),
];

/// Which source changes, how, and what the caller has seen of it.
pub fn update(request: v1::UpdateSourceRequest, faults: &mut Faults) -> (String, Change, String) {
    let source = faults.required("source", request.source);
    let given = source.connection.as_ref();
    let writable = [
        ("display_name", !source.display_name.is_empty()),
        ("own_database", matches!(given, Some(Given::OwnDatabase(_)))),
        ("url_env", matches!(given, Some(Given::UrlEnv(_)))),
        ("url_file", matches!(given, Some(Given::UrlFile(_)))),
        ("query_role", !source.query_role.is_empty()),
        ("outbox_limit", source.outbox_limit != 0),
    ];
    let mask = Mask::read(request.update_mask.as_ref(), &writable, &[], faults);
    let (slug, etag) = (faults.name("source.name", "sources", &source.name), source.etag.clone());
    (slug, faults.inside("source", |f| change(source, &mask, f)), etag)
}

fn change(source: v1::Source, mask: &Mask, faults: &mut Faults) -> Change {
    let display_name = faults.text("display_name", source.display_name, 200);
    let query_role = faults.text("query_role", source.query_role, 63);
    let connection = source.connection.filter(|given| match given {
        Given::OwnDatabase(_) => mask.has("own_database"),
        Given::UrlEnv(_) => mask.has("url_env"),
        Given::UrlFile(_) => mask.has("url_file"),
    });
    let limit = source.outbox_limit;
    if limit != 0 && !OUTBOX_LIMITS.contains(&limit) {
        faults.note("outbox_limit", format!("is {limit}, must be from 1000 to 100000000, or 0 for 1000000"));
    }
    Change {
        display_name: mask.take("display_name", display_name),
        connection: connection.map(|given| read_connection(given, faults)),
        query_role: mask.take("query_role", query_role),
        outbox_limit: mask.take("outbox_limit", u64::try_from(limit).unwrap_or_default()),
    }
}

fn read_connection(given: Given, faults: &mut Faults) -> Connection {
    match given {
        Given::OwnDatabase(own) => {
            if !own {
                faults.note("own_database", "must be true, or be left out");
            }
            Connection::Own
        }
        Given::UrlEnv(variable) => {
            let variable = faults.required_text("url_env", variable, 200);
            if variable.contains("://") {
                faults.note("url_env", "is the name of an environment variable, not the URL itself");
            }
            Connection::Env(variable)
        }
        Given::UrlFile(path) => Connection::File(faults.required_text("url_file", path, 1000)),
    }
}

/// What a check found.
#[must_use]
pub fn checked(checked: Checked) -> v1::CheckSourceResponse {
    let problem = |v: services::Violation| common::problem(&v.field, v.reason, v.description);
    let latency = checked.latency.and_then(|latency| chrono::TimeDelta::from_std(latency).ok());
    v1::CheckSourceResponse {
        ok: checked.problems.is_empty(),
        server_version: checked.server_version,
        latency: latency.map(common::span),
        problems: checked.problems.into_iter().map(problem).collect(),
    }
}
