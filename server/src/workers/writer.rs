//! The outcome writer: gathers the ends of calls of all chunks of a process and stores them together. Nothing is held back to
//! fill a batch: whatever ended while the last batch was written is the next one.

use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::{mpsc, oneshot};

use crate::services::{
    Context,
    outcomes::{self, Ended, Stored},
};

/// The most outcomes in one transaction.
const BATCH: usize = 500;
/// Tries of one batch before its deliveries are left to their leases.
const TRIES: u32 = 6;

/// One end of a call, and who waits for its being stored.
#[derive(Debug)]
pub struct Writer {
    ended: Ended,
    stored: oneshot::Sender<Stored>,
}

/// Hands over one end of a call, and waits until it is stored.
///
/// # Errors
/// When it could not be stored: the lease of the delivery decides then.
pub async fn store_one(writer: &mpsc::Sender<Writer>, ended: Ended) -> anyhow::Result<Stored> {
    let (stored, done) = oneshot::channel();
    writer.send(Writer { ended, stored }).await.context("the outcome writer has ended")?;
    done.await.context("the outcome could not be stored")
}

/// Stores what arrives until every sender is gone.
pub async fn run(context: Context, mut inbox: mpsc::Receiver<Writer>) {
    let mut batch = Vec::with_capacity(BATCH);
    while inbox.recv_many(&mut batch, BATCH).await > 0 {
        let (ended, waiting): (Vec<Ended>, Vec<oneshot::Sender<Stored>>) =
            batch.drain(..).map(|item: Writer| (item.ended, item.stored)).unzip();
        // Dropped without an answer, the chunks are left to their leases.
        let Some(results) = store(&context, &ended).await else { continue };
        for (waiting, result) in waiting.into_iter().zip(results) {
            let _ = waiting.send(result);
        }
    }
}

async fn store(context: &Context, ended: &[Ended]) -> Option<Vec<Stored>> {
    for tries in 0..TRIES {
        match context.within(outcomes::store(context, ended)).await.unwrap_or_else(|lost| Err(lost.into())) {
            Ok(results) => return Some(results),
            Err(error) => {
                tracing::warn!(outcomes = ended.len(), error = %error, "outcomes were not stored; they are tried again");
                tokio::time::sleep(Duration::from_millis(100 << tries)).await;
            }
        }
    }
    None
}
