//! Stories on a real Postgres, a real RabbitMQ and real sockets: one binary, one module a story.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what it means; clippy knows test functions, not their helpers"
)]

mod api;
mod archive;
mod campaigns;
mod compliance;
mod connectors;
mod controllers;
mod conversations;
mod events;
mod hearing;
mod killing;
mod messages;
mod papers;
mod partitions;
mod peers;
mod plans;
mod processes;
mod protocol;
mod reading;
mod repeating;
mod scenario1;
mod sending;
mod shell;
mod statements;
mod support;
mod taking_back;
mod triggers;
mod turns;
mod walls;
