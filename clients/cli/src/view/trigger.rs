//! Triggers: dry runs, fire times, the SQL of a capture; and the people that a mapping finds.

use std::io;

use proto::v1::{
    DryRunTriggerResponse, FireTriggerResponse, MappedPerson, PreviewAudienceResponse, PreviewScheduleResponse,
    TriggerSql,
};

use super::value::{address, variables, word};
use super::{checks, table};
use crate::error::clean;
use crate::out::{Out, Tone};

/// Writes what a table watch would make of rows.
///
/// # Errors
/// What the system says.
pub fn dry_run(out: &mut Out, it: &DryRunTriggerResponse) -> io::Result<()> {
    checks::problems(out, &it.problems)?;
    for result in &it.results {
        let state = out.state(&word("Firing.State", result.state));
        let row = out.paint(Tone::Faint, &variables(result.row.as_ref()));
        out.line(&format!("{state}  {row}"))?;
        if !result.description.is_empty() {
            let reason = word("Firing.Reason", result.reason);
            out.line(&format!("  {reason} {}: {}", clean(&result.field), clean(&result.description)))?;
        }
        if let Some(person) = &result.person {
            out.line(&format!("  to {}", person_words(person)))?;
        }
        let skip = word("SkipReason", result.skip_reason);
        if !skip.is_empty() {
            out.line(&format!("  would be skipped: {skip}"))?;
        } else if !result.plain_text.is_empty() {
            let kind = word("ChannelType", result.channel_type);
            out.line(&format!("  {kind}: {}", clean(&result.plain_text).replace('\n', "\n    ")))?;
        }
    }
    let (mapped, unmappable, filtered) = (it.mapped_count, it.unmappable_count, it.filtered_count);
    out.line(&format!("{mapped} would fire, {unmappable} cannot be mapped, {filtered} do not meet the condition"))
}

/// Writes what firing by hand made.
///
/// # Errors
/// What the system says.
pub fn fired(out: &mut Out, it: &FireTriggerResponse) -> io::Result<()> {
    for firing in &it.firings {
        let state = out.state(&word("Firing.State", firing.state));
        let reason = word("Firing.Reason", firing.reason);
        out.line(&format!("{}  {state}  {} {reason} {}", firing.name, firing.target, clean(&firing.description)))?;
    }
    out.line(&format!("{} firings", it.firing_count))
}

/// Writes the next fire times.
///
/// # Errors
/// What the system says.
pub fn fire_times(out: &mut Out, it: &PreviewScheduleResponse) -> io::Result<()> {
    let rows = it.fire_times.iter();
    let rows =
        rows.map(|time| vec![time.local_time.clone(), super::value::when(time.time.as_ref()), time.note.clone()]);
    table::write_some(out, &["there", "here", "daylight saving"], rows.collect())?;
    if it.fire_times.is_empty() {
        out.line("it does not fire any more")?;
    }
    for note in &it.notes {
        out.line(&clean(note))?;
    }
    Ok(())
}

/// Writes the statements alone, with the notes as comments, so that the output can be given to psql.
///
/// # Errors
/// What the system says.
pub fn sql(out: &mut Out, it: &TriggerSql, uninstall: bool) -> io::Result<()> {
    for line in it.notes.iter().flat_map(|note| note.lines()) {
        out.line(&format!("-- {}", clean(line)))?;
    }
    out.line(if uninstall { &it.uninstall_sql } else { &it.install_sql })
}

/// Writes who is in an audience.
///
/// # Errors
/// What the system says.
pub fn audience(out: &mut Out, it: &PreviewAudienceResponse) -> io::Result<()> {
    out.line(&format!("{} people", it.count))?;
    if it.unmappable_count > 0 {
        out.line(&format!("{} rows of the sample cannot be mapped", it.unmappable_count))?;
    }
    for person in &it.sample {
        out.line(&format!("  {}", person_words(person)))?;
    }
    Ok(())
}

fn person_words(it: &MappedPerson) -> String {
    let addresses = it.addresses.iter().map(|one| address(Some(one))).collect::<Vec<_>>().join(", ");
    let words = [
        if it.contact.is_empty() { "a new contact".to_owned() } else { it.contact.clone() },
        clean(&it.external_id),
        clean(&it.display_name),
        addresses,
        clean(&it.locale),
        clean(&it.time_zone),
        variables(it.variables.as_ref()),
    ];
    words.into_iter().filter(|it| !it.is_empty()).collect::<Vec<_>>().join("  ")
}
