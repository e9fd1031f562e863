//! What wakes Switchboard without a caller: rows that change in a watched Postgres, and schedules that come due.
//!
//! This crate captures and wakes; it decides nothing. It never sees Switchboard's own tables: what it needs of them are the
//! two traits [`Sink`] (store captured rows with their cursor) and [`DueSchedules`] (fire what is due), which the server
//! implements.
//!
//! Start with [`postgres`] for table triggers (its module text draws the way of a row) and [`cron`] for schedules.

pub mod cron;
mod cursor;
mod event;
pub mod postgres;
mod sink;

pub use cron::DueSchedules;
pub use cursor::{Cursor, Epoch, InvalidSnapshot, Position, Snapshot};
pub use event::{CaptureFault, CapturedEvent, Gap, GapReason, Operation, SourceId, UnknownName, WatchId};
pub use sink::{Batch, Sink, SinkError};

/// An error of an implementation that this crate only logs and waits out.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
