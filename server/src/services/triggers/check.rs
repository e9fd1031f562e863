//! Everything that can be wrong with a table trigger, found at once: its table and columns, its mapping against them, the way
//! and its templates, its condition.

use std::{collections::BTreeSet, sync::Arc};

use ::triggers::postgres::{self, Table};
use domain::mapping::Column;

use super::TableWatch;
use crate::{
    services::{
        Context, Error, Result, Violation, plans::PinnedPlan, sending, sending::way::REFERENCE_NOT_FOUND, sources,
        work::Work,
    },
    storage::sources::SourceRow,
};

/// Under which path a request holds a table watch.
const PATH: &str = "trigger.table_watch";

/// What a trigger that is right was checked against.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The plan, pinned in the caller's transaction.
    pub plan: Arc<PinnedPlan>,
}

/// Checks a table trigger.
///
/// # Errors
/// [`Error::Invalid`] with every fault; [`Error::ReferenceNotFound`] when that is the only one; what the source refuses.
pub async fn check(context: &Context, work: &mut Work, source: &SourceRow, watch: &TableWatch) -> Result<Checked> {
    let now = work.now();
    let (plan, mut found) = match watch.way.pin(context, work.conn(), now).await? {
        Ok(plan) => (Some(plan), Vec::new()),
        Err(violations) => (None, violations.into_iter().map(|v| v.inside("plan")).collect()),
    };
    let snapshot = context.directory.snapshot(&context.side).await?;
    let required = plan.as_ref().map(|plan| sending::way::required(plan, &snapshot)).unwrap_or_default();
    found.extend(of_source(context, source, watch, &required).await?);
    let found: Vec<Violation> = found.into_iter().map(|violation| violation.inside(PATH)).collect();
    match (plan, found.as_slice()) {
        (Some(plan), []) => Ok(Checked { plan }),
        (_, [one]) if one.reason == REFERENCE_NOT_FOUND => {
            let name = one.metadata.iter().find(|(key, _)| *key == "name").map(|(_, name)| name.clone());
            Err(Error::ReferenceNotFound { field: one.field.clone(), name: name.unwrap_or_default() })
        }
        (_, _) => Err(Error::Invalid(found)),
    }
}

/// What is wrong in the light of the source: the table, the columns, the condition, the mapping.
async fn of_source(
    context: &Context,
    source: &SourceRow,
    watch: &TableWatch,
    required: &BTreeSet<String>,
) -> Result<Vec<Violation>> {
    let (opened, mut conn) = sources::connect(context, source).await?;
    let table = match postgres::catalogue::describe(&mut conn, &watch.table_name()).await {
        Ok(table) => table,
        Err(refusal) => {
            let mut found = refused(source, refusal)?;
            found.extend(mapping(watch, None, required));
            return Ok(found);
        }
    };
    let mut found = mapping(watch, Some(&table), required);
    found.extend(columns(watch, &table));
    // Alone, so that what is wrong with the mapping does not hide what is wrong with the condition.
    let bare = postgres::Watch { columns: Vec::new(), update_of: Vec::new(), ..watch.watch(i64::MAX) };
    if let Err(refusal) = postgres::check(&mut conn, &opened.schema, &bare).await {
        match refused(source, refusal) {
            Ok(more) => found.extend(more),
            // What the request can mend comes first; what stands in the way outside is said when nothing else is wrong.
            Err(error) if found.is_empty() => return Err(error),
            Err(_) => {}
        }
    }
    Ok(found)
}

fn refused(source: &SourceRow, refusal: postgres::Error) -> Result<Vec<Violation>> {
    let found = sources::violations(&refusal);
    if found.is_empty() { Err(sources::outside(&source.slug, refusal)) } else { Ok(found) }
}

fn columns(watch: &TableWatch, table: &Table) -> Vec<Violation> {
    let unknown = |field: &'static str, names: &[String]| -> Vec<Violation> {
        let missing = names.iter().enumerate().filter(|(_, name)| table.columns.iter().all(|c| c.name != **name));
        let violation = |(i, name): (usize, &String)| {
            let known = table.columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", ");
            let words = format!("is {name}, which {} does not have; its columns are {known}", table.name);
            Violation::new(format!("{field}[{i}]"), words).because("COLUMN_UNKNOWN").with("column", name)
        };
        missing.map(violation).collect()
    };
    let mut found = unknown("update_columns", &watch.update_columns);
    found.extend(unknown("dedup_columns", &watch.dedup_columns));
    if !watch.update_columns.is_empty() && !watch.operations.contains(&::triggers::Operation::Update) {
        found.push(Violation::new("update_columns", "need UPDATE among the operations"));
    }
    found
}

/// Faults of the mapping; without a table, those that show without one.
fn mapping(watch: &TableWatch, table: Option<&Table>, required: &BTreeSet<String>) -> Vec<Violation> {
    let of = |c: &postgres::Column| Column { name: c.name.clone(), data_type: c.type_name.clone() };
    let columns: Vec<Column> = table.iter().flat_map(|table| &table.columns).map(of).collect();
    let wrong = watch.mapping.to_domain().validate(&columns, required);
    let told = |v: &domain::violation::Violation| table.is_some() || !v.description.contains("the table has no column");
    let violation = |v: domain::violation::Violation| {
        let unknown = v.description.contains("the table has no column");
        let path = watch.mapping.path(&v.field);
        let words = match v.field.strip_prefix("variables.") {
            Some(name) if path == "variables" => format!("{name} {}", v.description),
            _ => v.description,
        };
        let found = Violation::new(format!("mapping.{path}"), words);
        if unknown { found.because("COLUMN_UNKNOWN") } else { found }
    };
    let mut found: Vec<Violation> = wrong.into_iter().filter(told).map(violation).collect();
    for (place, name) in watch.mapping.repeated_variables() {
        found.push(Violation::new(
            format!("mapping.variables[{place}].name"),
            format!("is {name}, which is there twice"),
        ));
    }
    found
}
