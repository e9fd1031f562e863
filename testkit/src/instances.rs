//! Real servers for tests: PostgreSQL and RabbitMQ shared by all tests and cut into one database and one virtual host each,
//! private ones that a test may kill, an SMTP server whose mailbox can be read, and a Kannel with a message centre behind it.
//!
//! The work is done by the repository's `scripts/`, which find or start what is needed; a test run needs no preparation beyond
//! `scripts/install`. The servers stay up after the tests, so that the next run starts at once; `make test` stops what it
//! started, `make clean-local` removes everything.
//!
//! ```no_run
//! # async fn test() -> anyhow::Result<()> {
//! # let migrator = sqlx::migrate::Migrator::DEFAULT;
//! use testkit::instances::{Postgres, Private, Rabbit, Smtp};
//!
//! let database = Postgres::shared().await?.database(&migrator).await?; // fresh, migrated; dropped with the variable
//! let broker = Rabbit::shared().await?.vhost().await?; // empty; deleted with the variable
//! let mailbox = Smtp::start().await?;
//! let mine = Private::postgres("relay-survives").await?; // nobody else uses it
//! mine.kill().await?;
//! mine.start().await?;
//! # Ok(()) }
//! ```

mod certificates;
mod kannel;
mod postgres;
mod private;
mod rabbit;
mod scripts;
mod smtp;

pub use certificates::{Authority, Identity};
pub use kannel::Kannel;
pub use postgres::{Postgres, TestDatabase};
pub use private::{Private, PrivatePostgres, PrivateRabbit};
pub use rabbit::{Rabbit, TestVhost};
pub use smtp::{Mail, Smtp};
