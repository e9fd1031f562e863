//! Call lists are mailed once, to those who will call, and nobody on them is lost.

use std::time::Duration;

use serde_json::json;
use server::services::mailing;
use testkit::{eventually, instances::Smtp};
use uuid::Uuid;

use super::world;
use crate::support::{World, pipeline::Workers};

const TEN_MINUTES: Duration = Duration::from_secs(600);

/// A list that is mailed ten minutes after its first entry, over a mail server.
async fn world_with_list(mail_server: &str) -> anyhow::Result<World> {
    let world = world().await?;
    let (host, port) = mail_server.rsplit_once(':').unwrap_or((mail_server, "25"));
    let host = host.trim_start_matches("smtp://");
    let settings = json!({"host": host, "port": port.parse::<u16>()?, "tls": "none", "timeout_seconds": 10});
    sqlx::query(
        "with c as (insert into channel (slug, channel_type, service_identifier, created_at, updated_at)
                    values ('mail', 'EMAIL', 'lists@switchboard.test', now(), now()) returning id)
         insert into channel_provider (channel_id, name, position, connector, settings) select id, 'main', 0, 'smtp', $1 from c",
    )
    .bind(settings)
    .execute(&world.db.pool)
    .await?;
    let definition = json!({"emails": ["office@town.test", "ward@town.test"], "channel": "mail",
                            "mailing": {"after_first_entry": TEN_MINUTES.as_millis() as u64}});
    sqlx::query("insert into call_list (slug, display_name, definition, created_at, updated_at) values ('office', 'Ward office', $1, now(), now())")
        .bind(definition)
        .execute(&world.db.pool)
        .await?;
    world.context.directory.invalidate();
    Ok(world)
}

impl World {
    /// Puts people on the list whom their notification did not reach.
    async fn unreached(&self, count: i32) -> anyhow::Result<Vec<Uuid>> {
        let people = self.people(count, "").await?;
        let plan = self.plan(&["sms-a"], |_, _| {}).await?;
        let notifications = self.begin(&plan, &people, domain::channel::Lane::Bulk).await?;
        sqlx::query(
            "with n as (update notification set state = 'exhausted' where id = any($1) returning id, contact_id),
                  d as (update delivery set work = 'done', evidence = 'failed', failure_code = '30003'
                         where notification_id = any($1))
             insert into call_list_entry (call_list_id, notification_id, contact_id, created_at)
             select l.id, n.id, n.contact_id, $2 from n, call_list l",
        )
        .bind(&notifications)
        .bind(self.now())
        .execute(&self.db.pool)
        .await?;
        sqlx::query("delete from dispatch").execute(&self.db.pool).await?;
        Ok(notifications)
    }

    async fn waiting(&self) -> anyhow::Result<i64> {
        self.count("select count(*) from call_list_entry where mailed_in is null and withdrawn_at is null").await
    }

    async fn mail(&self) -> anyhow::Result<()> {
        while mailing::pass(&self.context).await? {}
        Ok(())
    }
}

#[tokio::test]
async fn a_list_is_mailed_once_and_leaves_out_who_answered() -> anyhow::Result<()> {
    let server = Smtp::start().await?;
    let world = world_with_list(&server.url()).await?;
    let on_list = world.unreached(3).await?;
    world.mail().await?;
    assert_eq!(world.waiting().await?, 3, "its time has not come");
    sqlx::query("update notification set state = 'replied' where id = $1")
        .bind(on_list[0])
        .execute(&world.db.pool)
        .await?;
    world.advance(TEN_MINUTES);
    world.mail().await?;
    world.mail().await?;
    let workers = Workers::start(&world.context, None)?;
    eventually(Duration::from_secs(20), async || {
        world.mail().await?;
        let mailed = world.count("select count(*) from call_list_entry where mailed_at is not null").await?;
        let stand: Option<String> = sqlx::query_scalar(
            "select string_agg(concat_ws(' ', n.state, n.reason, d.work, d.evidence, d.failure_code, d.reason), '; ')
               from notification n left join delivery d on d.notification_id = n.id where n.variables ? 'call_list'",
        )
        .fetch_one(&world.db.pool)
        .await?;
        anyhow::ensure!(mailed == 2, "{mailed} of 2 mailed: {stand:?}");
        Ok(())
    })
    .await?;
    drop(workers);
    let mails = server.mails()?;
    assert_eq!(mails.len(), 2, "one for each mailbox");
    let text = format!("{mails:?}");
    assert!(text.contains("Ward office: 2 to call"), "{text}");
    for word in ["Person 2", "Person 3", "The dam opens at noon.", "30003"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(!text.contains("Person 1:"), "{text}");
    assert_eq!((world.waiting().await?, world.count("select count(*) from call_list_mail").await?), (0, 1));
    Ok(())
}

#[tokio::test]
async fn entries_of_a_mail_that_was_not_sent_wait_again_with_the_reason() -> anyhow::Result<()> {
    let world = world_with_list("smtp://127.0.0.1:9").await?;
    world.unreached(2).await?;
    world.mail().await?;
    world.advance(TEN_MINUTES);
    world.mail().await?;
    assert_eq!(world.waiting().await?, 0);
    let carried =
        "update notification set state = 'exhausted', reason = 'ATTEMPTS_USED_UP' where variables ? 'call_list'";
    assert_eq!(sqlx::query(carried).execute(&world.db.pool).await?.rows_affected(), 2);
    world.mail().await?;
    assert_eq!(world.waiting().await?, 2);
    let note: String = sqlx::query_scalar("select max(note) from call_list_entry").fetch_one(&world.db.pool).await?;
    assert!(note.contains("ATTEMPTS_USED_UP"), "{note}");
    world.advance(2 * TEN_MINUTES);
    world.mail().await?;
    assert_eq!((world.waiting().await?, world.count("select count(*) from call_list_mail").await?), (0, 2));
    Ok(())
}

#[tokio::test]
async fn a_long_list_goes_in_several_mails_and_each_entry_is_in_one() -> anyhow::Result<()> {
    let world = world_with_list("smtp://127.0.0.1:9").await?;
    world.unreached(250).await?;
    world.mail().await?;
    world.advance(TEN_MINUTES);
    let other = world.another_process()?;
    let mail = async |context| {
        while mailing::pass(context).await? {}
        anyhow::Ok(())
    };
    let (a, b) = tokio::join!(mail(&world.context), mail(&other));
    a.and(b)?;
    world.mail().await?;
    let entries: Vec<i32> =
        sqlx::query_scalar("select entries from call_list_mail order by created_at").fetch_all(&world.db.pool).await?;
    assert_eq!((entries.iter().sum::<i32>(), entries.len()), (250, 3));
    assert_eq!(world.count("select count(*) from call_list_entry where mailed_in is null").await?, 0);
    Ok(())
}
