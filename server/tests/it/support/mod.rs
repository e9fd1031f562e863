//! What the stories stand on: a database of their own, a context by hand, and a small world of channels, people and plans.

pub mod at_once;
pub mod counting;
pub mod pipeline;
pub mod source;
pub mod statements;

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
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
    storage::{
        Db,
        db::{MIGRATOR, Planner},
    },
    wake::Wake,
};
use testkit::instances::{Postgres, TestDatabase};
use uuid::Uuid;

/// Secrets of tests: every variable holds `secret`.
struct Secrets;

impl SecretSource for Secrets {
    fn variable(&self, _name: &str) -> Option<String> {
        Some("secret".into())
    }

    fn file(&self, _path: &str) -> std::io::Result<String> {
        Ok("secret".into())
    }
}

/// A database and a context on it.
pub struct World {
    pub context: Context,
    pub db: TestDatabase,
}

/// One notification of the world.
pub struct Begun {
    pub notification: Uuid,
}

impl World {
    pub async fn new() -> anyhow::Result<Self> {
        Self::on(Postgres::shared().await?.database(&MIGRATOR).await?)
    }

    /// A world on a database of a Postgres of the test's own.
    pub fn on(db: TestDatabase) -> anyhow::Result<Self> {
        let context = Self::context(&db.url, Clock::new())?;
        Ok(Self { context, db })
    }

    /// A context on the database at `url`.
    pub fn context(url: &str, clock: Clock) -> anyhow::Result<Context> {
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
            events: server::services::events::Settings { source: "/switchboard".into(), ..Default::default() },
            media: server::services::messages::media::Rules {
                max_bytes: 100_000,
                allowed_types: vec!["image/*".into(), "application/pdf".into()],
            },
        };
        Ok(Context {
            db: Db::open(url, 8, Planner::Hot)?,
            lists: Db::open(url, 4, Planner::Free)?,
            side: Db::open(url, 4, Planner::Free)?,
            clock,
            wake: Wake::default(),
            settings: Arc::new(settings),
            directory: Directory::finding(Arc::new(Secrets), at_once::find),
            plans: Plans::default(),
            blobs: server::blobs::Blobs::in_memory(),
            typing: server::services::messages::typing::Typing::default(),
        })
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.context.clock.now()
    }

    pub fn advance(&self, by: Duration) {
        self.context.clock.advance(by);
    }

    /// An SMS channel over Twilio's API at `base_url`.
    pub async fn sms_channel(&self, slug: &str, base_url: &str) -> anyhow::Result<i32> {
        let settings = serde_json::json!({
            "account_sid": "AC00000000000000000000000000000000", "auth_token_env": "TOKEN", "base_url": base_url,
        });
        let id: i32 = sqlx::query_scalar(
            "with c as (insert into channel (slug, channel_type, service_identifier, created_at, updated_at)
                        values ($1, 'SMS', '+15550001111', now(), now()) returning id)
             insert into channel_provider (channel_id, name, position, connector, settings)
             select id, 'main', 0, 'twilio-sms', $2 from c returning channel_id",
        )
        .bind(slug)
        .bind(settings)
        .fetch_one(&self.db.pool)
        .await?;
        self.context.directory.invalidate();
        Ok(id)
    }

    /// A channel for calls over Twilio's API.
    pub async fn voice_channel(&self, slug: &str, base_url: &str) -> anyhow::Result<i32> {
        let id = self.sms_channel(slug, base_url).await?;
        for sql in [
            "update channel set channel_type = 'VOICE' where id = $1",
            "update channel_provider set connector = 'twilio-voice' where channel_id = $1",
        ] {
            sqlx::query(sql).bind(id).execute(&self.db.pool).await?;
        }
        self.context.directory.invalidate();
        Ok(id)
    }

    pub async fn contact(&self, phone: &str) -> anyhow::Result<i64> {
        let id = sqlx::query_scalar(
            "with c as (insert into contact (display_name, locale, created_at, updated_at) values ('A', 'en', now(), now())
                        returning id),
                  a as (insert into address (kind, value, created_at) values ('phone', $1, now())
                        on conflict (kind, value) do update set value = excluded.value returning id)
             insert into contact_address (contact_id, address_id) select c.id, a.id from c, a returning contact_id",
        )
        .bind(phone)
        .fetch_one(&self.db.pool)
        .await?;
        Ok(id)
    }

    /// A plan whose steps are these channels, each with success DELIVERED and a wait of an hour unless `change` says otherwise.
    pub async fn plan(&self, channels: &[&str], change: impl Fn(usize, &mut Step)) -> anyhow::Result<Arc<PinnedPlan>> {
        let template = serde_json::json!({"version": {"default_language": "en", "variables": [], "contents": [
            {"channel_type": "SMS", "language": "en", "body": {"type": "text", "text": "The dam opens at noon."}},
            {"channel_type": "VOICE", "language": "en", "body": {"type": "voice", "say": "The dam opens at noon.",
             "language": "en-IN", "keys": [{"id": "1", "title": "Understood"}], "repeat": 2}}]}});
        sqlx::query(
            "with t as (insert into template (slug, latest, created_at, updated_at) values ('dam', 1, now(), now())
                        on conflict do nothing returning id)
             insert into template_version (template_id, number, definition, created_at) select id, 1, $1, now() from t",
        )
        .bind(template)
        .execute(&self.db.pool)
        .await?;
        let steps = channels.iter().enumerate().map(|(index, slug)| {
            let mut step = Step::to(Target::Channel((*slug).to_owned()));
            step.template = Some("dam".into());
            step.success = Success::Delivered;
            change(index, &mut step);
            step
        });
        let policy = Policy { steps: steps.collect(), at_least_once: false, purpose: "service".into() };
        let mut conn = self.context.db.conn().await?;
        let id = self.context.plans.pin(&mut conn, Request::of(policy.into(), None), self.now()).await?;
        Ok(self.context.plans.load(&mut conn, id).await?)
    }

    /// A notification for each contact, to be begun.
    pub fn items(&self, plan: &Arc<PinnedPlan>, contacts: &[i64], lane: Lane) -> Vec<NewNotification> {
        let item = |contact: &i64| NewNotification {
            id: Uuid::now_v7(),
            contact_id: *contact,
            plan: Arc::clone(plan),
            campaign_id: None,
            trigger_id: None,
            weight: 1,
            lane,
            purpose: String::new(),
            variables: serde_json::json!({}),
            valid_until: None,
            deliver_after: None,
        };
        contacts.iter().map(item).collect()
    }

    pub async fn begin(&self, plan: &Arc<PinnedPlan>, contacts: &[i64], lane: Lane) -> anyhow::Result<Vec<Uuid>> {
        let items = self.items(plan, contacts, lane);
        let mut tx = self.context.db.begin().await?;
        notifications::begin(&self.context, &mut tx, &items).await?;
        tx.commit().await?;
        Ok(items.into_iter().map(|item| item.id).collect())
    }

    /// Two SMS channels, one person, a policy from one to the other.
    pub async fn two_steps(&self) -> anyhow::Result<Begun> {
        self.sms_channel("sms-a", "http://127.0.0.1:9").await?;
        self.sms_channel("sms-b", "http://127.0.0.1:9").await?;
        let contact = self.contact("+919812345678").await?;
        let plan = self.plan(&["sms-a", "sms-b"], |_, _| {}).await?;
        let notification = self.begin(&plan, &[contact], Lane::Interactive).await?.remove(0);
        Ok(Begun { notification })
    }

    /// One value of the database, as text.
    pub async fn one(&self, sql: &'static str, id: Uuid) -> anyhow::Result<Option<String>> {
        Ok(sqlx::query_scalar::<_, Option<String>>(sql).bind(id).fetch_optional(&self.db.pool).await?.flatten())
    }

    pub async fn count(&self, sql: &'static str) -> anyhow::Result<i64> {
        Ok(sqlx::query_scalar(sql).fetch_one(&self.db.pool).await?)
    }

    /// Where a notification stands, such as `waiting 1`.
    pub async fn stands(&self, notification: Uuid) -> anyhow::Result<String> {
        let row = self.one("select state::text || ' ' || step from notification where id = $1", notification).await?;
        Ok(row.unwrap_or_default())
    }

    /// Where the delivery of a step stands, such as `done sent`.
    pub async fn delivery(&self, notification: Uuid, step: i16) -> anyhow::Result<String> {
        let row: Option<String> = sqlx::query_scalar(
            "select work::text || ' ' || evidence from delivery where notification_id = $1 and step = $2",
        )
        .bind(notification)
        .bind(step)
        .fetch_optional(&self.db.pool)
        .await?;
        Ok(row.unwrap_or_default())
    }
}
