//! The trait through which captured rows leave this crate; the server's storage implements it.
//!
//! The contract is small and strict: events and cursor in one transaction, and the cursor only by compare-and-set. Everything
//! that makes a row fire exactly once rests on these two.

use async_trait::async_trait;

use crate::{BoxError, CapturedEvent, Cursor, Gap, SourceId};

/// A page of captured events, and the cursor that says that they are stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The cursor that must be the stored one; `None` if no cursor may be stored.
    pub previous: Option<Cursor>,
    /// The cursor to store with the events.
    pub cursor: Cursor,
    /// The events, at most `ConsumerSettings::page` of them, in the order of the outbox: two events of the same row are in the
    /// order of the writes. Empty only when the cursor moves over rows that are stored already.
    pub events: Vec<CapturedEvent>,
}

/// Why a sink did not take a batch.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The stored cursor is not `Batch::previous`: another consumer went on. The consumer reads the cursor again.
    #[error("another consumer has moved the cursor of this source")]
    CursorMoved,
    /// The source is not known any more: the consumer rests until it is cancelled.
    #[error("source {0} is not known any more")]
    UnknownSource(SourceId),
    /// Anything else; the consumer backs off and offers the same batch again.
    #[error("the batch could not be stored: {0}")]
    Failed(#[source] BoxError),
}

impl SinkError {
    /// Wraps an implementation's own error.
    pub fn failed(error: impl Into<BoxError>) -> Self {
        Self::Failed(error.into())
    }
}

/// Where captured events go. One sink may serve many sources at once.
#[async_trait]
pub trait Sink: Send + Sync + 'static {
    /// The stored cursor of `source`, or `None` if nothing was stored yet: then everything in the outbox is taken.
    ///
    /// # Errors
    /// `UnknownSource`, or `Failed` if it cannot be read now.
    async fn load_cursor(&self, source: SourceId) -> Result<Option<Cursor>, SinkError>;

    /// Stores the events and the cursor, **in one transaction**, if and only if the stored cursor equals `batch.previous`.
    ///
    /// An event whose (source, watch, id) is stored already is skipped in silence (it is read again after a restored backup),
    /// and so is an event of a watch that does not exist any more. When this returns `Ok` the rows may be deleted from the
    /// source.
    ///
    /// # Errors
    /// `CursorMoved` if the stored cursor is another; `UnknownSource`; `Failed` for the rest. After an error nothing may be stored,
    /// or, if the commit's answer was lost, everything.
    async fn accept(&self, source: SourceId, batch: Batch) -> Result<(), SinkError>;

    /// Records gap marks: inserts by (source, gap id), or sets `until` of a known one. They were already removed from the
    /// source, or stay there if still open; the same gap may come many times.
    ///
    /// # Errors
    /// As for `accept`. The marks stay in the source until this succeeds.
    async fn note_gaps(&self, source: SourceId, gaps: &[Gap]) -> Result<(), SinkError>;
}
