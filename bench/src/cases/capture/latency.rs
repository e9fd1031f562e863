//! How long a row of an idle table takes to be stored with us.

use std::time::Duration;

use futures::FutureExt;
use tokio::time::Instant;

use super::{Capture, Tables};
use crate::{
    bench::Bench,
    cases::Case,
    goal::Goal,
    report::{Entry, compared},
    stats::percentile,
};

/// See the module.
pub const CASE: Case = Case {
    name: "capture-latency",
    about: "From the commit of a row in an idle table to its being handed over and stored.",
    run: |bench| measure(bench).boxed(),
};

async fn measure(bench: &Bench) -> anyhow::Result<Vec<Entry>> {
    let tables = Tables::new(bench).await?;
    let (mut commits, mut waits) = (Vec::new(), Vec::new());
    for _ in 0..bench.scale.of(1000, 150) {
        // Long enough for the consumer to have fallen asleep.
        tokio::time::sleep(Duration::from_millis(12)).await;
        let before = tables.stored.events();
        let began = Instant::now();
        insert_one(&tables, Capture::Ours).await?;
        let committed = Instant::now();
        tables.stored.reach(before + 1).await?;
        waits.push(committed.elapsed().as_secs_f64() * 1e3);
        commits.push((committed - began).as_secs_f64() * 1e3);
    }
    let entry = |name: &str, share: f64, goal: f64| {
        let base = ("the insert's own commit", [percentile(&commits, share)]);
        compared(format!("capture-latency/{name}"), "ms", &[percentile(&waits, share)], base.0, &base.1)
            .goal(Goal::AtMost(goal))
            .note(format!("{} rows, one at a time; the commit that stores it in our table included", waits.len()))
    };
    Ok(vec![entry("p50", 0.5, 2.0), entry("p99", 0.99, 10.0)])
}

async fn insert_one(tables: &Tables, capture: Capture) -> anyhow::Result<()> {
    debug_assert_eq!(capture.table(), "orders_ours");
    sqlx::query(
        "insert into orders_ours (citizen, phone, subject, status, amount)
         values ('Asha Patil', '+919812345678', 'No water since Monday', 'open', 1)",
    )
    .execute(&tables.world.pool)
    .await?;
    Ok(())
}
