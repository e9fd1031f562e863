//! How a process starts and ends.

use std::time::{Duration, Instant};

use server::{
    app::{self, Roles, StartError},
    clock::Clock,
    doctor,
    storage::{db::MIGRATOR, schema},
};
use testkit::{
    eventually,
    instances::{Postgres, Rabbit},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::{Server, config, folder, provider};

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn roles_apart_need_a_broker() -> anyhow::Result<()> {
    let (db, folder) = (Postgres::shared().await?.database(&MIGRATOR).await?, folder());
    for roles in [Roles::SERVE, Roles::WORK, Roles::TRIGGER] {
        let refused = app::start(&config(&db.url, folder.path(), &[]), Clock::new(), roles).await;
        assert!(matches!(refused, Err(StartError::NeedsBroker)), "{roles:?}");
    }
    let broker = Rabbit::shared().await?.vhost().await?;
    let config = config(&db.url, folder.path(), &[("AMQP_URL", &broker.url)]);
    let serving = app::start(&config, Clock::new(), Roles::SERVE).await?;
    let working = app::start(&config, Clock::new(), Roles::WORK).await?;
    assert!(serving.http_addr.is_some() && serving.grpc_addr.is_some());
    assert_eq!((working.http_addr, working.grpc_addr), (None, None));
    working.stop().await;
    serving.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_signal_in_one_process_wakes_the_worker_in_another() -> anyhow::Result<()> {
    let (db, folder) = (Postgres::shared().await?.database(&MIGRATOR).await?, folder());
    let broker = Rabbit::shared().await?.vhost().await?;
    let config = config(&db.url, folder.path(), &[("AMQP_URL", &broker.url)]);
    let serving = app::start(&config, Clock::new(), Roles::SERVE).await?;
    let triggering = app::start(&config, Clock::new(), Roles::TRIGGER).await?;
    // A topic whose worker runs in neither: a waiting worker would take the signal that this test waits for.
    let topic = server::wake::Topic::Relay;
    let long = Duration::from_secs(60);
    // Whatever was signalled while both connected is taken first.
    triggering.context.wake.wait(topic, Duration::from_millis(500)).await;
    eventually(SOON, async || {
        let begun = Instant::now();
        serving.context.wake.signal(topic);
        tokio::time::timeout(Duration::from_secs(2), triggering.context.wake.wait(topic, long)).await?;
        anyhow::ensure!(begun.elapsed() < Duration::from_secs(2));
        Ok(())
    })
    .await?;
    triggering.stop().await;
    serving.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_schema_that_is_not_up_to_date_is_named_and_then_migrated() -> anyhow::Result<()> {
    let (db, folder) = (Postgres::shared().await?.empty_database().await?, folder());
    let config = config(&db.url, folder.path(), &[]);
    let Err(StartError::Schema(words)) = app::start(&config, Clock::new(), Roles::ALL).await else {
        panic!("started on an empty database");
    };
    assert!(words.contains("switchboard migrate") && words.contains("0001 contacts"), "{words}");
    assert!(!doctor::examine(&config).await.is_well());
    let mut conn = schema::connect(&db.url, SOON).await?;
    assert_eq!(schema::migrate(&mut conn).await?.len(), MIGRATOR.iter().count());
    assert!(schema::migrate(&mut conn).await?.is_empty(), "nothing is left to apply");
    assert_eq!(schema::compare(&mut conn).await?, schema::Schema::Current);
    app::start(&config, Clock::new(), Roles::ALL).await?.stop().await;
    Ok(())
}

#[tokio::test]
async fn two_processes_cannot_have_one_spool() -> anyhow::Result<()> {
    let (db, folder) = (Postgres::shared().await?.database(&MIGRATOR).await?, folder());
    let config = config(&db.url, folder.path(), &[]);
    let first = Server::start(&config).await?;
    assert!(matches!(Server::start(&config).await, Err(StartError::Spool(_))));
    first.running.stop().await;
    Server::start(&config).await?.running.stop().await;
    Ok(())
}

#[tokio::test]
async fn stopping_ends_what_is_open_and_frees_the_ports() -> anyhow::Result<()> {
    let (db, folder) = (Postgres::shared().await?.database(&MIGRATOR).await?, folder());
    let server = Server::start(&config(&db.url, folder.path(), &[])).await?;
    let (http, grpc) = (server.running.http_addr.expect("http"), server.running.grpc_addr.expect("grpc"));
    let channel = tonic::transport::Endpoint::try_from(format!("http://{grpc}"))?.connect().await?;
    let mut health = HealthClient::new(channel);
    let mut watched = health.watch(HealthCheckRequest { service: String::new() }).await?.into_inner();
    assert_eq!(watched.message().await?.map(|answer| answer.status), Some(1), "SERVING");
    // A request whose body is still on its way when the stop begins is answered.
    let mut open = TcpStream::connect(http).await?;
    open.write_all(
        b"POST /webhooks/1/x HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\nconnection: close\r\nexpect: 100-continue\r\n\r\n",
    )
    .await?;
    let mut go_on = [0; 25];
    open.read_exact(&mut go_on).await?;
    assert!(go_on.starts_with(b"HTTP/1.1 100 Continue"), "it waits for the body");

    let begun = Instant::now();
    let stopping = tokio::spawn(server.running.stop());
    open.write_all(b"abcd").await?;
    let mut answer = String::new();
    open.read_to_string(&mut answer).await?;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    // Who watches is told, and then let go: the stream does not hold the process.
    let last = tokio::time::timeout(SOON, watched.message()).await??;
    assert_eq!(last.map(|answer| answer.status), Some(2), "NOT_SERVING");
    assert!(tokio::time::timeout(SOON, watched.message()).await??.is_none());
    stopping.await?;
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert!(TcpStream::connect(http).await.is_err() && TcpStream::connect(grpc).await.is_err());
    Ok(())
}

#[tokio::test]
async fn the_doctor_names_what_is_to_be_mended() -> anyhow::Result<()> {
    let (db, folder) = (Postgres::shared().await?.database(&MIGRATOR).await?, folder());
    let config = config(&db.url, folder.path(), &[]);
    let report = doctor::examine(&config).await;
    assert!(report.is_well(), "{report}");
    provider(&db.pool, "sms", "twilio-sms", folder.path()).await?;
    provider(&db.pool, "broken", "twilio-sms", folder.path()).await?;
    sqlx::query(
        "update channel_provider set settings = settings - 'auth_token_file' where channel_id = (select id from channel
          where slug = 'broken')",
    )
    .execute(&db.pool)
    .await?;
    sqlx::query(
        "insert into inbound_inbox (channel_id, provider_id, sender, fact, body_id, received_at, parked_at, parked_reason)
         values (1, 1, 'phone:+919812345678', '{}', 1, now(), now(), 'no')",
    )
    .execute(&db.pool)
    .await?;
    let report = doctor::examine(&config).await;
    let words = report.to_string();
    for expected in ["channel sms/main", "channel broken/main", "auth_token", "1 could not be taken up", "3 problems"] {
        assert!(words.contains(expected), "{expected} is not in\n{words}");
    }
    for sql in [
        "insert into conversation (id, contact_id, phase, state, active_channel_id, created_at, changed_at, closed_at)
         select gen_random_uuid(), 1, 'closed', 'CLOSED', id, '2020-01-01', '2020-01-01', '2020-01-02' from channel limit 1",
        "with f as (insert into archive_file (name, state, size) values ('archive/aa/aa.jsonl.zst', 'live', 1) returning id)
         insert into archive_stain (file_id, conversation_id, cause, stained_at)
         select id, gen_random_uuid(), 'erased', now() - interval '2 days' from f",
    ] {
        sqlx::query(sql).execute(&db.pool).await?;
    }
    std::fs::write(folder.path().join("no-folder"), "a file")?;
    let nowhere = folder.path().join("no-folder/files").display().to_string();
    let words =
        doctor::examine(&super::config(&db.url, folder.path(), &[("SWITCHBOARD__FILES__PLACE", &nowhere)])).await;
    let words = words.to_string();
    for expected in ["closed on 2020-01-02 waits", "1 files have held for a day", "files.place", "6 problems"] {
        assert!(words.contains(expected), "{expected} is not in\n{words}");
    }
    let away = super::config("postgres://app@127.0.0.1:9/app", folder.path(), &[]);
    let words = doctor::examine(&away).await.to_string();
    assert!(words.contains("check DATABASE_URL"), "{words}");
    Ok(())
}
