//! Keeping house, and the time in which nothing could be received.

use chrono::TimeDelta;
use server::{
    clock::Measured,
    workers::{correct_clock, housekeeping, receiving},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{config, count, folder};
use crate::support::World;

#[tokio::test]
async fn waits_are_given_the_time_of_an_interruption_again() -> anyhow::Result<()> {
    let (world, receiver) = (World::new().await?, Uuid::new_v4());
    let last_seen = "update receiving set seen_at = clock_timestamp() - make_interval(secs => $1)";
    sqlx::query(last_seen).bind(3600.0).execute(&world.db.pool).await?;
    receiving::pass(&world.context, receiver, false).await?;
    assert_eq!(world.count("select count(*) from send_group").await?, 0, "a fresh installation has no gap");

    world.two_steps().await?;
    let quiet = "select count(*) from send_group where quiet_until > now()";
    assert_eq!(receiving::pass(&world.context, receiver, false).await?, None);
    sqlx::query(last_seen).bind(4.0).execute(&world.db.pool).await?;
    assert_eq!(receiving::pass(&world.context, receiver, false).await?, None);
    assert_eq!(world.count(quiet).await?, 0);

    sqlx::query(last_seen).bind(120.0).execute(&world.db.pool).await?;
    receiving::pass(&world.context, receiver, false).await?;
    let two_minutes = "select count(*) from send_group where quiet_until between now() + interval '100 s' and now() + interval '121 s'";
    assert_eq!(world.count(two_minutes).await?, 1);
    sqlx::query(last_seen).bind(86_400.0).execute(&world.db.pool).await?;
    assert_eq!(receiving::pass(&world.context, receiver, false).await?, Some(TimeDelta::minutes(15)));
    sqlx::query(last_seen).bind(60.0).execute(&world.db.pool).await?;
    receiving::pass(&world.context, receiver, false).await?;
    let quarter = "select count(*) from send_group where quiet_until > now() + interval '14 min'";
    assert_eq!(world.count(quarter).await?, 1, "a shorter one does not shorten it");
    Ok(())
}

#[tokio::test]
async fn old_rows_go_and_days_are_made_ahead() -> anyhow::Result<()> {
    let (world, folder) = (World::new().await?, folder());
    let retention = config(&world.db.url, folder.path(), &[]).retention;
    for sql in [
        "insert into webhook_body (provider_id, body, received_at) values (1, '', now() - interval '40 days')",
        "insert into webhook_body (provider_id, body, received_at) values (1, '', now() - interval '20 days')",
        "create table webhook_body_p20200102 partition of webhook_body for values from ('2020-01-02Z') to ('2020-01-03Z')",
        "insert into request (caller, request_id, method, fingerprint, response, created_at)
         select '', gen_random_uuid(), '', '', '', now() - n * interval '1 day' from generate_series(1, 20) n",
        "insert into provider_ref (provider_id, provider_message_id, delivery_id, n, created_at)
         select 1, n::text, gen_random_uuid(), 1, now() - n * interval '1 day' from generate_series(1, 50) n",
        "insert into inbound_ref (channel_id, provider_message_id, received_at)
         select 1, n::text, now() - n * interval '1 day' from generate_series(1, 50) n",
        "insert into event (number, kind, type, n, ids, at)
         select n, 'delivery', 'x', 1, '{}', now() - (100 - n) * interval '1 day' from generate_series(1, 50) n",
        "insert into controller_run (number, controller_id, version, conversation_id, intent, outcome, rules, actions, faults, at)
         select n, 1, 1, gen_random_uuid(), 'X', 'done', '{}', 0, '{}', now() - n * interval '10 days' from generate_series(1, 20) n",
        "with c as (insert into channel (slug, channel_type, service_identifier, created_at, updated_at)
                    values ('chat', 'WEBCHAT', 'chat', now(), now()) returning id),
              a as (insert into address (kind, value, created_at) values ('external', 'v', now()) returning id),
              v as (insert into web_chat_visitor (channel_id, address_id) select c.id, a.id from c, a returning channel_id, address_id)
         insert into web_chat_line (channel_id, address_id, seq, delivery_id, provider_id, content, stored_at)
         select channel_id, address_id, n, gen_random_uuid(), 1, '{}', now() - (21 - n) * interval '10 days'
           from v, generate_series(1, 20) n",
        "with w as (insert into webhook (slug, url, definition, position, created_at, updated_at)
                    values ('w', 'https://example.org', '{}', 0, now(), now()) returning id)
         insert into webhook_dead_letter (webhook_id, first, last, n, failures, reason, died_at)
         select id, n, n, 1, 1, 'x', now() - n * interval '10 days' from w, generate_series(1, 20) n",
    ] {
        sqlx::query(sql).execute(&world.db.pool).await?;
    }
    let stop = CancellationToken::new();
    for _ in 0..2 {
        housekeeping::once(&world.context, retention, &stop).await?;
        for (sql, left) in [
            ("select count(*) from webhook_body", 1),
            ("select count(*) from pg_class where relname = 'webhook_body_p20200102'", 0),
            ("select count(*) from pg_inherits where inhparent = 'webhook_body'::regclass", 9),
            ("select count(*) from request", 6),
            ("select count(*) from provider_ref", 34),
            ("select count(*) from inbound_ref", 34),
            ("select count(*) from event", 40),
            ("select count(*) from controller_run", 8),
            ("select count(*) from web_chat_line", 8),
            ("select count(*) from webhook_dead_letter", 8),
        ] {
            assert_eq!(world.count(sql).await?, left, "{sql}");
        }
    }
    sqlx::query("insert into webhook_body (provider_id, body) values (1, 'now')").execute(&world.db.pool).await?;
    assert_eq!(count(&world.db.pool, "select count(*) from only webhook_body_default").await?, 1, "today has its own");
    Ok(())
}

#[tokio::test]
async fn business_time_follows_the_database_and_keeps_what_a_test_has_moved() -> anyhow::Result<()> {
    let (world, measured) = (World::new().await?, Measured::default());
    assert!(!measured.is_known());
    world.advance(std::time::Duration::from_secs(7200));
    let offset = correct_clock::measure(&world.context, &measured).await?;
    assert!(measured.is_known() && offset.abs() < 5.0, "{offset}");
    let ahead = world.now() - chrono::Utc::now();
    assert!((ahead - TimeDelta::hours(2)).abs() < TimeDelta::seconds(5), "{ahead}");
    Ok(())
}
