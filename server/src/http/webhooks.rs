//! The providers' way in: `/webhooks/{provider}` and everything beneath. A request is checked, stored, and only then answered;
//! while Postgres cannot be reached it waits on disk, and is answered as if it were stored. What waits goes before what comes.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use super::{
    Web,
    spool::{Spool, Spooled},
};
use crate::{
    channels::{WebhookAnswer, WebhookError, WebhookRequest},
    services::{
        Context,
        webhooks::{self, Checked, Error},
    },
    storage, telemetry,
};

/// Pauses between two tries to empty the spool: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// How long storing one may take before it goes to disk: its provider waits for an answer.
const STORED_WITHIN: Duration = Duration::from_secs(10);
/// When a provider that is turned away may come again, in seconds.
const RETRY_AFTER: &str = "5";

/// `GET|POST /webhooks/{provider_id}`, with or without a path beneath.
pub async fn receive(
    State(web): State<Arc<Web>>,
    Path(path): Path<Vec<String>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(provider_id) = path.first().and_then(|id| id.parse::<i32>().ok()) else {
        telemetry::webhook(None, "unknown");
        return StatusCode::NOT_FOUND.into_response();
    };
    let request = request(&web.context.settings.public_url, provider_id, method, &uri, headers, body);
    // In a task of its own: a provider that hangs up must not end what is half done.
    let work = Arc::clone(&web);
    let taken = web.tasks.spawn(async move { take(&work, provider_id, request).await }).await;
    taken.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

/// The request as connectors want it. Its address is built from what is configured: `Host` is the caller's to choose.
fn request(
    public_url: &str,
    provider_id: i32,
    method: Method,
    uri: &Uri,
    headers: HeaderMap,
    body: Bytes,
) -> WebhookRequest {
    let query = uri.query().unwrap_or_default();
    let mark = if uri.query().is_some() { "?" } else { "" };
    let path = uri.path().strip_prefix(&format!("/webhooks/{provider_id}")).unwrap_or_default();
    WebhookRequest {
        method,
        url: format!("{public_url}{}{mark}{query}", uri.path()),
        path: path.to_owned(),
        query: query.to_owned(),
        headers,
        body,
        received_at: Utc::now(),
    }
}

async fn take(web: &Web, provider_id: i32, request: WebhookRequest) -> Response {
    let Ok(_place) = web.places.try_acquire() else {
        telemetry::webhook(None, "unavailable");
        return unavailable();
    };
    let checked = match webhooks::check(&web.context, provider_id, &request).await {
        Ok(checked) => checked,
        Err(error) => return refused(provider_id, &error),
    };
    let arrived = web.context.clock.now();
    let spooled = Spooled { provider_id, request, arrived };
    let kept = match web.spool.is_empty() {
        // Older ones wait: this one goes behind them.
        false => Err(None),
        true => store(&web.context, &checked, arrived).await.map_err(Some),
    };
    match kept {
        Ok(()) => telemetry::webhook(Some(provider_id), "stored"),
        Err(Some(error)) if !error.is_transient() => return refused(provider_id, &Error::Storage(error)),
        Err(_) => match web.spool.keep(spooled).await {
            Ok(()) => telemetry::webhook(Some(provider_id), "spooled"),
            Err(error) => {
                tracing::warn!(provider.id = provider_id, error = %error, "a webhook was turned away; its provider repeats it");
                telemetry::webhook(Some(provider_id), "unavailable");
                return unavailable();
            }
        },
    }
    match webhooks::answer(&web.context, &checked).await {
        Ok(answer) => said(answer),
        Err(error) => refused(provider_id, &error),
    }
}

/// Stores a webhook, or says in good time that this cannot be done now: then it waits on disk. Stored twice it counts once.
async fn store(context: &Context, checked: &Checked, arrived: DateTime<Utc>) -> storage::Result<()> {
    context.within_for(STORED_WITHIN, webhooks::store(context, checked, arrived)).await.flatten()
}

fn said(answer: WebhookAnswer) -> Response {
    match answer {
        WebhookAnswer::Ok => StatusCode::OK.into_response(),
        WebhookAnswer::Body { content_type, body } => ([(header::CONTENT_TYPE, content_type)], body).into_response(),
    }
}

/// The answer to what was not taken. The words say what an operator can mend; nothing of the request is repeated.
fn refused(provider_id: i32, error: &Error) -> Response {
    let (status, result) = match error {
        Error::UnknownProvider => (StatusCode::NOT_FOUND, "unknown"),
        Error::NoScript(_) | Error::Storage(_) if error.is_transient() => {
            telemetry::webhook(Some(provider_id), "unavailable");
            return unavailable();
        }
        Error::Refused(WebhookError::NotFound) | Error::NoScript(_) => (StatusCode::NOT_FOUND, "not_found"),
        Error::Refused(WebhookError::Forbidden(_)) => (StatusCode::FORBIDDEN, "refused"),
        Error::Refused(WebhookError::Malformed(_)) => (StatusCode::BAD_REQUEST, "malformed"),
        Error::Broken => (StatusCode::SERVICE_UNAVAILABLE, "broken"),
        Error::Storage(_) => (StatusCode::INTERNAL_SERVER_ERROR, "failed"),
    };
    telemetry::webhook((!matches!(error, Error::UnknownProvider)).then_some(provider_id), result);
    tracing::info!(provider.id = provider_id, status = status.as_u16(), error = %error, "a webhook was not taken");
    (status, error.to_string()).into_response()
}

fn unavailable() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, RETRY_AFTER)]).into_response()
}

/// Stores what waits on disk as soon as Postgres is back, oldest first, until `stop`.
pub async fn empty_spool(context: Context, spool: Spool, stop: CancellationToken) {
    let mut pause = PAUSES.0;
    loop {
        tokio::select! { () = stop.cancelled() => return, () = spool.filled() => {} }
        match store_oldest(&context, &spool).await {
            Ok(()) => {
                pause = PAUSES.0;
                if spool.is_empty() {
                    tracing::info!("every webhook that waited on disk is stored");
                }
            }
            Err(error) => {
                tracing::debug!(waiting = spool.waiting(), error = format!("{error:#}"), "webhooks wait on disk");
                tokio::select! { () = stop.cancelled() => return, () = tokio::time::sleep(pause) => {} }
                pause = (pause * 2).min(PAUSES.1);
            }
        }
    }
}

async fn store_oldest(context: &Context, spool: &Spool) -> anyhow::Result<()> {
    let Some((path, found)) = spool.oldest().await? else { return Ok(()) };
    let aside = match found {
        Err(error) => Some(error.to_string()),
        Ok(spooled) => match again(context, &spooled).await {
            Ok(()) => None,
            Err(error) if error.is_transient() => return Err(error.into()),
            Err(error) => Some(error.to_string()),
        },
    };
    match aside {
        None => spool.remove(path).await?,
        Some(cause) => {
            tracing::error!(cause, file = %path.display(), "a webhook that waited on disk cannot be stored; it is set aside");
            spool.set_aside(path).await?;
        }
    }
    Ok(())
}

async fn again(context: &Context, spooled: &Spooled) -> Result<(), Error> {
    let checked: Checked = webhooks::check(context, spooled.provider_id, &spooled.request).await?;
    Ok(store(context, &checked, spooled.arrived).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_built_from_what_is_configured() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "evil.example.net".parse().unwrap());
        let uri: Uri = "/webhooks/7/voice%20x?d=1&n=%32".parse().unwrap();
        let built = request("https://a.example.org/base", 7, Method::POST, &uri, headers, Bytes::new());
        assert_eq!(built.url, "https://a.example.org/base/webhooks/7/voice%20x?d=1&n=%32");
        assert_eq!((built.path.as_str(), built.query.as_str()), ("/voice%20x", "d=1&n=%32"));
        let bare: Uri = "/webhooks/7".parse().unwrap();
        let built = request("https://a.example.org", 7, Method::GET, &bare, HeaderMap::new(), Bytes::new());
        assert_eq!((built.url.as_str(), built.path.as_str()), ("https://a.example.org/webhooks/7", ""));
    }
}
