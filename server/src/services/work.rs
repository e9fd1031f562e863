//! A unit of work: one transaction, and who is to be woken once it is committed.
//!
//! Use cases that write take `&mut Work`, so that a caller can put several of them, and the record of its request, into one
//! transaction. Dropped without [`Work::commit`], nothing happened and nobody is woken.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{Context, Result};
use crate::{
    storage::{self, Conn, Tx},
    wake::Topic,
};

/// Who acts in a unit of work where nobody says who: a caller of the API.
pub const API: &str = "api";

/// Who does what a unit of work does, and when, as events and timelines tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// `api`, `outside` (a command over the broker), or a resource name such as `operators/asha` or `controllers/desk`.
    pub actor: Arc<str>,
    /// When, in business time.
    pub at: DateTime<Utc>,
}

/// See the module.
#[derive(Debug)]
pub struct Work {
    tx: Tx,
    who: Who,
    wakes: Vec<Topic>,
    channels_changed: bool,
}

impl Work {
    /// Begins a transaction; the business time of its beginning holds for all of it.
    ///
    /// # Errors
    /// What storage says.
    pub async fn begin(context: &Context) -> Result<Self> {
        let who = Who { actor: API.into(), at: context.clock.now() };
        Ok(Self { tx: context.lists.begin().await?, who, wakes: Vec::new(), channels_changed: false })
    }

    /// The same, done by somebody who is known: see [`Who::actor`].
    #[must_use]
    pub fn acted_by(mut self, actor: impl Into<Arc<str>>) -> Self {
        self.who.actor = actor.into();
        self
    }

    /// Who does it, and when.
    #[must_use]
    pub fn who(&self) -> Who {
        self.who.clone()
    }

    /// The connection, inside the transaction.
    pub fn conn(&mut self) -> &mut Conn {
        &mut self.tx
    }

    /// Business time.
    #[must_use]
    pub const fn now(&self) -> DateTime<Utc> {
        self.who.at
    }

    /// Wakes a worker after the commit.
    pub fn wake(&mut self, topic: Topic) {
        self.wakes.push(topic);
    }

    /// Makes this process read its channels again after the commit.
    pub const fn channels_changed(&mut self) {
        self.channels_changed = true;
    }

    /// Commits, then wakes.
    ///
    /// # Errors
    /// What storage says; when the connection was lost in the commit itself, its outcome is not known.
    pub async fn commit(self, context: &Context) -> Result<()> {
        self.tx.commit().await.map_err(storage::Error::from)?;
        if self.channels_changed {
            context.directory.invalidate();
        }
        for topic in self.wakes {
            context.wake.signal(topic);
        }
        Ok(())
    }
}
