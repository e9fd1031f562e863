//! How fire times become runs: the firing, the campaign and the next fire time in one transaction, for each time once.
//!
//! A time that cannot fire (missed, its target gone, the run before it still reading its audience) is a firing too, with its
//! reason.

use chrono::{DateTime, TimeDelta, Utc};
use domain::schedule::{Fire, Schedule, When, zone};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Definition, ScheduleRow, compile, locked, name};
use crate::{
    services::{
        Context, Error, Result,
        campaigns::{self, NewCampaign, spec, verbs},
        work::Work,
    },
    storage::schedules::{self, NewFiring},
    wake::Topic,
};

/// Missed times of one look that are written down, at most.
const MAX_MISSED: usize = 200;
/// The longest slug.
const MAX_SLUG: usize = 63;

/// Fires every schedule that is due. Says when the next one is.
///
/// # Errors
/// What storage says; what was fired before it stays fired.
pub async fn fire_due(context: &Context) -> Result<Option<DateTime<Utc>>> {
    loop {
        let mut work = Work::begin(context).await?;
        let now = work.now();
        let Some(row) = schedules::take_due(work.conn(), now).await? else { break };
        fire(context, &mut work, &row).await?;
        for topic in [Topic::Planner, Topic::Events] {
            work.wake(topic);
        }
        work.commit(context).await?;
    }
    Ok(schedules::next_due(&mut *context.lists.conn().await?).await?)
}

/// Fires what is due of a schedule that the caller has locked.
async fn fire(context: &Context, work: &mut Work, row: &ScheduleRow) -> Result<()> {
    let (now, definition) = (work.now(), Definition::read(&row.definition)?);
    let (schedule, stored) = (compile(&definition.schedule)?, row.next_fire_at.unwrap_or(now));
    let due = schedule.due(stored, now);
    let fires: Vec<Fire> =
        due.fires.into_iter().filter(|fire| definition.within(Some(fire.nominal)).is_some()).collect();
    if due.skipped {
        miss(work, row, &definition, &schedule, stored, &fires).await?;
    }
    let busy = schedules::still_reads(work.conn(), row.id).await?;
    for fire in &fires {
        let key = key(fire.nominal);
        if schedules::is_decided(work.conn(), row.id, &key).await? {
            continue;
        }
        let firing = match busy {
            true => skipped(key, fire.nominal, "STILL_RUNNING", "the run before still reads its audience"),
            false => run(context, work, row, &definition, *fire, (key, "")).await?,
        };
        schedules::write_firings(work.conn(), row.id, &[firing], now).await?;
    }
    schedules::advance(work.conn(), row, definition.within(due.next)).await?;
    Ok(())
}

/// Makes the run of a fire time and lets it begin. What forbids it becomes a failed firing.
async fn run(
    context: &Context,
    work: &mut Work,
    row: &ScheduleRow,
    definition: &Definition,
    fire: Fire,
    (key, mark): (String, &str),
) -> Result<NewFiring> {
    match begin(context, work, row, definition, fire, mark).await {
        Ok(id) => {
            tracing::info!(trigger = row.slug, campaign.id = id, nominal = %fire.nominal, "a schedule fired");
            let at = fire.nominal;
            let (state, campaign_id, reasons) = ("fired", Some(id), json!([]));
            Ok(NewFiring { key, state, reason: None, reasons, manual: false, at, campaign_id, replay_of: None })
        }
        Err(Error::Storage(error)) => Err(error.into()),
        Err(error) => {
            tracing::warn!(trigger = row.slug, %error, "a schedule could not fire");
            Ok(NewFiring { state: "failed", ..skipped(key, fire.nominal, "TARGET_INVALID", &error.to_string()) })
        }
    }
}

async fn begin(
    context: &Context,
    work: &mut Work,
    row: &ScheduleRow,
    definition: &Definition,
    fire: Fire,
    mark: &str,
) -> Result<i64> {
    let local = definition.schedule.each_recipient_zone.then(|| {
        let (When::Cron { zone, .. } | When::Once { zone, .. }) = &definition.schedule.when;
        spec::LocalTime { at: fire.local, default_zone: zone.clone() }
    });
    let new = NewCampaign {
        slug: slug(&row.slug, row.id, fire.nominal, mark),
        display_name: row.display_name.clone(),
        definition: spec::Definition { spec: definition.campaign.clone(), local },
        start_at: None,
    };
    let resolved = new.definition.spec.resolve(work.conn()).await?;
    let id = campaigns::insert(work, &new, &resolved, Some((row.id, fire.nominal))).await?;
    let campaign = campaigns::load(work.conn(), id).await?;
    verbs::begin(context, work, &campaign).await?;
    Ok(id)
}

/// Writes down the times that were missed.
async fn miss(
    work: &mut Work,
    row: &ScheduleRow,
    definition: &Definition,
    schedule: &Schedule,
    from: DateTime<Utc>,
    fires: &[Fire],
) -> Result<()> {
    let now = work.now();
    let passed = schedule.preview(from - TimeDelta::microseconds(1), MAX_MISSED).into_iter().map(|p| p.at);
    let missed: Vec<NewFiring> = passed
        .take_while(|at| *at <= now && definition.within(Some(*at)).is_some())
        .filter(|at| fires.iter().all(|fire| fire.nominal != *at))
        .map(|at| skipped(key(at), at, "MISFIRED", "the time passed while nothing could fire"))
        .collect();
    schedules::write_firings(work.conn(), row.id, &missed, now).await?;
    Ok(())
}

/// Fires a schedule by hand, now. Says the key of the firing.
///
/// # Errors
/// [`Error::NotFound`]; STATE_WRONG when it is disabled. A target that is gone is a failed firing.
pub async fn fire_now(context: &Context, work: &mut Work, slug: &str) -> Result<i64> {
    let row = locked(work.conn(), slug, "").await?;
    if !row.enabled {
        let message = format!("{} is disabled: enable it first", name(slug));
        return Err(Error::WrongState { reason: "STATE_WRONG", message });
    }
    again(context, work, &row, None).await
}

/// Fires again what did not fire, as if its time were now. Says the key of the new firing.
///
/// # Errors
/// [`Error::NotFound`] when the schedule is gone.
pub async fn replay(context: &Context, work: &mut Work, slug: &str, firing: i64) -> Result<i64> {
    let row = locked(work.conn(), slug, "").await?;
    again(context, work, &row, Some(firing)).await
}

async fn again(context: &Context, work: &mut Work, row: &ScheduleRow, replay_of: Option<i64>) -> Result<i64> {
    let (now, definition) = (work.now(), Definition::read(&row.definition)?);
    let schedule = compile(&definition.schedule)?;
    let fire = Fire { nominal: now, local: zone::local(schedule.zone(), now) };
    let key = format!("{}-{}", replay_of.map_or("manual", |_| "replay"), Uuid::now_v7());
    let firing = run(context, work, row, &definition, fire, (key, "m")).await?;
    let ids =
        schedules::write_firings(work.conn(), row.id, &[NewFiring { replay_of, manual: true, ..firing }], now).await?;
    work.wake(Topic::Planner);
    ids.first().copied().ok_or_else(|| Error::AlreadyExists(format!("{}/firings", name(&row.slug))))
}

/// Notes in its firing that a run could not read its audience.
///
/// # Errors
/// What storage says.
pub async fn run_failed(work: &mut Work, campaign_id: i64, words: &str) -> Result<()> {
    let now = work.now();
    Ok(schedules::fail_run(work.conn(), campaign_id, "AUDIENCE_FAILED", &reasons("AUDIENCE_FAILED", words), now)
        .await?)
}

/// What a fire time is known by.
fn key(nominal: DateTime<Utc>) -> String {
    nominal.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

fn skipped(key: String, at: DateTime<Utc>, reason: &'static str, words: &str) -> NewFiring {
    let (reasons, reason) = (reasons(reason, words), Some(reason));
    NewFiring { key, state: "skipped", reason, reasons, manual: false, at, campaign_id: None, replay_of: None }
}

/// As the service of firings reads it.
fn reasons(fault: &str, words: &str) -> Value {
    json!([{ "field": "", "fault": fault, "reason": words }])
}

/// The slug of a run: its trigger's with the nominal time in UTC. That of a long one is cut, and its key tells it from others.
fn slug(trigger: &str, id: i64, nominal: DateTime<Utc>, mark: &str) -> String {
    let time = format!("{}{mark}", nominal.format("%Y%m%d%H%M%S"));
    if trigger.len() + 1 + time.len() <= MAX_SLUG {
        return format!("{trigger}-{time}");
    }
    let end = format!("-{id}-{time}");
    let room = MAX_SLUG.saturating_sub(end.len());
    let cut: String = trigger.chars().take(room).collect();
    format!("{}{end}", cut.trim_end_matches('-'))
}

#[cfg(test)]
mod tests {
    use domain::slug::Slug;

    use super::*;

    #[test]
    fn the_slug_of_a_run_is_always_a_slug_and_tells_its_trigger() {
        let at = "2026-11-20T09:00:00Z".parse().unwrap();
        assert_eq!(slug("weekly", 7, at, ""), "weekly-20261120090000");
        assert_eq!(slug("weekly", 7, at, "m"), "weekly-20261120090000m");
        for length in [2, 47, 48, 63] {
            let long = slug(&"a".repeat(length), 123_456, at, "m");
            assert!(Slug::parse(&long).is_ok(), "{long}");
        }
        assert!(slug(&"a-".repeat(31), 9, at, "").contains("-9-20261120090000"));
    }
}
