//! One statement of 10,000 rows into a watched table.

use std::time::Duration;

use futures::FutureExt;
use sqlx::AssertSqlSafe;
use tokio::time::Instant;

use super::{Capture, Tables};
use crate::{
    bench::Bench,
    cases::Case,
    goal::Goal,
    report::{Entry, compared},
};

/// See the module.
pub const CASE: Case = Case {
    name: "capture-statement",
    about: "One INSERT of 10,000 rows into a watched table against the same table without a trigger.",
    run: |bench| measure(bench).boxed(),
};

const ROWS: u64 = 10_000;

async fn measure(bench: &Bench) -> anyhow::Result<Vec<Entry>> {
    let tables = Tables::new(bench).await?;
    let (mut none, mut ours, mut filtered) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..bench.scale.of(11, 3) {
        let before = tables.stored.events();
        let took = [insert(&tables, Capture::None).await?, insert(&tables, Capture::Ours).await?];
        tables.settle(Some(before + ROWS)).await?;
        let took_filtered = insert(&tables, Capture::Filtered).await?;
        tables.settle(Some(before + ROWS + ROWS / 100)).await?;
        if round > 0 {
            // The first one meets cold plans and an empty cache.
            none.push(took[0]);
            ours.push(took[1]);
            filtered.push(took_filtered);
        }
    }
    let ours = compared("capture-statement/ours", "ms", &ours, "no trigger", &none).goal(Goal::AtMostTimes(3.3));
    let filtered = compared("capture-statement/filtered", "ms", &filtered, "no trigger", &none)
        .note("1 row in 100 passes the condition");
    Ok(vec![ours.note("a statement trigger; consumer alive"), filtered])
}

async fn insert(tables: &Tables, capture: Capture) -> anyhow::Result<f64> {
    tokio::time::sleep(Duration::from_millis(20)).await; // the consumer has fallen asleep
    let sql = format!(
        "insert into {} (citizen, phone, subject, status, amount, note)
         select 'Asha Patil', '+919812345678', 'The street light in front of house ' || x || ' is broken',
                case when x % 100 = 0 then 'urgent' else 'open' end, x, 'as told by the ward office'
           from generate_series(1, {ROWS}) x",
        capture.table()
    );
    let began = Instant::now();
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&tables.world.pool).await?;
    Ok(began.elapsed().as_secs_f64() * 1e3)
}
