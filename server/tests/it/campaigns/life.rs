//! The life of a campaign while it runs: paused and resumed, cancelled at half, completed.

use std::time::Duration;

use chrono::TimeDelta;
use server::{
    services::campaigns::{self, Change, spec::SendingWindow},
    services::work::Work,
    storage::campaigns::planning,
    workers::{fallback, planner::Planner},
};

use super::{Verb, definition, plan_all, spec, world};

const HOUR: Duration = Duration::from_secs(3600);

/// Everything was sent: each notification waits for its success.
async fn sent(world: &crate::support::World) -> anyhow::Result<()> {
    sqlx::raw_sql(
        "delete from dispatch; update delivery set work = 'done', evidence = 'sent', first_sent_at = created_at, attempts = 1;
         insert into timer (owner, kind, send_group_id, due_at, generation)
         select n.id, 'step', d.send_group_id, d.created_at + interval '1 hour', n.generation
           from notification n join delivery d on d.notification_id = n.id",
    )
    .execute(&world.db.pool)
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_pause_keeps_the_time_left_and_writes_one_row_a_channel() -> anyhow::Result<()> {
    let world = world().await?;
    world.people(50, "").await?;
    world.everybody().await?;
    world.start("news", definition("all")).await?;
    plan_all(&world.context).await?;
    sent(&world).await?;
    world.advance(HOUR / 2);
    let timers = "select (extract(epoch from max(due_at)) * 1000)::bigint from timer";
    let before = world.count(timers).await?;
    world.verb(Verb::Pause, "news").await?;
    assert_eq!(world.state("news").await?, "paused");
    assert_eq!(world.count("select count(*) from send_group where campaign_id is not null and not running").await?, 1);
    world.advance(5 * HOUR);
    assert!(!fallback::pass(&world.context).await?);
    assert_eq!(world.count("select count(*) from notification where state = 'waiting'").await?, 50);
    world.verb(Verb::Resume, "news").await?;
    assert_eq!(world.count(timers).await?, before, "no timer was moved");
    world.advance(HOUR / 3);
    fallback::pass(&world.context).await?;
    assert_eq!(world.count("select count(*) from notification where state = 'waiting'").await?, 50, "20 of 30 minutes");
    world.advance(HOUR / 4);
    while fallback::pass(&world.context).await? {}
    assert_eq!(world.count("select count(*) from notification where state = 'exhausted'").await?, 50);
    plan_all(&world.context).await?;
    assert_eq!(world.state("news").await?, "completed");
    Ok(())
}

#[tokio::test]
async fn nothing_is_planned_while_a_campaign_is_paused_and_the_rest_follows() -> anyhow::Result<()> {
    let world = world().await?;
    world.people(2500, "").await?;
    world.everybody().await?;
    world.start("news", definition("all")).await?;
    let mut planner = Planner::new(world.context.clone());
    planner.pass().await?;
    world.verb(Verb::Pause, "news").await?;
    while planner.pass().await? {}
    assert_eq!(world.planned().await?.0, 1000);
    world.verb(Verb::Resume, "news").await?;
    sqlx::query("update campaign set planner_until = now() - interval '1 second'").execute(&world.db.pool).await?;
    plan_all(&world.context).await?;
    assert_eq!(world.planned().await?, (2500, 2500, 2500));
    Ok(())
}

#[tokio::test]
async fn a_campaign_that_is_cancelled_at_half_takes_everything_back() -> anyhow::Result<()> {
    let world = world().await?;
    world.people(3500, "").await?;
    world.everybody().await?;
    world.start("news", definition("all")).await?;
    let mut planner = Planner::new(world.context.clone());
    planner.pass().await?;
    planner.pass().await?;
    world.verb(Verb::Cancel, "news").await?;
    assert_eq!(world.state("news").await?, "cancelling");
    let running = world.count("select count(*) from send_group where campaign_id is not null and running").await?;
    assert_eq!(running, 0, "nothing goes out from the moment of the cancel on");
    while planner.pass().await? {}
    assert_eq!(world.state("news").await?, "cancelled");
    let cancelled = "select count(*) from notification where state = 'cancelled' and reason = 'CANCELLED_BY_OWNER'";
    assert_eq!((world.count(cancelled).await?, world.planned().await?.0), (2000, 2000));
    assert_eq!(world.count("select count(*) from delivery where work = 'queued'").await?, 0);
    assert_eq!(world.count("select count(*) from dispatch").await?, 0);
    assert_eq!(world.count("select count(*) from timer").await?, 0);
    world.verb(Verb::Cancel, "news").await?;
    assert!(world.verb(Verb::Resume, "news").await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_sending_window_holds_everything_back_until_it_opens() -> anyhow::Result<()> {
    let world = world().await?;
    world.people(5, "").await?;
    world.everybody().await?;
    let at = |ahead: i64| (world.now() + TimeDelta::hours(ahead)).format("%H:%M").to_string();
    let window = SendingWindow { start: at(2), end: at(6), time_zone: "UTC".into(), spread: false };
    let mut definition = definition("all");
    definition.spec.window = Some(window);
    world.start("news", definition).await?;
    plan_all(&world.context).await?;
    let open =
        "select count(*) from send_group where campaign_id is not null and not_before <= now() + interval '90 minutes'";
    assert_eq!(world.count(open).await?, 0);
    world.advance(2 * HOUR + HOUR / 30);
    Planner::new(world.context.clone()).pass().await?;
    assert_eq!(world.count(open).await?, 1);
    Ok(())
}

#[tokio::test]
async fn only_the_pace_of_a_running_campaign_may_change() -> anyhow::Result<()> {
    let world = world().await?;
    world.people(5, "").await?;
    world.everybody().await?;
    world.start("news", definition("all")).await?;
    plan_all(&world.context).await?;
    let update = async |spec| {
        let mut work = Work::begin(&world.context).await?;
        let change = Change { spec: Some(spec), ..Change::default() };
        let changed = campaigns::update(&mut work, "news", change, "").await?;
        work.commit(&world.context).await?;
        server::services::Result::Ok(changed)
    };
    let mut faster = spec("all");
    (faster.weight, faster.rate_per_second) = (50, Some(2.5));
    assert_eq!(update(faster.clone()).await?.definition.spec, faster);
    assert_eq!(world.count("select count(*) from send_group where weight = 50").await?, 1);
    let mut other = faster;
    other.purpose = "marketing".into();
    assert!(update(other).await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_scheduled_campaign_begins_at_its_time_or_fails_with_the_reason() -> anyhow::Result<()> {
    let world = world().await?;
    world.people(5, "").await?;
    world.everybody().await?;
    for slug in ["good", "bad"] {
        let mut work = Work::begin(&world.context).await?;
        let new = campaigns::NewCampaign {
            slug: slug.into(),
            display_name: String::new(),
            definition: definition("all"),
            start_at: Some(world.now() + TimeDelta::hours(1)),
        };
        campaigns::create(&mut work, &new).await?;
        campaigns::verbs::start(&world.context, &mut work, slug, "").await?;
        work.commit(&world.context).await?;
        assert_eq!(world.state(slug).await?, "scheduled");
    }
    sqlx::query(
        "update campaign set definition = jsonb_set(definition, '{spec,audience}', '\"gone\"') where slug = 'bad'",
    )
    .execute(&world.db.pool)
    .await?;
    plan_all(&world.context).await?;
    assert_eq!(world.planned().await?.0, 0, "an hour too early");
    let next = planning::at_work(&mut *world.context.lists.conn().await?).await?.next_start;
    assert!(next.is_some_and(|at| at > world.now()));
    world.advance(HOUR + HOUR / 60);
    plan_all(&world.context).await?;
    assert_eq!((world.state("good").await?, world.planned().await?.0), ("running".to_owned(), 5));
    let bad = campaigns::get(&world.context, "bad").await?.row;
    assert_eq!(bad.state.as_str(), "failed");
    assert!(bad.state_reason.as_deref().is_some_and(|why| why.contains("audiences/gone")), "{:?}", bad.state_reason);
    Ok(())
}

#[tokio::test]
async fn validation_counts_whom_it_would_reach_and_leaves_nothing_behind() -> anyhow::Result<()> {
    let world = world().await?;
    let people = world.people(20, "").await?;
    sqlx::query("delete from contact_address where contact_id = $1").bind(people[0]).execute(&world.db.pool).await?;
    world.everybody().await?;
    let asked = campaigns::validating::Asked::Unstored(Box::new(spec("all")));
    let foreseen = campaigns::validating::validate(&world.context, &asked, 2).await?;
    assert!(foreseen.valid(), "{:?}", foreseen.problems);
    assert_eq!((foreseen.recipients, foreseen.reachable), (20, 19));
    assert_eq!(foreseen.skips.into_iter().map(|(r, n)| (r.as_str(), n)).collect::<Vec<_>>(), [("NO_ADDRESS", 1)]);
    assert_eq!(foreseen.samples[1].plain_text, "The dam opens at noon.");
    assert_eq!(world.count("select count(*) from notification").await?, 0);
    assert_eq!(world.count("select count(*) from send_group").await?, 0);
    let mut wrong = spec("nobody");
    wrong.weight = 1000;
    let asked = campaigns::validating::Asked::Unstored(Box::new(wrong));
    assert!(!campaigns::validating::validate(&world.context, &asked, 0).await?.valid());
    Ok(())
}
