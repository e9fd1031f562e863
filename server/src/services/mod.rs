//! Use cases, by noun. Each opens a transaction, locks, loads facts, asks the domain, and stores the outcome with its events
//! and dispatch rows; after the commit it wakes whoever has work now. No SQL, no protocol and no clock of its own lives here.

use std::{future::Future, sync::Arc, time::Duration};

use crate::{
    blobs::Blobs,
    clock::Clock,
    storage::{self, Db},
    wake::Wake,
};

pub mod accepting;
pub mod archive;
pub mod asking;
pub mod audiences;
pub mod bell;
pub mod call_lists;
pub mod calls;
pub mod campaigns;
pub mod caps;
pub mod channels;
pub mod connectors;
pub mod consents;
pub mod contact_sessions;
pub mod contacts;
pub mod controllers;
pub mod conversations;
pub mod deciding;
pub mod directory;
pub mod distances;
pub mod error;
pub mod etag;
pub mod events;
pub mod firings;
pub mod history;
pub mod hooks;
pub mod inbound;
pub mod mailing;
pub mod messages;
pub mod notifications;
pub mod outcomes;
pub mod outgoing;
pub mod parameters;
pub mod planning;
pub mod plans;
pub mod policies;
pub mod receipts;
pub mod rendering;
pub mod requests;
pub mod schedules;
pub mod sending;
pub mod sources;
pub mod suppressions;
pub mod templates;
pub mod triggers;
pub mod unsubscribe;
pub mod web_chat;
pub mod webhooks;
pub mod work;

pub use error::{Error, Result, Violation};

/// What every use case stands on. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Context {
    /// For the hot statements, whose plans are pinned.
    pub db: Db,
    /// For lists, searches and administration.
    pub lists: Db,
    /// For reads that are made while a transaction is held: taking a second connection of the same pool could wait for ever.
    pub side: Db,
    /// Business time.
    pub clock: Clock,
    /// Wake-ups.
    pub wake: Wake,
    /// What the deployment has set.
    pub settings: Arc<Settings>,
    /// The channels and their connectors, as they stand.
    pub directory: directory::Directory,
    /// The pinned plans, by id.
    pub plans: plans::Plans,
    /// The files that are too big for the database.
    pub blobs: Blobs,
    /// Who types where, as far as this process knows.
    pub typing: messages::typing::Typing,
}

impl Context {
    /// Does `work` within the patience of the database's connections, whichever of them it uses: see [`Db::within`].
    ///
    /// # Errors
    /// [`storage::Error::Unavailable`] when there was no end in time.
    pub async fn within<T>(&self, work: impl Future<Output = T>) -> storage::Result<T> {
        self.within_for(self.db.patience(), work).await
    }

    /// The same with a patience of the work's own.
    ///
    /// # Errors
    /// As [`within`](Self::within).
    pub async fn within_for<T>(&self, patience: Duration, work: impl Future<Output = T>) -> storage::Result<T> {
        tokio::pin!(work);
        tokio::select! {
            done = &mut work => Ok(done),
            () = tokio::time::sleep(patience) => {
                // Before the work is dropped: what it held goes back to the pools then.
                for db in [&self.db, &self.lists, &self.side] {
                    db.doubt();
                }
                Err(storage::Error::no_answer())
            }
        }
    }
}

/// The settings that use cases ask for; `config` fills them.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The base of our public web address, without a slash at the end.
    pub public_url: String,
    /// The zone of contacts whose own is not known.
    pub time_zone: chrono_tz::Tz,
    /// The country of phone numbers that name none (ISO 3166, such as `IN`); empty: a number must name its own.
    pub default_country: Option<String>,
    /// When people are not to be disturbed, where a policy has no hours of its own.
    pub quiet_hours: Vec<domain::fallback::QuietRule>,
    /// The words that change consent.
    pub words: domain::consent::Words,
    /// What is said when such a word was heard.
    pub confirmations: domain::consent::Confirmations,
    /// How long no message may pass before a conversation is closed; none: a day; zero: for ever.
    pub idle_close: Option<chrono::TimeDelta>,
    /// The secret of the links that end a subscription.
    pub unsubscribe_key: unsubscribe::Key,
    /// What is set about events.
    pub events: events::Settings,
    /// When conversations go into the archive, and how long they are kept there.
    pub archive: archive::Settings,
    /// Which files of messages are copied.
    pub media: domain::message::media::Rules,
}
