//! A real Kannel between us and a message centre: what is sent arrives, what becomes of it is reported, and answers come back.
//! `make test-peers` plays this; it needs Debian's package.

use std::{net::TcpListener, time::Duration};

use domain::{
    channel::{Address, AddressKind, Lane},
    message::Content,
};
use serde_json::{Value, json};
use server::{
    channels::{Outbound, Sent},
    storage::db::MIGRATOR,
};
use testkit::{
    eventually,
    instances::{Kannel, Postgres},
};

use super::connector;
use crate::{
    shell::{Server, config, folder},
    support::World,
};

const SOON: Duration = Duration::from_secs(40);
/// Every character that a query string, or Kannel in its own templates, takes for its own.
const TOKEN: &str = "a token & 100% ours?";
const TOKEN_FOR_KANNEL: &str = "a%%20token%%20%%26%%20100%%25%%20ours%%3F";

/// The provider's number, its settings waiting for Kannel's address.
async fn channel(world: &sqlx::PgPool) -> anyhow::Result<i32> {
    Ok(sqlx::query_scalar(
        "with c as (insert into channel (slug, channel_type, service_identifier, created_at, updated_at)
                    values ('sms', 'SMS', '+15550001111', now(), now()) returning id)
         insert into channel_provider (channel_id, name, position, connector, settings)
         select id, 'main', 0, 'kannel', '{}' from c returning id",
    )
    .fetch_one(world)
    .await?)
}

fn inbound_url(public_url: &str, provider: i32) -> String {
    let query = "from=%p&to=%P&text=%b&coding=%c&charset=%C&id=%I&time=%T";
    format!("{public_url}/webhooks/{provider}/inbound?token={TOKEN_FOR_KANNEL}&{query}")
}

#[tokio::test]
#[ignore = "needs Debian's kannel: make test-peers"]
async fn what_becomes_of_a_message_is_reported_and_the_answer_comes_back() -> anyhow::Result<()> {
    let (db, folder) = (Postgres::shared().await?.database(&MIGRATOR).await?, folder());
    let provider = channel(&db.pool).await?;
    // Free a moment ago; Kannel must know it before the server has it.
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let public_url = format!("http://127.0.0.1:{port}");
    let kannel = Kannel::start("kannel-story", &inbound_url(&public_url, provider)).await?;
    for (file, secret) in [("password", Kannel::PASSWORD), ("webhook", TOKEN)] {
        std::fs::write(folder.path().join(file), secret)?;
    }
    let settings = json!({"base_url": kannel.base_url, "username": Kannel::USER, "password_file": folder.path().join("password"),
        "webhook_token_file": folder.path().join("webhook")});
    sqlx::query("update channel_provider set settings = $1").bind(settings).execute(&db.pool).await?;
    let listen = format!("127.0.0.1:{port}");
    let more = [("SWITCHBOARD__HTTP__PUBLIC_URL", public_url.as_str()), ("SWITCHBOARD__HTTP__LISTEN", &listen)];
    let server = Server::start(&config(&db.url, folder.path(), &more)).await?;

    let world = World { context: server.running.context.clone(), db };
    let mut people = Vec::new();
    // The message centre goes by the last digit: delivered, undelivered, refused at once, delivered and answered.
    for phone in ["+919812345670", "+919812345671", "+919812345673", "+919812345677"] {
        people.push(world.contact(phone).await?);
    }
    let plan = world.plan(&["sms"], |_, _| {}).await?;
    let begun = world.begin(&plan, &people, Lane::Interactive).await?;
    for (notification, stands, delivery) in [
        (begun[0], "reached 0", "done delivered"),
        (begun[1], "exhausted 0", "done failed"),
        (begun[2], "exhausted 0", "done failed"),
    ] {
        eventually(SOON, async || {
            let found = (world.stands(notification).await?, world.delivery(notification, 0).await?);
            anyhow::ensure!(found == (stands.to_owned(), delivery.to_owned()), "{found:?}");
            Ok(())
        })
        .await?;
    }
    eventually(SOON, async || {
        // The answer comes with the receipt; whichever is first, the person was reached.
        let found = (world.stands(begun[3]).await?, world.delivery(begun[3], 0).await?);
        let reached = matches!(found.0.as_str(), "reached 0" | "replied 0") && found.1 == "done delivered";
        anyhow::ensure!(reached, "{found:?}");
        Ok(())
    })
    .await?;
    let code = |id| world.one("select failure_code from delivery where notification_id = $1", id);
    assert_eq!((code(begun[1]).await?.as_deref(), code(begun[2]).await?.as_deref()), (Some("UNDELIV"), Some("11")));
    eventually(SOON, async || {
        let answers = world.count("select count(*) from message where not outbound and plain_text = 'हाँ'").await?;
        anyhow::ensure!(answers == 1, "{answers} answers");
        Ok(())
    })
    .await?;
    let arrived: Vec<Value> = kannel.received()?;
    let of = |number: &str| arrived.iter().filter(|one| one["to"] == number).collect::<Vec<_>>();
    let once = of("919812345670");
    assert_eq!((once.len(), &once[0]["text"], &once[0]["coding"]), (1, &json!("The dam opens at noon."), &json!(0)));
    assert!(of("919812345673").is_empty(), "the centre took nothing");
    server.running.stop().await;
    Ok(())
}

#[tokio::test]
#[ignore = "needs Debian's kannel: make test-peers"]
async fn words_arrive_letter_by_letter_whatever_their_alphabet_and_length() -> anyhow::Result<()> {
    let kannel = Kannel::start("kannel-words", "http://127.0.0.1:9/").await?;
    let settings = |password: &str| json!({"base_url": kannel.base_url, "username": Kannel::USER, "password_env": password, "webhook_token_env": TOKEN});
    let sms = connector("kannel", settings(Kannel::PASSWORD));
    assert_eq!(sms.check().await, Ok(()));
    assert!(connector("kannel", settings("wrong")).check().await.expect_err("a wrong password").contains("password"));
    let hindi = "आपके वार्ड में आज दोपहर बारह बजे से शाम पाँच बजे तक पानी नहीं आएगा। असुविधा के लिए खेद है, कृपया पहले से पानी भर लें।";
    let texts = ["Good morning & 100% well +1", hindi, "Price: 5€ [incl. tax] ~ {now}", "On its way 😀"];
    for (n, words) in texts.iter().enumerate() {
        let outbound = Outbound {
            delivery_id: uuid::Uuid::now_v7(),
            attempt: 1,
            to: Address { kind: AddressKind::Phone, value: format!("+9198123400{n}0") },
            from: "SWBOARD".to_owned(),
            content: Content::Text { text: (*words).to_owned() },
            window_open: true,
            public_url: "http://127.0.0.1:9".to_owned(),
            provider_id: 7,
            in_reply_to: None,
            unsubscribe_url: None,
            parameters: std::collections::BTreeMap::new(),
        };
        let sent = sms.send(&outbound).await;
        let expected = format!("{}:1", outbound.delivery_id);
        assert_eq!(sent, Sent::Accepted { provider_message_id: expected }, "{words}");
    }
    eventually(SOON, async || {
        let arrived = kannel.received()?;
        let read =
            |one: &Value| (one["text"].as_str().map(str::to_owned), one["coding"].as_i64(), one["parts"].as_i64());
        for (n, (words, coding, parts)) in
            [(texts[0], 0, 1), (texts[1], 8, 2), (texts[2], 0, 1), (texts[3], 8, 1)].into_iter().enumerate()
        {
            let to = format!("9198123400{n}0");
            let found = arrived.iter().find(|one| one["to"] == to.as_str()).map(read);
            let expected = (Some(words.to_owned()), Some(coding), Some(parts));
            anyhow::ensure!(found == Some(expected.clone()), "{found:?} instead of {expected:?}");
        }
        Ok(())
    })
    .await
}
