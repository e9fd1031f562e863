//! The server side of Twilio's REST API (2010-04-01): account, Messages and Calls.
//!
//! Routes and credentials here; SMS in `messages` and `list`, calls in `calls`, refusals in `errors`. What happens on the line of a
//! call is the business of `crate::voice`.

mod calls;
mod errors;
mod form;
mod list;
mod messages;

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use http::{HeaderMap, header};
use serde_json::json;
use uuid::Uuid;

use crate::core::Core;
use errors::TwilioError;

pub(crate) use form::Form;
pub(crate) use messages::{Picture, SmsMessage, form_webhook, inbound};

/// The version in every path and webhook.
pub(crate) const API_VERSION: &str = "2010-04-01";

/// The routes of the REST API.
pub(crate) fn routes() -> axum::Router<Arc<Core>> {
    axum::Router::new()
        .route("/2010-04-01/Accounts/{account}", get(account))
        .route("/2010-04-01/Accounts/{account}/Messages.json", get(list::messages).post(messages::create))
        .route("/2010-04-01/Accounts/{account}/Messages/{message}", get(messages::fetch))
        .route("/2010-04-01/Accounts/{account}/Messages/{message}/Media/{file}", get(media))
        .route("/files/{link}", get(file))
        .route("/2010-04-01/Accounts/{account}/Calls.json", get(list::calls).post(calls::create))
        .route("/2010-04-01/Accounts/{account}/Calls/{call}", get(calls::fetch).post(calls::update))
}

/// What the credential check asks: the account itself.
async fn account(
    State(core): State<Arc<Core>>,
    Path(file): Path<String>,
    uri: http::Uri,
    headers: HeaderMap,
) -> Response {
    let Some(sid) = file.strip_suffix(".json") else { return TwilioError::not_found(uri.path()).into_response() };
    if let Err(refusal) = authorize(&core, sid, uri.path(), &headers) {
        core.ledger.refused(refusal.code);
        return refusal.into_response();
    }
    let base = format!("/{API_VERSION}/Accounts/{sid}");
    Json(json!({
        "sid": sid,
        "owner_account_sid": sid,
        "friendly_name": "Simulated account",
        "status": "active",
        "type": "Full",
        "auth_token": core.config.twilio.auth_token,
        "date_created": rfc2822(core.clock.now()),
        "date_updated": rfc2822(core.clock.now()),
        "uri": format!("{base}.json"),
        "subresource_uris": { "messages": format!("{base}/Messages.json"), "calls": format!("{base}/Calls.json") },
    }))
    .into_response()
}

/// A picture of a message: Twilio sends its caller on to where it lies.
async fn media(
    State(core): State<Arc<Core>>,
    Path((account, _message, id)): Path<(String, String, String)>,
    uri: http::Uri,
    headers: HeaderMap,
) -> Response {
    if let Err(refusal) = authorize(&core, &account, uri.path(), &headers) {
        core.ledger.refused(refusal.code);
        return refusal.into_response();
    }
    if core.files.fails() {
        return http::StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    if core.files.get(&id).is_none() {
        return TwilioError::not_found(uri.path()).into_response();
    }
    let link = format!("/files/{}", core.files.link(&id, core.clock.now()));
    (http::StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, link)]).into_response()
}

/// Where a picture lies: whoever has the link gets it, and credentials are not to be sent there.
async fn file(State(core): State<Arc<Core>>, Path(link): Path<String>, headers: HeaderMap) -> Response {
    match headers.contains_key(header::AUTHORIZATION) {
        true => http::StatusCode::BAD_REQUEST.into_response(),
        false => crate::files::handed(core.files.linked(&link, core.clock.now())),
    }
}

/// Checks the account in the path and the Basic credentials.
fn authorize(core: &Core, account: &str, path: &str, headers: &HeaderMap) -> Result<(), TwilioError> {
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Basic ").map(str::to_owned))
        .and_then(|text| String::from_utf8(STANDARD.decode(text).ok()?).ok());
    let twilio = &core.config.twilio;
    let wanted = format!("{}:{}", twilio.account_sid, twilio.auth_token);
    if given.as_deref() != Some(wanted.as_str()) {
        return Err(TwilioError::scripted(20003));
    }
    if account != twilio.account_sid {
        return Err(TwilioError::not_found(path));
    }
    Ok(())
}

/// A new resource id: two letters and 32 hexadecimal digits.
fn new_sid(prefix: &str) -> String {
    format!("{prefix}{}", Uuid::new_v4().simple())
}

/// A moment as the 2010 API writes it.
pub(crate) fn rfc2822(moment: DateTime<Utc>) -> String {
    moment.format("%a, %d %b %Y %H:%M:%S +0000").to_string()
}
