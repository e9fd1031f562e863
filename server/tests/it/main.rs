//! Stories on a real Postgres, a real RabbitMQ and real sockets: one binary, one module a story.

mod campaigns;
mod killing;
mod protocol;
mod sending;
mod support;
