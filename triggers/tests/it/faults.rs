//! A fault of the capture is ours, not the user's.

use std::sync::Arc;

use serde_json::json;
use sqlx::Connection;
use triggers::GapReason;
use triggers::Operation::{Delete, Insert, Update};
use triggers::postgres::{SourceState, TriggerProblem, Watch, uninstall};

use crate::support::*;

#[tokio::test]
async fn a_renamed_column_never_fails_the_users_write_and_is_seen_as_missing() {
    with_db(|db| async move {
        db.orders().await;
        db.install(&Watch { columns: vec!["phone".into(), "note".into()], ..watch(1, &[Insert]) }).await;
        db.install(&Watch { columns: vec!["phone".into()], condition: Some("true".into()), ..watch(2, &[Insert]) })
            .await;
        let sink = Arc::new(MemorySink::default());
        let mut running = db.start(&sink);
        db.run("alter table orders rename phone to telephone").await;
        db.run("insert into orders (id) values (1)").await;
        let mut rows: Vec<_> =
            sink.wait(2).await.into_iter().map(|event| (event.watch.0, event.new.unwrap())).collect();
        rows.sort_by_key(|row| row.0);
        assert_eq!(rows, [(1, json!({"id": 1, "note": null})), (2, json!({"id": 1}))]);
        let health = running.until("column missed", |health| health.trigger_faults.len() == 2).await;
        assert_eq!(health.trigger_faults[0].problem, TriggerProblem::ColumnMissing);
        assert_eq!(health.trigger_faults[0].name, "phone");
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_capture_that_fails_leaves_a_gap_mark_or_if_strict_fails_the_write() {
    with_db(|db| async move {
        db.orders().await;
        db.install(&watch(1, &[Insert])).await;
        db.install(&Watch { condition: Some("true".into()), ..watch(2, &[Insert]) }).await;
        db.install(&Watch { strict: true, ..watch(3, &[Delete]) }).await;
        db.run("alter table switchboard_capture.outbox add constraint broken check (watch > 1000) not valid").await;
        db.run("insert into orders (id) values (1)").await;
        let mut conn = db.conn().await;
        let refused = sqlx::query("delete from orders").execute(&mut conn).await.unwrap_err();
        assert!(refused.to_string().contains("broken"), "{refused}");
        assert_eq!(db.number("select count(*) from orders").await, 1);
        db.run("alter table switchboard_capture.outbox drop constraint broken").await;
        let sink = Arc::new(MemorySink::default());
        let running = db.start(&sink);
        eventually("two gaps, ended", || {
            let stored = sink.stored.lock().unwrap();
            stored.gaps.len() == 2 && stored.gaps.iter().all(|gap| gap.until.is_some())
        })
        .await;
        {
            let stored = sink.stored.lock().unwrap();
            assert!(stored.gaps.iter().all(|gap| gap.reason == GapReason::CaptureFailed));
            assert!(stored.gaps[0].detail.as_ref().unwrap().starts_with("23514"), "{:?}", stored.gaps[0]);
        }
        running.stop().await;
        assert_eq!(db.number("select count(*) from switchboard_capture.gap").await, 0, "noted gaps are forgotten");
    })
    .await;
}

#[tokio::test]
async fn without_its_outbox_the_capture_still_lets_the_user_write() {
    with_db(|db| async move {
        db.orders().await;
        db.install(&watch(1, &[Insert, Update])).await;
        db.run("drop table switchboard_capture.outbox, switchboard_capture.gap").await;
        db.run("insert into orders (id) values (1)").await;
        db.run("update orders set note = 'x'").await;
        assert_eq!(db.number("select count(*) from orders where note = 'x'").await, 1);
    })
    .await;
}

#[tokio::test]
async fn beyond_its_limit_the_outbox_takes_nothing_and_a_gap_stands_until_it_was_drained() {
    with_db(|mut db| async move {
        db.source.schema.max_rows = 500;
        db.orders().await;
        db.install(&watch(1, &[Insert])).await;
        db.run("insert into orders (id) select generate_series(1, 600)").await;
        db.run("insert into orders (id) values (601)").await;
        assert_eq!(db.number("select count(*) from switchboard_capture.outbox").await, 600);
        assert_eq!(db.number("select count(*) from orders").await, 601);
        let sink = Arc::new(MemorySink::default());
        let mut running = db.start(&sink);
        sink.wait(600).await;
        eventually("the gap ended", || sink.stored.lock().unwrap().gaps.iter().any(|gap| gap.until.is_some())).await;
        assert_eq!(sink.stored.lock().unwrap().gaps[0].reason, GapReason::OutboxFull);
        running.until("room again", |health| !health.outbox_full && health.outbox_rows == Some(0)).await;
        db.run("insert into orders (id) values (602)").await;
        assert_eq!(ids(&sink.wait(601).await).last(), Some(&602));
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_large_outbox_is_looked_into_now_and_then_and_stops_every_watch() {
    with_db(|mut db| async move {
        db.source.schema.max_rows = 100_000;
        db.orders().await;
        db.install(&watch(1, &[Insert])).await;
        db.install(&Watch { condition: Some("true".into()), ..watch(2, &[Insert]) }).await;
        db.run("alter table orders disable trigger switchboard_capture_2_insert").await;
        db.run("insert into orders (id) select generate_series(1, 100001)").await;
        db.run("alter table orders enable trigger switchboard_capture_2_insert").await;
        // One write in 64 looks; the first that does marks the gap, and from then on nothing is captured.
        let mut conn = db.conn().await;
        let open = "select count(distinct watch) from switchboard_capture.gap where until is null";
        let mut id = 200_000;
        while db.number(open).await < 2 {
            id += 1;
            assert!(id < 210_000, "the limit was never seen");
            run(&mut conn, &format!("insert into orders (id) values ({id})")).await;
        }
        let before = db.number("select count(*) from switchboard_capture.outbox").await;
        run(&mut conn, "insert into orders (id) select generate_series(300000, 300100)").await;
        assert_eq!(db.number("select count(*) from switchboard_capture.outbox").await, before);
        let sink = Arc::new(MemorySink::default());
        let mut running = db.start(&sink);
        sink.wait(usize::try_from(before).unwrap()).await;
        running
            .until("room again", |health| {
                health.checked_at.is_some() && !health.outbox_full && health.outbox_rows == Some(0)
            })
            .await;
        eventually("capture goes on", || {
            sink.stored.lock().unwrap().gaps.iter().filter(|gap| gap.until.is_some()).count() >= 2
        })
        .await;
        run(&mut conn, "insert into orders (id) values (400000)").await;
        sink.wait(usize::try_from(before + 2).unwrap()).await;
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn missing_and_disabled_triggers_are_reported() {
    with_db(|db| async move {
        db.orders().await;
        db.install(&watch(1, &[Insert, Update])).await;
        let sink = Arc::new(MemorySink::default());
        let mut running = db.start(&sink);
        running.until("well", |health| health.checked_at.is_some() && health.trigger_faults.is_empty()).await;
        db.run("alter table orders disable trigger switchboard_capture_1_insert").await;
        db.run("drop trigger switchboard_capture_1_update on orders").await;
        let health = running.until("two faults", |health| health.trigger_faults.len() == 2).await;
        assert_eq!(health.trigger_faults[0].problem, TriggerProblem::Disabled);
        assert_eq!(health.trigger_faults[1].problem, TriggerProblem::Missing);
        assert!(health.needs_attention());
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_consumer_waits_for_the_first_watch_and_survives_the_removal_of_the_last() {
    with_db(|db| async move {
        db.orders().await;
        let sink = Arc::new(MemorySink::default());
        let mut running = db.start(&sink);
        running.until("unwatched", |health| health.state == SourceState::Unwatched).await;
        for round in 1..=2_i64 {
            db.install(&watch(1, &[Insert])).await;
            db.run(&format!("insert into orders (id) values ({round})")).await;
            sink.wait(usize::try_from(round).unwrap()).await;
            uninstall(&mut db.conn().await, &db.source.schema, triggers::WatchId(1)).await.unwrap();
            running.until("unwatched again", |health| health.state == SourceState::Unwatched).await;
        }
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_source_that_cannot_be_reached_is_said_so() {
    with_db(|mut db| async move {
        db.source.options = db.source.options.clone().database("no_such_database_here");
        let sink = Arc::new(MemorySink::default());
        let mut running = db.start(&sink);
        let health =
            running.until("backing off", |health| matches!(health.state, SourceState::BackingOff { .. })).await;
        assert!(format!("{:?}", health.state).contains("no_such_database_here"), "{health:?}");
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_user_whose_transaction_fails_to_serialize_is_told() {
    with_db(|db| async move {
        db.orders().await;
        db.run("insert into orders (id) values (1)").await;
        db.install(&watch(1, &[Update])).await;
        let (mut a, mut b) = (db.conn().await, db.conn().await);
        let mut first = a.begin().await.unwrap();
        run(&mut first, "set transaction isolation level repeatable read; select * from orders").await;
        run(&mut b, "update orders set note = 'b'").await;
        let refused = sqlx::query("update orders set note = 'a'").execute(&mut *first).await.unwrap_err();
        assert!(refused.to_string().contains("serialize"), "{refused}");
    })
    .await;
}
