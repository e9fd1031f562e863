//! The providers that a process may call: open calls for each channel, and a circuit breaker for each provider.
//!
//! A breaker counts what this process saw; when it opens, the others are told through the provider's row, and the directory
//! leaves the provider out until then.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use domain::{
    circuit::{Breaker, Choice, Config, Signal, choose_provider, signal},
    delivery::{AfterUnknown, FailureClass, Outcome},
};

use super::calls::Calls;
use crate::{
    channels::{Connector, Sent},
    services::{Context, directory::Channel},
    storage::{breakers, pace},
};

/// How long answers that we are too fast are gathered before the relay is told.
const TELL_AFTER: Duration = Duration::from_millis(100);

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Providers {
    context: Context,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    breakers: HashMap<i32, Breaker>,
    /// Answers that we are too fast, which the relay was not told of yet.
    throttled: HashMap<i32, i64>,
    calls: HashMap<i32, (usize, Calls)>,
}

/// The provider that takes the next call.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// Its key.
    pub id: i32,
    /// Its connector.
    pub connector: Arc<dyn Connector>,
    /// How long one call may take.
    pub timeout: Duration,
    /// What can be done after an outcome that is not known.
    pub after_unknown: AfterUnknown,
    /// The open calls of its channel.
    pub calls: Calls,
    /// Whether one call is to show that the provider works again: no second one goes beside it.
    pub trial: bool,
}

impl Providers {
    /// No provider was called yet.
    #[must_use]
    pub fn new(context: Context) -> Self {
        Self { context, inner: Arc::default() }
    }

    /// The provider of a channel that takes the next call; none when all are down.
    #[must_use]
    pub fn choose(&self, channel: &Channel) -> Option<Chosen> {
        let now = Utc::now();
        let usable: Vec<_> = channel
            .providers
            .iter()
            .filter(|p| p.row.enabled && p.row.open_until.is_none_or(|until| until <= now))
            .filter_map(|p| Some((p, p.connector.as_ref().ok()?)))
            .collect();
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let states: Vec<Breaker> =
            usable.iter().map(|(p, _)| inner.breakers.get(&p.row.id).copied().unwrap_or_default()).collect();
        let Choice::Use { index, breaker } = choose_provider(&states, now, &Config::default()) else { return None };
        let (provider, connector) = usable.get(index)?;
        inner.breakers.insert(provider.row.id, breaker);
        let traits = connector.traits();
        let limit = channel.row.in_flight.or(provider.row.in_flight).and_then(|n| usize::try_from(n).ok());
        let limit = limit.unwrap_or(usize::try_from(traits.in_flight).unwrap_or(50)).max(1);
        let calls = match inner.calls.get(&channel.row.id) {
            Some((size, calls)) if *size == limit => calls.clone(),
            // Another limit was set: calls under way keep their old permits, new ones count against the new limit.
            _ => {
                let calls = Calls::new(limit);
                inner.calls.insert(channel.row.id, (limit, calls.clone()));
                calls
            }
        };
        let own = provider.row.timeout_ms.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis);
        Some(Chosen {
            id: provider.row.id,
            connector: Arc::clone(connector),
            timeout: own.unwrap_or(traits.timeout),
            after_unknown: traits.after_unknown,
            calls,
            trial: matches!(breaker, Breaker::HalfOpen { .. }),
        })
    }

    /// Learns from the end of a call whether its provider works.
    pub fn learn(&self, provider: &Chosen, sent: &Sent) {
        let (outcome, refusal) = match sent {
            Sent::Accepted { .. } => (Outcome::Accepted, None),
            Sent::Refused(refusal) => (Outcome::Refused, Some(refusal.class)),
            Sent::NotSent { .. } => (Outcome::NotSent, None),
            Sent::Unknown { .. } => (Outcome::Unknown, None),
        };
        if let Sent::Refused(refused) = sent {
            let ours = !provider.connector.throttles_one_recipient(&refused.code);
            if ours && refused.class == FailureClass::Throttled {
                self.throttled(provider.id);
            }
        }
        let now = Utc::now();
        let (before, after) = {
            let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            let before = inner.breakers.get(&provider.id).copied().unwrap_or_default();
            let after = before.after(signal(outcome, refusal), now, &Config::default());
            inner.breakers.insert(provider.id, after);
            (before, after)
        };
        match (before, after) {
            (_, Breaker::Open { until, .. }) if before != after => self.tell(provider.id, Some(until), sent),
            (Breaker::Open { .. } | Breaker::HalfOpen { .. }, Breaker::Closed { .. }) => {
                self.tell(provider.id, None, sent);
            }
            _ => {}
        }
    }

    /// Gives back a call that was not made for a reason of our own (content that cannot be rendered, a lease that is too
    /// short), which says nothing of the provider: a template with a fault must not stop a channel.
    pub fn spare(&self, provider: &Chosen) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let before = inner.breakers.get(&provider.id).copied().unwrap_or_default();
        inner.breakers.insert(provider.id, before.after(Signal::Neutral, Utc::now(), &Config::default()));
    }

    /// How long until a provider of the channel may be tried again, in seconds, at most a minute.
    #[must_use]
    pub fn retry_secs(&self, channel: &Channel) -> f64 {
        let (now, inner) = (Utc::now(), self.inner.lock().unwrap_or_else(PoisonError::into_inner));
        let until = |id: i32| match inner.breakers.get(&id) {
            Some(Breaker::Open { until, .. }) => Some(*until),
            Some(Breaker::HalfOpen { .. } | Breaker::Closed { .. }) | None => None,
        };
        let first = channel.providers.iter().filter_map(|p| p.row.open_until.max(until(p.row.id))).min();
        first.map_or(10.0, |at| (at - now).to_std().unwrap_or_default().as_secs_f64()).clamp(0.5, 60.0)
    }

    /// Has the relay told that a provider says we are too fast; what is said within a moment is told together.
    fn throttled(&self, provider_id: i32) {
        {
            let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            let waiting = inner.throttled.entry(provider_id).or_default();
            *waiting += 1;
            if *waiting > 1 {
                return; // someone is about to tell
            }
        }
        let this = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(TELL_AFTER).await;
            let n = {
                let mut inner = this.inner.lock().unwrap_or_else(PoisonError::into_inner);
                inner.throttled.remove(&provider_id).unwrap_or_default()
            };
            let told = match this.context.side.conn().await {
                Ok(mut conn) => pace::throttled(&mut conn, provider_id, n).await,
                Err(error) => Err(error),
            };
            if let Err(error) = told {
                tracing::debug!(error = %error, "the relay was not told that a provider throttles");
            }
        });
    }

    fn tell(&self, provider_id: i32, until: Option<DateTime<Utc>>, sent: &Sent) {
        let secs = until.map_or(0.0, |at| (at - Utc::now()).to_std().unwrap_or_default().as_secs_f64());
        let cause = match sent {
            Sent::Refused(refusal) => format!("{}: {}", refusal.code, refusal.detail),
            Sent::NotSent { detail } | Sent::Unknown { detail } => detail.clone(),
            Sent::Accepted { .. } => String::new(),
        };
        tracing::warn!(provider.id = provider_id, open_secs = secs, cause, "a provider's circuit breaker changed");
        let context = self.context.clone();
        tokio::spawn(async move {
            let told = match context.side.conn().await {
                Ok(mut conn) => breakers::set_open(&mut conn, provider_id, secs, &cause).await,
                Err(error) => Err(error),
            };
            if let Err(error) = told {
                tracing::debug!(error = %error, "other processes were not told of a breaker");
            }
            context.directory.invalidate();
        });
    }
}
