//! The outcome writer: gathers the ends of calls of all chunks of a process and stores them together. Nothing is held back to
//! fill a batch: whatever ended while the last batch was written is the next one.

use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::{mpsc, oneshot};

use crate::services::{
    Context,
    accepting::{self, Went, Written},
};

/// The most outcomes in one transaction, but for the last group of them.
const BATCH: usize = 500;
/// Tries of one batch before its deliveries are left to their leases.
const TRIES: u32 = 6;

/// Calls of one chunk that ended together, and who waits for their being stored.
#[derive(Debug)]
pub struct Writer {
    went: Vec<Went>,
    written: oneshot::Sender<Vec<Written>>,
}

/// Hands over the ends of calls, and waits until they are stored. Comes back in their order.
///
/// # Errors
/// When they could not be stored: the leases of the deliveries decide then.
pub async fn store(writer: &mpsc::Sender<Writer>, went: Vec<Went>) -> anyhow::Result<Vec<Written>> {
    let (written, done) = oneshot::channel();
    writer.send(Writer { went, written }).await.context("the outcome writer has ended")?;
    done.await.context("the outcomes could not be stored")
}

/// Stores what arrives until every sender is gone.
pub async fn run(context: Context, mut inbox: mpsc::Receiver<Writer>) {
    while let Some(first) = inbox.recv().await {
        let (mut went, mut waiting) = (first.went, vec![first.written]);
        let mut sizes = vec![went.len()];
        while went.len() < BATCH
            && let Ok(next) = inbox.try_recv()
        {
            sizes.push(next.went.len());
            went.extend(next.went);
            waiting.push(next.written);
        }
        // Dropped without an answer, the chunks are left to their leases.
        let Some(written) = write(&context, &went).await else { continue };
        let mut written = written.into_iter();
        for (waiting, size) in waiting.into_iter().zip(sizes) {
            let _ = waiting.send(written.by_ref().take(size).collect());
        }
    }
}

async fn write(context: &Context, went: &[Went]) -> Option<Vec<Written>> {
    for tries in 0..TRIES {
        match context.within(accepting::store(context, went)).await.unwrap_or_else(|lost| Err(lost.into())) {
            Ok(written) => return Some(written),
            Err(error) => {
                tracing::warn!(outcomes = went.len(), error = %error, "outcomes were not stored; they are tried again");
                tokio::time::sleep(Duration::from_millis(100 << tries)).await;
            }
        }
    }
    None
}
