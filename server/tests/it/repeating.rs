//! A call that nobody takes is made again inside its step: one whole process, and the simulator behind the real connectors, whose
//! webhooks say that the line was busy long after the call was accepted.

use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::{channel::Lane, fallback::Success};
use server::{
    app::{self, Roles, Running},
    clock::Clock,
    config::Config,
    services::{sending, work::Work},
    storage::db::MIGRATOR,
};
use simulator::{
    ClockMode, Simulator,
    script::{Answer, CallScript, Handset, MessageScript},
};
use tempfile::TempDir;
use testkit::{eventually, instances::Postgres};
use uuid::Uuid;

use crate::support::World;

const PHONE: &str = "+919812345678";
const SOON: Duration = Duration::from_secs(60);
const ACCOUNT: &str = "AC00000000000000000000000000000000";
const TOKEN: &str = "a-token-of-the-account";

/// The process, its providers, and one person to be called twice, two seconds apart, and then to be written to.
struct Story {
    running: Running,
    sim: Simulator,
    world: World,
    notification: Uuid,
    _folder: TempDir,
}

impl Story {
    async fn begin(voice: Option<CallScript>, sms: Option<MessageScript>) -> anyhow::Result<Self> {
        let (db, folder) = (Postgres::shared().await?.database(&MIGRATOR).await?, tempfile::tempdir()?);
        let mut config = simulator::Config::default();
        (config.twilio.account_sid, config.twilio.auth_token) = (ACCOUNT.into(), TOKEN.into());
        config.clock = ClockMode::Real;
        let sim = Simulator::start(config).await?;
        sim.handset(PHONE, Handset { voice, sms, ..Handset::default() })?;
        let running = app::start(&settings(&db.url, &folder), Clock::new(), Roles::ALL).await?;
        let world = World { context: running.context.clone(), db };
        world.voice_channel("voice-a", &sim.base_url).await?;
        world.sms_channel("sms-a", &sim.base_url).await?;
        std::fs::write(folder.path().join("token"), TOKEN)?;
        sqlx::query("update channel_provider set settings = settings - 'auth_token_env' || jsonb_build_object('auth_token_file', $1::text)")
            .bind(folder.path().join("token").display().to_string())
            .execute(&world.db.pool)
            .await?;
        world.context.directory.invalidate();
        let contact = world.contact(PHONE).await?;
        let plan = world
            .plan(&["voice-a", "sms-a"], |_, step| {
                step.success = Success::Acknowledged;
                (step.attempts, step.every) = (2, chrono::Duration::seconds(4));
            })
            .await?;
        let notification = world.begin(&plan, &[contact], Lane::Interactive).await?.remove(0);
        server::services::notifications::wake(&world.context);
        Ok(Self { running, sim, world, notification, _folder: folder })
    }

    async fn comes_to(&self, step: i16, wanted: &str) -> anyhow::Result<()> {
        eventually(SOON, async || {
            let found = self.world.delivery(self.notification, step).await?;
            anyhow::ensure!(found == wanted, "the delivery of step {step} is {found}, not {wanted}");
            Ok(())
        })
        .await
    }

    async fn stands(&self, wanted: &str) -> anyhow::Result<()> {
        eventually(SOON, async || {
            let found = self.world.stands(self.notification).await?;
            anyhow::ensure!(found == wanted, "the notification stands at {found}, not {wanted}");
            Ok(())
        })
        .await
    }

    /// What stands in storage of the first step: attempts, and those that count.
    async fn counted(&self) -> anyhow::Result<(i16, i16)> {
        let sql = "select attempts, failures from delivery where notification_id = $1 and step = 0";
        Ok(sqlx::query_as(sql).bind(self.notification).fetch_one(&self.world.db.pool).await?)
    }

    async fn end(self) {
        self.running.stop().await;
    }
}

fn settings(database: &str, folder: &TempDir) -> Config {
    let spool = folder.path().join("spool").display().to_string();
    let pairs = [
        ("DATABASE_URL", database),
        ("SWITCHBOARD__GRPC__LISTEN", "127.0.0.1:0"),
        ("SWITCHBOARD__HTTP__LISTEN", "127.0.0.1:0"),
        ("SWITCHBOARD__HTTP__SPOOL_DIR", &spool),
    ];
    Config::load(None, pairs.map(|(key, value)| (key.to_owned(), value.to_owned()))).expect("settings")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_line_is_called_again_after_a_pause_and_the_second_call_is_answered() -> anyhow::Result<()> {
    let story = Story::begin(Some(CallScript::answered(Answer::Busy)), None).await?;
    story.comes_to(0, "queued sent").await?;
    story.sim.handset(PHONE, Handset { voice: Some(CallScript::presses(&["1"])), ..Handset::default() })?;
    story.stands("acknowledged 0").await?;
    assert_eq!(story.sim.calls_to(PHONE).await.len(), 2);
    assert_eq!(story.counted().await?, (2, 1), "one that failed for the moment");
    let began: Vec<DateTime<Utc>> =
        sqlx::query_scalar("select started_at from attempt order by n").fetch_all(&story.world.db.pool).await?;
    // Half of the pause is certain, the rest is chance.
    assert!(began[1] - began[0] >= chrono::Duration::seconds(2), "{began:?}");
    story.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_stays_busy_costs_the_step_its_attempts_and_then_the_next_is_taken() -> anyhow::Result<()> {
    let story = Story::begin(Some(CallScript::answered(Answer::Busy)), None).await?;
    story.stands("waiting 1").await?;
    assert_eq!(story.world.delivery(story.notification, 0).await?, "done failed");
    assert_eq!(story.counted().await?.0, 2);
    let code = story
        .world
        .one("select failure_code from delivery where notification_id = $1 and step = 0", story.notification);
    assert_eq!(code.await?.as_deref(), Some("busy"));
    story.comes_to(1, "done delivered").await?;
    assert_eq!(story.sim.calls_to(PHONE).await.len(), 3, "two calls and a message");
    assert_eq!(story.world.count("select count(*) from dispatch").await?, 0, "no chunk is left behind");
    story.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_cancelled_during_the_pause_is_not_called_again() -> anyhow::Result<()> {
    let story = Story::begin(Some(CallScript::answered(Answer::NoAnswer)), None).await?;
    story.comes_to(0, "done sent").await?;
    story.sim.advance(Duration::from_secs(90)).await; // it rings for half a minute
    story.comes_to(0, "queued sent").await?;
    let mut work = Work::begin(&story.world.context).await?;
    sending::cancel(&story.world.context, &mut work, story.notification, "").await?;
    work.commit(&story.world.context).await?;
    assert_eq!(story.world.delivery(story.notification, 0).await?, "done sent", "what is known stays");
    eventually(SOON, async || {
        let chunks = story.world.count("select count(*) from dispatch").await?;
        anyhow::ensure!(chunks == 0, "the repeat's chunk is still there");
        Ok(())
    })
    .await?;
    assert_eq!(story.sim.calls_to(PHONE).await.len(), 1);
    story.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handset_that_is_off_is_written_to_again() -> anyhow::Result<()> {
    let mut off = MessageScript::silent();
    off.fail = Some(simulator::script::Failure {
        code: 30003,
        sync: false,
        after: simulator::script::Span::seconds(1),
        times: Some(1),
    });
    let refused = CallScript { answer: Answer::Failed, ..CallScript::default() };
    let story = Story::begin(Some(refused), Some(off)).await?;
    story.stands("waiting 1").await?;
    assert_eq!(story.counted().await?.0, 1, "a number that does not exist is not called twice");
    story.comes_to(1, "done delivered").await?;
    assert_eq!(story.sim.calls_to(PHONE).await.len(), 3, "one call, two messages");
    story.end().await;
    Ok(())
}
