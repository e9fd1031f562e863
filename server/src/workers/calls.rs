//! The open calls of a channel in one process. Where several are wanted they are handed out several at a time, so that one
//! statement marks many deliveries: handed out one by one, to many chunks in turn, each delivery would cost a statement.
//!
//! Who wants one call does not stand behind those who want many: an interactive delivery waits for the next call that ends.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

/// How long is waited for calls that end together with the first one.
const GATHER: Duration = Duration::from_millis(5);
/// The share of a channel's calls that is worth a statement of its own, as a divisor.
const WORTH: usize = 4;

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Calls {
    free: Arc<Semaphore>,
    /// Held by the one that gathers calls.
    turn: Arc<Mutex<()>>,
    limit: usize,
}

impl Calls {
    /// A channel that may have so many open calls, at least one.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        let limit = limit.max(1);
        Self { free: Arc::new(Semaphore::new(limit)), turn: Arc::default(), limit }
    }

    /// Takes up to `wanted` calls. Waits at most `patience` for the first one and then a moment for more; none are given when
    /// none were free in that time.
    pub async fn take(&self, wanted: usize, patience: Duration) -> Vec<OwnedSemaphorePermit> {
        let by = Instant::now() + patience;
        let _turn = match wanted {
            0 => return Vec::new(),
            1 => None,
            _ => match timeout_at(by, self.turn.lock()).await {
                Ok(turn) => Some(turn),
                Err(_) => return Vec::new(),
            },
        };
        let mut taken: Vec<OwnedSemaphorePermit> = self.next(by).await.into_iter().collect();
        let gathered = by.min(Instant::now() + GATHER);
        while !taken.is_empty() {
            self.take_more(&mut taken, wanted);
            if taken.len() >= self.worth(wanted) {
                break;
            }
            match self.next(gathered).await {
                Some(call) => taken.push(call),
                None => break,
            }
        }
        taken
    }

    /// Takes up to `wanted` of the calls that are free now, if they are worth a statement and nobody else gathers.
    #[must_use]
    pub fn take_free(&self, wanted: usize) -> Vec<OwnedSemaphorePermit> {
        let mut taken = Vec::new();
        let Ok(_turn) = self.turn.try_lock() else { return taken };
        if self.free.available_permits() >= self.worth(wanted) {
            self.take_more(&mut taken, wanted);
        }
        taken
    }

    async fn next(&self, by: Instant) -> Option<OwnedSemaphorePermit> {
        timeout_at(by, Arc::clone(&self.free).acquire_owned()).await.ok()?.ok()
    }

    fn take_more(&self, taken: &mut Vec<OwnedSemaphorePermit>, wanted: usize) {
        while taken.len() < wanted
            && let Ok(call) = Arc::clone(&self.free).try_acquire_owned()
        {
            taken.push(call);
        }
    }

    fn worth(&self, wanted: usize) -> usize {
        wanted.min((self.limit / WORTH).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn all_that_is_free_is_taken_at_once_and_no_more_than_is_wanted() {
        let calls = Calls::new(10);
        let some = calls.take(4, PATIENCE).await;
        assert_eq!((some.len(), calls.take(50, PATIENCE).await.len()), (4, 6));
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_end_one_after_another_within_a_moment_are_taken_together() {
        let calls = Calls::new(40);
        let open = calls.take(40, PATIENCE).await;
        let waiting = tokio::spawn({
            let calls = calls.clone();
            async move { calls.take(20, PATIENCE).await.len() }
        });
        for (n, call) in open.into_iter().enumerate() {
            if n % 4 == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            drop(call);
        }
        assert!(waiting.await.unwrap() >= 10, "a quarter of the channel's calls");
    }

    #[tokio::test(start_paused = true)]
    async fn who_gets_no_call_in_time_gets_none() {
        let calls = Calls::new(2);
        let _open = calls.take(2, PATIENCE).await;
        for wanted in [1, 5] {
            let began = Instant::now();
            assert!(calls.take(wanted, PATIENCE).await.is_empty());
            assert_eq!(began.elapsed(), PATIENCE);
        }
        assert!(calls.take(0, PATIENCE).await.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_single_delivery_waits_for_the_next_call_and_not_behind_a_chunk_that_gathers() {
        let calls = Calls::new(40);
        let mut open = calls.take(40, PATIENCE).await;
        let chunks: Vec<_> = (0..3)
            .map(|_| {
                let calls = calls.clone();
                tokio::spawn(async move { calls.take(50, Duration::from_secs(60)).await })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(1)).await;
        let single = tokio::spawn({
            let calls = calls.clone();
            async move { calls.take(1, PATIENCE).await.len() }
        });
        tokio::time::sleep(Duration::from_millis(1)).await;
        open.truncate(38); // one for the chunk whose turn it is, one for the delivery
        assert_eq!(single.await.unwrap(), 1);
        chunks.iter().for_each(|chunk| chunk.abort());
    }

    #[tokio::test]
    async fn a_few_free_calls_are_left_until_they_are_worth_a_statement() {
        let calls = Calls::new(40);
        let mut open = calls.take(40, PATIENCE).await;
        open.truncate(31);
        assert!(calls.take_free(50).is_empty(), "nine of forty");
        open.truncate(30);
        assert_eq!(calls.take_free(50).len(), 10);
        open.truncate(28);
        assert_eq!(calls.take_free(2).len(), 2, "no more is wanted");
    }
}
