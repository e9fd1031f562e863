//! How far campaigns are, and their recipients.

use std::collections::BTreeMap;

use domain::{
    notification::{Reason, State},
    price::Money,
};
use proto::v1;

use super::{Faults, campaign, common};
use uuid::Uuid;

use crate::services::{
    Violation,
    campaigns::{RecipientFilter, RecipientRow, export::Part, name, progress::Progress},
};

/// How far a campaign is, of the contract.
#[must_use]
pub fn message(shown: Progress) -> v1::CampaignProgress {
    let (row, budget) = (shown.campaign.row, shown.campaign.definition.spec.budget);
    let state = |(state, count)| v1::NotificationStateCount { state: of_state(state).into(), count };
    v1::CampaignProgress {
        campaign: name(&row.slug),
        state: campaign::of_state(row.state).into(),
        recipient_count: shown.recipients,
        planned: row.planned_at.is_some(),
        states: shown.states.into_iter().map(state).collect(),
        skips: skips(shown.skips, shown.cursor.duplicates, shown.cursor.unmappable),
        deliveries: shown
            .deliveries
            .into_iter()
            .map(|d| v1::DeliveryCount {
                step: d.step.into(),
                channel_type: d.channel_type.map(common::of_channel_type).unwrap_or_default().into(),
                state: delivery_state(&d.state).into(),
                count: d.n,
            })
            .collect(),
        late_count: shown.late,
        current_rate_per_second: shown.rate,
        estimated_first_step_end_time: shown.first_steps_end.map(common::timestamp),
        cursor: shown.last_number.to_string(),
        spent: budget.map(|budget| common::of_money(Money { micros: row.spent_micros, ..budget })),
    }
}

/// Why people were left out: by the rulebook, because they came twice, because their row is no person.
#[must_use]
pub fn skips(by_rule: Vec<(String, i64)>, duplicates: i64, unmappable: i64) -> Vec<v1::SkipCount> {
    let mut counts: BTreeMap<i32, i64> = BTreeMap::new();
    for (reason, n) in by_rule {
        let reason = reason.parse().map(common::of_skip_reason).or_else(|_| named(&reason)).unwrap_or_default();
        *counts.entry(reason.into()).or_default() += n;
    }
    for (reason, n) in [(v1::SkipReason::Duplicate, duplicates), (v1::SkipReason::InvalidAddress, unmappable)] {
        if n > 0 {
            *counts.entry(reason.into()).or_default() += n;
        }
    }
    counts.into_iter().map(|(reason, count)| v1::SkipCount { reason, count }).collect()
}

/// A reason that only the contract knows.
fn named(reason: &str) -> Result<v1::SkipReason, ()> {
    v1::SkipReason::from_str_name(&format!("SKIP_REASON_{reason}")).ok_or(())
}

/// A state of a notification, of the contract.
#[must_use]
pub const fn of_state(state: State) -> v1::notification::State {
    match state {
        State::Pending => v1::notification::State::Pending,
        State::Waiting => v1::notification::State::Waiting,
        State::Skipped => v1::notification::State::Skipped,
        State::Cancelled => v1::notification::State::Cancelled,
        State::Expired => v1::notification::State::Expired,
        State::Exhausted => v1::notification::State::Exhausted,
        State::Reached => v1::notification::State::Reached,
        State::Replied => v1::notification::State::Replied,
        State::Acknowledged => v1::notification::State::Acknowledged,
    }
}

/// A state of a delivery by the name that events give it; work that is done without evidence is unknown.
fn delivery_state(name: &str) -> v1::delivery::State {
    v1::delivery::State::from_str_name(&name.to_uppercase()).unwrap_or(v1::delivery::State::Unknown)
}

/// Which recipients are meant.
pub fn filter(given: Option<v1::RecipientFilter>, faults: &mut Faults) -> RecipientFilter {
    let given = given.unwrap_or_default();
    faults.inside("filter", |f| {
        let mut filter = RecipientFilter::default();
        for (i, code) in given.states.into_iter().enumerate() {
            filter.states.extend(f.code(&format!("states[{i}]"), code, state));
        }
        for (i, code) in given.skip_reasons.into_iter().enumerate() {
            let reasons = f.code(&format!("skip_reasons[{i}]"), code, |reason: v1::SkipReason| Some(reason));
            filter.reasons.extend(reasons.into_iter().flat_map(stored));
        }
        for (i, code) in given.failure_classes.into_iter().enumerate() {
            let known = f.code(&format!("failure_classes[{i}]"), code, failure_class);
            filter.failure_classes.extend(known.map(str::to_owned));
        }
        // A reason is asked of those who were skipped for it.
        if !filter.reasons.is_empty() && filter.states.is_empty() {
            filter.states.push(State::Skipped);
        }
        filter
    })
}

fn state(value: v1::notification::State) -> Option<State> {
    State::ALL.iter().copied().find(|state| of_state(*state) == value)
}

/// The reasons of the rulebook that the contract has one name for.
fn stored(reason: v1::SkipReason) -> Vec<String> {
    let known = Reason::ALL.iter().filter(|r| common::of_skip_reason(**r) == reason).map(|r| r.as_str().to_owned());
    let own = reason.as_str_name().trim_start_matches("SKIP_REASON_").to_owned();
    known.chain([own]).collect()
}

fn failure_class(value: v1::FailureClass) -> Option<&'static str> {
    use domain::delivery::FailureClass;
    FailureClass::ALL.iter().find(|class| common::of_failure_class(**class) == value).map(|class| class.as_str())
}

/// A recipient of the contract.
#[must_use]
pub fn recipient(row: RecipientRow) -> v1::CampaignRecipient {
    let last = row.last.as_ref();
    let skipped = row.reason.as_ref().filter(|_| row.state == State::Skipped);
    let skip_reason = skipped.map(|r| r.parse().map(common::of_skip_reason).or_else(|_| named(r)).unwrap_or_default());
    let channel_type = last.and_then(|l| l.channel_type.as_ref()?.parse().ok()).map(common::of_channel_type);
    let class = last.and_then(|l| l.failure_class.as_ref()?.parse().ok()).map(common::of_failure_class);
    let state = last.map(|l| delivery_state(if l.evidence == "none" { &l.work } else { &l.evidence }));
    v1::CampaignRecipient {
        notification: format!("notifications/{}", row.id),
        contact: format!("contacts/{}", row.contact_id),
        display_name: row.display_name,
        state: of_state(row.state).into(),
        skip_reason: skip_reason.unwrap_or_default().into(),
        step: if last.is_some() { row.step.into() } else { -1 },
        channel_type: channel_type.unwrap_or_default().into(),
        delivery_state: state.unwrap_or_default().into(),
        failure_class: class.unwrap_or_default().into(),
        failure_code: last.and_then(|l| l.failure_code.clone()).unwrap_or_default(),
        update_time: Some(common::timestamp(row.changed_at)),
    }
}

/// Behind which recipient an export goes on.
pub fn export_cursor(cursor: &str, faults: &mut Faults) -> Option<Uuid> {
    if cursor.is_empty() {
        return None;
    }
    let read = Uuid::try_parse(cursor).ok();
    if read.is_none() {
        let words = "is no cursor of an export: give the one of the last part, or none";
        faults.add(Violation::new("cursor", words).because("CURSOR_INVALID"));
    }
    read
}

/// A part of an export.
#[must_use]
pub fn exported(part: Part) -> v1::ExportCampaignRecipientsResponse {
    v1::ExportCampaignRecipientsResponse {
        recipients: part.recipients.into_iter().map(recipient).collect(),
        cursor: part.last.to_string(),
        read_time: Some(common::timestamp(part.read_at)),
    }
}
