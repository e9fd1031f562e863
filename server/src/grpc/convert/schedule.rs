//! Schedules: when they fire, and what is to be known of their next times.

use chrono::{DateTime, FixedOffset, NaiveDateTime, SecondsFormat, TimeDelta, Utc};
use domain::schedule::{Misfire, MisfirePolicy, Preview, Spec, When, zone};
use proto::v1::{self, schedule::When as Given};

use super::{Faults, campaign, common};
use crate::services::schedules::{Definition, MAX_PREVIEW};

const SECOND: TimeDelta = TimeDelta::seconds(1);
const LONGEST_HORIZON: TimeDelta = TimeDelta::days(30);
const DEFAULT_HORIZON_SECS: u32 = 3600;
/// So late is still on time, in seconds.
const GRACE_SECS: u32 = 60;

/// When a schedule fires, and what each run sends; `zone` is that of schedules for each recipient's own zone that name none.
pub fn definition(given: v1::Schedule, zone: &str, faults: &mut Faults) -> Definition {
    let required = faults.required("campaign", given.campaign.clone());
    let campaign = faults.inside("campaign", |f| campaign::spec(required, f));
    let (start_at, end_at) = bounds(&given, faults);
    Definition { schedule: spec(given, zone, faults), start_at, end_at, campaign }
}

/// Between which times it fires.
pub fn bounds(given: &v1::Schedule, faults: &mut Faults) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
    (faults.time("start_time", given.start_time), faults.time("end_time", given.end_time))
}

/// When a schedule fires.
pub fn spec(given: v1::Schedule, zone: &str, faults: &mut Faults) -> Spec {
    let named = match (given.time_zone.is_empty(), given.each_recipient_zone) {
        (true, true) => zone.to_owned(),
        (true, false) => {
            faults.note("time_zone", "is missing: an IANA time zone such as Asia/Kolkata");
            zone.to_owned()
        }
        (false, _) => faults.time_zone("time_zone", given.time_zone),
    };
    let when = match given.when {
        Some(Given::Cron(expression)) => When::Cron { expression, zone: named },
        Some(Given::At(text)) => When::Once { at: at(&text, &named, faults), zone: named },
        None => {
            faults.note("cron", "is missing: exactly one of cron and at must be set");
            When::Cron { expression: String::new(), zone: named }
        }
    };
    let policy = faults.optional_code("misfire_policy", given.misfire_policy, |policy| match policy {
        v1::schedule::MisfirePolicy::Unspecified => None,
        v1::schedule::MisfirePolicy::Skip => Some(MisfirePolicy::Skip),
        v1::schedule::MisfirePolicy::Once => Some(MisfirePolicy::Once),
        v1::schedule::MisfirePolicy::All => Some(MisfirePolicy::All),
    });
    let horizon = faults.duration("misfire_horizon", given.misfire_horizon, SECOND..=LONGEST_HORIZON);
    let horizon = horizon.and_then(|h| u32::try_from(h.num_seconds()).ok()).unwrap_or(DEFAULT_HORIZON_SECS);
    let misfire = Misfire {
        policy: policy.unwrap_or(MisfirePolicy::Once),
        grace_seconds: GRACE_SECS.min(horizon),
        horizon_seconds: horizon,
    };
    Spec { when, each_recipient_zone: given.each_recipient_zone, misfire }
}

fn at(text: &str, named: &str, faults: &mut Faults) -> DateTime<Utc> {
    let local = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S");
    match (local, zone::parse(named)) {
        (Ok(local), Ok(zone)) => zone::resolve(zone, local).0,
        // The zone was refused with its own field.
        (Ok(local), Err(_)) => local.and_utc(),
        (Err(_), _) => {
            faults.note("at", "must be a local time such as 2026-11-23T09:00:00");
            DateTime::UNIX_EPOCH
        }
    }
}

/// A schedule of the contract.
#[must_use]
pub fn message(definition: Definition, next_fire_at: Option<DateTime<Utc>>) -> v1::Schedule {
    let Definition { schedule, start_at, end_at, campaign } = definition;
    let policy = match schedule.misfire.policy {
        MisfirePolicy::Skip => v1::schedule::MisfirePolicy::Skip,
        MisfirePolicy::Once => v1::schedule::MisfirePolicy::Once,
        MisfirePolicy::All => v1::schedule::MisfirePolicy::All,
    };
    let (when, time_zone) = match schedule.when {
        When::Cron { expression, zone } => (Given::Cron(expression), zone),
        When::Once { at, zone } => {
            let local = zone::parse(&zone).map_or_else(|_| at.naive_utc(), |tz| zone::local(tz, at));
            (Given::At(local.format("%Y-%m-%dT%H:%M:%S").to_string()), zone)
        }
    };
    v1::Schedule {
        when: Some(when),
        time_zone,
        each_recipient_zone: schedule.each_recipient_zone,
        misfire_policy: policy.into(),
        misfire_horizon: Some(common::span(TimeDelta::seconds(schedule.misfire.horizon_seconds.into()))),
        start_time: start_at.map(common::timestamp),
        end_time: end_at.map(common::timestamp),
        campaign: Some(campaign::spec_message(campaign)),
        next_fire_time: next_fire_at.map(common::timestamp),
    }
}

/// What of a schedule is previewed.
#[derive(Debug, Clone)]
pub enum Asked {
    /// A stored one.
    Stored(String),
    /// One that is not stored, and between which times it fires.
    Unstored(Box<Spec>, (Option<DateTime<Utc>>, Option<DateTime<Utc>>)),
}

/// Which schedule is previewed, from when, and how many times; none where the request was refused.
pub fn preview(
    request: v1::PreviewScheduleRequest,
    zone: &str,
    faults: &mut Faults,
) -> (Option<Asked>, Option<DateTime<Utc>>, usize) {
    use v1::preview_schedule_request::Source;
    let asked = match request.source {
        Some(Source::Name(name)) => Some(Asked::Stored(faults.name("name", "triggers", &name))),
        Some(Source::Schedule(given)) => Some(faults.inside("schedule", |f| {
            let bounds = bounds(&given, f);
            Asked::Unstored(Box::new(spec(given, zone, f)), bounds)
        })),
        None => {
            faults.note("name", "exactly one of name and schedule must be set");
            None
        }
    };
    let most = i32::try_from(MAX_PREVIEW).unwrap_or(100);
    let count = faults.number("count", request.count, 1..=most).unwrap_or(5);
    (asked, faults.time("from_time", request.from_time), usize::try_from(count).unwrap_or(5))
}

/// The next fire times of the contract: `count` of those that were foreseen, and what daylight saving does within a year.
#[must_use]
pub fn previewed(
    spec: &Spec,
    foreseen: Vec<Preview>,
    from: DateTime<Utc>,
    count: usize,
) -> v1::PreviewScheduleResponse {
    let year = from + TimeDelta::days(365);
    let mut notes: Vec<String> = foreseen.iter().filter(|p| p.at < year).filter_map(|p| p.note.clone()).collect();
    notes.dedup();
    let fire_times = foreseen.into_iter().take(count).map(|preview| fire_time(spec, preview)).collect();
    v1::PreviewScheduleResponse { fire_times, notes }
}

fn fire_time(spec: &Spec, preview: Preview) -> v1::FireTime {
    let (When::Cron { zone, .. } | When::Once { zone, .. }) = &spec.when;
    let in_zone = zone::parse(zone).ok().filter(|_| !spec.each_recipient_zone);
    let local_time = match in_zone {
        Some(zone) => preview.at.with_timezone(&zone).to_rfc3339_opts(SecondsFormat::Secs, false),
        // In the first zone of the world: its offset is what lies between the two.
        None => {
            let ahead = (preview.local - preview.at.naive_utc()).num_seconds();
            let offset = i32::try_from(ahead).ok().and_then(FixedOffset::east_opt);
            let shown = |o: FixedOffset| preview.at.with_timezone(&o).to_rfc3339_opts(SecondsFormat::Secs, false);
            offset.map_or_else(|| preview.local.to_string(), shown)
        }
    };
    v1::FireTime { time: Some(common::timestamp(preview.at)), local_time, note: preview.note.unwrap_or_default() }
}
