//! What all parts of one simulator share: configuration, clock, stage, memory, phones and the client that posts webhooks.
//!
//! No behaviour of its own beyond building these.

use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::clock::SimClock;
use crate::config::Config;
use crate::files::Files;
use crate::ledger::{Ledger, Stats};
use crate::phones::Phones;
use crate::stage::Stage;

/// The shared parts of one simulator.
pub(crate) struct Core {
    pub config: Config,
    pub clock: SimClock,
    pub stage: Stage,
    pub ledger: Ledger,
    pub phones: Phones,
    pub files: Files,
    pub client: reqwest::Client,
    /// One permit for each webhook that may wait for its answer.
    pub webhook_permits: Semaphore,
    /// Cancelled when the simulator ends; held HTTP calls and the driver watch it.
    pub ended: CancellationToken,
}

impl Core {
    /// Builds the shared parts.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn new(config: Config) -> Result<Self, reqwest::Error> {
        Ok(Self {
            clock: SimClock::new(config.clock),
            stage: Stage::new(),
            ledger: Ledger::new(config.records.limit()),
            phones: Phones::new(config.roster.clone()),
            files: Files::default(),
            client: client(config.webhook_concurrency)?,
            webhook_permits: Semaphore::new(config.webhook_concurrency.max(1)),
            ended: CancellationToken::new(),
            config,
        })
    }

    /// Whether so much waits that the providers refuse more.
    pub fn overloaded(&self) -> bool {
        let (waiting, playing) = self.stage.load();
        waiting + playing >= self.config.max_pending
    }

    /// The counts, with what waits now.
    pub fn stats(&self) -> Stats {
        let (waiting, playing) = self.stage.load();
        Stats { pending: waiting as u64, in_flight: playing as u64, ..self.ledger.stats() }
    }
}

/// A client without proxies or redirects, because a signature is good for one address only, with a pool that keeps connections.
fn client(concurrency: usize) -> Result<reqwest::Client, reqwest::Error> {
    // A second simulator in the process, or the program around it, may have installed a provider already: either serves.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = || {
        reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent("switchboard-simulator")
            .connect_timeout(Duration::from_secs(10))
            .pool_max_idle_per_host(concurrency.max(1))
    };
    // Machines without root certificates can still call plain HTTP on loopback, which is all that most runs need.
    builder().build().or_else(|_| builder().tls_certs_only([]).build())
}
