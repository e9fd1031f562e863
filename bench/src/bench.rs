//! What every case is given: servers, sizes, and a way to say how far it is.

use std::time::Duration;

use server::storage::db::MIGRATOR;
use testkit::instances::{Postgres, Rabbit, TestDatabase, TestVhost};
use tokio::{sync::OnceCell, time::Instant};

use crate::select::Scale;

/// The private instance that measurements have of their own, unless `INSTANCE` names another: durable, unlike that of the tests.
const INSTANCE: &str = "bench";

fn instance() -> String {
    std::env::var("INSTANCE").ok().filter(|name| !name.is_empty()).unwrap_or_else(|| INSTANCE.to_owned())
}

/// See the module.
#[derive(Debug)]
pub struct Bench {
    /// How much is measured.
    pub scale: Scale,
    postgres: OnceCell<Postgres>,
    rabbit: OnceCell<Rabbit>,
    began: Instant,
}

impl Bench {
    /// Nothing is started before it is asked for.
    #[must_use]
    pub fn new(scale: Scale) -> Self {
        Self { scale, postgres: OnceCell::new(), rabbit: OnceCell::new(), began: Instant::now() }
    }

    async fn postgres(&self) -> anyhow::Result<&Postgres> {
        self.postgres.get_or_try_init(async || Postgres::instance(&instance()).await).await
    }

    /// A database with our schema; dropped with its variable.
    ///
    /// # Errors
    /// When the server cannot be started or refuses.
    pub async fn database(&self) -> anyhow::Result<TestDatabase> {
        self.postgres().await?.database(&MIGRATOR).await
    }

    /// A database with nothing in it; dropped with its variable.
    ///
    /// # Errors
    /// When the server cannot be started or refuses.
    pub async fn empty_database(&self) -> anyhow::Result<TestDatabase> {
        self.postgres().await?.empty_database().await
    }

    /// A virtual host of the broker; deleted with its variable.
    ///
    /// # Errors
    /// When the broker cannot be started.
    pub async fn vhost(&self) -> anyhow::Result<TestVhost> {
        self.rabbit.get_or_try_init(async || Rabbit::instance(&instance()).await).await?.vhost().await
    }

    /// Rounds of a case: an odd number, so that the median is one of them.
    #[must_use]
    pub fn rounds(&self) -> usize {
        self.scale.of(5, 1)
    }

    /// Says how far the run is.
    #[expect(clippy::print_stderr, reason = "progress is for the person who waits")]
    pub fn say(&self, words: &str) {
        eprintln!("[{:>4} s] {words}", self.began.elapsed().as_secs());
    }
}

/// Waits until `holds`, and asks every `pause`.
///
/// # Errors
/// When it does not hold after `patience`, or cannot be asked.
pub async fn until<F>(
    what: &str,
    patience: Duration,
    pause: Duration,
    mut holds: impl FnMut() -> F,
) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<bool>>,
{
    let began = Instant::now();
    while !holds().await? {
        anyhow::ensure!(began.elapsed() < patience, "{what} did not come to pass in {} s", patience.as_secs());
        tokio::time::sleep(pause).await;
    }
    Ok(())
}
