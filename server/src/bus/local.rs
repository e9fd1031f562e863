//! The bus of a single process: one bounded queue for each channel type and lane. A full queue refuses, as a broker does.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use tokio::sync::{mpsc, watch};

use super::{Ack, Bus, Delivered, Queue, Ticket};

/// Tickets that may wait in one queue; the relay keeps the rest in Postgres.
const CAPACITY: usize = 10_000;

/// See the module.
#[derive(Debug)]
pub struct LocalBus {
    queues: Mutex<HashMap<Queue, Ends>>,
    generation: watch::Sender<u64>,
}

#[derive(Debug)]
struct Ends {
    sender: mpsc::Sender<Delivered>,
    receiver: Option<mpsc::Receiver<Delivered>>,
}

impl Default for LocalBus {
    fn default() -> Self {
        Self { queues: Mutex::new(HashMap::new()), generation: watch::Sender::new(1) }
    }
}

impl LocalBus {
    fn with<T>(&self, queue: Queue, act: impl FnOnce(&mut Ends) -> T) -> T {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let ends = queues.entry(queue).or_insert_with(|| {
            let (sender, receiver) = mpsc::channel(CAPACITY);
            Ends { sender, receiver: Some(receiver) }
        });
        act(ends)
    }
}

#[async_trait]
impl Bus for LocalBus {
    async fn publish(&self, queue: Queue, tickets: &[Ticket]) -> Vec<bool> {
        let sender = self.with(queue, |ends| ends.sender.clone());
        let deliver = |ticket: &Ticket| Delivered { ticket: Ok(*ticket), ack: Ack::Local };
        tickets.iter().map(|ticket| sender.try_send(deliver(ticket)).is_ok()).collect()
    }

    async fn consume(&self, queue: Queue, prefetch: u16) -> mpsc::Receiver<Delivered> {
        let _ = prefetch; // the reader takes one at a time, so the queue itself is the bound
        self.with(queue, |ends| {
            ends.receiver.take().unwrap_or_else(|| {
                // A second consumer replaces the first, whose receiver is gone with its worker.
                let (sender, receiver) = mpsc::channel(CAPACITY);
                ends.sender = sender;
                receiver
            })
        })
    }

    fn generation(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    fn healthy(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use domain::channel::{ChannelType, Lane};

    use super::*;

    const QUEUE: Queue = Queue { channel_type: ChannelType::Sms, lane: Lane::Bulk };

    #[tokio::test]
    async fn a_full_queue_refuses_what_it_cannot_hold() {
        let bus = LocalBus::default();
        let tickets: Vec<Ticket> = (0..CAPACITY as i64 + 5).map(Ticket::of).collect();
        let taken = bus.publish(QUEUE, &tickets).await;
        assert_eq!(taken.iter().filter(|t| **t).count(), CAPACITY);
        assert!(!taken[CAPACITY]);
    }

    #[tokio::test]
    async fn tickets_arrive_in_order() {
        let bus = LocalBus::default();
        let mut tickets = bus.consume(QUEUE, 10).await;
        bus.publish(QUEUE, &[Ticket::of(1), Ticket::of(2)]).await;
        for expected in 1..=2 {
            let delivered = tickets.recv().await.expect("a ticket");
            assert_eq!(delivered.ticket, Ok(Ticket::of(expected)));
            delivered.ack().await;
        }
    }
}
