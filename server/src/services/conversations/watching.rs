//! Following one conversation or many: first as they stand, then every event of them in order, each with a cursor to go on from.

use std::{collections::VecDeque, sync::Arc};

use uuid::Uuid;

use super::{Conversation, Wanted, list};
use crate::{
    services::{
        Context, Error, Result,
        events::{Fact, Feed, Filter, Item, Start, Subscription},
        messages::{self, Message},
    },
    storage::activities,
};

/// Conversations of a snapshot that are read at once.
const PAGE: i64 = 100;
/// The most conversations of a snapshot: whoever watches more lists them page by page.
pub const MOST: usize = 1_000;

/// What is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watched {
    /// One conversation.
    One(Uuid),
    /// All that are meant.
    Many(Wanted),
}

/// One message of the stream.
#[derive(Debug, Clone)]
pub enum Update {
    /// A conversation as it stands, in the snapshot.
    Snapshot(Box<Conversation>),
    /// The snapshot is complete; events behind this position follow.
    Complete(i64),
    /// Something happened in a conversation.
    Event(Box<Happened>),
    /// Nothing happened; everything up to this position was seen.
    Checkpoint(i64),
}

/// Something that happened in a conversation.
#[derive(Debug, Clone)]
pub struct Happened {
    /// The event.
    pub fact: Arc<Fact>,
    /// The message, where it is about one.
    pub message: Option<Message>,
    /// The conversation as it is now.
    pub conversation: Conversation,
}

/// See the module.
#[derive(Debug)]
pub struct Watch {
    context: Context,
    watched: Watched,
    subscription: Subscription,
    ready: VecDeque<Update>,
    begun: bool,
    resumed: bool,
}

impl Watch {
    /// Begins to follow: with the snapshot, or behind a cursor.
    ///
    /// # Errors
    /// [`Error::NotFound`] for one that does not exist, [`Error::CursorGone`], CURSOR_INVALID.
    pub async fn begin(feed: &Feed, context: &Context, watched: Watched, start: Start) -> Result<Self> {
        if let Watched::One(id) = watched {
            super::get(context, id).await?;
        }
        // The ear before the first look: what changes in between is heard.
        let subscription = Subscription::begin(feed, start, Filter::default()).await?;
        let resumed = start != Start::Now;
        Ok(Self { context: context.clone(), watched, subscription, ready: VecDeque::new(), begun: false, resumed })
    }

    /// The next message; waits for it.
    ///
    /// # Errors
    /// [`Error::CursorGone`] when it was read too slowly; what storage says.
    pub async fn next(&mut self) -> Result<Update> {
        if !std::mem::replace(&mut self.begun, true) {
            let Item::Checkpoint(position) = self.subscription.next().await? else {
                return Err(Error::Storage(crate::storage::Error::Corrupt(
                    "a stream began without its position".into(),
                )));
            };
            if !self.resumed {
                self.look().await?;
            }
            self.ready.push_back(Update::Complete(position));
        }
        loop {
            if let Some(update) = self.ready.pop_front() {
                return Ok(update);
            }
            match self.subscription.next().await? {
                Item::Checkpoint(position) => return Ok(Update::Checkpoint(position)),
                Item::Event(fact) => {
                    if let Some(happened) = self.happened(fact).await? {
                        return Ok(Update::Event(Box::new(happened)));
                    }
                }
            }
        }
    }

    async fn look(&mut self) -> Result<()> {
        match &self.watched {
            Watched::One(id) => {
                self.ready.push_back(Update::Snapshot(Box::new(super::get(&self.context, *id).await?)));
            }
            Watched::Many(wanted) => {
                let mut wanted = wanted.clone();
                while self.ready.len() < MOST {
                    let found = list(&self.context, &wanted, PAGE).await?;
                    let last = found.last().map(|c| (c.changed_at, c.id));
                    let full = found.len() >= usize::try_from(PAGE).unwrap_or_default();
                    self.ready.extend(found.into_iter().map(|c| Update::Snapshot(Box::new(c))));
                    match last {
                        Some(last) if full => wanted.before = Some(last),
                        Some(_) | None => break,
                    }
                }
            }
        }
        Ok(())
    }

    /// What an event means here; none where it is of another conversation.
    async fn happened(&self, fact: Arc<Fact>) -> Result<Option<Happened>> {
        let Some(id) = conversation_of(&fact) else { return Ok(None) };
        match &self.watched {
            Watched::One(wanted) if *wanted != id => return Ok(None),
            Watched::Many(wanted) if wanted.contact.is_some_and(|c| fact.concern.contact.is_some_and(|of| of != c)) => {
                return Ok(None);
            }
            Watched::One(_) | Watched::Many(_) => {}
        }
        let conn = &mut *self.context.lists.conn().await?;
        // A conversation with all that is shown of it costs much more than the answer that it is not meant.
        if let Watched::Many(wanted) = &self.watched
            && !activities::is_meant(conn, wanted, id).await?
        {
            return Ok(None);
        }
        let Some(conversation) = activities::conversations(conn, &[id]).await?.pop() else { return Ok(None) };
        if let Watched::Many(wanted) = &self.watched
            && !wanted.takes(&conversation)
        {
            return Ok(None);
        }
        let message = fact.subject.strip_prefix("messages/").and_then(|id| id.parse().ok());
        let message = match message {
            Some(id) => messages::load(conn, &[id]).await?.pop(),
            None => None,
        };
        Ok(Some(Happened { fact, message, conversation }))
    }
}

/// The conversation that an event is of.
fn conversation_of(fact: &Fact) -> Option<Uuid> {
    let own = fact.subject.strip_prefix("conversations/").and_then(|id| id.parse().ok());
    let named = || fact.data.get("conversation")?.as_str()?.strip_prefix("conversations/")?.parse().ok();
    own.or_else(named).or(fact.concern.conversation)
}
