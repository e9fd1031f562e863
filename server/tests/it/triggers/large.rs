//! A hundred thousand rows in one statement: each fires once, in bulk.

use std::time::Instant;

use super::Office;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_rows_of_one_statement_fire_once_each() -> anyhow::Result<()> {
    let office = Office::open().await?;
    office.watch("received", |_| {}).await?;
    let _listening = office.start();
    let rows = 100_000;
    let written = Instant::now();
    office
        .sql(&format!(
            "insert into grievance (name, mobile) select 'A', '98' || (10000000 + n) from generate_series(1, {rows}) n"
        ))
        .await?;
    let inserted = written.elapsed();
    let mut taken = None;
    loop {
        let (firings, fired) = (
            office.here("select count(*) from firing").await?,
            office.here("select count(*) from firing where state = 'fired'").await?,
        );
        if firings == rows && taken.is_none() {
            taken = Some(written.elapsed());
        }
        if fired == rows {
            break;
        }
        assert!(written.elapsed().as_secs() < 600, "{firings} taken, {fired} fired");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    println!(
        "{rows} rows: written in {inserted:?}, taken after {taken:?}, notifications after {:?}",
        written.elapsed()
    );
    assert_eq!(office.here("select count(*) from notification where lane = 'bulk'").await?, rows);
    assert_eq!(office.here("select count(distinct notification_id) from firing").await?, rows);
    assert_eq!(office.here("select count(*) from contact").await?, rows);
    Ok(())
}
