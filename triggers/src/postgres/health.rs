//! What is known of a source at this moment: for `doctor`, the health endpoint and the list of firings.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{Gap, WatchId};

/// Where a consumer stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum SourceState {
    /// Not connected yet.
    Connecting,
    /// Another process drains this source; this one takes over when that one ends.
    Standby,
    /// Nothing is installed in the source: there is no capture schema.
    Unwatched,
    /// Taking rows, or waiting for a writer's transaction to end.
    Draining,
    /// Everything was taken; the next writer wakes it.
    Asleep,
    /// Something failed; it tries again by itself.
    BackingOff {
        /// What failed, in words for the operator.
        error: String,
        /// How long it waits before the next try.
        wait: Duration,
    },
    /// The server does not know this source any more.
    Forgotten,
    /// Cancelled.
    Stopped,
}

/// A trigger of a watch that does not do its work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TriggerFault {
    /// The watch.
    pub watch: WatchId,
    /// The trigger's name, or the column's.
    pub name: String,
    /// What is wrong.
    pub problem: TriggerProblem,
}

/// What can be wrong with a trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum TriggerProblem {
    /// It is gone, perhaps with its table: rows are not captured.
    Missing,
    /// It is disabled, or fires for replicas only: rows are not captured.
    Disabled,
    /// A column in use was renamed or dropped: rows are captured without it.
    ColumnMissing,
}

/// The health of one source. Times are the source's own clock unless said otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceHealth {
    /// Where the consumer stands.
    pub state: SourceState,
    /// When the last stored event was captured; `None` before the first since this consumer began.
    pub last_event_at: Option<DateTime<Utc>>,
    /// From capture to stored, for the last event; a writer's transaction that stayed open counts in.
    pub lag: Option<Duration>,
    /// Events stored since this consumer began.
    pub stored: u64,
    /// Gap marks that are open, and the last twenty that ended since this consumer began.
    pub gaps: Vec<Gap>,
    /// Triggers that do not do their work.
    pub trigger_faults: Vec<TriggerFault>,
    /// Rows that wait in the outbox, by the numbers given out: rolled-back writes may count in for a while. `None` before it
    /// was first asked.
    pub outbox_rows: Option<u64>,
    /// Whether the outbox is at its limit, so that nothing is captured.
    pub outbox_full: bool,
    /// When the last four fields were read, by this machine's clock.
    pub checked_at: Option<DateTime<Utc>>,
}

impl SourceHealth {
    pub(crate) const fn new() -> Self {
        Self {
            state: SourceState::Connecting,
            last_event_at: None,
            lag: None,
            stored: 0,
            gaps: Vec::new(),
            trigger_faults: Vec::new(),
            outbox_rows: None,
            outbox_full: false,
            checked_at: None,
        }
    }

    /// Whether a person should look: rows are not captured, or not taken.
    #[must_use]
    pub fn needs_attention(&self) -> bool {
        let stuck =
            matches!(self.state, SourceState::BackingOff { .. } | SourceState::Unwatched | SourceState::Forgotten);
        stuck || self.outbox_full || !self.trigger_faults.is_empty() || self.gaps.iter().any(|gap| gap.until.is_none())
    }
}
