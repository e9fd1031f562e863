//! One subscriber: it follows the stream from its cursor, at its own pace. What it cannot take from the reader, because it
//! began earlier or was slow, it reads from what is stored.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::{sync::broadcast, time::Instant};
use uuid::Uuid;

use super::{
    fact::Fact,
    not_ours,
    reader::{Feed, Page},
};
use crate::{
    services::{Error, Result},
    storage,
};

/// Silence after which a checkpoint is sent, so that proxies keep the stream.
const IDLE: Duration = Duration::from_secs(15);
/// Events that a filter may leave out before a checkpoint says how far it is.
const LEFT_OUT: usize = 1000;

/// Where a subscription begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// After the newest event.
    Now,
    /// With the oldest event that is kept.
    Oldest,
    /// After this position.
    After(i64),
}

/// What a subscriber wants; all that is set must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Types, where `notification.*` means all of a noun; empty means all.
    pub types: Vec<String>,
    /// Subjects; empty means all.
    pub subjects: Vec<String>,
    /// The slug of a campaign.
    pub campaign: Option<String>,
    /// A contact.
    pub contact: Option<i64>,
    /// A notification and what belongs to it.
    pub notification: Option<Uuid>,
}

impl Filter {
    /// Whether it lets a fact through.
    #[must_use]
    pub fn takes(&self, fact: &Fact) -> bool {
        let of_type = |wanted: &String| match wanted.strip_suffix(".*") {
            Some(noun) => fact.r#type.split_once('.').is_some_and(|(of, _)| of == noun),
            None => *wanted == fact.r#type,
        };
        (self.types.is_empty() || self.types.iter().any(of_type))
            && (self.subjects.is_empty() || self.subjects.contains(&fact.subject))
            && (self.campaign.is_none() || self.campaign == fact.campaign)
            && (self.contact.is_none() || self.contact == fact.concern.contact)
            && (self.notification.is_none() || self.notification == fact.concern.notification)
    }
}

/// One message of a stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// Something happened.
    Event(Arc<Fact>),
    /// Everything up to this position was seen.
    Checkpoint(i64),
}

/// See the module.
#[derive(Debug)]
pub struct Subscription {
    feed: Feed,
    filter: Filter,
    live: broadcast::Receiver<Arc<Page>>,
    /// Whether all that is stored was read, so that the reader's pages follow.
    caught_up: bool,
    position: i64,
    ready: VecDeque<Arc<Fact>>,
    left_out: usize,
    said: Instant,
    begun: bool,
}

impl Subscription {
    /// Begins to follow the stream.
    ///
    /// # Errors
    /// [`Error::CursorGone`] when the position is older than what is kept; CURSOR_INVALID when it was never given.
    pub async fn begin(feed: &Feed, start: Start, filter: Filter) -> Result<Self> {
        // First the ear, then the position: what is numbered in between is heard or read, and recognised by its number.
        let live = feed.listen();
        let (last, first) = storage::events::bounds(&mut *feed.context.lists.conn().await?).await?;
        let position = match start {
            Start::Now => last,
            Start::Oldest => first - 1,
            Start::After(position) if position > last => return Err(Error::Invalid(vec![not_ours("start_cursor")])),
            Start::After(position) if position < first - 1 => return Err(super::gone(first - 1)),
            Start::After(position) => position,
        };
        Ok(Self {
            feed: feed.clone(),
            filter,
            live,
            caught_up: false,
            position,
            ready: VecDeque::new(),
            left_out: 0,
            said: Instant::now(),
            begun: false,
        })
    }

    /// The next message; waits for it. The first one is a checkpoint.
    ///
    /// # Errors
    /// [`Error::CursorGone`] when it was so slow that the next event is no longer kept; what storage says.
    pub async fn next(&mut self) -> Result<Item> {
        if !std::mem::replace(&mut self.begun, true) {
            return Ok(self.say(Item::Checkpoint(self.position)));
        }
        loop {
            while let Some(fact) = self.ready.pop_front() {
                self.position = fact.number;
                if self.filter.takes(&fact) {
                    return Ok(self.say(Item::Event(fact)));
                }
                self.left_out += 1;
                if self.left_out >= LEFT_OUT {
                    return Ok(self.say(Item::Checkpoint(self.position)));
                }
            }
            if !self.more().await? {
                return Ok(self.say(Item::Checkpoint(self.position)));
            }
        }
    }

    fn say(&mut self, item: Item) -> Item {
        (self.left_out, self.said) = (0, Instant::now());
        item
    }

    /// Gets facts behind the position. Says `false` when it is time for a checkpoint.
    async fn more(&mut self) -> Result<bool> {
        if !self.caught_up {
            match self.feed.page(self.position).await? {
                Some(page) => self.ready.extend(page.facts),
                None => self.caught_up = true,
            }
            return Ok(true);
        }
        match tokio::time::timeout_at(self.said + IDLE, self.live.recv()).await {
            Err(_) => return Ok(false),
            Ok(Ok(page)) if page.upto <= self.position => {}
            Ok(Ok(page)) if page.after <= self.position => {
                let new = page.facts.iter().filter(|fact| fact.number > self.position);
                self.ready.extend(new.cloned());
            }
            // Something lies between, or was dropped because this subscriber was slow: it stands in the table.
            Ok(Ok(_) | Err(broadcast::error::RecvError::Lagged(_))) => self.caught_up = false,
            Ok(Err(broadcast::error::RecvError::Closed)) => std::future::pending().await,
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::storage::feed::Concern;

    fn fact(r#type: &str, subject: &str) -> Fact {
        Fact {
            number: 1,
            r#type: r#type.into(),
            subject: subject.into(),
            campaign: Some("flood".into()),
            concern: Concern { contact: Some(7), ..Concern::default() },
            at: DateTime::UNIX_EPOCH,
            data: serde_json::Map::new(),
            medium: None,
        }
    }

    #[test]
    fn a_filter_lets_through_what_meets_all_its_conditions() {
        let reached = fact("notification.reached", "notifications/1");
        let of =
            |types: &[&str]| Filter { types: types.iter().map(|t| (*t).to_owned()).collect(), ..Filter::default() };
        assert!(Filter::default().takes(&reached));
        assert!(of(&["delivery.sent", "notification.*"]).takes(&reached));
        assert!(!of(&["notification.replied", "note.*"]).takes(&reached));
        assert!(Filter { campaign: Some("flood".into()), contact: Some(7), ..of(&[]) }.takes(&reached));
        assert!(!Filter { campaign: Some("flood".into()), contact: Some(8), ..of(&[]) }.takes(&reached));
        assert!(!Filter { subjects: vec!["notifications/2".into()], ..of(&[]) }.takes(&reached));
    }
}
