//! The world that the cases measure in: a context on a database as a process has it, a channel, people by the thousand, a plan.
//!
//! Made with plain SQL, because making it is not measured. What is measured is never done here.

mod at_once;
mod campaigns;
mod people;
mod web;
mod workers;

use std::{sync::Arc, time::Duration};

use domain::{
    channel::Lane,
    consent::{Confirmations, Words},
    fallback::{Policy, Step, Success, Target},
};
use server::{
    channels::settings::SecretSource,
    clock::Clock,
    services::{
        Context, Settings,
        directory::Directory,
        notifications::{self, NewNotification},
        plans::{PinnedPlan, Plans, Request},
    },
    storage::{Db, db::Planner},
    wake::Wake,
};
use sqlx::{PgPool, postgres::PgPoolOptions};
use testkit::instances::TestDatabase;
use uuid::Uuid;

pub use at_once::{KIND as AT_ONCE, Taken, taken};
pub use web::{WebServer, gateway};
pub use workers::Workers;

/// Secrets of providers that are none: every variable holds `secret`.
struct Secrets;

impl SecretSource for Secrets {
    fn variable(&self, _name: &str) -> Option<String> {
        Some("secret".into())
    }

    fn file(&self, _path: &str) -> std::io::Result<String> {
        Ok("secret".into())
    }
}

/// A database with our schema, and a context on it as `switchboard all` makes one.
pub struct World {
    /// What the use cases stand on.
    pub context: Context,
    /// Connections of the measurement's own.
    pub pool: PgPool,
    /// The database; dropped with this value.
    pub db: TestDatabase,
}

impl World {
    /// A world on a fresh database.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn on(db: TestDatabase) -> anyhow::Result<Self> {
        let pool =
            PgPoolOptions::new().max_connections(40).acquire_timeout(Duration::from_secs(30)).connect(&db.url).await?;
        Ok(Self { context: context(&db.url)?, pool, db })
    }

    /// Runs SQL that makes or clears something.
    ///
    /// # Errors
    /// What Postgres says.
    pub async fn sql(&self, sql: &'static str) -> anyhow::Result<()> {
        sqlx::raw_sql(sql).execute(&self.pool).await?;
        Ok(())
    }

    /// One number of the database.
    ///
    /// # Errors
    /// What Postgres says.
    pub async fn count(&self, sql: &'static str) -> anyhow::Result<i64> {
        Ok(sqlx::query_scalar(sql).fetch_one(&self.pool).await?)
    }

    /// A channel of short messages over one provider. Says its key.
    ///
    /// # Errors
    /// What Postgres says.
    pub async fn channel(&self, slug: &str, connector: &str, settings: serde_json::Value) -> anyhow::Result<i32> {
        let id = sqlx::query_scalar(
            "with c as (insert into channel (slug, channel_type, service_identifier, created_at, updated_at)
                        values ($1, 'SMS', '+15550001111', now(), now()) returning id)
             insert into channel_provider (channel_id, name, position, connector, settings)
             select id, 'main', 0, $2, $3 from c returning channel_id",
        );
        let id = id.bind(slug).bind(connector).bind(settings).fetch_one(&self.pool).await?;
        self.context.directory.invalidate();
        Ok(id)
    }

    /// A channel whose provider lives in this process and answers at once.
    ///
    /// # Errors
    /// What Postgres says.
    pub async fn channel_at_once(&self, slug: &str) -> anyhow::Result<i32> {
        self.channel(slug, AT_ONCE.name, serde_json::json!({})).await
    }

    /// A plan of these channels, one step each; `change` may change each step.
    ///
    /// # Errors
    /// What storage says.
    pub async fn plan(&self, channels: &[&str], change: impl Fn(usize, &mut Step)) -> anyhow::Result<Arc<PinnedPlan>> {
        let template = serde_json::json!({"version": {"default_language": "en", "variables": [{"name": "number"}], "contents": [
            {"channel_type": "SMS", "language": "en",
             "body": {"type": "text", "text": "Your grievance {{ number }} was received. We will answer within a week."}}]}});
        sqlx::query(
            "with t as (insert into template (slug, latest, created_at, updated_at) values ('received', 1, now(), now())
                        on conflict do nothing returning id)
             insert into template_version (template_id, number, definition, created_at) select id, 1, $1, now() from t",
        )
        .bind(template)
        .execute(&self.pool)
        .await?;
        let steps = channels.iter().enumerate().map(|(index, slug)| {
            let mut step = Step::to(Target::Channel((*slug).to_owned()));
            step.template = Some("received".into());
            step.success = Success::Delivered;
            change(index, &mut step);
            step
        });
        let policy = Policy { steps: steps.collect(), at_least_once: false, purpose: "service".into() };
        let mut conn = self.context.db.conn().await?;
        let id = self.context.plans.pin(&mut conn, Request::of(policy.into(), None), self.context.clock.now()).await?;
        Ok(self.context.plans.load(&mut conn, id).await?)
    }

    /// Begins a notification for each contact, a page of a thousand in a transaction, as a campaign does. Says their ids.
    ///
    /// # Errors
    /// What storage says.
    pub async fn begin(&self, plan: &Arc<PinnedPlan>, contacts: &[i64], lane: Lane) -> anyhow::Result<Vec<Uuid>> {
        let (mut ids, mut all) = (Vec::with_capacity(contacts.len()), Vec::with_capacity(contacts.len()));
        for page in contacts.chunks(1000) {
            let items: Vec<NewNotification> = page.iter().map(|contact| item(plan, *contact, lane)).collect();
            let mut tx = self.context.db.begin().await?;
            all.extend(notifications::begin(&self.context, &mut tx, &items).await?);
            tx.commit().await?;
            ids.extend(items.into_iter().map(|item| item.id));
        }
        notifications::wake_begun(&self.context, &all);
        Ok(ids)
    }
}

fn item(plan: &Arc<PinnedPlan>, contact_id: i64, lane: Lane) -> NewNotification {
    NewNotification {
        id: Uuid::now_v7(),
        contact_id,
        plan: Arc::clone(plan),
        campaign_id: None,
        trigger_id: None,
        weight: 1,
        lane,
        purpose: String::new(),
        variables: serde_json::json!({"number": format!("GR-{contact_id}")}),
        valid_until: None,
        deliver_after: None,
    }
}

/// A context on the database at `url`, with as many connections as the shipped settings give it.
///
/// # Errors
/// When the URL cannot be read.
pub fn context(url: &str) -> anyhow::Result<Context> {
    let settings = Settings {
        public_url: "http://127.0.0.1:9".into(),
        time_zone: chrono_tz::UTC,
        default_country: Some("IN".into()),
        quiet_hours: Vec::new(),
        words: Words::shipped(),
        confirmations: Confirmations::shipped(),
        idle_close: None,
        archive: server::services::archive::Settings::default(),
        unsubscribe_key: server::services::unsubscribe::Key::new([7; 32]),
        events: server::services::events::Settings::default(),
        media: server::services::messages::media::Rules { max_bytes: 1_000_000, allowed_types: vec!["image/*".into()] },
    };
    Ok(Context {
        db: Db::open(url, 8, Planner::Hot)?,
        lists: Db::open(url, 8, Planner::Free)?,
        side: Db::open(url, 4, Planner::Free)?,
        clock: Clock::new(),
        wake: Wake::default(),
        settings: Arc::new(settings),
        directory: Directory::finding(Arc::new(Secrets), at_once::find),
        plans: Plans::default(),
        blobs: server::blobs::Blobs::in_memory(),
        typing: server::services::messages::typing::Typing::default(),
    })
}
