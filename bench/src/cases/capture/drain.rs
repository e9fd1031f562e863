//! How fast a consumer takes up what waits in the outbox, alone and while a long transaction keeps Postgres from forgetting dead
//! rows.

use std::time::Duration;

use futures::FutureExt;
use sqlx::{AssertSqlSafe, Connection};
use tokio::time::Instant;

use super::{Capture, Tables};
use crate::{
    bench::Bench,
    cases::Case,
    goal::Goal,
    report::{Entry, compared},
    stats::number,
};

/// See the module.
pub const CASE: Case = Case {
    name: "capture-drain",
    about: "From a full outbox into our tables, against a single client's inserts and with a long transaction open.",
    run: |bench| measure(bench).boxed(),
};

async fn measure(bench: &Bench) -> anyhow::Result<Vec<Entry>> {
    let mut tables = Tables::new(bench).await?;
    let rows = bench.scale.of(100_000, 15_000);
    let window = bench.scale.of(Duration::from_secs(2), Duration::from_millis(500));
    let (mut single, mut alone, mut held) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.scale.of(3, 1) {
        single.push(tables.write(Capture::None, 1, window).await?.rate);
        alone.push(drain(&mut tables, rows).await?);
        let mut long = sqlx::PgConnection::connect(&tables.world.db.url).await?;
        sqlx::raw_sql("begin isolation level repeatable read; select pg_current_xact_id()").execute(&mut long).await?;
        // Dead rows of this one stand in the way of the next.
        drain(&mut tables, rows).await?;
        held.push(drain(&mut tables, rows).await?);
        sqlx::raw_sql("rollback").execute(&mut long).await?;
        long.close().await?;
        tables.world.sql("truncate orders_ours, firing").await?;
    }
    Ok(vec![
        compared("capture-drain/alone", "rows/s", &alone, "single-client INSERT", &single)
            .goal(Goal::AtLeastTimes(4.0)),
        compared("capture-drain/long-transaction", "rows/s", &held, "without it", &alone)
            .goal(Goal::AtLeastTimes(0.8))
            .note("a transaction holds xmin while the outbox is filled and drained twice; the second is measured"),
    ])
}

/// Fills the outbox while nobody reads, and drains it. Says how many rows a second.
async fn drain(tables: &mut Tables, rows: usize) -> anyhow::Result<f64> {
    tables.stop_consumer().await;
    let sql = format!(
        "insert into orders_ours (citizen, phone, subject, status, amount)
         select 'Asha Patil', '+919812345678', 'House ' || x, 'open', x from generate_series(1, {rows}) x"
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&tables.world.pool).await?;
    let wanted = tables.stored.events() + u64::try_from(rows)?;
    let began = Instant::now();
    tables.start_consumer();
    tables.stored.reach(wanted).await?;
    Ok(number(rows) / began.elapsed().as_secs_f64())
}
