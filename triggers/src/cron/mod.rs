//! The wake-up of schedules: once a second, at the next due time, and when somebody pokes.
//!
//! `tokio-cron-scheduler` runs one job, the tick, whose body only raises a flag; one loop here calls [`DueSchedules::fire_due`]. So
//! two calls never overlap, a panic or an error costs one call, and a tick that the scheduler loses or doubles changes
//! nothing. What is due, and that it fires once however many processes run, is decided behind the trait, in tables.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::FutureExt;
use tokio::sync::Notify;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};
use tokio_util::sync::CancellationToken;

use crate::BoxError;

/// Every second: the longest that a due schedule waits when the timer and the poke have failed.
const TICK: &str = "* * * * * *";

/// The pause after a failed call; a poke ends it early, a tick does not.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(2);

/// Between two calls, however early the next due time: two clocks that differ must not make a busy loop.
const SHORTEST_WAIT: Duration = Duration::from_millis(10);

/// The schedules, as this crate sees them.
#[async_trait]
pub trait DueSchedules: Send + Sync + 'static {
    /// Fires all that is due, and returns when the next one will be (`None`: nothing is planned).
    ///
    /// Must be idempotent and safe in many processes at once: it is called at least each second.
    ///
    /// # Errors
    /// Any error is logged and the call is repeated after a pause.
    async fn fire_due(&self) -> Result<Option<DateTime<Utc>>, BoxError>;

    /// The clock in which the next due time is meant. Tests move it and poke.
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

/// Wakes the schedules until it is cancelled.
pub struct CronWaker {
    schedules: Arc<dyn DueSchedules>,
    poke: Arc<Notify>,
}

/// Ends the waiting of a [`CronWaker`] at once: after a schedule was written, or a clock was moved.
#[derive(Clone)]
pub struct CronPoke(Arc<Notify>);

impl CronPoke {
    /// Asks for a look now. Many pokes during one look become one more look.
    pub fn poke(&self) {
        self.0.notify_one();
    }
}

impl CronWaker {
    /// Prepares a waker; nothing runs before [`CronWaker::run`].
    #[must_use]
    pub fn new(schedules: Arc<dyn DueSchedules>) -> Self {
        Self { schedules, poke: Arc::new(Notify::new()) }
    }

    /// A handle to wake it early.
    #[must_use]
    pub fn poker(&self) -> CronPoke {
        CronPoke(Arc::clone(&self.poke))
    }

    /// Looks at once, then at each wake-up, until `cancel`; a call under way is finished first.
    ///
    /// # Errors
    /// Only if the scheduler cannot start, which means a defect in this program.
    pub async fn run(self, cancel: CancellationToken) -> Result<(), JobSchedulerError> {
        let tick = Arc::new(Notify::new());
        let mut scheduler = start_tick(Arc::clone(&tick)).await?;
        while !cancel.is_cancelled() {
            let wait = self.look().await;
            let (next_tick, timer) = match wait {
                Wait::Until(delay) => (Some(&tick), delay),
                Wait::Pause => (None, PAUSE_AFTER_FAILURE),
            };
            tokio::select! {
                () = cancel.cancelled() => {}
                () = self.poke.notified() => {}
                () = tokio::time::sleep(timer) => {}
                () = notified(next_tick) => {}
            }
        }
        scheduler.shutdown().await
    }

    /// One call, with its error or panic caught, and how long to wait after it.
    async fn look(&self) -> Wait {
        match AssertUnwindSafe(self.schedules.fire_due()).catch_unwind().await {
            Ok(Ok(next)) => Wait::Until(next.map_or(Duration::from_secs(60), |due| {
                // A due time in the past means that the call stopped early (a full page) or that clocks differ.
                (due - self.schedules.now()).to_std().unwrap_or(Duration::ZERO).max(SHORTEST_WAIT)
            })),
            Ok(Err(error)) => {
                tracing::warn!(error = %error, "due schedules could not be fired, trying again");
                Wait::Pause
            }
            Err(_) => {
                tracing::error!("firing due schedules panicked, trying again");
                Wait::Pause
            }
        }
    }
}

/// What to do after a look.
enum Wait {
    /// Wait so long, or for the tick.
    Until(Duration),
    /// Wait the pause, whatever ticks.
    Pause,
}

/// Waits for the flag, or for ever.
async fn notified(flag: Option<&Arc<Notify>>) {
    match flag {
        Some(flag) => flag.notified().await,
        None => std::future::pending().await,
    }
}

/// Starts the scheduler with its only job.
async fn start_tick(flag: Arc<Notify>) -> Result<JobScheduler, JobSchedulerError> {
    let scheduler = JobScheduler::new().await?;
    let job = Job::new_async(TICK, move |_, _| {
        let flag = Arc::clone(&flag);
        Box::pin(async move { flag.notify_one() })
    })?;
    scheduler.add(job).await?;
    scheduler.start().await?;
    Ok(scheduler)
}
