//! Nothing is lost and nothing is doubled: the listener away, writes rolled back, triggers switched off and taken away.

use std::time::Duration;

use proto::v1;

use super::Office;

const ROW: &str = "insert into grievance (name, mobile) values ('Asha', '9812345678')";

#[tokio::test]
async fn rows_that_were_written_while_the_listener_was_stopped_fire_when_it_is_back() -> anyhow::Result<()> {
    let office = Office::open().await?;
    office.watch("received", |_| {}).await?;
    let listening = office.start();
    office.sql(ROW).await?;
    office.until("select count(*) from notification", 1).await?;
    listening.stop().await;
    office.sql(&format!("{ROW}; {ROW}")).await?;
    assert_eq!(office.here("select count(*) from firing").await?, 1);
    let _again = office.start();
    office.until("select count(*) from notification", 3).await
}

#[tokio::test]
async fn a_write_that_is_rolled_back_fires_nothing() -> anyhow::Result<()> {
    let office = Office::open().await?;
    office.watch("received", |_| {}).await?;
    let _listening = office.start();
    office.sql(&format!("begin; {ROW}; rollback; {ROW}")).await?;
    office.until("select count(*) from firing where state = 'fired'", 1).await?;
    assert_eq!(office.here("select count(*) from firing").await?, 1);
    Ok(())
}

#[tokio::test]
async fn what_was_captured_before_a_trigger_was_disabled_still_fires_and_later_rows_do_not() -> anyhow::Result<()> {
    let office = Office::open().await?;
    office.watch("received", |_| {}).await?;
    office.sql(ROW).await?;
    let name = || "triggers/received".to_owned();
    let disable = v1::DisableTriggerRequest { name: name(), ..Default::default() };
    let off = office.triggers().disable_trigger(disable).await?.into_inner();
    assert_eq!(off.state(), v1::trigger::State::Disabled);
    office.sql(ROW).await?;
    let _listening = office.start();
    office.until("select count(*) from notification", 1).await?;
    // Drained, nothing of it is left in the office's database.
    let left = "select count(*) from pg_namespace where nspname like 'switchboard_capture%'";
    let begun = tokio::time::Instant::now();
    while office.there(left).await? > 0 {
        assert!(begun.elapsed() < super::PATIENCE, "the capture schema is still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let enable = v1::EnableTriggerRequest { name: name(), ..Default::default() };
    let on = office.triggers().enable_trigger(enable).await?.into_inner();
    assert_eq!(on.state(), v1::trigger::State::Enabled);
    office.sql(ROW).await?;
    office.until("select count(*) from notification", 2).await?;
    assert_eq!(office.here("select count(*) from firing").await?, 2);
    Ok(())
}

#[tokio::test]
async fn a_deleted_trigger_leaves_no_trace_in_the_table_and_its_firings_stay_readable() -> anyhow::Result<()> {
    let office = Office::open().await?;
    office.watch("received", |_| {}).await?;
    let _listening = office.start();
    office.sql(ROW).await?;
    office.until("select count(*) from firing where state = 'fired'", 1).await?;
    let firing = office.firings("received").await?.remove(0);
    let delete = v1::DeleteTriggerRequest { name: "triggers/received".into(), ..Default::default() };
    office.triggers().delete_trigger(delete).await?;
    let traces = "select (select count(*) from pg_trigger where not tgisinternal)
                       + (select count(*) from pg_namespace where nspname like 'switchboard%')
                       + (select count(*) from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname = 'public')";
    assert_eq!(office.there(traces).await?, 0);
    office.sql(ROW).await?;
    let read = office.triggers().get_firing(v1::GetFiringRequest { name: firing.name.clone() }).await?.into_inner();
    assert_eq!(read.target, firing.target);
    let of_all = v1::ListFiringsRequest { parent: "triggers/-".into(), ..Default::default() };
    assert_eq!(office.triggers().list_firings(of_all).await?.into_inner().firings.len(), 1);
    office.watch("received", |_| {}).await?;
    assert_eq!(office.firings("received").await?, [], "a new trigger of the same name has firings of its own");
    Ok(())
}

#[tokio::test]
async fn a_capture_that_was_dropped_by_hand_is_put_in_place_again_and_said() -> anyhow::Result<()> {
    let office = Office::open().await?;
    office.watch("received", |_| {}).await?;
    let listening = office.start();
    office.sql(ROW).await?;
    office.until("select count(*) from notification", 1).await?;
    listening.stop().await;
    office
        .sql(
            "do $$ declare t text; begin for t in select tgname from pg_trigger where not tgisinternal loop
                  execute format('drop trigger %I on grievance', t); end loop; end $$",
        )
        .await?;
    let _again = office.start();
    office.until("select count(*) from event_out where kind = 'trigger' and type = 'broken'", 1).await?;
    office.sql(ROW).await?;
    office.until("select count(*) from notification", 2).await
}
