//! How fast campaigns go: rates that hold over channels and restarts, shares by weight, parts of short messages, answers that we
//! are too fast, budgets. The relay publishes to a bus that nobody reads, so that what it granted is what is counted.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use domain::price::Money;
use server::{
    bus::{SharedBus, local::LocalBus},
    services::{
        campaigns::{
            Change,
            spec::{SendingWindow, Spec},
            validating::{self, Asked},
        },
        channels::health,
        work::Work,
    },
    storage::pace,
    workers::{planner::Planner, relay::Relay},
};
use testkit::eventually;
use tokio_util::sync::CancellationToken;

use super::{Verb, definition, plan_all, spec, world};
use crate::support::{
    World,
    pipeline::{Workers, simulator},
};

const SOON: Duration = Duration::from_secs(30);
const GRANTED: &str =
    "select coalesce(sum(cardinality(delivery_ids)), 0)::bigint from dispatch where published_at is not null";

/// A relay of a process; it ends with this value, as a process that is killed.
struct Leads(tokio::task::JoinHandle<()>);

impl Leads {
    fn start(world: &World) -> anyhow::Result<Self> {
        let bus: SharedBus = Arc::new(LocalBus::default());
        let relay = Relay::new(world.another_process()?, bus);
        Ok(Self(tokio::spawn(relay.run(CancellationToken::new()))))
    }
}

impl Drop for Leads {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn granted(world: &World, at_least: i64) -> anyhow::Result<i64> {
    eventually(SOON, async || {
        let granted = world.count(GRANTED).await?;
        anyhow::ensure!(granted >= at_least, "{granted} of {at_least} were granted");
        Ok(granted)
    })
    .await
}

/// A campaign to `people` that was planned.
async fn campaign(world: &World, slug: &str, people: i32, spec: Spec) -> anyhow::Result<()> {
    if people > 0 {
        world.people(people, "").await?;
        world.everybody().await?;
    }
    let mut definition = definition("all");
    definition.spec = spec;
    world.start(slug, definition).await?;
    plan_all(&world.context).await
}

#[tokio::test]
async fn a_campaign_keeps_its_rate_on_all_its_channels_together_and_over_a_restart() -> anyhow::Result<()> {
    let world = world().await?;
    world.sms_channel("sms-b", "http://127.0.0.1:9").await?;
    campaign(&world, "news", 200, Spec { rate_per_hour: Some(36_000.0), ..spec("all") }).await?;
    // Every other chunk goes over another channel, as later steps do.
    sqlx::raw_sql(
        "with g as (insert into send_group (campaign_id, channel_id, channel_type, lane)
                    select c.id, h.id, 'SMS', 'bulk' from campaign c, channel h where h.slug = 'sms-b' returning id)
         update dispatch d set send_group_id = g.id from g where d.id % 2 = 0",
    )
    .execute(&world.db.pool)
    .await?;
    let began = Instant::now();
    let first = Leads::start(&world)?;
    granted(&world, 20).await?;
    drop(first);
    let second = Leads::start(&world)?;
    let all = granted(&world, 50).await?;
    // Ten a second, of which a second's worth may go at once; the last chunk (of ten) may leave a debt.
    let allowed = 10.0 * began.elapsed().as_secs_f64() + 10.0 + 10.0;
    #[expect(clippy::cast_precision_loss, reason = "some dozens")]
    let all = all as f64;
    assert!(all <= allowed, "{all} were granted where {allowed} were allowed");
    let channels = "select count(distinct send_group_id) from dispatch where published_at is not null";
    assert_eq!(world.count(channels).await?, 2);
    drop(second);
    Ok(())
}

#[tokio::test]
async fn two_campaigns_share_a_channel_by_weight_and_a_paused_one_leaves_its_share() -> anyhow::Result<()> {
    let world = world().await?;
    sqlx::query("update channel set rate_per_second = 100").execute(&world.db.pool).await?;
    world.context.directory.invalidate();
    campaign(&world, "heavy", 1_000, Spec { weight: 30, ..spec("all") }).await?;
    campaign(&world, "light", 0, Spec { weight: 10, ..spec("all") }).await?;
    // What is granted is outstanding for ever here: it is ended, as workers would.
    sqlx::raw_sql(
        "create table done (send_group_id bigint, n int);
         create function ends() returns trigger language plpgsql as $$ begin
           insert into done values (new.send_group_id, cardinality(new.delivery_ids));
           update dispatch set lease_until = '-infinity' where id = new.id; return null; end $$;
         create trigger ends after update on dispatch for each row
           when (old.published_at is null and new.published_at is not null) execute function ends()",
    )
    .execute(&world.db.pool)
    .await?;
    let _relay = Leads::start(&world)?;
    let of = |slug: &'static str| {
        let world = &world;
        async move {
            let sql = "select coalesce(sum(d.n), 0)::bigint from done d join send_group g on g.id = d.send_group_id
                         join campaign c on c.id = g.campaign_id where c.slug = $1";
            anyhow::Ok(sqlx::query_scalar::<_, i64>(sql).bind(slug).fetch_one(&world.db.pool).await?)
        }
    };
    eventually(SOON, async || {
        let all = of("heavy").await? + of("light").await?;
        anyhow::ensure!(all >= 800, "{all} were granted");
        Ok(())
    })
    .await?;
    let (heavy, light) = (of("heavy").await?, of("light").await?);
    assert!((heavy - 3 * light).abs() <= 200, "{heavy} and {light} are not three to one, give or take a chunk");
    assert!(light > 0, "nobody starves");
    world.verb(Verb::Pause, "heavy").await?;
    let before = of("light").await?;
    eventually(SOON, async || {
        let light = of("light").await?;
        anyhow::ensure!(light >= before + 120, "{light} after {before}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_rate_in_parts_counts_the_parts_of_what_is_really_said() -> anyhow::Result<()> {
    let world = world().await?;
    let long = "अ".repeat(150);
    sqlx::query(
        "with v as (insert into template_version (template_id, number, definition, created_at)
                    select template_id, 2, jsonb_set(definition, '{version,contents,0,body,text}', to_jsonb($1::text)), now()
                      from template_version returning template_id)
         update template t set latest = 2 from v where t.id = v.template_id",
    )
    .bind(long)
    .execute(&world.db.pool)
    .await?;
    sqlx::query("update channel set parts_per_second = 30").execute(&world.db.pool).await?;
    world.context.directory.invalidate();
    campaign(&world, "news", 200, spec("all")).await?;
    let parts = "select sum(parts)::bigint from dispatch";
    assert_eq!(world.count(parts).await?, 600, "150 letters of Devanagari are three parts");
    let began = Instant::now();
    let _relay = Leads::start(&world)?;
    let all = granted(&world, 60).await?;
    #[expect(clippy::cast_precision_loss, reason = "some dozens")]
    let parts = all as f64 * 3.0;
    // A chunk of fifty is 150 parts, which is the debt that the last one may leave.
    let allowed = 30.0 * began.elapsed().as_secs_f64() + 30.0 + 150.0;
    assert!(parts <= allowed, "{parts} parts were granted where {allowed} were allowed");
    Ok(())
}

#[tokio::test]
async fn a_provider_that_says_too_fast_is_granted_less_and_its_channel_shows_it() -> anyhow::Result<()> {
    let world = world().await?;
    sqlx::query("update channel_provider set rate_per_second = 100").execute(&world.db.pool).await?;
    world.context.directory.invalidate();
    campaign(&world, "news", 200, spec("all")).await?;
    let _relay = Leads::start(&world)?;
    granted(&world, 100).await?;
    let shown = health::health(&world.context, "sms-a").await?;
    assert_eq!((shown.providers[0].granted_rate, shown.providers[0].pace.throttled), (Some(100.0), 0));
    let provider: i32 = sqlx::query_scalar("select id from channel_provider").fetch_one(&world.db.pool).await?;
    pace::throttled(&mut *world.context.lists.conn().await?, provider, 3).await?;
    let slowed = eventually(SOON, async || {
        let shown = health::health(&world.context, "sms-a").await?;
        let rate = shown.providers[0].granted_rate.unwrap_or_default();
        anyhow::ensure!(rate < 60.0, "{rate}");
        Ok(rate)
    })
    .await?;
    assert!(slowed > 0.0);
    eventually(SOON, async || {
        let shown = health::health(&world.context, "sms-a").await?;
        anyhow::ensure!(shown.providers[0].granted_rate.is_some_and(|rate| rate > slowed), "it does not rise");
        anyhow::ensure!(shown.providers[0].pace.throttled == 3, "{:?}", shown.providers[0].pace);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn calls_that_may_be_open_are_counted_over_all_processes_and_interactive_finds_one_free() -> anyhow::Result<()> {
    let world = world().await?;
    sqlx::query("update channel_provider set in_flight = 5").execute(&world.db.pool).await?;
    world.context.directory.invalidate();
    campaign(&world, "news", 100, spec("all")).await?;
    let _relay = Leads::start(&world)?;
    granted(&world, 4).await?;
    let contact = world.contact("+919812345699").await?;
    let plan = world.plan(&["sms-a"], |_, _| {}).await?;
    world.begin(&plan, &[contact], domain::channel::Lane::Interactive).await?;
    let waits = "select count(*) from dispatch where lane = 'interactive' and published_at is null";
    eventually(SOON, async || {
        anyhow::ensure!(world.count(waits).await? == 0, "the single send waits behind the campaign");
        Ok(())
    })
    .await?;
    assert_eq!(world.count(GRANTED).await?, 5, "four of the campaign and one that someone waits for");
    Ok(())
}

/// Enough for a slow channel to fill every slot of a worker, if it were let.
#[tokio::test]
async fn a_provider_that_never_answers_holds_back_nobody_else_in_its_queue() -> anyhow::Result<()> {
    let world = world().await?;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let never = format!("http://{}", silent.local_addr()?);
    sqlx::query("update channel_provider set settings = jsonb_set(settings, '{base_url}', to_jsonb($1::text))")
        .bind(never)
        .execute(&world.db.pool)
        .await?;
    let sim = simulator().await?;
    world.sms_channel("sms-b", &sim.base_url).await?;
    campaign(&world, "slow", 5_500, spec("all")).await?;
    let _workers = Workers::start(&world.context, None)?;
    // What is slow was granted first, and more of it than can be called.
    let waits = "select count(*) from dispatch where token is not null";
    eventually(SOON, async || {
        anyhow::ensure!(world.count(waits).await? >= 10, "the slow channel is not busy yet");
        Ok(())
    })
    .await?;
    let plan = world.plan(&["sms-b"], |_, step| step.success = domain::fallback::Success::Sent).await?;
    let mut people = Vec::new();
    for n in 0..100 {
        people.push(world.contact(&format!("+9197000000{n:02}")).await?);
    }
    world.begin(&plan, &people, domain::channel::Lane::Bulk).await?;
    world.context.wake.signal(server::wake::Topic::Relay);
    eventually(SOON, async || {
        let reached = world.count("select count(*) from notification where state = 'reached'").await?;
        anyhow::ensure!(reached == 100, "{reached} of 100 are reached");
        Ok(())
    })
    .await?;
    assert_eq!(world.count("select count(*) from delivery where evidence = 'sent' and send_group_id = 1").await?, 0);
    drop(silent);
    Ok(())
}

fn rupees(micros: i64) -> Option<Money> {
    Some(Money { currency: "INR".into(), micros })
}

async fn priced(world: &World) -> anyhow::Result<()> {
    sqlx::query("update channel set price_micros = 100000, price_currency = 'INR'").execute(&world.db.pool).await?;
    world.context.directory.invalidate();
    Ok(())
}

#[tokio::test]
async fn a_campaign_stops_at_its_budget_and_goes_on_with_a_larger_one() -> anyhow::Result<()> {
    let world = world().await?;
    priced(&world).await?;
    campaign(&world, "news", 120, Spec { budget: rupees(7_000_000), ..spec("all") }).await?;
    let _relay = Leads::start(&world)?;
    eventually(SOON, async || {
        let state = world.state("news").await?;
        anyhow::ensure!(state == "paused", "{state}");
        Ok(())
    })
    .await?;
    assert_eq!(world.count(GRANTED).await?, 70, "all that fits goes, to the last delivery");
    let campaign = server::services::campaigns::get(&world.context, "news").await?;
    assert_eq!(campaign.row.state_reason.as_deref(), Some("BUDGET_REACHED"));
    assert_eq!(campaign.row.spent_micros, 7_000_000);
    let mut work = Work::begin(&world.context).await?;
    let larger = Spec { budget: rupees(20_000_000), ..spec("all") };
    let change = Change { spec: Some(larger), ..Change::default() };
    server::services::campaigns::update(&mut work, "news", change, "").await?;
    work.commit(&world.context).await?;
    world.verb(Verb::Resume, "news").await?;
    assert_eq!(granted(&world, 120).await?, 120);
    assert_eq!(world.state("news").await?, "running");
    Ok(())
}

#[tokio::test]
async fn what_a_campaign_costs_is_known_before_it_starts() -> anyhow::Result<()> {
    let world = world().await?;
    world.people(25, "").await?;
    world.everybody().await?;
    let budget = Spec { budget: rupees(1_000_000), ..spec("all") };
    let asked = Asked::Unstored(Box::new(budget.clone()));
    let foreseen = validating::validate(&world.context, &asked, 0).await?;
    let reasons: Vec<&str> = foreseen.problems.iter().map(|p| p.violation.reason).collect();
    assert_eq!(reasons, ["BUDGET_WITHOUT_PRICE"], "{:?}", foreseen.problems);
    priced(&world).await?;
    let foreseen = validating::validate(&world.context, &asked, 0).await?;
    let cost = &foreseen.costs[0];
    assert_eq!((cost.channel.as_str(), cost.messages, cost.parts), ("sms-a", 25, 25));
    assert_eq!(cost.cost, rupees(2_500_000));
    assert!(foreseen.valid(), "a budget that will be reached is a warning: {:?}", foreseen.problems);
    assert_eq!(foreseen.problems.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_campaign_that_is_spread_takes_its_whole_window() -> anyhow::Result<()> {
    let world = world().await?;
    let at = |ahead: i64| (world.now() + chrono::TimeDelta::hours(ahead)).format("%H:%M").to_string();
    let window = SendingWindow { start: at(-1), end: at(2), time_zone: "UTC".into(), spread: true };
    campaign(&world, "news", 1000, Spec { window: Some(window), ..spec("all") }).await?;
    let rate = "select (spread_per_second * 1000000)::bigint from campaign";
    let spread = world.count(rate).await?;
    // 1000 in a little less than two hours.
    assert!((138_000..=142_000).contains(&spread), "{spread} millionths a second");
    let size = "select max(cardinality(delivery_ids))::bigint from dispatch";
    assert_eq!(world.count(size).await?, 50, "planned before its speed was known");
    world.advance(Duration::from_secs(3600));
    Planner::new(world.context.clone()).pass().await?;
    let later = world.count(rate).await?;
    assert!((275_000..=290_000).contains(&later), "what did not go yet goes in what is left: {later}");
    Ok(())
}

#[tokio::test]
async fn groups_of_an_ended_campaign_are_looked_at_no_more() -> anyhow::Result<()> {
    let world = world().await?;
    campaign(&world, "news", 5, spec("all")).await?;
    sqlx::raw_sql(
        "delete from dispatch; update delivery set work = 'done', evidence = 'delivered';
         update notification set state = 'reached'",
    )
    .execute(&world.db.pool)
    .await?;
    plan_all(&world.context).await?;
    plan_all(&world.context).await?;
    assert_eq!(world.state("news").await?, "completed");
    assert_eq!(world.count("select count(*) from send_group where campaign_id is not null and running").await?, 0);
    Ok(())
}
