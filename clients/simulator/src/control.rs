//! The control API: what a test can do with a [`Simulator`](crate::Simulator) in its process, over HTTP for everyone else.
//!
//! It has no credentials, because the simulator listens on loopback only. Every refusal names the field and what is right.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::core::Core;
use crate::inbound::{self, Inbound};
use crate::ledger::{Provider, WebhookKind};
use crate::script::{Defaults, Handset, Span, check_number};
use crate::{simulator, stage};

type Shared = State<Arc<Core>>;

/// A request that the control API refuses, with the reason.
struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

fn bad(why: impl std::fmt::Display) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, why.to_string())
}

/// The routes of the control API.
pub(crate) fn routes() -> axum::Router<Arc<Core>> {
    axum::Router::new()
        .route("/control/health", get(|| async { "ok" }))
        .route("/control/handsets/{number}", put(put_handset).get(get_handset).delete(delete_handset))
        .route("/control/defaults", put(put_defaults).get(get_defaults))
        .route("/control/calls", get(calls))
        .route("/control/webhooks", get(webhooks))
        .route("/control/stats", get(stats))
        .route("/control/inbound", post(send_inbound))
        .route("/control/files", post(put_file))
        .route("/control/signs", get(signs))
        .route("/control/clock", get(clock))
        .route("/control/clock/advance", post(advance))
        .route("/control/verify", post(verify))
        .route("/control/reset", post(reset))
}

fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(bad)
}

async fn put_handset(State(core): Shared, Path(number): Path<String>, body: Bytes) -> Result<Json<Value>, Refusal> {
    check_number(&number).map_err(bad)?;
    let handset: Handset = read(&body)?;
    handset.check(&number).map_err(bad)?;
    core.phones.set(&number, handset.clone());
    Ok(Json(json!(handset)))
}

async fn get_handset(State(core): Shared, Path(number): Path<String>) -> Result<Json<Value>, Refusal> {
    let known = core.phones.get(&number);
    known.map(|handset| Json(json!(*handset))).ok_or_else(|| no_handset(&number))
}

async fn delete_handset(State(core): Shared, Path(number): Path<String>) -> Result<StatusCode, Refusal> {
    if core.phones.remove(&number) { Ok(StatusCode::NO_CONTENT) } else { Err(no_handset(&number)) }
}

fn no_handset(number: &str) -> Refusal {
    Refusal(StatusCode::NOT_FOUND, format!("{number} has no script of its own and follows the defaults"))
}

async fn put_defaults(State(core): Shared, body: Bytes) -> Result<Json<Value>, Refusal> {
    let defaults: Defaults = read(&body)?;
    defaults.check().map_err(bad)?;
    core.phones.set_defaults(defaults.clone());
    Ok(Json(json!(defaults)))
}

async fn get_defaults(State(core): Shared) -> Json<Value> {
    Json(json!(*core.phones.defaults()))
}

/// Which records are wanted. The newest `limit` of those that match are given, oldest first.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    to: Option<String>,
    id: Option<String>,
    channel: Option<Provider>,
    kind: Option<WebhookKind>,
    #[serde(default = "thousand")]
    limit: usize,
}

fn thousand() -> usize {
    1000
}

/// A `+` in a query means a space, and people forget to escape it.
fn number_in_query(text: &str) -> String {
    text.strip_prefix(' ').map_or_else(|| text.to_owned(), |digits| format!("+{digits}"))
}

async fn calls(State(core): Shared, Query(wanted): Query<Wanted>) -> Result<Json<Value>, Refusal> {
    if wanted.kind.is_some() {
        return Err(bad("kind: only webhooks have a kind; calls can be chosen by to, id, channel and limit"));
    }
    let to = wanted.to.as_deref().map(number_in_query);
    let mut found = core.ledger.calls(|call| {
        to.as_ref().is_none_or(|to| *to == call.to)
            && wanted.id.as_ref().is_none_or(|id| *id == call.id)
            && wanted.channel.is_none_or(|channel| channel == call.channel)
    });
    let surplus = found.len().saturating_sub(wanted.limit);
    Ok(Json(json!({ "calls": found.split_off(surplus), "left_out": surplus })))
}

async fn webhooks(State(core): Shared, Query(wanted): Query<Wanted>) -> Result<Json<Value>, Refusal> {
    if wanted.to.is_some() {
        return Err(bad("to: webhooks can be chosen by id, channel, kind and limit"));
    }
    let mut found = core.ledger.webhooks(|hook| {
        wanted.id.as_ref().is_none_or(|id| *id == hook.about)
            && wanted.channel.is_none_or(|channel| channel == hook.channel)
            && wanted.kind.is_none_or(|kind| kind == hook.kind)
    });
    let surplus = found.len().saturating_sub(wanted.limit);
    Ok(Json(json!({ "webhooks": found.split_off(surplus), "left_out": surplus })))
}

async fn stats(State(core): Shared) -> Json<Value> {
    Json(json!(core.stats()))
}

async fn send_inbound(State(core): Shared, body: Bytes) -> Result<(StatusCode, Json<Value>), Refusal> {
    let message: Inbound = read(&body)?;
    let id = inbound::send(&core, &message).map_err(bad)?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "id": id }))))
}

/// Puts the body on the shelf, under its content type.
async fn put_file(State(core): Shared, headers: http::HeaderMap, body: Bytes) -> (StatusCode, Json<Value>) {
    let mime_type = headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let id = core.files.put(mime_type.unwrap_or("application/octet-stream"), body);
    (StatusCode::CREATED, Json(json!({ "id": id })))
}

async fn signs(State(core): Shared) -> Json<Value> {
    Json(json!({ "signs": core.files.signs() }))
}

async fn clock(State(core): Shared) -> Json<Value> {
    Json(json!({ "now": core.clock.now() }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    seconds: Span,
}

async fn advance(State(core): Shared, body: Bytes) -> Result<Json<Value>, Refusal> {
    let by: Advance = read(&body)?;
    // In a task of its own: a caller that goes away must not break off a webhook in the middle.
    tokio::spawn(stage::advance(core.clone(), by.seconds.0))
        .await
        .map_err(|error| Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(Json(json!({ "now": core.clock.now() })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Verify {
    verify_token: String,
}

async fn verify(State(core): Shared, body: Bytes) -> Result<Json<Value>, Refusal> {
    let wanted: Verify = read(&body)?;
    simulator::verify(&core, &wanted.verify_token).await.map_err(|why| Refusal(StatusCode::BAD_GATEWAY, why))?;
    Ok(Json(json!({ "verified": true })))
}

async fn reset(State(core): Shared) -> StatusCode {
    simulator::reset(&core);
    StatusCode::NO_CONTENT
}
