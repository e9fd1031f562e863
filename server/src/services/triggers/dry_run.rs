//! What a table trigger would make of rows that exist: the very work of a firing, in a transaction that is rolled back.

use std::sync::Arc;

use ::triggers::postgres;
use domain::{channel::ChannelType, fallback::Target, notification::Reason};
use serde_json::Value;

use super::{TableWatch, capture, check};
use crate::{
    services::{
        Context, Error, Result, Violation,
        firings::{
            Why,
            batch::{self, Preview},
            by_hand,
            mapper::Mapper,
        },
        sources, templates,
        work::Work,
    },
    storage::{firings::PendingRow, sources::SourceRow},
};

/// What a dry run shows.
#[derive(Debug, Default)]
pub struct DryRun {
    /// One entry for each row that was read.
    pub rows: Vec<DryRow>,
    /// How many rows the trigger's condition leaves out.
    pub filtered: usize,
    /// Problems of the definition itself; then no row was read.
    pub problems: Vec<Violation>,
}

/// What would become of one row.
#[derive(Debug)]
pub struct DryRow {
    /// The columns in use.
    pub row: Value,
    /// Why it cannot be mapped, or what it would become.
    pub outcome: std::result::Result<Box<DryPerson>, Vec<Why>>,
}

/// The person of a row, and the first message.
#[derive(Debug)]
pub struct DryPerson {
    /// The person and the variables.
    pub preview: Preview,
    /// Why the person would be skipped.
    pub skipped: Option<Reason>,
    /// The channel type of the first step that applies.
    pub channel_type: Option<ChannelType>,
    /// What that step would say.
    pub plain_text: String,
}

/// Maps up to `limit` rows (1 to 1000) that meet `condition`, of a trigger that is stored or not. Nothing stays.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Invalid`] when the condition is wrong, what the source refuses.
pub async fn dry_run(context: &Context, shown: &capture::Shown, condition: &str, limit: u32) -> Result<DryRun> {
    let (id, watch, source) = capture::shown_table(context, shown).await?;
    // Never committed: what is begun in it is gone when it is dropped.
    let mut work = Work::begin(context).await?;
    let checked = match check::check(context, &mut work, &source, &watch).await {
        Ok(checked) => checked,
        Err(Error::Invalid(problems)) => return Ok(DryRun { problems, ..DryRun::default() }),
        Err(error) => return Err(error),
    };
    let (rows, filtered) = read(context, &source, &watch, id, condition, limit).await?;
    let mapper = Arc::new(Mapper::new(context, watch, checked.plan).await?);
    let pending: Vec<PendingRow> = rows.iter().map(|row| pending(id, row, &mapper, &work)).collect();
    let previews = batch::preview(context, work.conn(), &mapper, &pending).await?;
    let of = |(row, preview): (Value, std::result::Result<Preview, Vec<Why>>)| DryRow {
        row,
        outcome: preview.map(|preview| Box::new(shown_person(&mapper, preview))),
    };
    Ok(DryRun { rows: rows.into_iter().zip(previews).map(of).collect(), filtered, problems: Vec::new() })
}

fn pending(id: i64, row: &Value, mapper: &Mapper, work: &Work) -> PendingRow {
    PendingRow {
        id: 0,
        trigger_id: id,
        row: Some(row.clone()),
        old_row: None,
        lane: mapper.lane(domain::channel::Lane::Bulk),
        captured_at: work.now(),
        replay_of: None,
    }
}

/// The rows that the trigger's condition lets through, and how many of the rows that were looked at it does not.
async fn read(
    context: &Context,
    source: &SourceRow,
    watch: &TableWatch,
    id: i64,
    condition: &str,
    limit: u32,
) -> Result<(Vec<Value>, usize)> {
    let (_, mut conn) = sources::connect(context, source).await?;
    let filter = Some(condition).filter(|condition| !condition.trim().is_empty());
    let asked = watch.watch(id);
    let refused = |refusal| by_hand::about(&source.slug, "row_condition", refusal);
    let timeout = by_hand::READ_TIMEOUT;
    let found = postgres::dry_run::dry_run(&mut conn, &asked, filter, limit, timeout).await.map_err(refused)?;
    if asked.condition.is_none() || !found.condition_applied {
        return Ok((found.rows, 0));
    }
    let all = postgres::Watch { condition: None, ..asked };
    let all = postgres::dry_run::dry_run(&mut conn, &all, filter, limit, timeout).await.map_err(refused)?;
    let filtered = all.rows.len().saturating_sub(found.rows.len());
    Ok((found.rows, filtered))
}

/// What the template sees: the variables of the row, and the person as the row names it.
fn variables(preview: &Preview) -> serde_json::Map<String, Value> {
    let who = &preview.mapped.contact;
    let contact = serde_json::json!({
        "name": who.display_name.as_deref().unwrap_or_default(),
        "locale": who.locale.as_ref().map(ToString::to_string).unwrap_or_default(),
        "external_id": who.external_id.as_deref().unwrap_or_default(),
        "attributes": who.attributes,
    });
    let mut all = preview.mapped.variables.clone();
    all.insert(templates::CONTACT.to_owned(), contact);
    all
}

fn shown_person(mapper: &Mapper, preview: Preview) -> DryPerson {
    use domain::notification::State;
    let placed = &preview.begun.placed;
    let ended = !matches!(placed.state, State::Waiting | State::Pending);
    let step = usize::try_from(placed.step).unwrap_or_default();
    let channel_type = mapper.plan.policy.steps.get(step).filter(|_| !ended).and_then(|step| match &step.target {
        Target::ChannelType(channel_type) => Some(*channel_type),
        // A template that speaks on one channel type only says which.
        Target::Channel(_) => None,
        Target::CallList(_) => None,
    });
    let template = mapper.plan.templates.get(step).and_then(Option::as_ref);
    let channel_type = channel_type.or_else(|| template.filter(|_| !ended)?.channel_types().into_iter().next());
    let locale = preview.mapped.contact.locale.as_ref().map(ToString::to_string);
    let locales: Vec<&str> = locale.iter().map(String::as_str).collect();
    let rendered = channel_type
        .zip(template)
        .map(|(channel_type, template)| template.render(channel_type, &locales, &variables(&preview)));
    let plain_text = match rendered {
        Some(Ok(rendered)) => rendered.content.plain_text(),
        Some(Err(error)) => error.to_string(),
        None => String::new(),
    };
    DryPerson { skipped: placed.reason.filter(|_| ended), channel_type, plain_text, preview }
}
