//! For whoever watches the process: `/healthz` (it lives), `/readyz` (it can do its work, or what stands in the way), and
//! `/metrics` in the text format of Prometheus.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::{Web, spool::Spool};
use crate::{
    bus::SharedBus,
    clock::Measured,
    services::Context,
    storage::{
        self, housekeeping,
        schema::{self, Schema},
    },
    telemetry,
};

/// How long the database may take to answer a question about health.
const PATIENCE: Duration = Duration::from_secs(2);

/// What health is asked of.
#[derive(Debug, Clone)]
pub struct Health {
    /// The bus that carries work.
    pub bus: SharedBus,
    /// Whether the clock is known.
    pub clock: Measured,
    /// The process is being stopped.
    pub stopping: CancellationToken,
}

/// `GET /healthz`
pub async fn live() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: 200, or 503 with what stands in the way.
pub async fn ready(State(web): State<Arc<Web>>) -> Response {
    let checks = [
        ("running", if web.health.stopping.is_cancelled() { Err("is being stopped".to_owned()) } else { Ok(()) }),
        ("database", database(&web.context).await),
        ("broker", if web.health.bus.healthy() { Ok(()) } else { Err("cannot be reached".to_owned()) }),
        ("clock", if web.health.clock.is_known() { Ok(()) } else { Err("was not measured lately".to_owned()) }),
        ("spool", spool(&web.spool)),
    ];
    let ready = checks.iter().all(|(_, check)| check.is_ok());
    let words =
        checks.into_iter().map(|(name, check)| (name.to_owned(), check.map_or_else(Value::from, |()| json!("ok"))));
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": ready, "checks": words.collect::<Map<_, _>>() }))).into_response()
}

async fn database(context: &Context) -> Result<(), String> {
    let asked = async { schema::compare(&mut *context.lists.conn().await?).await };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(Schema::Current | Schema::Newer(_))) => Ok(()),
        Ok(Ok(Schema::Behind(_) | Schema::Different(_))) => {
            Err("has another schema: run `switchboard migrate`".to_owned())
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(storage::Error::no_answer().to_string()),
    }
}

fn spool(spool: &Spool) -> Result<(), String> {
    match spool.waiting() {
        0 => Ok(()),
        n => Err(format!("{n} webhooks wait on disk")),
    }
}

/// `GET /metrics`
pub async fn metrics(State(web): State<Arc<Web>>) -> Response {
    let asked = async { housekeeping::waiting(&mut *web.context.lists.conn().await?).await };
    // Without the database the rest is shown all the same.
    if let Ok(Ok(waiting)) = tokio::time::timeout(PATIENCE, asked).await {
        telemetry::waiting("chunks", waiting.chunks);
        telemetry::waiting("receipts", waiting.receipts);
        telemetry::waiting("inbound", waiting.inbound);
        telemetry::waiting("events", waiting.events);
        telemetry::waiting("firings", waiting.firings);
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], telemetry::metrics().render())
        .into_response()
}
