//! Wake-ups: how a worker that sleeps learns at once that there is something to do.
//!
//! Inside the process a signal is a permit on a [`Notify`]. Processes that do not run the worker themselves tell the others
//! by a debounced `NOTIFY` after commit, never inside a writer's transaction, where it would serialise all commits. A lost
//! signal is repaired by every worker's own periodic scan, so a wake-up is a hint and carries nothing.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Notify;

use crate::storage::{self, Db};

/// The channel on which processes wake each other.
pub const NOTIFY_CHANNEL: &str = "switchboard_wake";
/// The longest sleep of a worker that waits for what is due: what is due later needs no signal, since it looks again before.
pub const LONGEST_SLEEP: Duration = Duration::from_secs(1);
/// Signals to other processes are at least this far apart for each topic.
const DEBOUNCE: Duration = Duration::from_millis(20);

/// Who is to wake up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Chunks wait to be published.
    Relay,
    /// Timers were armed for now.
    Fallback,
    /// Receipts wait to be merged.
    Receipts,
    /// Messages of people wait to be taken up.
    Inbound,
    /// A campaign or call list changed.
    Planner,
    /// Events wait for their numbers.
    Events,
    /// Numbered events wait for their readers.
    Numbered,
    /// Numbered events wait for the exchange.
    Publish,
    /// Numbered events wait for webhooks, or a webhook changed.
    Hooks,
    /// Numbered events wait for controllers, or an intent was decided.
    Controllers,
    /// A trigger, source or schedule changed.
    Triggers,
    /// Firings wait to become notifications.
    Firings,
    /// Something is due of a conversation.
    Conversations,
    /// Files of messages wait to be fetched.
    Media,
    /// Signs wait to be given to providers.
    Courtesies,
    /// Chunks wait for connectors outside, or were settled by one.
    Pulls,
    /// A web chat has something to show.
    WebChat,
}

impl Topic {
    /// Every topic.
    pub const ALL: [Self; 17] = [
        Self::Relay,
        Self::Fallback,
        Self::Receipts,
        Self::Inbound,
        Self::Planner,
        Self::Events,
        Self::Numbered,
        Self::Publish,
        Self::Hooks,
        Self::Controllers,
        Self::Triggers,
        Self::Firings,
        Self::Conversations,
        Self::Media,
        Self::Courtesies,
        Self::Pulls,
        Self::WebChat,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Fallback => "fallback",
            Self::Receipts => "receipts",
            Self::Inbound => "inbound",
            Self::Planner => "planner",
            Self::Events => "events",
            Self::Numbered => "numbered",
            Self::Publish => "publish",
            Self::Hooks => "hooks",
            Self::Controllers => "controllers",
            Self::Triggers => "triggers",
            Self::Firings => "firings",
            Self::Conversations => "conversations",
            Self::Media => "media",
            Self::Courtesies => "courtesies",
            Self::Pulls => "pulls",
            Self::WebChat => "web_chat",
        }
    }

    /// The topic of a notification's payload.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.name() == name)
    }
}

/// The hub of one process.
#[derive(Debug, Clone, Default)]
pub struct Wake {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    here: [Notify; Topic::ALL.len()],
    elsewhere: [Notify; Topic::ALL.len()],
}

impl Wake {
    /// Signals after a commit: the workers of this process, and (debounced) those of others.
    pub fn signal(&self, topic: Topic) {
        self.inner.here[topic as usize].notify_one();
        self.inner.elsewhere[topic as usize].notify_one();
    }

    /// Signals after a commit that armed something for `due`, in business time; not where that is so far ahead that whoever waits
    /// for it looks again before.
    pub fn signal_for(&self, topic: Topic, due: Option<DateTime<Utc>>, now: DateTime<Utc>) {
        let soon = TimeDelta::from_std(LONGEST_SLEEP * 2).unwrap_or(TimeDelta::MAX);
        if due.is_some_and(|due| due - now <= soon) {
            self.signal(topic);
        }
    }

    /// Signals the workers of this process only: another process has said so.
    pub fn signal_here(&self, topic: Topic) {
        self.inner.here[topic as usize].notify_one();
    }

    /// Waits for a signal, or for `at_most`. A signal that came while nobody waited is kept.
    pub async fn wait(&self, topic: Topic, at_most: Duration) {
        let _ = tokio::time::timeout(at_most, self.inner.here[topic as usize].notified()).await;
    }

    /// Carries the signals of one topic to other processes, for ever. Run for the topics whose worker is not in this process.
    pub async fn carry(&self, topic: Topic, db: &Db) {
        loop {
            self.inner.elsewhere[topic as usize].notified().await;
            if let Err(error) = db.within(storage::wake::notify(db, NOTIFY_CHANNEL, topic.name())).await.flatten() {
                tracing::debug!(topic = topic.name(), error = %error, "a wake-up was not carried");
            }
            tokio::time::sleep(DEBOUNCE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_what_is_due_before_the_next_look_wakes_anybody() {
        let (wake, now) = (Wake::default(), Utc::now());
        for (due, woken) in [(None, false), (Some(3600), false), (Some(3), false), (Some(2), true), (Some(-9), true)] {
            wake.signal_for(Topic::Fallback, due.map(|secs| now + TimeDelta::seconds(secs)), now);
            let (began, long) = (tokio::time::Instant::now(), Duration::from_secs(60));
            wake.wait(Topic::Fallback, long).await;
            assert_eq!(began.elapsed() < long, woken, "due in {due:?} seconds");
        }
    }
}
