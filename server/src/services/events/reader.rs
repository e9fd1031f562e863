//! The one reader of a process: woken when events were numbered, it reads each once and hands it to every subscriber.

use std::{sync::Arc, time::Duration};

use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::fact::{self, Fact};
use crate::{
    services::{Context, Error, Result},
    storage,
    wake::Topic,
};

/// Rows that are read at once; a row stands for up to some thousand events.
pub(super) const ROWS: i64 = 200;
/// Pages that wait for a subscriber; one that lags further behind reads what is stored.
const KEPT_PAGES: usize = 64;
/// The longest sleep without a wake-up.
const SCAN: Duration = Duration::from_secs(1);
/// The pause after a failed read.
const AFTER_ERROR: Duration = Duration::from_secs(1);

/// Facts that follow each other: those with numbers above `after`, up to `upto`.
#[derive(Debug)]
pub(in crate::services) struct Page {
    pub(in crate::services) after: i64,
    pub(in crate::services) upto: i64,
    pub(in crate::services) facts: Vec<Arc<Fact>>,
}

/// What is new, for all subscribers of this process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Feed {
    pub(super) context: Context,
    sender: broadcast::Sender<Arc<Page>>,
}

impl Feed {
    /// Starts the reader; it ends with `stop`.
    #[must_use]
    pub fn start(context: Context, stop: CancellationToken) -> Self {
        let feed = Self { context, sender: broadcast::Sender::new(KEPT_PAGES) };
        let reader = feed.clone();
        tokio::spawn(async move {
            tokio::select! { () = stop.cancelled() => {}, () = reader.run() => {} }
        });
        feed
    }

    pub(super) fn listen(&self) -> broadcast::Receiver<Arc<Page>> {
        self.sender.subscribe()
    }

    async fn run(&self) {
        let mut position = None;
        loop {
            // Nobody listens: nothing is read, and the next listener begins at the end.
            if self.sender.receiver_count() == 0 {
                position = None;
            } else if let Err(error) = self.read_new(&mut position).await {
                tracing::warn!(error = %error, "new events could not be read; they are tried again");
                tokio::time::sleep(AFTER_ERROR).await;
                continue;
            }
            self.context.wake.wait(Topic::Numbered, SCAN).await;
        }
    }

    async fn read_new(&self, position: &mut Option<i64>) -> Result<()> {
        let mut from = match *position {
            Some(position) => position,
            None => self.join().await?,
        };
        loop {
            *position = Some(from);
            let page = match self.page(from).await {
                // What was kept for too short a time is gone for subscribers too; they find out by themselves.
                Err(Error::CursorGone { .. }) => {
                    *position = None;
                    return Ok(());
                }
                page => page?,
            };
            let Some(page) = page else { return Ok(()) };
            from = page.upto;
            // An error means that nobody listens any more.
            let _ = self.sender.send(Arc::new(page));
        }
    }

    /// Begins at the end, and says so: a subscriber that is further back then reads what lies between.
    async fn join(&self) -> Result<i64> {
        let (last, _) = storage::events::bounds(&mut *self.context.lists.conn().await?).await?;
        let _ = self.sender.send(Arc::new(Page { after: last, upto: last, facts: Vec::new() }));
        Ok(last)
    }

    /// The next facts behind a position; none when there are none yet.
    pub(super) async fn page(&self, after: i64) -> Result<Option<Page>> {
        page(&self.context, after, ROWS, i64::MAX).await
    }
}

/// The next facts behind a position, of at most `rows` rows and `most` numbers; none when there are none yet. A row that
/// stands for more is told in parts.
///
/// # Errors
/// [`Error::CursorGone`] when the next one is no longer kept; what storage says.
pub(in crate::services) async fn page(context: &Context, after: i64, rows: i64, most: i64) -> Result<Option<Page>> {
    let conn = &mut *context.lists.conn().await?;
    let mut rows = storage::events::after(conn, after, rows).await?;
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
        let (_, first) = storage::events::bounds(conn).await?;
        return if first > after + 1 { Err(super::gone(first - 1)) } else { Ok(None) };
    };
    if first.number > after + 1 {
        return Err(super::gone(first.number - 1));
    }
    let upto = (last.number + i64::from(last.n) - 1).min(after.saturating_add(most));
    rows.retain(|row| row.number <= upto);
    for row in &mut rows {
        row.cut(after, upto);
    }
    let facts = fact::unfold(context, conn, &rows, after).await?;
    Ok(Some(Page { after, upto, facts }))
}
