//! Schedules: each fire time once, whatever runs how often, through restarts, daylight saving and missed times.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use domain::schedule::{Misfire, MisfirePolicy, Spec, When};
use server::{
    services::{
        schedules::{self, Definition, NewSchedule, firing},
        work::Work,
    },
    workers::schedules as worker,
};
use testkit::eventually;
use tokio_util::sync::CancellationToken;

use super::{plan_all, spec, world};
use crate::support::World;

const MINUTE: Duration = Duration::from_secs(60);

fn cron(expression: &str, zone: &str) -> Definition {
    Definition {
        schedule: Spec {
            when: When::Cron { expression: expression.into(), zone: zone.into() },
            each_recipient_zone: false,
            misfire: Misfire::default(),
        },
        start_at: None,
        end_at: None,
        campaign: spec("all"),
    }
}

impl World {
    async fn schedule(&self, slug: &str, definition: &Definition) -> anyhow::Result<()> {
        let mut work = Work::begin(&self.context).await?;
        let new = NewSchedule { slug, display_name: "", description: "", definition, disabled: false };
        schedules::create(&self.context, &mut work, &new).await?;
        Ok(work.commit(&self.context).await?)
    }

    /// Moves time to an instant.
    fn travel(&self, to: DateTime<Utc>) {
        self.advance((to - self.now()).to_std().expect("time goes forward"));
    }

    /// Firings in a state.
    async fn firings(&self, state: &str) -> anyhow::Result<Vec<DateTime<Utc>>> {
        let sql = "select captured_at from firing where state = $1::firing_state order by captured_at";
        Ok(sqlx::query_scalar(sql).bind(state).fetch_all(&self.db.pool).await?)
    }
}

async fn world_with_people() -> anyhow::Result<World> {
    let world = world().await?;
    world.people(3, "").await?;
    world.everybody().await?;
    Ok(world)
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time")
}

#[tokio::test]
async fn each_time_fires_once_with_two_processes_that_tick_and_through_restarts() -> anyhow::Result<()> {
    let world = world_with_people().await?;
    world.schedule("minutely", &cron("0 * * * * *", "UTC")).await?;
    let other = world.another_process()?;
    for restart in 1..=3 {
        let stop = CancellationToken::new();
        let workers = [&world.context, &other].map(|c| tokio::spawn(worker::run(c.clone(), stop.clone())));
        world.advance(MINUTE);
        eventually(Duration::from_secs(10), async || {
            let fired = world.firings("fired").await?.len();
            anyhow::ensure!(fired >= restart, "{fired} of {restart} fired");
            Ok(())
        })
        .await?;
        stop.cancel();
        for worker in workers {
            worker.await?;
        }
        plan_all(&world.context).await?;
    }
    // Real time goes on too, so a fourth minute may have come; but none came twice.
    let fired = world.firings("fired").await?;
    let runs = world.count("select count(*) from campaign").await?;
    assert_eq!(i64::try_from(fired.len())?, runs);
    assert_eq!(fired.iter().collect::<std::collections::BTreeSet<_>>().len(), fired.len());
    assert!(fired.iter().all(|time| time.timestamp() % 60 == 0), "{fired:?}");
    assert_eq!(world.planned().await?.0, 3 * runs);
    Ok(())
}

#[tokio::test]
async fn a_time_that_was_rewound_by_hand_does_not_fire_again() -> anyhow::Result<()> {
    let world = world_with_people().await?;
    world.schedule("hourly", &cron("0 0 * * * *", "UTC")).await?;
    world.advance(60 * MINUTE);
    firing::fire_due(&world.context).await?;
    let fired = world.firings("fired").await?;
    assert_eq!(fired.len(), 1);
    sqlx::query("update trigger set next_fire_at = $1").bind(fired[0]).execute(&world.db.pool).await?;
    firing::fire_due(&world.context).await?;
    assert_eq!(world.firings("fired").await?, fired);
    let next: DateTime<Utc> = sqlx::query_scalar("select next_fire_at from trigger").fetch_one(&world.db.pool).await?;
    assert!(next > world.now());
    Ok(())
}

#[tokio::test]
async fn daylight_saving_makes_no_time_fire_twice_or_never() -> anyhow::Result<()> {
    let world = world_with_people().await?;
    world.schedule("night", &cron("0 30 2 * * *", "Europe/Berlin")).await?;
    let night = |day: &str| at(&format!("2027-{day}T12:00:00Z"));
    world.travel(night("03-27"));
    sqlx::query("delete from firing").execute(&world.db.pool).await?;
    firing::fire_due(&world.context).await?;
    plan_all(&world.context).await?;
    sqlx::query("delete from firing").execute(&world.db.pool).await?;
    // Clocks go forward over it: it fires when the gap ends. Clocks go back over it: it fires the first time.
    for day in ["03-28", "10-31"] {
        let eve = night(day) - TimeDelta::hours(18);
        sqlx::query("update trigger set next_fire_at = $1").bind(eve).execute(&world.db.pool).await?;
        world.travel(night(day) - TimeDelta::hours(10));
        firing::fire_due(&world.context).await?;
        plan_all(&world.context).await?;
    }
    assert_eq!(world.firings("fired").await?, [at("2027-03-28T01:00:00Z"), at("2027-10-31T00:30:00Z")]);
    let schedule = cron("0 30 2 * * *", "Europe/Berlin").schedule;
    let preview = schedules::preview(&schedule, night("03-27"), 2)?;
    assert!(preview[0].note.as_deref().is_some_and(|note| note.contains("does not exist")), "{preview:?}");
    Ok(())
}

#[tokio::test]
async fn missed_times_follow_the_policy_and_are_written_down() -> anyhow::Result<()> {
    for (policy, fires) in [(MisfirePolicy::Skip, 0), (MisfirePolicy::Once, 1), (MisfirePolicy::All, 4)] {
        let world = world_with_people().await?;
        let mut definition = cron("0 0 * * * *", "UTC");
        definition.schedule.misfire = Misfire { policy, grace_seconds: 1, horizon_seconds: 4 * 3600 };
        world.schedule("hourly", &definition).await?;
        // Down for five and a half hours after a full hour: five times passed, the oldest beyond the horizon.
        let hour = world.now().timestamp() / 3600 * 3600;
        world.travel(DateTime::from_timestamp(hour + 5 * 3600 + 1800, 0).expect("a time"));
        firing::fire_due(&world.context).await?;
        let (fired, skipped) = (world.firings("fired").await?.len(), world.firings("skipped").await?.len());
        assert_eq!((fired, skipped), (fires, 5 - fires), "{policy}");
        let reasons = "select count(*) from firing where state = 'skipped' and reason = 'MISFIRED'";
        assert_eq!(world.count(reasons).await?, i64::try_from(skipped)?);
    }
    Ok(())
}

#[tokio::test]
async fn a_disabled_schedule_does_not_fire_and_is_armed_from_now_on() -> anyhow::Result<()> {
    let world = world_with_people().await?;
    world.schedule("hourly", &cron("0 0 * * * *", "UTC")).await?;
    let mut work = Work::begin(&world.context).await?;
    schedules::disable(&mut work, "hourly", "").await?;
    work.commit(&world.context).await?;
    world.advance(180 * MINUTE);
    assert_eq!(firing::fire_due(&world.context).await?, None);
    let mut work = Work::begin(&world.context).await?;
    assert!(firing::fire_now(&world.context, &mut work, "hourly").await.is_err());
    schedules::enable(&mut work, "hourly", "").await?;
    firing::fire_now(&world.context, &mut work, "hourly").await?;
    work.commit(&world.context).await?;
    firing::fire_due(&world.context).await?;
    assert_eq!(world.count("select count(*) from firing").await?, 1, "only the one by hand");
    Ok(())
}

#[tokio::test]
async fn a_schedule_whose_target_is_gone_fails_visibly_and_can_be_replayed() -> anyhow::Result<()> {
    let world = world_with_people().await?;
    world.schedule("hourly", &cron("0 0 * * * *", "UTC")).await?;
    sqlx::query("update audience set slug = 'other'").execute(&world.db.pool).await?;
    world.advance(60 * MINUTE);
    firing::fire_due(&world.context).await?;
    let failed: (i64, String) =
        sqlx::query_as("select id, reason from firing where state = 'failed'").fetch_one(&world.db.pool).await?;
    assert_eq!(failed.1, "TARGET_INVALID");
    sqlx::query("update audience set slug = 'all'").execute(&world.db.pool).await?;
    let mut work = Work::begin(&world.context).await?;
    firing::replay(&world.context, &mut work, "hourly", failed.0).await?;
    work.commit(&world.context).await?;
    assert_eq!(world.firings("fired").await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_schedule_ends_with_its_last_time() -> anyhow::Result<()> {
    let world = world_with_people().await?;
    let mut definition = cron("0 0 * * * *", "UTC");
    definition.end_at = Some(world.now() + TimeDelta::minutes(61));
    world.schedule("hourly", &definition).await?;
    world.advance(60 * MINUTE);
    firing::fire_due(&world.context).await?;
    assert_eq!(world.firings("fired").await?.len(), 1);
    assert_eq!(world.count("select count(*) from trigger where enabled or next_fire_at is not null").await?, 0);
    Ok(())
}

#[tokio::test]
async fn each_recipient_gets_it_at_the_local_time_of_the_own_zone_once_in_a_run() -> anyhow::Result<()> {
    let world = world().await?;
    for zone in ["Pacific/Kiritimati", "Asia/Kolkata", "America/New_York", ""] {
        world.people(1, zone).await?;
    }
    world.everybody().await?;
    let mut definition = cron("0 0 9 * * *", "Europe/Berlin");
    definition.schedule.each_recipient_zone = true;
    world.schedule("morning", &definition).await?;
    let opens: DateTime<Utc> = sqlx::query_scalar("select next_fire_at from trigger").fetch_one(&world.db.pool).await?;
    world.travel(opens);
    firing::fire_due(&world.context).await?;
    plan_all(&world.context).await?;
    assert_eq!(world.planned().await?, (4, 4, 4));
    let after: Vec<i64> = sqlx::query_scalar(
        "select round(extract(epoch from coalesce(n.deliver_after, $1) - $1) / 1800)::bigint
           from notification n join contact c on c.id = n.contact_id order by c.id",
    )
    .bind(opens)
    .fetch_all(&world.db.pool)
    .await?;
    // Kiritimati is 14 hours ahead, so the others follow 8.5, 18 or 19, and (Berlin, for those without a zone) 12 or 13 later.
    assert_eq!((after[0], after[1]), (0, 17), "{after:?}");
    assert!([36, 38].contains(&after[2]) && [24, 26].contains(&after[3]), "{after:?}");
    assert_eq!(world.count("select count(*) from timer").await?, 3, "they wait in the clock of their group");
    Ok(())
}
