//! Stories on a real Postgres, a real RabbitMQ and real sockets: one binary, one module a story.

mod killing;
mod protocol;
mod sending;
mod shell;
mod support;
