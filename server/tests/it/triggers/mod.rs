//! Watched tables over the real API: a row in another database becomes a notification, once, whatever happens on the way.

mod captures;
mod faults;
mod firing;
mod large;
mod lifecycle;

use std::time::Duration;

use anyhow::{Context as _, bail};
use domain::fallback::Policy;
use proto::v1::{self, trigger_service_client::TriggerServiceClient};
use server::{
    services::Context,
    workers::{captures as captures_worker, firings as firings_worker},
};
use sqlx::AssertSqlSafe;
use testkit::instances::{Postgres, TestDatabase};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::{Status, transport::Channel};

use crate::api::Api;

/// How long a story waits for something before it fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A Switchboard and a database of grievances that it does not own.
pub struct Office {
    pub api: Api,
    pub source: TestDatabase,
    _url: tempfile::NamedTempFile,
}

impl Office {
    /// An SMS channel, a template with a required variable, a policy, a table, and a source that leads to it.
    pub async fn open() -> anyhow::Result<Self> {
        let api = Api::start().await?;
        let source = Postgres::shared().await?.empty_database().await?;
        let url = tempfile::NamedTempFile::new()?;
        std::fs::write(url.path(), &source.url)?;
        let path = url.path().display().to_string();
        let office = Self { api, source, _url: url };
        office
            .sql(
                "create table grievance (id bigint generated always as identity primary key, citizen text, name text,
                   mobile text, mail text, status text not null default 'open')",
            )
            .await?;
        office.world().await?;
        let given = v1::Source { connection: Some(v1::source::Connection::UrlFile(path)), ..Default::default() };
        let request = v1::CreateSourceRequest { source_id: "office".into(), source: Some(given), ..Default::default() };
        office.triggers().create_source(request).await?;
        Ok(office)
    }

    async fn world(&self) -> anyhow::Result<()> {
        self.api.world.sms_channel("sms-main", "http://127.0.0.1:9").await?;
        let template = serde_json::json!({"version": {"default_language": "en",
            "variables": [{"name": "name", "required": true}, {"name": "number", "required": true}],
            "contents": [{"channel_type": "SMS", "language": "en",
                "body": {"type": "text", "text": "Dear {{ name }}, we have your grievance {{ number }}."}}]}});
        let mut step = domain::fallback::Step::to(domain::fallback::Target::Channel("sms-main".into()));
        step.template = Some("received".into());
        let policy = Policy { steps: vec![step], at_least_once: false, purpose: "service".into() };
        let policy = server::services::policies::Definition::from(policy);
        sqlx::query(
            "with t as (insert into template (slug, latest, created_at, updated_at) values ('received', 1, now(), now())
                        returning id),
                  v as (insert into template_version (template_id, number, definition, created_at)
                        select id, 1, $1, now() from t),
                  p as (insert into policy (slug, latest, created_at, updated_at) values ('inform', 1, now(), now())
                        returning id)
             insert into policy_version (policy_id, number, definition, created_at) select id, 1, $2, now() from p",
        )
        .bind(template)
        .bind(serde_json::to_value(policy)?)
        .execute(&self.api.world.db.pool)
        .await?;
        Ok(())
    }

    pub fn triggers(&self) -> TriggerServiceClient<Channel> {
        TriggerServiceClient::new(self.api.channel.clone())
    }

    pub fn context(&self) -> &Context {
        &self.api.world.context
    }

    /// Runs SQL in the office's own database.
    pub async fn sql(&self, sql: &str) -> anyhow::Result<()> {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&self.source.pool).await.context(sql.to_owned())?;
        Ok(())
    }

    /// A number out of the office's own database.
    pub async fn there(&self, sql: &str) -> anyhow::Result<i64> {
        Ok(sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&self.source.pool).await?)
    }

    /// A number out of Switchboard's database.
    pub async fn here(&self, sql: &str) -> anyhow::Result<i64> {
        Ok(sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&self.api.world.db.pool).await?)
    }

    /// Waits until a query in Switchboard's database says `wanted`.
    pub async fn until(&self, sql: &str, wanted: i64) -> anyhow::Result<()> {
        let begun = tokio::time::Instant::now();
        loop {
            let found = self.here(sql).await?;
            if found == wanted {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                let listed: Vec<String> = sqlx::query_scalar(
                    "select state::text || ' ' || coalesce(reason, '') || ' ' || reasons from firing limit 5",
                )
                .fetch_all(&self.api.world.db.pool)
                .await?;
                bail!("{sql} is {found}, not {wanted}; firings: {listed:?}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Watches the table of grievances for inserts.
    pub async fn watch(&self, slug: &str, change: impl FnOnce(&mut v1::TableWatch)) -> Result<v1::Trigger, Status> {
        self.create(slug, change, false).await
    }

    pub async fn create(
        &self,
        slug: &str,
        change: impl FnOnce(&mut v1::TableWatch),
        validate_only: bool,
    ) -> Result<v1::Trigger, Status> {
        let request = v1::CreateTriggerRequest {
            trigger_id: slug.into(),
            trigger: Some(trigger(change)),
            validate_only,
            ..Default::default()
        };
        Ok(self.triggers().create_trigger(request).await?.into_inner())
    }

    /// The firings of a trigger, the newest first.
    pub async fn firings(&self, slug: &str) -> anyhow::Result<Vec<v1::Firing>> {
        let request = v1::ListFiringsRequest { parent: format!("triggers/{slug}"), ..Default::default() };
        Ok(self.triggers().list_firings(request).await?.into_inner().firings)
    }

    pub fn start(&self) -> Listening {
        Listening::start(self.context())
    }
}

/// The watch of grievances by which citizens are told that theirs was received.
pub fn trigger(change: impl FnOnce(&mut v1::TableWatch)) -> v1::Trigger {
    use v1::variable_mapping::From;
    let variable = |name: &str, from| v1::VariableMapping { name: name.into(), from: Some(from) };
    let phone = v1::AddressMapping { kind: v1::AddressKind::Phone.into(), column: "mobile".into() };
    let mut watch = v1::TableWatch {
        source: "sources/office".into(),
        table: "grievance".into(),
        operations: vec![v1::table_watch::Operation::Insert.into()],
        mapping: Some(v1::Mapping {
            display_name_column: "name".into(),
            addresses: vec![phone],
            default_country: "IN".into(),
            variables: vec![
                variable("name", From::Column("name".into())),
                variable("number", From::Expression("'GR-' ~ row.id".into())),
            ],
            ..Default::default()
        }),
        plan: Some(v1::Plan { way: Some(v1::plan::Way::Policy("policies/inform".into())), ..Default::default() }),
        ..Default::default()
    };
    change(&mut watch);
    v1::Trigger { kind: Some(v1::trigger::Kind::TableWatch(watch)), ..Default::default() }
}

/// The workers of the role `trigger`.
pub struct Listening {
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Listening {
    pub fn start(context: &Context) -> Self {
        let stop = CancellationToken::new();
        let tasks = vec![
            tokio::spawn(captures_worker::run(context.clone(), stop.clone())),
            tokio::spawn(firings_worker::run(context.clone(), stop.clone())),
        ];
        Self { stop, tasks }
    }

    /// Stops in order.
    pub async fn stop(mut self) {
        self.stop.cancel();
        for task in std::mem::take(&mut self.tasks) {
            task.await.expect("a worker that ends in order");
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
