//! The PostgreSQL that all tests share, and the database that each test gets in it.
//!
//! Migrations run once for each state of the migrations folder, into a template; a test's database is a copy of it (about 15 ms
//! on a memory disk). Data of failed tests stays for a look until a later run.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, PgPool};
use tokio::sync::OnceCell;

use super::scripts;

/// Few enough that a hundred tests at once stay below the server's 300 connections.
const POOL_SIZE: u32 = 10;
/// Databases that earlier runs left are dropped after this time: long enough for a look at a failure.
const KEPT_FOR: Duration = Duration::from_secs(30 * 60);

/// The PostgreSQL server that all tests of this machine share.
#[derive(Debug, Clone)]
pub struct Postgres {
    url: String,
}

impl Postgres {
    /// The shared server: the one of `SWITCHBOARD_TEST_DATABASE_URL` or `DATABASE_URL` (its role must be allowed to create
    /// databases), else the private instance `test`, which is started when it does not run.
    ///
    /// # Errors
    /// When it cannot be started; the text names the cause.
    pub async fn shared() -> anyhow::Result<Self> {
        static SHARED: OnceCell<Postgres> = OnceCell::const_new();
        SHARED.get_or_try_init(Self::find).await.cloned()
    }

    async fn find() -> anyhow::Result<Self> {
        let given = ["SWITCHBOARD_TEST_DATABASE_URL", "DATABASE_URL"].map(|name| std::env::var(name).ok());
        let url = match given.into_iter().flatten().find(|url| !url.is_empty()) {
            Some(url) => url,
            None => scripts::run("postgres", "test", &["start"]).await?,
        };
        let server = Self { url };
        drop_abandoned(&mut server.connect().await?).await?;
        Ok(server)
    }

    /// The server of a private instance of this checkout, started when it does not run; that of `DATABASE_URL` where it is set.
    ///
    /// # Errors
    /// When it cannot be started; the text names the cause.
    pub async fn instance(name: &str) -> anyhow::Result<Self> {
        let server = Self { url: scripts::run("postgres", name, &["start"]).await? };
        drop_abandoned(&mut server.connect().await?).await?;
        Ok(server)
    }

    pub(super) fn at(url: String) -> Self {
        Self { url }
    }

    /// The URL of the server's own database. Tests leave that one alone.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A fresh database to which `migrator` has been applied, for one test.
    ///
    /// # Errors
    /// When a migration fails or the server refuses.
    pub async fn database(&self, migrator: &Migrator) -> anyhow::Result<TestDatabase> {
        let mut admin = self.connect().await?;
        let template = template(self, &mut admin, migrator).await?;
        self.create(&mut admin, &template).await
    }

    /// A fresh database with nothing in it: a foreign one that is to be watched, say.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn empty_database(&self) -> anyhow::Result<TestDatabase> {
        self.create(&mut self.connect().await?, "template1").await
    }

    async fn create(&self, admin: &mut PgConnection, template: &str) -> anyhow::Result<TestDatabase> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let name = format!("test_{since_1970}_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        execute(admin, format!("create database {name} template {template}")).await?;
        let url = with_database(&self.url, &name);
        let options = PgConnectOptions::from_str(&url)?;
        let pool = PgPoolOptions::new().max_connections(POOL_SIZE).acquire_timeout(Duration::from_secs(30));
        let pool = pool.connect_with(options).await.with_context(|| format!("{name} cannot be reached"))?;
        Ok(TestDatabase { url, pool, name, server: self.clone() })
    }

    async fn connect(&self) -> anyhow::Result<PgConnection> {
        let options = PgConnectOptions::from_str(&self.url).context("the URL of PostgreSQL cannot be read")?;
        options.connect().await.context("the PostgreSQL for tests cannot be reached")
    }
}

/// A database of one test. Dropped with this value when the test succeeded, kept for a look when it panics.
#[derive(Debug)]
pub struct TestDatabase {
    /// Its URL, for processes that the test starts.
    pub url: String,
    /// Up to ten connections to it.
    pub pool: PgPool,
    name: String,
    server: Postgres,
}

impl Drop for TestDatabase {
    #[expect(clippy::print_stderr, reason = "the place of a failed test's data belongs into its output")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the test's database is kept for half an hour: psql '{}'", self.url);
            return;
        }
        let (server, name) = (self.server.clone(), self.name.clone());
        // A runtime of its own, since this one cannot be blocked on.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async { drop_database(&mut server.connect().await?, &name).await })
        });
        // A server that the test has stopped takes its databases with it.
        drop(dropped.join());
    }
}

/// The database from which tests' databases are copied, made if no run has made it: under a lock, because several processes may
/// come at once, and under another name until it is whole, because a process may be killed in the middle.
async fn template(server: &Postgres, admin: &mut PgConnection, migrator: &Migrator) -> anyhow::Result<String> {
    let key = fingerprint(migrator);
    let name = format!("template_{key:016x}");
    if exists(admin, &name).await? {
        return Ok(name);
    }
    let lock = i64::from_ne_bytes(key.to_ne_bytes());
    sqlx::query("select pg_advisory_lock($1)").bind(lock).execute(&mut *admin).await?;
    let made = make_template(server, admin, migrator, &name).await;
    sqlx::query("select pg_advisory_unlock($1)").bind(lock).execute(&mut *admin).await?;
    made.map(|()| name)
}

async fn make_template(
    server: &Postgres,
    admin: &mut PgConnection,
    migrator: &Migrator,
    name: &str,
) -> anyhow::Result<()> {
    if exists(admin, name).await? {
        return Ok(());
    }
    let unfinished = format!("{name}_unfinished");
    drop_database(admin, &unfinished).await?;
    execute(admin, format!("create database {unfinished} template template1")).await?;
    let options = PgConnectOptions::from_str(&with_database(&server.url, &unfinished))?;
    let mut connection = options.connect().await?;
    migrator.run_direct(None, &mut connection, false).await.context("the migrations fail on an empty database")?;
    connection.close().await?;
    execute(admin, format!("alter database {unfinished} rename to {name}")).await
}

/// Changes with every change of the migrations.
fn fingerprint(migrator: &Migrator) -> u64 {
    let mut hasher = DefaultHasher::new();
    for migration in migrator.iter() {
        (migration.version, migration.checksum.as_ref()).hash(&mut hasher);
    }
    hasher.finish()
}

/// Drops what processes that no longer live left long ago.
async fn drop_abandoned(admin: &mut PgConnection) -> anyhow::Result<()> {
    let names: Vec<String> =
        sqlx::query_scalar(r"select datname::text from pg_database where datname ~ '^test_\d+_\d+_\d+$'")
            .fetch_all(&mut *admin)
            .await?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    for name in names {
        let mut numbers = name.split('_').skip(1).map(str::parse::<u64>);
        let (Some(Ok(made)), Some(Ok(process))) = (numbers.next(), numbers.next()) else { continue };
        let old = now.saturating_sub(Duration::from_secs(made)) > KEPT_FOR;
        if old && !std::path::Path::new(&format!("/proc/{process}")).exists() {
            drop_database(admin, &name).await?;
        }
    }
    Ok(())
}

async fn exists(admin: &mut PgConnection, name: &str) -> anyhow::Result<bool> {
    let found = sqlx::query_scalar("select exists (select from pg_database where datname = $1)").bind(name);
    Ok(found.fetch_one(admin).await?)
}

async fn drop_database(admin: &mut PgConnection, name: &str) -> anyhow::Result<()> {
    execute(admin, format!("drop database if exists {name} with (force)")).await
}

/// Names in these statements are made in this file from letters, digits and underscores.
async fn execute(admin: &mut PgConnection, statement: String) -> anyhow::Result<()> {
    sqlx::query(AssertSqlSafe(statement.clone())).execute(admin).await.with_context(|| statement)?;
    Ok(())
}

/// The same URL for another database of the server.
fn with_database(url: &str, name: &str) -> String {
    let (address, query) = url.split_once('?').map_or((url, None), |(address, query)| (address, Some(query)));
    let host = address.find("://").map_or(0, |scheme| scheme + 3);
    let end = address[host..].find('/').map_or(address.len(), |path| host + path);
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("{}/{name}{query}", &address[..end])
}

#[cfg(test)]
mod tests {
    use super::with_database;

    #[test]
    fn another_database_of_the_same_server_keeps_the_rest_of_the_url() {
        for (url, expected) in [
            ("postgres://app@localhost/app?host=/a/b&port=7", "postgres://app@localhost/x?host=/a/b&port=7"),
            ("postgres://u:p@h:5432/app", "postgres://u:p@h:5432/x"),
            ("postgres://u:p@h:5432", "postgres://u:p@h:5432/x"),
            ("postgres://h?sslmode=disable", "postgres://h/x?sslmode=disable"),
        ] {
            assert_eq!(with_database(url, "x"), expected);
        }
    }
}
