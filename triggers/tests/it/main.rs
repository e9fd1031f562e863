//! The stories of captures and schedules, on a real Postgres.
//!
//! `SWITCHBOARD_TEST_DATABASE_URL` (or `DATABASE_URL`) names a server and a role that may create databases and roles; when neither
//! is set, the repository's private instance `test` is started. Each test makes a database of its own and drops it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says so by ending"
)]

mod audience;
mod capture;
mod catalogue;
mod consumer;
mod cron;
mod faults;
mod install;
mod support;
