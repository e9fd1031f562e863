//! To whom nothing is sent, how often people are written to, how close messages to one person follow each other, and what
//! providers must be told.

use std::{collections::BTreeSet, time::Duration};

use chrono::TimeDelta;
use domain::{
    caps::Cap,
    channel::{Address, AddressKind, ChannelType, Lane},
    fallback::Success,
    pacing::pair,
};
use server::{
    services::{caps, sending::way, suppressions, work::Work},
    storage::pairs,
};
use simulator::script::{Handset, MessageScript};
use testkit::eventually;

use crate::support::{
    World,
    pipeline::{Workers, simulator},
};

const SOON: Duration = Duration::from_secs(30);

async fn set(world: &World, channel_type: Option<ChannelType>, purpose: &str, messages: i32) -> anyhow::Result<()> {
    let mut work = Work::begin(&world.context).await?;
    let cap = Cap { channel_type, purpose: purpose.into(), messages, period: TimeDelta::days(7) };
    caps::set(&mut work, &cap).await?;
    Ok(work.commit(&world.context).await?)
}

/// Sends something of a purpose to contacts; says where each stands.
async fn send(world: &World, purpose: &str, contacts: &[i64]) -> anyhow::Result<Vec<String>> {
    let plan = world.plan(&["sms-a"], |_, _| {}).await?;
    let items: Vec<_> = contacts
        .iter()
        .map(|contact| server::services::notifications::NewNotification {
            id: uuid::Uuid::now_v7(),
            contact_id: *contact,
            plan: plan.clone(),
            campaign_id: None,
            trigger_id: None,
            weight: 1,
            lane: Lane::Bulk,
            purpose: purpose.into(),
            variables: serde_json::json!({}),
            valid_until: None,
            deliver_after: None,
        })
        .collect();
    let mut tx = world.context.db.begin().await?;
    let begun = server::services::notifications::begin(&world.context, &mut tx, &items).await?;
    tx.commit().await?;
    let word = |b: server::services::notifications::Begun| match b.placed.reason {
        Some(reason) => format!("{} {reason}", b.placed.state),
        None => b.placed.state.to_string(),
    };
    Ok(begun.into_iter().map(word).collect())
}

async fn world() -> anyhow::Result<World> {
    let world = World::new().await?;
    world.sms_channel("sms-a", "http://127.0.0.1:9").await?;
    Ok(world)
}

#[tokio::test]
async fn whoever_had_enough_of_a_purpose_is_skipped_until_the_period_is_over() -> anyhow::Result<()> {
    let world = world().await?;
    set(&world, None, "marketing", 2).await?;
    let (asha, ben) = (world.contact("+919812345671").await?, world.contact("+919812345672").await?);
    assert_eq!(send(&world, "marketing", &[asha]).await?, ["waiting"]);
    assert_eq!(send(&world, "marketing", &[asha, ben]).await?, ["waiting", "waiting"]);
    assert_eq!(send(&world, "marketing", &[asha, ben]).await?, ["skipped FREQUENCY_CAP", "waiting"]);
    assert_eq!(send(&world, "reminder", &[asha]).await?, ["waiting"], "another purpose has its own cap, or none");
    let stored = "select count(*) from notification where reason = 'FREQUENCY_CAP' and state = 'skipped'";
    assert_eq!(world.count(stored).await?, 1);
    world.advance(Duration::from_secs(8 * 86_400));
    assert_eq!(send(&world, "marketing", &[asha]).await?, ["waiting"]);
    Ok(())
}

#[tokio::test]
async fn people_who_share_a_phone_share_its_cap_within_one_page_too() -> anyhow::Result<()> {
    let world = world().await?;
    set(&world, Some(ChannelType::Sms), "marketing", 1).await?;
    let family = [world.contact("+919812345671").await?, world.contact("+919812345671").await?];
    assert_eq!(send(&world, "marketing", &family).await?, ["waiting", "skipped FREQUENCY_CAP"]);
    Ok(())
}

#[tokio::test]
async fn what_a_person_waits_for_is_never_capped_and_counts_against_nothing() -> anyhow::Result<()> {
    let world = world().await?;
    set(&world, None, "*", 1).await?;
    let asha = world.contact("+919812345671").await?;
    for _ in 0..3 {
        assert_eq!(send(&world, "service", &[asha]).await?, ["waiting"]);
        assert_eq!(send(&world, "transactional", &[asha]).await?, ["waiting"]);
    }
    assert_eq!(send(&world, "marketing", &[asha]).await?, ["waiting"]);
    assert_eq!(
        send(&world, "reminder", &[asha]).await?,
        ["skipped FREQUENCY_CAP"],
        "all other purposes count together"
    );
    Ok(())
}

#[tokio::test]
async fn what_failed_or_was_taken_back_counts_against_no_cap() -> anyhow::Result<()> {
    let world = world().await?;
    set(&world, None, "marketing", 1).await?;
    let asha = world.contact("+919812345671").await?;
    assert_eq!(send(&world, "marketing", &[asha]).await?, ["waiting"]);
    sqlx::query("update delivery set work = 'done', evidence = 'failed'").execute(&world.db.pool).await?;
    assert_eq!(send(&world, "marketing", &[asha]).await?, ["waiting"]);
    sqlx::query("update delivery set work = 'cancelled', evidence = 'none'").execute(&world.db.pool).await?;
    assert_eq!(send(&world, "marketing", &[asha]).await?, ["waiting"]);
    assert_eq!(send(&world, "marketing", &[asha]).await?, ["skipped FREQUENCY_CAP"]);
    Ok(())
}

fn phone(value: &str) -> Address {
    Address { kind: AddressKind::Phone, value: value.into() }
}

#[tokio::test]
async fn a_suppressed_address_gets_nothing_until_it_is_taken_off_the_list() -> anyhow::Result<()> {
    let world = world().await?;
    let asha = world.contact("+919812345671").await?;
    let mut work = Work::begin(&world.context).await?;
    let given = ["+919812345671", "+919812345679", "+919812345671"].map(|p| (phone(p), "HARD_BOUNCE".to_owned()));
    assert_eq!(suppressions::add(&mut work, given.clone().into()).await?, 2, "one was named twice, one nobody knew");
    assert_eq!(suppressions::add(&mut work, given.into()).await?, 0);
    work.commit(&world.context).await?;
    assert_eq!(send(&world, "service", &[asha]).await?, ["skipped SUPPRESSED"]);
    let listed = suppressions::list(&world.context, None, 0, 10).await?;
    let shown: Vec<_> =
        listed.iter().map(|s| (s.address.value.as_str(), s.reason.as_str(), s.source.as_str())).collect();
    assert_eq!(shown, [("+919812345671", "HARD_BOUNCE", "API"), ("+919812345679", "HARD_BOUNCE", "API")]);
    let mut work = Work::begin(&world.context).await?;
    assert_eq!(suppressions::remove(&mut work, vec![phone("+919812345671"), phone("+911111111111")]).await?, 1);
    work.commit(&world.context).await?;
    assert_eq!(send(&world, "service", &[asha]).await?, ["waiting"]);
    Ok(())
}

#[tokio::test]
async fn a_number_that_its_provider_does_not_know_is_suppressed_by_itself() -> anyhow::Result<()> {
    let (world, sim) = (World::new().await?, simulator().await?);
    sim.handset("+919812345671", Handset::sms(MessageScript::silent().refuse(21211)))?;
    sim.handset("+919812345672", Handset::sms(MessageScript::silent().refuse(21408)))?;
    world.sms_channel("sms-a", &sim.base_url).await?;
    let contacts = [world.contact("+919812345671").await?, world.contact("+919812345672").await?];
    let plan = world.plan(&["sms-a"], |_, step| step.success = Success::Sent).await?;
    world.begin(&plan, &contacts, Lane::Bulk).await?;
    let _workers = Workers::start(&world.context, None)?;
    eventually(SOON, async || {
        let ended = world.count("select count(*) from notification where state = 'exhausted'").await?;
        anyhow::ensure!(ended == 2, "{ended} of 2 have ended");
        Ok(())
    })
    .await?;
    let listed = suppressions::list(&world.context, None, 0, 10).await?;
    let shown: Vec<_> = listed.iter().map(|s| (s.address.value.as_str(), s.source.as_str())).collect();
    assert_eq!(shown, [("+919812345671", "PROVIDER")], "a country that is not enabled says nothing of the number");
    Ok(())
}

#[tokio::test]
async fn a_second_notification_to_one_person_waits_and_a_conversation_may_borrow() -> anyhow::Result<()> {
    let world = world().await?;
    for n in 1..=3 {
        world.contact(&format!("+91981234567{n}")).await?;
    }
    let conn = &mut *world.context.lists.conn().await?;
    let channel: i32 = sqlx::query_scalar("select id from channel").fetch_one(&mut *conn).await?;
    let notify = pair::headroom(false);
    let first = pairs::admit(conn, channel, &[1, 2], notify).await?;
    assert_eq!((first.now.len(), first.next_at), (2, None));
    let second = pairs::admit(conn, channel, &[1, 2, 3], notify).await?;
    assert_eq!(second.now, [3]);
    let now = server::storage::pace::now(conn).await?;
    let wait = second.next_at.expect("two wait") - now;
    assert!(wait > TimeDelta::seconds(4) && wait <= pair::EVERY, "{wait}");
    for _ in 0..44 {
        assert_eq!(pairs::admit(conn, channel, &[1], pair::headroom(true)).await?.now, [1]);
    }
    assert!(pairs::admit(conn, channel, &[1], pair::headroom(true)).await?.now.is_empty(), "45 are lent, and no more");
    Ok(())
}

#[tokio::test]
async fn a_day_of_a_channel_counts_each_person_once_and_not_those_who_wrote_themselves() -> anyhow::Result<()> {
    let world = world().await?;
    for n in 1..=6 {
        world.contact(&format!("+91981234567{n}")).await?;
    }
    let mut tx = world.context.db.begin().await?;
    let channel: i32 = sqlx::query_scalar("select id from channel").fetch_one(&mut *tx).await?;
    pairs::admit(&mut tx, channel, &[1, 2, 3, 4, 5, 6], pair::headroom(true)).await?;
    assert_eq!(pairs::count(&mut tx, channel, &[1, 2], &[], 3).await?.now, [1, 2]);
    let full = pairs::count(&mut tx, channel, &[1, 3, 4, 5], &[5], 3).await?;
    assert_eq!(full.now, [1, 3, 5], "1 was counted, 3 is the last one, 5 wrote to us");
    assert!(full.next_at.is_some(), "4 waits");
    tx.commit().await?;
    Ok(())
}

/// A WhatsApp channel, two notifications to one person: the second goes six seconds after the first, and nothing fails.
#[tokio::test]
async fn messages_beyond_the_distance_wait_in_their_chunk_and_do_not_fail() -> anyhow::Result<()> {
    let world = world().await?;
    sqlx::raw_sql("update channel set channel_type = 'WHATSAPP'").execute(&world.db.pool).await?;
    world.context.directory.invalidate();
    let snapshot = world.context.directory.snapshot(&world.context.side).await?;
    let channel = snapshot.channels.first().expect("a channel");
    let (asha, ben) = (world.contact("+919812345671").await?, world.contact("+919812345672").await?);
    let addresses: Vec<i64> = sqlx::query_scalar("select address_id from contact_address order by contact_id")
        .fetch_all(&world.db.pool)
        .await?;
    let claimed = |contact: i64, address: i64| server::storage::dispatch::Claimed {
        delivery_id: uuid::Uuid::now_v7(),
        notification_id: Some(uuid::Uuid::from_u128(contact.unsigned_abs().into())),
        step: 0,
        generation: 0,
        channel_id: channel.row.id,
        address_id: address,
        to: phone("+919812345671"),
        purpose: "service".into(),
        content: None,
        plan_id: None,
        variables: serde_json::json!({}),
        locale: String::new(),
        attempts: 0,
        failures: 0,
        throttles: 0,
        last_inbound_at: None,
        valid_until: None,
    };
    let three = [claimed(asha, addresses[0]), claimed(asha, addresses[0]), claimed(ben, addresses[1])];
    let all: Vec<_> = three.iter().collect();
    let (go, wait) = server::services::distances::admit(&world.context, channel, &all).await?;
    let expected: BTreeSet<_> = [three[0].delivery_id, three[2].delivery_id].into();
    assert_eq!(go.into_iter().collect::<BTreeSet<_>>(), expected, "the second one to the same person waits");
    assert!(wait > 5.0 && wait <= 6.0, "{wait}");
    Ok(())
}

#[tokio::test]
async fn a_template_without_what_its_channel_requires_is_refused_by_name() -> anyhow::Result<()> {
    let world = world().await?;
    world.plan(&["sms-a"], |_, _| {}).await?;
    sqlx::query("update channel set required_parameters = '{dlt_entity_id,dlt_template_id}'")
        .execute(&world.db.pool)
        .await?;
    world.context.directory.invalidate();
    let mut step = domain::fallback::Step::to(domain::fallback::Target::Channel("sms-a".into()));
    step.template = Some("dam".into());
    let way = way::Way { step: Some(step), ..way::Way::default() };
    let mut work = Work::begin(&world.context).await?;
    let now = work.now();
    let found = way.pin(&world.context, work.conn(), now).await?.expect_err("parameters are missing");
    let said: Vec<_> = found.iter().map(|v| (v.field.as_str(), v.reason)).collect();
    assert_eq!(said, [("template", "PARAMETER_MISSING"), ("template", "PARAMETER_MISSING")]);
    assert!(found[0].description.contains("dlt_entity_id") && found[1].description.contains("dlt_template_id"));
    drop(work);
    sqlx::raw_sql(
        "update channel set provider_parameters = '{\"dlt_entity_id\": \"1101\"}';
         insert into template_version (template_id, number, definition, created_at)
           select template_id, 2, definition || '{\"provider_parameters\": [{\"dlt_template_id\": \"1107\"}]}', now() from template_version;
         update template set latest = 2",
    )
    .execute(&world.db.pool)
    .await?;
    world.context.directory.invalidate();
    let mut work = Work::begin(&world.context).await?;
    let plan = way.pin(&world.context, work.conn(), now).await?.expect("all is given");
    assert_eq!(plan.parameters_of(0, ChannelType::Sms, "en")["dlt_template_id"], "1107");
    Ok(())
}
