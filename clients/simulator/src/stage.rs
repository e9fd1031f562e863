//! When things happen: what is due is played, in real time by a driver task, or in strict order while time is advanced by hand.
//!
//! One play (a message's receipts and answers, a call, a webhook's retries) is a chain: its next step is put on only after the last one
//! was answered, so that the webhooks of one message never overtake each other unless the script says so.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::Notify;

use crate::clock::later;
use crate::core::Core;
use crate::phones::Timeline;
use crate::voice::Walk;
use crate::webhook::Webhook;

/// A chain of things to happen.
pub(crate) enum Play {
    /// The receipts and answers of a message.
    Timeline(Box<Timeline>),
    /// A telephone call.
    Call(Box<Walk>),
    /// A webhook whose last try failed.
    Retry(Box<Webhook>),
}

/// The next step of a play and when it is due; nothing when the play is over.
pub(crate) type Next = Option<(DateTime<Utc>, Play)>;

/// All plays that wait, and how many are being played.
pub(crate) struct Stage {
    waiting: Mutex<BinaryHeap<Reverse<Waiting>>>,
    order: AtomicU64,
    in_flight: AtomicUsize,
    /// Plays of an older age were reset away and must not continue.
    age: AtomicU64,
    wake: Notify,
    changed: Notify,
    /// Held by whoever takes plays off: the driver for a moment, an advance for its whole length.
    turn: tokio::sync::Mutex<()>,
}

struct Waiting {
    due: DateTime<Utc>,
    order: u64,
    age: u64,
    play: Play,
}

impl Stage {
    /// An empty stage.
    pub fn new() -> Self {
        Self {
            waiting: Mutex::default(),
            order: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            age: AtomicU64::new(0),
            wake: Notify::new(),
            changed: Notify::new(),
            turn: tokio::sync::Mutex::new(()),
        }
    }

    /// Puts a play on for its time.
    pub fn put(&self, due: DateTime<Utc>, play: Play) {
        self.put_of_age(due, play, self.age());
    }

    /// The present age, which a reset ends.
    pub fn age(&self) -> u64 {
        self.age.load(Ordering::SeqCst)
    }

    /// Puts a play on for its time, unless its age has ended.
    pub fn put_of_age(&self, due: DateTime<Utc>, play: Play, age: u64) {
        let mut waiting = self.lock();
        if age == self.age() {
            let order = self.order.fetch_add(1, Ordering::Relaxed);
            waiting.push(Reverse(Waiting { due, order, age, play }));
        }
        drop(waiting);
        self.wake.notify_one();
    }

    /// How many plays wait, and how many are being played.
    pub fn load(&self) -> (usize, usize) {
        let waiting = self.lock();
        (waiting.len(), self.in_flight.load(Ordering::SeqCst))
    }

    /// Takes everything off; plays that are in the middle of a step end with it.
    pub fn clear(&self) {
        let mut waiting = self.lock();
        self.age.fetch_add(1, Ordering::SeqCst);
        waiting.clear();
        drop(waiting);
        self.changed.notify_waiters();
    }

    /// Takes the earliest play that is due at `moment` and counts it as being played.
    fn take_due(&self, moment: DateTime<Utc>) -> Option<Waiting> {
        let mut waiting = self.lock();
        if waiting.peek().is_none_or(|Reverse(first)| first.due > moment) {
            return None;
        }
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        waiting.pop().map(|Reverse(first)| first)
    }

    fn next_due(&self) -> Option<DateTime<Utc>> {
        self.lock().peek().map(|Reverse(first)| first.due)
    }

    fn lock(&self) -> MutexGuard<'_, BinaryHeap<Reverse<Waiting>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `reached` says so; it is asked again after each change.
    async fn wait_for(&self, reached: impl Fn() -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if reached() {
                return;
            }
            changed.await;
        }
    }
}

/// Plays what is due, until the simulator ends.
pub(crate) async fn drive(core: Arc<Core>) {
    loop {
        {
            let _turn = core.stage.turn.lock().await;
            while let Some(play) = core.stage.take_due(core.clock.now()) {
                let core = core.clone();
                tokio::spawn(async move { play_one(&core, play).await });
            }
        }
        core.stage.changed.notify_waiters();
        let sleep = core.stage.next_due().and_then(|due| core.clock.wall_time_until(due));
        tokio::select! {
            () = core.ended.cancelled() => return,
            () = core.stage.wake.notified() => (),
            () = tokio::time::sleep(sleep.unwrap_or(Duration::MAX)), if sleep.is_some() => (),
        }
    }
}

/// Moves time forward and plays everything that becomes due on the way, one after the other, each at its own moment.
pub(crate) async fn advance(core: Arc<Core>, by: Duration) {
    let turn = core.stage.turn.lock().await;
    let target = later(core.clock.now(), by);
    core.stage.wait_for(|| core.stage.load().1 == 0).await;
    while let Some(play) = core.stage.take_due(target) {
        core.clock.move_to(play.due);
        play_one(&core, play).await;
    }
    core.clock.move_to(target);
    drop(turn);
    core.stage.wake.notify_one();
}

/// Waits until everything that is due by now has been played and every webhook was answered; later plays may still wait.
pub(crate) async fn settled(core: &Core) {
    let stage = &core.stage;
    stage.wait_for(|| stage.load().1 == 0 && stage.next_due().is_none_or(|due| due > core.clock.now())).await;
}

/// Waits until nothing waits and nothing is being played.
pub(crate) async fn idle(core: &Core) {
    core.stage.wait_for(|| core.stage.load() == (0, 0)).await;
}

async fn play_one(core: &Arc<Core>, waiting: Waiting) {
    let next = match waiting.play {
        Play::Timeline(timeline) => timeline.step(core, waiting.due).await,
        Play::Call(walk) => walk.step(core, waiting.due).await,
        Play::Retry(webhook) => {
            webhook.deliver(core).await;
            None
        }
    };
    if let Some((due, play)) = next {
        core.stage.put_of_age(due, play, waiting.age);
    }
    core.stage.in_flight.fetch_sub(1, Ordering::SeqCst);
    core.stage.wake.notify_one();
    core.stage.changed.notify_waiters();
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.order).cmp(&(other.due, other.order))
    }
}
