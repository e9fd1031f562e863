//! Firings, and what a dry run shows.

use domain::channel::Lane;
use proto::v1::{self, firing};

use super::{Faults, common, mapping};
use crate::services::{
    Violation,
    firings::{self, FiringRow, State, Why},
    triggers::{Counted, DryRow, DryRun},
};

/// A firing of the contract.
#[must_use]
pub fn message(row: FiringRow) -> v1::Firing {
    let whys = firings::reasons(&row);
    let notification = row.notification_id.map(|id| format!("notifications/{id}"));
    let campaign = row.campaign.map(|slug| format!("campaigns/{slug}"));
    // Only schedules have firings without an operation; their key is the nominal time. A gap has a key of another form.
    let nominal = chrono::DateTime::parse_from_rfc3339(&row.event_key).ok().filter(|_| row.op.is_empty());
    v1::Firing {
        name: firings::name(&row.trigger, row.id),
        state: state_message(row.state).into(),
        reason: row.reason.as_deref().map(reason).unwrap_or_default().into(),
        field: whys.first().map(|why| why.field.clone()).unwrap_or_default(),
        description: description(&whys),
        operation: operation(&row.op).into(),
        row: row.row.as_ref().and_then(|r| r.as_object()).map(common::of_object),
        old_row: row.old_row.as_ref().and_then(|r| r.as_object()).map(common::of_object),
        nominal_time: nominal.map(|at| common::timestamp(at.to_utc())),
        target: notification.or(campaign).unwrap_or_default(),
        manual: row.manual,
        replay_count: i32::try_from(row.replays).unwrap_or(i32::MAX),
        occur_time: Some(common::timestamp(row.captured_at)),
        create_time: Some(common::timestamp(row.created_at)),
        update_time: Some(common::timestamp(row.decided_at.unwrap_or(row.created_at))),
    }
}

fn description(whys: &[Why]) -> String {
    whys.iter().map(|why| why.reason.as_str()).collect::<Vec<_>>().join("; ")
}

fn reason(fault: &str) -> firing::Reason {
    firing::Reason::from_str_name(fault).unwrap_or(firing::Reason::Internal)
}

fn operation(op: &str) -> v1::table_watch::Operation {
    match op {
        "insert" => v1::table_watch::Operation::Insert,
        "update" => v1::table_watch::Operation::Update,
        "delete" => v1::table_watch::Operation::Delete,
        _ => v1::table_watch::Operation::Unspecified,
    }
}

const fn state_message(state: State) -> firing::State {
    match state {
        State::Pending => firing::State::Pending,
        State::Fired => firing::State::Fired,
        State::Unmappable => firing::State::Unmappable,
        State::Skipped => firing::State::Skipped,
        State::Failed => firing::State::Failed,
    }
}

const fn read_state(state: firing::State) -> Option<State> {
    match state {
        firing::State::Unspecified => None,
        firing::State::Pending => Some(State::Pending),
        firing::State::Fired => Some(State::Fired),
        firing::State::Unmappable => Some(State::Unmappable),
        firing::State::Skipped => Some(State::Skipped),
        firing::State::Failed => Some(State::Failed),
    }
}

/// How many firings are in a state.
#[must_use]
pub fn count(counted: &Counted) -> v1::FiringStateCount {
    v1::FiringStateCount { state: state_message(counted.state).into(), count: counted.count }
}

/// `triggers/x/firings/7`.
pub fn name(field: &str, value: &str, faults: &mut Faults) -> (String, i64) {
    let parts = value.split_once("/firings/");
    let id = parts.and_then(|(_, id)| id.parse::<i64>().ok()).filter(|id| *id > 0);
    if id.is_none() {
        faults.note(field, "must be written triggers/{trigger}/firings/{firing}");
        return Default::default();
    }
    (faults.name(field, "triggers", parts.map(|(trigger, _)| trigger).unwrap_or_default()), id.unwrap_or_default())
}

/// Of which trigger, in which states and for which reasons firings are listed; no trigger means all.
pub fn list(request: &v1::ListFiringsRequest, faults: &mut Faults) -> (Option<String>, Vec<State>, Vec<String>) {
    let trigger = (request.parent != "triggers/-").then(|| faults.name("parent", "triggers", &request.parent));
    // Unspecified means any, so a list that holds it asks for nothing.
    let any = request.states.contains(&0);
    let states = request.states.iter().filter(|_| !any);
    let states = states.filter_map(|state| faults.code("states", *state, read_state)).collect();
    let reason = |reason: firing::Reason| Some(reason.as_str_name().to_owned());
    let any = request.reasons.contains(&0);
    let reasons = request.reasons.iter().filter(|_| !any);
    let reasons = reasons.filter_map(|given| faults.code("reasons", *given, reason)).collect();
    (trigger, states, reasons)
}

/// What a dry run shows.
#[must_use]
pub fn dry_run(run: DryRun) -> v1::DryRunTriggerResponse {
    let mapped = run.rows.iter().filter(|row| row.outcome.is_ok()).count();
    let problem = |v: Violation| common::problem(&v.field, v.reason, v.description);
    let whole = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    v1::DryRunTriggerResponse {
        mapped_count: whole(mapped),
        unmappable_count: whole(run.rows.len() - mapped),
        filtered_count: whole(run.filtered),
        results: run.rows.into_iter().map(dry_row).collect(),
        problems: run.problems.into_iter().map(problem).collect(),
    }
}

fn dry_row(row: DryRow) -> v1::DryRunResult {
    let result = v1::DryRunResult { row: row.row.as_object().map(common::of_object), ..v1::DryRunResult::default() };
    match row.outcome {
        Err(whys) => v1::DryRunResult {
            state: firing::State::Unmappable.into(),
            reason: whys.first().map(|why| reason(&why.fault)).unwrap_or_default().into(),
            field: whys.first().map(|why| why.field.clone()).unwrap_or_default(),
            description: description(&whys),
            ..result
        },
        Ok(person) => v1::DryRunResult {
            state: firing::State::Fired.into(),
            person: Some(mapping::person(&person.preview.mapped, person.preview.contact)),
            skip_reason: person.skipped.map(common::of_skip_reason).unwrap_or_default().into(),
            channel_type: person.channel_type.map(common::of_channel_type).unwrap_or_default().into(),
            plain_text: person.plain_text,
            ..result
        },
    }
}

/// A lane that is said.
#[must_use]
pub const fn lane(value: v1::Lane) -> Option<Lane> {
    match value {
        v1::Lane::Unspecified => None,
        v1::Lane::Interactive => Some(Lane::Interactive),
        v1::Lane::Bulk => Some(Lane::Bulk),
    }
}

/// A lane of the contract.
#[must_use]
pub const fn of_lane(lane: Option<Lane>) -> v1::Lane {
    match lane {
        None => v1::Lane::Unspecified,
        Some(Lane::Interactive) => v1::Lane::Interactive,
        Some(Lane::Bulk) => v1::Lane::Bulk,
    }
}
