//! What only looks at a trigger, stored or not: a dry run, the SQL of a capture, the next fire times.

use proto::v1::{
    self, Schedule, dry_run_trigger_request, get_trigger_sql_request, preview_schedule_request, problem::Severity,
    trigger::Kind,
};

use super::trigger_kinds::{ScheduleArgs, WatchArgs};
use crate::error::Error;
use crate::exit;
use crate::input::names;
use crate::session::Session;
use crate::view;

/// Shows what a table watch would make of rows that exist.
///
/// # Errors
/// What the server refused, or a file that is wrong; `Error::FoundWrong` when the definition cannot work.
pub async fn dry_run(
    session: &mut Session,
    name: Option<String>,
    watch: WatchArgs,
    row_condition: String,
    limit: i32,
) -> Result<(), Error> {
    let source = match name {
        Some(name) => dry_run_trigger_request::Source::Name(names::full("triggers", &name)),
        None => dry_run_trigger_request::Source::Trigger(watch.trigger()?),
    };
    let request = v1::DryRunTriggerRequest { source: Some(source), row_condition, limit };
    let answer = session.show_as(request, view::trigger::dry_run).await?;
    // Rows that cannot be mapped are what a dry run is for; a definition that cannot work is wrong.
    if !answer.problems.iter().any(|it| it.severity() == Severity::Error) {
        return Ok(());
    }
    Err(Error::FoundWrong("the trigger is not valid".into(), exit::FOUND_WRONG))
}

/// Prints the SQL of a capture.
///
/// # Errors
/// What the server refused, or a file that is wrong.
pub async fn sql(session: &mut Session, name: Option<String>, watch: WatchArgs, uninstall: bool) -> Result<(), Error> {
    let source = match name {
        Some(name) => get_trigger_sql_request::Source::Name(names::full("triggers", &name)),
        None => get_trigger_sql_request::Source::Trigger(watch.trigger()?),
    };
    let request = v1::GetTriggerSqlRequest { source: Some(source) };
    session.show_as(request, |out, sql| view::trigger::sql(out, sql, uninstall)).await.map(drop)
}

/// Shows the next fire times of a schedule.
///
/// # Errors
/// What the server refused, or a file that is wrong; `Error::Usage` when nothing says when.
pub async fn preview(
    session: &mut Session,
    name: Option<String>,
    schedule: ScheduleArgs,
    from_time: Option<prost_types::Timestamp>,
    count: i32,
) -> Result<(), Error> {
    let source = match name {
        Some(name) => preview_schedule_request::Source::Name(names::full("triggers", &name)),
        None => preview_schedule_request::Source::Schedule(scheduled(schedule)?),
    };
    let request = v1::PreviewScheduleRequest { source: Some(source), from_time, count };
    session.show_as(request, view::trigger::fire_times).await.map(drop)
}

fn scheduled(schedule: ScheduleArgs) -> Result<Schedule, Error> {
    if !schedule.says_when() {
        return Err(Error::Usage("say which schedule: the name of a trigger, --cron, --at or --file".into()));
    }
    match schedule.trigger()?.kind {
        Some(Kind::Schedule(mut schedule)) => {
            // Only when it fires is asked here; an empty campaign would be checked for nothing.
            schedule.campaign = schedule.campaign.filter(|it| *it != v1::CampaignSpec::default());
            Ok(schedule)
        }
        _ => Err(Error::Usage("a preview needs a schedule".into())),
    }
}
