//! When a consumer looks: the sleep handshake, and the housekeeping between two looks.

use std::time::{Duration, Instant};

use chrono::Utc;
use sqlx::Acquire;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::super::Error;
use super::super::health::SourceState;
use super::Failure;
use super::session::{Session, timed};

/// The first pause while a writer's transaction is open.
const SHORTEST_LOOK: Duration = Duration::from_millis(5);

/// Taken rows are deleted at most this often, unless many wait.
const TIDY_EVERY: Duration = Duration::from_secs(1);

/// So many taken rows are deleted without waiting.
const MANY: u64 = 5000;

impl Session<'_> {
    /// Takes rows until cancelled: awake while there are any, asleep under the lock else.
    pub(super) async fn drain(&mut self, cancel: &CancellationToken, poke: &Notify) -> Result<(), Failure> {
        let mut pause = SHORTEST_LOOK;
        while !cancel.is_cancelled() {
            if !self.asleep {
                self.health.state(SourceState::Draining);
            }
            if self.take(cancel).await? {
                pause = SHORTEST_LOOK;
            }
            self.tidy().await?;
            if self.try_sleep().await? {
                // Who committed before the lock was granted is visible now; who writes from now on will notify.
                if self.take(cancel).await? || cancel.is_cancelled() {
                    continue;
                }
                self.health.state(SourceState::Asleep);
                self.sleep(cancel, poke).await?;
            } else {
                tokio::select! {
                    () = cancel.cancelled() => {}
                    () = poke.notified() => {}
                    () = tokio::time::sleep(pause) => {}
                }
                pause = (pause * 2).min(self.settings.busy_look);
            }
        }
        Ok(())
    }

    /// Sleeps until something is found, and comes back awake.
    async fn sleep(&mut self, cancel: &CancellationToken, poke: &Notify) -> Result<(), Failure> {
        loop {
            tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                () = poke.notified() => {}
                () = tokio::time::sleep(self.settings.idle_look) => {}
                message = self.listener.try_recv() => {
                    if message?.is_none() {
                        let lost = std::io::Error::new(std::io::ErrorKind::ConnectionReset, "the connection was lost");
                        return Err(Error::Unreachable(sqlx::Error::Io(lost)).into());
                    }
                }
            }
            // Many writers may have notified before the first was heard.
            while self.listener.next_buffered().is_some() {}
            if self.take(cancel).await? {
                return self.wake_up().await;
            }
            self.tidy().await?;
        }
    }

    /// Deletes what was taken, and looks after gaps and triggers, each in its own rhythm.
    async fn tidy(&mut self) -> Result<(), Failure> {
        let due = |last: Option<Instant>, every: Duration| last.is_none_or(|last| last.elapsed() >= every);
        if self.unswept >= MANY || (self.unswept > 0 && due(self.tidied, TIDY_EVERY)) {
            self.sweep().await?;
            self.tidied = Some(Instant::now());
        }
        if due(self.checked, self.settings.check_every) {
            self.check().await?;
            self.checked = Some(Instant::now());
        }
        Ok(())
    }

    async fn sweep(&mut self) -> Result<(), Failure> {
        let Some(place) = self.place.as_ref().filter(|place| place.inside.is_none()).cloned() else { return Ok(()) };
        let limit = self.limit();
        let conn = self.listener.acquire().await?;
        while timed(limit, self.outbox.sweep(conn, &self.swept, &place.taken)).await? {}
        timed(limit, self.outbox.raise_floor(conn, self.highest)).await?;
        self.swept = place.taken;
        self.unswept = 0;
        Ok(())
    }

    /// Reads how full the outbox is, the gap marks and the triggers; hands gaps to the sink.
    async fn check(&mut self) -> Result<(), Failure> {
        let limit = self.limit();
        let conn = self.listener.acquire().await?;
        let mut state = timed(limit, self.outbox.state(conn)).await?;
        if self.asleep && state.waiting > 0 {
            // Asleep and nothing found: what was numbered and is not there was rolled back.
            timed(limit, self.outbox.raise_floor(conn, state.last)).await?;
            state = timed(limit, self.outbox.state(conn)).await?;
        }
        let gaps = timed(limit, self.outbox.gaps(conn, state.full)).await?;
        let faults = timed(limit, self.outbox.faults(conn)).await?;
        if !gaps.is_empty() {
            self.sink.note_gaps(self.source.id, &gaps).await?;
            let ended: Vec<_> = gaps.iter().filter(|gap| gap.until.is_some()).map(|gap| gap.id).collect();
            timed(limit, self.outbox.forget_gaps(conn, &ended)).await?;
        }
        self.health.change(|health| {
            health.gaps.retain(|known| known.until.is_some() && gaps.iter().all(|gap| gap.id != known.id));
            let excess = health.gaps.len().saturating_sub(20);
            health.gaps.drain(..excess);
            health.gaps.extend(gaps);
            health.trigger_faults = faults;
            health.outbox_rows = u64::try_from(state.waiting).ok();
            health.outbox_full = state.full;
            health.checked_at = Some(Utc::now());
        });
        Ok(())
    }
}
