//! The one place where everything is put together: the context, the bus, the servers and the workers of a process by its roles,
//! and the order in which they end. `main` calls it with arguments, tests with a clock of their own.
//!
//! **To add a worker**: a file in `workers/` with `run(context, stop)`, and one line in `Process::work` or
//! `Process::trigger`. A worker that ends before it is told to ends the process, in order: its supervisor starts it afresh.

use std::{future::Future, net::SocketAddr, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use secrecy::ExposeSecret;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc},
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    blobs::{self, Blobs},
    bus::{Queue, SharedBus, local::LocalBus, post::Reach, rabbit::RabbitBus},
    clock::{Clock, Measured},
    config::Config,
    grpc,
    http::{self, Web, health::Health, spool},
    services::{
        self, Context, Settings, directory::Directory, events, messages::typing::Typing, plans::Plans, unsubscribe,
    },
    storage::{
        self, Db,
        db::Planner,
        housekeeping as house, listen,
        schema::{self, Schema},
    },
    telemetry,
    wake::{NOTIFY_CHANNEL, Topic, Wake},
    workers::{
        archive, captures, commands, controllers, conversations, correct_clock, dispatch::Dispatch, fallback, firings,
        hooks, housekeeping, mailing, media, merging, planner, providers::Providers, publishing, receiving,
        relay::Relay, schedules, sequencer, sweep, writer,
    },
};

/// How long open requests may take when the process stops.
const INTAKE: Duration = Duration::from_secs(10);
/// How long each later stage may take, but for the calls under way, which have a setting.
const STAGE: Duration = Duration::from_secs(5);
/// How long webhooks from before may hold back the workers.
const SPOOL_FIRST: Duration = Duration::from_secs(30);
/// Outcomes that may wait to be written.
const OUTCOMES: usize = 1_000;
/// Messages of people that are taken up at once, each of another contact.
const INBOUND: usize = 3;
/// How often the metrics that nobody fetched are folded.
const UPKEEP: Duration = Duration::from_secs(5);
/// The name of the key that signs unsubscribe links.
const UNSUBSCRIBE_KEY: &str = "unsubscribe";

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    /// Serves the API and takes webhooks.
    pub serve: bool,
    /// Sends, merges, falls back.
    pub work: bool,
    /// Watches tables and keeps schedules.
    pub trigger: bool,
}

impl Roles {
    /// Everything.
    pub const ALL: Self = Self { serve: true, work: true, trigger: true };
    /// The API and webhooks.
    pub const SERVE: Self = Self { serve: true, work: false, trigger: false };
    /// The workers.
    pub const WORK: Self = Self { serve: false, work: true, trigger: false };
    /// The watched tables and schedules.
    pub const TRIGGER: Self = Self { serve: false, work: false, trigger: true };
}

/// Why a process cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Roles in processes of their own need a broker between them.
    #[error(
        "roles in separate processes need RabbitMQ: the bus inside a process ends at its border, and what one process hands \
         out would reach no other. Set AMQP_URL (or broker.url), or run all roles in one process with `switchboard all`"
    )]
    NeedsBroker,
    /// The database cannot be used.
    #[error("the database cannot be used")]
    Database(#[from] storage::Error),
    /// The database server is too old.
    #[error("PostgreSQL {0} is too old: 15 or newer is needed")]
    TooOld(i32),
    /// The schema is not the one that this program was built for.
    #[error("{0}")]
    Schema(String),
    /// A port cannot be listened on.
    #[error("{key} = {address} cannot be listened on")]
    Listen {
        /// The setting.
        key: &'static str,
        /// Its value.
        address: SocketAddr,
        /// What the system says.
        #[source]
        cause: std::io::Error,
    },
    /// The spool cannot be used.
    #[error(transparent)]
    Spool(#[from] spool::Error),
    /// The files cannot be used.
    #[error("files.place cannot be used")]
    Files(#[from] blobs::Error),
}

/// A process that runs.
#[derive(Debug)]
pub struct Running {
    /// Where the API is served.
    pub grpc_addr: Option<SocketAddr>,
    /// Where webhooks, health and metrics are served.
    pub http_addr: Option<SocketAddr>,
    /// What the use cases of this process stand on.
    pub context: Context,
    stages: Stages,
    drain: Duration,
}

/// What ends one after the other: what comes in, what works on it, what is left to write, what carries it.
#[derive(Debug, Clone, Default)]
struct Stages {
    intake: Stage,
    workers: Stage,
    flush: Stage,
    bus: Stage,
    /// A part of the process ended by itself.
    failed: CancellationToken,
}

#[derive(Debug, Clone, Default)]
struct Stage {
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// A process that is being put together.
struct Process<'a> {
    config: &'a Config,
    context: Context,
    bus: SharedBus,
    clock: Measured,
    stages: Stages,
}

/// Checks that the database can be used by this program: its version, and its schema.
///
/// # Errors
/// See [`StartError`].
pub async fn check_database(url: &str, wait_for: Duration) -> Result<(), StartError> {
    let mut conn = schema::connect(url, wait_for).await?;
    let version = schema::server_version(&mut conn).await?;
    let state = schema::compare(&mut conn).await?;
    schema::close(conn).await;
    if version < schema::MIN_SERVER {
        return Err(StartError::TooOld(version / 10_000));
    }
    match state {
        Schema::Current => Ok(()),
        Schema::Newer(version) => {
            tracing::warn!(version, "the schema is newer than this program: this process is to be replaced soon");
            Ok(())
        }
        Schema::Behind(missing) => Err(StartError::Schema(format!(
            "the schema of the database is not up to date ({} missing, from {}): run `switchboard migrate`, or start with \
             --migrate",
            missing.len(),
            missing.first().map_or("", String::as_str)
        ))),
        Schema::Different(name) => Err(StartError::Schema(format!(
            "migration {name} was applied with another text or failed half way: this database was not made by a release of \
             this program"
        ))),
    }
}

/// Starts the roles of a process. When this returns, everything runs and both servers answer.
///
/// Ports of 0 are chosen by the system; [`Running`] says which. Must be called inside a Tokio runtime.
///
/// # Errors
/// See [`StartError`]; nothing is left running then.
pub async fn start(config: &Config, clock: Clock, roles: Roles) -> Result<Running, StartError> {
    if roles != Roles::ALL && config.broker_url.is_none() {
        return Err(StartError::NeedsBroker);
    }
    let url = config.database.url.expose_secret();
    check_database(url, Duration::from_secs(10)).await?;
    let http = match roles.serve {
        true => Some(bind("http.listen", config.http.listen).await?),
        false => match config.telemetry.listen {
            Some(address) => Some(bind("telemetry.listen", address).await?),
            None => None,
        },
    };
    let grpc = match roles.serve {
        true => Some(bind("grpc.listen", config.grpc_listen).await?),
        false => None,
    };
    let (http_addr, grpc_addr) = (http.as_ref().map(|(_, a)| *a), grpc.as_ref().map(|(_, a)| *a));
    let spool = spool::Spool::open(&config.http.spool_dir, if roles.serve { config.http.spool_max_bytes } else { 0 })?;
    let stages = Stages::default();
    let process = Process {
        config,
        context: context(config, clock, http_addr).await?,
        bus: bus(config, &stages.bus),
        clock: Measured::default(),
        stages: stages.clone(),
    };
    if let Err(error) = correct_clock::measure(&process.context, &process.clock).await {
        tracing::warn!(error = format!("{error:#}"), "the database's clock is not known yet");
    }
    process.background();
    if let Some((listener, _)) = http {
        process.serve_http(listener, &spool, roles.serve);
    }
    if roles.serve {
        process.receive(&spool).await;
    }
    if let Some((listener, _)) = grpc {
        process.serve_grpc(listener);
    }
    if roles.work {
        process.work();
    }
    if roles.trigger {
        process.trigger();
    }
    tracing::info!(?roles, http = ?http_addr, grpc = ?grpc_addr, "started");
    Ok(Running { grpc_addr, http_addr, context: process.context, stages, drain: config.workers.drain })
}

impl Process<'_> {
    /// What every process does.
    fn background(&self) {
        let (context, stage) = (&self.context, &self.stages.workers);
        let measured = self.clock.clone();
        self.spawn("correct_clock", stage, |stop| correct_clock::run(context.clone(), measured, stop));
        self.spawn("metrics", stage, fold_metrics);
        let (url, hearer) = (self.config.database.url.clone(), context.clone());
        self.spawn("listen", stage, |stop| async move {
            listen::listen(url.expose_secret(), NOTIFY_CHANNEL, stop, |payload| hear(&hearer, payload)).await;
        });
        // Alone, a process has nobody to tell.
        if self.config.broker_url.is_some() {
            for topic in Topic::ALL {
                let context = context.clone();
                self.spawn("carry", stage, |stop| async move {
                    tokio::select! { () = stop.cancelled() => {}, () = context.wake.carry(topic, &context.lists) => {} }
                });
            }
        }
    }

    /// The web server: all of it, or health and metrics only.
    fn serve_http(&self, listener: TcpListener, spool: &spool::Spool, public: bool) {
        let stage = &self.stages.intake;
        let stopping = stage.stop.clone();
        let web = Arc::new(Web {
            context: self.context.clone(),
            spool: spool.clone(),
            health: Health { bus: Arc::clone(&self.bus), clock: self.clock.clone(), stopping },
            places: Semaphore::new(self.config.http.max_requests),
            tasks: stage.tasks.clone(),
        });
        let router = http::routes(web, self.config.http.max_body_bytes, public);
        self.spawn("http", stage, |stop| async move {
            if let Err(error) = http::serve(listener, router, stop).await {
                tracing::error!(error = %error, "the web server stopped");
            }
        });
    }

    /// What stands behind the webhooks. Returns when those that waited from before are stored, and the time in which nobody
    /// received is known: the workers must not take that for silence.
    async fn receive(&self, spool: &spool::Spool) {
        // The channels are read once, so that webhooks can be checked when the database goes away at once.
        if let Err(error) = self.context.directory.snapshot(&self.context.side).await {
            tracing::warn!(error = %error, "the channels cannot be read yet");
        }
        let (context, waiting) = (&self.context, spool.clone());
        self.spawn("spool", &self.stages.workers, |stop| http::webhooks::empty_spool(context.clone(), waiting, stop));
        let end = Instant::now() + SPOOL_FIRST;
        while !spool.is_empty() && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if let Err(error) = receiving::pass(context, spool.identity(), !spool.is_empty()).await {
            tracing::warn!(error = format!("{error:#}"), "it is not known yet how long nothing was received");
        }
        let waiting = spool.clone();
        // Ends with the intake: a process that takes no more webhooks must not say that it receives.
        self.spawn("receiving", &self.stages.intake, |stop| {
            receiving::run(context.clone(), waiting.identity(), move || !waiting.is_empty(), stop)
        });
    }

    fn serve_grpc(&self, listener: TcpListener) {
        let context = self.context.clone();
        self.spawn("grpc", &self.stages.intake, |stop| async move {
            if let Err(error) = grpc::serve(listener, context, stop).await {
                tracing::error!(error = %error, "the API stopped");
            }
        });
    }

    /// The workers of the role `work`, one line each.
    fn work(&self) {
        let (context, stage, retention) = (&self.context, &self.stages.workers, self.config.retention);
        let (outcomes, inbox) = mpsc::channel(OUTCOMES);
        let dispatch = Dispatch::new(context.clone(), Providers::new(context.clone()), outcomes)
            .with_lease(self.config.workers.lease)
            .with_prefetch(self.config.workers.prefetch);
        for queue in Queue::all() {
            self.spawn("dispatch", stage, |stop| dispatch.clone().run(Arc::clone(&self.bus), queue, stop));
        }
        // Ends by itself when the last dispatch worker has, after everything is written.
        self.spawn("writer", &self.stages.flush, |_| writer::run(context.clone(), inbox));
        self.spawn("relay", stage, |stop| Relay::new(context.clone(), Arc::clone(&self.bus)).run(stop));
        self.spawn("receipts", stage, |stop| merging::receipts(context.clone(), stop));
        self.spawn("inbound", stage, |stop| merging::inbound(context.clone(), stop));
        for _ in 1..INBOUND {
            self.spawn("inbound", stage, |stop| merging::inbound_beside(context.clone(), stop));
        }
        self.spawn("conversations", stage, |stop| conversations::run(context.clone(), stop));
        self.spawn("fallback", stage, |stop| fallback::run(context.clone(), stop));
        self.spawn("sweep", stage, |stop| sweep::run(context.clone(), stop));
        self.spawn("planner", stage, |stop| planner::Planner::new(context.clone()).run(stop));
        self.spawn("mailing", stage, |stop| mailing::run(context.clone(), stop));
        self.spawn("controllers", stage, |stop| controllers::run(context.clone(), stop));
        self.spawn("media", stage, |stop| media::run(context.clone(), stop));
        self.spawn("courtesies", stage, |stop| media::courtesies(context.clone(), stop));
        self.spawn("sequencer", stage, |stop| sequencer::run(context.clone(), stop));
        self.spawn("archive", stage, |stop| archive::run(context.clone(), stop));
        self.spawn("housekeeping", stage, |stop| housekeeping::run(context.clone(), retention, stop));
        let (broker, events) = (self.config.broker_url.as_ref(), &self.config.events);
        let (publish, commands) = (broker.filter(|_| events.publish), broker.filter(|_| events.commands));
        self.spawn("hooks", stage, |stop| hooks::run(context.clone(), self.config.webhooks, stop));
        self.spawn("publishing", stage, |stop| publishing::run(context.clone(), publish.cloned(), stop));
        self.spawn("commands", stage, |stop| commands::run(context.clone(), commands.cloned(), stop));
    }

    /// The workers of the role `trigger`, one line each.
    fn trigger(&self) {
        let (context, stage) = (&self.context, &self.stages.workers);
        self.spawn("captures", stage, |stop| captures::run(context.clone(), stop));
        self.spawn("firings", stage, |stop| firings::run(context.clone(), stop));
        self.spawn("schedules", stage, |stop| schedules::run(context.clone(), stop));
    }

    /// Runs a part of the process. One that ends before it is told to, by a panic or otherwise, ends the process.
    fn spawn<F>(&self, name: &'static str, stage: &Stage, part: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        // The intake is told first: once it is, everything is about to end.
        let (told, failed) = (self.stages.intake.stop.clone(), self.stages.failed.clone());
        let running = AssertUnwindSafe(part(stage.stop.child_token())).catch_unwind();
        stage.tasks.spawn(async move {
            let ended = running.await;
            if ended.is_err() || !told.is_cancelled() {
                tracing::error!(part = name, panicked = ended.is_err(), "a part of the process ended by itself");
                failed.cancel();
            }
        });
    }
}

impl Running {
    /// Waits until a part of the process ends by itself: the process is to be stopped then.
    pub async fn failed(&self) {
        self.stages.failed.cancelled().await;
    }

    /// Stops in order: no more requests, calls under way end, outcomes are written, connections are closed. What takes too
    /// long is left behind; its leases let others take over.
    pub async fn stop(self) {
        let Stages { intake, workers, flush, bus, .. } = &self.stages;
        tracing::info!("stopping: no more requests are taken");
        end("intake", intake, INTAKE).await;
        end("workers", workers, self.drain).await;
        end("flush", flush, STAGE).await;
        end("bus", bus, STAGE).await;
        let Context { db, lists, side, .. } = &self.context;
        let closing = async { tokio::join!(db.pool().close(), lists.pool().close(), side.pool().close()) };
        let _ = timeout(STAGE, closing).await;
        tracing::info!("stopped");
    }
}

async fn end(name: &str, stage: &Stage, patience: Duration) {
    stage.stop.cancel();
    stage.tasks.close();
    if timeout(patience, stage.tasks.wait()).await.is_err() {
        tracing::warn!(
            stage = name,
            left = stage.tasks.len(),
            "not everything ended in time; its leases bring it back"
        );
    }
}

async fn bind(key: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |cause| StartError::Listen { key, address, cause };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

fn bus(config: &Config, stage: &Stage) -> SharedBus {
    match &config.broker_url {
        Some(url) => Arc::new(RabbitBus::start(url.expose_secret(), stage.tasks.clone(), stage.stop.clone())),
        None => Arc::new(LocalBus::default()),
    }
}

async fn context(config: &Config, clock: Clock, http_addr: Option<SocketAddr>) -> Result<Context, StartError> {
    let database = &config.database;
    let open = |connections, planner| Db::open(database.url.expose_secret(), connections, planner);
    let lists = open(database.list_connections, Planner::Free)?;
    let settings = Settings {
        public_url: match config.http.public_url.as_str() {
            "" => format!("http://{}", http_addr.unwrap_or(config.http.listen)),
            url => url.to_owned(),
        },
        time_zone: config.time_zone,
        default_country: config.default_country.clone(),
        quiet_hours: config.quiet_hours.clone(),
        words: config.words.clone(),
        confirmations: config.confirmations.clone(),
        archive: archived(config),
        idle_close: i64::try_from(config.idle_close_hours).ok().and_then(chrono::TimeDelta::try_hours),
        unsubscribe_key: unsubscribe_key(config, &lists).await?,
        events: events::Settings {
            source: config.events.source.clone(),
            outside_flows: config.events.outside_flows,
            reach: Reach {
                plain_http: config.webhooks.allow_http,
                private_networks: config.webhooks.allow_private_networks,
            },
        },
        media: config.media.clone(),
    };
    Ok(Context {
        db: open(database.hot_connections, Planner::Hot)?,
        side: open(database.side_connections, Planner::Free)?,
        lists,
        clock,
        wake: Wake::default(),
        settings: Arc::new(settings),
        directory: Directory::default(),
        plans: Plans::default(),
        blobs: Blobs::open(&config.files)?,
        typing: Typing::default(),
    })
}

/// When conversations go into the archive.
fn archived(config: &Config) -> services::archive::Settings {
    let days = |n: u32| chrono::TimeDelta::days(n.into());
    services::archive::Settings { after: config.archive.after.map(days), keep: config.archive.keep.map(days) }
}

async fn unsubscribe_key(config: &Config, lists: &Db) -> Result<unsubscribe::Key, StartError> {
    if let Some(secret) = &config.http.unsubscribe_secret {
        return Ok(unsubscribe::Key::derived(secret.expose_secret().as_bytes()));
    }
    let fresh: [u8; unsubscribe::KEY_BYTES] = rand::random();
    let kept = house::deployment_key(&mut *lists.conn().await?, UNSUBSCRIBE_KEY, &fresh).await?;
    Ok(unsubscribe::Key::derived(&kept))
}

/// Another process says that there is work; nothing said: there may be any.
fn hear(context: &Context, payload: Option<&str>) {
    match payload {
        Some(name) => match Topic::from_name(name) {
            Some(topic) => context.wake.signal_here(topic),
            None => context.typing.hear(name),
        },
        None => Topic::ALL.into_iter().for_each(|topic| context.wake.signal_here(topic)),
    }
}

/// Folds what was observed, so that metrics that nobody fetches do not grow.
async fn fold_metrics(stop: CancellationToken) {
    while timeout(UPKEEP, stop.cancelled()).await.is_err() {
        telemetry::metrics().run_upkeep();
    }
}
