//! Commands: what outside systems tell us through the broker, each a CloudEvent of the conversation store. Read with all faults at
//! once ([`parse`]), obeyed once by `source` and `id`, in one transaction with the note that it was.
//!
//! A command that can never be obeyed is refused with the reason, and the caller puts it aside; what may succeed later is an
//! error of storage, and the caller tries again. The way on is the one that everything takes: a message is stored as a
//! webhook's would be, a receipt likewise, an answer goes through `services::outgoing`.

mod parse;

use domain::{delivery::FailureClass, message::Content};
use uuid::Uuid;

pub use parse::{Command, Order, Said, parse};

use super::orders::{self, TicketEnd};
use crate::{
    channels::InboundFact,
    services::{
        Context, Error,
        conversations::{
            held::{self, Held},
            saying,
        },
        directory::{Channel, Snapshot},
        work::Work,
    },
    storage::{
        self, conversation_state,
        inbound::{self, NewInbound},
        outside,
        receipts::{self, NewReceipt},
    },
    wake::Topic,
};

/// Who acts by a command, as events and timelines tell it: nothing says which of the systems outside it was.
const OUTSIDE: &str = "outside";

/// Why a command was not obeyed.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It can never be obeyed: put it aside with these words.
    #[error("{0}")]
    Never(String),
    /// It may be obeyed later: try again.
    #[error(transparent)]
    Later(storage::Error),
}

impl From<storage::Error> for Refusal {
    fn from(error: storage::Error) -> Self {
        match error.is_transient() {
            true => Self::Later(error),
            false => Self::Never(error.to_string()),
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::Storage(error) => error.into(),
            Error::Invalid(found) => {
                let words: Vec<String> = found.iter().map(|v| format!("{} {}", v.field, v.description)).collect();
                Self::Never(words.join("; "))
            }
            other => Self::Never(other.to_string()),
        }
    }
}

/// Obeys a command. Says whether it was new.
///
/// # Errors
/// See [`Refusal`].
pub async fn obey(context: &Context, body: &[u8]) -> Result<bool, Refusal> {
    let order = parse(body, context.settings.default_country.as_deref())?;
    let snapshot = context.directory.snapshot(&context.side).await?;
    let mut work = Work::begin(context).await?.acted_by(OUTSIDE);
    if !outside::note(work.conn(), &order.source, &order.id).await? {
        return Ok(false);
    }
    let acting = Acting { context, snapshot: &snapshot, body };
    acting.act(&mut work, order.command).await?;
    work.wake(Topic::Events);
    work.commit(context).await?;
    Ok(true)
}

/// One command that is being obeyed.
struct Acting<'a> {
    context: &'a Context,
    snapshot: &'a Snapshot,
    body: &'a [u8],
}

impl Acting<'_> {
    async fn act(&self, work: &mut Work, command: Command) -> Result<(), Refusal> {
        match command {
            Command::MessageReceived { channel, fact } => self.receive(work, &channel, &fact).await,
            Command::Delivered { channel, receipt } => self.deliver(work, &channel, receipt).await,
            Command::Said(said) => self.say(work, said).await,
            Command::FlowEnded { conversation, execution, outcome, ticket } => {
                let conversation = self.open(work, conversation).await?;
                if let Some(ticket) = ticket {
                    orders::open_ticket(self.context, work, conversation, ticket).await?;
                }
                match orders::flow_ended(self.context, work, conversation, execution, &outcome).await? {
                    true => Ok(()),
                    false => Err(Refusal::Never("data.execution is no flow that runs in this conversation".into())),
                }
            }
            Command::TicketClosed { conversation, ticket, outcome } => {
                let conversation = self.survivor(work, conversation).await?;
                match orders::ticket_closed(self.context, work, conversation, ticket, &outcome).await? {
                    TicketEnd::Ended | TicketEnd::Repeated | TicketEnd::Parked => Ok(()),
                    TicketEnd::Unknown => Err(Refusal::Never(
                        "data.ticket is no ticket of this conversation, in which none can be ordered any more".into(),
                    )),
                }
            }
        }
    }

    /// A message of a person: into the inbox, where the workers take it up in order.
    async fn receive(&self, work: &mut Work, channel: &str, fact: &InboundFact) -> Result<(), Refusal> {
        let channel = self.channel(channel)?;
        let provider_id = self.provider(channel)?;
        let sender = fact.from.first().map(|a| format!("{}:{}", a.kind, a.value)).unwrap_or_default();
        let new = NewInbound {
            channel_id: channel.row.id,
            provider_id,
            provider_message_id: fact.provider_message_id.clone(),
            sender,
            fact: serde_json::to_value(fact).map_err(storage::Error::from)?,
        };
        let now = work.now();
        let body_id = receipts::store_body(work.conn(), provider_id, self.body).await?;
        inbound::store(work.conn(), &new, body_id, now).await?;
        work.wake(Topic::Inbound);
        Ok(())
    }

    /// A receipt: into the inbox, where the workers merge it.
    async fn deliver(&self, work: &mut Work, channel: &str, receipt: NewReceipt) -> Result<(), Refusal> {
        let provider_id = self.provider(self.channel(channel)?)?;
        let body_id = receipts::store_body(work.conn(), provider_id, self.body).await?;
        receipts::store(work.conn(), provider_id, body_id, &[receipt]).await?;
        work.wake(Topic::Receipts);
        Ok(())
    }

    /// An answer of a flow or an agent: said where the contact is, or on the channel that it names.
    async fn say(&self, work: &mut Work, said: Said) -> Result<(), Refusal> {
        let conversation = self.survivor(work, said.conversation).await?;
        if let Some(slug) = &said.channel {
            self.channel(slug)?;
        }
        let to = saying::To::Conversation(conversation);
        let draft = saying::Draft { to, channel: said.channel, content: said.content, in_reply_to: None };
        saying::send(self.context, work, draft).await?;
        if let Some(ticket) = said.ticket {
            orders::open_ticket(self.context, work, conversation, ticket).await?;
        }
        Ok(())
    }

    /// The conversation that is meant: the outside knows only the one that was merged into it.
    async fn survivor(&self, work: &mut Work, id: Uuid) -> Result<Uuid, Refusal> {
        let found = conversation_state::survivor(work.conn(), id).await?;
        found.ok_or_else(|| Error::NotFound(held::name_of(id)).into())
    }

    /// The same, open and locked.
    async fn open(&self, work: &mut Work, id: Uuid) -> Result<Uuid, Refusal> {
        let id = self.survivor(work, id).await?;
        Held::open(work.conn(), id).await?;
        Ok(id)
    }

    fn channel(&self, slug: &str) -> Result<&Channel, Refusal> {
        let found = self.snapshot.by_slug(slug);
        found.ok_or_else(|| Refusal::Never(format!("data.channel channels/{slug} does not exist")))
    }

    /// Under which provider messages and receipts of a channel are stored: its first.
    fn provider(&self, channel: &Channel) -> Result<i32, Refusal> {
        let first = channel.providers.first().map(|provider| provider.row.id);
        first.ok_or_else(|| Refusal::Never(format!("channels/{} has no provider", channel.row.slug)))
    }
}

/// What an outside system's word for a failure means: it knows no classes of ours, and the next channel may do better.
const FAILED: FailureClass = FailureClass::FallOver;

/// Whether an outside system may have us say this.
const fn may_be_said(content: &Content) -> bool {
    matches!(content, Content::Text { .. } | Content::Choices { .. })
}
