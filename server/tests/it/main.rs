//! Stories on a real Postgres, a real RabbitMQ and real sockets: one binary, one module a story.

mod campaigns;
mod api;
mod killing;
mod processes;
mod protocol;
mod sending;
mod support;
mod triggers;
mod walls;
