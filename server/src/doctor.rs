//! `switchboard doctor`: looks at everything that a deployment needs and at what was parked for a person, and says of each
//! problem what to do. Reads only; calls each provider's cheapest call.

use std::{fmt, sync::Arc, time::Duration};

use chrono::Utc;
use secrecy::ExposeSecret;
use tokio::time::timeout;

use crate::{
    blobs::Blobs,
    bus::rabbit,
    clock::Clock,
    config::Config,
    http::spool,
    services::{
        Context, Settings,
        directory::{Channel, Directory, Provider},
        events::publishing,
        plans::Plans,
        sources, unsubscribe,
    },
    storage::{
        Conn, Db,
        archive::files as archived,
        db::Planner,
        event_sinks, housekeeping, receiving,
        schema::{self, Schema},
    },
    wake::Wake,
};

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// A clock that is further off than this is a problem, in seconds.
const CLOCK_SECS: f64 = 2.0;
/// Events that may wait for the exchange: some seconds of a busy deployment.
const LAG: i64 = 100_000;

/// One thing that was looked at.
#[derive(Debug, Clone)]
pub struct Finding {
    /// What was looked at.
    pub subject: String,
    /// What was found, and what to do; none: all is well.
    pub problem: Option<(String, String)>,
}

/// Everything that was looked at.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// In the order in which it was looked at.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether there is nothing to mend.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.findings.iter().all(|finding| finding.problem.is_none())
    }

    fn well(&mut self, subject: impl Into<String>) {
        self.findings.push(Finding { subject: subject.into(), problem: None });
    }

    fn problem(&mut self, subject: impl Into<String>, found: impl Into<String>, mend: impl Into<String>) {
        self.findings.push(Finding { subject: subject.into(), problem: Some((found.into(), mend.into())) });
    }

    /// A count that should be zero.
    fn none_of(&mut self, subject: &str, n: i64, found: &str, mend: &str) {
        match n {
            0 => self.well(subject),
            n => self.problem(subject, format!("{n} {found}"), mend),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.findings.iter().map(|finding| finding.subject.chars().count()).max().unwrap_or_default();
        for Finding { subject, problem } in &self.findings {
            match problem {
                None => writeln!(f, "ok       {subject}")?,
                Some((found, mend)) => {
                    writeln!(f, "PROBLEM  {subject:width$}  {found}")?;
                    writeln!(f, "         {:width$}  -> {mend}", "")?;
                }
            }
        }
        let problems = self.findings.iter().filter(|finding| finding.problem.is_some()).count();
        match problems {
            0 => writeln!(f, "\nall is well"),
            1 => writeln!(f, "\n1 problem"),
            n => writeln!(f, "\n{n} problems"),
        }
    }
}

/// So many sources are looked at.
const MOST_SOURCES: i64 = 1000;

/// Looks at everything.
pub async fn examine(config: &Config) -> Report {
    let mut report = Report::default();
    let usable = database(config, &mut report).await;
    broker(config, &mut report).await;
    files(config, &mut report).await;
    if usable {
        archive(config, &mut report).await;
        channels(config, &mut report).await;
        watched(config, &mut report).await;
    }
    waiting_on_disk(config, &mut report);
    report
}

/// The database, its schema, the clock, and what was parked. Says whether the schema can be asked.
async fn database(config: &Config, report: &mut Report) -> bool {
    let mut conn = match schema::connect(config.database.url.expose_secret(), Duration::ZERO).await {
        Ok(conn) => conn,
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            report.problem("database", format!("{error}{cause}"), "check DATABASE_URL, and that PostgreSQL runs there");
            return false;
        }
    };
    let looked = timeout(PATIENCE, look_into(&mut conn, report)).await;
    schema::close(conn).await;
    match looked {
        Ok(Ok(usable)) => usable,
        Ok(Err(error)) => {
            report.problem("database", error.to_string(), "look into the log of PostgreSQL");
            false
        }
        Err(_) => {
            report.problem("database", "it does not answer", "look into pg_stat_activity for what holds it");
            false
        }
    }
}

async fn look_into(conn: &mut Conn, report: &mut Report) -> crate::storage::Result<bool> {
    let version = schema::server_version(conn).await?;
    match version >= schema::MIN_SERVER {
        true => report.well(format!("database (PostgreSQL {})", version / 10_000)),
        false => report.problem("database", format!("PostgreSQL {}", version / 10_000), "15 or newer is needed"),
    }
    match schema::compare(conn).await? {
        Schema::Current => report.well("schema"),
        Schema::Newer(_) => report.problem("schema", "it is newer than this program", "install the newer program"),
        Schema::Behind(missing) => {
            report.problem("schema", format!("{} migrations are missing", missing.len()), "run `switchboard migrate`");
            return Ok(false);
        }
        Schema::Different(name) => {
            report.problem("schema", format!("{name} has another text"), "this database was not made by a release");
            return Ok(false);
        }
    }
    let offset = (receiving::machine_now(conn).await? - Utc::now()).as_seconds_f64();
    match offset.abs() < CLOCK_SECS {
        true => report.well("clock"),
        false => report.problem(
            "clock",
            format!("this machine is {offset:.1} s off the database's"),
            "run a time service (chrony, systemd-timesyncd) on both",
        ),
    }
    parked(conn, report).await?;
    Ok(true)
}

async fn parked(conn: &mut Conn, report: &mut Report) -> crate::storage::Result<()> {
    let found = housekeeping::troubles(conn).await?;
    report.none_of(
        "receipts",
        found.orphans,
        "belong to no message of ours",
        "look at receipt_orphan: does another system send with the same provider account?",
    );
    report.none_of(
        "answers",
        found.parked_inbound,
        "could not be taken up",
        "see parked_reason in inbound_inbox; set parked_at to null and tries to 0 to try again",
    );
    report.none_of(
        "chunks",
        found.lost_chunks,
        "lost their worker more than once",
        "look for workers that were killed, or for want of memory, in the logs",
    );
    report.none_of(
        "firings",
        found.failed_firings,
        "failed",
        "list them with `switchboard-cli triggers firings`, correct the cause, and replay them",
    );
    report.none_of(
        "rows",
        found.unmappable_firings,
        "could not be mapped to a person",
        "list them with `switchboard-cli triggers firings`, correct the rows, and replay them",
    );
    report.none_of(
        "webhooks",
        found.failing_webhooks,
        "fail, or were disabled because they did",
        "list them with `switchboard-cli webhooks list`, mend the receiver, and enable them",
    );
    report.none_of(
        "dead letters",
        found.dead_letters,
        "were not taken by a webhook",
        "see `switchboard-cli webhooks dead-letters`, and tell them again with `switchboard-cli webhooks replay`",
    );
    let lag = event_sinks::lag(conn, publishing::SINK).await?.unwrap_or(0);
    match lag <= LAG {
        true => report.well("events"),
        false => report.problem(
            "events",
            format!("{lag} wait for the exchange"),
            "see whether events.publish is on, and the broker takes them",
        ),
    }
    Ok(())
}

async fn broker(config: &Config, report: &mut Report) {
    let Some(url) = &config.broker_url else {
        report.well("broker (none: all roles run in one process)");
        return;
    };
    match timeout(PATIENCE, rabbit::dead_letters(url.expose_secret())).await {
        Ok(Ok(queues)) => {
            report.well("broker");
            for (queue, n) in queues.into_iter().filter(|(_, n)| *n > 0) {
                report.problem(
                    format!("queue {queue}"),
                    format!("{n} messages were given up"),
                    "read them in the broker's management; what they name is repeated from the database, so they may be purged",
                );
            }
        }
        Ok(Err(error)) => {
            report.problem("broker", format!("{error:#}"), "check AMQP_URL, and that RabbitMQ runs there")
        }
        Err(_) => report.problem("broker", "it does not answer", "check AMQP_URL, and that RabbitMQ runs there"),
    }
}

/// Whether the file store takes a file, gives it back and removes it.
async fn files(config: &Config, report: &mut Report) {
    let mend = "check files.place and what files.s3_* say, and who may write there";
    let checked = async { Blobs::open(&config.files)?.check().await };
    match timeout(PATIENCE, checked).await {
        Ok(Ok(())) => report.well("files"),
        Ok(Err(error)) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            report.problem("files", format!("{error}{cause}"), mend);
        }
        Err(_) => report.problem("files", "the file store does not answer", mend),
    }
}

/// How the archive stands: what should have gone there, or out of it, and has not.
async fn archive(config: &Config, report: &mut Report) {
    let late = |days| Utc::now() - chrono::TimeDelta::days(i64::from(days) + ARCHIVE_LATE_DAYS);
    let late = config.archive.after.map(late);
    let look = async {
        let db = Db::open(config.database.url.expose_secret(), 1, Planner::Free)?;
        archived::standing(&mut *db.conn().await?, late).await
    };
    let found = match timeout(PATIENCE, look).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return report.problem("archive", error.to_string(), "look into the log of PostgreSQL"),
        Err(_) => return report.problem("archive", "the database does not answer", "look into pg_stat_activity"),
    };
    let before = report.findings.len();
    let mend =
        "see whether a process with the role of a worker runs, and what it logs of the archive and the file store";
    if let Some(at) = found.oldest_waiting {
        let found = format!("a conversation that was closed on {} waits", at.format("%Y-%m-%d"));
        report.problem("archive", found, format!("{mend}; it waits too while something of it is owed or on its way"));
    }
    for (n, found) in [
        (found.overdue_stains, "files have held for a day what was erased, redacted or is over"),
        (found.overdue_removals, "files have been given up for a day and are still in the store"),
    ] {
        if n > 0 {
            report.problem("archive", format!("{n} {found}"), mend);
        }
    }
    if report.findings.len() == before {
        report.well(format!("archive ({} conversations in {} files)", found.conversations, found.files));
    }
}

/// So many days a conversation may be late for the archive before it is a problem.
const ARCHIVE_LATE_DAYS: i64 = 7;

async fn channels(config: &Config, report: &mut Report) {
    let snapshot = match Db::open(config.database.url.expose_secret(), 1, Planner::Free) {
        Ok(db) => Directory::default().snapshot(&db).await,
        Err(error) => Err(error.into()),
    };
    let snapshot = match snapshot {
        Ok(snapshot) => snapshot,
        Err(error) => return report.problem("channels", error.to_string(), "look into the log of PostgreSQL"),
    };
    for channel in &snapshot.channels {
        let name = format!("channel {}", channel.row.slug);
        match (channel.row.state.as_str(), channel.providers.is_empty()) {
            ("disabled", _) => report.well(format!("{name} (disabled)")),
            (_, true) => report.problem(name, "has no provider", "add one with `switchboard-cli channels`"),
            ("parked", _) => report.problem(
                name,
                format!("is parked: {}", channel.row.state_reason.as_deref().unwrap_or("its provider refused it")),
                "mend it at the provider, then enable it",
            ),
            _ => {
                for provider in &channel.providers {
                    check(channel, provider, report).await;
                }
            }
        }
    }
}

async fn check(channel: &Channel, provider: &Provider, report: &mut Report) {
    let name = format!("channel {}/{}", channel.row.slug, provider.row.name);
    if !provider.row.enabled {
        return report.well(format!("{name} (disabled)"));
    }
    match &provider.connector {
        Err(problems) => {
            let words: Vec<String> = problems.iter().map(ToString::to_string).collect();
            report.problem(
                name,
                words.join("; "),
                "correct the provider's settings, or the environment of this process",
            );
        }
        Ok(connector) => match timeout(PATIENCE, connector.check()).await {
            Ok(Ok(())) => report.well(name),
            Ok(Err(words)) => report.problem(name, words, "correct the provider's settings, or ask the provider"),
            Err(_) => report.problem(name, "does not answer", "check the network, and the provider's status page"),
        },
    }
}

/// The databases that are watched: whether they answer, whether captures are in place, and what their consumer last said.
async fn watched(config: &Config, report: &mut Report) {
    let look = async {
        let context = context(config)?;
        let rows = sources::list(&context, "", MOST_SOURCES).await?;
        crate::services::Result::Ok((context, rows))
    };
    let (context, rows) = match look.await {
        Ok(found) => found,
        Err(error) => return report.problem("sources", error.to_string(), "look into the log of PostgreSQL"),
    };
    for row in rows {
        let name = format!("source {}", row.slug);
        let mend = "see `switchboard-cli sources get`, and triggers/README.md for what a source must allow";
        // Twice the time of a connection: it asks of every capture.
        match timeout(PATIENCE * 2, sources::check(&context, &row.slug)).await {
            Ok(Ok(checked)) => {
                let before = report.findings.len();
                for problem in &checked.problems {
                    report.problem(&name, format!("{} {}", problem.field, problem.description).trim(), mend);
                }
                crowded(&name, &row, report);
                if report.findings.len() == before {
                    report.well(format!("{name} (PostgreSQL {})", checked.server_version));
                }
            }
            Ok(Err(error)) => {
                report.problem(name, error.to_string(), "correct the source's settings, or the environment")
            }
            Err(_) => report.problem(name, "does not answer", "check the network, and what holds the source"),
        }
    }
}

/// What questions to sources need. No link is made here, so that no key is needed.
fn context(config: &Config) -> crate::services::Result<Context> {
    let open = || Db::open(config.database.url.expose_secret(), 2, Planner::Free);
    let settings = Settings {
        public_url: config.http.public_url.clone(),
        time_zone: config.time_zone,
        default_country: config.default_country.clone(),
        quiet_hours: config.quiet_hours.clone(),
        words: config.words.clone(),
        confirmations: config.confirmations.clone(),
        idle_close: None,
        archive: crate::services::archive::Settings::default(),
        unsubscribe_key: unsubscribe::Key::new([0; unsubscribe::KEY_BYTES]),
        events: crate::services::events::Settings::default(),
        media: config.media.clone(),
    };
    Ok(Context {
        db: open()?,
        lists: open()?,
        side: open()?,
        clock: Clock::new(),
        wake: Wake::default(),
        settings: Arc::new(settings),
        directory: Directory::default(),
        plans: Plans::default(),
        blobs: crate::blobs::Blobs::in_memory(),
        typing: crate::services::messages::typing::Typing::default(),
    })
}

/// An outbox that is nearly full, in tenths of its limit.
const CROWDED: u64 = 8;

fn crowded(name: &str, row: &sources::SourceRow, report: &mut Report) {
    let waiting = sources::health(row).map_or(0, |health| health.waiting);
    let limit = sources::settings(row).ok().and_then(|settings| settings.outbox_limit);
    let limit = limit.unwrap_or(sources::DEFAULT_OUTBOX_LIMIT);
    if waiting.saturating_mul(10) >= limit.saturating_mul(CROWDED) {
        report.problem(
            name,
            format!("{waiting} captured rows wait, of at most {limit}: beyond that none is captured"),
            "look whether a `switchboard` with the role of triggers runs and reaches it",
        );
    }
}

fn waiting_on_disk(config: &Config, report: &mut Report) {
    match spool::count(&config.http.spool_dir) {
        Ok((0, 0)) => report.well("spool"),
        Ok((waiting, 0)) => {
            report.problem(
                "spool",
                format!("{waiting} webhooks wait on disk"),
                "they are stored when the database is back",
            );
        }
        Ok((_, refused)) => report.problem(
            "spool",
            format!("{refused} webhooks could not be stored"),
            format!("look at *.refused in {}, and delete them", config.http.spool_dir.display()),
        ),
        Err(error) => report.problem("spool", error.to_string(), "check http.spool_dir and who may read it"),
    }
}
