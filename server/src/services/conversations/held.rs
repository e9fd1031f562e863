//! A conversation that is held: its contact and its row are locked, its facts are in hand. Whoever changes facts ends with
//! [`Held::settle`], which writes them with the state that they make and says what changed.

use chrono::{DateTime, Utc};
use domain::conversation::{Event, Facts, Intent, Phase, State, state};
use uuid::Uuid;

use crate::{
    services::{Error, Result, work::Who},
    storage::{
        Conn,
        conversation_state::{self, Locked, Note, Shown},
        inbound,
    },
};

/// Who does something, and when, as it is recorded.
#[derive(Debug, Clone, Copy)]
pub struct By<'a> {
    /// `contact`, `system`, or [`Who::actor`].
    pub actor: &'a str,
    /// When, in business time.
    pub at: DateTime<Utc>,
}

impl By<'static> {
    /// The contact.
    #[must_use]
    pub const fn contact(at: DateTime<Utc>) -> Self {
        Self { actor: "contact", at }
    }

    /// Switchboard itself: a timer, a rule.
    #[must_use]
    pub const fn system(at: DateTime<Utc>) -> Self {
        Self { actor: "system", at }
    }
}

impl<'a> By<'a> {
    /// Whoever does a unit of work.
    #[must_use]
    pub fn of(who: &'a Who) -> Self {
        Self { actor: &who.actor, at: who.at }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Held {
    /// What is in hand.
    pub row: Locked,
    written: Written,
}

/// What stands in storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Written {
    facts: Facts,
    state: State,
    hold: bool,
    active_channel_id: i32,
    version: i32,
}

impl Written {
    const fn of(row: &Locked) -> Self {
        // What is owed stands in tables of its own.
        Self {
            facts: Facts { obligations: 0, ..row.facts },
            state: row.state,
            hold: row.hold,
            active_channel_id: row.active_channel_id,
            version: row.version,
        }
    }
}

impl From<Locked> for Held {
    fn from(row: Locked) -> Self {
        Self { written: Written::of(&row), row }
    }
}

/// The name of a conversation in the contract.
#[must_use]
pub fn name_of(id: Uuid) -> String {
    format!("conversations/{id}")
}

impl Held {
    /// Takes hold of a conversation, after its contact: the one order of locks.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn of(conn: &mut Conn, id: Uuid) -> Result<Self> {
        let missing = || Error::NotFound(name_of(id));
        // A merge may give it to another contact between the look and the lock.
        for _ in 0..3 {
            let contact = conversation_state::contact_of(conn, id).await?.ok_or_else(missing)?;
            inbound::lock_contact(conn, contact).await?;
            let row = conversation_state::lock(conn, id).await?.ok_or_else(missing)?;
            if row.contact_id == contact {
                return Ok(row.into());
            }
        }
        Err(Error::Storage(crate::storage::Error::no_answer()))
    }

    /// The same, of one that is open.
    ///
    /// # Errors
    /// [`Error::NotFound`], STATE_WRONG when it is closing or closed.
    pub async fn open(conn: &mut Conn, id: Uuid) -> Result<Self> {
        let held = Self::of(conn, id).await?;
        match held.row.facts.phase {
            Phase::Open => Ok(held),
            Phase::Closing | Phase::Closed => {
                let message = format!("{} is {}; a new message opens another one", name_of(id), held.row.state);
                Err(Error::WrongState { reason: "STATE_WRONG", message })
            }
        }
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> Uuid {
        self.row.id
    }

    /// The state that the facts in hand make.
    #[must_use]
    pub const fn state(&self) -> State {
        state(&self.row.facts)
    }

    /// What an event does to the facts. Says whether it was possible.
    pub const fn apply(&mut self, event: Event) -> bool {
        match self.row.facts.after(event) {
            Some(facts) => {
                self.row.facts = facts;
                true
            }
            None => false,
        }
    }

    /// Writes what is in hand, if anything changed; a change of the state is said, with its cause.
    ///
    /// # Errors
    /// What storage says.
    pub async fn settle(&mut self, conn: &mut Conn, cause: &str, by: By<'_>) -> Result<()> {
        let from = self.written.state;
        self.row.state = self.state();
        let now = Written::of(&self.row);
        if now == self.written {
            return Ok(());
        }
        conversation_state::store(conn, &self.row, by.at).await?;
        // Only a conversation that was just begun stands as CREATED with nobody in it.
        let was_new = self.written.facts == Facts::EMPTY && from == State::Created;
        self.written = now;
        if now.state != from || (was_new && now.facts.phase == Phase::Open) {
            self.say_moved(conn, (!was_new).then_some(from), cause, by).await?;
        }
        Ok(())
    }

    async fn say_moved(&self, conn: &mut Conn, from: Option<State>, cause: &str, by: By<'_>) -> Result<()> {
        let to = self.row.state;
        let note = Note {
            conversation_id: self.id(),
            kind: "conversation",
            id: self.id(),
            r#type: "state_changed",
            from: from.map(State::as_str),
            to: Some(to.as_str()),
            cause,
            actor: by.actor,
            channel_id: None,
            intent: intent(from, to).map(Intent::as_str),
            data: serde_json::json!({"seq": self.row.last_seq}),
            shown: Some(Shown { kind: "state_changed", subject: name_of(self.id()), word: to.as_str() }),
            at: by.at,
        };
        Ok(conversation_state::note(conn, &note).await?)
    }
}

/// The occasion that a change of state is.
const fn intent(from: Option<State>, to: State) -> Option<Intent> {
    match (from, to) {
        (Some(State::Active), State::Inactive) => Some(Intent::LastAgentLeft),
        (_, State::Closing) => Some(Intent::ConversationClosing),
        (_, State::Closed) => Some(Intent::ConversationClosed),
        (_, State::Created | State::Active | State::Inactive | State::WrapUp | State::CustomerLeft) => None,
    }
}
