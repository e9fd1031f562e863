//! A unit of work: one transaction, and who is to be woken once it is committed.
//!
//! Use cases that write take `&mut Work`, so that a caller can put several of them, and the record of its request, into one
//! transaction. Dropped without [`Work::commit`], nothing happened and nobody is woken.

use chrono::{DateTime, Utc};

use super::{Context, Result};
use crate::{
    storage::{self, Conn, Tx},
    wake::Topic,
};

/// See the module.
#[derive(Debug)]
pub struct Work {
    tx: Tx,
    now: DateTime<Utc>,
    wakes: Vec<Topic>,
    channels_changed: bool,
}

impl Work {
    /// Begins a transaction; the business time of its beginning holds for all of it.
    ///
    /// # Errors
    /// What storage says.
    pub async fn begin(context: &Context) -> Result<Self> {
        let now = context.clock.now();
        Ok(Self { tx: context.lists.begin().await?, now, wakes: Vec::new(), channels_changed: false })
    }

    /// The connection, inside the transaction.
    pub fn conn(&mut self) -> &mut Conn {
        &mut self.tx
    }

    /// Business time.
    #[must_use]
    pub const fn now(&self) -> DateTime<Utc> {
        self.now
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
