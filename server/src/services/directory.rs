//! The directory: every channel with its providers and their built connectors, in memory.
//!
//! It is read again when it is used and older than a second, or after [`Directory::invalidate`]; a connector is built again
//! only when its settings changed. Settings that cannot be built are a problem of that provider alone: it counts as down, and
//! its health says why.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    channel::ChannelType,
    fallback::{ChannelFact, ChannelFacts, QuietRule},
};
use tokio::sync::Mutex;

use super::Result;
use crate::{
    channels::{
        Connector,
        registry::{self, ConnectorKind},
        settings::{ProcessSecrets, ProviderSettings, SecretSource, SettingProblem},
    },
    storage::{
        self, Db,
        directory::{ChannelRow, ProviderRow},
    },
};

/// How old the directory may be when it is used.
const FRESH: Duration = Duration::from_secs(1);
/// How long a read may take where an older directory could be served in its place.
const PATIENCE: Duration = Duration::from_secs(1);
/// When a provider that cannot be built is looked at again, as far as steps ask.
const BROKEN_FOR: TimeDelta = TimeDelta::minutes(1);

/// Finds a kind of connector by its name: [`registry::find`], unless a measurement brings one of its own.
pub type Find = fn(&str) -> Option<&'static ConnectorKind>;

/// One provider, ready to be called, or with what stands in the way.
#[derive(Debug, Clone)]
pub struct Provider {
    /// What stands in storage.
    pub row: ProviderRow,
    /// The connector.
    pub connector: Built,
}

/// A connector, or every problem of its settings.
pub type Built = std::result::Result<Arc<dyn Connector>, Arc<Vec<SettingProblem>>>;

/// One channel with its providers.
#[derive(Debug, Clone)]
pub struct Channel {
    /// What stands in storage.
    pub row: ChannelRow,
    /// Its providers, the preferred first; those that are disabled too.
    pub providers: Vec<Provider>,
}

/// The directory as it stood at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Every channel, by slug.
    pub channels: Vec<Channel>,
    /// Machine time of the read.
    pub read_at: DateTime<Utc>,
}

/// The directory of this process. Cheap to clone; clones share what is kept.
#[derive(Clone)]
pub struct Directory {
    inner: Arc<Inner>,
}

struct Inner {
    secrets: Arc<dyn SecretSource>,
    find: Find,
    kept: Mutex<Option<Kept>>,
    /// Counts calls of `invalidate`; a read that began before the last one is old at once.
    generation: AtomicU64,
}

struct Kept {
    snapshot: Arc<Snapshot>,
    read: Instant,
    generation: u64,
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory").finish_non_exhaustive()
    }
}

impl Default for Directory {
    fn default() -> Self {
        Self::new(Arc::new(ProcessSecrets))
    }
}

impl Directory {
    /// A directory whose connectors find their secrets in `secrets`.
    #[must_use]
    pub fn new(secrets: Arc<dyn SecretSource>) -> Self {
        Self::finding(secrets, registry::find)
    }

    /// A directory whose kinds of connectors are found by `find`: how a provider that lives in the process is measured.
    #[must_use]
    pub fn finding(secrets: Arc<dyn SecretSource>, find: Find) -> Self {
        Self { inner: Arc::new(Inner { secrets, find, kept: Mutex::new(None), generation: AtomicU64::new(0) }) }
    }

    /// The directory as it stands, at most a second old; while Postgres cannot be reached, as it last stood.
    ///
    /// # Errors
    /// What storage says, when it was never read.
    pub async fn snapshot(&self, db: &Db) -> Result<Arc<Snapshot>> {
        let mut kept = self.inner.kept.lock().await;
        let generation = self.inner.generation.load(Ordering::Acquire);
        if let Some(kept) = kept.as_ref().filter(|k| k.generation == generation && k.read.elapsed() < FRESH) {
            return Ok(Arc::clone(&kept.snapshot));
        }
        let read = Instant::now();
        let before = kept.as_ref().map(|k| Arc::clone(&k.snapshot));
        let snapshot = match (load(db, before.is_some()).await, before) {
            (Ok(rows), before) => Arc::new(self.build(rows, before.as_deref())),
            (Err(error), Some(before)) if error.is_transient() => {
                tracing::debug!(error = %error, "the channels are used as they last stood");
                before
            }
            (Err(error), _) => return Err(error.into()),
        };
        *kept = Some(Kept { snapshot: Arc::clone(&snapshot), read, generation });
        Ok(snapshot)
    }

    /// Makes the next use read again: called after a commit that changed a channel.
    pub fn invalidate(&self) {
        self.inner.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Builds a connector from settings that are not stored yet, to see whether they are right.
    ///
    /// # Errors
    /// Every problem of the settings, or that there is no such connector.
    pub fn try_build(&self, connector: &str, settings: &serde_json::Value) -> Built {
        self.inner.build(connector, settings)
    }

    fn build(&self, rows: storage::directory::Directory, before: Option<&Snapshot>) -> Snapshot {
        let old: HashMap<i32, &Provider> =
            before.into_iter().flat_map(|b| &b.channels).flat_map(|c| &c.providers).map(|p| (p.row.id, p)).collect();
        let mut by_channel: HashMap<i32, Vec<Provider>> = HashMap::new();
        for row in rows.providers {
            let unchanged = |p: &&Provider| p.row.connector == row.connector && p.row.settings == row.settings;
            // What failed is tried again each time: a file may have been put in its place.
            let connector = match old.get(&row.id).copied().filter(unchanged).map(|p| &p.connector) {
                Some(Ok(connector)) => Ok(Arc::clone(connector)),
                Some(Err(_)) | None => self.inner.build(&row.connector, &row.settings),
            };
            by_channel.entry(row.channel_id).or_default().push(Provider { row, connector });
        }
        let with_providers = |row: ChannelRow| {
            let providers = by_channel.remove(&row.id).unwrap_or_default();
            Channel { row, providers }
        };
        Snapshot { channels: rows.channels.into_iter().map(with_providers).collect(), read_at: rows.read_at }
    }
}

/// Reads the directory; not for long where there is an older one.
async fn load(db: &Db, is_kept: bool) -> storage::Result<storage::directory::Directory> {
    let reading = async { storage::directory::load(&mut *db.conn().await?).await };
    if !is_kept {
        return reading.await;
    }
    tokio::time::timeout(PATIENCE, reading).await.unwrap_or_else(|_| Err(storage::Error::no_answer()))
}

impl Inner {
    fn build(&self, connector: &str, settings: &serde_json::Value) -> Built {
        let problem = |field: &str, text: String| {
            Err(Arc::new(vec![SettingProblem { field: field.to_owned(), description: text }]))
        };
        let Some(kind) = (self.find)(connector) else {
            return problem("connector", format!("is {connector:?}, which this server does not have"));
        };
        let Some(values) = settings.as_object() else {
            return problem("settings", "must be an object".to_owned());
        };
        (kind.build)(&ProviderSettings::new(values.clone(), Arc::clone(&self.secrets))).map_err(Arc::new)
    }
}

impl Snapshot {
    /// The rate of a channel, in messages a second; none: as fast as its provider takes them.
    #[must_use]
    pub fn rate(&self, channel: i32) -> Option<f64> {
        self.channel(channel).and_then(|c| c.row.rate_per_second)
    }

    /// The channel with this key.
    #[must_use]
    pub fn channel(&self, id: i32) -> Option<&Channel> {
        self.channels.iter().find(|c| c.row.id == id)
    }

    /// The channel with this slug.
    #[must_use]
    pub fn by_slug(&self, slug: &str) -> Option<&Channel> {
        self.channels.iter().find(|c| c.row.slug == slug)
    }

    /// The provider with this key, and its channel.
    #[must_use]
    pub fn provider(&self, id: i32) -> Option<(&Channel, &Provider)> {
        self.channels.iter().find_map(|c| Some((c, c.providers.iter().find(|p| p.row.id == id)?)))
    }

    /// What steps ask of channels: all but the templates, which come from the plan. `quiet_hours` are those of the policy or of
    /// the deployment, `now` is business time: the breakers' machine time is carried over to it.
    #[must_use]
    pub fn facts(&self, quiet_hours: &[QuietRule], now: DateTime<Utc>) -> ChannelFacts {
        let fact = |c: &Channel| ChannelFact {
            key: c.row.id,
            slug: c.row.slug.clone(),
            channel_type: c.row.channel_type,
            enabled: c.row.state != "disabled",
            parked: c.row.state == "parked",
            providers_down_until: c.down_until(self.read_at).map(|until| now + (until - self.read_at)),
        };
        let channels = self.channels.iter().map(fact).collect();
        ChannelFacts { channels, quiet_hours: quiet_hours.to_vec(), templates: Vec::new() }
    }
}

impl Channel {
    /// The medium.
    #[must_use]
    pub const fn channel_type(&self) -> ChannelType {
        self.row.channel_type
    }

    /// The first provider that may be called now, by machine time.
    #[must_use]
    pub fn usable_provider(&self, machine_now: DateTime<Utc>) -> Option<(&Provider, &Arc<dyn Connector>)> {
        let usable = |p: &&Provider| p.down_until(machine_now).is_none();
        self.providers.iter().filter(usable).find_map(|p| Some((p, p.connector.as_ref().ok()?)))
    }

    /// Where no provider may be called: when the first of them is to be tried again, in machine time.
    fn down_until(&self, machine_now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let untils: Vec<Option<DateTime<Utc>>> = self.providers.iter().map(|p| p.down_until(machine_now)).collect();
        match untils.iter().any(Option::is_none) {
            true => None,
            false => Some(untils.into_iter().flatten().min().unwrap_or(machine_now + BROKEN_FOR)),
        }
    }
}

impl Provider {
    /// Until when it is not called, in machine time; none when it may be called.
    fn down_until(&self, machine_now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match (&self.connector, self.row.enabled) {
            (Ok(_), true) => self.row.open_until.filter(|until| *until > machine_now),
            (Err(_), _) | (_, false) => Some(machine_now + BROKEN_FOR),
        }
    }
}
