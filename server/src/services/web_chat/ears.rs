//! Which of the open streams have something to show: after a ring one of them asks for all, and the others read its answer. A
//! thousand open pages cost one statement a message, not a thousand.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex as Guarded, PoisonError},
};

use tokio::sync::Mutex;

use crate::{
    services::{Context, Result, bell::Bell},
    storage::web_chat,
};

/// A visitor: the channel and the address.
type Key = (i32, i64);

/// See the module. Cheap to clone; clones share what was asked.
#[derive(Debug, Clone)]
pub struct Ears {
    bell: Bell,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// How many streams each visitor has.
    open: Guarded<HashMap<Key, usize>>,
    answer: Mutex<Answer>,
}

#[derive(Debug, Default)]
struct Answer {
    /// The ring after which it was asked.
    ring: Option<u64>,
    versions: HashMap<Key, i64>,
}

/// One stream's ear; its visitor is asked for as long as it lives.
#[derive(Debug)]
pub(super) struct Ear {
    bell: Bell,
    shared: Arc<Shared>,
    key: Key,
    ring: Option<u64>,
}

impl Ears {
    /// Ears that hear a bell.
    #[must_use]
    pub fn new(bell: Bell) -> Self {
        Self { bell, shared: Arc::default() }
    }

    pub(super) fn open(&self, key: Key) -> Ear {
        let mut open = self.shared.open.lock().unwrap_or_else(PoisonError::into_inner);
        *open.entry(key).or_default() += 1;
        Ear { bell: self.bell.clone(), shared: Arc::clone(&self.shared), key, ring: None }
    }
}

impl Ear {
    /// Waits for a ring.
    pub(super) async fn rung(&mut self) {
        self.bell.rung().await;
        self.ring = Some(self.bell.last());
    }

    /// How often the visitor changed; none before it was first written to.
    pub(super) async fn version(&self, context: &Context) -> Result<Option<i64>> {
        let mut answer = self.shared.answer.lock().await;
        if self.ring.is_none() || answer.ring < self.ring || !answer.versions.contains_key(&self.key) {
            let keys: Vec<Key> =
                self.shared.open.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect();
            let (channels, addresses): (Vec<i32>, Vec<i64>) = keys.into_iter().unzip();
            let found = web_chat::versions(&mut *context.lists.conn().await?, &channels, &addresses).await?;
            answer.versions =
                found.into_iter().map(|(channel, address, version)| ((channel, address), version)).collect();
            answer.ring = answer.ring.max(self.ring);
        }
        Ok(answer.versions.get(&self.key).copied())
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        let mut open = self.shared.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.key);
            }
        }
    }
}
