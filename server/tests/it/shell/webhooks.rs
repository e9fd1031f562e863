//! Webhooks over a real socket: what is taken, what is refused, and what is answered.

use std::time::Duration;

use server::storage::db::MIGRATOR;
use testkit::{eventually, instances::Postgres};
use uuid::Uuid;

use super::{Server, TOKEN, config, count, folder, provider};

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_signed_webhook_is_stored_and_a_forged_one_is_not() -> anyhow::Result<()> {
    let (db, folder) = (Postgres::shared().await?.database(&MIGRATOR).await?, folder());
    let sms = provider(&db.pool, "sms", "twilio-sms", folder.path()).await?;
    let server = Server::start(&config(&db.url, folder.path(), &[])).await?;
    let path = format!("/webhooks/{sms}/status?d={}&n=1", Uuid::now_v7());
    let form = [("MessageSid", "SM1"), ("MessageStatus", "delivered")];

    let forged = server.post(&path).header("x-twilio-signature", "AAAA").form(&form).send().await?;
    assert_eq!(forged.status(), 403);
    assert_eq!(server.post(&path).form(&form).send().await?.status(), 403);
    // Signed for the address that `Host` names, which is the caller's to choose.
    let pairs: Vec<_> = form.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let own = simulator::signature::twilio(TOKEN, &format!("{}{path}", server.base), &pairs);
    assert_eq!(server.post(&path).header("x-twilio-signature", own).form(&form).send().await?.status(), 403);
    assert_eq!(count(&db.pool, "select count(*) from webhook_body").await?, 0);

    let taken = server.twilio(&path, &form).await?;
    assert_eq!(taken.status(), 200);
    assert_eq!(count(&db.pool, "select count(*) from receipt_inbox where evidence = 'delivered' and n = 1").await?, 1);
    assert_eq!(count(&db.pool, "select count(*) from webhook_body where body like 'MessageSid=SM1%'").await?, 1);
    server.running.stop().await;
    Ok(())
}

#[tokio::test]
async fn what_nobody_expects_is_told_so() -> anyhow::Result<()> {
    let (db, folder) = (Postgres::shared().await?.database(&MIGRATOR).await?, folder());
    let sms = provider(&db.pool, "sms", "twilio-sms", folder.path()).await?;
    let server =
        Server::start(&config(&db.url, folder.path(), &[("SWITCHBOARD__HTTP__MAX_BODY_BYTES", "4096")])).await?;
    for (path, status) in [
        ("/webhooks/999999/status".to_owned(), 404),
        ("/webhooks/twilio/status".to_owned(), 404),
        ("/webhooks/99999999999999".to_owned(), 404),
        ("/webhooks".to_owned(), 404),
        ("/somewhere".to_owned(), 404),
    ] {
        assert_eq!(server.twilio(&path, &[("a", "b")]).await?.status().as_u16(), status, "{path}");
    }
    let nowhere = format!("/webhooks/{sms}/nowhere");
    assert_eq!(server.twilio(&nowhere, &[("a", "b")]).await?.status(), 404);
    let status = format!("/webhooks/{sms}/status");
    assert_eq!(server.twilio(&status, &[("MessageStatus", "sent")]).await?.status(), 400, "without a MessageSid");
    assert_eq!(server.post(&status).body(vec![b'x'; 4097]).send().await?.status(), 413);
    assert_eq!(server.post(&status).body(vec![b'x'; 4096]).send().await?.status(), 403);
    // Settings that cannot be used: the provider is known, and repeats later.
    sqlx::query("update channel_provider set settings = '{}'").execute(&db.pool).await?;
    server.running.context.directory.invalidate();
    assert_eq!(server.twilio(&status, &[("a", "b")]).await?.status(), 503);
    server.running.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_message_of_a_person_is_taken_up_once_however_often_it_is_sent() -> anyhow::Result<()> {
    let (db, folder) = (Postgres::shared().await?.database(&MIGRATOR).await?, folder());
    let sms = provider(&db.pool, "sms", "twilio-sms", folder.path()).await?;
    let server = Server::start(&config(&db.url, folder.path(), &[])).await?;
    for _ in 0..3 {
        assert_eq!(server.text(sms, "SM7", "is the dam open?").await?, 200);
    }
    eventually(SOON, async || {
        let messages = count(&db.pool, "select count(*) from message where plain_text = 'is the dam open?'").await?;
        let waiting = count(&db.pool, "select count(*) from inbound_inbox").await?;
        anyhow::ensure!((messages, waiting) == (1, 0), "{messages} messages, {waiting} wait");
        Ok(())
    })
    .await?;
    server.running.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_call_is_given_the_words_of_its_own_delivery() -> anyhow::Result<()> {
    let (db, folder) = (Postgres::shared().await?.database(&MIGRATOR).await?, folder());
    let voice = provider(&db.pool, "calls", "twilio-voice", folder.path()).await?;
    let other = provider(&db.pool, "other-calls", "twilio-voice", folder.path()).await?;
    let server = Server::start(&config(&db.url, folder.path(), &[])).await?;
    let content = serde_json::json!({"type": "voice", "say": "The dam opens at noon.", "language": "en-IN", "repeat": 2,
                                     "keys": [{"id": "1", "title": "understood"}]});
    let delivery = Uuid::now_v7();
    sqlx::query(
        "with m as (insert into message (id, conversation_id, seq, outbound, channel_id, address_id, sender, receiver, content,
                                         plain_text, received_at)
                    select $1, $1, 1, true, channel_id, 1, '', '', $2, '', now() from channel_provider where id = $3
                    returning id, channel_id)
         insert into delivery (id, message_id, step, channel_id, work, created_at)
         select $1, id, 0, channel_id, 'sending', now() from m",
    )
    .bind(delivery)
    .bind(content)
    .bind(voice)
    .execute(&db.pool)
    .await?;
    let form = [("CallSid", "CA1"), ("CallStatus", "in-progress"), ("AnsweredBy", "human"), ("To", "+919812345678")];
    let script = server.twilio(&format!("/webhooks/{voice}/voice?d={delivery}&n=1"), &form).await?;
    assert_eq!(
        (script.status().as_u16(), script.headers()["content-type"].to_str()?),
        (200, "text/xml; charset=utf-8")
    );
    let words = script.text().await?;
    assert!(words.contains("The dam opens at noon.") && words.contains("<Gather"), "{words}");
    // Another account must not hear it, and a delivery that does not exist says nothing.
    let path = format!("/webhooks/{other}/voice?d={delivery}&n=1");
    assert_eq!(server.twilio(&path, &form).await?.status(), 404);
    let path = format!("/webhooks/{voice}/voice?d={}&n=1", Uuid::now_v7());
    assert_eq!(server.twilio(&path, &form).await?.status(), 404);
    server.running.stop().await;
    Ok(())
}
