//! Sources and triggers as an administrator meets them: everything that is wrong at once, SQL to review, changes, references.

use proto::v1::{self, source::Connection};

use super::{Office, trigger};
use crate::api::{fields, reason};

#[tokio::test]
async fn everything_that_is_wrong_with_a_trigger_is_said_at_once() -> anyhow::Result<()> {
    let office = Office::open().await?;
    let wrong = |w: &mut v1::TableWatch| {
        w.condition = "NEW.colour = 'red'".into();
        w.dedup_columns = vec!["shoe_size".into()];
        let mapping = w.mapping.get_or_insert_default();
        mapping.addresses[0].column = "telephone".into();
        mapping.variables.pop();
        w.plan.get_or_insert_default().template = "templates/nowhere".into();
    };
    let status = office.watch("received", wrong).await.unwrap_err();
    let found = fields(&status);
    for field in ["condition", "dedup_columns[0]", "mapping.addresses[0].column", "mapping.variables"] {
        let path = format!("trigger.table_watch.{field}");
        assert!(found.contains(&path), "{path} is not in {found:?}");
    }
    assert_eq!(office.here("select count(*) from trigger").await?, 0);
    assert_eq!(office.there("select count(*) from pg_trigger where not tgisinternal").await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_missing_policy_source_or_table_is_named() -> anyhow::Result<()> {
    let office = Office::open().await?;
    let status = office
        .watch("received", |w| {
            w.plan = Some(v1::Plan { way: Some(v1::plan::Way::Policy("policies/none".into())), ..Default::default() })
        })
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "REFERENCE_NOT_FOUND");
    let status = office.watch("received", |w| w.source = "sources/none".into()).await.unwrap_err();
    assert_eq!(reason(&status), "REFERENCE_NOT_FOUND");
    let status = office.watch("received", |w| w.table = "complaint".into()).await.unwrap_err();
    assert_eq!(reason(&status), "COLUMN_UNKNOWN");
    Ok(())
}

#[tokio::test]
async fn a_trigger_that_is_only_validated_leaves_nothing() -> anyhow::Result<()> {
    let office = Office::open().await?;
    office.create("received", |_| {}, true).await?;
    assert_eq!(office.here("select count(*) from trigger").await?, 0);
    assert_eq!(office.there("select count(*) from pg_namespace where nspname like 'switchboard%'").await?, 0);
    Ok(())
}

#[tokio::test]
async fn the_sql_that_is_shown_is_the_sql_that_is_run() -> anyhow::Result<()> {
    let office = Office::open().await?;
    office.watch("received", |_| {}).await?;
    let request = v1::GetTriggerSqlRequest {
        source: Some(v1::get_trigger_sql_request::Source::Name("triggers/received".into())),
    };
    let sql = office.triggers().get_trigger_sql(request).await?.into_inner();
    office.sql(&sql.uninstall_sql).await?;
    assert_eq!(office.there("select count(*) from pg_trigger where not tgisinternal").await?, 0);
    office.sql(&sql.install_sql).await?;
    assert_eq!(office.there("select count(*) from pg_trigger where not tgisinternal").await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_changed_trigger_maps_by_its_new_definition_and_keeps_its_table() -> anyhow::Result<()> {
    let office = Office::open().await?;
    let created = office.watch("received", |_| {}).await?;
    let given = trigger(|w| w.condition = "NEW.status = 'urgent'".into());
    let update = v1::UpdateTriggerRequest {
        trigger: Some(v1::Trigger { name: created.name.clone(), etag: created.etag, ..given }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["table_watch.condition".into()] }),
        ..Default::default()
    };
    let changed = office.triggers().update_trigger(update.clone()).await?.into_inner();
    assert_ne!(changed.etag, update.trigger.as_ref().map(|t| t.etag.clone()).unwrap_or_default());
    let _listening = office.start();
    office.sql("insert into grievance (name, mobile, status) values ('A', '9812345678', 'open'), ('B', '9812345679', 'urgent')").await?;
    office.until("select count(*) from notification", 1).await?;
    assert_eq!(office.here("select count(*) from contact where display_name = 'B'").await?, 1);
    let stale = office.triggers().update_trigger(update).await.unwrap_err();
    assert_eq!(reason(&stale), "ETAG_MISMATCH");
    let mut other = trigger(|w| w.table = "other".into());
    other.name = created.name;
    let moved = v1::UpdateTriggerRequest { trigger: Some(other), ..Default::default() };
    assert_eq!(reason(&office.triggers().update_trigger(moved).await.unwrap_err()), "FIELD_INVALID");
    Ok(())
}

#[tokio::test]
async fn a_source_is_checked_and_not_deleted_while_it_is_used() -> anyhow::Result<()> {
    let office = Office::open().await?;
    office.watch("received", |_| {}).await?;
    let check =
        office.triggers().check_source(v1::CheckSourceRequest { name: "sources/office".into() }).await?.into_inner();
    assert!(check.ok && check.server_version.starts_with("1") && check.latency.is_some(), "{check:?}");
    let delete = v1::DeleteSourceRequest { name: "sources/office".into(), ..Default::default() };
    assert_eq!(reason(&office.triggers().delete_source(delete.clone()).await.unwrap_err()), "IN_USE");
    let trigger = v1::DeleteTriggerRequest { name: "triggers/received".into(), ..Default::default() };
    office.triggers().delete_trigger(trigger).await?;
    office.triggers().delete_source(delete).await?;
    Ok(())
}

#[tokio::test]
async fn a_source_that_cannot_be_reached_is_refused_without_its_password() -> anyhow::Result<()> {
    let office = Office::open().await?;
    let create = |connection| v1::CreateSourceRequest {
        source_id: "away".into(),
        source: Some(v1::Source { connection: Some(connection), ..Default::default() }),
        ..Default::default()
    };
    let unset = create(Connection::UrlEnv("SWITCHBOARD_TEST_NEVER_SET".into()));
    assert_eq!(reason(&office.triggers().create_source(unset).await.unwrap_err()), "SECRET_MISSING");
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), "postgres://app:hush@127.0.0.1:9/none")?;
    let away = create(Connection::UrlFile(file.path().display().to_string()));
    let status = office.triggers().create_source(away).await.unwrap_err();
    assert_eq!((reason(&status).as_str(), status.code()), ("SOURCE_UNAVAILABLE", tonic::Code::Unavailable));
    assert!(!format!("{status:?}").contains("hush"));
    Ok(())
}

/// Every Monday at nine in Pune, to an audience that exists.
async fn weekly(office: &Office) -> anyhow::Result<v1::Schedule> {
    let audience = "insert into audience (slug, kind, definition, created_at, updated_at) values ('all', 'list', '{}', now(), now())";
    sqlx::query(audience).execute(&office.api.world.db.pool).await?;
    let plan = v1::Plan { way: Some(v1::plan::Way::Policy("policies/inform".into())), ..Default::default() };
    let campaign = v1::CampaignSpec { audience: "audiences/all".into(), plan: Some(plan), ..Default::default() };
    Ok(v1::Schedule {
        when: Some(v1::schedule::When::Cron("0 0 9 * * MON".into())),
        time_zone: "Asia/Kolkata".into(),
        campaign: Some(campaign),
        ..Default::default()
    })
}

#[tokio::test]
async fn a_schedule_is_a_trigger_like_a_table() -> anyhow::Result<()> {
    let office = Office::open().await?;
    let schedule = weekly(&office).await?;
    let given = v1::Trigger { kind: Some(v1::trigger::Kind::Schedule(schedule.clone())), ..Default::default() };
    let create = v1::CreateTriggerRequest { trigger_id: "weekly".into(), trigger: Some(given), ..Default::default() };
    let created = office.triggers().create_trigger(create).await?.into_inner();
    let Some(v1::trigger::Kind::Schedule(shown)) = created.kind.clone() else { panic!("{created:?}") };
    assert!(shown.next_fire_time.is_some() && shown.when == schedule.when, "{shown:?}");
    let name = || "triggers/weekly".to_owned();
    let off = v1::DisableTriggerRequest { name: name(), etag: created.etag, ..Default::default() };
    assert_eq!(office.triggers().disable_trigger(off).await?.into_inner().state(), v1::trigger::State::Disabled);
    let sql = v1::GetTriggerSqlRequest { source: Some(v1::get_trigger_sql_request::Source::Name(name())) };
    assert_eq!(reason(&office.triggers().get_trigger_sql(sql).await.unwrap_err()), "STATE_WRONG");
    let mut table = trigger(|_| {});
    table.name = name();
    let other = v1::UpdateTriggerRequest { trigger: Some(table), ..Default::default() };
    assert_eq!(fields(&office.triggers().update_trigger(other).await.unwrap_err()), ["trigger"]);
    let fire = v1::FireTriggerRequest { name: name(), ..Default::default() };
    assert_eq!(reason(&office.triggers().fire_trigger(fire.clone()).await.unwrap_err()), "STATE_WRONG");
    office.triggers().enable_trigger(v1::EnableTriggerRequest { name: name(), ..Default::default() }).await?;
    let fired = office.triggers().fire_trigger(fire).await?.into_inner();
    assert!(fired.firings[0].target.starts_with("campaigns/") && fired.firings[0].nominal_time.is_some(), "{fired:?}");
    let delete = v1::DeleteTriggerRequest { name: name(), ..Default::default() };
    office.triggers().delete_trigger(delete).await?;
    assert_eq!(office.here("select count(*) from trigger where deleted_at is null").await?, 0);
    Ok(())
}

#[tokio::test]
async fn the_next_fire_times_are_shown_before_a_schedule_is_stored() -> anyhow::Result<()> {
    let office = Office::open().await?;
    let preview = |schedule: v1::Schedule, seconds: i64| v1::PreviewScheduleRequest {
        source: Some(v1::preview_schedule_request::Source::Schedule(schedule)),
        from_time: Some(prost_types::Timestamp { seconds, nanos: 0 }),
        count: 2,
    };
    let given = weekly(&office).await?;
    // 2026-11-20T00:00:00Z
    let shown = office.triggers().preview_schedule(preview(given.clone(), 1_795_132_800)).await?.into_inner();
    let times: Vec<&str> = shown.fire_times.iter().map(|time| time.local_time.as_str()).collect();
    assert_eq!(times, ["2026-11-23T09:00:00+05:30", "2026-11-30T09:00:00+05:30"]);
    let everywhere = v1::Schedule { each_recipient_zone: true, ..given.clone() };
    let shown = office.triggers().preview_schedule(preview(everywhere, 1_795_132_800)).await?.into_inner();
    assert_eq!(shown.fire_times[0].local_time, "2026-11-23T09:00:00+14:00");
    let never = v1::Schedule { when: Some(v1::schedule::When::Cron("0 0 9 31 2 *".into())), ..given };
    let status = office.triggers().preview_schedule(preview(never, 1_795_132_800)).await.unwrap_err();
    assert_eq!(reason(&status), "CRON_INVALID");
    Ok(())
}
