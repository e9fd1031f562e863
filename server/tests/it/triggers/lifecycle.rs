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
