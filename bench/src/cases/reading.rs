//! Reading the lists of a large campaign: recipients by state and by reason, page by page, warm.

use futures::FutureExt;
use server::services::campaigns::{RecipientFilter, list_recipients};
use tokio::time::Instant;

use crate::{bench::Bench, cases::Case, goal::Goal, report::Entry, stats::percentile, world::World};

/// See the module.
pub const CASE: Case = Case {
    name: "reading",
    about: "Lists of recipients by state and by reason of failure, page by page.",
    run: |bench| measure(bench).boxed(),
};

const PAGE: i64 = 100;

async fn measure(bench: &Bench) -> anyhow::Result<Vec<Entry>> {
    let world = World::on(bench.database().await?).await?;
    world.channel_at_once("sms").await?;
    world.plan(&["sms"], |_, _| {}).await?;
    world.people(10).await?;
    world.everybody().await?;
    world.start_campaign("news", "all", "sms").await?;
    let count = bench.scale.of(1_000_000, 30_000);
    bench.say(&format!("reading: writing {count} recipients"));
    sqlx::query(
        "insert into notification (id, plan_id, contact_id, campaign_id, lane, state, step, reason, purpose, variables, created_at,
                                   changed_at)
         select ('00000000-0000-7000-8000-' || lpad(to_hex(x), 12, '0'))::uuid, 1, k.first + x % 10, c.id, 'bulk',
                (case when x % 100 = 0 then 'skipped' when x % 100 = 1 then 'exhausted' when x % 3 = 0 then 'waiting'
                      else 'reached' end)::notification_state, 0,
                case when x % 100 = 0 then (array['NO_ADDRESS', 'OPTED_OUT', 'NO_CONTENT'])[x / 100 % 3 + 1] end, 'service',
                '{\"number\": \"GR-1\"}', now(), now()
           from generate_series(1, $1) x, campaign c, (select min(id) as first from contact) k",
    )
    .bind(count)
    .execute(&world.pool)
    .await?;
    world
        .sql(
            "insert into send_group (campaign_id, channel_id, channel_type, lane)
              select c.id, h.id, h.channel_type, 'bulk' from campaign c, channel h on conflict do nothing",
        )
        .await?;
    world
        .sql("insert into delivery (id, notification_id, step, send_group_id, channel_id, work, evidence, failure_class, failure_code, attempts,
                                    created_at)
              select n.id, n.id, 0, (select min(id) from send_group where campaign_id = n.campaign_id),
                     (select min(id) from channel), 'done',
                     (case when n.state = 'exhausted' then 'failed' else 'sent' end)::delivery_evidence,
                     case when n.state = 'exhausted' then 'permanent' end, case when n.state = 'exhausted' then '21211' end, 1, now()
                from notification n where n.state <> 'skipped'")
        .await?;
    world.sql("analyze notification; analyze delivery").await?;
    let by_state = |state| RecipientFilter { states: vec![state], ..RecipientFilter::default() };
    let by_reason = RecipientFilter { reasons: vec!["OPTED_OUT".into()], ..RecipientFilter::default() };
    let by_failure = RecipientFilter { failure_classes: vec!["permanent".into()], ..RecipientFilter::default() };
    let waiting = by_state(domain::notification::State::Waiting);
    let lists = [("by-state", waiting), ("by-reason", by_reason), ("by-failure", by_failure)];
    let mut entries = Vec::new();
    for (name, filter) in lists {
        let waits = pages(&world, &filter, bench.scale.of(1000, 40)).await?;
        entries.push(
            Entry::new(format!("reading/{name}-p99"), "ms", &[percentile(&waits, 0.99)])
                .goal(Goal::AtMost(5.0))
                .note(format!("{} pages of {PAGE} of {count} recipients", waits.len())),
        );
    }
    Ok(entries)
}

/// Reads page after page, from the beginning again at the end. Says how long each took, in milliseconds.
async fn pages(world: &World, filter: &RecipientFilter, count: usize) -> anyhow::Result<Vec<f64>> {
    let (mut waits, mut after) = (Vec::with_capacity(count), None);
    for n in 0..count + 10 {
        let began = Instant::now();
        let page = list_recipients(&world.context, "news", filter, after, PAGE).await?;
        if n >= 10 {
            waits.push(began.elapsed().as_secs_f64() * 1e3); // warm
        }
        anyhow::ensure!(after.is_some() || !page.is_empty(), "the list is empty");
        after = page.last().map(|row| row.id);
    }
    Ok(waits)
}
