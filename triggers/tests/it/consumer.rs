//! Exactly once, in order, whatever happens to the consumer.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sqlx::Connection;
use sqlx::postgres::PgListener;
use triggers::Operation::{Insert, Update};
use triggers::postgres::{ConsumerSettings, SourceState, Watch};

use crate::support::*;

#[tokio::test]
async fn a_hundred_thousand_rows_in_one_statement_arrive_exactly_once() {
    with_db(|db| async move {
        db.orders().await;
        db.install(&Watch { columns: vec!["phone".into()], ..watch(1, &[Insert]) }).await;
        let sink = Arc::new(MemorySink::default());
        let mut running = db.start(&sink);
        db.run("insert into orders (id, phone) select i, '+91' || i from generate_series(1, 100000) i").await;
        let mut seen = ids(&sink.wait(100_000).await);
        seen.sort_unstable();
        assert_eq!(seen, (1..=100_000).collect::<Vec<i64>>());
        running.until("swept", |health| health.outbox_rows == Some(0)).await;
        assert_eq!(db.number("select count(*) from switchboard_capture.outbox").await, 0);
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn more_rows_than_one_held_cursor_sorts_arrive_in_small_pages_too() {
    with_db(|db| async move {
        db.orders().await;
        db.install(&Watch { columns: vec!["id".into()], ..watch(1, &[Insert]) }).await;
        db.run("insert into orders (id) select generate_series(1, 205000)").await;
        let sink = Arc::new(MemorySink::default());
        let running = db.start_with(&sink, ConsumerSettings { page: 7000, ..quick() });
        assert_eq!(ids(&sink.wait(205_000).await), (1..=205_000).collect::<Vec<i64>>());
        assert!(sink.stored.lock().unwrap().batches >= 29);
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn rows_written_while_the_consumer_was_stopped_are_caught_up() {
    with_db(|db| async move {
        db.orders().await;
        db.install(&watch(1, &[Insert])).await;
        db.run("insert into orders (id) values (1)").await;
        let sink = Arc::new(MemorySink::default());
        let running = db.start(&sink);
        sink.wait(1).await;
        running.stop().await;
        db.run("insert into orders (id) select generate_series(2, 10)").await;
        let running = db.start(&sink);
        assert_eq!(ids(&sink.wait(10).await), (1..=10).collect::<Vec<i64>>());
        running.stop().await;
        assert_eq!(sink.stored.lock().unwrap().repeated, 0, "a snapshot cursor offers nothing twice");
    })
    .await;
}

/// Writers that insert, update and roll back, until told to stop; gives back what was committed: id to number of updates.
async fn writer(db: Db, first: i64, stop: Arc<AtomicBool>) -> HashMap<i64, i64> {
    let mut conn = db.conn().await;
    let mut committed = HashMap::new();
    let mut id = first;
    while !stop.load(Ordering::SeqCst) {
        id += 1;
        run(&mut conn, &format!("insert into orders (id, note) values ({id}, '0')")).await;
        for round in 1..=3 {
            run(&mut conn, &format!("begin; update orders set note = '{round}' where id = {id}")).await;
            run(&mut conn, if round == 2 { "rollback" } else { "commit" }).await;
        }
        committed.insert(id, 2);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    committed
}

/// Checks that exactly the committed writes arrived, once, in the order of each row.
fn assert_exactly(sink: &MemorySink, committed: &HashMap<i64, i64>) {
    let mut notes: HashMap<i64, Vec<String>> = HashMap::new();
    for event in sink.events() {
        let row = event.row().unwrap().clone();
        notes.entry(row["id"].as_i64().unwrap()).or_default().push(row["note"].as_str().unwrap().to_owned());
    }
    assert_eq!(notes.len(), committed.len());
    for (id, seen) in notes {
        assert_eq!(seen, ["0", "1", "3"], "row {id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_the_committed_writes_arrive_when_the_consumer_is_aborted_every_few_milliseconds() {
    with_db(|db| async move {
        db.orders().await;
        db.install(&watch(1, &[Insert, Update])).await;
        let (sink, stop) = (Arc::new(MemorySink::default()), Arc::new(AtomicBool::new(false)));
        let writers: Vec<_> =
            (0..4).map(|i| tokio::spawn(writer(db.clone(), i * 1_000_000, Arc::clone(&stop)))).collect();
        let mut moved = 0;
        for round in 0..80_u32 {
            let running = db.start_with(&sink, ConsumerSettings { page: 5, ..quick() });
            if round % 10 == 9 {
                // Let one consumer in ten live until it has stored something.
                let before = sink.count();
                eventually("progress", || sink.count() > before).await;
                moved += 1;
            }
            if round % 7 == 0 {
                sink.lose_answer.fetch_add(1, Ordering::SeqCst);
            }
            tokio::time::sleep(Duration::from_millis(u64::from(round % 13))).await;
            running.task.abort();
        }
        stop.store(true, Ordering::SeqCst);
        let mut committed = HashMap::new();
        for writer in writers {
            committed.extend(writer.await.unwrap());
        }
        let running = db.start(&sink);
        sink.wait(committed.len() * 3).await;
        assert_exactly(&sink, &committed);
        assert_eq!(sink.stored.lock().unwrap().repeated, 0);
        assert_eq!(moved, 8);
        running.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_connection_and_a_failing_sink_lose_and_double_nothing() {
    with_db(|db| async move {
        db.orders().await;
        db.install(&watch(1, &[Insert, Update])).await;
        let (sink, stop) = (Arc::new(MemorySink::default()), Arc::new(AtomicBool::new(false)));
        let writers: Vec<_> =
            (0..2).map(|i| tokio::spawn(writer(db.clone(), i * 1_000_000, Arc::clone(&stop)))).collect();
        let mut running = db.start(&sink);
        for round in 0..12_u32 {
            let before = sink.count();
            eventually("progress", || sink.count() > before).await;
            if round % 3 == 0 {
                sink.refuse.store(2, Ordering::SeqCst);
            }
            db.run("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'switchboard-capture' and datname = current_database()").await;
        }
        stop.store(true, Ordering::SeqCst);
        let mut committed = HashMap::new();
        for writer in writers {
            committed.extend(writer.await.unwrap());
        }
        sink.wait(committed.len() * 3).await;
        assert_exactly(&sink, &committed);
        running.until("asleep again", |health| health.state == SourceState::Asleep).await;
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_transaction_that_took_a_low_number_and_commits_late_is_not_lost() {
    with_db(|db| async move {
        db.orders().await;
        db.install(&watch(1, &[Insert])).await;
        let sink = Arc::new(MemorySink::default());
        let running = db.start(&sink);
        let mut late = db.conn().await;
        run(&mut late, "begin; insert into orders (id) values (1)").await;
        for id in 2..=20 {
            db.run(&format!("insert into orders (id) values ({id})")).await;
        }
        assert_eq!(ids(&sink.wait(19).await), (2..=20).collect::<Vec<i64>>());
        run(&mut late, "commit").await;
        assert_eq!(sink.wait(20).await.last().map(|event| event.row().unwrap()["id"].clone()), Some(1.into()));
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_late_commit_is_found_by_a_consumer_that_starts_after_it() {
    with_db(|db| async move {
        db.orders().await;
        db.install(&watch(1, &[Insert])).await;
        let sink = Arc::new(MemorySink::default());
        let mut late = db.conn().await;
        run(&mut late, "begin; insert into orders (id) values (1)").await;
        let running = db.start_with(&sink, ConsumerSettings { page: 2, ..quick() });
        db.run("insert into orders (id) select generate_series(2, 8)").await;
        sink.wait(7).await;
        running.stop().await;
        run(&mut late, "commit").await;
        db.run("insert into orders (id) values (9)").await;
        let running = db.start_with(&sink, ConsumerSettings { page: 2, ..quick() });
        assert_eq!(ids(&sink.wait(9).await), [2, 3, 4, 5, 6, 7, 8, 1, 9]);
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn of_two_consumers_one_leads_and_the_other_takes_over() {
    with_db(|db| async move {
        db.orders().await;
        db.install(&watch(1, &[Insert])).await;
        let sink = Arc::new(MemorySink::default());
        let mut first = db.start(&sink);
        first.until("asleep", |health| health.state == SourceState::Asleep).await;
        let mut second = db.start(&sink);
        second.until("standby", |health| health.state == SourceState::Standby).await;
        db.run("insert into orders (id) values (1)").await;
        sink.wait(1).await;
        assert_eq!(second.health.borrow().stored, 0);
        first.stop().await;
        db.run("insert into orders (id) values (2)").await;
        sink.wait(2).await;
        assert_eq!(second.health.borrow().stored, 1);
        second.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_sleeper_is_woken_promptly_and_one_who_is_awake_is_not_notified() {
    with_db(|db| async move {
        db.orders().await;
        db.install(&watch(1, &[Insert])).await;
        let sink = Arc::new(MemorySink::default());
        let mut running = db.start_with(&sink, ConsumerSettings { idle_look: Duration::from_secs(60), ..quick() });
        let mut listener = PgListener::connect_with(&db.pool).await.unwrap();
        listener.listen("switchboard_capture").await.unwrap();
        let mut waits = Vec::new();
        let mut conn = db.conn().await;
        for id in 1..=20 {
            running.until("asleep", |health| health.state == SourceState::Asleep).await;
            let began = Instant::now();
            run(&mut conn, &format!("insert into orders (id) values ({id})")).await;
            eventually("taken", || sink.count() >= id).await;
            waits.push(began.elapsed());
        }
        waits.sort_unstable();
        assert!(waits[10] < Duration::from_millis(500), "median {:?}", waits[10]);
        let mut notified = 0;
        while listener.next_buffered().is_some()
            || tokio::time::timeout(Duration::from_millis(200), listener.recv()).await.is_ok()
        {
            notified += 1;
        }
        assert!(notified >= 20, "the listener of this test hears: {notified}");
        // A write in an open transaction keeps an awake consumer awake: nobody notifies until it ends.
        running.until("asleep", |health| health.state == SourceState::Asleep).await;
        sink.slow.store(300, Ordering::SeqCst);
        run(&mut conn, "insert into orders (id) values (99)").await;
        running.until("awake", |health| health.state == SourceState::Draining).await;
        let mut open = db.conn().await;
        let mut transaction = open.begin().await.unwrap();
        run(&mut transaction, "insert into orders (id) values (100)").await;
        sink.slow.store(0, Ordering::SeqCst);
        for id in 101..=150 {
            run(&mut conn, &format!("insert into orders (id) values ({id})")).await;
        }
        sink.wait(71).await;
        transaction.commit().await.unwrap();
        sink.wait(72).await;
        let mut heard = 0;
        while tokio::time::timeout(Duration::from_millis(200), listener.recv()).await.is_ok() {
            heard += 1;
        }
        assert!((1..=2).contains(&heard), "{heard} notifications for 52 commits");
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn without_notify_an_idle_consumer_finds_rows_by_looking() {
    with_db(|mut db| async move {
        db.source.schema.notify = false;
        db.orders().await;
        db.install(&watch(1, &[Insert])).await;
        let sink = Arc::new(MemorySink::default());
        let mut running = db.start_with(&sink, ConsumerSettings { idle_look: Duration::from_millis(20), ..quick() });
        running.until("asleep", |health| health.state == SourceState::Asleep).await;
        db.run("insert into orders (id) values (1)").await;
        sink.wait(1).await;
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn rows_restored_into_another_cluster_are_taken_once() {
    with_db(|db| async move {
        db.orders().await;
        db.install(&watch(1, &[Insert])).await;
        let sink = Arc::new(MemorySink::default());
        db.run("insert into orders (id) values (1)").await;
        db.run("create table dumped as select * from switchboard_capture.outbox").await;
        let running = db.start(&sink);
        sink.wait(1).await;
        running.stop().await;
        // What a dump restored elsewhere looks like: another identity, a taken row that is back, one that was never
        // taken, and transaction ids that lie in this cluster's future.
        db.run(
            "delete from switchboard_capture.outbox;
             insert into orders (id) values (2);
             insert into switchboard_capture.outbox overriding system value select * from dumped;
             insert into switchboard_capture.outbox (seq, xid, watch, op, captured_at, new_row) overriding system value
               select 77, '900000000', 1, 'INSERT', now(), '{\"id\": 3}';
             update switchboard_capture.outbox set xid = '900000001';
             update switchboard_capture.about set system_identifier = 'of another cluster'",
        )
        .await;
        let running = db.start(&sink);
        assert_eq!(ids(&sink.wait(3).await), [1, 2, 3]);
        assert_eq!(sink.stored.lock().unwrap().repeated, 1);
        db.run("insert into orders (id) values (4)").await;
        assert_eq!(ids(&sink.wait(4).await), [1, 2, 3, 4]);
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_cursor_of_another_life_is_not_believed_and_what_is_read_again_is_skipped() {
    with_db(|db| async move {
        db.orders().await;
        db.install(&watch(1, &[Insert])).await;
        let sink = Arc::new(MemorySink::default());
        let running = db.start(&sink);
        db.run("insert into orders (id) values (1)").await;
        sink.wait(1).await;
        running.stop().await;
        // As after a file system was rolled back: the cursor lies in the future.
        {
            let mut stored = sink.stored.lock().unwrap();
            let cursor = stored.cursor.as_mut().unwrap();
            cursor.taken = "900000000:900000000:".parse().unwrap();
        }
        db.run("insert into orders (id) values (2)").await;
        let running = db.start(&sink);
        assert_eq!(ids(&sink.wait(2).await), [1, 2]);
        running.stop().await;
        assert!(sink.stored.lock().unwrap().repeated <= 1);
    })
    .await;
}
