//! How a channel is: its breakers, its backlog, the last failures; and a check that asks each provider without sending.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures::future::join_all;

use super::{Channel, Context, Result};
use crate::{
    channels::Connector,
    services::directory::Built,
    storage::{
        channels::{self, Backlog, EndedCall},
        pace::{self, ProviderPace},
        pairs,
    },
};

/// The most failures that are shown of one provider.
const SHOWN: usize = 10;
/// How long one provider may take to answer a check.
const CHECK_TIMEOUT: Duration = Duration::from_secs(15);

/// How a channel is at this moment.
#[derive(Debug, Clone)]
pub struct Health {
    /// The channel.
    pub channel: Channel,
    /// How each provider is, in the channel's order.
    pub providers: Vec<ProviderHealth>,
    /// What waits and what is on the wire.
    pub backlog: Backlog,
    /// When a provider last accepted a message.
    pub last_accept_at: Option<DateTime<Utc>>,
    /// People who were written to first within a day.
    pub recipients_today: i64,
}

/// How one provider is.
#[derive(Debug, Clone)]
pub struct ProviderHealth {
    /// Its name in the channel.
    pub name: String,
    /// Until when no calls are made, in machine time; none when they are.
    pub open_until: Option<DateTime<Utc>>,
    /// How many of the last calls failed in a row.
    pub failures: usize,
    /// The last failures, the newest first.
    pub last_failures: Vec<EndedCall>,
    /// Messages a second that it is granted now; none: nothing limits it.
    pub granted_rate: Option<f64>,
    /// What it said about our speed.
    pub pace: ProviderPace,
}

/// What a check of one provider found.
#[derive(Debug, Clone)]
pub struct Checked {
    /// Its name in the channel.
    pub name: String,
    /// How long its answer took; none when it was not called.
    pub latency: Option<Duration>,
    /// What is wrong, as (setting, words); the setting is empty where it is about the whole.
    pub problems: Vec<(String, String)>,
}

/// How a channel is.
///
/// # Errors
/// [`super::Error::NotFound`].
pub async fn health(context: &Context, slug: &str) -> Result<Health> {
    let snapshot = context.directory.snapshot(&context.lists).await?;
    let conn = &mut *context.lists.conn().await?;
    let channel = super::one(conn, slug).await?;
    let ids: Vec<i32> = channel.providers.iter().map(|p| p.id).collect();
    let calls = channels::last_calls(conn, &ids).await?;
    let backlog = channels::backlog(conn, channel.row.id).await?;
    let (paces, machine_now) = (pace::providers(conn).await?, pace::now(conn).await?);
    let today = pairs::today(conn, &[channel.row.id], machine_now).await?;
    let recipients_today = today.get(&channel.row.id).copied().unwrap_or_default().n;
    let providers = channel.providers.iter().map(|p| {
        let pace = paces.get(&p.id).copied().unwrap_or_default();
        let own: Vec<&EndedCall> = calls.iter().filter(|c| c.provider_id == p.id).collect();
        ProviderHealth {
            name: p.name.clone(),
            open_until: p
                .open_until
                .filter(|until| *until > snapshot.read_at)
                .or_else(|| snapshot.provider(p.id).and_then(|(_, p)| p.absent_until(snapshot.read_at))),
            failures: own.iter().take_while(|c| !c.accepted).count(),
            last_failures: own.iter().filter(|c| !c.accepted).take(SHOWN).map(|c| (*c).clone()).collect(),
            granted_rate: pace.speed.granted(p.rate_per_second, machine_now),
            pace,
        }
    });
    let providers = providers.collect();
    let last_accept_at = calls.iter().filter(|c| c.accepted).map(|c| c.ended_at).max();
    Ok(Health { channel, providers, backlog, last_accept_at, recipients_today })
}

/// Asks each provider of a channel whether it accepts our credentials, all at once.
///
/// # Errors
/// [`super::Error::NotFound`].
pub async fn check(context: &Context, slug: &str) -> Result<Vec<Checked>> {
    let channel = super::get(context, slug).await?;
    let snapshot = context.directory.snapshot(&context.lists).await?;
    let is_absent = |id: i32| snapshot.provider(id).is_some_and(|(_, p)| p.absent_until(snapshot.read_at).is_some());
    let asked = channel.providers.iter().map(|provider| async {
        let built = context.directory.try_build(&provider.connector, &provider.settings);
        let (latency, mut problems) = ask(built).await;
        if is_absent(provider.id) {
            problems.push((String::new(), "no connector outside is there: start one, and look at its log".to_owned()));
        }
        Checked { name: provider.name.clone(), latency, problems }
    });
    Ok(join_all(asked).await)
}

async fn ask(built: Built) -> (Option<Duration>, Vec<(String, String)>) {
    let connector: std::sync::Arc<dyn Connector> = match built {
        Ok(connector) => connector,
        Err(problems) => {
            return (None, problems.iter().map(|p| (format!("settings.{}", p.field), p.description.clone())).collect());
        }
    };
    let began = Instant::now();
    let answer = tokio::time::timeout(CHECK_TIMEOUT, connector.check()).await;
    let problem = match answer {
        Ok(Ok(())) => None,
        Ok(Err(words)) => Some(words),
        Err(_) => Some(format!("did not answer within {} seconds", CHECK_TIMEOUT.as_secs())),
    };
    (Some(began.elapsed()), problem.map(|words| (String::new(), words)).into_iter().collect())
}
