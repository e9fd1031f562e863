//! One whole process over its API, with the providers, the mailbox and the department's database around it; and time, which is
//! moved by hand in steps of ten minutes, for the process and the simulator at once, when nothing is in flight. Nobody in the
//! story acts in the step in which a wait of theirs ends: between those two there is no order.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use proto::v1::{
    self, campaign_service_client::CampaignServiceClient, notification_service_client::NotificationServiceClient,
    timeline_entry::Kind, trigger_service_client::TriggerServiceClient,
};
use server::{
    app::{self, Roles, Running},
    clock::Clock,
    config::Config,
    storage::db::MIGRATOR,
};
use simulator::Simulator;
use tempfile::TempDir;
use testkit::{
    eventually,
    instances::{Mail, Postgres, Rabbit, Smtp, TestDatabase, TestVhost},
};
use tonic::transport::Channel;

use super::{definitions, people};

/// One step of time, as the story tells it.
const STEP: TimeDelta = TimeDelta::minutes(10);
/// How much of it passes first, for what follows within seconds: a phone that rings, a number that is not on WhatsApp. It belongs
/// to the same step.
const MOMENT: TimeDelta = TimeDelta::minutes(1);

/// Everything that the story is played with.
pub struct Stage {
    running: Option<Running>,
    simulator: Option<Simulator>,
    smtp: Smtp,
    folder: TempDir,
    config: Config,
    clock: Clock,
    db: TestDatabase,
    department: TestDatabase,
    line: Option<Channel>,
    beginning: DateTime<Utc>,
    _vhost: Arc<TestVhost>,
}

impl Stage {
    /// Starts everything, tells Switchboard what it must know, and gives the handsets their scripts.
    pub async fn set() -> anyhow::Result<Self> {
        let postgres = Postgres::shared().await?;
        let (db, department) = (postgres.database(&MIGRATOR).await?, postgres.empty_database().await?);
        let (vhost, smtp) = (Rabbit::shared().await?.vhost().await?, Smtp::start().await?);
        let folder = tempfile::tempdir()?;
        for (file, secret) in definitions::SECRETS {
            std::fs::write(folder.path().join(file), secret)?;
        }
        std::fs::write(folder.path().join("department"), &department.url)?;
        let config = config(&db.url, &vhost.url, &folder);
        let clock = Clock::new();
        let mut stage = Self {
            running: None,
            simulator: None,
            smtp,
            folder,
            config,
            beginning: clock.now(),
            clock,
            db,
            department,
            line: None,
            _vhost: Arc::new(vhost),
        };
        stage.office(definitions::TABLE).await?;
        stage.start().await?;
        // Webhooks are known once there are channels, and the channels' providers once there is a simulator.
        let (meta, sms) = definitions::channels(&stage, "http://127.0.0.1:9").await?;
        let mut config = simulator::Config::default();
        config.meta.webhook = Some(meta);
        config.twilio.sms_webhook = Some(sms);
        let simulator = Simulator::start(config).await?;
        definitions::channels(&stage, &simulator.base_url).await?;
        for person in people::everybody() {
            simulator.handset(person.phone, person.handset)?;
        }
        stage.simulator = Some(simulator);
        definitions::words_and_ways(&stage).await?;
        Ok(stage)
    }

    /// Starts the process; its web address stays the same, since the providers know it.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        let running = app::start(&self.config, self.clock.clone(), Roles::ALL).await?;
        let address = running.grpc_addr.context("it serves")?;
        self.line = Some(Channel::from_shared(format!("http://{address}"))?.connect().await?);
        self.config.http.listen = running.http_addr.context("it serves")?;
        self.running = Some(running);
        Ok(())
    }

    /// Stops the process in order.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.line = None;
        self.running.take().context("it runs")?.stop().await;
        Ok(())
    }

    /// Stops everything.
    pub async fn close(mut self) -> anyhow::Result<()> {
        self.stop().await
    }

    pub fn simulator(&self) -> &Simulator {
        self.simulator.as_ref().expect("it was started")
    }

    pub fn channel(&self) -> Channel {
        self.line.clone().expect("it runs")
    }

    pub fn triggers(&self) -> TriggerServiceClient<Channel> {
        TriggerServiceClient::new(self.channel())
    }

    pub fn campaigns(&self) -> CampaignServiceClient<Channel> {
        CampaignServiceClient::new(self.channel())
    }

    pub fn secret_file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    pub fn smtp_port(&self) -> u16 {
        self.smtp.port
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Statements of the department.
    pub async fn office(&self, sql: &str) -> anyhow::Result<()> {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()))
            .execute(&self.department.pool)
            .await
            .with_context(|| sql.to_owned())?;
        Ok(())
    }

    pub async fn count(&self, sql: &'static str) -> anyhow::Result<i64> {
        Ok(sqlx::query_scalar(sql).fetch_one(&self.db.pool).await?)
    }

    /// Mails to an address.
    pub fn mails(&self, address: &str) -> anyhow::Result<Vec<Mail>> {
        let mails = self.smtp.mails()?;
        Ok(mails.into_iter().filter(|mail| mail.to.iter().any(|to| to == address)).collect())
    }

    /// The notification of a row.
    pub async fn notification_of(&self, number: &str) -> anyhow::Result<Option<v1::Notification>> {
        let id: Option<uuid::Uuid> = sqlx::query_scalar(
            "select notification_id from firing where row_data ->> 'number' = $1 and notification_id is not null",
        )
        .bind(number)
        .fetch_optional(&self.db.pool)
        .await?;
        let Some(id) = id else { return Ok(None) };
        let name = format!("notifications/{id}");
        let request = v1::GetNotificationRequest { name, view: v1::NotificationView::Full.into() };
        Ok(Some(NotificationServiceClient::new(self.channel()).get_notification(request).await?.into_inner()))
    }

    /// The hours of the story count from now.
    pub fn mark_beginning(&mut self) {
        self.beginning = self.now();
    }

    /// What happened, when, at which step and on which medium; what providers did has times of their own clock and is left out.
    pub fn timeline(&self, notification: &v1::Notification) -> Vec<String> {
        let told =
            notification.timeline.iter().filter(|entry| !matches!(entry.kind(), Kind::Attempted | Kind::Receipt));
        let told = told.filter(|entry| !entry.description.ends_with("was mailed"));
        told.map(|entry| {
            let time = entry.time.unwrap_or_default();
            let at = DateTime::from_timestamp(time.seconds, 0).unwrap_or_default();
            // To the nearest step: between the steps real time passes too, and the clock is corrected to the database's.
            let minutes =
                (at - self.beginning + STEP / 2).num_minutes().max(0) / STEP.num_minutes() * STEP.num_minutes();
            let kind = entry.kind().as_str_name();
            let medium = entry.channel_type().as_str_name().trim_start_matches("CHANNEL_TYPE_");
            let step =
                matches!(entry.kind(), Kind::StepStarted | Kind::StepSkipped | Kind::StepFailed | Kind::StepTimedOut);
            let step = if step { format!(" {}", entry.step) } else { String::new() };
            let medium = if medium == "UNSPECIFIED" { String::new() } else { format!(" {medium}") };
            format!("{}:{:02} {kind}{step}{medium}", minutes / 60, minutes % 60)
        })
        .collect()
    }

    /// Lets time pass. Ours first: what a person does then is received at the time at which they do it.
    pub async fn let_pass(&self, by: TimeDelta) {
        let by = by.to_std().unwrap_or_default();
        self.clock.advance(by);
        self.simulator().advance(by).await;
    }

    /// Moves time step by step until so long after the beginning, and lets everything that is due be done at its time.
    pub async fn until(&self, after: TimeDelta) -> anyhow::Result<()> {
        self.until_by(after, STEP).await
    }

    /// The same in steps of another length, for days on which hardly anything happens.
    pub async fn until_by(&self, after: TimeDelta, step: TimeDelta) -> anyhow::Result<()> {
        self.quiet().await?;
        while self.now() < self.beginning + after {
            for part in [MOMENT, step - MOMENT] {
                self.let_pass(part).await;
                self.quiet().await?;
            }
        }
        Ok(())
    }

    /// Waits until everything that can be done now is done.
    pub async fn quiet(&self) -> anyhow::Result<()> {
        eventually(Duration::from_secs(60), async || {
            if let Some(simulator) = &self.simulator {
                simulator.settled().await;
            }
            let open: Vec<(String, i64)> = sqlx::query_as(
                "select * from (values
                   ('deliveries', (select count(*) from delivery where work in ('queued', 'sending'))),
                   ('chunks', (select count(*) from dispatch)),
                   ('receipts', (select count(*) from receipt_inbox)),
                   ('messages', (select count(*) from inbound_inbox where parked_at is null)),
                   ('firings', (select count(*) from firing where state = 'pending')),
                   ('timers', (select count(*) from timer where due_at <= $1)),
                   ('lists', (select count(*) from call_list where due_at <= $1)),
                   ('schedules', (select count(*) from trigger where enabled and next_fire_at <= $1)),
                   ('events', (select count(*) from event_out))) as open (what, n) where n > 0",
            )
            .bind(self.now())
            .fetch_all(&self.db.pool)
            .await?;
            ensure!(open.is_empty(), "still to be done: {open:?}");
            Ok(())
        })
        .await
    }
}

fn config(database: &str, broker: &str, folder: &TempDir) -> Config {
    let spool = folder.path().join("spool").display().to_string();
    let pairs = [
        ("DATABASE_URL", database),
        ("AMQP_URL", broker),
        ("SWITCHBOARD__GRPC__LISTEN", "127.0.0.1:0"),
        ("SWITCHBOARD__HTTP__LISTEN", "127.0.0.1:0"),
        ("SWITCHBOARD__HTTP__SPOOL_DIR", &spool),
        ("SWITCHBOARD__DEFAULTS__DEFAULT_COUNTRY", "IN"),
    ];
    Config::load(None, pairs.map(|(key, value)| (key.to_owned(), value.to_owned()))).expect("settings")
}
