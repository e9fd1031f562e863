//! What the machine spent: CPU time of our process and of the server's, memory, WAL and transactions. Read from `/proc` and from
//! Postgres; only where both run on this machine.
//!
//! CPU time of Postgres is the scheduler's, in nanoseconds, of every process under the postmaster; what a process that has ended
//! used is added by the kernel to the postmaster's record, in ticks.

use std::{fs, time::Duration};

use anyhow::Context;
use sqlx::PgPool;
use tokio::time::Instant;

/// A tick of `/proc/<pid>/stat`, on every Linux that Rust runs on.
const TICK: Duration = Duration::from_millis(10);

/// The fields of `/proc/<pid>/stat` that are asked for, behind the name, which may hold spaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    parent: u32,
    own_ticks: u64,
    children_ticks: u64,
}

fn stat(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number)?.parse::<u64>().ok();
    Some(Stat {
        parent: u32::try_from(field(1)?).ok()?,
        own_ticks: field(11)? + field(12)?,
        children_ticks: field(13)? + field(14)?,
    })
}

fn read_stat(pid: u32) -> anyhow::Result<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid}"))?;
    stat(&text).with_context(|| format!("/proc/{pid}/stat cannot be read: {text}"))
}

fn ticks(count: u64) -> Duration {
    TICK.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX))
}

/// CPU time of one process by the scheduler, of the thread that carries its id: a process of Postgres has no other.
fn scheduled(pid: u32) -> Option<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// Every process whose parent is `parent`.
fn children(parent: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| read_stat(*pid).is_ok_and(|stat| stat.parent == parent)).collect()
}

/// CPU time of a process so far, all its threads, those that ended too.
///
/// # Errors
/// When there is no such process.
pub fn of_process(pid: u32) -> anyhow::Result<Duration> {
    Ok(ticks(read_stat(pid)?.own_ticks))
}

/// Memory of a process that is its own or shared, in MB (resident set).
///
/// # Errors
/// When there is no such process.
pub fn resident_mb(pid: u32) -> anyhow::Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("process {pid}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kb: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kb / 1024.0)
}

/// The processes of a PostgreSQL server on this machine.
#[derive(Debug, Clone, Copy)]
pub struct Server {
    postmaster: u32,
}

impl Server {
    /// Finds the server of a database.
    ///
    /// # Errors
    /// When it runs on another machine, or cannot be asked.
    pub async fn of(pool: &PgPool) -> anyhow::Result<Self> {
        let (pid, version): (i32, String) =
            sqlx::query_as("select pg_backend_pid(), version()").fetch_one(pool).await?;
        let pid = u32::try_from(pid)?;
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        anyhow::ensure!(
            name.trim() == "postgres",
            "the server ({version}) does not run on this machine: no CPU time of it"
        );
        Ok(Self { postmaster: read_stat(pid)?.parent })
    }

    /// CPU time of all its processes so far.
    ///
    /// # Errors
    /// When the server has ended.
    pub fn cpu(self) -> anyhow::Result<Duration> {
        let postmaster = read_stat(self.postmaster)?;
        let living: Duration = children(self.postmaster).into_iter().filter_map(scheduled).sum();
        Ok(living + scheduled(self.postmaster).unwrap_or_default() + ticks(postmaster.children_ticks))
    }
}

/// What was spent between two moments.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spent {
    /// Time on the wall.
    pub wall: Duration,
    /// CPU time of Postgres.
    pub postgres: Duration,
    /// CPU time of this process: Switchboard's code, its client of Postgres, and what plays the provider.
    pub own: Duration,
    /// Bytes of WAL.
    pub wal: f64,
    /// Committed transactions of the database, those of this measurement included.
    pub commits: f64,
}

/// Measures what is spent from now on.
#[derive(Debug)]
pub struct Meter {
    pool: PgPool,
    server: Server,
    began: Instant,
    postgres: Duration,
    own: Duration,
    lsn: f64,
    commits: f64,
}

impl Meter {
    /// Begins.
    ///
    /// # Errors
    /// As [`Server::of`].
    pub async fn start(pool: &PgPool) -> anyhow::Result<Self> {
        let server = Server::of(pool).await?;
        let (lsn, commits) = counters(pool).await?;
        let (postgres, own) = (server.cpu()?, of_process(std::process::id())?);
        Ok(Self { pool: pool.clone(), server, began: Instant::now(), postgres, own, lsn, commits })
    }

    /// Ends.
    ///
    /// # Errors
    /// When the server cannot be asked any more.
    pub async fn stop(self) -> anyhow::Result<Spent> {
        let wall = self.began.elapsed();
        let postgres = self.server.cpu()?.saturating_sub(self.postgres);
        let own = of_process(std::process::id())?.saturating_sub(self.own);
        let (lsn, commits) = counters(&self.pool).await?;
        Ok(Spent { wall, postgres, own, wal: lsn - self.lsn, commits: commits - self.commits })
    }
}

async fn counters(pool: &PgPool) -> anyhow::Result<(f64, f64)> {
    let row = sqlx::query_as(
        "select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8,
                (select xact_commit::float8 from pg_stat_database where datname = current_database())",
    );
    Ok(row.fetch_one(pool).await?)
}

impl Spent {
    /// Adds what another part cost.
    pub fn add(&mut self, other: &Self) {
        self.wall += other.wall;
        self.postgres += other.postgres;
        self.own += other.own;
        self.wal += other.wal;
        self.commits += other.commits;
    }

    /// Microseconds of Postgres for each of `count` things.
    #[must_use]
    pub fn postgres_us(&self, count: usize) -> f64 {
        self.postgres.as_secs_f64() * 1e6 / crate::stats::number(count.max(1))
    }

    /// Microseconds of Postgres and of this process for each of `count` things.
    #[must_use]
    pub fn all_us(&self, count: usize) -> f64 {
        (self.postgres + self.own).as_secs_f64() * 1e6 / crate::stats::number(count.max(1))
    }

    /// So many things a second.
    #[must_use]
    pub fn rate(&self, count: usize) -> f64 {
        crate::stats::number(count) / self.wall.as_secs_f64().max(1e-9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_move_the_fields() {
        let text = "812 (postgres: a) b) S 7 812 812 0 -1 4194560 100 200 0 0 11 22 33 44 20 0 1 0 100 0 0";
        assert_eq!(stat(text), Some(Stat { parent: 7, own_ticks: 33, children_ticks: 77 }));
        assert_eq!(stat("812 postgres"), None);
    }

    #[test]
    fn this_process_has_memory_and_a_process_that_is_none_has_not() {
        assert!(resident_mb(std::process::id()).unwrap() > 1.0);
        assert!(of_process(std::process::id()).is_ok());
        assert!(of_process(u32::MAX).is_err());
    }
}
