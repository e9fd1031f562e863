//! The archive: conversations that were closed long ago stand in files of the file store, and are read back over the same requests.
//!
//! [`moving`] puts them there: a batch is gathered (`gathering`), packed into a file ([`mod@file`]), and indexed and dropped from the
//! tables in one transaction. [`reading`] finds and unpacks one. [`erasing`] takes a contact out of everything, with a receipt;
//! [`expiring`] ends what was kept long enough. Both only mark a file: [`rewriting`] writes it anew without what went, and
//! [`sweeping`] removes what nobody needs, what a crash left behind too. `docs/ARCHIVE.md` is for those who run it.
//!
//! **At any moment a crash is safe**, since each step leaves a row that says how far it got: a file is announced before it is
//! written, live in the transaction that fills the index and drops the rows, dropped before it is removed.

pub mod erasing;
pub mod expiring;
pub mod file;
mod gathering;
pub mod moving;
pub mod reading;
pub mod rewriting;
pub mod sweeping;

use chrono::TimeDelta;

/// What is set about the archive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settings {
    /// How long after its end a conversation goes into the archive; none: never.
    pub after: Option<TimeDelta>,
    /// How long after its end it is kept there; none: for ever.
    pub keep: Option<TimeDelta>,
}
