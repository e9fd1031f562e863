//! One ear of a process for many streams: a signal wakes one waiter, and streams of one kind are many. The bell rings them all,
//! after each signal, and now and then without one, so that a lost signal is repaired.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::wake::{Topic, Wake};

/// The longest silence.
const SCAN: Duration = Duration::from_secs(1);
/// Signals that follow each other this closely ring once.
const TOGETHER: Duration = Duration::from_millis(2);

/// See the module. Cheap to clone; each clone hears for itself.
#[derive(Debug, Clone)]
pub struct Bell {
    rings: watch::Receiver<u64>,
}

impl Bell {
    /// A bell for a topic, until `stop`. A process has one for a topic: a second would take its signals away.
    #[must_use]
    pub fn hang(wake: Wake, topic: Topic, stop: CancellationToken) -> Self {
        let (sender, rings) = watch::channel(0);
        tokio::spawn(async move {
            let ringing = async {
                loop {
                    wake.wait(topic, SCAN).await;
                    sender.send_modify(|n| *n += 1);
                    tokio::time::sleep(TOGETHER).await;
                }
            };
            tokio::select! { () = stop.cancelled() => {}, () = ringing => {} }
        });
        Self { rings }
    }

    /// The number of the last ring, which counts as heard from now on.
    pub fn last(&mut self) -> u64 {
        *self.rings.borrow_and_update()
    }

    /// Waits for a ring that was not heard yet. Once the bell is gone, for ever.
    pub async fn rung(&mut self) {
        if self.rings.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_signal_rings_for_everyone_and_a_ring_that_came_early_is_heard() {
        let (wake, stop) = (Wake::default(), CancellationToken::new());
        let mut first = Bell::hang(wake.clone(), Topic::Pulls, stop.clone());
        let mut second = first.clone();
        wake.signal(Topic::Pulls);
        for bell in [&mut first, &mut second] {
            tokio::time::timeout(SCAN / 2, bell.rung()).await.expect("each hears it");
            assert!(bell.last() >= 1);
        }
        stop.cancel();
    }
}
