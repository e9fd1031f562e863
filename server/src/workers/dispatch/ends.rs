//! The ends of calls: those that end together are handed over together, and their calls are free when they are stored.

use std::sync::Arc;

use futures::{FutureExt, Stream, StreamExt};
use tokio::sync::OwnedSemaphorePermit;

use super::Dispatch;
use crate::{
    services::accepting::{Went, Written},
    workers::writer,
};

/// A call that is over, and not stored yet.
#[derive(Debug)]
pub(super) struct Called {
    pub went: Went,
    pub permit: OwnedSemaphorePermit,
}

/// All that are over by now, the first among them. Nothing is waited for.
pub(super) fn gather(first: Called, calls: &mut (impl Stream<Item = Called> + Unpin)) -> Vec<Called> {
    let mut together = vec![first];
    while let Some(Some(next)) = calls.next().now_or_never() {
        together.push(next);
    }
    together
}

impl Dispatch {
    /// Has the ends of calls stored. A call is open until then: that bounds what a killed process leaves UNKNOWN.
    pub(super) async fn store(&self, called: Vec<Called>) -> anyhow::Result<Vec<Written>> {
        let (went, calls): (Vec<Went>, Vec<OwnedSemaphorePermit>) =
            called.into_iter().map(|called| (called.went, called.permit)).unzip();
        let written = writer::store(&self.outcomes, went).await;
        free(calls);
        written
    }
}

/// Frees calls at once: whoever waits for several finds them together, and marks as many in one statement.
fn free(calls: Vec<OwnedSemaphorePermit>) {
    let mut calls = calls.into_iter();
    let Some(mut all) = calls.next() else { return };
    for call in calls {
        // Of another limit, where that was changed meanwhile: it is freed by itself.
        if Arc::ptr_eq(all.semaphore(), call.semaphore()) {
            all.merge(call);
        }
    }
}
