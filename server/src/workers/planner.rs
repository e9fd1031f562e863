//! The planner: begins campaigns whose time has come, turns audiences into notifications a page at a time, takes cancelled
//! ones back, and ends those of which everything has ended.
//!
//! Any number of planners may run: a campaign is leased by one of them, and what has no lease is locked while it is moved.
//! Several campaigns take turns, a page each, so that a large one delays no small one.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::repeat;
use crate::{
    services::{
        Context,
        campaigns::{
            ending,
            planning::{LEASE_SECS, Paged, Run},
            verbs,
        },
    },
    storage::campaigns::planning,
    wake::Topic,
};

/// Campaigns that one process plans at once.
const AT_ONCE: usize = 4;
/// How often the speed of a campaign that is spread over its window is set anew.
const SPREAD_EVERY: Duration = Duration::from_secs(5);
/// How often all is looked at while no campaign is at work.
const MEND_EVERY: Duration = Duration::from_secs(10);
/// The longest sleep without a wake-up: within it a campaign is completed after its last notification has ended.
const SCAN: Duration = Duration::from_secs(1);

/// A turn that is not over within this waits for a connection that the network has lost: reading a page of an audience may take
/// its time.
const LONGEST_PASS: Duration = Duration::from_secs(600);

/// One planner.
#[derive(Debug)]
pub struct Planner {
    context: Context,
    token: Uuid,
    runs: Vec<Run>,
    spread_at: Option<Instant>,
    /// When all was last looked at although no campaign was at work.
    quiet_since: Option<Instant>,
    next_start: Option<DateTime<Utc>>,
}

impl Planner {
    /// A planner that holds nothing yet.
    #[must_use]
    pub fn new(context: Context) -> Self {
        Self { context, token: Uuid::now_v7(), runs: Vec::new(), spread_at: None, quiet_since: None, next_start: None }
    }

    /// Runs until `stop`; what it holds is free for others then.
    pub async fn run(self, stop: CancellationToken) {
        let context = self.context.clone();
        let planner = tokio::sync::Mutex::new(self);
        let pass = || async { context.within_for(LONGEST_PASS, planner.lock().await.pass()).await? };
        let rest = || async {
            let next = planner.lock().await.next_start;
            rest(&context, next).await;
        };
        repeat("planner", &stop, pass, rest).await;
        planner.into_inner().release().await;
    }

    /// One turn of everything. Says whether there may be more at once.
    ///
    /// # Errors
    /// What storage says; the next pass tries again.
    pub async fn pass(&mut self) -> anyhow::Result<bool> {
        let at_work = planning::at_work(&mut *self.context.lists.conn().await?).await?;
        self.next_start = at_work.next_start;
        // Groups of campaigns that have ended are mended now and then.
        if !at_work.any && self.runs.is_empty() && self.quiet_since.is_some_and(|at| at.elapsed() < MEND_EVERY) {
            return Ok(false);
        }
        self.quiet_since = (!at_work.any).then(Instant::now);
        let mut more = verbs::begin_due(&self.context).await?;
        more |= ending::take_back(&self.context).await?;
        ending::mend_groups(&self.context).await?;
        if self.spread_at.is_none_or(|at| at.elapsed() >= SPREAD_EVERY) {
            ending::spread_out(&self.context).await?;
            self.spread_at = Some(Instant::now());
        }
        more |= self.plan().await?;
        ending::complete(&self.context).await?;
        Ok(more)
    }

    /// A page of each campaign that this planner holds.
    async fn plan(&mut self) -> anyhow::Result<bool> {
        let room = i64::try_from(AT_ONCE.saturating_sub(self.runs.len()))?;
        if room > 0 {
            let conn = &mut *self.context.lists.conn().await?;
            let claimed = planning::claim(conn, self.token, LEASE_SECS, room).await?;
            self.runs.extend(claimed.into_iter().map(|id| Run::new(id, self.token)));
        }
        let mut failure = None;
        let mut kept = Vec::with_capacity(self.runs.len());
        for mut run in std::mem::take(&mut self.runs) {
            match run.page(&self.context).await {
                Ok(Paged::More(_)) => kept.push(run),
                Ok(Paged::Done | Paged::Lost) => {}
                Err(error) => {
                    kept.push(run);
                    failure = Some(error);
                }
            }
        }
        self.runs = kept;
        match failure {
            Some(error) => Err(error.into()),
            None => Ok(!self.runs.is_empty()),
        }
    }

    async fn release(self) {
        let ids: Vec<i64> = self.runs.iter().map(|run| run.id).collect();
        if ids.is_empty() {
            return;
        }
        let Ok(mut conn) = self.context.lists.conn().await else { return };
        if let Err(error) = planning::release(&mut conn, self.token, &ids, 0.0, None).await {
            tracing::debug!(error = %error, "campaigns were not given back; their leases will end");
        }
    }
}

async fn rest(context: &Context, next: Option<DateTime<Utc>>) {
    // What is due and was not begun is held by another planner: it is looked at again soon, not at once.
    let earliest = context.clock.now() + chrono::Duration::milliseconds(20);
    tokio::select! {
        () = context.clock.sleep_until(next.map(|at| at.max(earliest)), SCAN) => {}
        () = context.wake.wait(Topic::Planner, SCAN) => {}
    }
}
