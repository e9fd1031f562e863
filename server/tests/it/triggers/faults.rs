//! Workers that die in the middle, and firings that poison their batch.

use std::time::Duration;

use server::{services::Context, workers};
use tokio_util::sync::CancellationToken;

use super::Office;

/// The firings' worker on a runtime of its own, killed where it stands.
fn doomed(context: &Context, lives: Duration) {
    let (context, thread) = (context.clone(), std::thread::spawn);
    let run = move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let Ok(runtime) = runtime else { return };
        runtime.spawn(workers::captures::run(context.clone(), CancellationToken::new()));
        runtime.spawn(workers::firings::run(context, CancellationToken::new()));
        #[expect(clippy::disallowed_methods, reason = "the thread that will be killed has nothing else to do")]
        std::thread::sleep(lives);
        runtime.shutdown_background();
    };
    thread(run).join().expect("a thread that ends");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_are_killed_in_the_middle_of_batches_neither_lose_nor_double() -> anyhow::Result<()> {
    let office = Office::open().await?;
    office.watch("received", |_| {}).await?;
    office
        .sql("insert into grievance (name, mobile) select 'A', '98' || (10000000 + n) from generate_series(1, 4000) n")
        .await?;
    // Each life has a pool of its own, which dies with it.
    for lives in [400, 700, 1000, 300] {
        let context = crate::support::World::context(&office.api.world.db.url, office.context().clock.clone())?;
        #[expect(clippy::disallowed_methods, reason = "nothing else runs while the process is killed")]
        tokio::task::block_in_place(|| doomed(&context, Duration::from_millis(lives)));
    }
    let between = office.here("select count(*) from firing where state = 'fired'").await?;
    assert_eq!(between, office.here("select count(*) from notification").await?, "each with its notification");
    let _listening = office.start();
    office.until("select count(*) from firing where state = 'fired'", 4000).await?;
    assert_eq!(office.here("select count(*) from notification").await?, 4000);
    assert_eq!(office.here("select count(distinct notification_id) from firing").await?, 4000);
    assert_eq!(office.here("select count(*) from contact").await?, 4000);
    Ok(())
}

#[tokio::test]
async fn a_poisoned_firing_is_failed_after_three_tries_and_the_rest_goes_on() -> anyhow::Result<()> {
    let office = Office::open().await?;
    office.watch("received", |_| {}).await?;
    // Stands for a defect that one row alone brings out.
    let fault = "create function fault() returns trigger language plpgsql as $$ begin
                   if new.variables ->> 'name' = 'Poison' then raise exception 'a defect'; end if; return new; end $$;
                 create trigger fault before insert on notification for each row execute function fault()";
    sqlx::raw_sql(fault).execute(&office.api.world.db.pool).await?;
    let _listening = office.start();
    office
        .sql(
            "insert into grievance (name, mobile) select case n when 7 then 'Poison' else 'A' end, '981234560' || n
                  from generate_series(1, 9) n",
        )
        .await?;
    office.until("select count(*) from firing where state = 'fired'", 8).await?;
    office.until("select count(*) from firing where state = 'failed' and reason = 'INTERNAL' and tries = 3", 1).await?;
    assert_eq!(office.here("select count(*) from notification").await?, 8);
    Ok(())
}
