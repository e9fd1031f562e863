//! The servers that tests stand on, themselves tested: isolation, kill and restart, refusals of the mail server.

use std::borrow::Cow;
use std::time::Duration;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use testkit::instances::{Postgres, Private, Rabbit, Smtp};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

type Outcome = anyhow::Result<()>;

fn migrator() -> Migrator {
    let sql = sqlx::SqlStr::from_static("create table note (text text primary key)");
    let migration = Migration::new(1, Cow::Borrowed("notes"), MigrationType::Simple, sql, false);
    Migrator { migrations: Cow::Owned(vec![migration]), ..Migrator::DEFAULT }
}

async fn write(pool: &sqlx::PgPool, text: &str) -> Outcome {
    sqlx::query("insert into note values ($1)").bind(text).execute(pool).await?;
    Ok(())
}

async fn notes(pool: &sqlx::PgPool) -> anyhow::Result<i64> {
    Ok(sqlx::query_scalar("select count(*) from note").fetch_one(pool).await?)
}

#[tokio::test]
async fn each_database_is_migrated_and_knows_nothing_of_the_others() -> Outcome {
    let server = Postgres::shared().await?;
    let migrator = migrator();
    let (one, other) = tokio::try_join!(server.database(&migrator), server.database(&migrator))?;
    write(&one.pool, "only here").await?;
    assert_eq!((notes(&one.pool).await?, notes(&other.pool).await?), (1, 0));
    Ok(())
}

#[tokio::test]
async fn a_database_is_gone_when_its_test_has_ended() -> Outcome {
    let server = Postgres::shared().await?;
    let watcher = server.empty_database().await?;
    let database = server.database(&migrator()).await?;
    let name: String = sqlx::query_scalar("select current_database()::text").fetch_one(&database.pool).await?;
    drop(database);
    let found = sqlx::query_scalar("select exists (select from pg_database where datname = $1)").bind(name);
    assert!(!found.fetch_one(&watcher.pool).await?);
    Ok(())
}

#[tokio::test]
async fn a_killed_postgres_comes_back_with_what_was_committed() -> Outcome {
    let server = Private::postgres("killed-postgres").await?;
    let database = server.database(&migrator()).await?;
    write(&database.pool, "before the crash").await?;
    server.kill().await?;
    assert!(write(&database.pool, "into the void").await.is_err());
    server.start().await?;
    testkit::eventually(Duration::from_secs(20), async || {
        let found = notes(&database.pool).await?;
        anyhow::ensure!(found == 1, "{found} notes instead of one");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn each_virtual_host_is_of_one_test() -> Outcome {
    let server = Rabbit::shared().await?;
    let (one, other) = (server.vhost().await?, server.vhost().await?);
    assert_ne!(one.url, other.url);
    Ok(())
}

#[tokio::test]
async fn a_killed_rabbitmq_comes_back_on_its_port() -> Outcome {
    let server = Private::rabbit("killed-rabbitmq").await?;
    let address = server.url().trim_start_matches("amqp://guest:guest@").trim_end_matches("/%2f").to_owned();
    TcpStream::connect(&address).await?;
    server.kill().await?;
    assert!(TcpStream::connect(&address).await.is_err());
    server.start().await?;
    TcpStream::connect(&address).await?;
    server.wipe().await?;
    server.vhost().await?;
    Ok(())
}

/// Sends lines and returns the last answer to each.
async fn talk(port: u16, lines: &[&str]) -> anyhow::Result<Vec<String>> {
    let (reader, mut writer) = TcpStream::connect(("127.0.0.1", port)).await?.into_split();
    let mut answers = BufReader::new(reader).lines();
    let mut last = Vec::new();
    for line in std::iter::once(&"").chain(lines) {
        if !line.is_empty() {
            writer.write_all(format!("{line}\r\n").as_bytes()).await?;
        }
        while let Some(answer) = answers.next_line().await? {
            if answer.as_bytes().get(3) != Some(&b'-') {
                last.push(answer);
                break;
            }
        }
    }
    Ok(last)
}

#[tokio::test]
async fn the_mailbox_holds_what_was_accepted_and_refuses_whom_it_should() -> Outcome {
    let server = Smtp::start().await?;
    server.refuse("Gone@example.org", 550)?;
    server.refuse("full@example.org", 552)?;
    server.refuse("later@example.org", 451)?;
    let mail = "Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <1@test>\r\n\r\nGood morning\r\n.";
    let lines = [
        "EHLO test",
        "MAIL FROM:<a@example.org>",
        "RCPT TO:<gone@example.org>",
        "RCPT TO:<full@example.org>",
        "RCPT TO:<later@example.org>",
        "RCPT TO:<b@example.org>",
        "DATA",
        mail,
    ];
    let codes: Vec<_> = talk(server.port, &lines).await?.iter().map(|answer| answer[..3].to_owned()).collect();
    assert_eq!(codes, ["220", "250", "250", "550", "552", "451", "250", "354", "250"]);
    let mails = server.mails()?;
    assert_eq!(mails.len(), 1);
    assert_eq!((mails[0].from.as_str(), mails[0].to.as_slice()), ("a@example.org", &["b@example.org".to_owned()][..]));
    assert_eq!((mails[0].subject.as_str(), mails[0].body.trim_end()), ("grüße", "Good morning"));
    assert_eq!(mails[0].header("message-id"), Some("<1@test>"));
    Ok(())
}

#[tokio::test]
async fn a_mail_may_be_kept_without_the_sender_learning_it() -> Outcome {
    let server = Smtp::start().await?;
    server.drop_after_data(true)?;
    let lines =
        ["EHLO test", "MAIL FROM:<a@example.org>", "RCPT TO:<b@example.org>", "DATA", "Subject: x\r\n\r\ny\r\n."];
    let answers = talk(server.port, &lines).await.unwrap_or_default();
    assert!(answers.len() < 6, "an answer came: {answers:?}");
    assert_eq!(server.mails()?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_server_with_a_login_takes_no_mail_without_it() -> Outcome {
    let server = Smtp::start_with_login("mailer", "secret").await?;
    let refused = talk(server.port, &["EHLO test", "MAIL FROM:<a@example.org>"]).await?;
    assert!(refused[2].starts_with("530"), "{refused:?}");
    // "\0mailer\0secret" and "\0mailer\0wrong" in base64.
    let wrong = talk(server.port, &["EHLO test", "AUTH PLAIN AG1haWxlcgB3cm9uZw=="]).await?;
    assert!(wrong[2].starts_with("535"), "{wrong:?}");
    let right =
        talk(server.port, &["EHLO test", "AUTH PLAIN AG1haWxlcgBzZWNyZXQ=", "MAIL FROM:<a@example.org>"]).await?;
    assert!(right[2].starts_with("235") && right[3].starts_with("250"), "{right:?}");
    Ok(())
}
