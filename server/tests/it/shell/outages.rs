//! An answer that came while Postgres was away counts, although the wait for it ended meanwhile.

use std::time::Duration;

use domain::{channel::Lane, fallback::Success};
use server::storage::db::MIGRATOR;
use simulator::{
    Simulator,
    script::{Handset, MessageScript},
};
use testkit::{eventually, instances::Private};

use super::{Server, TOKEN, config, folder, provider};
use crate::support::World;

const SOON: Duration = Duration::from_secs(60);
const PHONE: &str = "+919812345678";

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_during_an_outage_comes_before_the_wait_that_ended_in_it() -> anyhow::Result<()> {
    let (postgres, folder) = (Private::postgres("outage").await?, folder());
    let db = postgres.database(&MIGRATOR).await?;
    let mut providers = simulator::Config::default();
    providers.twilio.account_sid = "AC00000000000000000000000000000000".into();
    providers.twilio.auth_token = TOKEN.into();
    let sim = Simulator::start(providers).await?;
    sim.handset(PHONE, Handset::sms(MessageScript::silent()))?;
    let first = provider(&db.pool, "sms-a", "twilio-sms", folder.path()).await?;
    provider(&db.pool, "sms-b", "twilio-sms", folder.path()).await?;
    sqlx::query("update channel_provider set settings = settings || jsonb_build_object('base_url', $1::text)")
        .bind(&sim.base_url)
        .execute(&db.pool)
        .await?;
    let server = Server::start(&config(&db.url, folder.path(), &[])).await?;
    let world = World { context: server.running.context.clone(), db };
    let contact = world.contact(PHONE).await?;
    let plan = world.plan(&["sms-a", "sms-b"], |_, step| step.success = Success::Replied).await?;
    let notification = world.begin(&plan, &[contact], Lane::Interactive).await?.remove(0);
    eventually(SOON, async || {
        let found = world.delivery(notification, 0).await?;
        anyhow::ensure!(found == "done sent", "{found}");
        Ok(())
    })
    .await?;

    postgres.kill().await?;
    world.advance(Duration::from_secs(3601)); // the wait of an hour is over
    assert_eq!(server.text(first, "SM1", "yes").await?, 200, "it waits on disk");
    tokio::time::sleep(Duration::from_secs(4)).await; // the length of the outage is what this is about
    postgres.start().await?;
    eventually(SOON, async || {
        let stands = world.stands(notification).await?;
        anyhow::ensure!(stands == "replied 0", "{stands}");
        Ok(())
    })
    .await?;
    assert_eq!(sim.calls_to(PHONE).await.len(), 1, "nothing was sent on the second channel");
    server.running.stop().await;
    Ok(())
}
