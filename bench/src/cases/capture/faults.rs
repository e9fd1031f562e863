//! Whether anything is lost or doubled while the consumer's connection is killed each second under load.

use std::time::Duration;

use futures::FutureExt;
use tokio::time::Instant;

use super::{Capture, Tables};
use crate::{
    bench::{Bench, until},
    cases::Case,
    goal::Goal,
    report::Entry,
    stats::number,
};

/// See the module.
pub const CASE: Case = Case {
    name: "capture-faults",
    about: "Rows lost or doubled while eight clients write and the consumer's connection is killed each second.",
    run: |bench| measure(bench).boxed(),
};

async fn measure(bench: &Bench) -> anyhow::Result<Vec<Entry>> {
    let tables = Tables::new(bench).await?;
    let window = bench.scale.of(Duration::from_secs(20), Duration::from_secs(4));
    let (written, killed) =
        tokio::try_join!(tables.write(Capture::Ours, 8, window), kill_each_second(&tables, window))?;
    let pool = &tables.world.pool;
    until("all that was captured", Duration::from_secs(60), Duration::from_millis(50), || async {
        let stored: i64 = sqlx::query_scalar("select count(*) from firing").fetch_one(pool).await?;
        Ok(stored >= i64::try_from(written.rows)?)
    })
    .await?;
    let (lost, doubled): (i64, i64) = sqlx::query_as(
        "select (select count(*) from orders_ours o where not exists (
                   select from firing f where (f.row_data->>'id')::bigint = o.id)),
                (select count(*) - count(distinct row_data->>'id') from firing)",
    )
    .fetch_one(pool)
    .await?;
    let wrong = number(usize::try_from(lost + doubled)?);
    let note = format!("{} rows, {killed} connections killed", written.rows);
    Ok(vec![Entry::new("capture-faults/lost-or-doubled", "rows", &[wrong]).goal(Goal::AtMost(0.0)).note(note)])
}

/// Ends the backend that holds a lock of captures for itself: the consumer's. Says how often there was one.
async fn kill_each_second(tables: &Tables, window: Duration) -> anyhow::Result<u32> {
    let (end, mut killed) = (Instant::now() + window, 0);
    while Instant::now() + Duration::from_millis(900) < end {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let ended: Vec<bool> = sqlx::query_scalar(
            "select pg_terminate_backend(pid) from (
               select distinct pid from pg_locks where locktype = 'advisory' and classid = x'53574243'::int::oid
                  and mode = 'ExclusiveLock' and granted) l",
        )
        .fetch_all(&tables.world.pool)
        .await?;
        killed += u32::try_from(ended.len())?;
    }
    anyhow::ensure!(killed > 0, "the consumer's connection was not found");
    Ok(killed)
}
