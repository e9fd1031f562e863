//! Servers that belong to one test, which may kill, stop and start them. Removed with their data when the test ends; what a
//! killed test leaves is removed when the next one asks for a private server.

use sqlx::migrate::Migrator;
use tokio::sync::OnceCell;

use super::postgres::{Postgres, TestDatabase};
use super::rabbit::{Rabbit, TestVhost};
use super::scripts;

/// Makes servers that belong to one test.
#[derive(Debug)]
pub struct Private;

impl Private {
    /// A PostgreSQL of the test's own, running (about a second). It forgets no commit when it is killed.
    ///
    /// `name`: small letters, digits and hyphens, at most 40, unique among the tests of a process.
    ///
    /// # Errors
    /// When it cannot be started; the text names the cause.
    pub async fn postgres(name: &str) -> anyhow::Result<PrivatePostgres> {
        let service = Service::start("postgres", name).await?;
        Ok(PrivatePostgres { server: Postgres::at(service.url.clone()), service })
    }

    /// A RabbitMQ of the test's own, running (5 to 10 seconds). `name` as for [`Private::postgres`].
    ///
    /// # Errors
    /// When it cannot be started; the text names the cause.
    pub async fn rabbit(name: &str) -> anyhow::Result<PrivateRabbit> {
        Ok(PrivateRabbit { service: Service::start("rabbitmq", name).await? })
    }
}

/// A PostgreSQL of one test.
#[derive(Debug)]
pub struct PrivatePostgres {
    server: Postgres,
    service: Service,
}

impl PrivatePostgres {
    /// The URL of its database `app`; stays the same over [`kill`](Self::kill) and [`start`](Self::start).
    #[must_use]
    pub fn url(&self) -> &str {
        self.server.url()
    }

    /// A fresh, migrated database in it.
    ///
    /// # Errors
    /// When a migration fails or the server does not run.
    pub async fn database(&self, migrator: &Migrator) -> anyhow::Result<TestDatabase> {
        self.server.database(migrator).await
    }

    /// Ends it as a crash would: `kill -9`, no goodbye to clients. Returns when its last process is gone.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn kill(&self) -> anyhow::Result<()> {
        self.service.run("kill").await
    }

    /// Ends it in order; open connections are cut.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn stop(&self) -> anyhow::Result<()> {
        self.service.run("stop").await
    }

    /// Starts it again on the same port with the same data; returns when it answers.
    ///
    /// # Errors
    /// When it does not start, or its port was taken by a stranger in the meantime.
    pub async fn start(&self) -> anyhow::Result<()> {
        self.service.start_again().await
    }
}

/// A RabbitMQ of one test.
#[derive(Debug)]
pub struct PrivateRabbit {
    service: Service,
}

impl PrivateRabbit {
    /// The URL of its default virtual host; stays the same over [`kill`](Self::kill) and [`start`](Self::start).
    #[must_use]
    pub fn url(&self) -> &str {
        &self.service.url
    }

    /// Another virtual host in it, empty.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn vhost(&self) -> anyhow::Result<TestVhost> {
        Rabbit::start(&self.service.instance).await?.vhost().await
    }

    /// Ends it as a crash would: `kill -9`.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn kill(&self) -> anyhow::Result<()> {
        self.service.run("kill").await
    }

    /// Ends it in order.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn stop(&self) -> anyhow::Result<()> {
        self.service.run("stop").await
    }

    /// Starts it again on the same port with the same queues; returns when it serves.
    ///
    /// # Errors
    /// When it does not start, or its port was taken by a stranger in the meantime.
    pub async fn start(&self) -> anyhow::Result<()> {
        self.service.start_again().await
    }

    /// Loses everything it holds, as a wiped disk would, and starts it empty on the same port.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub async fn wipe(&self) -> anyhow::Result<()> {
        self.service.run("wipe").await?;
        self.service.start_again().await
    }
}

/// What both have in common: a script and an instance whose name ends with our process id, by which a sweep knows its owner.
#[derive(Debug)]
struct Service {
    script: &'static str,
    instance: String,
    url: String,
}

impl Service {
    async fn start(script: &'static str, name: &str) -> anyhow::Result<Self> {
        static SWEPT: OnceCell<String> = OnceCell::const_new();
        SWEPT.get_or_try_init(|| scripts::run("sweep", "main", &[])).await?;
        let mut service = Self { script, instance: format!("test-{name}-{}", std::process::id()), url: String::new() };
        service.url = scripts::run(script, &service.instance, &["start"]).await?;
        Ok(service)
    }

    async fn run(&self, command: &str) -> anyhow::Result<()> {
        scripts::run(self.script, &self.instance, &[command]).await.map(drop)
    }

    async fn start_again(&self) -> anyhow::Result<()> {
        let url = scripts::run(self.script, &self.instance, &["start"]).await?;
        anyhow::ensure!(url == self.url, "{} moved from {} to {url}: its port was taken", self.instance, self.url);
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // What remains after a failure here is removed by the next sweep.
        drop(scripts::run_blocking(self.script, &self.instance, &["destroy"]));
    }
}
