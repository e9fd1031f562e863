//! Installing, reviewing and removing a capture.

use std::sync::Arc;
use std::time::Duration;

use triggers::Operation::{Delete, Insert, Update};
use triggers::WatchId;
use triggers::postgres::{Error, Watch, catalogue, check, ddl, install, is_installed, replace, uninstall};

use crate::support::*;

/// Everything in the catalogue that a capture could have left, as text.
const TRACES: &str = "select (select count(*) from pg_namespace where nspname like 'switchboard%')
    + (select count(*) from pg_trigger where tgname like 'switchboard%')
    + (select count(*) from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname like 'switchboard%')
    + (select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname like 'switchboard%')";

#[tokio::test]
async fn the_last_unwatch_leaves_no_trace_and_an_earlier_one_only_the_others() {
    with_db(|db| async move {
        db.orders().await;
        let mut conn = db.conn().await;
        let schema = &db.source.schema;
        install(&mut conn, schema, &watch(1, &[Insert, Update, Delete])).await.unwrap();
        install(&mut conn, schema, &Watch { condition: Some("true".into()), ..watch(2, &[Insert]) }).await.unwrap();
        db.run("insert into orders (id) values (1)").await;
        db.run("alter table orders rename to renamed").await;
        uninstall(&mut conn, schema, WatchId(1)).await.unwrap();
        assert_eq!(db.number("select count(*) from switchboard_capture.outbox").await, 1);
        assert_eq!(db.number("select count(*) from pg_trigger where tgname like 'switchboard%'").await, 1);
        uninstall(&mut conn, schema, WatchId(2)).await.unwrap();
        assert_eq!(db.number(TRACES).await, 0);
        uninstall(&mut conn, schema, WatchId(2)).await.unwrap();
        db.run("insert into renamed (id) values (2)").await;
    })
    .await;
}

#[tokio::test]
async fn the_reviewed_text_does_what_the_installation_does() {
    with_db(|db| async move {
        db.orders().await;
        let watch = Watch { condition: Some("new.note <> ';'".into()), ..watch(1, &[Insert, Update]) };
        let table = catalogue::describe(&mut db.conn().await, &watch.table).await.unwrap();
        db.run(&ddl::render_install(&db.source.schema, &watch, &table).unwrap()).await;
        // The same definition is installed, says the installation itself.
        install(&mut db.conn().await, &db.source.schema, &watch).await.unwrap();
        let sink = Arc::new(MemorySink::default());
        let running = db.start(&sink);
        db.run("insert into orders (id, note) values (1, 'x'), (2, ';')").await;
        assert_eq!(ids(&sink.wait(1).await), [1]);
        running.stop().await;
        db.run(&ddl::render_uninstall(&db.source.schema, watch.id).unwrap()).await;
        assert_eq!(db.number(TRACES).await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_watch_is_installed_once_and_another_definition_replaces_it_without_losing_rows() {
    with_db(|db| async move {
        db.orders().await;
        let mut conn = db.conn().await;
        let (schema, old) = (&db.source.schema, watch(1, &[Insert]));
        install(&mut conn, schema, &old).await.unwrap();
        install(&mut conn, schema, &old).await.unwrap();
        assert!(is_installed(&mut conn, schema, WatchId(1)).await.unwrap());
        assert!(!is_installed(&mut conn, schema, WatchId(2)).await.unwrap());
        let new = Watch { condition: Some("new.id > 1".into()), ..old.clone() };
        let error = install(&mut conn, schema, &new).await.unwrap_err();
        assert!(matches!(error, Error::AlreadyInstalled(1)), "{error}");
        db.run("insert into orders (id) values (1)").await;
        replace(&mut conn, schema, &new).await.unwrap();
        db.run("insert into orders (id) values (0), (2)").await;
        let sink = Arc::new(MemorySink::default());
        let running = db.start(&sink);
        assert_eq!(ids(&sink.wait(2).await), [1, 2]);
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_check_tells_everything_and_leaves_nothing() {
    with_db(|db| async move {
        db.orders().await;
        let mut conn = db.conn().await;
        let good = Watch { condition: Some("new.id > 1 and now() > '2020-01-01'".into()), ..watch(1, &[Insert]) };
        check(&mut conn, &db.source.schema, &good).await.unwrap();
        assert_eq!(db.number(TRACES).await, 0);
        for (condition, operation, at, word) in [
            ("new.id > 1 and new.fone = 'x'", Insert, Some(16), "fone"),
            ("new.note = 'ü' and old.id = 1", Insert, Some(20), "OLD"),
            ("new.id = (select 1)", Delete, None, ""),
            ("new.id >", Update, None, "syntax"),
            ("new.id > 1 and random() > 0.5", Insert, None, "random()"),
            ("new.note <> lastval()::text", Update, None, "lastval()"),
        ] {
            let bad = Watch { condition: Some(condition.into()), ..watch(1, &[operation]) };
            match check(&mut conn, &db.source.schema, &bad).await {
                Err(Error::BadCondition { operation: found, message, position }) => {
                    assert_eq!(found, operation);
                    assert!(message.contains(word), "{condition}: {message}");
                    assert!(at.is_none() || position == at, "{condition}: {position:?}");
                }
                other => panic!("{condition}: {other:?}"),
            }
        }
        assert_eq!(db.number(TRACES).await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_condition_cannot_smuggle_in_a_statement() {
    with_db(|db| async move {
        db.orders().await;
        let mut conn = db.conn().await;
        for condition in
            ["true) execute function f(); drop table orders; --", "true)) execute function x(", "true /*", "'"]
        {
            let bad = Watch { condition: Some(condition.into()), ..watch(1, &[Insert]) };
            let error = install(&mut conn, &db.source.schema, &bad).await.unwrap_err();
            assert!(matches!(error, Error::BadExpression { .. }), "{condition}: {error}");
        }
        assert_eq!(db.number("select count(*) from orders").await, 0);
    })
    .await;
}

#[tokio::test]
async fn what_a_watch_cannot_be_is_named() {
    with_db(|db| async move {
        db.orders().await;
        let mut conn = db.conn().await;
        let schema = &db.source.schema;
        let columns = Watch { columns: vec!["phone".into(), "fone".into(), "mail".into()], ..watch(1, &[Insert]) };
        let error = install(&mut conn, schema, &columns).await.unwrap_err().to_string();
        assert!(error.contains("\"fone\", \"mail\"") && error.contains("\"status\""), "{error}");
        for (bad, field) in [
            (watch(0, &[Insert]), "id"),
            (watch(1, &[]), "operations"),
            (watch(1, &[Insert, Insert]), "operations"),
            (Watch { update_of: vec!["id".into()], ..watch(1, &[Insert]) }, "update_of"),
            (Watch { only_changes: true, ..watch(1, &[Update]) }, "only_changes"),
        ] {
            match install(&mut conn, schema, &bad).await {
                Err(Error::Invalid { field: found, .. }) => assert_eq!(found, field),
                other => panic!("{bad:?}: {other:?}"),
            }
        }
        assert_eq!(db.number(TRACES).await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_table_in_use_is_not_waited_for_long() {
    with_db(|mut db| async move {
        db.orders().await;
        db.source.schema.lock_timeout_ms = 150;
        let mut writer = db.conn().await;
        run(&mut writer, "begin; insert into orders (id) values (1)").await;
        let installing = install(&mut db.conn().await, &db.source.schema, &watch(1, &[Insert])).await;
        assert!(matches!(installing, Err(Error::Busy { wait_ms: 150 })), "{installing:?}");
        assert_eq!(db.number(TRACES).await, 0);
        run(&mut writer, "commit").await;
        db.install(&watch(1, &[Insert])).await;
    })
    .await;
}

#[tokio::test]
async fn two_installations_at_once_both_succeed() {
    with_db(|db| async move {
        db.orders().await;
        db.run("create table others (id bigint)").await;
        let (a, b) = (watch(1, &[Insert]), Watch { table: "others".parse().unwrap(), ..watch(2, &[Insert]) });
        let (mut left, mut right) = (db.conn().await, db.conn().await);
        let both = async {
            tokio::join!(install(&mut left, &db.source.schema, &a), install(&mut right, &db.source.schema, &b))
        };
        let (a, b) = tokio::time::timeout(Duration::from_secs(20), both).await.unwrap();
        a.unwrap();
        b.unwrap();
        assert_eq!(db.number("select count(*) from switchboard_capture.watch").await, 2);
    })
    .await;
}

#[tokio::test]
async fn a_writer_without_any_right_to_the_capture_is_captured() {
    with_db(|db| async move {
        db.orders().await;
        db.install(&watch(1, &[Insert])).await;
        let role = format!("{}_writer", db.name);
        db.run(&format!("create role {role}; grant insert on orders to {role}")).await;
        db.run(&format!("begin; set local role {role}; insert into orders (id) values (1); commit")).await;
        let mut conn = db.conn().await;
        run(&mut conn, &format!("set role {role}")).await;
        let denied = sqlx::query("select * from switchboard_capture.outbox").execute(&mut conn).await.unwrap_err();
        assert!(denied.to_string().contains("permission denied"), "{denied}");
        let captured = db.number("select count(*) from switchboard_capture.outbox").await;
        db.run(&format!("drop owned by {role}; drop role {role}")).await;
        assert_eq!(captured, 1);
    })
    .await;
}
