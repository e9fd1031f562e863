//! The web server on one page: providers' webhooks, unsubscribe links, health and metrics, on a port of its own. What the world
//! may reach is `/webhooks/` and `/unsubscribe/`; the rest is for the operator's network.
//!
//! No SQL and no decision lives here, and the contract of the API is not known.

pub mod health;
pub mod spool;
mod unsubscribe;
pub mod webhooks;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::StatusCode,
    routing::{any, get},
};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_http::{catch_panic::CatchPanicLayer, timeout::TimeoutLayer};

use crate::services::Context;

/// How long a request may take from its first byte to its answer: longer than a connection of the pool is waited for, shorter
/// than providers wait.
const PATIENCE: Duration = Duration::from_secs(14);

/// What the handlers stand on.
#[derive(Debug)]
pub struct Web {
    /// The use cases.
    pub context: Context,
    /// Where webhooks wait while Postgres is away.
    pub spool: spool::Spool,
    /// What health is asked of.
    pub health: health::Health,
    /// Requests that may be worked on at once.
    pub places: Semaphore,
    /// Work that goes on when its caller hangs up.
    pub tasks: TaskTracker,
}

/// Every route. Without `public`, health and metrics only.
pub fn routes(web: Arc<Web>, max_body_bytes: usize, public: bool) -> Router {
    let mut router = Router::new()
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics));
    if public {
        let webhook = || get(webhooks::receive).post(webhooks::receive);
        router = router
            .route("/webhooks/{provider_id}", webhook())
            .route("/webhooks/{provider_id}/", webhook())
            .route("/webhooks/{provider_id}/{*path}", webhook())
            .route("/unsubscribe/{token}", get(unsubscribe::ask).post(unsubscribe::end));
    }
    router
        .fallback(any(|| async { StatusCode::NOT_FOUND }))
        .layer(DefaultBodyLimit::max(max_body_bytes))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, PATIENCE))
        .layer(CatchPanicLayer::new())
        .with_state(web)
}

/// Serves until `shutdown` is cancelled and every open request is answered. The caller bounds how long that may take.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) -> std::io::Result<()> {
    axum::serve(listener, router).with_graceful_shutdown(async move { shutdown.cancelled().await }).await
}
