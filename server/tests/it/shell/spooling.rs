//! Webhooks while Postgres is away: they wait on disk, and go first when it is back.

use std::time::Duration;

use server::storage::db::MIGRATOR;
use sqlx::PgPool;
use testkit::{eventually, instances::Private};

use super::{Server, config, count, folder, provider};

const SOON: Duration = Duration::from_secs(40);

/// What people wrote, in the order of their conversations.
async fn said(db: &PgPool) -> anyhow::Result<Vec<String>> {
    Ok(sqlx::query_scalar("select plain_text from message where not outbound order by seq").fetch_all(db).await?)
}

#[tokio::test]
async fn webhooks_wait_on_disk_while_postgres_is_away_and_are_stored_in_order() -> anyhow::Result<()> {
    let (postgres, folder) = (Private::postgres("spool").await?, folder());
    let db = postgres.database(&MIGRATOR).await?;
    let sms = provider(&db.pool, "sms", "twilio-sms", folder.path()).await?;
    let server = Server::start(&config(&db.url, folder.path(), &[])).await?;
    assert_eq!(server.get("/readyz").send().await?.status(), 200);
    assert_eq!(server.text(sms, "SM0", "before").await?, 200);
    postgres.kill().await?;

    for n in 1..=3 {
        assert_eq!(server.text(sms, &format!("SM{n}"), &format!("while away {n}")).await?, 200);
    }
    let path = format!("/webhooks/{sms}/inbound");
    let forged = server.post(&path).header("x-twilio-signature", "AAAA").form(&[("MessageSid", "SM9")]).send().await?;
    assert_eq!(forged.status(), 403, "strangers cannot fill the disk");
    let ready = server.get("/readyz").send().await?;
    assert_eq!(ready.status(), 503);
    let words = ready.text().await?;
    assert!(words.contains("3 webhooks wait on disk") && words.contains("cannot be reached"), "{words}");
    assert_eq!(server.get("/healthz").send().await?.status(), 200);

    postgres.start().await?;
    assert_eq!(server.text(sms, "SM4", "after").await?, 200);
    eventually(SOON, async || {
        let said = said(&db.pool).await?;
        anyhow::ensure!(said.len() == 5, "{said:?}");
        Ok(())
    })
    .await?;
    assert_eq!(said(&db.pool).await?, ["before", "while away 1", "while away 2", "while away 3", "after"]);
    eventually(SOON, async || Ok(server.get("/readyz").send().await?.error_for_status()?)).await?;
    server.running.stop().await;
    Ok(())
}

#[tokio::test]
async fn the_spool_survives_a_restart_and_refuses_what_does_not_fit() -> anyhow::Result<()> {
    let (postgres, folder) = (Private::postgres("spool-restart").await?, folder());
    let db = postgres.database(&MIGRATOR).await?;
    let sms = provider(&db.pool, "sms", "twilio-sms", folder.path()).await?;
    let config = config(&db.url, folder.path(), &[("SWITCHBOARD__HTTP__SPOOL_MAX_BYTES", "3000")]);
    let server = Server::start(&config).await?;
    postgres.kill().await?;
    assert_eq!(server.text(sms, "SM1", "kept").await?, 200);
    assert_eq!(server.text(sms, "SM2", &"x".repeat(3000)).await?, 503, "its provider repeats it");
    assert_eq!(server.text(sms, "SM3", "kept too").await?, 200);
    server.running.stop().await;
    assert!(Server::start(&config).await.is_err(), "without a database nothing starts");

    postgres.start().await?;
    let server = Server::start(&config).await?;
    eventually(SOON, async || {
        anyhow::ensure!(said(&db.pool).await? == ["kept", "kept too"], "not yet");
        Ok(())
    })
    .await?;
    assert_eq!(std::fs::read_dir(folder.path().join("spool"))?.count(), 1, "the lock alone is left");
    assert_eq!(count(&db.pool, "select count(*) from webhook_body").await?, 2);
    server.running.stop().await;
    Ok(())
}
