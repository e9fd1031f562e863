//! Real processes, really killed: two `switchboard all` share a campaign over RabbitMQ, and one of them dies by `kill -9`.

use std::{
    collections::HashMap,
    process::{Child, Command, Stdio},
    time::Duration,
};

use domain::{channel::Lane, fallback::Success};
use testkit::{eventually, instances::Rabbit};

use crate::support::{World, pipeline::simulator};

const PEOPLE: usize = 400;
/// Open calls of the channel in one process.
const IN_FLIGHT: usize = 20;

/// A process that is killed when the test ends, however it ends.
struct Switchboard(Child);

impl Switchboard {
    fn start(world: &World, amqp: &str) -> anyhow::Result<Self> {
        let child = Command::new(env!("CARGO_BIN_EXE_switchboard"))
            .arg("all")
            .env("DATABASE_URL", &world.db.url)
            .env("AMQP_URL", amqp)
            .env("TOKEN", "secret")
            .env("SWITCHBOARD__GRPC__LISTEN", "127.0.0.1:0")
            .env("SWITCHBOARD__HTTP__LISTEN", "127.0.0.1:0")
            .env("SWITCHBOARD__HTTP__SPOOL_DIR", std::env::temp_dir().join(uuid::Uuid::new_v4().to_string()))
            .env("SWITCHBOARD__FILES__PLACE", std::env::temp_dir().join(uuid::Uuid::new_v4().to_string()))
            .env("SWITCHBOARD__WORKERS__LEASE_SECONDS", "15")
            .env("SWITCHBOARD__TELEMETRY__LOG_LEVEL", "warn")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self(child))
    }

    /// `kill -9`.
    fn kill(mut self) -> anyhow::Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Switchboard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_process_that_is_killed_leaves_its_work_to_the_other() -> anyhow::Result<()> {
    let (world, sim) = (World::new().await?, simulator().await?);
    let vhost = Rabbit::shared().await?.vhost().await?;
    world.sms_channel("sms-a", &sim.base_url).await?;
    sqlx::query("update channel set rate_per_second = 80, in_flight = $1")
        .bind(i32::try_from(IN_FLIGHT)?)
        .execute(&world.db.pool)
        .await?;
    sqlx::query("update channel_provider set timeout_ms = 2000").execute(&world.db.pool).await?;
    let mut contacts = Vec::new();
    for n in 0..PEOPLE {
        contacts.push(world.contact(&format!("+91981300{n:04}")).await?);
    }
    let first = Switchboard::start(&world, &vhost.url)?;
    let _second = Switchboard::start(&world, &vhost.url)?;
    let plan = world.plan(&["sms-a"], |_, step| step.success = Success::Sent).await?;
    world.begin(&plan, &contacts, Lane::Bulk).await?;
    eventually(Duration::from_secs(60), async || {
        let calls = sim.calls().await.len();
        anyhow::ensure!(calls > PEOPLE / 4, "{calls} calls so far");
        Ok(())
    })
    .await?;
    first.kill()?;
    eventually(Duration::from_secs(90), async || {
        let open = world.count("select count(*) from delivery where work in ('queued', 'sending')").await?;
        anyhow::ensure!(open == 0, "{open} deliveries are open");
        Ok(())
    })
    .await?;
    let mut received: HashMap<String, usize> = HashMap::new();
    for call in sim.calls().await {
        *received.entry(call.to).or_default() += 1;
    }
    assert!(received.values().all(|n| *n == 1), "nobody got two messages");
    let unknown = world.count("select count(*) from attempt where outcome = 'unknown'").await?;
    assert!(usize::try_from(unknown)? <= IN_FLIGHT, "{unknown} UNKNOWN, with {IN_FLIGHT} calls in flight at most");
    assert!(received.len() + usize::try_from(unknown)? >= PEOPLE, "whoever got nothing has an UNKNOWN on record");
    Ok(())
}
