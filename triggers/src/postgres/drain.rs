//! The consumer of one source: takes what captures wrote, in order, once, and never gives up.
//!
//! One connection listens, holds the locks and reads, so that they live and die together: a consumer that is gone cannot be
//! taken for one that sleeps. The connection is never left inside a transaction. Any error ends the session; the supervisor
//! waits a little and begins anew from the stored cursor, so that no state survives an error.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::health::{SourceHealth, SourceState};
use super::{Error, Source};
use crate::{Sink, SinkError};

mod session;
mod wake;

use session::Session;

/// How a consumer works. The defaults are meant for production.
#[derive(Debug, Clone)]
pub struct ConsumerSettings {
    /// Events in one batch: from 1 to 10,000.
    pub page: u32,
    /// How often an idle consumer looks although nobody woke it.
    pub idle_look: Duration,
    /// The longest pause between looks while a writer's transaction is open; the first pause is 5 ms.
    pub busy_look: Duration,
    /// How often a consumer that does not lead asks whether it may.
    pub standby_look: Duration,
    /// How often gap marks, triggers and the fill of the outbox are looked at.
    pub check_every: Duration,
    /// How long one statement may take on the source.
    pub statement_timeout: Duration,
    /// The longest pause after errors; the first is 50 ms. Every pause is shortened by up to a half, at random.
    pub max_back_off: Duration,
}

impl Default for ConsumerSettings {
    fn default() -> Self {
        Self {
            page: 1000,
            idle_look: Duration::from_secs(1),
            busy_look: Duration::from_secs(1),
            standby_look: Duration::from_millis(500),
            check_every: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(30),
            max_back_off: Duration::from_secs(2),
        }
    }
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Source(#[from] Error),
    #[error(transparent)]
    Sink(#[from] SinkError),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Source(error.into())
    }
}

/// Drains one source. Any number may run for the same source, in any number of processes: one leads, the others stand by.
pub struct Consumer {
    source: Source,
    sink: Arc<dyn Sink>,
    settings: ConsumerSettings,
    health: Health,
    poke: Arc<Notify>,
}

/// Makes a consumer look now: after a watch was installed, or a clock was moved.
#[derive(Clone)]
pub struct ConsumerPoke(Arc<Notify>);

impl ConsumerPoke {
    /// Asks for a look, and ends a pause after an error.
    pub fn poke(&self) {
        self.0.notify_one();
    }
}

/// The writing end of the health report.
#[derive(Clone)]
pub(crate) struct Health(Arc<watch::Sender<SourceHealth>>);

impl Health {
    /// Reports a state; nobody is told of a state that is not new.
    pub(crate) fn state(&self, state: SourceState) {
        self.0.send_if_modified(|health| {
            let new = health.state != state;
            health.state = state;
            new
        });
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut SourceHealth)) {
        self.0.send_modify(change);
    }
}

impl Consumer {
    /// Prepares a consumer; nothing runs before [`Consumer::run`].
    #[must_use]
    pub fn new(source: Source, sink: Arc<dyn Sink>, settings: ConsumerSettings) -> Self {
        let health = Health(Arc::new(watch::Sender::new(SourceHealth::new())));
        Self { source, sink, settings, health, poke: Arc::new(Notify::new()) }
    }

    /// The health report, kept current while it runs.
    #[must_use]
    pub fn health(&self) -> watch::Receiver<SourceHealth> {
        self.health.0.subscribe()
    }

    /// A handle to wake it.
    #[must_use]
    pub fn poker(&self) -> ConsumerPoke {
        ConsumerPoke(Arc::clone(&self.poke))
    }

    /// Drains until `cancel`; a batch under way is finished first. Errors are reported as health and tried again for ever.
    pub async fn run(self, cancel: CancellationToken) {
        let mut failures = 0;
        while !cancel.is_cancelled() {
            self.health.state(SourceState::Connecting);
            let failure = match self.session(&cancel, &mut failures).await {
                Ok(()) => continue,
                Err(failure) => failure,
            };
            if matches!(failure, Failure::Sink(SinkError::UnknownSource(_))) {
                tracing::warn!(source.id = %self.source.id, "source is not known any more, its consumer rests");
                self.health.state(SourceState::Forgotten);
                cancel.cancelled().await;
                break;
            }
            let wait = back_off(failures, self.settings.max_back_off);
            failures += 1;
            tracing::warn!(source.id = %self.source.id, error = %failure, wait_ms = wait.as_millis(), "draining failed");
            self.health.state(SourceState::BackingOff { error: failure.to_string(), wait });
            tokio::select! {
                () = cancel.cancelled() => {}
                () = self.poke.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        self.health.state(SourceState::Stopped);
    }

    /// One connection's life. `Ok` only when cancelled. Failures are forgotten once the connection leads.
    async fn session(&self, cancel: &CancellationToken, failures: &mut u32) -> Result<(), Failure> {
        let mut session = Session::open(&self.source, &*self.sink, &self.settings, self.health.clone()).await?;
        let outcome = self.lead(&mut session, cancel, failures).await;
        session.close().await;
        outcome
    }

    async fn lead(
        &self,
        session: &mut Session<'_>,
        cancel: &CancellationToken,
        failures: &mut u32,
    ) -> Result<(), Failure> {
        while !cancel.is_cancelled() {
            if !session.try_lead().await? {
                self.health.state(SourceState::Standby);
                self.rest(cancel, self.settings.standby_look).await;
            } else if !session.begin().await? {
                *failures = 0;
                self.health.state(SourceState::Unwatched);
                self.rest(cancel, self.settings.idle_look).await;
            } else {
                *failures = 0;
                return session.drain(cancel, &self.poke).await;
            }
        }
        Ok(())
    }

    async fn rest(&self, cancel: &CancellationToken, pause: Duration) {
        tokio::select! {
            () = cancel.cancelled() => {}
            () = self.poke.notified() => {}
            () = tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))) => {}
        }
    }
}

/// 50 ms, doubled with each failure up to the longest, shortened at random so that many consumers do not come back at once.
fn back_off(failures: u32, longest: Duration) -> Duration {
    let full = Duration::from_millis(50).saturating_mul(1 << failures.min(16)).min(longest);
    full.mul_f64(rand::random_range(0.5..1.0))
}
