//! A real `switchboard all` that has nothing to do: how soon it is ready, and what it costs to keep.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::Context;
use futures::FutureExt;
use tokio::time::{Instant, sleep};

use crate::{
    bench::{Bench, until},
    cases::Case,
    cpu::{Meter, of_process, resident_mb},
    goal::Goal,
    report::Entry,
    world::World,
};

/// See the module.
pub const CASE: Case = Case {
    name: "idle",
    about: "A switchboard with all roles and nothing to do: ready after, CPU, memory.",
    run: |bench| measure(bench).boxed(),
};

/// A process of the shipped program, ended with this value.
pub struct Switchboard {
    child: Child,
    spool: PathBuf,
    /// Its webhooks, health and metrics.
    pub http: String,
}

impl Switchboard {
    /// Starts the program that was built beside this one.
    ///
    /// # Errors
    /// When it was not built, or no port is free.
    pub fn start(database: &str, broker: Option<&str>) -> anyhow::Result<Self> {
        let program = std::env::current_exe()?.parent().map(|folder| folder.join("switchboard")).unwrap_or_default();
        anyhow::ensure!(program.exists(), "{} was not built: build it with the same profile", program.display());
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let spool = std::env::temp_dir().join(format!("switchboard-bench-spool-{}-{port}", std::process::id()));
        let mut command = Command::new(program);
        command
            .arg("all")
            .env("DATABASE_URL", database)
            .env("SWITCHBOARD__GRPC__LISTEN", "127.0.0.1:0")
            .env("SWITCHBOARD__HTTP__LISTEN", format!("127.0.0.1:{port}"))
            .env("SWITCHBOARD__HTTP__SPOOL_DIR", &spool)
            .env("SWITCHBOARD__TELEMETRY__LOG_LEVEL", "warn")
            .env_remove("AMQP_URL")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if let Some(url) = broker {
            command.env("AMQP_URL", url);
        }
        let child = command.spawn().context("switchboard cannot be started")?;
        Ok(Self { child, spool, http: format!("http://127.0.0.1:{port}") })
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it says that it is ready.
    ///
    /// # Errors
    /// When it ends, or is not ready in half a minute.
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        let (client, url) = (reqwest::Client::new(), format!("{}/readyz", self.http));
        let child = &mut self.child;
        until("a ready switchboard", Duration::from_secs(30), Duration::from_millis(2), || {
            let ended = child.try_wait();
            let asking = client.get(&url).send();
            async move {
                if let Some(status) = ended? {
                    anyhow::bail!("switchboard ended: {status}");
                }
                Ok(asking.await.is_ok_and(|answer| answer.status().is_success()))
            }
        })
        .await
    }
}

impl Drop for Switchboard {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(Path::new(&self.spool));
    }
}

async fn measure(bench: &Bench) -> anyhow::Result<Vec<Entry>> {
    let world = World::on(bench.database().await?).await?;
    let (mut starts, secs) = (Vec::new(), bench.scale.of(30, 4));
    for _ in 0..bench.scale.of(4, 1) {
        let began = Instant::now();
        Switchboard::start(&world.db.url, None)?.ready().await?;
        starts.push(began.elapsed().as_secs_f64());
    }
    let mut switchboard = Switchboard::start(&world.db.url, None)?;
    switchboard.ready().await?;
    sleep(Duration::from_secs(bench.scale.of(5, 2))).await;
    let (before, meter) = (of_process(switchboard.pid())?, Meter::start(&world.pool).await?);
    sleep(Duration::from_secs(secs)).await;
    let (spent, cpu) = (meter.stop().await?, of_process(switchboard.pid())?.saturating_sub(before));
    let share = |of: Duration| of.as_secs_f64() / spent.wall.as_secs_f64() * 100.0;
    Ok(vec![
        Entry::new("idle/ready", "s", &starts)
            .goal(Goal::AtMost(1.0))
            .note("from the start of the process, schema up to date"),
        Entry::new("idle/cpu", "% of a core", &[share(cpu)])
            .goal(Goal::AtMost(0.5))
            .note(format!("`switchboard all` without a broker, over {secs} s")),
        Entry::new("idle/rss", "MB", &[resident_mb(switchboard.pid())?]).goal(Goal::AtMost(60.0)),
        Entry::new("idle/postgres", "% of a core", &[share(spent.postgres)])
            .note("what it makes Postgres do meanwhile"),
    ])
}
