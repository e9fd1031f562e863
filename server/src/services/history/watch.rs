//! Following one notification: as it stands, then again whenever something of it changed.

use std::time::Duration;

use uuid::Uuid;

use super::{Full, get_full};
use crate::services::{
    Context, Result,
    events::{Feed, Filter, Item, Start, Subscription},
};

/// One message of the stream.
#[derive(Debug, Clone)]
pub enum Update {
    /// The notification as it is now.
    Notification(Box<Full>),
    /// Nothing happened; everything up to this position was seen.
    Checkpoint(i64),
}

/// A notification that is followed.
#[derive(Debug)]
pub struct Watch {
    context: Context,
    id: Uuid,
    keep_open: bool,
    subscription: Subscription,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Following,
    Over,
}

/// Changes that come within this time of each other are shown as one.
const TOGETHER: Duration = Duration::from_millis(20);

impl Watch {
    /// Begins to follow; with `keep_open` also beyond the notification's end, for what comes late.
    ///
    /// # Errors
    /// What storage says.
    pub async fn begin(feed: &Feed, context: &Context, id: Uuid, keep_open: bool) -> Result<Self> {
        // The ear before the first look: what changes in between is heard.
        let filter = Filter { notification: Some(id), ..Filter::default() };
        let subscription = Subscription::begin(feed, Start::Now, filter).await?;
        Ok(Self { context: context.clone(), id, keep_open, subscription, state: State::New })
    }

    /// The next message; waits for it. None when the notification has ended.
    ///
    /// # Errors
    /// [`crate::services::Error::NotFound`]; what storage says.
    pub async fn next(&mut self) -> Result<Option<Update>> {
        match self.state {
            State::Over => return Ok(None),
            State::New => {
                // Its first checkpoint says only where it began.
                self.subscription.next().await?;
            }
            State::Following => {
                if let Item::Checkpoint(position) = self.subscription.next().await? {
                    return Ok(Some(Update::Checkpoint(position)));
                }
                self.drain().await?;
            }
        }
        let now = get_full(&self.context, self.id).await?;
        let over = now.notification.row.state.is_finished() && !self.keep_open;
        self.state = if over { State::Over } else { State::Following };
        Ok(Some(Update::Notification(Box::new(now))))
    }

    /// Takes what belongs together: a move, its delivery and its next step are several events.
    async fn drain(&mut self) -> Result<()> {
        while let Ok(next) = tokio::time::timeout(TOGETHER, self.subscription.next()).await {
            if let Item::Checkpoint(_) = next? {
                return Ok(());
            }
        }
        Ok(())
    }
}
