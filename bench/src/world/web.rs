//! Web servers on this machine: ours, with the shipped routes, and a provider's that answers 202 to every message.

use std::{net::SocketAddr, sync::Arc};

use axum::{Router, http::StatusCode, routing::any};
use server::{
    bus::local::LocalBus,
    clock::Measured,
    http::{self, Web, health::Health, spool::Spool},
    services::Context,
};
use tokio::{net::TcpListener, sync::Semaphore, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The biggest body that is taken, in bytes, as shipped.
const MAX_BODY: usize = 1 << 20;

/// A web server at work; stopped with this value.
pub struct WebServer {
    /// Where it listens.
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for WebServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl WebServer {
    /// Our web server, with the routes that ship; nothing is spooled.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(context: &Context) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (stop, folder) = (CancellationToken::new(), std::env::temp_dir());
        let web = Arc::new(Web {
            context: context.clone(),
            spool: Spool::open(&folder, 0)?,
            health: Health { bus: Arc::new(LocalBus::default()), clock: Measured::default(), stopping: stop.clone() },
            places: Semaphore::new(256),
            tasks: TaskTracker::new(),
        });
        let router = http::routes(web, MAX_BODY, true);
        let task = tokio::spawn(async move {
            let _ = http::serve(listener, router, stop).await;
        });
        Ok(Self { address, task })
    }
}

/// A gateway of short messages on this machine, which takes everything at once, as Kannel's `sendsms` answers.
///
/// # Errors
/// When no port is free.
pub async fn gateway() -> anyhow::Result<WebServer> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let router = Router::new().fallback(any(|| async { (StatusCode::ACCEPTED, "0: Accepted for delivery") }));
    let task = tokio::spawn(async move {
        let _ = axum::serve(listener, router).await;
    });
    Ok(WebServer { address, task })
}
