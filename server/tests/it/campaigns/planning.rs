//! From an audience to notifications: nobody twice, nobody lost, whatever dies in between.

use std::time::Instant;

use domain::notification::State;
use server::{services::campaigns, workers::planner::Planner};

use super::{definition, own_source, plan_all, query, world};

#[tokio::test]
async fn an_audience_is_planned_once_each_and_then_it_is_known() -> anyhow::Result<()> {
    let world = world().await?;
    world.people(2500, "").await?;
    world.everybody().await?;
    world.start("news", definition("all")).await?;
    plan_all(&world.context).await?;
    assert_eq!(world.planned().await?, (2500, 2500, 2500));
    let progress = campaigns::progress::get(&world.context, "news").await?;
    assert_eq!((progress.recipients, progress.states), (2500, vec![(State::Waiting, 2500)]));
    assert!(progress.campaign.row.planned_at.is_some());
    assert_eq!(world.count("select sum(cardinality(delivery_ids)) from dispatch").await?, 2500);
    Ok(())
}

#[tokio::test]
async fn planning_goes_on_after_a_process_died_in_a_page_and_nobody_is_planned_twice() -> anyhow::Result<()> {
    let world = world().await?;
    world.people(2500, "").await?;
    world.everybody().await?;
    world.start("news", definition("all")).await?;
    let mut dies = Planner::new(world.another_process()?);
    dies.pass().await?;
    // Its next page fails in the middle, behind what it has written: the whole page is undone.
    sqlx::raw_sql(
        "create function broken() returns trigger language plpgsql as $$ begin raise exception 'killed here'; end $$;
         create trigger broken before update on campaign for each row when (new.plan_cursor is distinct from old.plan_cursor)
         execute function broken()",
    )
    .execute(&world.db.pool)
    .await?;
    assert!(dies.pass().await.is_err());
    assert_eq!(world.planned().await?, (1000, 1000, 1000));
    drop(dies);
    sqlx::raw_sql("drop trigger broken on campaign; update campaign set planner_until = now() - interval '1 second'")
        .execute(&world.db.pool)
        .await?;
    plan_all(&world.context).await?;
    assert_eq!(world.planned().await?, (2500, 2500, 2500));
    Ok(())
}

#[tokio::test]
async fn a_query_that_is_run_again_after_a_death_tells_duplicates_from_those_who_were_planned() -> anyhow::Result<()> {
    let world = world().await?;
    own_source(&world).await?;
    // Everybody of the first hundred comes three times.
    let sql = "select '+9197' || lpad((x % 1500)::text, 8, '0') as phone, 'P' as name from generate_series(0, 1499) x
               union all select '+9197' || lpad((x % 100)::text, 8, '0'), 'P' from generate_series(0, 199) x";
    world.audience("asked", query(sql, 5000)).await?;
    world.start("news", definition("asked")).await?;
    Planner::new(world.another_process()?).pass().await?;
    assert_eq!(world.planned().await?.0, 1000);
    sqlx::query("update campaign set planner_until = now() - interval '1 second'").execute(&world.db.pool).await?;
    plan_all(&world.context).await?;
    assert_eq!(world.planned().await?, (1500, 1500, 1500));
    let cursor = campaigns::progress::get(&world.context, "news").await?.cursor;
    assert_eq!((cursor.reading, cursor.rows, cursor.duplicates, cursor.unmappable), (2, 1700, 200, 0));
    Ok(())
}

#[tokio::test]
async fn two_planners_at_once_plan_every_person_once() -> anyhow::Result<()> {
    let world = world().await?;
    world.people(1500, "").await?;
    world.everybody().await?;
    for slug in ["one", "two", "three"] {
        world.start(slug, definition("all")).await?;
    }
    let other = world.another_process()?;
    let (a, b) = tokio::join!(plan_all(&world.context), plan_all(&other));
    a.and(b)?;
    plan_all(&world.context).await?;
    assert_eq!(world.planned().await?, (4500, 1500, 4500));
    Ok(())
}

#[tokio::test]
async fn who_cannot_be_reached_is_skipped_with_the_reason_and_the_rest_goes_on() -> anyhow::Result<()> {
    let world = world().await?;
    let people = world.people(10, "").await?;
    sqlx::query(
        "insert into consent (address_id, channel_type, purpose, opted_in, source, at)
         select address_id, 'SMS', 'service', false, 'API', now() from contact_address where contact_id = $1",
    )
    .bind(people[0])
    .execute(&world.db.pool)
    .await?;
    sqlx::query("delete from contact_address where contact_id = $1").bind(people[1]).execute(&world.db.pool).await?;
    world.everybody().await?;
    world.start("news", definition("all")).await?;
    plan_all(&world.context).await?;
    let progress = campaigns::progress::get(&world.context, "news").await?;
    assert_eq!(progress.states, [(State::Skipped, 2), (State::Waiting, 8)]);
    assert_eq!(progress.skips, [("NO_ADDRESS".to_owned(), 1), ("OPTED_OUT".to_owned(), 1)]);
    let skipped = campaigns::RecipientFilter { states: vec![State::Skipped], ..Default::default() };
    let listed = campaigns::list_recipients(&world.context, "news", &skipped, None, 10).await?;
    let listed: Vec<_> = listed.iter().map(|r| (r.contact_id, r.reason.as_deref().unwrap_or_default())).collect();
    assert_eq!(listed, [(people[0], "OPTED_OUT"), (people[1], "NO_ADDRESS")]);
    assert_eq!(campaigns::count_recipients(&world.context, "news", &skipped).await?, 2);
    Ok(())
}

/// Run by hand, for a figure: `cargo test -p server --test it -- --ignored planner_rate --nocapture`.
#[tokio::test]
#[ignore = "a measurement"]
async fn the_planner_rate_for_a_list_of_20_000() -> anyhow::Result<()> {
    let world = world().await?;
    world.people(20_000, "").await?;
    sqlx::query(
        "with a as (insert into audience (slug, kind, definition, created_at, updated_at)
                    values ('list', 'list', '{\"kind\": \"list\"}', now(), now()) returning id)
         insert into audience_member (audience_id, contact_id) select a.id, c.id from a, contact c",
    )
    .execute(&world.db.pool)
    .await?;
    sqlx::query("analyze").execute(&world.db.pool).await?;
    world.start("news", definition("list")).await?;
    let begun = Instant::now();
    plan_all(&world.context).await?;
    let took = begun.elapsed();
    assert_eq!(world.planned().await?.0, 20_000);
    println!("20000 notifications in {took:?}: {:.0} a second", 20_000.0 / took.as_secs_f64());
    Ok(())
}
