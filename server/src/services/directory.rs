//! The directory: every channel with its providers and their built connectors, in memory.
//!
//! It is read again when it is used and older than a second, or after [`Directory::invalidate`]; a connector is built again
//! only when its settings changed. Settings that cannot be built are a problem of that provider alone: it counts as down, and
//! its health says why.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    channel::{ChannelType, Lane},
    fallback::{ChannelFact, ChannelFacts, QuietRule},
};
use tokio::sync::Mutex;

use super::Result;
use crate::{
    channels::{
        Connector, Outlet,
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

/// When a provider of which no connector outside is there is looked at again.
const ABSENT_FOR: TimeDelta = TimeDelta::seconds(10);
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
    /// The send groups of direct traffic that stand: a group keeps its key for ever.
    groups: std::sync::Mutex<HashMap<(i32, Lane), i64>>,
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
        Self {
            inner: Arc::new(Inner {
                secrets,
                find,
                kept: Mutex::new(None),
                groups: std::sync::Mutex::default(),
                generation: AtomicU64::new(0),
            }),
        }
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

    /// The send group of direct traffic over a channel in a lane; none while it was not committed by anybody. Read on a connection of
    /// its own, since what the caller's transaction has made may be rolled back.
    ///
    /// # Errors
    /// What storage says.
    pub async fn direct_group(&self, db: &Db, channel: i32, lane: Lane) -> Result<Option<i64>> {
        let known = self.inner.groups.lock().unwrap_or_else(PoisonError::into_inner).get(&(channel, lane)).copied();
        if known.is_some() {
            return Ok(known);
        }
        let found = storage::planning::direct_group(&mut *db.conn().await?, channel, lane).await?;
        if let Some(id) = found {
            self.inner.groups.lock().unwrap_or_else(PoisonError::into_inner).insert((channel, lane), id);
        }
        Ok(found)
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

    /// Settings that name secrets, to be read where the secrets of connectors are.
    #[must_use]
    pub fn with_secrets(&self, values: serde_json::Map<String, serde_json::Value>) -> ProviderSettings {
        ProviderSettings::new(values, Arc::clone(&self.inner.secrets))
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

/// What limits a channel over all processes, as it is configured: its own limits, and those of the provider that is in use.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Limits {
    /// Messages a second over the channel.
    pub messages: Option<f64>,
    /// Parts of short messages a second over the channel.
    pub parts: Option<f64>,
    /// Calls that may be open at once.
    pub calls: Option<f64>,
    /// People who may be written to first within a day.
    pub recipients_per_day: Option<i32>,
    /// The provider that is in use: the first that may be called.
    pub provider: Option<i32>,
    /// Messages a second that it takes.
    pub provider_messages: Option<f64>,
    /// Parts of short messages a second that it takes.
    pub provider_parts: Option<f64>,
}

impl Snapshot {
    /// The rate of a channel as configured, its provider's included, in messages a second; none: as fast as they are taken.
    #[must_use]
    pub fn rate(&self, channel: i32) -> Option<f64> {
        let limits = self.limits(channel);
        limits.messages.into_iter().chain(limits.provider_messages).reduce(f64::min)
    }

    /// What limits a channel.
    #[must_use]
    pub fn limits(&self, channel: i32) -> Limits {
        let Some(channel) = self.channel(channel) else { return Limits::default() };
        let usable = channel.usable_provider(self.read_at).map(|(provider, _)| provider);
        let provider = usable.or_else(|| channel.providers.first()).map(|provider| &provider.row);
        let calls = [channel.row.in_flight, provider.and_then(|p| p.in_flight)];
        Limits {
            messages: channel.row.rate_per_second,
            parts: channel.row.parts_per_second,
            calls: calls.into_iter().flatten().min().map(f64::from),
            recipients_per_day: channel.row.recipients_per_day,
            provider: provider.map(|p| p.id),
            provider_messages: provider.and_then(|p| p.rate_per_second),
            provider_parts: provider.and_then(|p| p.parts_per_second),
        }
    }

    /// Whether connectors outside fetch the deliveries of a channel, and at least one is there. Where none is, our own workers
    /// see to it that its people are reached another way.
    #[must_use]
    pub fn is_fetched(&self, channel: i32) -> bool {
        self.channel(channel).is_some_and(|c| c.outside().is_some() && c.down_until(self.read_at).is_none())
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
            scheme: c.scheme().map(str::to_owned),
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

    /// Whether parts of short messages have to be counted: a rate or a price is in parts.
    #[must_use]
    pub fn counts_parts(&self) -> bool {
        let limited =
            self.row.parts_per_second.is_some() || self.providers.iter().any(|p| p.row.parts_per_second.is_some());
        self.row.channel_type == ChannelType::Sms && (limited || self.row.price.is_some())
    }

    /// The medium whose ids it reaches, where its type has several.
    #[must_use]
    pub fn scheme(&self) -> Option<&str> {
        domain::address::scheme(&self.row.service_identifier).filter(|_| self.row.channel_type.has_scheme())
    }

    /// The first provider that may be called now, by machine time.
    #[must_use]
    pub fn usable_provider(&self, machine_now: DateTime<Utc>) -> Option<(&Provider, &Arc<dyn Connector>)> {
        let usable = |p: &&Provider| p.down_until(machine_now).is_none();
        self.providers.iter().filter(usable).find_map(|p| Some((p, p.connector.as_ref().ok()?)))
    }

    /// The provider whose deliveries connectors outside the process fetch, where the channel has such a one.
    #[must_use]
    pub fn outside(&self) -> Option<(&Provider, &Arc<dyn Connector>)> {
        let built = self.providers.iter().filter_map(|p| Some((p, p.connector.as_ref().ok()?)));
        built.into_iter().find(|(_, connector)| matches!(connector.outlet(), Outlet::Outside { .. }))
    }

    /// Where no provider may be called: when the first of them is to be tried again, in machine time.
    #[must_use]
    pub fn down_until(&self, machine_now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let untils: Vec<Option<DateTime<Utc>>> = self.providers.iter().map(|p| p.down_until(machine_now)).collect();
        match untils.iter().any(Option::is_none) {
            true => None,
            false => Some(untils.into_iter().flatten().min().unwrap_or(machine_now + BROKEN_FOR)),
        }
    }
}

impl Provider {
    /// Where connectors outside fetch its deliveries and none of them is there: when that is looked at again, in machine time.
    #[must_use]
    pub fn absent_until(&self, machine_now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self.connector.as_ref().map(|connector| connector.outlet()) {
            Ok(Outlet::Outside { grace, .. }) if !self.seen_within(grace, machine_now) => {
                Some(machine_now + ABSENT_FOR)
            }
            Ok(Outlet::Outside { .. } | Outlet::WebChat | Outlet::Wire) | Err(_) => None,
        }
    }

    fn seen_within(&self, grace: Duration, machine_now: DateTime<Utc>) -> bool {
        let grace = TimeDelta::from_std(grace).unwrap_or(TimeDelta::MAX);
        self.row.last_seen_at.is_some_and(|seen| machine_now - seen <= grace)
    }

    /// Until when it is not called, in machine time; none when it may be called.
    fn down_until(&self, machine_now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match (&self.connector, self.row.enabled) {
            (Ok(_), true) => {
                self.absent_until(machine_now).or(self.row.open_until.filter(|until| *until > machine_now))
            }
            (Err(_), _) | (_, false) => Some(machine_now + BROKEN_FOR),
        }
    }
}
