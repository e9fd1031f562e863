//! No wait ends while what people and providers say may be hidden from us: nobody takes webhooks, some lie on a disk, or a process
//! that took them has fallen silent.

use std::time::Duration;

use domain::channel::Lane;
use server::{
    storage::{dispatch, queue},
    workers::{fallback, receiving},
};
use uuid::Uuid;

use crate::support::World;

/// A wait of an hour that has begun.
async fn waiting(world: &World) -> anyhow::Result<Uuid> {
    world.sms_channel("sms-a", "http://127.0.0.1:9").await?;
    world.sms_channel("sms-b", "http://127.0.0.1:9").await?;
    let contact = world.contact("+919812345678").await?;
    let plan = world.plan(&["sms-a", "sms-b"], |_, _| {}).await?;
    let notification = world.begin(&plan, &[contact], Lane::Interactive).await?.remove(0);
    let conn = &mut *world.context.db.conn().await?;
    let group = queue::waiting_groups(conn, world.now()).await?.remove(0);
    let chunk = queue::grant(
        conn,
        "SMS",
        group.lane,
        &[queue::Want { send_group_id: group.send_group_id, messages: 1, parts: i64::MAX, micros: i64::MAX }],
        60.0,
    )
    .await?
    .remove(0)
    .chunk;
    let token = Uuid::new_v4();
    let delivery = dispatch::claim(conn, chunk, token, 60.0).await?.remove(0).delivery_id;
    let provider: i32 = sqlx::query_scalar("select min(id) from channel_provider").fetch_one(&world.db.pool).await?;
    dispatch::mark(conn, chunk, token, &[delivery], provider, 60.0, world.now()).await?;
    let ended = server::services::outcomes::Ended {
        delivery_id: delivery,
        attempt: 1,
        token,
        provider_id: provider,
        after_unknown: domain::delivery::AfterUnknown::Nothing,
        sent: server::channels::Sent::Accepted { provider_message_id: "SM1".into() },
    };
    server::services::outcomes::store(&world.context, &[ended]).await?;
    Ok(notification)
}

/// Makes what was said so long ago that many seconds older.
async fn age(world: &World, secs: f64) -> anyhow::Result<()> {
    for sql in [
        "update receiving set seen_at = seen_at - make_interval(secs => $1)",
        "update receiver set told_at = told_at - make_interval(secs => $1)",
    ] {
        sqlx::query(sql).bind(secs).execute(&world.db.pool).await?;
    }
    Ok(())
}

/// Where the notification stands after fallback had its say.
async fn after_fallback(world: &World, notification: Uuid) -> anyhow::Result<String> {
    fallback::pass(&world.context).await?;
    world.stands(notification).await
}

#[tokio::test]
async fn after_an_outage_the_time_that_was_lost_is_given_before_anything_is_decided() -> anyhow::Result<()> {
    let (world, receiver) = (World::new().await?, Uuid::new_v4());
    let notification = waiting(&world).await?;
    receiving::pass(&world.context, receiver, false).await?;
    age(&world, 120.0).await?; // Postgres was away: neither was anything received, nor said
    world.advance(Duration::from_secs(3601));
    assert_eq!(after_fallback(&world, notification).await?, "waiting 0", "fallback comes back first, and holds");
    receiving::pass(&world.context, receiver, false).await?;
    assert_eq!(after_fallback(&world, notification).await?, "waiting 0", "two minutes are given again");
    world.advance(Duration::from_secs(121));
    receiving::pass(&world.context, receiver, false).await?;
    assert_eq!(after_fallback(&world, notification).await?, "waiting 1");
    Ok(())
}

#[tokio::test]
async fn nothing_is_decided_while_any_process_has_webhooks_on_its_disk() -> anyhow::Result<()> {
    let (world, one, other) = (World::new().await?, Uuid::new_v4(), Uuid::new_v4());
    let notification = waiting(&world).await?;
    world.advance(Duration::from_secs(3601));
    receiving::pass(&world.context, one, false).await?;
    receiving::pass(&world.context, other, true).await?;
    assert_eq!(after_fallback(&world, notification).await?, "waiting 0");
    // It is gone, and its disk with it: for how long that holds anything is bounded.
    sqlx::query("update receiver set told_at = told_at - interval '14 min' where id = $1")
        .bind(other)
        .execute(&world.db.pool)
        .await?;
    assert_eq!(after_fallback(&world, notification).await?, "waiting 0");
    receiving::pass(&world.context, other, false).await?;
    assert_eq!(after_fallback(&world, notification).await?, "waiting 1", "its spool is empty");
    Ok(())
}

#[tokio::test]
async fn a_process_that_falls_silent_holds_for_a_minute_and_one_that_takes_its_leave_does_not() -> anyhow::Result<()> {
    let (world, one, other) = (World::new().await?, Uuid::new_v4(), Uuid::new_v4());
    let notification = waiting(&world).await?;
    world.advance(Duration::from_secs(3601));
    for receiver in [one, other] {
        receiving::pass(&world.context, receiver, false).await?;
    }
    age(&world, 30.0).await?;
    receiving::pass(&world.context, one, false).await?; // gives 30 seconds again
    world.advance(Duration::from_secs(31));
    assert_eq!(after_fallback(&world, notification).await?, "waiting 0", "the other is silent");
    server::storage::receiving::leave(&mut *world.context.side.conn().await?, other).await?;
    assert_eq!(after_fallback(&world, notification).await?, "waiting 1");
    Ok(())
}

#[tokio::test]
async fn a_silent_process_is_forgotten_and_what_never_received_holds_nothing() -> anyhow::Result<()> {
    let (world, gone) = (World::new().await?, Uuid::new_v4());
    let notification = waiting(&world).await?;
    let forgotten = waiting_again(&world).await?;
    world.advance(Duration::from_secs(3601));
    assert_eq!(after_fallback(&world, notification).await?, "waiting 1", "nobody ever took webhooks here");
    assert_eq!(world.stands(forgotten).await?, "pending 0");
    server::storage::receiving::tell(&mut *world.context.side.conn().await?, gone, false).await?;
    age(&world, 61.0).await?;
    world.advance(Duration::from_secs(3600));
    assert_eq!(
        after_fallback(&world, forgotten).await?,
        "waiting 0",
        "a minute is all that a silent process can ask for"
    );
    age(&world, 900.0).await?;
    receiving::pass(&world.context, Uuid::new_v4(), false).await?;
    assert_eq!(world.count("select count(*) from receiver").await?, 1);
    Ok(())
}

/// A notification that begins two hours from now.
async fn waiting_again(world: &World) -> anyhow::Result<Uuid> {
    let plan = world.plan(&["sms-a", "sms-b"], |_, _| {}).await?;
    let contact = world.contact("+919812345679").await?;
    let item = server::services::notifications::NewNotification {
        id: Uuid::now_v7(),
        contact_id: contact,
        plan,
        campaign_id: None,
        trigger_id: None,
        weight: 1,
        lane: Lane::Interactive,
        purpose: String::new(),
        variables: serde_json::json!({}),
        valid_until: None,
        deliver_after: Some(world.now() + chrono::TimeDelta::hours(2)),
    };
    let id = item.id;
    let mut tx = world.context.db.begin().await?;
    server::services::notifications::begin(&world.context, &mut tx, &[item]).await?;
    tx.commit().await?;
    Ok(id)
}
