//! Reading a foreign catalogue, and refusals that say what would help.

use std::time::Duration;

use serde_json::json;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use triggers::Operation::{Delete, Insert, Update};
use triggers::postgres::{Error, TableKind, TableName, Watch, catalogue, dry_run, install};

use crate::support::*;

#[tokio::test]
async fn a_table_is_described_with_its_columns_and_key() {
    with_db(|db| async move {
        db.run("create table orders (b int, a uuid, note varchar(20) not null, gone int, primary key (a, b)); alter table orders drop gone")
            .await;
        let mut conn = db.conn().await;
        let table = catalogue::describe(&mut conn, &"orders".parse().unwrap()).await.unwrap();
        assert_eq!(table.kind, TableKind::Ordinary);
        assert_eq!(table.primary_key, ["a", "b"]);
        let columns: Vec<_> = table.columns.iter().map(|c| (c.name.as_str(), c.type_name.as_str(), c.nullable)).collect();
        assert_eq!(columns, [("b", "integer", false), ("a", "uuid", false), ("note", "character varying(20)", false)]);
        let server = catalogue::server(&mut conn).await.unwrap();
        assert_eq!(server.database, db.name);
        assert!(!server.system_identifier.is_empty());
    })
    .await;
}

#[tokio::test]
async fn what_is_no_table_is_refused_with_what_to_watch_instead() {
    with_db(|db| async move {
        db.run("create view v as select 1 as id; create materialized view m as select 1 as id; create sequence s; create temp table t ()")
            .await;
        let mut conn = db.conn().await;
        for (name, word) in [("v", "a view"), ("m", "a materialized view"), ("s", "a sequence"), ("pg_catalog.pg_class", "Postgres")] {
            let error = catalogue::describe(&mut conn, &name.parse().unwrap()).await.unwrap_err();
            assert!(matches!(error, Error::NotATable { .. }) && error.to_string().contains(word), "{name}: {error}");
        }
        let error = catalogue::describe(&mut conn, &TableName::new("public", "nothing")).await.unwrap_err();
        assert!(matches!(error, Error::NoSuchTable { .. }), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_role_without_privileges_is_told_every_grant_that_it_needs() {
    with_db(|db| async move {
        db.orders().await;
        let role = format!("{}_poor", db.name);
        db.run(&format!("create role {role} login")).await;
        let mut poor = PgConnection::connect_with(&db.source.options.clone().username(&role)).await.unwrap();
        let refused = install(&mut poor, &db.source.schema, &watch(1, &[Insert])).await;
        let dry = dry_run::dry_run(&mut poor, &watch(1, &[Insert]), None, 5, Duration::from_secs(5)).await;
        let grants: Vec<String> = match refused {
            Err(Error::MissingPrivileges { missing, .. }) => {
                missing.into_iter().map(|privilege| privilege.grant).collect()
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(grants.len(), 2, "{grants:?}");
        for grant in &grants {
            db.run(grant).await;
        }
        install(&mut poor, &db.source.schema, &watch(1, &[Insert])).await.unwrap();
        db.run("insert into orders (id) values (1)").await;
        let captured = db.number("select count(*) from switchboard_capture.outbox").await;
        let mut drained = db.clone();
        drained.source.options = db.source.options.clone().username(&role);
        let sink = std::sync::Arc::new(MemorySink::default());
        let running = drained.start(&sink);
        sink.wait(1).await;
        running.stop().await;
        // A second role that does not own the schema is told so.
        db.run(&format!("create role {role}2 login; grant trigger on orders to {role}2")).await;
        let mut other =
            PgConnection::connect_with(&db.source.options.clone().username(&format!("{role}2"))).await.unwrap();
        let foreign = install(&mut other, &db.source.schema, &watch(2, &[Insert])).await.unwrap_err().to_string();
        triggers::postgres::uninstall(&mut poor, &db.source.schema, triggers::WatchId(1)).await.unwrap();
        db.run(&format!("drop owned by {role}, {role}2; drop role {role}, {role}2")).await;
        assert_eq!(captured, 1);
        assert!(foreign.contains("ownership of schema"), "{foreign}");
        assert!(dry.unwrap_err().to_string().contains("grant select on table"));
    })
    .await;
}

#[tokio::test]
async fn a_dry_run_shows_existing_rows_as_the_capture_would_write_them() {
    with_db(|db| async move {
        db.orders().await;
        db.run("insert into orders select i, '+91' || i, case when i % 2 = 0 then 'open' else 'closed' end from generate_series(1, 10) i")
            .await;
        let mut conn = db.conn().await;
        let timeout = Duration::from_secs(5);
        let inserts = Watch { columns: vec!["phone".into()], condition: Some("new.status = 'open'".into()), ..watch(1, &[Insert]) };
        let dry = dry_run::dry_run(&mut conn, &inserts, Some("id > 3"), 2, timeout).await.unwrap();
        assert_eq!(dry.rows, [json!({"id": 4, "phone": "+914"}), json!({"id": 6, "phone": "+916"})]);
        assert!(dry.condition_applied);
        let deletes = Watch { condition: Some("old.id = 3".into()), ..watch(1, &[Delete]) };
        assert_eq!(dry_run::dry_run(&mut conn, &deletes, None, 9, timeout).await.unwrap().rows.len(), 1);
        let updates = Watch { condition: Some("old.id <> new.id".into()), ..watch(1, &[Update]) };
        let dry = dry_run::dry_run(&mut conn, &updates, None, 100, timeout).await.unwrap();
        assert_eq!((dry.rows.len(), dry.condition_applied), (10, false));
        match dry_run::dry_run(&mut conn, &watch(1, &[Insert]), Some("idd = 1"), 5, timeout).await {
            Err(Error::Refused { position: Some(1), message, .. }) => assert!(message.contains("idd"), "{message}"),
            other => panic!("{other:?}"),
        }
        let slow = dry_run::dry_run(&mut conn, &watch(1, &[Insert]), Some("pg_sleep(9) is null"), 5, Duration::from_millis(50)).await;
        assert!(matches!(slow, Err(Error::Timeout { limit_ms: 50 })), "{slow:?}");
        let writing = dry_run::dry_run(&mut conn, &watch(1, &[Insert]), Some("nextval('x') = 1) or (true"), 5, timeout).await;
        assert!(matches!(writing, Err(Error::BadExpression { .. })), "{writing:?}");
        assert!(dry_run::dry_run(&mut conn, &watch(1, &[Insert]), None, 0, timeout).await.is_err());
    })
    .await;
}
