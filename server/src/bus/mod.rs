//! What leaves and enters the process beside the APIs: the dispatch bus, and the ways of events out ([`exchange`], [`post`]) and
//! of commands in ([`commands`]).
//!
//! The dispatch bus carries the numbers of chunks that go now from the relay to the workers, and nothing else.
//!
//! RabbitMQ when a broker is configured ([`rabbit`]), else a queue inside the process ([`local`]); both obey the same rules.
//! The bus is trusted with nothing: a lost message is repaired by its lease in Postgres, a message too many is a claim that
//! finds nothing. This room never sees storage or channels.

pub mod commands;
pub mod exchange;
pub mod local;
pub mod post;
pub mod rabbit;

use std::sync::Arc;

use async_trait::async_trait;
use domain::channel::{ChannelType, Lane};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

/// Which queue: one for each channel type and lane, interactive and bulk apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Queue {
    /// The medium.
    pub channel_type: ChannelType,
    /// The lane.
    pub lane: Lane,
}

impl Queue {
    /// Every queue there is.
    #[must_use]
    pub fn all() -> Vec<Self> {
        ChannelType::ALL
            .iter()
            .flat_map(|&channel_type| Lane::ALL.iter().map(move |&lane| Self { channel_type, lane }))
            .collect()
    }

    /// Its name on the broker, such as `dispatch.sms.bulk`.
    #[must_use]
    pub fn name(self) -> String {
        format!("dispatch.{}.{}", self.channel_type.as_str().to_lowercase(), self.lane)
    }
}

/// What travels: the number of a chunk. Documented in `docs/ARCHITECTURE.md` so that workers in other languages can consume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// The chunk's row in `dispatch`.
    pub chunk: i64,
    /// What was known of it when it was published; a worker that has no use for it leaves it alone.
    #[serde(flatten)]
    pub hint: Option<Hint>,
}

/// What lets a worker take free calls before it claims, so that claim and mark are one statement. Only a hint: the claim says
/// what is true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hint {
    /// The key of the chunk's channel.
    pub channel: i32,
    /// Deliveries in it.
    pub size: i32,
}

impl Ticket {
    /// A ticket that says nothing but its chunk.
    #[must_use]
    pub const fn of(chunk: i64) -> Self {
        Self { chunk, hint: None }
    }

    /// The body of its message.
    #[must_use]
    pub fn body(self) -> String {
        match self.hint {
            Some(Hint { channel, size }) => {
                format!("{{\"chunk\":{},\"channel\":{channel},\"size\":{size}}}", self.chunk)
            }
            None => format!("{{\"chunk\":{}}}", self.chunk),
        }
    }
}

/// A ticket that was delivered, and the duty to say when it is finished.
#[derive(Debug)]
pub struct Delivered {
    /// What was delivered. `Err` holds a body that is no ticket: it is dead-lettered by [`Delivered::reject`].
    pub ticket: Result<Ticket, String>,
    ack: Ack,
}

#[derive(Debug)]
enum Ack {
    Local,
    Rabbit(rabbit::Acker),
}

impl Delivered {
    /// Tells the bus that all is stored. A failure is harmless: the broker repeats, and the claim finds nothing.
    pub async fn ack(self) {
        match self.ack {
            Ack::Local => {}
            Ack::Rabbit(acker) => acker.ack().await,
        }
    }

    /// Hands a poisoned message to the dead-letter queue.
    pub async fn reject(self) {
        match self.ack {
            Ack::Local => {}
            Ack::Rabbit(acker) => acker.reject().await,
        }
    }
}

/// The bus.
#[async_trait]
pub trait Bus: Send + Sync + std::fmt::Debug {
    /// Publishes tickets with pipelined confirms; says for each whether the bus has it. Never waits longer than the confirm
    /// timeout. What was refused is still leased and is given back by the caller.
    async fn publish(&self, queue: Queue, tickets: &[Ticket]) -> Vec<bool>;

    /// Begins to consume a queue. At most `prefetch` tickets are outstanding. The receiver lives as long as the bus: lost
    /// connections are rebuilt beneath it.
    async fn consume(&self, queue: Queue, prefetch: u16) -> mpsc::Receiver<Delivered>;

    /// Grows each time the connection to the broker is new: what was published before may be gone.
    fn generation(&self) -> tokio::sync::watch::Receiver<u64>;

    /// Whether the bus can carry anything now.
    fn healthy(&self) -> bool;
}

/// A bus that is shared.
pub type SharedBus = Arc<dyn Bus>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_read_with_and_without_its_hint_and_beside_what_a_later_release_adds() {
        let full = Ticket { chunk: 4711, hint: Some(Hint { channel: 3, size: 50 }) };
        for ticket in [full, Ticket::of(4711)] {
            assert_eq!(serde_json::from_str::<Ticket>(&ticket.body()).unwrap(), ticket, "{}", ticket.body());
        }
        assert_eq!(serde_json::from_str::<Ticket>(r#"{"chunk":1,"channel":2,"other":[]}"#).unwrap(), Ticket::of(1));
        assert!(serde_json::from_str::<Ticket>(r#"{"channel":2,"size":1}"#).is_err(), "no chunk, no ticket");
    }
}
