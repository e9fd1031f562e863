//! Unsubscribing with one click: the link asks, the click does it.

use domain::channel::ChannelType;
use server::{services::unsubscribe, storage::db::MIGRATOR};
use testkit::instances::Postgres;

use super::{PUBLIC_URL, Server, config, count, folder};

#[tokio::test]
async fn following_the_link_asks_and_one_click_unsubscribes() -> anyhow::Result<()> {
    let (db, folder) = (Postgres::shared().await?.database(&MIGRATOR).await?, folder());
    let address: i64 = sqlx::query_scalar(
        "insert into address (kind, value, created_at) values ('email', 'a@example.org', now()) returning id",
    )
    .fetch_one(&db.pool)
    .await?;
    let server = Server::start(&config(&db.url, folder.path(), &[])).await?;
    let url = unsubscribe::url(&server.running.context, address, ChannelType::Email, "news").expect("a link");
    let path = url.strip_prefix(PUBLIC_URL).expect("our address").to_owned();

    let asked = server.get(&path).send().await?;
    assert_eq!(asked.status(), 200);
    assert!(asked.text().await?.contains("<form method=\"post\">"));
    assert_eq!(
        count(&db.pool, "select count(*) from consent").await?,
        0,
        "a scanner that follows links changes nothing"
    );

    let forged = format!("{}A", &path[..path.len() - 1]);
    let forged = if forged == path { format!("{}B", &path[..path.len() - 1]) } else { forged };
    for wrong in [forged.as_str(), "/unsubscribe/x"] {
        assert_eq!(server.post(wrong).send().await?.status(), 404);
        assert_eq!(server.get(wrong).send().await?.status(), 404);
    }
    for _ in 0..2 {
        let ended = server.post(&path).form(&[("List-Unsubscribe", "One-Click")]).send().await?;
        assert_eq!(ended.status(), 200);
    }
    let refused = "select count(*) from consent where channel_type = 'EMAIL' and purpose = 'news' and not opted_in";
    assert_eq!(count(&db.pool, refused).await?, 1);
    assert_eq!(count(&db.pool, "select count(*) from consent").await?, 1);
    server.running.stop().await;

    // The key is the deployment's: an old link works after a restart.
    let server = Server::start(&config(&db.url, folder.path(), &[])).await?;
    assert_eq!(server.get(&path).send().await?.status(), 200);
    server.running.stop().await;
    Ok(())
}
