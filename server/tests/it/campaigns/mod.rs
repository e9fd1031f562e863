//! Campaigns, audiences and schedules on a real Postgres: the small world that their stories share.

mod audiences;
mod conversing;
mod exporting;
mod life;
mod mailing;
mod planning;
mod rates;
mod scheduling;

use domain::fallback::{Step, Success, Target};
use serde_json::Map;
use server::{
    services::{
        Context, audiences as services_audiences,
        audiences::NewAudience,
        campaigns::{
            self, NewCampaign,
            spec::{Definition, LocalTime, Spec},
            verbs,
        },
        triggers::{RowMapping, VariableSource, Way},
        work::Work,
    },
    workers::planner::Planner,
};

use crate::support::World;

/// A world with an SMS channel and a template.
pub async fn world() -> anyhow::Result<World> {
    let world = World::new().await?;
    world.sms_channel("sms-a", "http://127.0.0.1:9").await?;
    world.plan(&["sms-a"], |_, _| {}).await?;
    Ok(world)
}

impl World {
    /// People with phones and zones, the first with the number 1; says their keys.
    pub async fn people(&self, count: i32, zone: &str) -> anyhow::Result<Vec<i64>> {
        let ids = sqlx::query_scalar(
            "with c as (insert into contact (external_id, display_name, time_zone, attributes, created_at, updated_at)
                        select 'p' || x, 'Person ' || x, $2, jsonb_build_object('ward', (x % 10)::text), now(), now()
                          from generate_series((select count(*) from contact) + 1, (select count(*) from contact) + $1) x
                        returning id),
                  n as (select id, '+9198' || lpad(id::text, 8, '0') as phone from c),
                  a as (insert into address (kind, value, created_at) select 'phone', phone, now() from n returning id, value)
             insert into contact_address (contact_id, address_id)
             select n.id, a.id from n join a on a.value = n.phone returning contact_id",
        )
        .bind(count)
        .bind(zone)
        .fetch_all(&self.db.pool)
        .await?;
        Ok(ids)
    }

    /// Writes an audience.
    pub async fn audience(&self, slug: &str, definition: services_audiences::Definition) -> anyhow::Result<()> {
        let mut work = Work::begin(&self.context).await?;
        let new =
            NewAudience { slug: slug.to_owned(), display_name: String::new(), description: String::new(), definition };
        services_audiences::create(&self.context, &mut work, &new).await?;
        Ok(work.commit(&self.context).await?)
    }

    /// An audience of all contacts.
    pub async fn everybody(&self) -> anyhow::Result<()> {
        self.audience("all", services_audiences::Definition::Filter { filter: String::new() }).await
    }

    /// Writes a campaign and starts it.
    pub async fn start(&self, slug: &str, definition: Definition) -> anyhow::Result<()> {
        let mut work = Work::begin(&self.context).await?;
        let new = NewCampaign { slug: slug.to_owned(), display_name: String::new(), definition, start_at: None };
        campaigns::create(&mut work, &new).await?;
        verbs::start(&self.context, &mut work, slug, "").await?;
        Ok(work.commit(&self.context).await?)
    }

    /// Does something to a campaign.
    pub async fn verb(&self, verb: Verb, slug: &str) -> anyhow::Result<()> {
        let mut work = Work::begin(&self.context).await?;
        match verb {
            Verb::Pause => verbs::pause(&mut work, slug, "").await?,
            Verb::Resume => verbs::resume(&mut work, slug, "").await?,
            Verb::Cancel => verbs::cancel(&mut work, slug, "").await?,
        };
        Ok(work.commit(&self.context).await?)
    }

    /// Where a campaign stands.
    pub async fn state(&self, slug: &str) -> anyhow::Result<String> {
        Ok(campaigns::get(&self.context, slug).await?.row.state.to_string())
    }

    /// Notifications, contacts among them, and contacts that the run holds.
    pub async fn planned(&self) -> anyhow::Result<(i64, i64, i64)> {
        Ok(sqlx::query_as(
            "select (select count(*) from notification), (select count(distinct contact_id) from notification),
                    (select count(*) from campaign_contact)",
        )
        .fetch_one(&self.db.pool)
        .await?)
    }
}

/// What someone does to a campaign.
#[derive(Debug, Clone, Copy)]
pub enum Verb {
    Pause,
    Resume,
    Cancel,
}

/// One SMS to an audience, with an hour of wait.
pub fn spec(audience: &str) -> Spec {
    let mut step = Step::to(Target::Channel("sms-a".into()));
    step.template = Some("dam".into());
    step.success = Success::Delivered;
    let plan = Way { step: Some(step), ..Way::default() };
    Spec {
        audience: audience.to_owned(),
        plan,
        variables: Map::new(),
        purpose: String::new(),
        rate_per_second: None,
        rate_per_hour: None,
        budget: None,
        weight: 10,
        window: None,
        valid_for_ms: None,
        at_send: false,
    }
}

pub fn definition(audience: &str) -> Definition {
    Definition { spec: spec(audience), local: None::<LocalTime> }
}

/// Passes of a planner until it has nothing more to do.
pub async fn plan_all(context: &Context) -> anyhow::Result<()> {
    let mut planner = Planner::new(context.clone());
    while planner.pass().await? {}
    Ok(())
}

/// A query over our own database, known as the source `own`.
pub async fn own_source(world: &World) -> anyhow::Result<()> {
    sqlx::query(
        "insert into source (slug, own, capture_schema, created_at, updated_at) values ('own', true, 'x', now(), now())",
    )
    .execute(&world.db.pool)
    .await?;
    Ok(())
}

/// An audience of a query whose column `phone` is the address.
pub fn query(sql: &str, timeout_ms: u64) -> services_audiences::Definition {
    let name = VariableSource { name: "name".into(), from: domain::mapping::Source::Column("name".into()) };
    let mapping = RowMapping {
        addresses: vec![(domain::channel::AddressKind::Phone, "phone".into())],
        default_country: Some("IN".into()),
        variables: vec![name],
        ..RowMapping::default()
    };
    services_audiences::Definition::Sql(services_audiences::Query {
        source: "own".into(),
        query: sql.to_owned(),
        mapping,
        timeout_ms: Some(timeout_ms),
    })
}
