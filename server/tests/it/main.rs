//! Stories on a real Postgres, a real RabbitMQ and real sockets: one binary, one module a story.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what it means; clippy knows test functions, not their helpers"
)]

mod api;
mod campaigns;
mod connectors;
mod killing;
mod papers;
mod plans;
mod processes;
mod protocol;
mod reading;
mod sending;
mod shell;
mod support;
mod triggers;
mod walls;
