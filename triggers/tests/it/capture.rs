//! What is captured, and what is not.

use std::sync::Arc;

use serde_json::json;
use triggers::Operation::{Delete, Insert, Update};
use triggers::postgres::{TableName, Watch};
use triggers::{CaptureFault, Operation};

use crate::support::*;

#[tokio::test]
async fn captures_inserts_updates_and_deletes_with_both_rows() {
    with_db(|db| async move {
        db.orders().await;
        db.install(&Watch { columns: vec!["phone".into()], ..watch(1, &[Insert, Update, Delete]) }).await;
        let sink = Arc::new(MemorySink::default());
        let running = db.start(&sink);
        db.run("insert into orders values (1, '+911', 'open', 'secret')").await;
        db.run("update orders set phone = '+912'").await;
        db.run("delete from orders").await;
        let events = sink.wait(3).await;
        let seen: Vec<_> = events.iter().map(|e| (e.operation, e.new.clone(), e.old.clone())).collect();
        let (first, second) = (json!({"id": 1, "phone": "+911"}), json!({"id": 1, "phone": "+912"}));
        assert_eq!(
            seen,
            [
                (Insert, Some(first.clone()), None),
                (Update, Some(second.clone()), Some(first)),
                (Delete, None, Some(second)),
            ]
        );
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn captures_the_same_by_row_triggers_where_a_condition_filters() {
    with_db(|db| async move {
        db.orders().await;
        let open = |id, operation| Watch { condition: Some("new.status = 'open;('".into()), ..watch(id, &[operation]) };
        db.install(&open(1, Insert)).await;
        db.install(&open(2, Update)).await;
        db.install(&Watch { condition: Some("old.status = 'open;('".into()), ..watch(3, &[Delete]) }).await;
        let sink = Arc::new(MemorySink::default());
        let running = db.start(&sink);
        db.run("insert into orders (id, status) values (1, 'open;('), (2, 'closed')").await;
        db.run("update orders set note = 'x'").await;
        db.run("delete from orders").await;
        let events = sink.wait(3).await;
        assert_eq!(ids(&events), [1, 1, 1]);
        assert_eq!(
            events.iter().map(|e| (e.watch.0, e.operation)).collect::<Vec<_>>(),
            [(1, Insert), (2, Update), (3, Delete)]
        );
        assert_eq!(events[1].old.as_ref().unwrap()["note"], json!(null));
        assert_eq!(events[1].new.as_ref().unwrap()["note"], "x");
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn captures_updates_of_named_columns_and_only_real_changes_if_asked() {
    with_db(|db| async move {
        db.orders().await;
        db.run("alter table orders add doc json, add shape point").await;
        db.install(&Watch { update_of: vec!["phone".into(), "status".into()], ..watch(1, &[Update]) }).await;
        let columns = vec!["phone".into(), "doc".into(), "shape".into()];
        db.install(&Watch { update_of: columns, only_changes: true, ..watch(2, &[Update]) }).await;
        db.run("insert into orders (id, phone, doc, shape) values (1, '+911', '{\"a\": 1}', '(1,2)')").await;
        let sink = Arc::new(MemorySink::default());
        let running = db.start(&sink);
        db.run("update orders set note = 'nothing of interest'").await;
        db.run("update orders set phone = '+911', note = 'saved as it was'").await;
        db.run("update orders set phone = '+912'").await;
        db.run("update orders set shape = '(1,3)'").await;
        db.run("update orders set doc = '{\"a\": 2}'").await;
        let events = sink.wait(5).await;
        let of = |watch: i64| events.iter().filter(|event| event.watch.0 == watch).count();
        assert_eq!((of(1), of(2)), (2, 3));
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_write_that_is_rolled_back_fires_nothing() {
    with_db(|db| async move {
        db.orders().await;
        db.install(&watch(1, &[Insert])).await;
        let sink = Arc::new(MemorySink::default());
        let running = db.start(&sink);
        db.run("begin; insert into orders (id) values (1); rollback").await;
        db.run("begin; savepoint a; insert into orders (id) values (2); rollback to a; insert into orders (id) values (3); commit")
            .await;
        assert_eq!(ids(&sink.wait(1).await), [3]);
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn on_conflict_fires_the_kind_that_happened() {
    with_db(|db| async move {
        db.orders().await;
        db.install(&watch(1, &[Insert, Update])).await;
        let sink = Arc::new(MemorySink::default());
        let running = db.start(&sink);
        db.run("insert into orders (id, note) values (1, 'a')").await;
        db.run("insert into orders (id, note) values (1, 'b'), (2, 'b') on conflict (id) do update set note = excluded.note").await;
        db.run("insert into orders (id, note) values (1, 'c') on conflict do nothing").await;
        let mut seen: Vec<_> = sink.wait(3).await.iter().map(|e| (e.row().unwrap()["id"].as_i64().unwrap(), e.operation)).collect();
        seen.sort_unstable();
        assert_eq!(seen, [(1, Insert), (1, Update), (2, Insert)]);
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_bulk_update_pairs_each_old_row_with_its_new_one() {
    with_db(|db| async move {
        db.orders().await;
        db.run("insert into orders (id, note) select i, i::text from generate_series(1, 5000) i").await;
        db.install(&watch(1, &[Update])).await;
        // A plan made for one row is used for many.
        db.run("update orders set note = note where id = 1").await;
        let sink = Arc::new(MemorySink::default());
        let running = db.start(&sink);
        db.run("update orders set id = id + 100000, note = note || '!'").await;
        for event in &sink.wait(5001).await[1..] {
            let (new, old) = (event.new.as_ref().unwrap(), event.old.as_ref().unwrap());
            assert_eq!(new["id"].as_i64().unwrap(), old["id"].as_i64().unwrap() + 100_000);
            assert_eq!(new["note"].as_str().unwrap(), format!("{}!", old["note"].as_str().unwrap()));
        }
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn truncate_is_not_captured() {
    with_db(|db| async move {
        db.orders().await;
        db.run("insert into orders (id) values (1), (2)").await;
        db.install(&watch(1, &[Insert, Delete])).await;
        let sink = Arc::new(MemorySink::default());
        let running = db.start(&sink);
        db.run("truncate orders").await;
        db.run("insert into orders (id) values (3)").await;
        assert_eq!(ids(&sink.wait(1).await), [3]);
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn partitions_are_captured_whoever_writes_them_and_whenever_they_were_made() {
    with_db(|db| async move {
        db.run(
            "create table orders (id bigint, day int, primary key (id, day)) partition by list (day);
             create table orders_1 partition of orders for values in (1)",
        )
        .await;
        db.install(&watch(1, &[Insert, Update, Delete])).await;
        db.run("create table orders_2 partition of orders for values in (2)").await;
        let sink = Arc::new(MemorySink::default());
        let running = db.start(&sink);
        db.run("insert into orders values (1, 1), (2, 2)").await;
        db.run("insert into orders_2 values (3, 2)").await;
        db.run("update orders set id = 13 where id = 3").await;
        db.run("update orders set day = 1 where id = 2").await;
        let events = sink.wait(6).await;
        let seen: Vec<_> = events.iter().map(|e| e.operation).collect();
        // A move between partitions is a delete and an insert: so says Postgres.
        assert_eq!(seen, [Insert, Insert, Insert, Update, Delete, Insert]);
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_single_partition_and_an_inheritance_parent_can_be_watched() {
    with_db(|db| async move {
        db.run(
            "create table days (id bigint, day int) partition by list (day);
             create table orders partition of days for values in (1);
             create table parent (id bigint); create table child () inherits (parent)",
        )
        .await;
        db.install(&watch(1, &[Insert])).await;
        db.install(&Watch { table: TableName::new("public", "parent"), ..watch(2, &[Insert]) }).await;
        let sink = Arc::new(MemorySink::default());
        let running = db.start(&sink);
        db.run("insert into days values (1, 1); insert into child values (2); insert into parent values (3)").await;
        assert_eq!(ids(&sink.wait(2).await), [1, 3]);
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn odd_names_are_quoted_everywhere() {
    with_db(|db| async move {
        let odd = "n; drop table \"x\" --'$capture$\n";
        let quoted = format!("\"{}\"", odd.replace('"', "\"\""));
        db.run(&format!(
            "create schema \"S.1\"; create table \"S.1\".\"we\"\"ird Table\" (id int primary key, {quoted} text, n text, \"new\" int)"
        ))
        .await;
        let table = TableName::new("S.1", "we\"ird Table");
        let columns = vec![odd.to_owned(), "n".into(), "new".into()];
        let statement = Watch { table: table.clone(), columns: columns.clone(), ..watch(1, Operation::ALL) };
        let row = Watch { id: triggers::WatchId(2), update_of: columns, only_changes: true, ..statement.clone() };
        db.install(&statement).await;
        db.install(&row).await;
        let sink = Arc::new(MemorySink::default());
        let running = db.start(&sink);
        db.run(&format!("insert into {} values (1, 'a', 'b', 7)", table.quoted())).await;
        db.run(&format!("update {} set {quoted} = 'c'", table.quoted())).await;
        let events = sink.wait(4).await;
        assert_eq!(events[0].new, Some(json!({"id": 1, odd: "a", "n": "b", "new": 7})));
        assert_eq!(events[3].new, Some(json!({"id": 1, odd: "c", "n": "b", "new": 7})));
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_table_with_many_columns_is_projected() {
    with_db(|db| async move {
        let columns: Vec<String> = (0..130).map(|i| format!("c{i}")).collect();
        let defined = columns.iter().map(|c| format!("{c} int default 1")).collect::<Vec<_>>().join(", ");
        db.run(&format!("create table orders (id bigint primary key, unused text, {defined})")).await;
        db.install(&Watch { columns, ..watch(1, &[Insert]) }).await;
        let sink = Arc::new(MemorySink::default());
        let running = db.start(&sink);
        db.run("insert into orders (id) values (1)").await;
        let events = sink.wait(1).await;
        assert_eq!(events[0].new.as_ref().unwrap().as_object().unwrap().len(), 131);
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn of_a_row_that_is_too_large_only_the_key_is_kept() {
    with_db(|mut db| async move {
        db.source.schema.max_row_bytes = 1024;
        db.orders().await;
        db.install(&watch(1, &[Insert, Update])).await;
        db.install(&Watch { condition: Some("true".into()), ..watch(2, &[Insert]) }).await;
        let sink = Arc::new(MemorySink::default());
        let running = db.start(&sink);
        db.run("insert into orders (id, note) values (1, repeat('x', 2000)), (2, 'small')").await;
        db.run("update orders set note = 'small' where id = 1").await;
        let events = sink.wait(5).await;
        for event in events.iter().filter(|event| event.operation == Insert) {
            let large = event.new.as_ref().unwrap()["id"] == 1;
            assert_eq!(event.fault, large.then_some(CaptureFault::RowTooLarge));
            assert_eq!(event.new.as_ref().unwrap().as_object().unwrap().len(), if large { 1 } else { 4 });
        }
        let update = events.iter().find(|event| event.operation == Update).unwrap();
        assert_eq!(update.fault, Some(CaptureFault::RowTooLarge));
        assert_eq!(update.old, Some(json!({"id": 1})));
        assert_eq!(update.new.as_ref().unwrap()["note"], "small");
        running.stop().await;
    })
    .await;
}
