//! Table triggers: reading a watched Postgres, installing a capture in it, and draining what the capture wrote.
//!
//! The way of a row: the SQL of [`ddl`] runs in the user's transaction and writes the outbox; the [`Consumer`] of the source
//! ([`drain`]) reads what became visible and hands it to the [`Sink`](crate::Sink). [`catalogue`] answers what there is to watch,
//! [`dry_run`] shows existing rows as a capture would have written them, [`query`] runs a user's `SELECT` as an audience.
//!
//! This is the only room of the crate with SQL. The catalogue is foreign, so that nothing can be checked at compile time: each
//! statement is run by a test instead. Every piece of dynamic SQL goes through [`names`] or [`expression`].

pub mod catalogue;
pub mod ddl;
pub mod drain;
pub mod dry_run;
mod error;
pub mod expression;
mod functions;
mod health;
mod install;
pub mod names;
mod outbox;
pub mod query;
mod source;
mod watch;

pub use catalogue::{Column, Server, Table, TableKind};
pub use drain::{Consumer, ConsumerPoke, ConsumerSettings};
pub use error::{Error, MissingPrivilege};
pub use health::{SourceHealth, SourceState, TriggerFault, TriggerProblem};
pub use install::{check, detach, has_rows, install, installed, is_installed, replace, uninstall};
pub use names::TableName;
pub use source::{CaptureSchema, Source};
pub use watch::Watch;
