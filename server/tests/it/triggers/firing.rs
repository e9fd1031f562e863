//! From a row to a notification, and from a row that cannot be mapped to one that could.

use proto::v1::{self, firing};

use super::Office;
use crate::api::reason;

#[tokio::test]
async fn a_row_in_another_database_becomes_a_notification_of_its_person() -> anyhow::Result<()> {
    let office = Office::open().await?;
    office.watch("received", |_| {}).await?;
    let _listening = office.start();
    office.sql("insert into grievance (name, mobile) values ('Asha', '98123 45678')").await?;
    office.until("select count(*) from firing where state = 'fired'", 1).await?;
    let told = office
        .here(
            "select count(*) from notification n join contact c on c.id = n.contact_id
               join contact_address l on l.contact_id = c.id join address a on a.id = l.address_id
              where a.value = '+919812345678' and c.display_name = 'Asha' and n.lane = 'interactive'
                and n.variables = '{\"name\": \"Asha\", \"number\": \"GR-1\"}' and n.trigger_id is not null
                and n.purpose = 'service' and n.valid_until > now()",
        )
        .await?;
    assert_eq!(told, 1);
    let fired = office.firings("received").await?.remove(0);
    assert_eq!((fired.state(), fired.operation()), (firing::State::Fired, v1::table_watch::Operation::Insert));
    assert!(fired.target.starts_with("notifications/"));
    assert_eq!(office.here("select count(*) from event_out where kind = 'trigger' and type = 'fired'").await?, 1);
    let seen = office.triggers().get_trigger(v1::GetTriggerRequest { name: "triggers/received".into() }).await?;
    assert_eq!(seen.into_inner().firings, [v1::FiringStateCount { state: firing::State::Fired.into(), count: 1 }]);
    Ok(())
}

#[tokio::test]
async fn a_row_of_our_own_database_fires_too() -> anyhow::Result<()> {
    let office = Office::open().await?;
    let own = v1::Source { connection: Some(v1::source::Connection::OwnDatabase(true)), ..Default::default() };
    let request = v1::CreateSourceRequest { source_id: "own".into(), source: Some(own), ..Default::default() };
    office.triggers().create_source(request).await?;
    let pool = &office.api.world.db.pool;
    sqlx::raw_sql("create schema app; create table app.person (id int primary key, name text, mobile text)")
        .execute(pool)
        .await?;
    let here = |w: &mut v1::TableWatch| {
        (w.source, w.schema, w.table) = ("sources/own".into(), "app".into(), "person".into());
    };
    office.watch("here", here).await?;
    let _listening = office.start();
    sqlx::query("insert into app.person values (1, 'Asha', '9812345678')").execute(pool).await?;
    office.until("select count(*) from notification", 1).await
}

#[tokio::test]
async fn an_invalid_phone_is_unmappable_and_fires_after_its_correction() -> anyhow::Result<()> {
    let office = Office::open().await?;
    office.watch("received", |_| {}).await?;
    let _listening = office.start();
    office.sql("insert into grievance (name, mobile) values ('Asha', '98123'), (null, '9812345679')").await?;
    office.until("select count(*) from firing where state = 'unmappable'", 2).await?;
    let firings = office.firings("received").await?;
    let (nameless, short) = (&firings[0], &firings[1]);
    assert_eq!((nameless.reason(), nameless.field.as_str()), (firing::Reason::VariableMissing, "name"));
    assert_eq!((short.reason(), short.field.as_str()), (firing::Reason::AddressInvalid, "mobile"));
    assert!(short.description.contains("too short") && !short.description.contains("98123"), "{}", short.description);

    office.sql("update grievance set mobile = '9812345678' where name = 'Asha'").await?;
    let replay = v1::ReplayFiringRequest { name: short.name.clone(), reread_row: false, ..Default::default() };
    let again = office.triggers().replay_firing(replay.clone()).await?.into_inner();
    office.until("select count(*) from firing where state = 'unmappable'", 3).await?;
    let corrected = v1::ReplayFiringRequest { reread_row: true, ..replay };
    office.triggers().replay_firing(corrected.clone()).await?;
    office.until("select count(*) from firing where state = 'fired' and replay_of is not null", 1).await?;
    assert_eq!(office.here("select count(*) from notification").await?, 1);
    assert!(again.manual);
    let first = office.triggers().get_firing(v1::GetFiringRequest { name: short.name.clone() }).await?.into_inner();
    assert_eq!((first.state(), first.replay_count), (firing::State::Unmappable, 2));

    office.sql("delete from grievance").await?;
    let gone = office.triggers().replay_firing(corrected).await.unwrap_err();
    assert_eq!(reason(&gone), "STATE_WRONG");
    Ok(())
}

#[tokio::test]
async fn rows_with_the_same_key_are_one_notification_within_the_window() -> anyhow::Result<()> {
    let office = Office::open().await?;
    let by_person = |w: &mut v1::TableWatch| {
        w.dedup_columns = vec!["citizen".into()];
        w.dedup_window = Some(prost_types::Duration { seconds: 3600, nanos: 0 });
    };
    office.watch("received", by_person).await?;
    let _listening = office.start();
    let row = |citizen: &str| {
        format!("insert into grievance (citizen, name, mobile) values ('{citizen}', 'A', '9812345678')")
    };
    office.sql(&format!("{0}; {0}; {1}", row("c1"), row("c2"))).await?;
    office.until("select count(*) from firing where state <> 'pending'", 3).await?;
    office.sql(&row("c1")).await?;
    office.until("select count(*) from firing where reason = 'DUPLICATE'", 2).await?;
    office.until("select count(*) from notification", 2).await?;
    sqlx::query("update firing_key set at = at - interval '2 hours'").execute(&office.api.world.db.pool).await?;
    office.sql(&row("c1")).await?;
    office.until("select count(*) from notification", 3).await
}

#[tokio::test]
async fn rows_are_fired_by_hand_where_they_meet_a_condition() -> anyhow::Result<()> {
    let office = Office::open().await?;
    office
        .sql("insert into grievance (name, mobile) select 'A', '981234567' || n from generate_series(1, 3) n")
        .await?;
    office.watch("received", |_| {}).await?;
    let fire = |condition: &str, limit: i32| v1::FireTriggerRequest {
        name: "triggers/received".into(),
        row_condition: condition.into(),
        limit,
        ..Default::default()
    };
    let many = office.triggers().fire_trigger(fire("id > 0", 2)).await.unwrap_err();
    assert_eq!(crate::api::fields(&many), ["row_condition"]);
    let wrong = office.triggers().fire_trigger(fire("no_such = 1", 2)).await.unwrap_err();
    assert_eq!(
        (reason(&wrong).as_str(), crate::api::fields(&wrong)),
        ("SQL_INVALID", vec!["row_condition".to_owned()])
    );
    let fired = office.triggers().fire_trigger(fire("id > 1", 10)).await?.into_inner();
    assert_eq!((fired.firing_count, fired.firings.len(), fired.firings[0].manual), (2, 2, true));
    let _listening = office.start();
    office.until("select count(*) from notification", 2).await
}

#[tokio::test]
async fn a_dry_run_shows_what_would_happen_and_leaves_nothing() -> anyhow::Result<()> {
    let office = Office::open().await?;
    office.sql("insert into grievance (name, mobile, status) values ('Asha', '9812345678', 'open'), ('B', '12', 'open'), ('C', '9812345670', 'done')").await?;
    let source =
        v1::dry_run_trigger_request::Source::Trigger(super::trigger(|w| w.condition = "NEW.status = 'open'".into()));
    let request = v1::DryRunTriggerRequest { source: Some(source), ..Default::default() };
    let run = office.triggers().dry_run_trigger(request).await?.into_inner();
    assert_eq!((run.mapped_count, run.unmappable_count, run.filtered_count, run.problems.len()), (1, 1, 1, 0));
    let first = &run.results[0];
    let person = first.person.clone().unwrap_or_default();
    assert_eq!((person.addresses[0].value.as_str(), person.contact.as_str()), ("+91********78", ""));
    assert_eq!(
        (first.channel_type(), first.plain_text.as_str()),
        (v1::ChannelType::Sms, "Dear Asha, we have your grievance GR-1.")
    );
    assert_eq!(run.results[1].reason(), firing::Reason::AddressInvalid);
    assert_eq!(office.here("select (select count(*) from contact) + (select count(*) from notification) + (select count(*) from trigger)").await?, 0);
    assert_eq!(office.there("select count(*) from pg_trigger where not tgisinternal").await?, 0);
    Ok(())
}
