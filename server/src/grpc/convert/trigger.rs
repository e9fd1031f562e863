//! Triggers of both kinds, and which trigger a request means.

use ::triggers::Operation;
use chrono::TimeDelta;
use proto::v1::{self, trigger::Kind};

use super::{Faults, common, firing, mapping, plan, schedule};
use crate::{
    grpc::mask::Mask,
    services::{
        self, etag, schedules,
        triggers::{self, Change, Counted, Created, ListFilter, New, NewTimes, Shown, TableWatch, TriggerRow},
    },
};

const SECOND: TimeDelta = TimeDelta::seconds(1);
const MAX_CONDITION: usize = 4000;

/// A trigger of the contract.
///
/// # Errors
/// When what is stored cannot be read.
pub fn message(row: TriggerRow, counted: &[Counted]) -> services::Result<v1::Trigger> {
    let state = match (row.enabled, &row.failure) {
        (false, _) => v1::trigger::State::Disabled,
        (true, None) => v1::trigger::State::Enabled,
        (true, Some(_)) => v1::trigger::State::Broken,
    };
    let kind = match row.kind.as_str() {
        "table" => Some(Kind::TableWatch(watch_message(row.source.as_deref(), TableWatch::read(&row)?))),
        _ => Some(Kind::Schedule(schedule::message(schedules::Definition::read(&row.definition)?, row.next_fire_at))),
    };
    Ok(v1::Trigger {
        name: triggers::name(&row.slug),
        display_name: row.display_name,
        description: row.description,
        kind,
        state: state.into(),
        failure: row.failure.unwrap_or_default(),
        firings: counted.iter().map(firing::count).collect(),
        last_fire_time: triggers::last_fired(counted).map(common::timestamp),
        create_time: Some(common::timestamp(row.created_at)),
        update_time: Some(common::timestamp(row.updated_at)),
        etag: etag::of(row.version),
    })
}

fn watch_message(source: Option<&str>, watch: TableWatch) -> v1::TableWatch {
    let operation = |operation: Operation| match operation {
        Operation::Insert => v1::table_watch::Operation::Insert,
        Operation::Update => v1::table_watch::Operation::Update,
        Operation::Delete => v1::table_watch::Operation::Delete,
    };
    let dedup_window = (!watch.dedup_columns.is_empty()).then(|| common::span(watch.dedup_window()));
    v1::TableWatch {
        source: source.map(|slug| format!("sources/{slug}")).unwrap_or_default(),
        operations: watch.operations.iter().map(|o| operation(*o).into()).collect(),
        purpose: watch.purpose().to_owned(),
        schema: watch.schema,
        table: watch.table,
        update_columns: watch.update_columns,
        condition: watch.condition,
        strict: watch.strict,
        mapping: Some(mapping::message(watch.mapping)),
        plan: Some(plan::message(watch.way)),
        dedup_columns: watch.dedup_columns,
        dedup_window,
        lane: firing::of_lane(watch.lane).into(),
        valid_for: watch.valid_for_ms.and_then(TimeDelta::try_milliseconds).map(common::span),
    }
}

/// A trigger to be created; `zone` is that of schedules that name none.
pub fn create(request: v1::CreateTriggerRequest, zone: &str, faults: &mut Faults) -> Created {
    let slug = faults.slug("trigger_id", &request.trigger_id);
    let (trigger, disabled) = (faults.required("trigger", request.trigger), request.disabled);
    faults.inside("trigger", |f| {
        let display_name = f.text("display_name", trigger.display_name, 200);
        let description = f.text("description", trigger.description, 2000);
        if let Some(Kind::Schedule(given)) = trigger.kind {
            let definition = f.inside("schedule", |f| schedule::definition(given, zone, f));
            return Created::Schedule(Box::new(NewTimes { slug, display_name, description, definition, disabled }));
        }
        let (source, watch) = table_watch(trigger.kind, &|_| true, f);
        Created::Table(Box::new(New { slug, display_name, description, source, watch, disabled }))
    })
}

/// Which trigger changes, how, and what the caller has seen of it.
pub fn update(request: v1::UpdateTriggerRequest, zone: &str, faults: &mut Faults) -> (String, Change, String) {
    let trigger = faults.required("trigger", request.trigger);
    let writable = [
        ("display_name", !trigger.display_name.is_empty()),
        ("description", !trigger.description.is_empty()),
        ("table_watch", matches!(trigger.kind, Some(Kind::TableWatch(_)))),
        ("schedule", matches!(trigger.kind, Some(Kind::Schedule(_)))),
    ];
    let mask = Mask::read(request.update_mask.as_ref(), &writable, &["table_watch"], faults);
    let (slug, etag) = (faults.name("trigger.name", "triggers", &trigger.name), trigger.etag);
    let parts: Vec<String> = mask.inside("table_watch").map(str::to_owned).collect();
    for part in parts.iter().filter(|part| !TableWatch::PARTS.contains(&part.as_str())) {
        let names = TableWatch::PARTS.join(", ");
        faults.note("update_mask", format!("table_watch.{part} cannot be written; what can be is {names}"));
    }
    let (whole, is_table) = (mask.has("table_watch"), matches!(trigger.kind, Some(Kind::TableWatch(_))));
    let change = faults.inside("trigger", |f| {
        let wanted = |part: &str| whole || parts.iter().any(|p| p == part);
        let given = match trigger.kind.clone() {
            Some(Kind::Schedule(given)) => Some(given),
            Some(Kind::TableWatch(_)) | None => None,
        };
        let times = (mask.has("schedule") && !is_table).then(|| {
            let given = f.required("schedule", given);
            f.inside("schedule", |f| schedule::definition(given, zone, f))
        });
        // With `*` only the kind that is given is written.
        let whole = whole && times.is_none();
        let watch = (whole || !parts.is_empty()).then(|| table_watch(trigger.kind, &wanted, f));
        Change {
            display_name: mask.take("display_name", f.text("display_name", trigger.display_name, 200)),
            description: mask.take("description", f.text("description", trigger.description, 2000)),
            watch: watch.map(|(source, watch)| (Some(source).filter(|_| whole), watch)),
            parts: if whole { Vec::new() } else { parts.clone() },
            times,
        }
    });
    (slug, change, etag)
}

/// Reads the wanted parts of a table watch; the others are left at their defaults. Says the slug of its source, too.
fn table_watch(kind: Option<Kind>, wanted: &dyn Fn(&str) -> bool, faults: &mut Faults) -> (String, TableWatch) {
    let given = match kind {
        Some(Kind::TableWatch(given)) => given,
        Some(Kind::Schedule(_)) => {
            faults.note("schedule", "cannot stand here: this trigger is a table watch");
            v1::TableWatch::default()
        }
        None => {
            faults.note("table_watch", "is missing");
            v1::TableWatch::default()
        }
    };
    faults.inside("table_watch", |f| read_watch(given, wanted, f))
}

fn read_watch(given: v1::TableWatch, wanted: &dyn Fn(&str) -> bool, f: &mut Faults) -> (String, TableWatch) {
    let whole = wanted("");
    let source = if whole { f.name("source", "sources", &given.source) } else { String::new() };
    let table = if whole { f.required_text("table", given.table, 63) } else { given.table };
    let schema = if given.schema.is_empty() { "public".to_owned() } else { f.text("schema", given.schema, 63) };
    let operations = if wanted("operations") { operations(&given.operations, f) } else { Vec::new() };
    let row_mapping = wanted("mapping").then(|| {
        let given = f.required("mapping", given.mapping);
        f.inside("mapping", |f| mapping::read(given, f))
    });
    let way = wanted("plan").then(|| {
        let given = f.required("plan", given.plan);
        f.inside("plan", |f| plan::way(given, f))
    });
    let purpose = f.text("purpose", given.purpose, 32);
    let mut chars = purpose.chars();
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    if chars.next().is_some_and(|c| !c.is_ascii_lowercase()) || !chars.all(allowed) {
        f.note("purpose", "must match [a-z][a-z0-9_-]{0,31}, such as reminder");
    }
    let window = f.duration("dedup_window", given.dedup_window, SECOND..=TimeDelta::days(365));
    let valid_for = f.duration("valid_for", given.valid_for, SECOND..=TimeDelta::days(90));
    let watch = TableWatch {
        schema,
        table,
        operations,
        update_columns: given.update_columns,
        condition: f.text("condition", given.condition, MAX_CONDITION),
        strict: given.strict,
        mapping: row_mapping.unwrap_or_default(),
        way: way.unwrap_or_default(),
        purpose,
        dedup_columns: given.dedup_columns,
        dedup_window_secs: window.map(|window| window.num_seconds()),
        lane: f.optional_code("lane", given.lane, firing::lane),
        valid_for_ms: valid_for.map(|valid_for| valid_for.num_milliseconds()),
    };
    (source, watch)
}

fn operations(given: &[i32], faults: &mut Faults) -> Vec<Operation> {
    if given.is_empty() {
        faults.note("operations", "is empty: name at least one of INSERT, UPDATE and DELETE");
    }
    let mut found = Vec::new();
    for (i, value) in given.iter().enumerate() {
        let operation = faults.code(&format!("operations[{i}]"), *value, |o: v1::table_watch::Operation| match o {
            v1::table_watch::Operation::Unspecified => None,
            v1::table_watch::Operation::Insert => Some(Operation::Insert),
            v1::table_watch::Operation::Update => Some(Operation::Update),
            v1::table_watch::Operation::Delete => Some(Operation::Delete),
        });
        found.extend(operation.filter(|operation| !found.contains(operation)));
    }
    found
}

/// Which triggers are listed.
pub fn list(request: &v1::ListTriggersRequest, faults: &mut Faults) -> ListFilter {
    let state = |state: v1::trigger::State| match state {
        v1::trigger::State::Unspecified => None,
        v1::trigger::State::Enabled => Some("enabled".to_owned()),
        v1::trigger::State::Disabled => Some("disabled".to_owned()),
        v1::trigger::State::Broken => Some("broken".to_owned()),
    };
    let any = request.states.contains(&0);
    let states = request.states.iter().filter(|_| !any);
    ListFilter {
        source: faults.optional_name("source", "sources", &request.source),
        states: states.filter_map(|given| faults.code("states", *given, state)).collect(),
    }
}

/// Which trigger is shown, stored or not; none where the request was refused.
pub fn shown(name: Option<String>, trigger: Option<v1::Trigger>, faults: &mut Faults) -> Option<Shown> {
    match (name, trigger) {
        (Some(name), _) => Some(Shown::Stored(faults.name("name", "triggers", &name))),
        (None, Some(trigger)) => faults.inside("trigger", |f| {
            let (source, watch) = table_watch(trigger.kind, &|_| true, f);
            Some(Shown::Unstored(source, Box::new(watch)))
        }),
        (None, None) => {
            faults.note("name", "exactly one of name and trigger must be set");
            None
        }
    }
}
