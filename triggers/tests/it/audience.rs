//! Audiences by SQL.

use std::time::Duration;

use triggers::postgres::Error;
use triggers::postgres::query::{AudienceQuery, Pages, describe, require_one_of};

use crate::support::*;

fn query(sql: &str) -> AudienceQuery {
    AudienceQuery { sql: sql.to_owned(), role: None, timeout: Duration::from_secs(5) }
}

#[tokio::test]
async fn an_audience_is_read_in_pages_without_an_open_transaction() {
    with_db(|db| async move {
        let sql = "select i as id, '+91' || i as phone from generate_series(1, 25) i order by i; ";
        let mut pages = Pages::open(&db.source, &query(sql)).await.unwrap();
        assert_eq!(pages.columns().iter().map(|column| column.name.as_str()).collect::<Vec<_>>(), ["id", "phone"]);
        require_one_of(pages.columns(), &["phone", "email"]).unwrap();
        assert_eq!(
            db.number("select count(*) from pg_stat_activity where application_name = 'switchboard' and datname = current_database() and state <> 'idle'")
                .await,
            0
        );
        let mut sizes = Vec::new();
        loop {
            let page = pages.next(10).await.unwrap();
            sizes.push(page.len());
            if page.is_empty() {
                break;
            }
            assert_eq!(page[0]["phone"].as_str().unwrap(), format!("+91{}", page[0]["id"]));
        }
        assert_eq!(sizes, [10, 10, 5, 0]);
        pages.close().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn what_is_wrong_with_an_audience_is_said() {
    with_db(|db| async move {
        db.orders().await;
        let mut conn = db.conn().await;
        match describe(&mut conn, &query("select id, fone from orders")).await {
            Err(Error::Refused { position: Some(12), message, .. }) => assert!(message.contains("fone"), "{message}"),
            other => panic!("{other:?}"),
        }
        let twice = describe(&mut conn, &query("select id, phone as id from orders")).await.unwrap_err();
        assert!(twice.to_string().contains("two columns called \"id\""), "{twice}");
        let columns = describe(&mut conn, &query("select id, note from orders")).await.unwrap();
        let lacks = require_one_of(&columns, &["phone", "email"]).unwrap_err().to_string();
        assert!(lacks.contains("no column \"phone\" or \"email\"") && lacks.contains("\"note\""), "{lacks}");
    })
    .await;
}

#[tokio::test]
async fn an_audience_that_writes_or_never_ends_is_refused() {
    with_db(|db| async move {
        db.orders().await;
        for sql in ["delete from orders", "", "drop table orders", "do $$ begin end $$"] {
            let refused = Pages::open(&db.source, &query(sql)).await.map(|_| ());
            assert!(matches!(refused, Err(Error::NotReadOnly(_))), "{sql}: {refused:?}");
        }
        for sql in [
            "with gone as (delete from orders returning *) select * from gone",
            "select 1 as x; drop table orders",
            "select 1 as x) q; drop table orders; select * from (select 1 as y",
        ] {
            let refused = Pages::open(&db.source, &query(sql)).await.map(|_| ());
            assert!(refused.is_err(), "{sql}");
        }
        db.run("create sequence s").await;
        let writes = Pages::open(&db.source, &query("select nextval('s') as x")).await.map(|_| ());
        assert!(matches!(writes, Err(Error::NotReadOnly(_))), "{writes:?}");
        let slow = AudienceQuery { timeout: Duration::from_millis(50), ..query("select pg_sleep(10)::text as x") };
        let slow = Pages::open(&db.source, &slow).await.map(|_| ());
        assert!(matches!(slow, Err(Error::Timeout { limit_ms: 50 })), "{slow:?}");
        assert_eq!(db.number("select count(*) from orders").await, 0);
    })
    .await;
}

#[tokio::test]
async fn an_audience_reads_as_its_role() {
    with_db(|db| async move {
        db.orders().await;
        let role = format!("{}_reader", db.name);
        db.run(&format!(
            "create role {role}; create table public_list (phone text); grant select on public_list to {role}"
        ))
        .await;
        let as_role = |sql: &str| AudienceQuery { role: Some(role.clone()), ..query(sql) };
        let denied = Pages::open(&db.source, &as_role("select * from orders")).await.map(|_| ());
        let allowed = Pages::open(&db.source, &as_role("select * from public_list")).await.map(|_| ());
        let unknown = AudienceQuery { role: Some("nobody\"here".into()), ..query("select 1 as x") };
        let unknown = Pages::open(&db.source, &unknown).await.map(|_| ());
        db.run(&format!("drop owned by {role}; drop role {role}")).await;
        assert_eq!(denied.unwrap_err().code(), Some("42501"));
        allowed.unwrap();
        assert!(unknown.is_err());
    })
    .await;
}
