//! The schedules' worker: what wakes them is [`triggers::cron`], what fires is decided in [`crate::services::schedules`].

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;
use triggers::{BoxError, DueSchedules, cron::CronWaker};

use crate::services::{Context, schedules};

/// The schedules of this deployment, as the waker sees them.
#[derive(Debug, Clone)]
pub struct Due {
    context: Context,
}

impl Due {
    /// The schedules behind these use cases.
    #[must_use]
    pub const fn new(context: Context) -> Self {
        Self { context }
    }
}

#[async_trait]
impl DueSchedules for Due {
    async fn fire_due(&self) -> Result<Option<DateTime<Utc>>, BoxError> {
        Ok(schedules::fire_due(&self.context).await?)
    }

    fn now(&self) -> DateTime<Utc> {
        self.context.clock.now()
    }
}

/// Fires schedules until `stop`. It looks at the next due time and once a second, so that a schedule that was written, and a
/// clock that was moved by hand, are seen within a second.
pub async fn run(context: Context, stop: CancellationToken) {
    if let Err(error) = CronWaker::new(std::sync::Arc::new(Due::new(context))).run(stop).await {
        tracing::error!(error = %error, "schedules are not kept: the waker could not start");
    }
}
